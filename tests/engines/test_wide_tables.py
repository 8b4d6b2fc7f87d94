"""Tables with more metrics than a level can hold columns, or than a text can name, trouble no run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.rollups.rollup import Count, Window
from support.databases import NUMBER, TIME, CrateDatabase, Database
from support.rollups import DAY, START, RollupTables


def create(db: Database, name: str, metrics: Iterable[str], **policy: Any) -> None:
    """A table with a row, and a policy that downsamples it."""
    db.create(name, {"ts": TIME, **dict.fromkeys(metrics, NUMBER)})
    db.insert(name, [{"ts": "2024-05-01T10:30"}])
    db.policy("downsample", name, "forever", levels="1h:forever", **policy)


def numbered(count: int) -> list[str]:
    """Names of metrics."""
    return [f"m{number}" for number in range(count)]


def test_more_columns_than_a_table_takes(crate: CrateDatabase) -> None:
    """It is known before anything is created, with the remedy, and other tables go on."""
    create(crate, "wide", numbered(143))
    create(crate, "narrow", numbered(2))
    (hold,) = crate.tool.plan().needs_attention
    assert str(hold.table) == f"{crate.schema}.wide"
    assert "would have 1,005 columns for 143 metrics, but CrateDB allows 1,000" in hold.reason
    assert "keep fewer aggregates" in hold.reason
    assert [finding.message for finding in crate.tool.check()] == [hold.reason]
    report = crate.run()
    assert (report.failed, report.needs_attention) == (0, 1)
    assert not crate.exists("wide_1h")
    assert crate.count("narrow_1h") == 1
    (policy,) = [each.policy for each in crate.tool.policies() if each.policy.table_name == "wide"]
    crate.tool.edit_policy(policy.id or "", {"aggregates": {"*": ["min", "max"]}})
    assert crate.run().ok
    assert crate.count("wide_1h") == 1


@pytest.mark.slow("a table of a thousand columns keeps CrateDB busy for many seconds")
@pytest.mark.long("make test has a table that is too wide from the start")
def test_table_that_grows(crate: CrateDatabase) -> None:
    """Metrics that are added later block the table as well, until its levels may have more columns, or it has fewer."""
    create(crate, "wide", numbered(142))
    assert crate.run().ok
    for name in ("more", "most"):
        crate.sql(f"ALTER TABLE {crate.q('wide')} ADD COLUMN {name} {NUMBER}")
    crate.insert("wide", [{"ts": "2024-05-01T11:30", "more": 1}])
    report = crate.run()
    assert (report.failed, report.needs_attention) == (0, 1)
    (hold,) = crate.tool.plan().needs_attention
    assert "raise mapping.total_fields.limit of that table" in hold.reason
    crate.sql(f'ALTER TABLE {crate.q("wide_1h")} SET ("mapping.total_fields.limit" = 1100)')
    assert crate.run().ok
    assert crate.rows(f"SELECT sum(more_sum), count(*) FROM {crate.q('wide_1h')}") == [[1, 2]]


def test_names_longer_than_a_text(db: Database) -> None:
    """What a level is made from may be any number of names; the audit log has as many of them as it can hold."""
    names = [f"{name}_{'x' * 90}" for name in numbered(400)]
    create(db, "wide", names, aggregates={"*": ["last"]})
    report = db.run()
    assert report.ok
    assert db.count("wide_1h") == 1
    assert db.tool.plan().tasks == ()
    assert [metric.name for metric in db.tool.cascade("wide", db.schema).metrics] == names
    longest = max(len((row["message"] or "").encode()) for row in db.journal(event="step-started"))
    assert 32_000 < longest <= 32_766


def test_tokens_longer_than_a_text(db: Database) -> None:
    """A window may have any number of partitions below it."""
    tables = RollupTables(db=db, engine=db.tool.engine)
    tables.create()
    rollup, window = tables.rollup("1h"), Window(start=START, end=START + DAY, since=START, until=START + DAY)
    store, token, parts = db.tool.store.rollups, "0123456789ab " * 4000, "1:2:3 " * 10_000
    store.record(rollup, {window: Count(rows=1, groups=1)}, {START: token}, {START: parts}, "run")
    (row,) = store.windows(rollup.table, [START]).values()
    assert (row.token, row.parts) == (token, parts)
    store.doubt(rollup.table, [START])
    assert store.windows(rollup.table, [START])[START].token == ""


def test_hold_longer_than_a_text(db: Database) -> None:
    """Any number of partitions can be restored at once, and are on hold then."""
    partitions = tuple({"month": f"2024-01-01T00:00:{number:06}"} for number in range(2000))
    hold = LegalHold(id="mine", table_schema=db.schema, table_name="wide", partitions=partitions, placed_at=1)
    db.tool.store.holds.place(hold)
    assert db.tool.holds() == [hold]


def test_policy_longer_than_a_text(db: Database) -> None:
    """An attribute that can't be stored is refused, by its name."""
    aggregates = {f"m{number}_{'x' * 90}": ["min"] for number in range(400)}
    with pytest.raises(InvalidInput, match="attribute aggregates: is longer than 32,766 bytes"):
        db.policy("downsample", "wide", "30d", levels="1h:forever", aggregates=aggregates)


def test_policy_longer_than_an_entry(db: Database) -> None:
    """A policy whose attributes can be stored is, though the audit log can't show all of it."""
    names = [f"{name}_{'x' * 90}" for name in numbered(400)]
    policy = db.policy("downsample", "wide", "30d", levels="1h:forever", metrics=names)
    assert [each.policy for each in db.tool.policies()] == [policy]
    (entry,) = db.journal(event="policy-created")
    assert entry["after"] is None
