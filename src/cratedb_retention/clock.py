"""The only module that reads the system time, the user and the host; all others receive a `Clock` or an `Actor`."""

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
    """The present time, and how to wait."""

    now: Callable[[], dt.datetime]  # Time-zone aware, in UTC.
    sleep: Callable[[float], None]  # For a number of seconds.
    counter: Callable[[], float] | None = None  # Monotonic seconds; None: ``now`` is never set back.
    # Whether all users of the database share this clock, as in a simulation. Otherwise, instants that several machines
    # compare are computed by the clock of the database.
    shared: bool = False

    def uptime(self) -> float:
        """Seconds since an unspecified instant, including the time that the machine was suspended."""
        return self.counter() if self.counter else self.now().timestamp()


def system_clock() -> Clock:
    """The system's clock, in UTC."""
    # Unlike the monotonic clock, this one continues while Linux is suspended.
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Clock(now=lambda: dt.datetime.now(dt.UTC), sleep=time.sleep, counter=lambda: time.clock_gettime(which))


@dataclass(frozen=True)
class Actor:
    """A user and a host, for the audit log."""

    name: str
    host: str


def system_actor() -> Actor:
    """The user and host of the operating system; the user is ``unknown`` in a container without an entry for it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = "unknown"
    return Actor(name=name, host=socket.gethostname())


# Distinguishes processes with the same number, as in containers.
_PROCESS = uuid.uuid4().hex[:8]


def name_holder(actor: Actor) -> str:
    """A unique name for a lease holder, with user, host and process."""
    return f"{actor.name}@{actor.host}:{os.getpid()}:{_PROCESS}-{uuid.uuid4().hex[:8]}"


def is_of_this_process(holder: str) -> bool:
    """Whether :func:`name_holder` made a holder's name in this process."""
    return holder.rpartition("-")[0].endswith(f":{os.getpid()}:{_PROCESS}")
