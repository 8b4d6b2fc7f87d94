"""Reading a cascade on both engines gives what all raw rows together say, wherever the parts come from."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.query import fetch
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest, Fill
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant, parse_time_zone, to_ms
from support.cascades import Source, create, expected, make_rows
from support.catalogs import ms
from support.databases import MONTH, TIME, Database
from support.tiers import others_on_duckdb

START, END = "2024-03-30T20:00", "2024-04-01T08:00"
NOW = parse_instant("2024-05-01")
# Raw rows of the last hours, minutes of a day, hours but for the last ones, days of a day.
HOLDINGS = {
    "raw": ("2024-04-01T02:20", None),
    "1m": ("2024-03-31T06:00", "2024-04-01T05:58"),
    "1h": ("2024-03-30T20:00", "2024-04-01T05:00"),
}
GAUGE = ("min", "max", "sum", "count", "first", "last", "avg", "stddev")
ALL = (*(f"temperature:{aggregate}" for aggregate in GAUGE), "bytes:increase", "bytes:last", "row_count")
BY = ("station", "outside")


def ask(db: Database, cascade: Cascade, step: str, start: str = START, end: str = END, **more: Any) -> Fetched:
    """Fetch from a cascade."""
    given = {"metrics": ALL, **more}
    request = FetchRequest(
        table_name="weather",
        table_schema=None,
        start=parse_instant(start),
        end=parse_instant(end),
        step=parse_interval(step),
        **given,
    )
    return fetch(db.tool.engine, cascade, request, NOW)


def by_key(fetched: Fetched) -> dict[tuple[int, tuple[Any, ...]], dict[str, Any]]:
    """The rows by bucket and group."""
    found = {}
    for row in fetched.rows:
        time = row[0]
        assert isinstance(time, dt.datetime)
        key = (to_ms(time), tuple(row[1 : 1 + fetched.keys]))
        assert key not in found
        found[key] = dict(zip(fetched.columns[1 + fetched.keys :], row[1 + fetched.keys :], strict=True))
    return found


def compare(fetched: Fetched, right: dict[Any, dict[str, Any]], single: bool = True) -> None:
    """Each value is what it must be. The first and last of several series in one bucket of a level are any of them."""
    found = by_key(fetched)
    assert found.keys() == right.keys()
    for key, values in found.items():
        for name, value in values.items():
            if name == "level" or (not single and name.endswith(("_first", "_last"))):
                continue
            wanted = right[key]["rows" if name == "row_count" else name]
            if wanted is None or value is None:
                assert value == wanted, (key, name)
            else:
                assert value == pytest.approx(wanted, rel=1e-9, abs=1e-7), (key, name, values["level"])


@pytest.mark.parametrize("step", ["1w", *others_on_duckdb("1h", "2h", "1d")])
@pytest.mark.some(2)
def test_stitched(db: Database, step: str) -> None:
    """Buckets from levels, from raw rows and from both together, for each series."""
    source = Source(rows=make_rows(36))
    fetched = ask(db, create(db, source, HOLDINGS), step, by=BY)
    compare(fetched, expected(source, step, START, END, BY))
    assert fetched.levels == ["1h", "1m", "raw"]
    assert not fetched.notes or step in ("1d", "1w")  # Nothing is there before the first row.


def test_without_groups(db: Database) -> None:
    """All series put together, which lie far apart: the spread between them is part of the deviation."""
    source = Source(rows=make_rows(36))
    cascade = create(db, source, HOLDINGS)
    compare(ask(db, cascade, "1h"), expected(source, "1h", START, END), single=False)
    compare(ask(db, cascade, "3h", by=["station"]), expected(source, "3h", START, END, ["station"]), single=False)


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ({"station": None, "outside": "true"}, lambda row: row["station"] is None and row["outside"] is True),
        ({"station": "it's"}, lambda row: row["station"] == "it's"),
        *others_on_duckdb(
            ({"station": "KJFK"}, lambda row: row["station"] == "KJFK"),
            ({"outside": None}, lambda row: row["outside"] is None),
            ({"station": "nowhere"}, lambda row: False),
        ),
    ],
)
@pytest.mark.some(2)
def test_where(db: Database, where: dict[str, Any], fits: Any) -> None:
    """Filters choose series, also those without a value of a dimension."""
    source = Source(rows=make_rows(36))
    fetched = ask(db, create(db, source, HOLDINGS), "1h", where=where, by=BY)
    compare(fetched, expected(source, "1h", START, END, BY, fits))


def test_raw_rows_alone(db: Database) -> None:
    """A step finer than every level is answered from raw rows."""
    source = Source(rows=make_rows(36))
    fetched = ask(
        db,
        create(db, source, {"raw": (None, None), "1m": (None, None)}),
        "10s",
        "2024-03-31",
        "2024-03-31T02:00",
        by=BY,
    )
    compare(fetched, expected(source, "10s", "2024-03-31", "2024-03-31T02:00", BY))
    assert fetched.levels == ["raw"]


def test_levels_alone_agree_with_raw_rows(db: Database) -> None:
    """The same question to each table gives the same answer."""
    source = Source(rows=make_rows(36))
    for number, name in enumerate(("raw", "1m", "1h")):
        source.table = f"weather{number}"
        compare(ask(db, create(db, source, {name: (None, None)}), "1h", by=BY), expected(source, "1h", START, END, BY))


@pytest.mark.parametrize("kind", ["TIMESTAMP WITH TIME ZONE", "TIMESTAMP"])
@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), *others_on_duckdb(("2024-10-27", 25))])
def test_days_of_vienna(db: Database, day: str, hours: int, kind: str) -> None:
    """A day of the zone has as many hours as it has, whichever table answers; the answer's times are of the zone."""
    before = (dt.date.fromisoformat(day) - dt.timedelta(days=1)).isoformat()
    after = (dt.date.fromisoformat(day) + dt.timedelta(days=2)).isoformat()
    source = Source(rows=make_rows(72, before, every=600), zone="Europe/Vienna", time_type=kind)
    holdings = {"raw": (f"{day}T13:30", None), "1h": (None, f"{day}T14:00"), "1d": (None, f"{before}T22:00")}
    cascade = create(db, source, holdings)
    span = (f"{before}T10:00", after)
    fetched = ask(db, cascade, "1d", *span)
    right = expected(source, "1d", *(f"{before}T00:00", f"{after}T22:00"))
    zone = parse_time_zone("Europe/Vienna")
    midnights = [row[0].astimezone(zone) for row in fetched.rows if isinstance(row[0], dt.datetime)]
    assert [str(time.time()) for time in midnights] == ["00:00:00"] * len(fetched.rows)
    assert str(fetched.rows[1][0])[:10] == day
    assert midnights[2].timestamp() - midnights[1].timestamp() == hours * 3600
    found = by_key(fetched)
    for key in list(found)[1:-1]:  # The first and last day are not all there.
        assert found[key]["row_count"] == right[key]["rows"]
        assert found[key]["temperature_avg"] == pytest.approx(right[key]["temperature_avg"])
    assert sum(row["row_count"] for row in list(found.values())[1:-1]) == hours * 6 + 24 * 6


def test_only_coarser_is_left(db: Database) -> None:
    """Where only days are left, there are days, said to be such; no row is there twice."""
    source = Source(rows=make_rows(72))
    cascade = create(db, source, {"raw": ("2024-04-01T10:30", None), "1d": (None, "2024-04-02")})
    fetched = ask(db, cascade, "1h", START, "2024-04-02T20:00")
    times = [str(row[0]) for row in fetched.rows]
    assert times[:4] == [
        "2024-03-30 00:00:00+00:00",
        "2024-03-31 00:00:00+00:00",
        "2024-04-01 00:00:00+00:00",
        "2024-04-02 00:00:00+00:00",
    ]
    assert [row[-1] for row in fetched.rows[:5]] == ["1d", "1d", "1d", "raw", "raw"]
    assert sum(row["row_count"] for row in fetched.to_rows()) == len(source.rows)  # type: ignore[misc]
    assert fetched.notes == ["2024-03-30 to 2024-04-02: only 1d is left, so buckets are longer than 1h"]


def test_what_no_table_holds(db: Database) -> None:
    """A part of the range that is gone is said to be gone."""
    source = Source(rows=make_rows(36))
    fetched = ask(db, create(db, source, {"raw": ("2024-03-31T10:00", None)}), "1h")
    assert fetched.gaps == ((ms(START), ms("2024-03-31T10:00")),)
    assert fetched.notes == ["2024-03-30T20:00Z to 2024-03-31T10:00Z: no table has this data any more"]


@pytest.mark.parametrize("step", ["6h", *others_on_duckdb("1h", "1d")])
@pytest.mark.some(1)
def test_percentiles(db: Database, step: str) -> None:
    """Stitched from distributions of levels and raw rows, within one percent of the value at that rank."""
    source = Source(rows=make_rows(36))
    quantiles = {"p0": 0.0, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99.9": 0.999, "p100": 1.0}
    metrics = tuple(f"temperature:{name}" for name in quantiles)
    fetched = ask(db, create(db, source, HOLDINGS), step, by=["station"], metrics=metrics)
    right = expected(source, step, START, END, ["station"])
    found = by_key(fetched)
    assert found.keys() == right.keys()
    for key, row in found.items():
        values = right[key]["values"]
        for name, quantile in quantiles.items():
            value = row[f"temperature_{name}"]
            wanted = values[math.floor(quantile * (len(values) - 1))] if values else None
            assert (value is None) == (wanted is None)
            if wanted is not None:
                assert value == pytest.approx(wanted, rel=0.0101, abs=1e-9)


def test_numbers_that_are_large_and_close_together(db: Database) -> None:
    """The deviation of values around a billion keeps its digits."""
    rows = make_rows(36)
    for i, row in enumerate(rows):
        row["temperature"] = 1e9 + i % 7
    source = Source(rows=rows)
    fetched = ask(db, create(db, source, HOLDINGS), "1d", metrics=("temperature:stddev",))
    right = expected(source, "1d", START, END)
    for key, row in by_key(fetched).items():
        assert row["temperature_stddev"] == pytest.approx(right[key]["temperature_stddev"], rel=1e-6)


def test_deviation_beside_increase(db: Database) -> None:
    """Rows that are read only since a counter begins at the row before do not count for anything else."""
    source = Source(rows=make_rows(36))
    cascade = create(db, source, {"raw": ("2024-03-31T09:55", None), "1m": (None, "2024-03-31T10:10")})
    metrics = ("temperature:stddev", "temperature:avg", "bytes:increase", "row_count")
    compare(ask(db, cascade, "1h", metrics=metrics), expected(source, "1h", START, END))


def test_rate(db: Database) -> None:
    """A rate is per second of its bucket; of the one that is not over yet, per second that has passed."""
    source = Source(rows=make_rows(36))
    cascade = create(db, source, HOLDINGS)
    request = FetchRequest(start=parse_instant(START), end=None, step=parse_interval("1h"), metrics=("bytes:rate",))
    fetched = fetch(db.tool.engine, cascade, request, parse_instant("2024-04-01T07:20"))
    right = expected(source, "1h", START, "2024-04-01T08:00")
    rows = by_key(fetched)
    assert len(rows) == 36
    for (bucket, group), row in rows.items():
        seconds = 1200 if bucket == ms("2024-04-01T07:00") else 3600
        assert row["bytes_rate"] == pytest.approx(right[bucket, group]["bytes_increase"] / seconds)


def test_defaults(db: Database) -> None:
    """Without anything: the last 24 hours, about a hundred points, the average of gauges, the increase of counters."""
    cascade = create(db, Source(rows=make_rows(36)), HOLDINGS)
    fetched = fetch(db.tool.engine, cascade, FetchRequest(), parse_instant(END))
    assert fetched.columns == ("ts", "temperature_avg", "bytes_increase", "level")
    assert (str(fetched.step), len(fetched.rows)) == ("15m", 96)
    assert (fetched.start, fetched.end) == (ms("2024-03-31T08:00"), ms(END))


def test_statements(db: Database) -> None:
    """
    One statement for each stretch, and one more for percentiles; two more where both a level and raw rows hold a
    stretch, which are counted.
    """
    cascade = create(db, Source(rows=make_rows(36)), HOLDINGS)
    database = db.tool.engine.database
    before = database.statements
    ask(db, cascade, "1h", metrics=("temperature:avg", "temperature:p95", "temperature:p50", "bytes:rate"), by=BY)
    assert database.statements - before == 6 + 2 * 2


@pytest.mark.parametrize(
    ("fill", "values"),
    [
        (Fill.NONE, [0.0, 30.0]),
        (Fill.NULL, [None, 0.0, None, None, 30.0, None]),
        (Fill.PREVIOUS, [None, 0.0, 0.0, 0.0, 30.0, 30.0]),
        (Fill.LINEAR, [None, 0.0, 10.0, 20.0, 30.0, None]),
    ],
)
def test_fill(db: Database, fill: Fill, values: list[float | None]) -> None:
    """Buckets without data are filled within the range, each group by itself; zero is a value as any other."""
    rows = [
        {"ts": ms(f"2024-01-01T0{hour}:30"), "station": name, "outside": None, "temperature": value, "bytes": 0}
        for name, hour, value in [("a", 1, 0.0), ("a", 4, 30.0), ("b", 0, 1.0)]
    ]
    cascade = create(db, Source(rows=rows), {"raw": (None, None)})
    span = ("2024-01-01T00:00", "2024-01-01T06:00")
    fetched = ask(db, cascade, "1h", *span, metrics=("temperature:avg",), by=["station"], fill=fill)
    series = fetched.series()
    assert [row[2] for row in series["a",]] == values
    others = {Fill.NONE: [], Fill.PREVIOUS: [1.0] * 5}
    assert [row[2] for row in series["b",]] == [1.0, *others.get(fill, [None] * 5)]
    assert [row[-1] for row in series["b",]] == ["raw", *([] if fill is Fill.NONE else [None] * 5)]


def test_fill_has_a_limit(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a filled answer is about all of its rows: buckets of all groups."""
    rows = [
        {"ts": ms(f"2024-01-01T0{hour}:30"), "station": name, "outside": None, "temperature": 1.0, "bytes": 0}
        for name, hour in [("a", 0), ("b", 5)]
    ]
    cascade, span = create(db, Source(rows=rows), {"raw": (None, None)}), ("2024-01-01T00:00", "2024-01-01T06:00")
    more: dict[str, Any] = {"metrics": ("row_count",), "by": ["station"], "fill": Fill.NULL}
    monkeypatch.setattr("cratedb_retention.execution.query._MOST_ROWS", 12)
    assert len(ask(db, cascade, "1h", *span, **more).rows) == 12
    monkeypatch.setattr("cratedb_retention.execution.query._MOST_ROWS", 11)
    with pytest.raises(InvalidInput, match="more than 11 rows"):
        ask(db, cascade, "1h", *span, **more)


def test_fill_where_only_coarser_is_left(db: Database) -> None:
    """Empty buckets are as long as the others there: days where only days are left, then hours."""
    rows = [
        {"ts": ms(at), "station": "a", "outside": None, "temperature": 1.0, "bytes": 0}
        for at in ("2024-01-01T05:00", "2024-01-03T05:00", "2024-01-04T01:00")
    ]
    cascade = create(db, Source(rows=rows), {"raw": ("2024-01-04", None), "1d": (None, "2024-01-04")})
    fetched = ask(db, cascade, "1h", "2024-01-01", "2024-01-04T03:00", metrics=("row_count",), fill=Fill.NULL)
    found = [(f"{row[0]:%d %H}", row[1]) for row in fetched.rows if isinstance(row[0], dt.datetime)]
    assert found == [("01 00", 1), ("02 00", None), ("03 00", 1), ("04 00", None), ("04 01", 1), ("04 02", None)]


def test_order_of_groups(db: Database) -> None:
    """Groups stand in the order of their values, numbers by size, and NULL last."""
    values = (10, None, 9)
    rows = [
        {"ts": ms("2024-01-01") + i, "station": v, "outside": None, "temperature": 1.0, "bytes": 0}
        for i, v in enumerate(values)
    ]
    source = Source(rows=rows, dimensions={"station": "INTEGER", "outside": "BOOLEAN"})
    cascade, span = create(db, source, {"raw": (None, None)}), ("2024-01-01", "2024-01-02")
    assert [row[1] for row in ask(db, cascade, "1h", *span, metrics=("row_count",), by=["station"]).rows] == [
        9,
        10,
        None,
    ]


def test_fill_over_months(db: Database) -> None:
    """Between two values lies a line over time, also where buckets are not of one length."""
    rows = [
        {"ts": ms(f"2024-0{month}-15"), "station": "a", "outside": None, "temperature": value, "bytes": 0}
        for month, value in ((1, 0.0), (3, 60.0))
    ]
    cascade = create(db, Source(rows=rows), {"raw": (None, None)})
    span = ("2024-01-01T00:00", "2024-04-01T00:00")
    fetched = ask(db, cascade, "1mo", *span, metrics=("temperature:avg",), fill=Fill.LINEAR)
    assert [row[1] for row in fetched.rows] == [0.0, 31.0, 60.0]


HOSTILE = ['My "Column', "%(x)s 100%", ":p a:b;--", "größe $1 ?", "select"]


@pytest.mark.parametrize("name", [*HOSTILE[1:3], *others_on_duckdb(*HOSTILE[:1], *HOSTILE[3:])])
@pytest.mark.some(2)
def test_hostile_names(db: Database, name: str) -> None:
    """Names and values may be anything; a metric's name may hold a colon."""
    plain = make_rows(36)
    rename = {"ts": f"{name}t", "station": f"{name}d", "outside": "outside", "temperature": name, "bytes": f"{name}c"}
    source = Source(
        rows=[{rename[key]: name if value == "KJFK" else value for key, value in row.items()} for row in plain],
        table={":p a:b;--": ":p;--$1{x}", "%(x)s 100%": "100%%(x)s"}.get(name, "größe-it's"),
        time=rename["ts"],
        dimensions={rename["station"]: "TEXT", "outside": "BOOLEAN"},
        gauge=name,
        counter=rename["bytes"],
    )
    metrics = (f"{name}:avg", f"{name}:stddev", f"{name}:p50", f"{name}c", "row_count", name)
    where = {rename["station"]: name}
    fetched = ask(db, create(db, source, HOLDINGS), "2h", metrics=metrics, by=[rename["station"]], where=where)
    right = expected(source, "2h", START, END, [rename["station"]], lambda row: row[rename["station"]] == name)
    found = by_key(fetched)
    assert found.keys() == right.keys()
    assert fetched.columns == (
        f"{name}t",
        f"{name}d",
        f"{name}_avg",
        f"{name}_stddev",
        f"{name}_p50",
        f"{name}c_increase",
        "row_count",
        "level",
    )
    for key, row in found.items():
        assert row[f"{name}_avg"] == pytest.approx(right[key][f"{name}_avg"])
        assert row[f"{name}c_increase"] == right[key][f"{name}c_increase"]
        assert row["row_count"] == right[key]["rows"]


@pytest.mark.parametrize("partitioned", [False, True])
def test_without_rollups(db: Database, partitioned: bool) -> None:
    """A table without rollups is read as it is, like one with: by the same words, and with the same numbers."""
    part = {"part": MONTH} if partitioned else {}
    db.create("plain", {"ts": TIME, "station": "TEXT", "x": "DOUBLE PRECISION", "n": "BIGINT", **part}, by=list(part))
    rows = [
        {"ts": f"2024-05-31T{hour:02}:20", "station": name, "x": float(hour), "n": 10 * hour}
        for hour in range(20, 24)
        for name in ("a", "b", None)
    ]
    db.insert("plain", [*rows, {"ts": "2024-06-01T00:20", "station": "a", "x": None, "n": 3}])
    db.refresh("plain")
    span = parse_instant("2024-05-31"), parse_instant("2024-06-02")
    asked = FetchRequest(
        table_name="plain",
        table_schema=db.schema,
        start=span[0],
        end=span[1],
        step=parse_interval("1d"),
        by=("station",),
    )
    found = db.tool.fetch(asked)
    assert found.columns == ("ts", "station", "x_avg", "n_avg", "level")
    assert [row[1:] for row in found.rows] == [
        ("a", 21.5, 215.0, "raw"),
        ("b", 21.5, 215.0, "raw"),
        (None, 21.5, 215.0, "raw"),
        ("a", None, 3.0, "raw"),
    ]
    wanted = ("n:increase", "n:last", "x:p50", "x:stddev", "row_count")
    (row,) = db.tool.fetch(replace(asked, metrics=wanted, by=(), where={"station": "b"})).rows
    assert row[1:3] == (30.0, 230)
    assert row[3] == pytest.approx(21, rel=0.011)
    assert row[4] == pytest.approx(1.25**0.5)
    assert row[5:] == (4, "raw")


def test_before_the_first_run(db: Database) -> None:
    """What a policy that has not run yet says of a table holds already."""
    db.create("plain", {"ts": TIME, "seen": TIME, "host": "BIGINT", "n": "BIGINT"})
    db.insert("plain", [{"ts": f"2024-05-31T0{i}:20", "host": 7, "n": i} for i in range(4)])
    db.refresh("plain")
    asked = FetchRequest(
        table_name="plain",
        table_schema=db.schema,
        start=parse_instant("2024-05-31"),
        end=parse_instant("2024-06-01"),
        by=("host",),
    )
    with pytest.raises(InvalidInput, match="time"):
        db.tool.fetch(asked)
    db.policy("downsample", "plain", "7d", levels="1h:30d", time_column="ts", dimensions=["host"], counters=["n"])
    (row,) = db.tool.fetch(replace(asked, step=parse_interval("1d"))).rows
    assert row[1:] == (7, 3.0, "raw")
