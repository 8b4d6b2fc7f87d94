"""
The only module that asks the system for the time, the user's name or the machine's name.

Everything else receives a :class:`Clock` or a :class:`Actor`, so that tests decide what they say.
"""

from __future__ import annotations

import datetime as dt
import getpass
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """
    What time it is, and how to wait.

    :param now: Returns the present instant, time-zone aware, in UTC.
    :param sleep: Waits for a number of seconds.
    """

    now: Callable[[], dt.datetime]
    sleep: Callable[[float], None]


def system_clock() -> Clock:
    """The machine's own clock, in UTC."""
    return Clock(now=lambda: dt.datetime.now(dt.UTC), sleep=time.sleep)


@dataclass(frozen=True)
class Actor:
    """Who does something, and on which machine; written to the journal."""

    name: str
    host: str


def system_actor() -> Actor:
    """The operating system's user and host. A container without a user entry gives ``unknown``."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = "unknown"
    return Actor(name=name, host=socket.gethostname())
