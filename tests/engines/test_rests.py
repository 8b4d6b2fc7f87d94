"""What finer levels have of the end of a longer bucket is shown, and the rest is what the bucket has less that."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.execution.query import fetch
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest, Fill
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant, to_ms
from support.cascades import Source, create, expected, make_rows
from support.catalogs import ms
from support.databases import Database
from support.tiers import others_on_duckdb

NOW = parse_instant("2024-05-01")
START, END = "2024-03-29T22:00", "2024-04-01T03:00"
ADDED = (
    "temperature:sum",
    "temperature:count",
    "temperature:avg",
    "temperature:p50",
    "bytes:increase",
    "bytes:rate",
    "row_count",
)
# Until 31 March, a day of 23 hours in Vienna, days; of the last of them all but the first hours are there.
HOLDINGS = {"1h": ("2024-03-31T07:00", None), "1d": (None, "2024-03-31T22:00")}
VIENNA = [("1d", "2024-03-29T23:00", 24), ("1d", "2024-03-30T23:00", 8), ("1h", "2024-03-31T07:00", 20)]
Span = tuple[str, str, int]


def source(zone: str = "Europe/Vienna") -> Source:
    """A row every ten minutes."""
    return Source(rows=make_rows(53, "2024-03-29T22:00", every=600), zone=zone)


def ask(db: Database, cascade: Cascade, step: str, **more: Any) -> Fetched:
    """Fetch from the second day on."""
    span = (parse_instant(more.pop("start", "2024-03-30T12:00")), parse_instant(END))
    request = FetchRequest(
        table_name="weather",
        table_schema=None,
        start=span[0],
        end=span[1],
        step=parse_interval(step),
        **{"metrics": ADDED, **more},
    )
    return fetch(db.tool.engine, cascade, request, NOW)


def total(fetched: Fetched, name: str) -> float:
    """The sum of a column."""
    return sum(float(str(row[name] or 0)) for row in fetched.to_rows())


def right(found: Source, parts: list[Span], step: str, by: tuple[str, ...], fits: Any = lambda row: True) -> Any:
    """What each part must say: a bucket of so many hours, or (in hours) buckets of the step."""
    answers: dict[Any, dict[str, Any]] = {}
    for level, start, hours in parts:
        end = (dt.datetime.fromisoformat(start) + dt.timedelta(hours=hours)).isoformat()
        buckets = expected(found, step if level == "1h" else "1y", start, end, by, fits)
        for (bucket, group), values in buckets.items():
            length = parse_interval(step).seconds if level == "1h" else hours * 3600
            increase = values["bytes_increase"]
            more = {"level": level, "bytes_rate": None if increase is None else increase / length}
            answers[bucket if level == "1h" else ms(start), group] = {**values, **more}
    return answers


def check(fetched: Fetched, wanted: dict[Any, dict[str, Any]]) -> None:
    """Each value is what the rows say."""
    found: dict[Any, dict[str, Any]] = {}
    for row in fetched.rows:
        assert isinstance(row[0], dt.datetime)
        found[to_ms(row[0]), row[1 : 1 + fetched.keys]] = dict(zip(fetched.columns, row, strict=True))
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        answer = found[key]
        assert (answer["row_count"], answer["level"] == "1d") == (values["rows"], values["level"] == "1d")
        for name in ("temperature_sum", "temperature_count", "temperature_avg", "bytes_increase", "bytes_rate"):
            # Of a counter's first value alone it is not known of a rest that it has no increase.
            expectation = values[name] or 0
            assert (answer[name] or 0) == pytest.approx(expectation, rel=1e-9, abs=1e-6), (key, name)
        assert (answer["temperature_avg"] is None) == (values["temperature_avg"] is None)
        if values["values"]:
            middle = values["values"][(len(values["values"]) - 1) // 2]
            assert answer["temperature_p50"] == pytest.approx(middle, rel=0.0101, abs=1e-9)


@pytest.mark.parametrize("by", [("station", "outside"), *others_on_duckdb(((),), (("station",),))])
def test_rest_of_a_day(db: Database, by: tuple[str, ...]) -> None:
    """The first hours of a day are one bucket, and each of the others is there; what belongs to no row is not."""
    found = source()
    fetched = ask(db, create(db, found, HOLDINGS), "1h", by=by)
    check(fetched, right(found, VIENNA, "1h", by))
    assert fetched.notes == [
        "2024-03-29T23:00Z to 2024-03-30T23:00Z: only 1d is left, so buckets are longer than 1h",
        "2024-03-30T23:00Z to 2024-03-31T07:00Z: only 1d is left; one bucket, "
        "computed by subtracting the shorter ones from 2024-03-31T07:00Z on",
    ]


def test_where(db: Database) -> None:
    """The rest of some series only."""
    found = source()
    fetched = ask(db, create(db, found, HOLDINGS), "1h", where={"station": None}, by=("outside",))
    check(fetched, right(found, VIENNA, "1h", ("outside",), lambda row: row["station"] is None))


@pytest.mark.parametrize("step", ["2h", "6h"])
def test_longer_steps(db: Database, step: str) -> None:
    """Each bucket of the step is there as a whole: of those that are there in part the rest has more."""
    found = source("UTC")
    holdings = {"1h": ("2024-03-31T07:00", None), "1d": (None, "2024-04-01")}
    begins = {"2h": 8, "6h": 12}[step]
    parts = [("1d", "2024-03-30T00:00", 24), ("1d", "2024-03-31T00:00", begins)]
    rest = ("1h", f"2024-03-31T{begins:02}:00", 27 - begins)
    check(ask(db, create(db, found, holdings), step, by=("station",)), right(found, [*parts, rest], step, ("station",)))


@pytest.mark.parametrize(
    "holdings",
    [
        {"10m": ("2024-03-31T19:20", None), "1h": ("2024-03-31T07:00", "2024-03-31T20:00"), "1d": HOLDINGS["1d"]},
        {"10m": ("2024-03-31T07:00", None), **HOLDINGS},
    ],
)
def test_spread_over_levels(db: Database, holdings: Any) -> None:
    """What is there of a bucket may be in several levels, and in several of them at once."""
    found = source()
    check(ask(db, create(db, found, holdings), "1h"), right(found, VIENNA, "1h", ()))


def test_nested(db: Database) -> None:
    """A day of which hours are left, of one of which minutes are left: each is there once."""
    found = source()
    holdings = {"10m": ("2024-03-31T15:20", None), **HOLDINGS}
    fetched = ask(db, create(db, found, holdings), "10m")
    levels = [(str(row[-1]), row[0].strftime("%dT%H:%M")) for row in fetched.rows if isinstance(row[0], dt.datetime)]
    assert [at for level, at in levels if level == "1d"] == ["30T00:00", "31T00:00"]
    # In Vienna, where clocks were two hours ahead of UTC by then.
    assert [at for level, at in levels if level == "1h"] == [f"31T{hour:02}:00" for hour in range(9, 18)]
    assert next(at for level, at in levels if level == "10m") == "31T17:20"
    rows = [row for row in found.rows if ms("2024-03-29T23:00") <= row["ts"]]
    assert total(fetched, "row_count") == len(rows)
    assert total(fetched, "temperature_sum") == pytest.approx(sum(row["temperature"] or 0 for row in rows))
    (rest,) = [row for row in fetched.to_rows() if row["level"] == "1h"][-1:]
    assert rest["row_count"] == sum(ms("2024-03-31T15:00") <= row["ts"] < ms("2024-03-31T15:20") for row in rows)


@pytest.mark.parametrize("aggregate", ["stddev", *others_on_duckdb("min", "max", "first", "last")])
def test_what_no_rest_tells(db: Database, aggregate: str) -> None:
    """The least value of the rest is not known, so the day stays whole; a note says how to see its hours."""
    found = source()
    cascade = create(db, found, HOLDINGS)
    wanted = (f"temperature:{aggregate}", "row_count")
    fetched = ask(db, cascade, "1h", metrics=wanted)
    assert [row[-1] for row in fetched.rows] == ["1d", "1d", *["1h"] * 5]
    assert total(fetched, "row_count") == sum(row["ts"] >= ms("2024-03-29T23:00") for row in found.rows)
    assert fetched.notes == [
        "2024-03-29T23:00Z to 2024-03-31T22:00Z: only 1d covers all of it, so buckets are longer than 1h; "
        "shorter ones exist from 2024-03-31T07:00Z on "
        f"(query from then on to see them, or without temperature_{aggregate})"
    ]
    partly = ask(db, cascade, "1h", metrics=wanted, partly=True)
    assert [row[-1] for row in partly.rows] == ["1d", "1d", *["1h"] * 20]
    assert [row[1] is None for row in partly.rows[:3]] == [False, True, False]
    assert total(partly, "row_count") == total(fetched, "row_count")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {hours} SET temperature_count = 1000 WHERE station = 'KJFK'",
        *others_on_duckdb(
            "UPDATE {hours} SET row_count = 1000 WHERE station = 'KJFK'",
            "UPDATE {hours} SET bytes_increase = 10000000 WHERE station = 'KJFK'",
            "UPDATE {hours} SET station = 'new' WHERE station = 'KJFK'",
            "UPDATE {sketch} SET count = 1000 WHERE station = 'KJFK'",
        ),
    ],
)
def test_levels_that_do_not_add_up(db: Database, change: str) -> None:
    """Where hours have more than their day, nothing is told of a rest that can't be."""
    cascade = create(db, source(), HOLDINGS)
    db.sql(change.format(hours=db.q("weather_1h"), sketch=db.q("weather_1h_sketch")))
    for table in ("weather_1h", "weather_1h_sketch"):
        db.refresh(table)
    fetched = ask(db, cascade, "1h", by=("station",))
    assert {row[-1] for row in fetched.rows if str(row[0]) < "2024-04-01"} == {"1d"}
    assert "they do not add up to it, see verify-rollups" in fetched.notes[0]


def test_rows_that_came_late(db: Database) -> None:
    """The day does not have them yet, so they are not taken from it: they are rows of their hour, and of no other."""
    found = source()
    cascade = create(db, found, {"raw": ("2024-03-31T16:00", None), **HOLDINGS})
    before = ask(db, cascade, "1h")
    late = {"ts": "2024-03-31T17:30:00Z", "station": "KJFK", "outside": True, "temperature": 5.0, "bytes": 7}
    db.insert("weather", [late])
    db.refresh("weather")
    after = ask(db, cascade, "1h", metrics=("row_count", "temperature:sum"))
    changed = [
        (str(row["ts"]), row["level"])
        for row, known in zip(after.to_rows(), before.to_rows(), strict=True)
        if row["row_count"] != known["row_count"]
    ]
    assert changed == [("2024-03-31 19:00:00+02:00", "raw")]
    assert total(after, "row_count") == total(before, "row_count") + 1
    assert total(after, "temperature_sum") == pytest.approx(total(before, "temperature_sum") + 5)


def test_fill(db: Database) -> None:
    """The rest is one bucket of the range, and what follows has those of the step."""
    found = source()
    found.rows = [row for row in found.rows if not ms("2024-03-31T09:00") <= row["ts"] < ms("2024-03-31T11:00")]
    fetched = ask(db, create(db, found, HOLDINGS), "1h", fill=Fill.NULL)
    hours = [row[0].hour for row in fetched.rows if isinstance(row[0], dt.datetime)]
    assert hours == [0, 0, *range(9, 24), *range(5)]
    assert [row[0].hour for row in fetched.rows if row[-1] is None and isinstance(row[0], dt.datetime)] == [11, 12]


def test_rest_without_values(db: Database) -> None:
    """Where all values are NULL, so is their sum. A group that has rows in later hours only is not there."""
    rows = [
        {"ts": ms(f"2024-03-31T{hour}:30"), "station": name, "outside": None, "temperature": value, "bytes": value}
        for hour, name, value in [("05", "a", None), ("08", "a", 0.1), ("09", "a", 0.2), ("09", "b", 1)]
    ]
    cascade = create(db, Source(rows=rows, zone="Europe/Vienna"), HOLDINGS)
    metrics = *(f"temperature:{name}" for name in ("sum", "avg", "p50", "p0")), "bytes:increase", "row_count"
    (row, *_) = ask(db, cascade, "1h", by=("station",), metrics=metrics).rows
    assert row[1:] == ("a", None, None, None, None, None, 1, "1d")
    assert [found[1] for found in ask(db, cascade, "1h", by=("station",)).rows] == ["a", "a", "a", "b"]


def test_range_within_the_rest(db: Database) -> None:
    """Who asks for some of it alone gets the rest, and not all of the day."""
    found = source()
    cascade = create(db, found, HOLDINGS)
    span = (parse_instant("2024-03-31T02:00"), parse_instant("2024-03-31T04:00"))
    request = FetchRequest(
        table_name="weather",
        table_schema=None,
        start=span[0],
        end=span[1],
        step=parse_interval("1h"),
        metrics=("row_count",),
    )
    (row,) = fetch(db.tool.engine, cascade, request, NOW).rows
    assert row[1:] == (48, "1d")
