"""
RRDtool, the command: files with archives, filled and read.
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from support.peers import STEP, Values

_BATCH = 1000


def find_rrdtool() -> str | None:
    """Where the command is."""
    return shutil.which("rrdtool")


class RRDFile:
    """
    A file.

    :param start: Seconds; what is written must be later.
    :param sources: Data sources in RRDtool's words, by name: ``{"x": "GAUGE:120:U:U"}``.
    :param archives: How many steps one of their values is made of, and how many values are kept. Each has the
        functions AVERAGE, MIN, MAX and LAST.
    :param xff: How much of an interval may be unknown.
    """

    def __init__(
        self, command: str, path: Path, start: int, sources: Mapping[str, str], archives: Mapping[int, int], xff: float
    ) -> None:
        self.command, self.path, self.names = command, path, list(sources)
        self._run(
            *("create", str(path), f"--start={start}", f"--step={STEP}"),
            *(f"DS:{name}:{words}" for name, words in sources.items()),
            *(
                f"RRA:{function}:{xff}:{steps}:{values}"
                for function in ("AVERAGE", "MIN", "MAX", "LAST")
                for steps, values in archives.items()
            ),
        )

    def write(self, readings: Iterable[tuple[int, Sequence[float | None]]]) -> None:
        """Write readings of all sources, each at an instant in seconds; None is unknown."""
        words = (":".join([str(at), *("U" if v is None else repr(v) for v in values)]) for at, values in readings)
        while batch := list(itertools.islice(words, _BATCH)):
            self._run("update", str(self.path), *batch)

    def read(self, function: str, seconds: int, start: int, end: int) -> dict[str, Values]:
        """
        The values of an archive, by source and by the start of their interval. RRDtool names them by its end.

        :param seconds: The length of its intervals.
        """
        text = self._run("fetch", str(self.path), function, f"-r{seconds}", f"-s{start}", f"-e{end}")
        found: dict[str, Values] = {name: {} for name in self.names}
        for line in text.splitlines():
            label, _, numbers = line.partition(":")
            if numbers and start < int(label) <= end:
                for name, number in zip(self.names, map(float, numbers.split()), strict=True):
                    found[name][int(label) - seconds] = None if math.isnan(number) else number
        assert list(found[self.names[0]]) == list(range(start, end, seconds)), "another archive answered"
        return found

    def _run(self, *arguments: str) -> str:
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run([self.command, *arguments], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout
