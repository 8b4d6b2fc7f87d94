"""The only module that asks for the time, the user or the machine; others get a `Clock` or `Actor`, as tests decide."""

from __future__ import annotations

import datetime as dt
import getpass
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What time it is, and how to wait."""

    now: Callable[[], dt.datetime]  # Time-zone aware, in UTC.
    sleep: Callable[[float], None]  # For a number of seconds.
    counter: Callable[[], float] | None = None  # Seconds that only grow; None: ``now`` is never set back.
    # Whether all who use the database have this very clock, as in a simulation. What several machines compare is
    # otherwise reckoned by the clock of the database.
    shared: bool = False

    def uptime(self) -> float:
        """Seconds since some instant; they go on while the machine sleeps."""
        return self.counter() if self.counter else self.now().timestamp()


def system_clock() -> Clock:
    """The machine's own clock, in UTC."""
    # Linux stops its monotonic clock while a machine is suspended, but not this one.
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Clock(now=lambda: dt.datetime.now(dt.UTC), sleep=time.sleep, counter=lambda: time.clock_gettime(which))


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


# Tells processes apart that have the same number one after the other, as in containers.
_PROCESS = uuid.uuid4().hex[:8]


def name_holder(actor: Actor) -> str:
    """A name for one who holds leases that nobody else has, in which people recognise who and where it is."""
    return f"{actor.name}@{actor.host}:{os.getpid()}:{_PROCESS}-{uuid.uuid4().hex[:8]}"


def is_of_this_process(holder: str) -> bool:
    """Whether :func:`name_holder` made a name in this process."""
    return holder.rpartition("-")[0].endswith(f":{os.getpid()}:{_PROCESS}")
