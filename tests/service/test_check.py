"""Checks and suggestions over HTTP: the same as from the command, within the scope of the token."""

from __future__ import annotations

import pytest

from cratedb_retention.model.policies.file import parse_policies
from support.databases import TIME
from support.two_tenants import TwoTenants

API = "/api/v1"


@pytest.fixture
def salaries(tenants: TwoTenants) -> TwoTenants:
    """A table without a policy beside those of the tenants."""
    tenants.db.create("salaries", {"ts": TIME, "n": "TEXT"})
    tenants.db.fill("salaries", ["2024-06-20T00:00:00Z", "2024-07-01T00:00:00Z"])
    return tenants


def ungoverned(tenants: TwoTenants, token: str, **params: str) -> dict[str, list[str]]:
    """The tables of tests without a policy that a token sees, each with its disabled policies."""
    found = tenants.get(token, f"{API}/check", params=params)["ungoverned"]
    mine = [each for each in found if each["table"].startswith(f"{tenants.db.schema}.")]
    return {each["table"].partition(".")[2]: each["disabled"] for each in mine}


def test_a_check(salaries: TwoTenants) -> None:
    """Without a scope, everything is checked, as from the command; with one, the caller's policies and tables."""
    whole = salaries.get("viewer", f"{API}/check", params={"older_than": "1y"})
    assert "invalid-policy" in {each["code"] for each in whole["findings"]}
    assert ungoverned(salaries, "viewer") == {"salaries": []}
    assert {"acme-tables", "globex-tables"} <= {each["policy"] for each in whole["unlimited"]}
    own = salaries.get("acme-viewer", f"{API}/check")["unlimited"]
    assert {each["policy"] for each in own} == {"acme-tables", "acme-archive"}
    assert ungoverned(salaries, "acme-viewer") == {}
    older = salaries.get("acme-viewer", f"{API}/check", params={"older_than": "10d"})["findings"]
    assert {each["table"].partition(".")[2] for each in older if each["code"].startswith("older-")} == {"acme_metrics"}
    assert all("acme" in policy for each in older for policy in each["policies"])
    of_one = salaries.get("acme-viewer", f"{API}/check", params={"older_than": "10d", "policy": "acme-events"})
    assert [each for each in of_one["findings"] if each["code"].startswith("older-")] == []
    soon = salaries.ask("viewer", "GET", f"{API}/check", params={"older_than": "soon"})
    assert (soon.status_code, "duration 'soon'" in soon.text) == (422, True)


def test_archives_are_not_checked_with_a_scope(tenants: TwoTenants) -> None:
    """An archive that is gone is a finding about policies that archive; tenants may share a repository."""
    for record in tenants.db.tool.snapshots():
        tenants.db.drop_snapshot(record.archived.name)

    def gone(token: str, **params: str) -> set[str]:
        found = tenants.get(token, f"{API}/check", params=params)["findings"]
        return {each["table"].partition(".")[2] for each in found if each["code"] == "snapshots-gone"}

    assert gone("viewer") == {"acme_metrics", "globex_metrics"}
    assert gone("viewer", policy="acme-tables") == gone("acme-viewer") == set()


def test_tables_of_a_tenant_without_a_policy(salaries: TwoTenants) -> None:
    """A table of which a tenant has only disabled policies is shown to that tenant, and to no other one."""
    for identifier in ("acme-tables", "acme-archive"):
        salaries.db.tool.policies.edit(identifier, {"enabled": False})
    found = ungoverned(salaries, "acme-viewer")
    assert found.keys() == {"acme_metrics"}
    assert set(found["acme_metrics"]) == {"acme-tables", "acme-archive"}
    assert ungoverned(salaries, "globex-viewer") == {}
    assert set(ungoverned(salaries, "viewer")) == {"acme_metrics", "salaries"}
    salaries.db.policy("delete", "acme_metrics", "1y", id="of-all", enabled=False)
    assert ungoverned(salaries, "acme-viewer").keys() == {"acme_metrics"}
    assert "of-all" not in str(ungoverned(salaries, "acme-viewer"))


def test_suggestions(salaries: TwoTenants) -> None:
    """Suggestions are a policy file, which can be posted as it is; they are not for tokens with a scope."""
    refused = salaries.ask("acme-viewer", "GET", f"{API}/suggested-policies")
    assert (refused.status_code, "salaries" in refused.text) == (403, False)
    answer = salaries.ask("viewer", "GET", f"{API}/suggested-policies", params={"retention_period": "5d"})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "application/yaml")
    (policy,) = [each for each in parse_policies(answer.text, "answer") if each.table_schema == salaries.db.schema]
    assert (policy.table_name, str(policy.retention_period), policy.enabled) == ("salaries", "5d", False)
    assert "A run now would delete 1 row." in answer.text
    enabled = salaries.ask("viewer", "GET", f"{API}/suggested-policies", params={"enabled": True})
    assert [each.enabled for each in parse_policies(enabled.text, "answer")] == [True]
    applied = salaries.ask(
        "admin", "POST", f"{API}/policy-file", content=answer.text, headers={"Content-Type": "application/yaml"}
    )
    assert applied.status_code == 200, applied.text
    assert len(ungoverned(salaries, "viewer")["salaries"]) == 1
