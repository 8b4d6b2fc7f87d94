"""
Archived rows are read by `fetch` and by SQL: each answer is the same before and after archiving, no row is lost or
counted twice, whatever became of its partition, and a query reads nothing but archives.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cratedb_retention import FetchRequest, RestoreRequest, parse_interval
from cratedb_retention.engine.archive import ArchivedRows
from cratedb_retention.engine.cratedb.query import dataset_rows
from cratedb_retention.engine.duckdb import apart
from cratedb_retention.engine.duckdb.query import ArchiveDatabase
from cratedb_retention.engine.parquet import Manifest, Store
from cratedb_retention.errors import Conflict, InvalidInput, NotFound, RetentionError, Unsupported
from cratedb_retention.execution.query import Reader, find_queried
from cratedb_retention.execution.runs.events import RunEvent, StepFinished
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan.plan import VerifySnapshot
from cratedb_retention.model.query.answer import QueryRequest
from cratedb_retention.model.query.reading import Fetched, Fill, describe
from cratedb_retention.model.time import parse_instant, show, to_ms
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database, DuckDatabase, ParquetDatabase
from support.object_store import BUCKET, ObjectStore, counting
from support.tiers import DECIDED, examples

COLUMNS = {"ts": TIME, "host": "TEXT", "n": "INTEGER", "value": NUMBER, "note": "TEXT", "month": MONTH}
HOSTS = ("a", "it's", None)
END = "2024-07-01"
COUNTED: dict[str, Any] = {"metrics": ("row_count",)}
VALUES = tuple(f"value:{one}" for one in ("avg", "min", "max", "sum", "count", "first", "last", "stddev", "p50", "p95"))
# What is asked by `fetch`: a step, a range, and the rest of a request.
ASKED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("1mo", "2024-01-01", END, {"metrics": (*VALUES, "row_count")}),
    ("1mo", "2024-01-01", END, {"metrics": ("n:sum", "n:max", "row_count"), "by": ("host",)}),
    ("1d", "2024-02-10", "2024-02-11", {"metrics": VALUES}),
    ("1d", "2024-02-10", "2024-02-11", {"metrics": VALUES, "by": ("host",)}),
    ("1w", "2024-04-22", "2024-05-20", {"metrics": (*VALUES, "row_count")}),
    ("1w", "2024-04-22", "2024-05-20", {"metrics": ("value:avg", "row_count"), "by": ("host",)}),
    ("1h", "2024-04-30", "2024-05-02", {"metrics": ("value:last", "n:first")}),
    ("12h", "2024-04-29", "2024-05-03", {"metrics": ("n:last",), "fill": Fill.PREVIOUS}),
    ("1mo", "2022-07-01", END, {"metrics": ("row_count", "n:sum")}),
    ("1w", "2022-07-04", "2022-09-05", {"metrics": ("value:max",), "by": ("host",)}),
    ("1d", "2024-02-28", "2024-03-02", {"metrics": ("value:p99.9", "n:p5")}),
    ("1y", "2022-01-01", END, {"metrics": ("row_count",), "by": ("host",)}),
    ("1mo", "2024-01-01", END, {"where": {"host": "a"}, "metrics": ("value:stddev", "n:count")}),
    ("1d", "2024-03-01", "2024-04-01", {"where": {"host": "it's"}}),
    ("1d", "2024-03-01", "2024-04-01", {"where": {"host": None}, "by": ("host",)}),
    ("1d", "2024-03-01", "2024-04-01", {"where": {"host": "nowhere"}}),
    ("6h", "2024-04-28", "2024-05-03", {"metrics": ("value:avg",), "fill": Fill.LINEAR}),
    ("6h", "2024-04-28", "2024-05-03", {"metrics": ("value:avg", "n:sum"), "fill": Fill.NULL, "by": ("host",)}),
    ("1y", "2024-01-01", END, {}),
    ("1d", "2023-12-01", "2023-12-15", COUNTED),
    ("30m", "2024-01-01T06:00", "2024-01-01T09:00", {"metrics": ("value:sum", "n:sum", "row_count")}),
]
# What is asked in SQL that both databases understand, about the months that are archived.
SELECTS = [
    "SELECT count(*), count(value), count(note), count(host), sum(n), min(n), max(n) FROM {t}",
    "SELECT host, count(*), sum(n), min(value), max(value) FROM {t} GROUP BY host ORDER BY 2, 3",
    "SELECT n, note FROM {t} WHERE ts >= '2024-02-10' AND ts < '2024-02-11' ORDER BY n",
    "SELECT n, value FROM {t} WHERE host = 'it''s' AND n < 60 ORDER BY n",
    "SELECT count(*) FROM {t} WHERE month = '2024-03-01'",
    "SELECT count(*) FROM {t} WHERE month = '2024-03-01' AND ts >= '2024-03-31'",
    "SELECT count(*) FROM {t} WHERE host IS NULL AND ts < '2024-02-01'",
    "SELECT CAST(extract(month FROM month) AS INTEGER), count(*), sum(n) FROM {t} GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM {t} a JOIN {t} b ON a.n = b.n WHERE a.host = 'a'",
    "WITH x AS (SELECT n FROM {t} WHERE value > 0.5) SELECT count(*), max(n) FROM x",
    "SELECT n FROM {t} WHERE value = (SELECT max(value) FROM {t})",
    "SELECT DISTINCT host FROM {t} WHERE host IS NOT NULL ORDER BY 1",
    "SELECT avg(value), avg(n) FROM {t} WHERE ts < '2024-03-15'",
    "SELECT n FROM {t} WHERE note LIKE '%7' ORDER BY n DESC LIMIT 5",
    "SELECT count(DISTINCT n), count(DISTINCT host) FROM {t}",
    "SELECT min(n), count(*) FROM {t} WHERE ts > '2024-04-29T12:00:00Z'",
    "SELECT count(*) FROM {t} WHERE month IN ('2024-01-01', '2024-03-01')",
    "SELECT count(*) FROM {t} WHERE ts BETWEEN '2024-01-31' AND '2024-02-01'",
    "SELECT host, max(n) FROM {t} WHERE note IS NULL GROUP BY host HAVING count(*) > 1 ORDER BY 2",
    "SELECT n, value FROM {t} ORDER BY n LIMIT 3 OFFSET 10",
]
if examples(0, long=1):  # Forty of each; these are about two years.
    ASKED += [
        (*about, {"metrics": (metric,), "by": ("host",)[: number % 2]})
        for number, metric in enumerate(("value:min", "value:count", "value:sum", "n:last", "n:stddev", "value:p95"))
        for about in (
            ("3h", "2024-02-28", "2024-03-02"),
            ("1d", "2023-01-25", "2023-02-05"),
            ("1w", "2023-10-30", "2024-01-08"),
        )
    ]
    ASKED.append(("1mo", "2022-07-01", END, {"metrics": ("value:first", "value:last"), "by": ("host",)}))
    SELECTS += [
        f"SELECT {values} FROM {{t}} WHERE {condition}"
        for values in (
            "count(*), min(value), max(value)",
            "sum(n), count(note)",
            "max(n) - min(n), count(value)",
            "count(DISTINCT host), max(note)",
            "min(n), min(note)",
        )
        for condition in ("month = '2023-05-01'", "ts < '2023-01-01'", "host = 'a' AND ts >= '2024-01-01'", "n % 7 = 0")
    ]


@pytest.fixture(params=["duck", pytest.param("crate_files", marks=pytest.mark.cratedb)])
def files(request: pytest.FixtureRequest) -> Database:
    """Each database with archives that are Parquet files."""
    bench: Database = request.getfixturevalue(request.param)
    return bench


def rows_of(days: int = 182, start: str = "2024-01-01") -> Iterator[dict[str, Any]]:
    """Rows of some days: two a day for each host, at times that differ."""
    first = parse_instant(start)
    for number in range(days * 6):
        host = HOSTS[number % 3]
        yield {
            "ts": (first + dt.timedelta(hours=number * 4, seconds=number % 3)).isoformat(),
            "host": host,
            "n": number,
            "value": None if number % 11 == 0 else math.sin(number),
            "note": None if number % 4 == 0 else f"note {number}",
        }


def create(db: Database, period: str = "30d", days: int = 182, start: str = "2024-01-01", **more: Any) -> str:
    """A table, of six months of which five are expired, and its policy."""
    db.create("metrics", COLUMNS, by=["month"])
    db.insert("metrics", rows_of(days, start))
    db.policy("snapshot", "metrics", period, **more)
    return "metrics"


def ask(db: Database, step: str, start: str, end: str, more: dict[str, Any]) -> Fetched:
    """Fetch from the table."""
    request = FetchRequest(
        table_name="metrics",
        table_schema=db.schema,
        start=parse_instant(start),
        end=parse_instant(end),
        step=parse_interval(step),
        **more,
    )
    return db.tool.fetch(request)


def select(db: Database, text: str) -> list[tuple[Any, ...]]:
    """All rows of a query of archives."""
    with db.tool.archive.query(text) as answer:
        return list(answer)


def count(db: Database, fetched: bool = True) -> int:
    """How many rows there are: by `fetch`, or in the table and in archives together."""
    if fetched:
        return sum(int(str(row[1])) for row in ask(db, "1mo", "2023-01-01", END, COUNTED).rows)
    try:
        archived = select(db, f"SELECT count(*) FROM {db.q('metrics')}")[0][0]
    except NotFound:
        archived = 0
    return db.count("metrics") + int(archived)


# What depends on the order in which numbers are added up, and is therefore not the same to the bit.
ROUNDED = re.compile(r"avg|sum|stddev|increase|rate|p\d")


def same(one: Any, other: Any, is_rounded: bool) -> bool:
    """Whether two values are the same: to the bit, unless that depends on an order."""
    if is_rounded and isinstance(one, float) and isinstance(other, float | int):
        return other == pytest.approx(one, rel=1e-9, abs=1e-9)
    return bool(one == other)


def require_same(
    found: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]], what: object, names: Sequence[str]
) -> None:
    """Each value is what it was; ``names`` are those of columns."""
    assert len(found) == len(expected), what
    rounded = [ROUNDED.search(name) is not None for name in names]
    for row, right in zip(found, expected, strict=True):
        assert len(row) == len(right) == len(rounded)
        assert all(map(same, right, row, rounded)), (what, row, right)


def require_same_answer(found: Fetched, expected: Fetched, what: object) -> None:
    """Each value is what it was; only the table that it is from may be another one."""
    assert found.columns == expected.columns
    require_same([row[:-1] for row in found.rows], [row[:-1] for row in expected.rows], what, found.columns[:-1])


def answers(db: Database, table: str) -> list[list[Sequence[Any]]]:
    """The answers of the database to the questions in SQL, of the table or a part of it."""
    return [db.rows(text.format(t=table if " a JOIN" in text else f"{table} q")) for text in SELECTS]


def names_of(text: str, rows: Sequence[Sequence[Any]]) -> list[str]:
    """Names for the columns of a question in SQL, which say whether its values are rounded."""
    return ["avg" if "avg(" in text else "exact"] * len(rows[0])


ON_S3 = [pytest.mark.s3, pytest.mark.long("make test asks this of files in a directory, and others on S3")]
PLACES = [
    "duck-directory",
    pytest.param("crate_files-directory", marks=pytest.mark.cratedb),
    pytest.param("duck-s3", marks=ON_S3),
    pytest.param("crate-s3", marks=[*ON_S3, pytest.mark.cratedb]),
]


@pytest.mark.slow("forty questions, before and after")
@pytest.mark.parametrize("place", PLACES)
def test_the_same_answers(request: pytest.FixtureRequest, place: str) -> None:
    """By `fetch` and by SQL, each question has the same answer as before, and `fetch` says where it is from."""
    engine, _, kind = place.partition("-")
    db: Database = request.getfixturevalue(engine)
    months = examples(4, long=22) if isinstance(db, CrateDatabase) else 22
    more: dict[str, Any] = {"target_repository_name": f"s3://{BUCKET}/cold"} if kind == "s3" else {}
    if more:
        request.getfixturevalue("s3")
    table = db.q(create(db, "60d", *((182, "2024-01-01") if months == 4 else (731, "2022-07-01")), **more))
    before = [ask(db, *each) for each in ASKED]
    right = answers(db, f"(SELECT * FROM {table} WHERE ts < '2024-05-01')")
    assert {name for each in before for name in each.levels} == {"raw"}
    assert db.run().partitions == months
    assert db.count("metrics") == 61 * 6
    for asked, expected in zip(ASKED, before, strict=True):
        found = ask(db, *asked)
        require_same_answer(found, expected, asked)
        assert not found.unread
    for text, answer in zip(SELECTS, right, strict=True):
        require_same(select(db, text.format(t=table)), answer, text, names_of(text, answer))
    across = ask(db, *ASKED[4])
    assert across.levels == ["archive", "raw"]
    assert [row[-1] for row in across.rows] == ["archive", "archive+raw", "raw", "raw"]
    assert "from archived rows; since 2024-05-01 from the raw rows" in describe(across)


@pytest.mark.slow("forty questions, before and after")
@pytest.mark.long("make test asks this of archives that are files, and restores others")
def test_the_same_answers_after_a_restore(crate: CrateDatabase) -> None:
    """What is in a repository of CrateDB is named, and gives the same answers once it was restored."""
    db = crate
    table = db.q(create(db, "60d", 731, "2022-07-01"))
    before, right = [ask(db, *each) for each in ASKED], answers(db, table)
    assert db.run().partitions == 22
    for asked, expected in zip(ASKED, before, strict=True):
        found = ask(db, *asked)
        assert found.unread or found.rows == expected.rows
    assert all(item.error is None for item in db.tool.restore(RestoreRequest(table_name="metrics")))
    db.refresh("metrics")
    for asked, expected in zip(ASKED, before, strict=True):
        require_same_answer(ask(db, *asked), expected, asked)
    for text, was, answer in zip(SELECTS, right, answers(db, table), strict=True):
        require_same(answer, was, text, names_of(text, was))


def release(db: Database) -> None:
    for hold in db.tool.holds():
        db.tool.release(hold.id)


def totals(db: Database) -> tuple[int, int]:
    return count(db), count(db, fetched=False)


@pytest.mark.slow("archived three times and restored twice, counted after each step")
@DECIDED
def test_no_row_twice(files: Database) -> None:
    """Before the drop, after it, with late rows, restored, archived again, and dropped by hand: each row once."""
    db, whole = files, 182 * 6
    create(db, verify="metadata")
    stopped = []

    def stop(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, VerifySnapshot):
            stopped.append((totals(db), len(db.tool.snapshots())))

    assert db.tool.run(observers=[stop]).partitions == 5
    assert stopped == [((whole, whole), number) for number in range(1, 6)]
    assert totals(db) == (whole, whole)
    late = {"host": "a", "n": -1, "value": 1.0, "note": "late"}
    db.insert("metrics", [{"ts": "2024-02-10T00:00:00Z", **late}])
    assert totals(db) == (whole + 1, whole + 1)
    february = ask(db, "1d", "2024-02-10", "2024-02-11", COUNTED)
    assert [row[1:] for row in february.rows] == [(7, "archive+raw")]
    assert db.run().partitions == 1
    assert totals(db) == (whole + 1, whole + 1)
    restored = RestoreRequest(table_name="metrics", start=parse_instant("2024-02-01"), end=parse_instant("2024-03-01"))
    assert [found.error for found in db.tool.restore(restored)] == [None, None]
    assert totals(db) == (whole + 1, whole + 1)
    with db.tool.archive.query(f"SELECT count(*) FROM {db.q('metrics')} WHERE month = '2024-02-01'") as answer:
        assert next(answer.rows) == (0,)
        (note,) = answer.notes
        assert note.endswith("the partitions of 2 snapshots are in the table, and their rows are not in this answer")
    db.insert("metrics", [{"ts": "2024-02-20T00:00:00Z", **late}])
    assert totals(db) == (whole + 2, whole + 2)
    release(db)
    assert db.run().partitions == 1
    stages = [record.stage for record in db.tool.snapshots() if "2024-02" in record.archived.name]
    assert sorted(stages) == ["archived", "superseded", "superseded"]
    assert totals(db) == (whole + 2, whole + 2)
    assert [found.error for found in db.tool.restore(restored)] == [None]
    db.sql(f"DELETE FROM {db.q('metrics')} WHERE month = '2024-02-01'")
    db.refresh("metrics")
    assert totals(db) == (whole + 2, whole + 2)


@DECIDED
def test_strays_and_damage(files: Database) -> None:
    """A file beside an archive is not read. A damaged archive is named, and the others are read."""
    db = files
    create(db)
    db.run()
    table, whole = db.q("metrics"), select(db, f"SELECT count(*) FROM {db.q('metrics')}")[0][0]
    one, *_ = sorted(db.snapshot_files())
    shutil.copy(one, one.with_name("stray.parquet"))
    shutil.copy(one, one.parent.parent / "stray.parquet")
    assert select(db, f"SELECT count(*) FROM {table}") == [(whole,)]
    content = one.read_bytes()
    one.write_bytes(content[: len(content) // 2])
    month = 31 * 6  # January's.
    with db.tool.archive.query(f"SELECT count(*) FROM {table}") as answer:
        assert next(answer.rows) == (whole - month,)
        (note,) = answer.notes
        assert "1 snapshot not read: snapshot " in note and " bytes, not the " in note
    found = ask(db, "1mo", "2024-01-01", END, COUNTED)
    assert [row[1] for row in found.rows] == [29 * 6, 31 * 6, 30 * 6, 31 * 6, 30 * 6]
    assert [note[:60] for note in found.notes] == ["2024-01-01 to 2024-02-01: archived rows were not read: snaps"]
    one.unlink()
    assert "is missing" in ask(db, "1mo", "2024-01-01", END, COUNTED).notes[0]


def test_a_repository_of_cratedb(crate: CrateDatabase) -> None:
    """What only CrateDB can read is named, with the remedy; the rows of the table are there."""
    db = crate
    create(db)
    db.run()
    found = ask(db, "1mo", "2024-01-01", END, COUNTED)
    assert [row[1:] for row in found.rows] == [(180, "raw")]
    why = f"repository {db.repository}: only CrateDB can read it. Bring the rows back with `cratedb-retention restore`"
    assert found.notes == [f"2024-01-01 to 2024-06-01: archived rows were not read: {why}"]
    with pytest.raises(Unsupported, match="only CrateDB can read it"):
        select(db, f"SELECT * FROM {db.q('metrics')}")


@DECIDED
def test_levels_answer_first(files: Database) -> None:
    """A level that fits the step answers; archived rows answer a shorter step, which it had answered so far."""
    db = files
    db.create("metrics", {name: kind for name, kind in COLUMNS.items() if name != "note"}, by=["month"])
    db.insert("metrics", [{k: v for k, v in row.items() if k != "note"} for row in rows_of()])
    db.policy("downsample", "metrics", "1y", levels="1d:forever", dimensions=["host"], late="drop")
    db.policy("snapshot", "metrics", "30d")
    assert db.run().ok
    assert db.count("metrics", "month < '2024-06-01'") == 0
    by_day = ask(db, "1d", "2024-02-01", "2024-02-03", COUNTED)
    assert [row[1:] for row in by_day.rows] == [(6, "1d"), (6, "1d")]
    by_hour = ask(db, "4h", "2024-02-01", "2024-02-02", {"metrics": ("row_count", "value:max")})
    assert [(row[1], row[-1]) for row in by_hour.rows] == [(1, "archive")] * 6
    assert by_hour.notes == []
    verify_by_archives(db)


def verify_by_archives(db: Database) -> None:
    """A level whose source is archived is compared with the archives, bucket by bucket, and notes say so."""

    def verify() -> tuple[list[tuple[Any, ...]], list[str]]:
        notes: list[str] = []
        found = db.tool.rollups.verify("metrics", db.schema, notes.append)
        return [(show(d.start), d.source, d.what, d.expected, d.found, d.stale) for d in found], notes

    compared = "1d: 2024-01-01 to 2024-06-01 was compared with archived rows"
    assert verify() == ([], [compared])
    day = "ts = '2024-02-03T00:00:00Z' AND host = 'a'"
    db.sql(f"UPDATE {db.q('metrics_1d')} SET row_count = row_count + 1, n_sum = n_sum - 1 WHERE {day}")
    db.refresh("metrics_1d")
    (rows, total), notes = verify()
    assert rows == ("2024-02-03", "archive", "row_count", 6, 7, False)
    assert total[:3] == ("2024-02-03", "archive", "n_sum") and total[3] - total[4] == 1
    assert notes == [compared]
    if isinstance(db, CrateDatabase):
        return
    # Late rows that were archived are not in the level, so February is not compared any more.
    db.insert("metrics", [{"ts": "2024-02-10T00:00:00Z", "host": "a", "n": 1, "value": 1.0}])
    assert db.run().ok and len(db.tool.snapshots()) == 6
    again = "2024-02-01 to 2024-03-01 was archived more than once, and maybe with late rows"
    parts = [compared.replace("06-01", "02-01"), compared.replace("01-01", "03-01")]
    assert verify() == ([], [*parts, f"{again}: not compared with archived rows"])
    one, *_ = db.snapshot_files()
    one.unlink()
    (*_, unread, _) = verify()[1]
    assert unread.startswith("2024-01-01 to 2024-02-01: archived rows were not read: snapshot")


@DECIDED
def test_counters(files: Database) -> None:
    """The increase of a counter goes on from its last archived value, also where the range begins with the table."""
    db = files
    db.create("metrics", {name: COLUMNS[name] for name in ("ts", "host", "n", "month")}, by=["month"])
    db.insert("metrics", [{"ts": row["ts"], "host": row["host"], "n": row["n"] % 70} for row in rows_of()])
    db.policy("snapshot", "metrics", "30d")
    counted: dict[str, Any] = {"metrics": ("n:increase",), "by": ("host",)}
    asked = [
        ("1mo", "2024-01-01", END, counted),
        ("1d", "2024-05-30", "2024-06-03", counted),
        ("1d", "2024-06-01", "2024-06-03", counted),
        ("4h", "2024-03-01", "2024-03-03", {**counted, "where": {"host": "it's"}}),
        ("1d", "2024-05-31", "2024-06-02", {"metrics": ("n:increase", "n:rate")}),
    ]
    before = [ask(db, *each) for each in asked]
    assert all(row[2] for row in before[2].rows)
    assert db.run().partitions == 5
    for each, expected in zip(asked, before, strict=True):
        require_same_answer(ask(db, *each), expected, each)


def test_partitions_of_tenants(files: Database) -> None:
    """The rows of one tenant are archived, those of another are in the table: both are in the answer."""
    db = files
    db.create("metrics", {**COLUMNS, "tenant": "TEXT"}, by=["tenant", "month"])
    db.insert("metrics", [{**row, "tenant": ("acme", "globex")[row["n"] % 2]} for row in rows_of(90)])
    db.policy("snapshot", "metrics", "30d", where={"tenant": "acme"}, time_column="ts")
    before = ask(db, "1mo", "2024-01-01", END, {"metrics": ("row_count", "n:sum"), "by": ("tenant",)})
    assert db.run().partitions == 3
    after = ask(db, "1mo", "2024-01-01", END, {"metrics": ("row_count", "n:sum"), "by": ("tenant",)})
    require_same_answer(after, before, "both")
    assert {(row[1], row[-1]) for row in after.rows} == {("acme", "archive"), ("globex", "raw")}
    assert select(db, f"SELECT DISTINCT tenant FROM {db.q('metrics')}") == [("acme",)]


def test_archives_of_some_tenants(duck: DuckDatabase) -> None:
    """A rollup of all tenants answers also a shorter step, rather than the archive of one of them."""
    duck.create("metrics", {"ts": TIME, "n": "INTEGER", "tenant": "TEXT", "month": MONTH}, by=["tenant", "month"])
    rows = ({"ts": row["ts"], "n": row["n"], "tenant": ("acme", "globex")[row["n"] % 2]} for row in rows_of(90))
    duck.insert("metrics", list(rows))
    duck.policy("downsample", "metrics", "1y", levels="1d:forever", dimensions=["tenant"], late="drop")
    duck.policy("snapshot", "metrics", "30d", where={"tenant": "acme"})
    duck.policy("delete", "metrics", "30d", where={"tenant": "globex"})
    assert (duck.run().ok, duck.count("metrics")) == (True, 0)
    found = ask(duck, "4h", "2024-02-01", "2024-02-02", COUNTED)
    assert [row[1:] for row in found.rows] == [(6, "1d")]


def test_columns_that_came_later(files: Database) -> None:
    """Archives with fewer columns have NULL there; what was archived of a dropped column is there as well."""
    db = files
    create(db)
    assert db.run().partitions == 5
    db.sql(f"ALTER TABLE {db.q('metrics')} ADD COLUMN extra INTEGER")
    db.insert("metrics", [{"ts": "2024-05-10T00:00:00Z", "host": "a", "n": 1, "extra": 7}])
    assert db.run().partitions == 1
    found = select(db, f"SELECT count(*), count(extra), sum(extra), count(note) > 0 FROM {db.q('metrics')}")
    assert found == [(152 * 6 + 1, 1, 7, True)]
    assert [row[1] for row in ask(db, "1mo", "2024-05-01", "2024-06-01", {"metrics": ("extra:sum",)}).rows] == [7]


@DECIDED
def test_another_table_of_the_name(files: Database) -> None:
    """Rows of an earlier table of the same name are not mixed with those of the present one."""
    db = files
    create(db)
    db.run()
    db.sql(f"DROP TABLE {db.q('metrics')}")
    assert len(select(db, f"SELECT * FROM {db.q('metrics')} WHERE n < 10")) == 10
    db.create("metrics", COLUMNS, by=["month"])
    db.insert("metrics", list(rows_of(1, "2024-06-20")))
    found = ask(db, "1mo", "2024-01-01", END, COUNTED)
    assert [row[1:] for row in found.rows] == [(6, "raw")]
    assert "is another one than the archived table of its name" in found.notes[0]
    with pytest.raises(Conflict, match="accept-table"):
        select(db, f"SELECT * FROM {db.q('metrics')}")
    db.tool.accept_tables("metrics", db.schema)
    assert count(db) == 152 * 6 + 6


def test_objects(crate_files: ParquetDatabase) -> None:
    """Fields of objects are dimensions and metrics, also in archives, and JSON in SQL."""
    db = crate_files
    fields = 'OBJECT(STRICT) AS (host TEXT, "a/b~c" TEXT, load DOUBLE PRECISION, seen TIMESTAMP WITH TIME ZONE)'
    db.create("metrics", {"ts": TIME, "o": fields, "tags": "ARRAY(TEXT)", "month": MONTH}, by=["month"])
    for day in range(1, 9):
        value = {"host": f"h{day % 2}", "a/b~c": "x", "load": day * 1.5, "seen": 1714521600000 + day}
        db.insert("metrics", [{"ts": f"2024-05-0{day}T00:00:00Z", "o": value, "tags": ["x", None]}])
    db.insert("metrics", [{"ts": "2024-06-10T00:00:00Z", "o": None, "tags": None}])
    more: dict[str, Any] = {"metrics": ("o['load']:sum", "row_count"), "by": ("o['host']", "o['a/b~c']")}
    asked = ("1mo", "2024-05-01", END, more)
    before = ask(db, *asked)
    db.policy("snapshot", "metrics", "30d")
    assert db.run().partitions == 1
    require_same_answer(ask(db, *asked), before, asked)
    table = db.q("metrics")
    assert select(db, f"SELECT sum((o->>'load')::DOUBLE), max(tags[1]) FROM {table}") == [(54.0, "x")]
    with db.tool.archive.query(f"SELECT o FROM {table} ORDER BY ts LIMIT 1") as answer:
        assert answer.types == ("JSON",)
        assert json.loads(next(answer.rows)[0])["load"] == 1.5


REFUSED = {
    "a file": "SELECT * FROM read_csv('/etc/passwd')",
    "a file by its name": "SELECT * FROM '/etc/passwd'",
    "text": "SELECT * FROM read_text('/etc/passwd')",
    "a listing": "SELECT * FROM glob('/etc/*')",
    "the web": "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    "two statements": "SELECT 1; SELECT 2",
    "a change of settings": "SET enable_external_access = true",
    "a reset": "RESET lock_configuration",
    "a copy": "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "an attachment": "ATTACH '/tmp/other.duckdb'",
    "an extension": "INSTALL httpfs",
    "a load": "LOAD httpfs",
    "a table": "CREATE TABLE t AS SELECT 1",
    "a deletion": "DELETE FROM {t}",
    "a pragma": "PRAGMA database_list",
    "a call": "CALL pragma_version()",
    "an export": "EXPORT DATABASE '/tmp/stolen'",
    "a variable of this program": "SELECT * FROM SECRET",
    "nothing": "",
    "no SQL": "SELEKT 1",
    "an unknown column": "SELECT nonsense FROM {t}",
    "an unknown table": "SELECT * FROM nowhere.at_all",
    "metadata": "SELECT * FROM parquet_metadata('/etc/passwd')",
    "a query in a query": "SELECT * FROM query('SELECT 1')",
    "a log file": "SELECT * FROM enable_logging(storage = 'file', storage_path = '/tmp/stolen')",
    "settings": "SELECT (SELECT count(*) FROM duckdb_settings())",
}
SECRET = [("not to be seen",)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDatabase]:
    """A DuckDB file with one small archive."""
    directory = tmp_path_factory.mktemp("small")
    db = DuckDatabase(f"duckdb:///{directory / 'test.duckdb'}", directory / "reposi[to]ry")
    db.set_up()
    db.create("metrics", COLUMNS, by=["month"])
    db.insert("metrics", rows_of(10, "2024-05-25"))
    db.policy("snapshot", "metrics", "30d")
    db.run()
    yield db
    db.close()


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_else_is_read(small: DuckDatabase, case: str) -> None:
    """A query is one SELECT, and reads archives: no other file, no variable, no settings."""
    with pytest.raises(InvalidInput) as refused:
        select(small, REFUSED[case].format(t=small.q("metrics")))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert not Path("/tmp/stolen.csv").exists()


def test_other_files_of_the_repository(small: DuckDatabase) -> None:
    """Not even a Parquet file in the same directory is read, unless it is a recorded archive."""
    (one,) = small.snapshot_files()
    shutil.copy(one, one.with_name("other.parquet"))
    with pytest.raises(InvalidInput, match=r"(?i)permission"):
        select(small, f"SELECT * FROM '{one.with_name('other.parquet')}', {small.q('metrics')}")
    one.with_name("other.parquet").unlink()


def test_a_query_that_is_too_deep(small: DuckDatabase) -> None:
    """What cannot be examined is refused, not run."""
    with pytest.raises(InvalidInput, match="nested too deeply"):
        select(small, f"SELECT 1{' + 1' * 950}")


def test_what_a_reader_may_read(duck: DuckDatabase) -> None:
    """Of a table that several share, a reader has the archives all of whose rows are theirs, and hears of no others."""
    db = duck
    db.create("events", {"ts": TIME, "n": "INTEGER", "tenant": "TEXT", "month": MONTH}, by=["month", "tenant"])
    for tenant, months in (("acme", "34"), ("globex", "345")):
        db.insert("events", [{"ts": f"2024-0{m}-10T00:00:00Z", "n": int(m), "tenant": tenant} for m in months])
    db.policy("snapshot", "events", "30d")
    assert db.run().partitions == 5
    assert db.tool.archive.begins(db.table("events")) == to_ms(parse_instant("2024-03-01"))
    engine, store = db.tool.engine, db.tool.store

    def ask_as(limited: bool, text: str = "SELECT tenant, count(*) FROM {t} GROUP BY ALL ORDER BY 1") -> Any:
        def covers(table: TableName, where: Mapping[str, Value]) -> bool:
            return not limited or where.get("tenant") == "acme"

        reader = Reader(covers=covers, limited=limited)
        rows, notes = find_queried(engine, store, text.format(t=db.q("events")), reader)
        with ArchiveDatabase(db.schema, rows).ask(text.format(t=db.q("events")), notes) as answer:
            return list(answer), answer.notes

    assert ask_as(limited=False) == ([("acme", 2), ("globex", 3)], ())
    partly = "lab.events: only archives of which this token may read all rows are in this answer"
    assert ask_as(limited=True) == ([("acme", 2)], (partly,))
    # A table expression of the same name hides nothing.
    hiding = "WITH events AS (FROM {t}) SELECT tenant, count(*) FROM events GROUP BY ALL"
    assert ask_as(limited=True, text=hiding)[0] == [("acme", 2)]
    one, *others = (path for path in db.snapshot_files() if "tenant=acme" in str(path))
    one.unlink()
    hidden = "lab.events: 1 snapshot not read: ask a user without a scope"
    assert ask_as(limited=True) == ([("acme", 1)], (hidden, partly))
    (note,) = ask_as(limited=False)[1]
    assert f"{one.name} is missing" in note
    others[0].unlink()
    with pytest.raises(NotFound, match="has no archive of which this token may read all rows"):
        ask_as(limited=True)


def test_names_of_tables(small: DuckDatabase) -> None:
    """A table is found in any case, quoted or not; common table expressions and aliases are not taken for tables."""
    for text in ("LAB.Metrics", 'lab."metrics"', '"LAB"."METRICS"'):
        assert select(small, f"SELECT count(*) FROM {text}") == [(42,)]
    assert select(small, "WITH metrics AS (SELECT 1 AS x) SELECT x FROM metrics") == [(1,)]
    assert select(small, "FROM lab.metrics SELECT max(n)") == [(41,)]


def test_the_memory_is_bounded(small: DuckDatabase) -> None:
    """A sort of a gigabyte, which does not fit into memory, is written to disk, however many cores there are."""
    rows = "SELECT repeat('x', 1000) || i AS x FROM range(1000000) r(i)"
    text = f"SELECT sum(length(x)), max(place) FROM (SELECT x, row_number() OVER (ORDER BY x) AS place FROM ({rows}))"
    with small.tool.archive.query(text) as answer:
        assert next(answer.rows)[1] == 1_000_000


FORMS = "SELECT 1 AS a, NULL AS b, 'x,\"y\"' AS c, 0.10::DECIMAL(5, 2) AS d, 'nan'::DOUBLE AS e, [1, NULL] AS f, "
FORMS += "{'k': 1.50::DECIMAL(5, 2)} AS g, TIMESTAMPTZ '2024-05-01 00:00:00+00' AS h, '{\"j\": 1.0}'::JSON AS i, "
FORMS += "'\\x01'::BLOB AS k, true AS l FROM range(2)"


def test_formats(small: DuckDatabase, tmp_path: Path) -> None:
    """As CSV, JSON, Arrow and Parquet: values have all digits, and times are ISO 8601."""
    pa = pytest.importorskip("pyarrow")
    written = {}
    for form in ("csv", "json", "arrow", "parquet"):
        path = tmp_path / form
        with path.open("wb") as stream, small.tool.archive.query(FORMS) as answer:
            answer.write(form, stream)
        written[form] = path.read_bytes()
    row = '1,,"x,""y""",0.10,,"[1, null]","{""k"": 1.50}",2024-05-01T00:00:00+00:00,"{""j"": 1.0}",01,True'
    assert written["csv"].decode().splitlines() == ["a,b,c,d,e,f,g,h,i,k,l", row, row]
    (one, other) = json.loads(written["json"], parse_float=str)
    assert one == other
    assert (one["d"], one["g"], one["i"], one["e"], one["f"]) == ("0.10", {"k": "1.50"}, {"j": "1.0"}, None, [1, None])
    assert one["h"] == "2024-05-01T00:00:00+00:00"
    with pa.ipc.open_stream(written["arrow"]) as reader:
        streamed = reader.read_all()
    import pyarrow.parquet as pq

    assert streamed.num_rows == pq.read_table(tmp_path / "parquet").num_rows == 2
    assert streamed.column("d").to_pylist() == [Decimal("0.10")] * 2
    with small.tool.archive.query("SELECT n FROM lab.metrics WHERE n < 0") as answer:
        assert answer.to_arrow().num_rows == 0


def bytes_read(work: Callable[[], Any]) -> int:
    """How many bytes this process reads for some work, once everything is imported."""

    def read_so_far() -> int:
        text = Path("/proc/self/io").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("rchar")).split()[1])

    work()
    before = read_so_far()
    work()
    return read_so_far() - before


def sizes_of(path: Path, column: str, low: Any, high: Any) -> tuple[int, int]:
    """The bytes of the row groups that have values of a range, and those of all."""
    pq = pytest.importorskip("pyarrow.parquet")
    groups = [pq.ParquetFile(path).metadata.row_group(i) for i in range(pq.ParquetFile(path).num_row_groups)]
    sizes = []
    for group in groups:
        columns = [group.column(i) for i in range(group.num_columns)]
        (own,) = [one.statistics for one in columns if one.path_in_schema == column]
        sizes.append((own.max >= low and own.min < high, sum(one.total_compressed_size for one in columns)))
    return sum(size for within, size in sizes if within), sum(size for _, size in sizes)


def archive_a_month(db: DuckDatabase, **more: Any) -> None:
    """Archive many rows of May, in the order of time."""
    columns = {"ts": TIME, **{f"c{i}": NUMBER for i in range(4)}, "month": MONTH}
    db.create("metrics", columns, by=["month"])
    values = ", ".join(["random()"] * 4)
    db.sql(
        f"INSERT INTO {db.q('metrics')} SELECT TIMESTAMPTZ '2024-05-01 00:00:00+00' + i * INTERVAL 4 SECOND, {values} "
        "FROM range(669600) r(i)"
    )
    db.policy("snapshot", "metrics", "30d", **more)
    assert db.run().partitions == 1


def require_a_day(db: DuckDatabase, file: Path, read: Callable[[Callable[[], Any]], int]) -> None:
    """`fetch` and SQL about one day read no more than the row groups of that day."""
    low, high = (dt.datetime.fromisoformat(f"2024-05-{day}T00:00:00+00:00") for day in ("02", "03"))
    own, every = sizes_of(file, "ts", low, high)
    assert own < every / 3
    day = "ts >= '2024-05-02' AND ts < '2024-05-03'"
    assert read(lambda: select(db, f"SELECT * FROM {db.q('metrics')} WHERE {day}")) < own * 1.1
    assert read(lambda: select(db, f"SELECT sum(c1) FROM {db.q('metrics')} WHERE {day}")) < own * 0.6
    asked = ("1h", "2024-05-02", "2024-05-03", {"metrics": ("c1:avg",)})
    assert read(lambda: ask(db, *asked)) < own * 0.6
    assert sum(select(db, f"SELECT count(*) FROM {db.q('metrics')} WHERE {day}")[0]) == 21600


def test_a_day_of_a_month_on_duckdb(duck: DuckDatabase) -> None:
    """Of a file in a directory."""
    archive_a_month(duck)
    (path,) = duck.snapshot_files()
    require_a_day(duck, path, bytes_read)


def asked_for(sizes: list[int]) -> Callable[[Callable[[], Any]], int]:
    """A function that says how many bytes of objects some work reads."""

    def read(work: Callable[[], Any]) -> int:
        sizes.clear()
        work()
        return sum(sizes)

    return read


@pytest.mark.s3
@pytest.mark.long("make test counts the bytes of files in a directory")
def test_a_day_of_a_month_on_s3(
    duck: DuckDatabase, s3: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an object in a bucket, of which the server says what was asked for."""
    archive_a_month(duck, target_repository_name=f"s3://{BUCKET}/cold")
    (name,) = (name for name in s3.files() if name.endswith(".parquet"))
    copy = tmp_path / "rows.parquet"
    copy.write_bytes(s3.read(name))
    with counting(s3.address) as (address, sizes):
        s3.use(monkeypatch, address)
        require_a_day(duck, copy, asked_for(sizes))


def dataset(repository: str, monkeypatch: pytest.MonkeyPatch, months: int = 2, rows: int = 500_000) -> ArchivedRows:
    """Archives as those of CrateDB, made without one."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.compute as pc

    monkeypatch.setattr("cratedb_retention.engine.parquet.ROW_GROUP_ROWS", 50_000)
    store, manifests = Store(repository), []
    schema = pa.schema([("ts", pa.timestamp("ms", "UTC")), *((f"c{i}", pa.float64()) for i in range(4))])
    for number in range(1, months + 1):
        start = int(parse_instant(f"2024-{number:02}-01").timestamp() * 1000)
        path = f"doc.metrics/month=2024-{number:02}-01/x.parquet"
        with store.writing_rows(path, schema) as file:
            for first in range(0, rows, 50_000):
                times = pa.array(range(start + first * 4000, start + (first + 50_000) * 4000, 4000), pa.int64())
                columns = [times.cast(schema.field("ts").type), *(pc.random(50_000) for _ in range(4))]
                file.write(pa.record_batch(columns, schema=schema))
        manifests.append(
            Manifest(
                table=["doc", "metrics"],
                definition="",
                columns=[["ts", "timestamp with time zone"], *([f"c{i}", "double precision"] for i in range(4))],
                exact=[],
                generated=[[5, "month", "timestamp with time zone", "date_trunc('month', \"ts\")"]],
                partition=[["month", "timestamp with time zone", "time", start]],
                rows=rows,
                digest="",
                token="",
                file=path,
                size=store.size(path) or 0,
            )
        )
    return dataset_rows(TableName("doc", "metrics"), store, manifests)


def test_a_day_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns, times and values of partitions are pushed down into the files of CrateDB's archives."""
    rows = dataset(f"file://{tmp_path}", monkeypatch)
    low, high = (dt.datetime.fromisoformat(f"2024-02-{day}T00:00:00+00:00") for day in ("05", "06"))
    own, every = sizes_of(tmp_path / "doc.metrics/month=2024-02-01/x.parquet", "ts", low, high)
    assert own < every / 3

    def read(text: str) -> list[tuple[Any, ...]]:
        with ArchiveDatabase("doc", [rows]).ask(text) as answer:
            return list(answer)

    day = "ts >= '2024-02-05' AND ts < '2024-02-06'"
    assert bytes_read(lambda: read(f"SELECT * FROM metrics WHERE {day}")) < own * 1.1
    assert bytes_read(lambda: read(f"SELECT sum(c1) FROM metrics WHERE {day}")) < own * 0.6
    (tmp_path / "doc.metrics/month=2024-01-01/x.parquet").unlink()  # It is not even opened.
    assert read(f"SELECT count(*) FROM metrics WHERE {day}") == [(21_600,)]
    assert read("SELECT count(*) FROM metrics WHERE month >= '2024-02-01'") == [(500_000,)]
    assert read(f"SELECT count(*), min(month) = '2024-02-01' FROM metrics WHERE {day}") == [(21_600, True)]


@pytest.mark.s3
@pytest.mark.long("make test counts the bytes of files in a directory")
def test_a_day_of_a_dataset_on_s3(s3: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise of objects in a bucket, of which the server says what was asked for."""
    with counting(s3.address) as (address, sizes):
        s3.use(monkeypatch, address)
        rows = dataset(f"s3://{BUCKET}/cold", monkeypatch)
        copy = tmp_path / "rows.parquet"
        copy.write_bytes(s3.read(f"{BUCKET}/cold/doc.metrics/month=2024-02-01/x.parquet"))
        low, high = (dt.datetime.fromisoformat(f"2024-02-{day}T00:00:00+00:00") for day in ("05", "06"))
        own, _ = sizes_of(copy, "ts", low, high)
        day, read = "ts >= '2024-02-05' AND ts < '2024-02-06'", asked_for(sizes)

        def select_from(selected: str) -> None:
            with ArchiveDatabase("doc", [rows]).ask(f"SELECT {selected} FROM metrics WHERE {day}") as answer:
                assert len(list(answer)) in (1, 21_600)

        assert 0 < read(lambda: select_from("*")) < own * 1.1
        assert 0 < read(lambda: select_from("sum(c1)")) < own * 0.6


def test_flipped_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that differs from its checksum is an error, not an answer; numbers that do not compress show that."""
    rows = dataset(f"file://{tmp_path}", monkeypatch, months=1, rows=50_000)
    (path,) = tmp_path.glob("*/*/x.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RetentionError, match=r"(?i)crc|checksum"):  # noqa: SIM117 - only what reads rows
        with ArchiveDatabase("doc", [rows]).ask("SELECT sum(c0), sum(c1), sum(c2), sum(c3) FROM metrics") as answer:
            list(answer)


def test_a_dataset_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that answers a query for a service opens the files of CrateDB's archives itself."""
    rows = dataset(f"file://{tmp_path}", monkeypatch, months=1, rows=50_000)
    text = "SELECT count(*) AS n, min(month) AS first FROM metrics"
    with tempfile.TemporaryFile() as file:
        apart.answer(QueryRequest(text=text, form="csv", seconds=60, size=1000), "doc", [rows], file)
        file.seek(0)
        assert file.read().decode().splitlines() == ["n,first", "50000,2024-01-01T00:00:00+00:00"]


def test_one_name_in_two_cases(tmp_path: Path) -> None:
    """Columns that DuckDB cannot distinguish are refused, rather than mixed up."""
    from cratedb_retention.engine.cratedb.query import require_readable

    given: dict[str, Any] = {"table": ["doc", "t"], "definition": "", "exact": [], "generated": [], "partition": []}
    given |= {"rows": 0, "digest": "", "token": "", "file": "", "size": 0}
    require_readable(Manifest(**given, columns=[["a", "text"], ["b", "text"]]))
    with pytest.raises(Unsupported, match="differ only in case, such as 'a'"):
        require_readable(Manifest(**given, columns=[["a", "text"], ["A", "text"]]))


def test_without_duckdb(crate_files: ParquetDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver, `fetch` answers from the table and says what is missing; SQL is refused with the remedy."""
    db = crate_files
    create(db)
    db.run()
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    found = ask(db, "1mo", "2024-01-01", END, COUNTED)
    assert [row[1:] for row in found.rows] == [(180, "raw")]
    assert "Install the extra [duckdb]" in found.notes[0]
    with pytest.raises(InvalidInput, match=r"Install the extra \[duckdb\]"):
        select(db, f"SELECT * FROM {db.q('metrics')}")


@DECIDED
def test_a_snapshot_that_is_going(files: Database) -> None:
    """A snapshot that is being deleted is not read any more."""
    db = files
    create(db)
    db.run()
    first = db.tool.snapshots()[0]
    db.tool.store.snapshots.mark(*first.key, SnapshotStage.DELETING)
    assert count(db) == (182 - 31) * 6


def test_what_a_policy_deleted(duck: DuckDatabase) -> None:
    """What a recoverable policy deleted is not read, although it could be brought back."""
    db = duck
    db.create("metrics", COLUMNS, by=["month"])
    db.insert("metrics", rows_of(60, "2024-05-01"))
    db.policy("delete", "metrics", "30d", recoverable="7d", target_repository_name=db.repository)
    assert db.run().partitions == 1
    assert len(db.tool.snapshots()) == 1
    assert [row[1:] for row in ask(db, "1mo", "2024-05-01", END, COUNTED).rows] == [(29 * 6, "raw")]
    with pytest.raises(NotFound):
        select(db, f"SELECT * FROM {db.q('metrics')}")
