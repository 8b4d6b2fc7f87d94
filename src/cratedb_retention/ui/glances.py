"""
What the overview showed last, so that it is there at once when somebody comes back: a plan takes seconds where there
are thousands of partitions. It is told of when it is, and replaced as soon as there is a new one.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cratedb_retention.execution.tables import TableLine

REMEMBERED = 100


@dataclass(frozen=True)
class Glance:
    """
    What an overview showed.

    :param taken: When (aware).
    """

    lines: Sequence[TableLine]
    taken: dt.datetime


class Glances:
    """The last of each: those with the same limit see the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Glance] = OrderedDict()

    def find(self, limit: str) -> Glance | None:
        """The last one for a limit by tags, as text; None: there is none yet."""
        with self._lock:
            return self._found.get(limit)

    def keep(self, limit: str, glance: Glance) -> None:
        """Remember one."""
        with self._lock:
            self._found.pop(limit, None)
            self._found[limit] = glance
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
