"""
What the HTTP API works with: handed over when it is made, so that nothing is looked up elsewhere.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from cratedb_retention.api import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.service.operations import Operations
from cratedb_retention.service.runs import Runs


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    What a single caller may ask.

    :param body: Bytes of a request's body.
    :param body_seconds: How long a body may take to arrive.
    :param rate: Requests a second, for each token, or address where there is none.
    :param burst: So many at once, after a pause.
    """

    body: int = 1024 * 1024
    body_seconds: float = 30.0
    rate: float = 20.0
    burst: int = 100


@dataclass(frozen=True, kw_only=True)
class Context:
    """
    The parts of the HTTP API.

    :param authenticate: Whether a token is needed; otherwise everybody is an admin.
    :param hosts: The names that a request may call this service by; empty: any.
    :param metrics: Makes the text of ``/metrics``; None: there are none.
    """

    retention: Retention
    authenticate: bool = True
    hosts: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    runs: Runs = field(default_factory=Runs)
    operations: Operations = field(default_factory=Operations)
    metrics: Callable[[], bytes] | None = None

    @cached_property
    def buckets(self) -> Buckets:
        """How often each caller may ask still."""
        return Buckets(self.retention.clock, self.limits.rate, self.limits.burst)


# Callers that are remembered. Who is forgotten has a full bucket again, so there are more than come in a minute.
REMEMBERED = 10_000


class Buckets:
    """
    A bucket for each caller.

    :param rate: So many requests a second come back.
    :param burst: So many there are at most.
    """

    def __init__(self, clock: Clock, rate: float, burst: int) -> None:
        self._clock, self._rate, self._burst = clock, rate, burst
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, dt.datetime]] = OrderedDict()

    def wait(self, caller: str) -> int:
        """In how many seconds a caller may ask; 0: now."""
        return self._look(caller, 0)

    def take(self, caller: str) -> int:
        """Take one from the caller's bucket: 0 if there was one, else in how many seconds there will be."""
        return self._look(caller, 1)

    def _look(self, caller: str, taken: int) -> int:
        now = self._clock.now()
        with self._lock:
            left, since = self._buckets.pop(caller, (float(self._burst), now))
            # A clock that is set back gives nothing, and takes nothing.
            left = min(float(self._burst), left + max(0.0, (now - since).total_seconds()) * self._rate)
            enough = left >= 1
            self._buckets[caller] = (left - taken if enough else left, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return 0 if enough else max(1, math.ceil((1 - left) / self._rate))
