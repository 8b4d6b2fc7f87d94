"""
Names that differ in case only mean one table on DuckDB, and two on CrateDB: in policies, holds, archives and rollups.
"""

from __future__ import annotations

import pytest

from cratedb_retention.engine.cratedb.catalog import CAPABILITIES as CRATEDB
from cratedb_retention.engine.duckdb.catalog import CAPABILITIES as DUCKDB
from cratedb_retention.errors import NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.patterns import find_tables
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.service.access import Scope
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase

OLD = ("2024-01-10", "2024-02-10")
NEW = ("2024-06-20",)


def fill(db: Database, *names: str) -> None:
    """Tables with two months that are expired, and one that is not."""
    for name in names:
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, (*OLD, *NEW))


@pytest.mark.parametrize("written", ["metrics", "METRICS", "met*", "MET?ICS", "Metrics"])
@pytest.mark.parametrize("schema", ["lab", "LAB"])
def test_a_policy_and_a_hold(duck: DuckDatabase, written: str, schema: str) -> None:
    """A policy finds the table however it is written, and so does a hold, which keeps what it holds."""
    fill(duck, "Metrics")
    duck.policy("delete", written, "30d", table_schema=schema)
    hold = duck.tool.hold(written.swapcase(), schema.swapcase())
    assert duck.tool.held_tables(hold) == [TableName("lab", "Metrics")]
    report = duck.run()
    assert (report.done, report.blocked) == (0, 1)
    assert duck.left("Metrics") == [*OLD, *NEW]
    duck.tool.release(hold.id)
    assert duck.run().ok
    assert duck.left("Metrics") == [*NEW]


def test_a_hold_that_is_placed_meanwhile(duck: DuckDatabase) -> None:
    """Right before a task a hold counts as well, however it is written."""
    fill(duck, "metrics")
    duck.policy("delete", "Metrics", "30d")
    prepared = duck.tool.prepare()
    duck.tool.hold("METRICS", "Lab")
    report = duck.tool.run(prepared)
    assert (report.done, report.deferred) == (0, 1)
    assert duck.left("metrics") == [*OLD, *NEW]


def test_two_policies_on_one_table(duck: DuckDatabase) -> None:
    """What one policy archives, another one that writes the name in another way does not delete."""
    fill(duck, "metrics")
    duck.policy("snapshot", "METRICS", "40d")
    duck.policy("delete", "Metrics", "30d")
    duck.run()
    assert len(duck.snapshot_names()) == 2
    assert duck.left("metrics") == [*NEW]


def test_archives_and_rollups(duck: DuckDatabase) -> None:
    """`restore`, `verify`, `fetch` and `verify-rollups` find it, too; levels have the table's own spelling."""
    duck.create("Metrics", {"ts": TIME, "n": "TEXT", "v": "DOUBLE", "month": MONTH}, by=["month"])
    duck.fill("Metrics", (*OLD, *NEW), v=1.0)
    duck.policy("downsample", "METRICS", "forever", levels="1d:forever")
    assert duck.run().ok
    assert duck.exists("Metrics_1d")
    assert duck.run().done == 0
    assert duck.tool.verify_rollups("metrics", "LAB") == []
    assert duck.tool.cascade("mETRICS", "lab").source == TableName("lab", "Metrics")
    fill(duck, "events")
    duck.policy("snapshot", "EVENTS", "30d")
    assert duck.run().ok
    assert duck.left("events") == [*NEW]
    assert len(duck.tool.verify_snapshots(RestoreRequest(table_name="Events"))) == 2
    request = RestoreRequest(table_name="eVENTS", table_schema="LAB", into=TableName("lAB", "EVents"))
    assert [item.held for item in duck.tool.preview_restore(request)] == [True, True]
    assert [bool(item.hold_id) for item in duck.tool.restore(request)] == [True, True]
    assert duck.left("events") == [*OLD, *NEW]
    assert len(duck.tool.drop_rollups("METRICS", "LAB")) == 1
    assert not duck.exists("Metrics_1d")


def test_own_tables_are_nobodys(duck: DuckDatabase) -> None:
    """A pattern means none of the toolkit's own tables, whichever way their schema is written."""
    before = duck.rows(f"SELECT count(*) FROM {duck.q('jobs_log', 'ext')}")
    duck.policy("delete", "*", "1d", table_schema="EXT")
    assert duck.tool.plan().tasks == ()
    assert duck.rows(f"SELECT count(*) FROM {duck.q('jobs_log', 'ext')}") >= before


def test_what_a_tenant_may_do(duck: DuckDatabase) -> None:
    """Who may hold and fetch a table may do so however it is written, and no other one."""
    fill(duck, "metrics", "other")
    duck.policy("delete", "Metrics", "30d", tags=["acme"])
    limit = parse_tag_filter(["acme"])
    who = Scope(duck.tool, Access(role=Role.EDITOR, actor="acme", limit=limit))
    assert [str(task.table) for task in who.prepare(Selection()).plan.tasks] == ["lab.metrics"]
    assert who.table(TableName("lab", "metrics")).timeline.lanes
    who.place("METRICS", "LAB", {}, None, None, "")
    assert len(who.holds()) == 1
    with pytest.raises(Exception, match="no policy with the tags"):
        who.place("OTHER", "LAB", {}, None, None, "")


def test_cratedb_tells_them_apart(crate: CrateDatabase) -> None:
    """On CrateDB these are two tables; a policy or hold on one says nothing of the other."""
    fill(crate, "metrics", "Metrics")
    crate.policy("delete", "METRICS", "30d")
    assert crate.run().needs_attention == 1
    crate.policy("delete", "Metrics", "30d")
    crate.tool.hold("metrics", crate.schema)
    crate.run()
    assert crate.left("Metrics") == [*NEW]
    assert crate.left("metrics") == [*OLD, *NEW]
    with pytest.raises(NotFound):
        crate.tool.verify_snapshots(RestoreRequest(table_name="METRICS"))


def test_the_catalogs_own_spelling() -> None:
    """What is found is what the catalog has; a name as it stands there is found without a search."""
    tables = {TableName("main", "Events"), TableName("main", "other")}
    assert find_tables("MAIN", "events", tables, DUCKDB) == [TableName("main", "Events")]
    assert find_tables("MAIN", "events", tables, CRATEDB) == []
    assert find_tables("main", "EV*", tables, DUCKDB) == [TableName("main", "Events")]
    assert find_tables("main", "EV*", tables, CRATEDB) == []
