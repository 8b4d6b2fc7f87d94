"""Who may call which route: roles, tokens, and what is needed without them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import httpx2
import pytest

from cratedb_retention.clock import Actor
from cratedb_retention.errors import Forbidden
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.service.access import Scope
from support.markdown import ROOT
from support.two_tenants import TwoTenants

API = "/api/v1"
# The least role that a route needs; None: it needs no token. A new route without a line here fails.
NEEDED = {
    ("GET", "/api/v1/policies"): Role.VIEWER,
    ("POST", "/api/v1/policies"): Role.EDITOR,
    ("GET", "/api/v1/policies/{policy_id}"): Role.VIEWER,
    ("PATCH", "/api/v1/policies/{policy_id}"): Role.EDITOR,
    ("DELETE", "/api/v1/policies/{policy_id}"): Role.EDITOR,
    ("GET", "/api/v1/lifecycles"): Role.VIEWER,
    ("GET", "/api/v1/tags"): Role.VIEWER,
    ("GET", "/api/v1/policy-file"): Role.VIEWER,
    ("POST", "/api/v1/policy-file"): Role.EDITOR,
    ("GET", "/api/v1/check"): Role.VIEWER,
    ("GET", "/api/v1/suggested-policies"): Role.VIEWER,
    ("GET", "/api/v1/plan"): Role.VIEWER,
    ("GET", "/api/v1/forecast"): Role.VIEWER,
    ("POST", "/api/v1/forecast/what-if"): Role.EDITOR,
    ("GET", "/api/v1/status"): Role.VIEWER,
    ("POST", "/api/v1/runs"): Role.OPERATOR,
    ("GET", "/api/v1/runs"): Role.VIEWER,
    ("GET", "/api/v1/runs/{run_id}"): Role.VIEWER,
    ("POST", "/api/v1/runs/{run_id}/cancel"): Role.OPERATOR,
    ("GET", "/api/v1/journal"): Role.VIEWER,
    ("GET", "/api/v1/holds"): Role.VIEWER,
    ("POST", "/api/v1/holds"): Role.OPERATOR,
    ("DELETE", "/api/v1/holds/{hold_id}"): Role.OPERATOR,
    ("GET", "/api/v1/snapshots"): Role.VIEWER,
    ("GET", "/api/v1/snapshots/restorable"): Role.VIEWER,
    ("POST", "/api/v1/snapshots/restore"): Role.OPERATOR,
    ("GET", "/api/v1/snapshots/undoable"): Role.VIEWER,
    ("POST", "/api/v1/snapshots/undo"): Role.OPERATOR,
    ("POST", "/api/v1/snapshots/verify"): Role.OPERATOR,
    ("GET", "/api/v1/snapshots/deletable"): Role.VIEWER,
    ("POST", "/api/v1/snapshots/delete"): Role.EDITOR,
    ("GET", "/api/v1/operations"): Role.VIEWER,
    ("GET", "/api/v1/operations/{operation_id}"): Role.VIEWER,
    ("POST", "/api/v1/operations/{operation_id}/cancel"): Role.OPERATOR,
    ("GET", "/api/v1/fetch"): Role.VIEWER,
    ("POST", "/api/v1/query"): Role.VIEWER,
    ("POST", "/api/v1/tables/accept"): Role.EDITOR,
    ("GET", "/api/v1/tokens"): Role.ADMIN,
    ("POST", "/api/v1/tokens"): Role.ADMIN,
    ("DELETE", "/api/v1/tokens/{token_id}"): Role.ADMIN,
    ("GET", "/metrics"): Role.VIEWER,
    ("GET", "/health"): None,
    ("GET", "/ready"): None,
}
BODIES = {
    "/api/v1/policies": {"strategy": "delete", "table_name": "x", "retention_period": "1d"},
    "/api/v1/holds": {"table_name": "x"},
    "/api/v1/query": {"query": "SELEKT 1"},
    "/api/v1/tokens": {"name": "x", "role": "viewer"},
    "/api/v1/runs": {"policy": "nothing"},
    "/api/v1/tables/accept": {"table_name": "nothing"},
    "/api/v1/snapshots/restore": {"table_name": "nothing"},
    "/api/v1/snapshots/undo": {"table_name": "nothing"},
    "/api/v1/snapshots/verify": {"table_name": "nothing"},
    "/api/v1/snapshots/delete": {"table_name": "nothing"},
    "/api/v1/policies/{policy_id}": {"description": "x"},
}


def call(tenants: TwoTenants, token: str | None, method: str, path: str) -> httpx2.Response:
    """A request that is valid as far as anybody can tell without looking at what it names."""
    address = path.replace("{", "no-").replace("}", "")
    more: dict[str, Any] = {"json": BODIES.get(path, {})} if method in ("POST", "PATCH") else {}
    if path.endswith(("policy-file", "what-if")) and method == "POST":
        more = {"content": "policies: []", "headers": {"Content-Type": "application/yaml"}}
    params = {"table_name": "x"} if path.endswith("fetch") else {}
    found: httpx2.Response = tenants.ask(token, method, address, params=params, **more)
    return found


def test_each_route_needs_its_role(tenants: TwoTenants) -> None:
    """Each role may do what it is for, and not what a later one is for; without a token nothing is told but health."""
    description = tenants.client.get(f"{API}/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in description.items() for method in methods}
    assert routes == set(NEEDED), "a route without a rule"
    holders = {role: f"globex-{role}" for role in Role if role is not Role.ADMIN} | {Role.ADMIN: "admin"}
    before = tenants.rows("access_token")
    for (method, path), needed in NEEDED.items():
        without = call(tenants, None, method, path)
        assert (without.status_code == HTTPStatus.UNAUTHORIZED) is (needed is not None), (method, path, without.text)
        for role, holder in holders.items():
            if needed is None or role.includes(needed):
                continue
            answer = call(tenants, holder, method, path)
            assert answer.status_code == HTTPStatus.FORBIDDEN, (method, path, role, answer.text)
            assert f"has the role {role}" in answer.json()["reason"]
        if needed is not None:
            answer = call(tenants, holders[needed], method, path)
            tenants.wait()
            assert "has the role" not in answer.text, (method, path)
    assert len(tenants.rows("access_token")) == len(before) + 1


def actions(who: Scope, tenants: TwoTenants) -> Mapping[Role, list[Callable[[], object]]]:
    """What each role is the least for, as the pages do it: not by way of a route."""
    runs, operations, request = (
        tenants.context.runs,
        tenants.context.operations,
        RestoreRequest(table_name="acme_metrics"),
    )
    prepared = tenants.db.tool.prepare()
    policy = tenants.db.tool.policies()[0].policy
    return {
        Role.OPERATOR: [
            lambda: who.place("acme_metrics", tenants.db.schema, {}, None, None, ""),
            lambda: who.release(tenants.ids["acme-hold"]),
            lambda: who.start_run(runs, prepared),
            lambda: who.cancel(runs, tenants.ids["acme-run"]),
            lambda: who.cancel(operations, "x"),
            lambda: who.statements(prepared.plan),
            lambda: who.verify_snapshots(request),
            lambda: who.restore(request),
            lambda: who.start_restore(operations, request),
            lambda: who.start_verify(operations, request),
        ],
        Role.EDITOR: [
            lambda: who.create(policy),
            lambda: who.make(policy),
            lambda: who.change("acme-tables", {"description": "x"}, None),
            lambda: who.delete("acme-tables", None),
            lambda: who.apply([], False, TagFilter(), True),
            lambda: who.preview(policy),
            lambda: who.what_if([policy], until=parse_instant("2025-01-01")),
            lambda: who.delete_snapshots(request),
            lambda: who.start_delete(operations, request),
            lambda: who.accept_tables("acme_metrics", tenants.db.schema),
        ],
        Role.ADMIN: [lambda: who.tokens, lambda: who.sessions, who.health],
    }


def test_roles_hold_without_routes(tenants: TwoTenants) -> None:
    """Pages reach the toolkit without a route: each role is refused there what a later one is for."""
    before = [tenants.rows(name) for name in ("retention_policy", "retention_hold", "jobs_log")]
    for role in (Role.VIEWER, Role.OPERATOR, Role.EDITOR):
        who = Scope(tenants.db.tool.acting_as(Actor("x", "host")), Access(role=role, actor="x"))
        for needed, found in actions(who, tenants).items():
            for act in found if not role.includes(needed) else ():
                with pytest.raises(Forbidden, match=f"has the role {role}"):
                    act()
    assert [tenants.rows(name) for name in ("retention_policy", "retention_hold", "jobs_log")] == before


def test_without_a_good_token(tenants: TwoTenants) -> None:
    """What is no token is refused, with how to do it right, and not repeated."""
    text = tenants.tokens["admin"]
    for header in ("", "Bearer", "Bearer ", "Bearer x", f"Basic {text}", f"Bearer {text}x", text, "Bearer crt_0_0"):
        answer = tenants.client.get(f"{API}/tags", headers={"Authorization": header})
        assert answer.status_code == HTTPStatus.UNAUTHORIZED, header
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert text not in answer.text


def test_tokens_end(tenants: TwoTenants) -> None:
    """A token is worth nothing once it is revoked, by HTTP too, and once it has expired."""
    until = parse_instant("2024-07-03")
    new = {"name": "x", "role": "viewer", "expires_at": until.isoformat()}
    made = tenants.ask("admin", "POST", f"{API}/tokens", json=new)
    assert made.status_code == HTTPStatus.CREATED
    tenants.tokens["x"] = made.json()["token"]
    assert tenants.get("x", f"{API}/tags") == ["acme", "globex"]
    tenants.db.time.set("2024-07-03T00:00:00+00:00")
    assert tenants.ask("x", "GET", f"{API}/tags").status_code == HTTPStatus.UNAUTHORIZED
    revoked = next(token for token in tenants.get("admin", f"{API}/tokens") if token["name"] == "viewer")
    assert tenants.ask("viewer", "GET", f"{API}/tags").status_code == HTTPStatus.OK
    assert tenants.ask("admin", "DELETE", f"{API}/tokens/{revoked['id']}").status_code == HTTPStatus.OK
    assert tenants.ask("viewer", "GET", f"{API}/tags").status_code == HTTPStatus.UNAUTHORIZED
    texts = str(tenants.get("admin", f"{API}/tokens")) + str(
        tenants.get("admin", f"{API}/journal", params={"limit": 1000})
    )
    assert not any(text in texts for text in tenants.tokens.values())


def test_the_untagged_is_for_those_without_a_limit(tenants: TwoTenants) -> None:
    """A viewer without a limit sees all policies, and nothing of tokens in the journal; an admin does."""
    assert len(tenants.get("viewer", f"{API}/policies")["policies"]) == 7
    seen = {row["event"] for row in tenants.get("viewer", f"{API}/journal", params={"limit": 1000})}
    assert "run-finished" in seen
    assert "globex-tables" in tenants.ask("viewer", "GET", "/metrics").text
    assert tenants.ask("acme-viewer", "GET", "/metrics").status_code == HTTPStatus.FORBIDDEN
    assert "token-created" not in seen
    assert tenants.get("admin", f"{API}/journal", params={"event": "token-created"})


def test_each_route_is_in_the_documentation() -> None:
    """The page about the HTTP API lists each route with the role that it needs."""
    text = (ROOT / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+) (/[^`]*)` \| (\w+)", text, re.MULTILINE)
    listed = {(method, path): role for method, path, role in rows}
    assert listed == {
        (method, path.removeprefix(API)): str(needed or "none") for (method, path), needed in NEEDED.items()
    }
