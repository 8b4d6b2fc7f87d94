"""
Legal holds on both engines: what they cover stays, whatever the policies say, until they are released.
"""

from __future__ import annotations

import datetime as dt

import pytest

from cratedb_retention.errors import InvalidInput, NotFound, RetentionError
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import others_on_duckdb

MADE_UP = "2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6"
BY_TENANT = {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}
MARCH, APRIL, MAY, JUNE = (f"2024-0{month}-10T00:00:00Z" for month in (3, 4, 5, 6))


@pytest.fixture
def metrics(db: Database) -> str:
    """A table by month, and a policy under which March to May are expired."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", [MARCH, APRIL, MAY, JUNE])
    db.policy("delete", "metrics", "30d")
    return "metrics"


@pytest.fixture
def tenants(db: Database) -> str:
    """A table by tenant and month, and a policy for all tenants."""
    db.create("tenants", BY_TENANT, by=["tenant", "month"])
    db.insert("tenants", [{"ts": MAY, "n": f"{t}", "tenant": t} for t in ("acme", "beta", None)])
    db.policy("delete", "tenants", "30d")
    return "tenants"


@pytest.fixture
def events(db: Database) -> str:
    """A table without partitions, with a policy."""
    db.create("events", {"ts": TIME, "n": "TEXT", "tenant": "TEXT"})
    for tenant in ("acme", None):
        db.insert("events", [{"ts": d, "n": f"{tenant} {d[:7]}", "tenant": tenant} for d in (MARCH, APRIL, JUNE)])
    db.policy("delete", "events", "30d")
    return "events"


def at(text: str) -> dt.datetime:
    """An instant."""
    return parse_instant(text)


def test_whole_table(db: Database, metrics: str) -> None:
    """Nothing of the table goes; the run is fine, and says why it holds."""
    hold = db.tool.hold(metrics, db.schema, reason="case 4711")
    report = db.run()
    assert (report.ok, report.blocked, report.needs_attention, report.done) == (True, 1, 0, 0)
    assert db.count(metrics) == 4
    (row,) = db.journal(event="blocked")
    assert row["outcome"] == "blocked" and "case 4711" in row["error"] and hold.id[:8] in row["error"]
    assert (row["table_schema"], row["table_name"], row["partitions"]) == (db.schema, metrics, 3)


def test_released(db: Database, metrics: str) -> None:
    """After the release all that is expired goes; placing and releasing are in the journal."""
    hold = db.tool.hold(metrics, db.schema)
    db.run()
    db.tool.release(hold.id)
    assert db.tool.holds() == []
    db.run()
    assert db.left(metrics) == [JUNE]
    assert len(db.journal(event="hold-placed")) == len(db.journal(event="hold-released")) == 1
    with pytest.raises(NotFound):
        db.tool.release(hold.id)


def test_placed_twice_and_again(db: Database, metrics: str) -> None:
    """A hold that is in force is placed once; one that was released comes back as it is placed then."""
    holds = db.tool.store.holds
    for _ in range(2):
        holds.place(
            LegalHold(
                id="case", table_schema=db.schema, table_name=metrics, reason="first", placed_by="one", placed_at=1
            )
        )
    assert len(db.journal(event="hold-placed")) == 1
    db.tool.release("case")
    assert _released(db) == ["tester"]
    again = LegalHold(
        id="case",
        table_schema=db.schema,
        table_name=metrics,
        where={"month": "2024-04-01"},
        reason="then",
        placed_by="two",
        placed_at=2,
    )
    holds.place(again)
    assert db.tool.holds() == [again]
    assert _released(db) == [None]
    assert [row["table_name"] for row in db.journal() if row["event"].startswith("hold-")] == [metrics] * 3
    assert db.run().partitions == 2


def test_a_release_is_undone(db: Database, metrics: str) -> None:
    """A hold that was released is put in force again as it was; one that is in force, or never was, is not."""
    hold = db.tool.hold(metrics, db.schema, where={"month": "2024-04-01"}, reason="case 4711", end=at("2024-06-01"))
    for _ in range(2):
        db.tool.release(hold.id)
        assert db.tool.holds.renew(hold.id) == hold
        assert db.tool.holds() == [hold]
    for identifier in (hold.id, MADE_UP):
        with pytest.raises(NotFound, match="was not released"):
            db.tool.holds.renew(identifier)
    assert len(db.journal(event="hold-placed")) == 3
    assert db.run().partitions == 2 and db.left(metrics) == [APRIL, JUNE]


def _released(db: Database) -> list[str | None]:
    db.refresh("retention_hold", db.own_schema)
    return [row[0] for row in db.rows(f"SELECT released_by FROM {db.q('retention_hold', db.own_schema)}")]


def test_release_wants_the_whole_identifier(db: Database, metrics: str) -> None:
    """The beginning of an identifier releases no hold, however long it is, and all of its data stays."""
    for identifier in ("abc1", "abc2", MADE_UP):
        db.tool.store.holds.place(LegalHold(id=identifier, table_schema=db.schema, table_name=metrics, placed_at=1))
    for beginning in ("abc", "a", MADE_UP[:8], MADE_UP[:-1]):
        with pytest.raises(NotFound, match="rite the whole identifier"):
            db.tool.release(beginning)
    for wrong in ("", "abc3", f"{MADE_UP}0"):
        with pytest.raises(RetentionError):
            db.tool.release(wrong)
    assert db.tool.release("abc1").id == "abc1"
    assert db.run().ok
    assert db.left(metrics) == [MARCH, APRIL, MAY, JUNE]


def test_the_oldest_hold_stands_first(db: Database) -> None:
    """Holds are listed in the order in which they were placed, whatever their identifiers are."""
    for identifier, placed_at in (("b", 2), ("c", 1), ("a", 3)):
        db.tool.store.holds.place(
            LegalHold(id=identifier, table_schema=db.schema, table_name="metrics", placed_at=placed_at)
        )
    assert [hold.id for hold in db.tool.holds()] == ["c", "b", "a"]


def test_what_a_hold_covers_exactly(db: Database, tenants: str) -> None:
    """Only on tables that exist, with values that can be evaluated, is a hold known to cover no other rows."""
    cases = (
        (tenants, "tenant", True),
        (tenants, "nosuch", False),
        ("nosuch", "tenant", False),
        ("t*", "tenant", False),
    )
    for table, column, exact in cases:
        assert db.tool.holds.is_exact(db.schema, table, {column: "acme"}) is exact


def test_stretch_of_time(db: Database, metrics: str) -> None:
    """Partitions that overlap the stretch stay, its end not included."""
    db.tool.hold(metrics, db.schema, start=at("2024-04-15"), end=at("2024-05-01"))
    assert db.run().blocked == 1
    assert db.left(metrics) == [APRIL, JUNE]


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        ("2024-05-31T23:59:59.999Z", None, [MAY, JUNE]),
        (None, "2024-03-01T00:00:00.001Z", [MARCH, JUNE]),
        *others_on_duckdb(("2024-06-01", None, [JUNE]), (None, "2024-03-01", [JUNE])),
    ],
)
def test_open_stretch(db: Database, metrics: str, start: str | None, end: str | None, left: list[str]) -> None:
    """A stretch without beginning or end, to the millisecond."""
    db.tool.hold(metrics, db.schema, start=at(start) if start else None, end=at(end) if end else None)
    db.run()
    assert db.left(metrics) == left


def test_empty_stretch(db: Database, metrics: str) -> None:
    """A stretch that ends before it begins, or when it does, is refused: it would keep nothing. So is no table."""
    for start in ("2024-05-02", "2024-05-01"):
        with pytest.raises(InvalidInput, match="ends before it begins"):
            db.tool.hold(metrics, db.schema, start=at(start), end=at("2024-05-01"))
    with pytest.raises(InvalidInput, match="the table is missing"):
        db.tool.hold(" ", db.schema)
    assert db.tool.holds() == []


def test_partition_value(db: Database, tenants: str) -> None:
    """Only the tenant's partitions stay."""
    db.tool.hold(tenants, db.schema, where={"tenant": "acme"})
    assert db.run().partitions == 2
    assert db.left(tenants) == ["acme"]


def test_null_partition(db: Database, tenants: str) -> None:
    """NULL is a value like others."""
    db.tool.hold(tenants, db.schema, where={"tenant": None})
    db.run()
    assert db.left(tenants) == ["None"]


def test_value_that_partitions_hide(db: Database, tenants: str) -> None:
    """A hold on a column that does not tell partitions apart keeps them all."""
    db.tool.hold(tenants, db.schema, where={"n": "acme"})
    assert db.run().partitions == 0
    assert db.count(tenants) == 3


def test_unknown_column(db: Database, tenants: str) -> None:
    """A hold on a column that the table lacks keeps the whole table: rather keep than lose."""
    db.tool.hold(tenants, db.schema, where={"tennant": "acme"})
    assert db.run().partitions == 0
    assert db.count(tenants) == 3


def test_pattern(db: Database, metrics: str, tenants: str) -> None:
    """A hold for a pattern of tables."""
    db.tool.hold("met*", db.schema)
    db.run()
    assert db.count(metrics) == 4
    assert db.count(tenants) == 0


def test_other_schema(db: Database, metrics: str) -> None:
    """A hold on a table of the same name elsewhere does not count here."""
    db.tool.hold(metrics, "elsewhere")
    db.run()
    assert db.left(metrics) == [JUNE]


def test_rows_of_a_value(db: Database, events: str) -> None:
    """Row by row: those of the value stay, NULL goes."""
    db.tool.hold(events, db.schema, where={"tenant": "acme"})
    assert db.run().rows == 2
    assert db.left(events) == ["None 2024-06", "acme 2024-03", "acme 2024-04", "acme 2024-06"]


def test_rows_of_null(db: Database, events: str) -> None:
    """Row by row: those without the value stay."""
    db.tool.hold(events, db.schema, where={"tenant": None})
    assert db.run().rows == 2
    assert db.left(events) == ["None 2024-03", "None 2024-04", "None 2024-06", "acme 2024-06"]


def test_rows_of_a_stretch(db: Database, events: str) -> None:
    """Row by row: those in the stretch stay, of one tenant only."""
    db.tool.hold(events, db.schema, where={"tenant": "acme"}, start=at(APRIL), end=at(MAY))
    db.run()
    assert db.left(events) == ["None 2024-06", "acme 2024-04", "acme 2024-06"]


def test_rows_under_several_holds(db: Database, events: str) -> None:
    """A row stays if any hold covers it."""
    db.tool.hold(events, db.schema, where={"tenant": "acme"}, end=at("2024-04-01"))
    db.tool.hold(events, db.schema, where={"tenant": None}, start=at("2024-04-01"))
    db.run()
    assert db.left(events) == ["None 2024-04", "None 2024-06", "acme 2024-03", "acme 2024-06"]


def test_rows_of_a_whole_table(db: Database, events: str) -> None:
    """Row by row: a hold without conditions keeps everything."""
    db.tool.hold(events, db.schema)
    assert db.run().blocked == 1
    assert db.count(events) == 6


def test_microseconds_at_the_border(duck: DuckDatabase) -> None:
    """A hold that ends within a millisecond covers that millisecond: rather keep than lose."""
    duck.create("events", {"ts": TIME, "n": "TEXT"})
    duck.fill("events", ["2024-03-10T00:00:00.000300Z", "2024-03-10T00:00:00.002Z"])
    duck.policy("delete", "events", "30d")
    duck.tool.hold("events", duck.schema, start=at(MARCH), end=at("2024-03-10T00:00:00.000500Z"))
    duck.run()
    assert duck.left("events") == ["2024-03-10T00:00:00.000300Z"]


def test_snapshots_are_held(db: Database, metrics: str) -> None:
    """What is on hold is not archived and taken away either."""
    (stored,) = db.tool.policies()
    db.tool.delete_policy(stored.policy.id or "")
    db.policy("snapshot", metrics, "30d")
    db.tool.hold(metrics, db.schema, where={"month": "2024-04-01"})
    assert db.run().partitions == 2
    assert db.left(metrics) == [APRIL, JUNE]


def test_moves_are_held(crate: CrateDatabase) -> None:
    """What is on hold is not even looked at for moving."""
    crate.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("metrics", [MAY])
    moves = {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"}
    crate.policy("reallocate", "metrics", "30d", **moves)
    assert crate.run().needs_attention == 1  # There is no node to move to.
    crate.tool.hold("metrics", crate.schema)
    report = crate.run()
    assert (report.needs_attention, report.blocked) == (0, 1)


@pytest.mark.parametrize("strategy", ["delete", "snapshot"])
def test_placed_after_the_plan(db: Database, strategy: str) -> None:
    """A hold that was placed between plan and run counts, whatever holds there were before."""
    db.tool.store.holds.place(LegalHold(id="older", table_schema=db.schema, table_name="others", placed_at=1))
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", [MAY, JUNE])
    db.policy(strategy, "metrics", "30d")
    prepared = db.tool.prepare()
    db.tool.hold("met*", db.schema, where={"month": "2024-05-01"})
    report = db.tool.run(prepared)
    assert (report.deferred, report.done, report.failed) == (1, 0, 0)
    assert db.left("metrics") == [MAY, JUNE]
    assert db.run().blocked == 1


def test_placed_after_the_plan_for_rows(db: Database, events: str) -> None:
    """The same row by row."""
    prepared = db.tool.prepare()
    db.tool.hold(events, db.schema, where={"tenant": "acme"})
    assert db.tool.run(prepared).deferred == 1
    assert db.count(events) == 6
    assert db.run().rows == 2


def test_placed_after_the_plan_for_what_is_rolled_up(duck: DuckDatabase) -> None:
    """Nothing keeps rows from being rolled up; a hold keeps them from being dropped then."""
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    duck.fill("metrics", [MAY, JUNE])
    duck.policy("downsample", "metrics", "30d", levels="1d:forever")
    prepared = duck.tool.prepare()
    duck.tool.hold("metrics", duck.schema)
    report = duck.tool.run(prepared)
    assert (report.deferred, report.failed, duck.exists("metrics_1d")) == (1, 0, True)
    assert duck.left("metrics") == [MAY, JUNE]


def test_placed_elsewhere_after_the_plan(db: Database, metrics: str) -> None:
    """A hold on another table keeps nothing from being done."""
    prepared = db.tool.prepare()
    db.tool.hold("others", db.schema)
    assert db.tool.run(prepared).partitions == 3
