"""
Who has logged in: a random identifier in a cookie stands for an access token, until it is not used for a while.

Sessions are kept in memory, so nothing about them can be read elsewhere; after a restart one logs in again. What the
token may do is looked up again for each thing that is done, so that a revoked token is worth nothing at once.
"""

from __future__ import annotations

import base64
import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from cratedb_retention.clock import Clock

# A session ends so long after its last use, and so long after the log-in in any case.
IDLE = dt.timedelta(hours=8)
LONGEST = dt.timedelta(days=7)
REMEMBERED = 10_000


@dataclass(frozen=True)
class Session:
    """
    Somebody who has logged in.

    :param token: The text of their access token.
    :param begun: When they logged in (aware).
    :param used: When they last asked for something.
    """

    token: str
    begun: dt.datetime
    used: dt.datetime


class Sessions:
    """
    The sessions of one service.

    :param random: Returns so many random bytes, fit for secrets.
    """

    def __init__(self, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._clock, self._random = clock, random
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token: str) -> str:
        """Begin a session; returns what the cookie says."""
        now = self._clock.now()
        identifier = base64.urlsafe_b64encode(self._random(32)).decode().rstrip("=")
        with self._lock:
            self._found[identifier] = Session(token, now, now)
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        return identifier

    def find(self, identifier: str) -> Session | None:
        """The session that a cookie names, which is used by that; None if it is over or never was."""
        now = self._clock.now()
        with self._lock:
            session = self._found.pop(identifier, None)
            if session is None or now - session.used > IDLE or now - session.begun > LONGEST:
                return None
            self._found[identifier] = used = replace(session, used=now)
            return used

    def end(self, identifier: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._found.pop(identifier, None)
