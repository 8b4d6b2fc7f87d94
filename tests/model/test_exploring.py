"""What is chosen on the page "Explore" as an address, and the stretch of time that is looked at."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.query.exploring import (
    filters,
    moved,
    read_query,
    read_span,
    read_step,
    wanted_texts,
    whole_span,
)
from cratedb_retention.model.query.reading import (
    Cascade,
    Cell,
    Fetched,
    Holding,
    Stretch,
    describe,
    interval_words,
    join_stretches,
)
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import Interval, parse_interval
from cratedb_retention.model.rollups.rollup import Metric, Rollup, make_metric
from cratedb_retention.model.time import TimeRange, parse_instant, to_ms

NOW = dt.datetime(2024, 7, 2, 12, tzinfo=dt.UTC)
TIME, PLACE = Column(name="ts", type="TIMESTAMP", kind=Kind.TIME), Column(name="place", type="TEXT", kind=Kind.TEXT)
SOURCE = TableName("lab", "weather")
WHOLE = TimeRange(0, 1_000_000)


def ms(text: str) -> int:
    return to_ms(parse_instant(text))


def metric(*aggregates: Aggregate, name: str = "t") -> Metric:
    return make_metric(Column(name=name, type="DOUBLE", kind=Kind.NUMBER), aggregates)


def cascade(*metrics: Metric) -> Cascade:
    return Cascade(source=SOURCE, time=TIME, dimensions=(PLACE,), metrics=metrics, zone="UTC", holdings=())


def stretch(level: str | None, start: str, end: str, interval: str) -> Stretch:
    table = TableName("lab", f"weather_{level}") if level else SOURCE
    rollup = (
        Rollup(
            source=SOURCE,
            below=SOURCE,
            table=table,
            interval=parse_interval(level),
            time=TIME,
            dimensions=(),
            metrics=(),
        )
        if level
        else None
    )
    return Stretch(
        holding=Holding(rollup=rollup, table=table, start=None, end=None),
        time=TimeRange(ms(start), ms(end)),
        interval=parse_interval(interval),
    )


def test_a_choice_is_what_the_address_says() -> None:
    """What is unknown or empty is left out; everything is looked at unless instants or a range are given."""
    known = {"table": "lab.x&y=z", "by": "place,region", "where.place": "Sankt Pölten & Co"}
    assert read_query({**known, "more": "x", "metric": ""}) == {**known, "range": "everything"}
    assert read_query({**known, "range": "week"}) == {**known, "range": "week"}
    instants = {"table": "t", "from": "-7d", "until": "2024-06-01"}
    assert read_query({**instants, "range": "week"}) == instants


def test_null_is_a_value() -> None:
    """The text NULL means NULL."""
    asked = read_query({"where.place": "NULL", "where.region": "null", "where.empty": ""})
    assert filters(asked) == {"place": None, "region": "null"}


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({"range": "day"}, "2024-07-01T12:00", "2024-07-02T12:00"),
        ({"range": "week"}, "2024-06-25T12:00", "2024-07-02T12:00"),
        ({"range": "hour"}, "2024-07-02T11:00", "2024-07-02T12:00"),
        ({"range": "month"}, "2024-06-02T12:00", "2024-07-02T12:00"),
        ({"range": "year"}, "2023-07-03T12:00", "2024-07-02T12:00"),
        ({"from": "2024-06-01"}, "2024-06-01", "2024-07-02T12:00"),
        ({"from": "-1d", "until": "2024-06-30"}, "2024-06-29", "2024-06-30"),
        ({"until": "2024-06-30"}, "1970-01-01", "2024-06-30"),
        ({}, "1970-01-01", "1970-01-01T00:16:40"),
    ],
)
def test_stretch_of_time(query: dict[str, str], start: str, end: str) -> None:
    """Words and instants become a stretch of time."""
    assert read_span(read_query(query), WHOLE, NOW) == (ms(start), ms(end))


def test_everything() -> None:
    """Everything begins with the first bucket of a level or archive, whatever raw rows there are; else it is a year."""
    known = cascade(metric(Aggregate.AVG))
    [day, week] = (
        replace(stretch(level, "2024-06-01", "2024-07-01", level).holding, start=ms(start))
        for level, start in (("1d", "2024-06-20"), ("1w", "2024-06-03"))
    )
    raw = Holding(rollup=None, table=SOURCE, start=ms("2024-05-01"), end=None)
    assert whole_span(replace(known, holdings=(raw, day, week)), NOW) == (ms("2024-06-03"), to_ms(NOW))
    recent = replace(day, start=to_ms(NOW) - 1)
    assert whole_span(replace(known, holdings=(raw, recent)), NOW) == (to_ms(NOW) - 10_000, to_ms(NOW))
    assert whole_span(replace(known, holdings=(raw,)), NOW) == (ms("2023-07-03T12:00"), to_ms(NOW))
    for holdings in ((raw,), (raw, day)):
        found = whole_span(replace(known, holdings=holdings), NOW, ms("2022-03-01"))
        assert found == (ms("2022-03-01"), to_ms(NOW))
    assert whole_span(replace(known, holdings=(raw, week)), NOW, ms("2024-06-30")).start == ms("2024-06-03")


@pytest.mark.parametrize(
    "query", [{"range": "<b>"}, {"from": "then"}, {"from": "2024-07-01", "until": "2024-07-01"}, {"from": "-99999y"}]
)
def test_no_stretch_of_time(query: dict[str, str]) -> None:
    """What is none is said to be none."""
    with pytest.raises(InvalidInput):
        read_span(read_query(query), WHOLE, NOW)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (moved(TimeRange(0, 1_000_000), WHOLE, zoom=0.5), (250_000, 750_000)),
        (moved(TimeRange(0, 100_000), WHOLE, zoom=2), (0, 200_000)),
        (moved(TimeRange(0, 900_000), WHOLE, zoom=4), WHOLE),
        (moved(TimeRange(500_000, 510_000), WHOLE, zoom=0.5), (500_000, 510_000)),
        (moved(TimeRange(100_000, 300_000), WHOLE, by=0.5), (200_000, 400_000)),
        (moved(TimeRange(100_000, 300_000), WHOLE, by=-2), (0, 200_000)),
    ],
)
def test_looking_closer(found: TimeRange, expected: tuple[int, int]) -> None:
    """Zooming and moving stays within what there is, and never becomes too short."""
    assert found == expected


def test_step() -> None:
    """A step is what was chosen, unless it gives too many points; without one, it is left to the time range."""
    assert read_step({}, WHOLE, 1) is None
    assert read_step({"step": "10s"}, WHOLE, 100) == Interval(10)
    with pytest.raises(InvalidInput, match="gives 100 points"):
        read_step({"step": "10s"}, WHOLE, 99)
    with pytest.raises(InvalidInput, match="invalid"):
        read_step({"step": "<b>"}, WHOLE, 100)


def test_aggregates() -> None:
    """What is offered is what is kept; the most useful is the first."""
    assert metric(Aggregate.AVG, Aggregate.MIN).answers == ["avg", "min", "sum", "count"]
    assert metric(Aggregate.INCREASE).answers == ["increase", "rate", "first", "last"]
    assert metric(Aggregate.PERCENTILES).answers == ["p50", "p95", "p99"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ("t:avg", "t:min", "t:max")),
        ({"by": "place"}, ("t:avg",)),
        ({"metric": "c"}, ("c:increase",)),
        ({"metric": "t"}, ("t:avg", "t:min", "t:max")),
        ({"metric": "t:avg", "by": "place"}, ("t:avg",)),
        ({"metric": "t:p95"}, ("t:p95",)),
        ({"metric": "row_count"}, ("row_count",)),
        ({"metric": "nothing:avg"}, ("nothing:avg",)),
    ],
)
def test_what_is_fetched(query: dict[str, str], expected: tuple[str, ...]) -> None:
    """An average of one line comes with its least and greatest values."""
    known = cascade(
        metric(Aggregate.AVG, Aggregate.MIN, Aggregate.MAX, Aggregate.PERCENTILES), metric(Aggregate.INCREASE, name="c")
    )
    assert wanted_texts(known, read_query(query)) == expected


@pytest.mark.parametrize(
    ("text", "words"), [("1s", "second"), ("30s", "30 seconds"), ("1h", "hour"), ("6h", "6 hours"), ("1mo", "month")]
)
def test_interval_in_words(text: str, words: str) -> None:
    """How far points are apart."""
    assert interval_words(parse_interval(text)) == words


def fetched(*stretches: Stretch, gaps: tuple[TimeRange, ...] = ()) -> Fetched:
    return Fetched(
        columns=("ts", "t_avg", "level"),
        rows=(),
        keys=0,
        step=Interval(3600),
        start=0,
        end=1,
        stretches=stretches,
        gaps=gaps,
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fetched(), "No table has data for this time range."),
        (
            fetched(stretch("1h", "2024-06-01", "2024-06-20", "1h"), stretch(None, "2024-06-20", "2024-06-21", "1h")),
            "1 point per hour, from lab.weather_1h; since 2024-06-20 from the raw rows.",
        ),
        (
            fetched(
                stretch("1d", "2024-06-01", "2024-06-02", "1d"),
                stretch("1d", "2024-06-02", "2024-06-20", "1d"),
                stretch(None, "2024-06-20", "2024-06-21", "10m"),
                gaps=(TimeRange(ms("2024-05-01"), ms("2024-06-01")),),
            ),
            "1 point per day, from lab.weather_1d; since 2024-06-20: 1 point per 10 minutes, from the raw rows; "
            "no data from 2024-05-01 to 2024-06-01.",
        ),
    ],
)
def test_resolution_in_words(answer: Fetched, words: str) -> None:
    """Which step, and which level each stretch is from."""
    assert describe(answer) == words


def test_neighbours_are_one() -> None:
    """Stretches of one level that touch are one part."""
    one, other = stretch("1h", "2024-06-01", "2024-06-02", "1h"), stretch("1h", "2024-06-02", "2024-06-03", "1h")
    assert [(part.time, part.holding.name) for part in join_stretches([one, other])] == [
        ((one.time.start, other.time.end), "1h")
    ]


def test_what_json_has_no_numbers_for() -> None:
    """NaN and infinity are null in JSON and YAML, and nothing in CSV, as NULL is; decimals have all their digits."""
    cells: list[Cell] = [float("nan"), float("inf"), Decimal("NaN"), None, Decimal("1.50"), 0.5]
    answer = replace(fetched(), rows=tuple((NOW, cell, "raw") for cell in cells))
    assert [row["t_avg"] for row in json.loads(answer.to_json(), parse_float=str)] == [*[None] * 4, "1.50", "0.5"]
    assert [row["t_avg"] for row in answer.plain_rows()] == [*[None] * 4, "1.50", 0.5]
    times = NOW.isoformat()
    assert answer.to_csv().splitlines()[1:] == [f"{times},{text},raw" for text in ("", "", "", "", "1.50", "0.5")]
