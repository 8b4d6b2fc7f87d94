"""
The strategy `downsample` says what the files of Graphite say, where both mean the same: one value for each step of the
first archive, which is what the raw rows are here. Where they do not mean the same, how they differ.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import whisper

from support.databases import Database
from support.sensor_readings import (
    CLOSE,
    DAY,
    END,
    HOUR,
    START,
    STEP,
    Reading,
    Values,
    assert_same,
    downsample,
    fetch,
    make_readings,
    read_level,
    within,
)
from support.tiers import DECIDED

MORE = pytest.mark.long("make test compares the numbers there, and all of this on DuckDB", on="cratedb")


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


# Seconds of an interval, by the name of the level; the archive of single steps is the raw rows.
SECONDS = {"5m": 300, "1h": HOUR, "1d": DAY}
METHODS = {"average": "avg", "sum": "sum", "min": "min", "max": "max", "last": "last"}
# For how many seconds each archive is kept, and each level too.
ARCHIVES = {STEP: DAY, 300: 3 * DAY, HOUR: 6 * DAY, DAY: 30 * DAY}
LEVELS = "5m:3d,1h:6d,1d:forever"


def write(path: Path, method: str, readings: Sequence[Reading], xff: float = 0) -> WhisperFile:
    """The gauge in a file of Graphite, written every 100 minutes, so that each archive goes round in its ring."""
    file = WhisperFile(path / f"{method}.wsp", ARCHIVES, method, xff)
    readings = readings[1:]
    for i in range(0, len(readings), 100):
        batch = readings[i : i + 100]
        known = [(reading.at - STEP, reading.gauge) for reading in batch if reading.gauge is not None]
        file.write(known, batch[-1].at)
    return file


def compare(db: Database, readings: Sequence[Reading], path: Path, methods: Sequence[str]) -> None:
    """Each archive, as far back as it goes, against what `fetch` answers."""
    files = {method: write(path, method, readings) for method in methods}
    for level, seconds in {"1m": STEP, **SECONDS}.items():
        since = max(START, END - ARCHIVES[seconds])
        ours = fetch(db, level, since, *(f"gauge:{METHODS[method]}" for method in methods))
        for method, file in files.items():
            theirs = file.read(seconds, since)
            assert len(theirs) == (END - since) // seconds
            assert_same(theirs, ours[f"gauge:{METHODS[method]}"], CLOSE if method in ("average", "sum") else 0)


@DECIDED
@pytest.mark.long("Graphite computes as RRDtool does, with which make test compares")
def test_the_same_numbers(db: Database, tmp_path: Path) -> None:
    """All methods in all archives, each made of the finer one."""
    readings = make_readings(seed=4)
    downsample(db, readings, "1d", LEVELS)
    compare(db, readings, tmp_path, list(METHODS))


@MORE
@pytest.mark.long("Graphite computes as RRDtool does, with which make test compares")
def test_missing_points(db: Database, tmp_path: Path) -> None:
    """With `xFilesFactor` 0 values are made of what is there, as here; all methods but one give the same."""
    readings = make_readings(seed=5, lost=0.3)
    downsample(db, readings, "1d", LEVELS)
    compare(db, readings, tmp_path, [method for method in METHODS if method != "average"])


@MORE
@pytest.mark.long("Graphite computes as RRDtool does, with which make test compares")
def test_averages_of_averages(db: Database, tmp_path: Path) -> None:
    """
    By design not the same: where points are missing, Whisper's average of an hour is one of averages, each counted
    alike. It is the average of those that our finer level has, and not our average.
    """
    readings = make_readings(seed=6, lost=0.3)
    downsample(db, readings, "7d", "5m:7d,1h:7d,1d:forever")
    file = write(tmp_path, "average", readings)
    finer, since = read_level(db, "5m", "gauge_avg"), END - ARCHIVES[300]
    assert_same(file.read(300, since), {at: value for at, value in finer.items() if at >= since})
    for level, seconds in (("1h", HOUR), ("1d", DAY)):
        since = max(START, END - ARCHIVES[seconds])
        theirs, ours = file.read(seconds, since), read_level(db, level, "gauge_avg")
        finer = {at: statistics.fmean(values) for at, values in within(finer, seconds).items()}
        assert_same(theirs, {at: value for at, value in finer.items() if at >= since})
        complete = read_level(db, level, "gauge_avg", f"gauge_count = {seconds // STEP}")
        apart = {
            at for at, value in theirs.items() if value is not None and value != pytest.approx(ours[at], rel=CLOSE)
        }
        assert apart
        assert apart.isdisjoint(complete)


@MORE
@pytest.mark.long("Graphite computes as RRDtool does, with which make test compares")
def test_half_of_the_points(db: Database, tmp_path: Path) -> None:
    """What an `xFilesFactor` does to the first archive that is made of others, a condition on the count does here."""
    readings = make_readings(seed=7, lost=0.4)
    downsample(db, readings, "7d", "5m:7d,1h:forever")
    since = END - ARCHIVES[300]
    for method, name in METHODS.items():
        theirs = write(tmp_path, method, readings, xff=0.5).read(300, since)
        ours = read_level(db, "5m", f"gauge_{name}", "gauge_count >= 0.5 * 5")
        assert_same(theirs, {at: value for at, value in ours.items() if at >= since})
        assert None in theirs.values()
