"""
Windows that follow one another are computed together, as far as their rows fit into one statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.model.rollup import Window


@dataclass(frozen=True, slots=True)
class Run:
    """Windows without gaps between them, which one statement computes."""

    windows: tuple[Window, ...]

    @property
    def since(self) -> int:
        """Buckets from here on (ms)."""
        return self.windows[0].since

    @property
    def until(self) -> int:
        """Buckets that end here or before (ms)."""
        return self.windows[-1].until

    @property
    def look_back(self) -> int:
        """Where the search for the sample before the first one begins: one window's length before (ms)."""
        first = self.windows[0]
        return first.since - (first.end - first.start)


def make_runs(windows: Sequence[Window], rows: Mapping[Window, int] | None = None, limit: int = 0) -> Iterator[Run]:
    """
    Join windows that follow one another.

    :param rows: How many rows are beneath each; None: as many windows as there are.
    :param limit: The rows of a run; a window with more is one by itself.
    """
    current: list[Window] = []
    total = 0
    for window in windows:
        size = rows.get(window, 0) if rows else 0
        if current and (current[-1].until != window.since or total + size > limit > 0):
            yield Run(tuple(current))
            current, total = [], 0
        current.append(window)
        total += size
    if current:
        yield Run(tuple(current))
