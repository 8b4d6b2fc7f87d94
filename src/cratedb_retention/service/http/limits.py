"""
How often somebody may ask: a bucket of tokens for each caller, which fills again with time.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections import OrderedDict

from cratedb_retention.clock import Clock

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
