"""
Whisper, the files of Graphite: made, filled and read by its own library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import whisper

from support.peers import Values


class WhisperFile:
    """
    A file.

    :param archives: Seconds of their intervals, and for how many seconds each is kept; finest first.
    :param method: How a coarser value is made of finer ones: ``average``, ``sum``, ``min``, ``max`` or ``last``.
    :param xff: The share of finer values that must be there.
    """

    def __init__(self, path: Path, archives: Mapping[int, int], method: str, xff: float = 0) -> None:
        self.path, self.now = str(path), 0
        layout = [(seconds, kept // seconds) for seconds, kept in archives.items()]
        whisper.create(self.path, layout, xFilesFactor=xff, aggregationMethod=method)

    def write(self, readings: Sequence[tuple[int, float]], now: int) -> None:
        """Write readings, each at an instant in seconds, and let it be some time."""
        self.now = now
        whisper.update_many(self.path, list(readings), now=now)

    def read(self, seconds: int, start: int) -> Values:
        """
        The values of an archive from an instant until now, by the start of their interval.

        :param seconds: The length of its intervals.
        """
        # It answers what comes after the first instant, up to the second one and the interval of that.
        (first, end, step), values = whisper.fetch(
            self.path, start - seconds, self.now - seconds, now=self.now, archiveToSelect=seconds
        )
        assert (first, end, step) == (start, self.now, seconds)
        return dict(zip(range(first, end, step), values, strict=True))
