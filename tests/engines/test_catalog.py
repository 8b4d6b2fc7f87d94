"""
What the engines read of tables and partitions: enough to plan by, and nothing that is not there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cratedb_retention.engine.cratedb import catalog
from cratedb_retention.engine.cratedb.connection import BLOCK, CrateConnection
from cratedb_retention.errors import Recovering
from cratedb_retention.model.catalog import Catalog, Kind, Partition, Selector, Table
from cratedb_retention.model.time import TimeRange
from support.databases import MONTH, NUMBER, TIME, CrateDatabase, Database, DuckDatabase

JAN, FEB = "2024-01-10T00:00:00Z", "2024-02-10T00:00:00Z"
JAN_MS, FEB_MS = 1704067200000, 1706745600000


def read(db: Database, name: str = "*", **more: object) -> Catalog:
    """The catalog of the test's schema."""
    return db.tool.engine.read_catalog([Selector(schema=db.schema, name=name, **more)])  # type: ignore[arg-type]


def table(db: Database, name: str, **more: object) -> Table:
    """One table of it."""
    return read(db, name, **more).tables[db.table(name)]


def by_values(found: Table) -> dict[tuple[object, ...], Partition]:
    """Partitions by their values."""
    return {partition.values: partition for partition in found.partitions}


def test_table_with_partitions(db: Database) -> None:
    """Columns, partition columns, partitions with their values and rows."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "v": NUMBER, "month": MONTH}, by=["month"])
    db.fill("metrics", [JAN, JAN, FEB])
    found = table(db, "metrics")
    assert found.partitioned_by == ("month",)
    assert {name: column.kind for name, column in found.columns.items()} == {
        "ts": Kind.TIME,
        "n": Kind.TEXT,
        "v": Kind.NUMBER,
        "month": Kind.TIME,
    }
    assert [name for name, column in found.columns.items() if column.expression] == ["month"]
    assert {values: p.rows for values, p in by_values(found).items()} == {(JAN_MS,): 2, (FEB_MS,): 1}
    assert (found.rows, found.closed, found.missing_shards) == (3, False, 0)


def test_table_without_partitions(db: Database) -> None:
    """Its rows, and no partitions."""
    db.create("events", {"ts": TIME, "n": "TEXT"})
    db.fill("events", [JAN, FEB])
    found = table(db, "events")
    assert (found.partitioned_by, found.partitions, found.rows) == ((), (), 2)


def test_empty_table(db: Database) -> None:
    """A table that never had a row."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    found = table(db, "metrics")
    assert (found.partitions, found.rows) == ((), 0)


def test_types_of_partition_values(db: Database) -> None:
    """Values are read as what they are, NULL included."""
    columns = {"ts": TIME, "n": "TEXT", "t": "TEXT", "i": "BIGINT", "b": "BOOLEAN", "d": NUMBER}
    db.create("types", columns, by=["t", "i", "b", "d"])
    db.fill("types", [JAN], t="7", i=2**53 + 1, b=True, d=0.1)
    db.fill("types", [JAN], t="", i=-1, b=False, d=1e20)
    db.fill("types", [JAN], t=None, i=None, b=None, d=None)
    values = set(by_values(table(db, "types")))
    assert values == {("7", 2**53 + 1, True, 0.1), ("", -1, False, 1e20), (None, None, None, None)}
    assert {tuple(map(type, v)) for v in values} == {(str, int, bool, float), (type(None),) * 4}


def test_token_moves_with_each_change(db: Database) -> None:
    """Inserting, changing and deleting a row changes the partition's token, and no other partition's."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", [JAN, JAN, FEB])

    def tokens() -> dict[tuple[object, ...], str]:
        return {values: p.token for values, p in by_values(table(db, "metrics", tokens=True)).items()}

    seen = [tokens()]
    db.fill("metrics", [JAN])
    seen.append(tokens())
    db.sql(f"UPDATE {db.q('metrics')} SET n = 'x' WHERE ts = '{JAN}'")
    db.refresh("metrics")
    seen.append(tokens())
    db.insert("metrics", [{"ts": JAN, "n": "y"}])
    db.sql(f"DELETE FROM {db.q('metrics')} WHERE n = 'y'")
    db.refresh("metrics")
    jan = [by[(JAN_MS,)] for by in seen]
    assert len(set(jan)) == 3 and all(jan)
    assert len({by[(FEB_MS,)] for by in seen}) == 1
    # CrateDB counts operations, DuckDB compares content: there, a row that came and went leaves no trace.
    assert (tokens()[(JAN_MS,)] == jan[-1]) is (db.product == "DuckDB")


def test_token_of_a_partition_made_anew(crate: CrateDatabase) -> None:
    """A partition that was dropped and came into being again has another token, whatever its rows."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    tokens = set()
    for _ in range(2):
        crate.fill("metrics", [JAN])
        tokens.add(table(crate, "metrics").partitions[0].token)
        crate.sql(f"DELETE FROM {crate.q('metrics')} WHERE month = '2024-01-01'")
    assert len(tokens) == 2


def test_only_what_is_wanted(db: Database) -> None:
    """Tables that no selector names are not read."""
    for name in ("metrics", "metrics_a", "other"):
        db.create(name, {"ts": TIME, "n": "TEXT"})
    assert set(read(db, "metrics").tables) == {db.table("metrics")}
    assert set(read(db, "metrics*").tables) == {db.table("metrics"), db.table("metrics_a")}
    assert read(db, "missing").tables == {}
    assert db.tool.engine.read_catalog([]).tables == {}


def test_closed_and_frozen(crate: CrateDatabase) -> None:
    """A closed partition hides its rows; a frozen one shows that it is."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("metrics", [JAN, FEB])
    crate.sql(f"ALTER TABLE {crate.q('metrics')} PARTITION (month = '2024-01-01') CLOSE")
    crate.sql(f"""ALTER TABLE {crate.q("metrics")} PARTITION (month = '2024-02-01') SET ("blocks.write" = true)""")
    found = by_values(table(crate, "metrics"))
    assert [(found[v,].closed, found[v,].frozen, found[v,].rows) for v in (JAN_MS, FEB_MS)] == [
        (True, False, None),
        (False, True, 1),
    ]


def test_blocked_by_a_full_disk(crate: CrateDatabase) -> None:
    """A partition that a full disk made read-only is read-only, and so is its table for what concerns all rows."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("metrics", [JAN, FEB])
    assert not table(crate, "metrics").read_only
    block = f"""ALTER TABLE {crate.q("metrics")} PARTITION (month = '2024-01-01') SET ("{BLOCK}" = """
    crate.sql(f"{block}true)")
    found = table(crate, "metrics")
    assert (found.read_only, [by_values(found)[v,].read_only for v in (JAN_MS, FEB_MS)]) == (True, [True, False])
    crate.sql(f"{block}false)")


def test_tables_that_are_not_known_yet(crate: CrateDatabase) -> None:
    """Where not even the toolkit's own tables are known, the cluster was just started: no table is gone then."""
    with pytest.raises(Recovering, match="does not know its tables yet"):
        crate.tool.engine.read_catalog([Selector(schema=crate.schema, name="metrics")], "not_yet_known")


def test_a_table_that_is_created_meanwhile(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that appears between two statements of one reading is not there yet; the others are read."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT"})
    of_columns = catalog.Reader._columns

    def columns(self: catalog.Reader) -> object:
        found = of_columns(self)
        crate.create("later", {"ts": TIME, "n": "TEXT"})
        return found

    def last_first(self: CrateConnection, *works: Callable[[], object]) -> list[object]:
        return [work() for work in reversed(works)][::-1]

    monkeypatch.setattr(CrateConnection, "together", last_first)
    monkeypatch.setattr(catalog.Reader, "_columns", columns)
    assert list(read(crate).tables) == [crate.table("metrics")]
    monkeypatch.undo()
    assert set(read(crate).tables) == {crate.table("later"), crate.table("metrics")}


def test_object_columns(crate: CrateDatabase) -> None:
    """Columns inside objects are columns, and may be partition columns."""
    crate.create("objects", {"ts": TIME, "n": "TEXT", "m": f"OBJECT AS (day {TIME})"}, by=["m['day']"])
    crate.insert("objects", [{"ts": JAN, "n": "x", "m": {"day": JAN}}])
    found = table(crate, "objects")
    assert found.partitioned_by == ("m['day']",)
    assert found.columns["m['day']"].kind is Kind.TIME
    assert found.partitions[0].values == (1704844800000,)


def test_many_names(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that are named are read alone, and where there are too many of them, their schema as a whole."""
    for name in ("a", "b", "c"):
        crate.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        crate.fill(name, [JAN])
    selectors = [
        Selector(schema=crate.schema, name="a"),
        Selector(schema=crate.schema, name="b"),
        Selector(schema="other", name="c"),
    ]
    few = crate.tool.engine.read_catalog(selectors)
    monkeypatch.setattr(catalog, "NAMES", 2)
    with crate.statements() as sent:
        assert crate.tool.engine.read_catalog(selectors) == few
    assert {name.name for name in few.tables} == {"a", "b"}
    assert all(found.partitions[0].rows == 1 for found in few.tables.values())
    assert not any("table_name IN" in statement for statement in sent)


def test_repositories_and_nodes(crate: CrateDatabase) -> None:
    """The repositories that policies may name, and the nodes; read only for policies that need them."""
    assert (read(crate).nodes, read(crate).repositories) == ({}, frozenset())
    found = read(crate, tokens=True, moves=True)
    assert crate.repository in found.repositories
    assert len(found.nodes) == 1


VIENNA = "timezone('Europe/Vienna', date_trunc('{}', timezone('Europe/Vienna', ts)))"
GRIDS = {
    "hour": "date_trunc('hour', ts)",
    "day": "date_trunc('day', ts)",
    "7 days": "time_bucket(INTERVAL '7 days', ts)",
    "month": "date_trunc('month', ts)",
    "3 months": "time_bucket(INTERVAL '3 months', ts)",
    "year": "date_trunc('year', ts)",
    "a day of a zone": VIENNA.format("day"),
    "a month of a zone": VIENNA.format("month"),
}


PLAIN = pytest.mark.long("make test has days of times without a zone, and all grids of times with one")


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        *((TIME, of) for of in GRIDS),
        *(pytest.param("TIMESTAMP", of, marks=() if of == "day" else PLAIN) for of in GRIDS),
    ],
)
@pytest.mark.some(4)
def test_partitions_of_a_time_range(duck: DuckDatabase, kind: str, of: str) -> None:
    """Those that overlap it are read as a whole; and what is far away is not read, if the column tells where it is."""
    part = f"part {kind} GENERATED ALWAYS AS ({GRIDS[of]})"
    duck.sql(f"CREATE TABLE {duck.q('metrics')} (ts {kind}, x INTEGER, {part})")
    times = "SELECT TIMESTAMP '2019-12-20' + to_hours(i * 7), i FROM range(9000) r(i)"
    duck.sql(f"INSERT INTO {duck.q('metrics')} (ts, x) {times}")
    duck.sql(f"COMMENT ON TABLE {duck.q('metrics')} IS 'PARTITIONED BY (part)'")
    whole = sorted(table(duck, "metrics", tokens=True).partitions, key=lambda partition: str(partition.values))
    assert sum(partition.rows or 0 for partition in whole) == 9000
    starts = [int(str(partition.values[0])) for partition in whole]
    for place in range(1, len(whole) - 2, max(len(whole) // 7, 1)):
        within = TimeRange(starts[place], starts[place + 1])
        found = by_values(table(duck, "metrics", tokens=True, within=within))
        assert [found[each.values] for each in whole[place : place + 1]] == whole[place : place + 1]
        for inside in (TimeRange(within.end - 1, within.end), TimeRange(within.start, within.start + 1)):
            assert by_values(table(duck, "metrics", tokens=True, within=inside))[whole[place].values] == whole[place]
        few = sum(partition.rows or 0 for partition in found.values()) < 4500
        assert few is (kind == TIME), of


def test_rows_that_are_far_away_are_not_read(duck: DuckDatabase) -> None:
    """Statements about some partitions of DuckDB say between which times their rows are."""
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    duck.fill("metrics", [JAN, FEB, "2024-06-10T00:00:00Z"])
    duck.policy("delete", "metrics", "30d")
    with duck.statements() as sent:
        assert duck.run().rows == 2
    (delete,) = (statement for statement in sent if statement.startswith("DELETE"))
    assert all(f'CAST("ts" AS TIMESTAMP WITH TIME ZONE) {sign} ' in delete for sign in (">=", "<"))
    assert duck.count("metrics") == 1


def test_partition_columns_of_duckdb(duck: DuckDatabase) -> None:
    """What counts as a partition: the comment, else the policy's column, else the only generated interval."""
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "site": "INTEGER", "month": MONTH})
    assert table(duck, "metrics").partitioned_by == ("month",)
    assert table(duck, "metrics", partition_column="site").partitioned_by == ("site",)
    duck.sql(f"COMMENT ON TABLE {duck.q('metrics')} IS 'Sites. Partitioned by (site, \"month\")'")
    assert table(duck, "metrics").partitioned_by == ("site", "month")
    duck.sql(f"COMMENT ON TABLE {duck.q('metrics')} IS 'PARTITIONED BY (SITE, \"Month\") (see the wiki)'")
    assert table(duck, "metrics").partitioned_by == ("site", "month")
    duck.create("two", {"ts": TIME, "month": MONTH, "day": MONTH.replace("month", "day")})
    assert table(duck, "two").partitioned_by == ()
    assert table(duck, "two", partition_column="day").partitioned_by == ("day",)


@pytest.mark.parametrize(
    ("columns", "flaw"),
    [("nosuch", "the table has no column 'nosuch'"), ("site, nosuch", "the table has no column 'nosuch'"),
     ("site month", "the table has no column 'site month'"), ("", "it names no column")],
)  # fmt: skip
@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
@pytest.mark.some(4)
def test_a_comment_that_names_no_column(duck: DuckDatabase, strategy: str, columns: str, flaw: str) -> None:
    """Where the comment names a column that is not there, nothing is guessed: the table is left alone, and says why."""
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "site": "INTEGER", "month": MONTH})
    duck.fill("metrics", ["2024-01-10T00:00:00Z"])
    duck.sql(f"COMMENT ON TABLE {duck.q('metrics')} IS 'PARTITIONED BY ({columns})'")
    duck.policy(strategy, "metrics", "30d", target_repository_name="archive" if strategy == "snapshot" else None)
    said = f"its comment has PARTITIONED BY ({columns}), but {flaw}; correct the comment"
    assert [finding.message for finding in duck.tool.check()] == [said]
    report = duck.run()
    assert (report.ok, report.needs_attention, duck.count("metrics")) == (False, 1, 1)
    duck.sql(f"COMMENT ON TABLE {duck.q('metrics')} IS 'PARTITIONED BY (month)'")
    assert duck.run().ok
    assert duck.count("metrics") == 0


def test_defaults_are_no_expressions(duck: DuckDatabase) -> None:
    """A default value is not taken for a generated column."""
    columns = {"ts": f"{TIME} DEFAULT now()", "n": "TEXT DEFAULT 'ts'", "k": "INTEGER DEFAULT 3"}
    named_alike = {"date": "DATE", "d": "DATE DEFAULT CAST('2020-01-01' AS DATE)", "now": "TIMESTAMP DEFAULT now()"}
    duck.create("events", {**columns, **named_alike, "month": MONTH})
    assert [c.name for c in table(duck, "events").columns.values() if c.expression] == ["month"]
