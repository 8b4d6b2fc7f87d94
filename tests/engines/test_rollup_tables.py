"""
A level's tables and the view: columns that are added later, names of any kind, what a reader sees.
"""

from __future__ import annotations

from typing import Any

import pytest
from cratedb_sqlparse import sqlparse  # type: ignore[import-untyped]

from cratedb_retention.engine.cratedb import engine as crate_engine
from cratedb_retention.errors import DatabaseError, PartitionChanged
from cratedb_retention.model.catalog import Selector
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import AlterRollup, CreateRollup, ReplaceView, RollUp, Rollup, ViewPart
from support.databases import TIME, CrateDatabase, Database, DuckDatabase
from support.lost_shards import before_statement
from support.oracle import Row
from support.rollups import DAY, EVERYTHING, HOUR, MINUTE, PLAIN, START, RollupTables, check_level, stretch, windows
from support.sql import quoted

HOSTILE = ["select", 'My "Column', "%(x)s 100%", ":p a:b;--", "größe $1 ?"]


@pytest.fixture
def rollups(db: Database) -> RollupTables:
    """A raw table of hosts and one metric, on each engine."""
    return RollupTables(db=db, engine=db.retention().engine)


def hours(count: int, **more: Any) -> list[Row]:
    """A row each ten minutes."""
    return [{"ts": START + i * 10 * MINUTE, "host": "a", "x": float(i % 13), **more} for i in range(count)]


def view_of(rollups: RollupTables, rollup: Rollup, border: int) -> ReplaceView:
    """A view with the level before an instant and the raw rows after it."""
    return ReplaceView(
        rollup=rollup,
        parts=(
            ViewPart(table=rollup.table, interval=str(rollup.interval), start=None, end=border),
            ViewPart(table=rollups.source, interval="", start=border, end=None),
        ),
    )


@pytest.mark.parametrize("kept", [PLAIN, EVERYTHING, (Aggregate.MIN, Aggregate.MAX)])
def test_columns_are_added(rollups: RollupTables, kept: tuple[Aggregate, ...]) -> None:
    """A metric that comes later gets its columns, generated ones among them, in a table that holds rows already."""
    rows = hours(100, y=2.0)
    rollups.metrics = {"x": PLAIN, "y": ()}
    rollups.create(rows)
    old = rollups.level("1h", partition=parse_interval("1mo"))
    rollups.roll_up(old, *windows(START, DAY, 1))
    rollups.metrics = {"x": PLAIN, "y": kept}
    new = rollups.rollup("1h", partition=parse_interval("1mo"))
    names = tuple(new.metrics[1].columns)
    for _ in range(2):
        rollups.do(AlterRollup(rollup=new, columns=names))
        assert set(names) <= set(rollups.names(new.table))
        check_level(rollups, old, rows, START, START + DAY)
    rollups.roll_up(new, *windows(START, DAY, 1))
    check_level(rollups, new, rows, START, START + DAY)


def test_view(rollups: RollupTables) -> None:
    """The view has the rolled-up rows before a border, the raw ones after it in the same form, and says which."""
    rollups.metrics = {"x": EVERYTHING}
    rows = [*hours(36), {"ts": START + 5 * HOUR, "host": None, "x": None}]
    rollups.create(rows)
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    border = START + 3 * HOUR
    step = view_of(rollups, rollup, border)
    rollups.do(view_of(rollups, rollup, START + 2 * HOUR))
    rollups.do(step)
    query = f"SELECT level, sum(row_count), count(*), sum(x_sum), sum(x_count) FROM {quoted(*step.view)} GROUP BY level"
    found = {row[0]: [int(value) for value in row[1:]] for row in rollups.db.rows(query)}
    before = [row["x"] for row in rows if row["ts"] < border]
    after = [row["x"] for row in rows if row["ts"] >= border]
    assert found == {
        "1h": [len(before), 3, sum(before), len(before)],
        "raw": [len(after), len(after), sum(x or 0 for x in after), len(after) - 1],
    }
    shown = (*(str(one) for one in Aggregate if one is not Aggregate.PERCENTILES),)
    assert rollups.names(step.view) == ["ts", "host", *(f"x_{name}" for name in shown), "row_count", "level"]
    (null,) = rollups.db.rows(f"SELECT x_min, x_count, x_avg, x_stddev FROM {quoted(*step.view)} WHERE host IS NULL")
    assert list(null) == [None, 0, None, None]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(rollups: RollupTables, name: str) -> None:
    """Time, dimensions and metrics of any name, and tables of many."""
    rollups.time, rollups.dimensions, rollups.metrics = f"{name}t", (f"{name}d",), {name: EVERYTHING}
    rollups.name = "100%%(x)s:$1" if isinstance(rollups.db, CrateDatabase) else 'a "b" %s :c'
    rows = [
        {rollups.time: START + i * MINUTE, f"{name}d": None if i % 3 else "it's", name: float(i)} for i in range(100)
    ]
    rollups.create(rows)
    finer = rollups.level("15m", partition=parse_interval("1mo"), zone="Europe/Vienna")
    coarser = rollups.level("1h", below=finer)
    for rollup in (finer, coarser):
        rollups.do(CreateRollup(rollup=rollup))
        rollups.roll_up(rollup, *windows(START, DAY, 1))
        check_level(rollups, rollup, rows, START, START + DAY)
    step = view_of(rollups, coarser, START + HOUR)
    rollups.do(step)
    assert rollups.db.rows(f"SELECT sum(row_count) FROM {quoted(*step.view)}")[0][0] == 100


def test_inside_objects(crate: CrateDatabase) -> None:
    """Time, dimensions and metrics may be sub-columns of objects on CrateDB."""
    rollups = RollupTables(db=crate, engine=crate.retention().engine)
    rollups.time, rollups.dimensions, rollups.metrics = "o['ts']", ("o['host']",), {"o['deep']['x']": EVERYTHING}
    crate.sql(
        f"CREATE TABLE {crate.q('raw')} (o OBJECT(STRICT) AS (ts TIMESTAMP WITH TIME ZONE, host TEXT,"
        " deep OBJECT AS (x DOUBLE PRECISION)))"
    )
    flat = [{"o['ts']": START + i * MINUTE, "o['host']": "a", "o['deep']['x']": float(i)} for i in range(100)]
    for row in flat:
        made = {"ts": row["o['ts']"], "host": "a", "deep": {"x": row["o['deep']['x']"]}}
        crate.sql(f"INSERT INTO {crate.q('raw')} (o) VALUES (?)", [made])
    crate.refresh("raw")
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    assert {"o_ts", "o_host", "o_deep_x_min"} <= set(rollups.names(rollup.table))
    check_level(rollups, rollup, flat, START, START + DAY)
    rollups.do(view_of(rollups, rollup, START + HOUR))


def test_types(rollups: RollupTables) -> None:
    """Dimensions and metrics of other types keep them, or one that holds their values."""
    if isinstance(rollups.db, DuckDatabase):
        kinds = {"host": "ENUM ('a', 'b')", "x": "DECIMAL(10, 2)", "ts": "TIMESTAMP"}
    else:
        kinds = {"host": "CHARACTER(3)", "x": "NUMERIC(10, 2)", "ts": "TIMESTAMP WITHOUT TIME ZONE"}
    rollups.types = kinds | {"n": "INTEGER", "flag": "BOOLEAN"}
    rollups.dimensions, rollups.metrics = ("host", "flag"), {"x": EVERYTHING, "n": EVERYTHING}
    rollups.create([{"ts": START + i, "host": "a", "flag": True, "x": i + 0.25, "n": i} for i in range(4)])
    rollup = rollups.level("1h")
    rollups.roll_up(rollup, *windows(START, DAY, 1))
    (row,) = rollups.read(rollup.table)
    assert [float(row[f"x_{name}"]) for name in ("min", "max", "sum", "last", "avg")] == [0.25, 3.25, 7, 3.25, 1.75]
    assert [row[f"n_{name}"] for name in ("min", "max", "sum", "last", "increase")] == [0, 3, 6, 3, 3]
    assert (str(row["host"]).strip(), row["flag"]) == ("a", True)
    rollups.do(view_of(rollups, rollup, START + HOUR))


def test_lost_rows_are_found(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Rows that CrateDB skips without an error make the step fail, and name the window (law 5).

    A trigger for it: a partition of the target is closed. Then CrateDB stores none of the statement's rows.
    """
    monkeypatch.setattr(crate_engine, "ATTEMPTS", 2)
    rollups = RollupTables(db=crate, engine=crate.retention().engine)
    rollups.create(hours(300))
    rollup = rollups.level("1h", partition=parse_interval("1d"))
    first, second = windows(START, DAY, 2)
    rollups.roll_up(rollup, first, second)
    crate.sql(f"ALTER TABLE {crate.q('raw_1h')} PARTITION (rollup_partition = {second.start}) CLOSE")
    with pytest.raises(DatabaseError, match=r"window 2024-01-0.*accounts for 0 rows, its source has 144"):
        rollups.roll_up(rollup, first, second)


def test_rows_of_others_are_found(crate: CrateDatabase) -> None:
    """A row that another client writes into a window while it is computed is not taken for one of it (law 5)."""
    rollups = RollupTables(db=crate, engine=crate.tool.engine)
    rollups.create(hours(100))
    rollup = rollups.level("1h")
    values = f"({START + HOUR}, 'another', 7, 1)"

    def write() -> None:
        crate.sql(f"INSERT INTO {crate.q('raw_1h')} (ts, host, row_count, rollup_version) VALUES {values}")

    with before_statement(crate, "INSERT INTO", write) as seen:
        rollups.roll_up(rollup, *windows(START, DAY, 1))
    assert "raw_1h" in seen[0]
    assert crate.count("raw_1h", "host = 'another'") == 0
    check_level(rollups, rollup, hours(100), START, START + DAY)


def test_closed_partitions_hide_their_rows(crate: CrateDatabase) -> None:
    """A window over a closed partition is not taken for empty, which would delete its rollup."""
    rollups = RollupTables(db=crate, engine=crate.retention().engine)
    rollups.types = {"day": crate.bin("1 day")}
    crate.create("raw", {"ts": TIME, "host": "TEXT", "x": "DOUBLE PRECISION", "day": crate.bin("1 day")}, by=["day"])
    rollups.insert(hours(100))
    rollup = rollups.level("1h")
    table = rollups.engine.read_catalog([Selector(schema=crate.schema, name="raw")]).tables[rollups.source]
    step = RollUp(
        rollup=rollup,
        windows=tuple(windows(START, DAY, 1)),
        idents=tuple(partition.ident for partition in table.partitions),
    )
    rollups.do(step)
    crate.sql(f"ALTER TABLE {crate.q('raw')} PARTITION (day = {START}) CLOSE")
    with pytest.raises(PartitionChanged, match="closed"):
        rollups.do(step)
    check_level(rollups, rollup, hours(100), START, START + 16 * HOUR)


@pytest.mark.slow("CrateDB parses hundreds of statements")
def test_cratedb_parses_each_statement(crate: CrateDatabase) -> None:
    """CrateDB's own grammar knows each statement of a cascade."""
    rollups = RollupTables(db=crate, engine=crate.tool.engine, metrics={"x": EVERYTHING})
    with crate.statements() as sent:
        rollups.create(hours(200))
        finer = rollups.level("15m", partition=parse_interval("1mo"), zone="Europe/Vienna")
        coarser = rollups.level("1d", below=finer, zone="Europe/Vienna")
        for rollup in (finer, coarser, finer):
            rollups.roll_up(rollup, *stretch(parse_interval("1d"), START, 2, rollup.tzinfo))
            crate.sql(f"DELETE FROM {crate.q('raw')} WHERE x = 3")
        rollups.do(AlterRollup(rollup=finer, columns=("x_min",)))
        rollups.do(view_of(rollups, coarser, START + DAY))
    shown = rollups.engine.render(RollUp(rollup=finer, windows=tuple(windows(START, DAY, 2))))
    assert len(shown) == 4
    for statement in dict.fromkeys([*sent, *shown]):
        sqlparse(statement, raise_exception=True)
