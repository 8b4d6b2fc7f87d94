"""Taking a table for an earlier one of its name by HTTP: what is accepted, and who may do so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.service.access import Scope
from support.databases import MONTH, TIME
from support.two_tenants import MONTHS, TwoTenants, scoped

ACCEPT = "/api/v1/tables/accept"
SEEN = pytest.mark.long(
    "what is shown to whom is decided without the database; make test has this on DuckDB", on="cratedb"
)


def create_again(tenants: TwoTenants, table: str) -> TableName:
    """Drop a table, and create another one of its name, with the same rows."""
    db = tenants.db
    db.sql(f"DROP TABLE {db.q(table)}")
    db.create(table, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill(table, MONTHS)
    return TableName(db.schema, table)


@SEEN
def test_a_table_is_accepted(each_tenants: TwoTenants) -> None:
    """An editor takes a table of theirs for the earlier one; the audit log says so, and nothing else is to accept."""
    tenants = each_tenants
    table = create_again(tenants, "acme_metrics")
    earlier = scoped(tenants, "acme").find_earlier(table)
    assert earlier is not None
    assert (earlier.rollups, earlier.snapshots > 0, earlier.holds) == (0, True, 1)
    viewer = replace(scoped(tenants, "acme").access, role=Role.OPERATOR)
    assert Scope(tenants.db.tool, viewer).find_earlier(table) is None
    wanted = {"table_name": table.name, "table_schema": table.schema}
    refused = tenants.ask("acme-operator", "POST", ACCEPT, json=wanted)
    assert (refused.status_code, tenants.db.journal(event="table-accepted")) == (403, [])
    accepted = tenants.ask("acme-editor", "POST", ACCEPT, json=wanted)
    assert (accepted.status_code, accepted.json()) == (200, {"tables": [str(table)]}), accepted.text
    (row,) = tenants.get("acme-viewer", "/api/v1/journal", params={"event": "table-accepted"})
    assert (row["table_name"], row["actor"].partition(" ")[0]) == (table.name, "acme-editor")
    assert scoped(tenants, "acme").find_earlier(table) is None


def test_what_can_not_be_accepted(tenants: TwoTenants) -> None:
    """Neither the table of another tenant, nor one that both share, nor one of which nothing is known."""
    globex = create_again(tenants, "globex_metrics")
    assert scoped(tenants, "acme").find_earlier(globex) is None
    for name in ("globex_metrics", "events", "*"):
        answer = tenants.ask("acme-editor", "POST", ACCEPT, json={"table_name": name, "table_schema": globex.schema})
        assert answer.status_code == 403, answer.text
    assert scoped(tenants, "globex").find_earlier(globex) is not None
    for wanted, status in (({"table_name": "nothing"}, 404), ({}, 422), ({"table_name": "x", "more": 1}, 422)):
        assert tenants.ask("admin", "POST", ACCEPT, json=wanted).status_code == status
