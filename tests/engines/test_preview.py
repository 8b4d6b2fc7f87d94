"""What a policy would do before it is stored is what a run then does, and looking at it writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.errors import Unsupported
from cratedb_retention.execution.plan.preview import Preview
from cratedb_retention.model.catalog import Selector, TableName
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, NUMBER, TIME, Database
from support.tiers import others_on_duckdb

OWN = ("retention_policy", "jobs_log", "lease", "job_state", "retention_hold", "rollup")


def fill(db: Database) -> None:
    """Two tables by months, and one without partitions."""
    for name in ("visits", "orders"):
        db.create(name, {"ts": TIME, "n": "TEXT", "v": NUMBER, "month": MONTH}, by=["month"])
        db.fill(name, [f"2024-{month:02d}-10T12:00:00" for month in range(1, 8)], v=1.0)
    db.create("plain", {"ts": TIME, "n": "TEXT"})
    db.fill("plain", ["2024-01-01T00:00:00", "2024-07-01T00:00:00"])


def named(plan: Plan, identifier: str | None) -> tuple[list[str], list[str], list[str]]:
    """What a plan says, with a policy's identifier left out; it decides the order of tasks as well."""
    parts = (plan.tasks, plan.blocked, plan.up_to_date)
    tasks, holds, kept = (sorted(repr(each).replace(str(identifier), "NEW") for each in part) for part in parts)
    return tasks, holds, kept


def said(found: Preview) -> tuple[object, ...]:
    """What a preview says of its policy, of others, and if it were enabled."""
    plan = found.plan
    more = (found.losses, found.others, found.contradictions, found.if_enabled and said(found.if_enabled))
    return plan.tasks, plan.blocked, plan.up_to_date, *more


def contents(db: Database) -> dict[str, list[str]]:
    """All rows of the toolkit's tables."""
    for name in OWN:
        db.refresh(name, db.own_schema)
    return {name: sorted(map(str, db.rows(f"SELECT * FROM {db.q(name, db.own_schema)}"))) for name in OWN}


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "downsample", "table_name": "visits", "retention_period": "60d", "levels": "1d:forever"},
        *others_on_duckdb(
            {"strategy": "delete", "table_name": "*", "retention_period": "60d"},
            {"strategy": "snapshot", "table_name": "visits", "retention_period": "60d"},
            {"strategy": "delete", "table_name": "visits", "retention_period": "60d"},
            {"strategy": "delete", "table_name": "plain", "retention_period": "60d"},
            {"strategy": "delete", "table_name": "orders", "retention_period": "30d"},
            {"strategy": "delete", "table_name": "nowhere", "retention_period": "60d"},
            {"strategy": "delete", "table_name": "visits", "retention_period": "60d", "enabled": False},
        ),
    ],
    ids=lambda more: f"{more['strategy']} {more['table_name']}",
)
@pytest.mark.some(5)
def test_new_policy(db: Database, more: dict[str, Any]) -> None:
    """The plan with a new policy is the plan once it is stored; nothing is written until then."""
    fill(db)
    db.policy("snapshot", "orders", "90d", id="archive")
    db.tool.hold("visits", db.schema, reason="case 7", end=parse_instant("2024-02-01"))
    if more["strategy"] == "snapshot":
        more = {**more, "target_repository_name": db.repository}
    before = contents(db)
    found = db.tool.preview(make_policy(table_schema=db.schema, **more))
    assert contents(db) == before
    assert found.before.plan == db.tool.plan()
    alone = db.tool.preview(found.policy, alone=True)
    assert said(alone) == said(found)
    stored = db.tool.create_policy(table_schema=db.schema, **more)
    assert named(found.after.plan, found.policy.id) == named(db.tool.plan(), stored.id)


def test_changed_policy(db: Database) -> None:
    """A policy takes the place of the stored one, and what it removes is what the run then removes."""
    fill(db)
    old = db.policy("delete", "visits", "forever", id="visits")
    new = old.model_copy(
        update={
            "retention_period": make_policy(strategy="delete", table_name="x", retention_period="60d").retention_period
        }
    )
    before = contents(db)
    found = db.tool.preview(new)
    assert contents(db) == before
    [loss] = found.losses
    assert (loss.table, loss.amount.partitions, loss.amount.rows) == (f"{db.schema}.visits", 4, 4)
    assert loss.amount.start == 1_704_067_200_000
    assert loss.amount.end == 1_714_521_600_000
    assert found.contradictions == []
    db.tool.edit_policy("visits", {"retention_period": "60d"})
    assert db.tool.plan() == found.after.plan
    db.run()
    assert db.count("visits") == 7 - (loss.amount.rows or 0)
    db.policy("delete", "visit*", "120d", id="other")
    [text] = db.tool.preview(new).contradictions
    assert "(this policy) removes the data before delete after 120d (other)" in text


def test_disabled(db: Database) -> None:
    """A disabled policy does nothing, and its effect is that of the same policy, enabled."""
    fill(db)
    policy = make_policy(strategy="delete", table_schema=db.schema, table_name="visits", retention_period="60d")
    found = db.tool.preview(policy.model_copy(update={"enabled": False}))
    assert (found.plan.tasks, found.losses, found.policy.enabled) == ((), [], False)
    assert found.if_enabled is not None
    [loss] = found.if_enabled.losses
    assert (loss.table, loss.amount.partitions, loss.amount.rows) == (f"{db.schema}.visits", 4, 4)
    assert db.tool.preview(policy).if_enabled is None
    assert db.tool.policies() == []
    stored = db.policy("delete", "visits", "60d", id="visits", enabled=False)
    found = db.tool.preview(db.tool.changed_policy("visits", {"enabled": True}))
    assert found.plan.tasks
    assert [item.policy for item in db.tool.policies()] == [stored]


def test_others(db: Database) -> None:
    """What becomes different for other policies is said: here the one that deletes has to wait, or comes too late."""
    fill(db)
    db.policy("delete", "visits", "60d", id="visits")
    archive = {"strategy": "snapshot", "table_schema": db.schema, "table_name": "visits"}
    archive["target_repository_name"] = db.repository
    found = db.tool.preview(make_policy(**archive, retention_period="90d"))
    assert found.others
    assert all(other.policy_id == "visits" for other in found.others)
    assert any("this policy archives it after 90d" in text for other in found.others for text in other.gained)
    assert any("drop" in text for other in found.others for text in other.lost)
    assert (found.policy.id or "") not in str([other.gained for other in found.others])
    [other] = db.tool.preview(make_policy(**archive, retention_period="60d")).others
    assert (other.policy_id, other.gained, len(other.lost)) == ("visits", (), 1)
    twin = db.tool.preview(
        make_policy(strategy="delete", table_schema=db.schema, table_name="visits", retention_period="5d")
    )
    assert "policy visits already has the strategy delete there, after 60d" in twin.contradictions


def test_what_could_be_kept_recoverable(duck: Database) -> None:
    """Whole partitions that a policy deletes for good; not single rows, nor what is archived."""
    fill(duck)
    archived = {"target_repository_name": duck.repository}
    found = {
        name: duck.tool.preview(make_policy(table_schema=duck.schema, retention_period="60d", **more)).could_be_undone
        for name, more in {
            "partitions": {"strategy": "delete", "table_name": "visits"},
            "rows": {"strategy": "delete", "table_name": "plain"},
            "archived": {"strategy": "snapshot", "table_name": "visits", **archived},
            "recoverable": {"strategy": "delete", "table_name": "visits", "recoverable": "7d", **archived},
        }.items()
    }
    assert [name for name, could in found.items() if could] == ["partitions"]


def test_unsupported(duck: Database) -> None:
    """What the database can't do is said before it is stored."""
    policy = make_policy(
        strategy="reallocate",
        table_name="t",
        retention_period=1,
        reallocation_attribute_name="storage",
        reallocation_attribute_value="cold",
    )
    with pytest.raises(Unsupported):
        duck.tool.preview(policy)


def test_outline(db: Database) -> None:
    """What can be named is read in a few statements, and only the chosen tables have their columns read."""
    fill(db)
    with db.statements() as sent:
        found = db.tool.engine.read_outline(Selector(schema=db.schema, name="vis*"))
    assert len(sent) <= 4
    assert {TableName(db.schema, name) for name in ("visits", "orders", "plain")} <= set(found.tables)
    columns = {name: list(table.columns) for name, table in found.tables.items() if table.columns}
    assert columns == {TableName(db.schema, "visits"): ["ts", "n", "v", "month"]}
    assert found.repositories == ({db.repository} if db.product == "CrateDB" else set()) | found.repositories


@pytest.mark.parametrize(("period", "found"), [("200d", 1), *others_on_duckdb(("80d", 0), ("90d", 0))])
def test_a_level_is_archived_in_time(db: Database, period: str, found: int) -> None:
    """What archives a level after the cascade has expired it contradicts the cascade; before that it does not."""
    fill(db)
    db.policy("downsample", "visits", "60d", levels="1d:90d,1mo:forever", id="cascade")
    assert db.run().ok
    db.policy("snapshot", "visits_1d", period, id="archive")
    said = [finding.message for finding in db.tool.check() if set(finding.policies) == {"cascade", "archive"}]
    assert [f"would delete the data before snapshot after {period}" in message for message in said] == [True] * found


def test_a_preview_is_not_carried_out(db: Database) -> None:
    """What would be done with another policy, or without a hold, is not done before that is so."""
    fill(db)
    policy = db.policy("delete", "visits", "10y")
    shorter = policy.model_copy(update={"retention_period": parse_duration("60d")})
    hold = db.tool.hold("visits", db.schema, reason="case 7", end=parse_instant("2024-03-01"))
    without_hold = db.tool.preview(shorter).after
    for prepared in (without_hold, db.tool.preview(shorter.model_copy(update={"id": None})).after):
        assert prepared.plan.tasks
        report = db.tool.run(prepared)
        assert (report.done, report.failed, report.deferred > 0) == (0, 0, True)
    db.tool.edit_policy(policy.id or "", {"retention_period": "60d"})
    report = db.tool.run(db.tool.preview_release([hold.id])[1])
    assert (report.done, report.failed, report.deferred > 0) == (0, 0, True)
    assert db.count("visits") == 7
    assert db.run().partitions == 2
