"""Which table of a cascade answers which stretch: by example, and as laws that hold for any holdings."""

from __future__ import annotations

import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.query.reading import Cascade, FetchRequest, Holding, Stretch, Wanted
from cratedb_retention.model.rollups.aggregates import GAUGE, Aggregate
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.rollup import Rollup, level_table, make_metric
from cratedb_retention.model.time import TimeRange, parse_instant, show, to_ms
from cratedb_retention.planning.query import choose_step, find_stretches, make_reading, whole_buckets

SOURCE = TableName("doc", "weather")
TIME = Column(name="ts", type="timestamp with time zone", kind=Kind.TIME)
METRIC = make_metric(Column(name="x", type="double precision", kind=Kind.NUMBER), GAUGE)
VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")


def ms(text: str) -> int:
    """An instant."""
    return to_ms(parse_instant(text))


def holding(name: str, start: int | None, end: int | None, zone: str = "UTC") -> Holding:
    """What a level holds, or the raw rows."""
    if name == "raw":
        return Holding(rollup=None, table=SOURCE, start=start, end=end)
    interval = parse_interval(name)
    table = level_table(SOURCE, interval)
    return Holding(
        rollup=Rollup(
            source=SOURCE,
            below=SOURCE,
            table=table,
            interval=interval,
            time=TIME,
            dimensions=(),
            metrics=(METRIC,),
            zone=zone,
        ),
        table=table,
        start=start,
        end=end,
    )


def cascade(*holdings: Holding, zone: str = "UTC") -> Cascade:
    """A cascade of these."""
    return Cascade(source=SOURCE, time=TIME, dimensions=(), metrics=(METRIC,), zone=zone, holdings=holdings)


def plan(found: Cascade, start: str, end: str, step: str) -> list[str]:
    """The stretches in words."""
    interval = parse_interval(step)
    span = whole_buckets(ms(start), ms(end), interval, found.tzinfo)
    return [words(stretch) for stretch in find_stretches(found, found.holdings, TimeRange(*span), interval)]


def words(stretch: Stretch) -> str:
    """A stretch as text."""
    more = f" by {stretch.interval}" if stretch.coarser else ""
    less = "".join(f" less {words(part)}" for part in stretch.less)
    return f"{stretch.holding.name}: {show(stretch.time.start)} {show(stretch.time.end)}{more}{less}"


USUAL = cascade(
    holding("raw", ms("2024-06-29"), None),
    holding("1m", ms("2024-06-24"), ms("2024-07-01T09:59")),
    holding("1h", ms("2024-04-01"), ms("2024-07-01T09:00")),
    holding("1d", None, ms("2024-07-01")),
)


@pytest.mark.parametrize(
    ("start", "end", "step", "found"),
    [
        ("2024-06-30", "2024-07-01", "1h", ["1h: 2024-06-30 2024-07-01"]),
        ("2024-06-30", "2024-07-01", "10m", ["1m: 2024-06-30 2024-07-01"]),
        ("2024-06-30", "2024-07-01", "10s", ["raw: 2024-06-30 2024-07-01"]),
        (
            "2024-06-30",
            "2024-07-01T10:30",
            "1h",
            [
                "1h: 2024-06-30 2024-07-01T09:00Z",
                "1m: 2024-07-01T09:00Z 2024-07-01T09:59Z",
                "raw: 2024-07-01T09:59Z 2024-07-01T11:00Z",
            ],
        ),
        (
            "2024-06-30",
            "2024-07-01T10:30",
            "1d",
            [
                "1d: 2024-06-30 2024-07-01",
                "1h: 2024-07-01 2024-07-01T09:00Z",
                "1m: 2024-07-01T09:00Z 2024-07-01T09:59Z",
                "raw: 2024-07-01T09:59Z 2024-07-02",
            ],
        ),
        (
            "2024-06-23T22:30",
            "2024-06-24T01:00",
            "10m",
            ["1h: 2024-06-23T22:00Z 2024-06-24 by 1h", "1m: 2024-06-24 2024-06-24T01:00Z"],
        ),
        (
            "2024-03-30T12:00",
            "2024-04-01T01:00",
            "1h",
            ["1d: 2024-03-30 2024-04-01 by 1d", "1h: 2024-04-01 2024-04-01T01:00Z"],
        ),
        ("2024-03-01", "2024-05-01", "1mo", ["1d: 2024-03-01 2024-05-01"]),
    ],
)
def test_examples(start: str, end: str, step: str, found: list[str]) -> None:
    """A usual cascade: coarse where that is enough, fine where that is asked, coarse where only that is left."""
    assert plan(USUAL, start, end, step) == found


def test_a_bucket_that_is_too_long_is_taken_as_a_whole() -> None:
    """Where raw rows begin in the middle of an hour that only its level holds, the hour is not counted twice."""
    found = cascade(holding("raw", ms("2024-01-01T10:20"), None), holding("1h", None, ms("2024-01-01T12:00")))
    assert plan(found, "2024-01-01T09:00", "2024-01-01T13:00", "1m") == [
        "1h: 2024-01-01T09:00Z 2024-01-01T11:00Z by 1h",
        "raw: 2024-01-01T11:00Z 2024-01-01T13:00Z",
    ]


def test_only_whole_buckets_answer() -> None:
    """A level that begins and ends within an hour answers for the whole hours between."""
    found = cascade(holding("1h", ms("2024-01-01T10:20"), ms("2024-01-01T12:40")))
    assert plan(found, "2024-01-01T10:00", "2024-01-01T14:00", "1h") == ["1h: 2024-01-01T11:00Z 2024-01-01T12:00Z"]


def test_what_a_level_can_answer() -> None:
    """It needs the parts of that very metric; the rest of a bucket needs sums, and a count that tells there are any."""
    rollup = holding("1h", None, None).rollup
    assert rollup is not None
    column = Column(name="y", type="double precision", kind=Kind.NUMBER)
    sums = make_metric(column, (Aggregate.SUM,))
    for wanted, kept, rest in (
        (Wanted(METRIC, "avg"), True, True),
        (Wanted(METRIC, "min"), True, False),
        (Wanted(METRIC, "p95"), False, True),
        (Wanted(make_metric(column, GAUGE), "avg"), False, True),
        (Wanted(sums, "sum"), False, False),
        (Wanted(None, "row_count"), True, True),
    ):
        assert (wanted.kept_by(rollup), wanted.follow_from_rest) == (kept, rest), wanted.name


def test_the_end_of_a_bucket_that_is_too_long_is_divided() -> None:
    """Where minutes begin in the middle of an hour of its level, they are there, and the hour has the rest."""
    found = cascade(
        holding("raw", ms("2024-01-01T10:40"), None),
        holding("1m", ms("2024-01-01T10:20"), ms("2024-01-01T11:30")),
        holding("1h", None, ms("2024-01-01T11:00")),
    )
    assert plan(found, "2024-01-01T09:00", "2024-01-01T12:00", "10s") == [
        "1h: 2024-01-01T09:00Z 2024-01-01T10:00Z by 1h",
        "1h: 2024-01-01T10:00Z 2024-01-01T10:20Z by 1h less 1m: 2024-01-01T10:20Z 2024-01-01T11:00Z",
        "1m: 2024-01-01T10:20Z 2024-01-01T10:40Z by 1m",
        "raw: 2024-01-01T10:40Z 2024-01-01T12:00Z",
    ]
    assert plan(found, "2024-01-01T09:00", "2024-01-01T12:00", "15m") == [
        "1h: 2024-01-01T09:00Z 2024-01-01T10:00Z by 1h",
        "1h: 2024-01-01T10:00Z 2024-01-01T10:30Z by 1h less 1m: 2024-01-01T10:30Z 2024-01-01T11:00Z",
        "1m: 2024-01-01T10:30Z 2024-01-01T11:30Z",
        "raw: 2024-01-01T11:30Z 2024-01-01T12:00Z",
    ]


def test_days_of_a_time_zone() -> None:
    """Days begin at midnight of the zone, also when the clocks change; a week has 167 hours then."""
    zone = "Europe/Vienna"
    found = cascade(
        holding("raw", ms("2024-03-31T10:00"), None, zone),
        holding("1h", ms("2024-01-01"), ms("2024-03-31T12:00"), zone),
        holding("1d", ms("2024-01-01"), ms("2024-03-30T23:00"), zone),
        zone=zone,
    )
    assert plan(found, "2024-03-30T00:00+01:00", "2024-04-01T00:00+02:00", "1d") == [
        "1d: 2024-03-29T23:00Z 2024-03-30T23:00Z",
        "1h: 2024-03-30T23:00Z 2024-03-31T12:00Z",
        "raw: 2024-03-31T12:00Z 2024-03-31T22:00Z",
    ]


def test_hours_are_no_parts_of_days_in_kathmandu() -> None:
    """Where midnight is within an hour of UTC, days are answered by what is finer, and hours by their level."""
    zone = "Asia/Kathmandu"
    levels = [holding(name, ms("2024-01-01"), None, zone) for name in ("raw", "15m", "1h")]
    found = cascade(*levels, zone=zone)
    day = ("2024-03-30T00:00+05:45", "2024-03-31T00:00+05:45")
    assert plan(found, *day, "1d") == ["15m: 2024-03-29T18:15Z 2024-03-30T18:15Z"]
    assert plan(cascade(levels[0], levels[2], zone=zone), *day, "1d") == ["raw: 2024-03-29T18:15Z 2024-03-30T18:15Z"]
    assert plan(found, "2024-03-30", "2024-03-31", "1h") == ["1h: 2024-03-30 2024-03-31"]


@pytest.mark.parametrize(
    ("hours", "points", "levels", "step"),
    [
        (24, 100, ["1m", "1h"], "15m"),
        (24, 24, ["1m", "1h"], "1h"),
        (24, 500, ["1m", "1h"], "5m"),
        (24, 100_000, [], "1s"),
        (24 * 30, 100, ["1h", "1d"], "8h"),
        (24 * 365, 100, ["1h", "1d"], "1w"),
        (24 * 365, 100, ["1h", "1d", "1mo"], "1w"),
        (24 * 365 * 8, 100, ["1h", "1w"], "1mo"),
        (24, 12, ["45m", "1h"], "3h"),
        (24, 40, ["45m"], "45m"),
        (24, 20, ["45m"], "3h"),
        (24 * 365 * 9000, 10, [], "1y"),
    ],
)
def test_points(hours: int, points: int, levels: list[str], step: str) -> None:
    """The step is the shortest nice one with at most so many points, into which the shorter levels fit if one does."""
    found = cascade(*(holding(name, None, None) for name in levels))
    assert str(choose_step(found, 0, hours * HOUR, points)) == step


def test_what_is_not_said() -> None:
    """Without a start it is the 24 hours before the end an end until now; at most 100 points."""
    now, found = parse_instant("2024-06-30T12:00Z"), cascade(holding("raw", None, None))
    reading = make_reading(found, FetchRequest(), now)
    assert [*map(show, reading.time), str(reading.step)] == ["2024-06-29T12:00Z", show(to_ms(now)), "15m"]
    earlier = make_reading(found, FetchRequest(end=parse_instant("2024-06-01")), now)
    assert [*map(show, earlier.time)] == ["2024-05-31", "2024-06-01"]
    aged = FetchRequest.of_texts(now, "-2d", "2024-06-01", None, None)
    assert (aged.start, aged.end, aged.points) == (parse_instant("2024-05-30"), parse_instant("2024-06-01"), 100)


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        ("2024-01-02", "2024-01-01", "1h"),
        ("2024-01-01", "2024-01-01", "1h"),
        ("2024-01-01", "2024-06-01", "1s"),
        ("9998-01-01", "9999-12-31T01:00", "1d"),
    ],
)
def test_ranges_that_make_no_sense(start: str, end: str, step: str) -> None:
    """Backwards, empty, too fine, beyond the calendar."""
    with pytest.raises(InvalidInput):
        whole_buckets(ms(start), ms(end), parse_interval(step), VIENNA)


BASE = ms("2024-03-25")
HOUR = 3_600_000
STEPS = ("1m", "10m", "1h", "3h", "1d", "1w", "1mo")
LEVELS = ("10m", "1h", "1d", "1mo")
instants = st.integers(0, 24 * 6 * 14).map(lambda tens: BASE + tens * 600_000)
ends = st.one_of(st.none(), instants)


@st.composite
def cascades(draw: st.DrawFn) -> Cascade:
    """Any levels of a cascade, holding anything."""
    zone = draw(st.sampled_from(["UTC", "Europe/Vienna"]))
    names = [name for name in ("raw", *LEVELS) if draw(st.booleans())]
    return cascade(*(holding(name, draw(ends), draw(ends), zone) for name in names), zone=zone)


def held(found: Cascade, table: Holding, instant: int) -> bool:
    """Whether a table holds all of the bucket of its own that an instant lies in."""
    low = high = instant
    if table.rollup:
        low = table.rollup.interval.floor(instant, found.tzinfo)
        high = table.rollup.interval.end(low, found.tzinfo) - 1
    return (table.start is None or table.start <= low) and (table.end is None or high < table.end)


@given(cascades(), instants, st.integers(1, 24 * 20), st.sampled_from(STEPS), st.sampled_from(["", "why"]), st.data())
def test_each_instant_is_in_one_stretch(
    found: Cascade, start: int, hours: int, step: str, undivided: str, data: st.DataObject
) -> None:
    """Each instant that some table holds is in exactly one stretch, of a table that holds it; others are in none."""
    interval = parse_interval(step)
    low, high = whole_buckets(start, start + hours * HOUR, interval, found.tzinfo)
    stretches = find_stretches(found, found.holdings, TimeRange(low, high), interval, undivided)
    edges = sorted({edge + by for s in stretches for edge in s.time for by in (-1, 0)} | {low, high - 1})
    more = data.draw(st.lists(st.integers(low, high - 1), max_size=20))
    for instant in [*(edge for edge in edges if low <= edge < high), *more]:
        mine = [s for s in stretches if s.time.start <= instant < s.time.end]
        holders = [table for table in found.holdings if held(found, table, instant)]
        assert len(mine) == bool(holders)
        for s in mine:
            assert held(found, s.holding, instant)


@given(cascades(), instants, st.integers(1, 24 * 20), st.sampled_from(STEPS))
def test_stretches_consist_of_whole_buckets(found: Cascade, start: int, hours: int, step: str) -> None:
    """No bucket of a level is cut; what lies outside of the range belongs to a bucket that reaches into it."""
    interval, zone = parse_interval(step), found.tzinfo
    low, high = whole_buckets(start, start + hours * HOUR, interval, zone)
    stretches = find_stretches(found, found.holdings, TimeRange(low, high), interval)
    for s in stretches:
        assert s.time.start < s.time.end
        own: Interval | None = s.holding.rollup.interval if s.holding.rollup else None
        if own:
            assert own.floor(s.time.start, zone) == s.time.start
            assert own.floor(s.whole.time.end, zone) == s.whole.time.end
        if s.coarser:
            assert s.interval == own
            assert own.end(own.floor(low, zone), zone) > low >= s.time.start or s.time.start >= low
        else:
            assert low <= s.time.start
            assert s.time.end <= high
            assert s.interval == interval
    for one, other in pairwise(stretches):
        assert one.time.end <= other.time.start


@given(cascades(), instants, st.integers(1, 24 * 20), st.sampled_from(STEPS))
def test_rests(found: Cascade, start: int, hours: int, step: str) -> None:
    """What a rest is reckoned with is all of the bucket's end, each instant once, in whole buckets of a level."""
    interval, zone = parse_interval(step), found.tzinfo
    low, high = whole_buckets(start, start + hours * HOUR, interval, zone)
    divided = find_stretches(found, found.holdings, TimeRange(low, high), interval)
    for s in (s for s in divided if s.less):
        assert s.coarser
        assert s.interval.end(s.time.start, zone) == s.less[-1].time.end
        assert [part.time.start for part in s.less] == [s.time.end, *(part.time.end for part in s.less[:-1])]
        for part in s.less:
            assert part.holding.rollup
            own = part.holding.rollup.interval
            assert own.floor(part.time.start, zone) == part.time.start
            assert own.floor(part.time.end, zone) == part.time.end
            assert held(found, part.holding, part.time.start)
            assert held(found, part.holding, part.time.end - 1)
    undivided = find_stretches(found, found.holdings, TimeRange(low, high), interval, "it is asked for")
    assert not any(s.less for s in undivided)
    assert any(s.less for s in divided) == any(s.finer_from for s in undivided)


@given(cascades(), instants, st.integers(1, 24 * 20), st.sampled_from(STEPS))
def test_the_coarsest_that_fits_answers(found: Cascade, start: int, hours: int, step: str) -> None:
    """A stretch that fits has no coarser level that fits; one of longer buckets has no table that fits."""
    interval, zone = parse_interval(step), found.tzinfo
    low, high = whole_buckets(start, start + hours * HOUR, interval, zone)
    for s in find_stretches(found, found.holdings, TimeRange(low, high), interval):
        fitting = [t for t in found.holdings if t.rollup is None or t.rollup.interval.fits_into(interval, zone)]
        if not s.coarser:
            better = fitting[fitting.index(s.holding) + 1 :]
            assert not [t for t in better if held(found, t, s.time.start) and held(found, t, s.time.end - 1)]
            continue
        bucket = s.time.start
        while bucket < s.time.end:
            end = s.interval.end(bucket, zone)
            tens = range(max(bucket, low), min(end, high), 600_000)
            assert any(not any(held(found, t, instant) for t in fitting) for instant in tens)
            bucket = end
