"""Archives of other tools become cascades that keep at least as much, and files that say what differs."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import FOREVER, Duration, parse_duration
from cratedb_retention.model.rollups.cascade import parse_levels
from cratedb_retention.model.translation import Archive, Translated, Translation, kept_for, make_cascade, write_policies

DAY = 86_400


def archive(seconds: int, days: float) -> Archive:
    """An archive of a tool."""
    return Archive(seconds=seconds, retention=Duration(seconds=int(days * DAY)), where=f"archive of {seconds}s")


def levels(raw_days: float, *archives: tuple[int, float], rounding: bool = False) -> tuple[str, str, int]:
    """The cascade of archives: the raw period, the levels, and how many warnings there are."""
    raw = Duration(seconds=int(raw_days * DAY))
    cascade = make_cascade("all", raw, [archive(*each) for each in archives], rounding)
    return str(cascade.retention_period), ",".join(map(str, cascade.levels)), len(cascade.warnings)


@pytest.mark.parametrize(
    ("raw", "archives", "expected"),
    [
        (7, [], ("7d", "", 0)),
        (7, [(60, 30)], ("7d", "1m:30d", 0)),
        (7, [(3600, 365), (60, 30)], ("7d", "1m:30d,1h:365d", 0)),
        (2, [(7200, 30), (DAY, 450)], ("2d", "2h:30d,1d:450d", 0)),
        (7, [(7 * DAY, 365)], ("7d", "1w:365d", 0)),
        # What lies beside it needs longer periods.
        (0.25, [(DAY, 365)], ("1d", "1d:365d", 1)),
        (30, [(60, 7)], ("30d", "1m:30d", 1)),
        (1, [(3600, 0.5), (DAY, 365)], ("1d", "1h:1d,1d:365d", 1)),
        (1, [(300, 40), (3600, 10), (DAY, 20)], ("1d", "5m:40d,1h:40d,1d:40d", 2)),
    ],
)
def test_exact(raw: float, archives: list[tuple[int, float]], expected: tuple[str, str, int]) -> None:
    """What has a counterpart is taken as it is; periods only ever become longer."""
    assert levels(raw, *archives) == expected


@pytest.mark.parametrize(
    ("archives", "expected"),
    [
        ([(70, 30)], "1m:30d"),
        ([(2100, 30)], "30m:30d"),
        ([(36 * 3600, 30)], "1d:30d"),
        ([(14 * DAY, 365)], "1w:365d"),
        ([(30 * DAY, 3650)], "1mo:3650d"),
        ([(365 * DAY, 3650)], "1y:3650d"),
        ([(DAY, 365), (31 * DAY, 3650)], "1d:365d,1mo:3650d"),
        # No month consists of weeks, no quarter of an hour of ten minutes: the finer one is kept instead.
        ([(7 * DAY, 365), (30 * DAY, 3650)], "1w:3650d"),
        ([(600, 30), (900, 90)], "10m:90d"),
        ([(60, 30), (61, 90)], "1m:90d"),
        ([(96, 30), (100, 90)], "96s:90d"),
        # Those of collectd, with 10 s and 1200 rows.
        ([(70, 1), (500, 7), (2230, 31), (26350, 366)], "1m:1d,5m:7d,30m:31d,6h:366d"),
    ],
)
def test_rounding(archives: list[tuple[int, float]], expected: str) -> None:
    """An interval without counterpart is refused, naming the archive and what would become of it, or rounded."""
    with pytest.raises(InvalidInput, match=r"archive of .*--round"):
        levels(1, *archives)
    _, found, warnings = levels(1, *archives, rounding=True)
    assert found == expected
    assert warnings


archives_strategy = st.lists(
    st.tuples(
        st.sampled_from([1, 7, 10, 60, 70, 300, 900, 3600, 5400, 7200, DAY, 7 * DAY, 30 * DAY])
        | st.integers(1, 400 * DAY),
        st.integers(1, 4000),
    ),
    max_size=6,
)


@given(st.integers(1, 400), archives_strategy)
@example(1, [(60, 1), (60, 2)])
@example(1, [(7 * DAY, 1), (400 * DAY, 1)])
def test_whatever_is_rounded_is_a_cascade(raw: int, found: list[tuple[int, int]]) -> None:
    """Each cascade can be read again, keeps everything for at least as long, and the longest period is covered."""
    cascade = make_cascade("all", Duration(seconds=raw * DAY), [archive(*each) for each in found], rounding=True)
    assert parse_levels(",".join(map(str, cascade.levels))) == cascade.levels
    assert bool(cascade.levels) == bool(found)
    periods = [cascade.retention_period, *(level.retention_period for level in cascade.levels)]
    assert periods[0].approximate_seconds() >= raw * DAY
    for seconds, days in found:
        # A level at least about as fine, kept at least as long.
        assert any(
            level.interval.approximate_seconds <= seconds * 1.02
            and level.retention_period.approximate_seconds() >= days * DAY
            for level in cascade.levels
        )


@given(st.lists(st.text(), max_size=3), st.text(min_size=1))
@example(["a\nstrategy: delete", "b\u2028c", "d\x85- e"], "x: y")
@example([], "\x85")
def test_comments_stay_comments(notes: list[str], table: str) -> None:
    """No text of a foreign file ends a comment, or changes the policies."""
    policy = {"strategy": "delete", "table_name": table, "retention_period": "7d"}
    translation = Translation((Translated(policy, tuple(notes), tuple(notes)),), tuple(notes), tuple(notes))
    assert yaml.safe_load(write_policies(translation, "title")) == {"policies": [policy]}


def test_warnings_are_told_once() -> None:
    """What several policies have in common is one warning."""
    one = Translated({}, warnings=("a", "b"))
    assert Translation((one, one), warnings=("c",)).all_warnings == ("c", "a", "b")


def test_periods_are_readable() -> None:
    """A period that became longer is written as durations are."""
    cascade = make_cascade("all", Duration(seconds=60), [archive(DAY, 90)], rounding=False)
    assert parse_duration(str(cascade.retention_period)) == Duration(seconds=DAY)
    assert cascade.warnings == ("all: the raw rows kept for 1d instead of 1m, as the adjacent levels require",)


def test_a_thousand_years_and_more() -> None:
    """More than a thousand years are forever, in years as well as in seconds."""
    year = 366 * 86_400
    assert (kept_for(1000 * year), kept_for(0, 1000)) == (Duration(seconds=1000 * year), Duration(months=12_000))
    assert kept_for(1001 * year) == kept_for(0, 1001) == FOREVER
