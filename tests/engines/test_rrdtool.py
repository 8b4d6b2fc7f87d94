"""
The strategy `downsample` says what RRDtool says, to the digits that this one prints, where both mean the same: one
reading for each step, and intervals that begin in UTC. Where they do not mean the same, how they differ.
"""

from __future__ import annotations

import itertools
import math
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from support.databases import Database
from support.sensor_readings import (
    CLOSE,
    DAY,
    END,
    HOUR,
    START,
    STEP,
    TABLE,
    Reading,
    Values,
    assert_same,
    downsample,
    fetch,
    make_readings,
    read_level,
    times,
    within,
)
from support.tiers import DECIDED

_BATCH = 1000
MORE = pytest.mark.long("make test compares counters there, and all of this on DuckDB", on="cratedb")


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


# Seconds of an interval, by the name of the level.
SECONDS = {"1m": STEP, "5m": 300, "1h": HOUR, "1d": DAY}
FUNCTIONS = {"AVERAGE": "avg", "MIN": "min", "MAX": "max", "LAST": "last"}
# A reading is known for one step. A counter may be read twice, as a rate that may fall and as one that may not.
SOURCES = {"gauge": "GAUGE:60:U:U", "counter": "COUNTER:60:0:U", "derive": "DERIVE:60:0:U"}
# For how many seconds each archive and each level is kept.
KEPT = {"1m": 2 * DAY, "5m": 3 * DAY, "1h": 6 * DAY, "1d": 7 * DAY}


def write(command: str, path: Path, readings: list[Reading], kept: dict[str, int]) -> RRDFile:
    """The readings in a file of RRDtool."""
    archives = {seconds // STEP: kept[level] // seconds for level, seconds in SECONDS.items()}
    file = RRDFile(command, path / "peer.rrd", START - STEP, SOURCES, archives, xff=0.5)
    file.write((reading.at, (reading.gauge, reading.counter, reading.counter)) for reading in readings)
    return file


@MORE
def test_the_same_numbers(db: Database, rrdtool: str, tmp_path: Path) -> None:
    """
    Average, least, greatest and last of a gauge in each archive; what a counter grew by is its average rate, times the
    seconds. Each level is kept as long as the archive, and what is finer is gone by then.
    """
    readings = make_readings(seed=1)
    file = write(rrdtool, tmp_path, readings, KEPT)
    downsample(db, readings, "1d", "1m:2d,5m:3d,1h:6d,1d:forever")
    assert db.count(TABLE) == DAY // STEP
    for level, seconds in SECONDS.items():
        since = END - KEPT[level]
        metrics = [*(f"gauge:{name}" for name in FUNCTIONS.values()), "counter:increase", "counter:rate"]
        ours = fetch(db, level, since, *metrics)
        assert len(ours["gauge:avg"]) == KEPT[level] // seconds
        for function, name in FUNCTIONS.items():
            theirs = file.read(function, seconds, since, END)
            assert_same(theirs["gauge"], ours[f"gauge:{name}"], CLOSE if function == "AVERAGE" else 0)
            if function == "AVERAGE":
                for source in ("counter", "derive"):
                    assert_same(times(theirs[source], seconds), ours["counter:increase"])
                    assert_same(theirs[source], ours["counter:rate"])


@pytest.mark.long("make test compares what is known, and counters with gaps")
def test_the_unknown(db: Database, rrdtool: str, tmp_path: Path) -> None:
    """
    An archive with `xff` 0.5 has a value where a level has half of the values, and it is the same one. The last value
    is the last known one here; RRDtool's is unknown where that of the last step is.
    """
    readings = make_readings(seed=2, lost=0.25)
    file = write(rrdtool, tmp_path, readings, dict.fromkeys(SECONDS, END - START))
    downsample(db, readings, "7d", "1m:7d,5m:7d,1h:7d,1d:forever")
    known = file.read("AVERAGE", STEP, START, END)["gauge"]
    for level, seconds in SECONDS.items():
        enough = f"gauge_count >= 0.5 * {seconds // STEP}"
        for function, name in FUNCTIONS.items():
            theirs, ours = (
                file.read(function, seconds, START, END)["gauge"],
                read_level(db, level, f"gauge_{name}", enough),
            )
            if function == "LAST":
                ours = {at: value for at, value in ours.items() if known[at + seconds - STEP] is not None}
            assert len(ours) > 0.7 * len(theirs)
            assert_same(theirs, ours, CLOSE if function == "AVERAGE" else 0)


@DECIDED
def test_a_counter_with_gaps_and_resets(db: Database, rrdtool: str, tmp_path: Path) -> None:
    """
    Where RRDtool knows each step, the increase is the same. It knows neither the step of a missing reading nor the one
    after it, nor one in which a counter began anew; here what came in these steps is counted.
    """
    readings = make_readings(seed=3, lost=0.02, resets=0.002)
    file = write(rrdtool, tmp_path, readings, dict.fromkeys(SECONDS, END - START))
    downsample(db, readings, "7d", "1m:7d,5m:7d,1h:7d,1d:forever")
    steps = file.read("AVERAGE", STEP, START, END)["derive"]
    for level, seconds in SECONDS.items():
        theirs, ours = file.read("AVERAGE", seconds, START, END)["derive"], read_level(db, level, "counter_increase")
        known = within(steps, seconds)
        whole = [at for at, rates in known.items() if len(rates) * STEP == seconds]
        assert len(whole) >= 0.4 * len(theirs)
        assert_same(times({at: theirs[at] for at in whole}, seconds), {at: ours[at] for at in whole})
        for at in known.keys() - whole:
            assert (ours[at] or 0) >= sum(known[at]) * STEP * (1 - CLOSE)
    grown = read_level(db, "1d", "counter_increase").values()
    assert sum(value or 0 for value in grown) == _growth(readings)


def _growth(readings: Iterable[Reading]) -> int:
    """How much a counter grew; where it fell it had begun anew."""
    known = [reading.counter for reading in readings if reading.counter is not None]
    return sum(after - before if after >= before else after for before, after in itertools.pairwise(known))


def test_several_readings_in_a_step(db: Database, rrdtool: str, tmp_path: Path) -> None:
    """
    By design not the same: RRDtool makes one value of a step, the average over its time, and compares these. Here each
    reading counts as one.
    """
    readings = [
        Reading(step=minute, gauge=gauge * (1 + minute % 3), counter=None, seconds=seconds)
        for minute in range(-1, 120)
        for seconds, gauge in ((15, 10.0), (30, 0.0), (60, 40.0))
    ]
    file = write(rrdtool, tmp_path, readings, dict.fromkeys(SECONDS, END - START))
    downsample(db, readings, "7d", "1h:forever")
    in_a_step, hours = 15 / 60 * 10 + 30 / 60 * 40, [START, START + HOUR]
    right = {
        # Their value, ours. The factors are 1, 2 and 3, in equal parts.
        "AVERAGE": (2 * in_a_step, 2 * (10 + 0 + 40) / 3),
        "MIN": (in_a_step, 0),
        "MAX": (3 * in_a_step, 120),
    }
    for function, (theirs, ours) in right.items():
        assert_same(file.read(function, HOUR, START, START + 2 * HOUR)["gauge"], dict.fromkeys(hours, theirs))
        assert_same(read_level(db, "1h", f"gauge_{FUNCTIONS[function]}"), dict.fromkeys(hours, ours))
