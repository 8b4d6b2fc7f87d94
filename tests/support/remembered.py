"""
What somebody remembers of a table that is downsampled: which rows each of its levels must be made of.

A change reaches a level if no window of it, and none of a level beneath, was sealed over its time when it was made
(law 4). Everything else that was ever written must be in each level, whatever has expired since (laws 3 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cratedb_retention.model.ledger import LedgerRow
from support.rollups import Row

Windows = Mapping[int, LedgerRow]


def window_at(windows: Windows, ts: int) -> LedgerRow | None:
    """The window that an instant lies in."""
    return next((row for row in windows.values() if row.start <= ts < row.end), None)


@dataclass
class Remembered:
    """
    Rows by ``id``.

    :param reached: First those that were written, as they are now; then those of each level, finest first.
    :param pending: Changes in buckets of an open window that were computed already, by level and time (ms): they have
        to wait until it is over.
    :param steady: Whether no change came to a time before something sealed. If one did, a counter's next value may be
        in a window that is never computed again.
    """

    reached: list[dict[int, Row]]
    pending: set[tuple[int, int]] = field(default_factory=set)
    steady: bool = True

    def change(self, before: Row, after: Row | None, windows: Sequence[Windows]) -> None:
        """
        Note that a row was written, changed, or (None) deleted.

        :param windows: Those of each level as they are now, finest first.
        """
        self.steady &= not any(row.sealed and row.end > before["ts"] for row in windows[0].values())
        for level in range(len(self.reached)):
            window = window_at(windows[level - 1], before["ts"]) if level else None
            if window is not None and window.sealed:
                return
            if window is not None and not window.whole and before["ts"] < window.until:
                self.pending.add((level, before["ts"]))
            if after is None:
                self.reached[level].pop(before["id"], None)
            else:
                self.reached[level][before["id"]] = after

    def waiting(self, level: int, windows: Sequence[Windows]) -> Iterator[int]:
        """The instants of changes that a level does not show yet, and rightly."""
        for changed, ts in self.pending:
            window = window_at(windows[changed - 1], ts)
            if changed <= level and window is not None and not window.whole:
                yield ts

    def within(self, level: int, window: LedgerRow) -> list[Row]:
        """The rows that a window must be made of."""
        return [row for row in self.reached[level].values() if window.start <= row["ts"] < window.end]

    @property
    def late(self) -> set[int]:
        """The rows that came too late for any level."""
        return self.reached[0].keys() - self.reached[1].keys()
