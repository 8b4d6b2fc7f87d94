"""What a tenant sees of a policy before it is stored, and what it can name in one: its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.errors import Forbidden, NotFound
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.service.access import Scope
from support.two_tenants import MONTHS, TwoTenants, scoped

SEEN = pytest.mark.long(
    "what is shown to whom is decided without the database; make test has this on DuckDB", on="cratedb"
)


@SEEN
def test_preview_of_a_tenant(each_tenants: TwoTenants) -> None:
    """It is within the tenant's tags and tables, and tells nothing of others."""
    schema = each_tenants.db.schema
    acme = scoped(each_tenants, "acme")
    plain: dict[str, Any] = {"strategy": "delete", "retention_period": "7d", "table_schema": schema}
    found = acme.preview(make_policy(**plain, table_name="acme_metrics", tags=["acme"]))
    assert "globex" not in repr((found.plan, found.losses, found.others, found.contradictions))
    assert {each.policy_id for each in found.after.plan.tasks} <= {p.id for p in acme.visibility.policies} | {
        found.policy.id,
        None,
    }
    assert [*found.plan.tasks, *found.plan.blocked, *found.plan.up_to_date]
    each_tenants.db.fill("events", MONTHS, tenant="acme", value=1.0)
    hold = each_tenants.db.tool.hold("events", schema, reason="globex against both")
    for own, blocked in (
        ({"table_name": "acme_metrics"}, []),
        ({"table_name": "events", "where": {"tenant": "acme"}}, [3]),
    ):
        later = acme.preview(make_policy(**plain, **own, tags=["acme"], enabled=False)).if_enabled
        assert later is not None
        assert [text for text in ("globex", hold.id) if text in repr((later.before.plan, later.after.plan))] == []
        assert [each.count for each in later.after.plan.blocked if str(each.table) == f"{schema}.events"] == blocked
    wrongs: tuple[dict[str, Any], ...] = (
        {"table_name": "globex_metrics", "tags": ["acme"]},
        {"table_name": "*", "tags": ["acme"]},
        {"table_name": "acme_metrics"},
        {"table_name": "acme_metrics", "tags": ["globex"]},
    )
    for wrong in wrongs:
        with pytest.raises(Forbidden):
            acme.preview(make_policy(**plain, **wrong))
    with pytest.raises(NotFound):
        acme.preview(make_policy(**plain, table_name="acme_metrics", tags=["acme"], id="globex-tables"))
    viewer = Scope(each_tenants.db.tool, replace(acme.access, role=Role.OPERATOR))
    with pytest.raises(Forbidden):
        viewer.preview(make_policy(**plain, table_name="acme_metrics", tags=["acme"]))


@SEEN
def test_suggestions_of_a_tenant(each_tenants: TwoTenants) -> None:
    """Tables that its policies are about, its tags, its repositories; of no others even the columns."""
    schema = each_tenants.db.schema
    acme = scoped(each_tenants, "acme")
    found = acme.suggestions(schema, "acme_metrics")
    assert {table.name for table in found.tables} >= {"acme_metrics"}
    assert found.columns
    assert "globex" not in repr(found)
    assert acme.suggestions(schema, "globex_metrics").columns == ()
    admin = Scope(each_tenants.db.tool, Access(role=Role.ADMIN, actor="admin"))
    everything = admin.suggestions(schema, "globex_metrics")
    assert {table.name for table in everything.tables} >= {"acme_metrics", "globex_metrics"}
    assert everything.columns
    values = [who.suggestions(schema, "events", ["tenant"]).values["tenant"] for who in (acme, admin)]
    assert values == [("acme",), ("acme", "globex")]


@SEEN
def test_both_plans_are_of_one_look(each_tenants: TwoTenants) -> None:
    """What a change would do costs as many statements as a plan, and is of the same; a hold may hide one table more."""
    tool, database = each_tenants.db.tool, each_tenants.db.tool.engine.database
    stored = tool.store.policies.get("acme-tables").policy
    changed = stored.model_copy(update={"retention_period": parse_duration("1d")})
    hold = each_tenants.ids["acme-hold"]

    def cost(work: Callable[[], object]) -> int:
        before = database.statements
        work()
        return database.statements - before

    tool.prepare()  # The first look checks the tables as well.
    plain = cost(tool.prepare)
    assert cost(lambda: tool.preview(changed)) == plain
    assert cost(lambda: tool.preview_release([hold])) - plain in (0, 1)  # The snapshots of that table.
    found = tool.preview(changed)
    assert found.before.facts.catalog is found.after.facts.catalog
    assert found.before.plan == tool.prepare().plan != found.after.plan
    before, after = tool.preview_release([hold])
    assert before.plan == found.before.plan
    assert [hold in {each.id for each in one.facts.holds} for one in (before, after)] == [True, False]
