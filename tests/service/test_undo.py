"""What recoverable policies deleted is brought back by HTTP, within the limit of a token."""

from __future__ import annotations

from typing import Any

import pytest

from support.databases import MONTH, TIME, Database
from support.two_tenants import TwoTenants

API = "/api/v1"
APRIL, JUNE = "2024-04-10T00:00:00Z", "2024-06-20T00:00:00Z"


@pytest.fixture
def run_id(tenants: TwoTenants) -> str:
    """A run that deleted a partition of each tenant, recoverable for a week."""
    db = tenants.db
    for tenant in ("acme", "globex"):
        db.create(f"{tenant}_logs", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(f"{tenant}_logs", [APRIL, JUNE])
        db.policy("delete", f"{tenant}_logs", "30d", recoverable="7d", id=f"{tenant}-week", tags=[tenant])
    run_id = db.run().run_id
    assert [db.left(f"{tenant}_logs") for tenant in ("acme", "globex")] == [[JUNE], [JUNE]]
    return run_id


def undo(tenants: TwoTenants, token: str, **wanted: Any) -> Any:
    """Start an undo, wait for its end, and tell how it was."""
    started = tenants.ask(token, "POST", f"{API}/snapshots/undo", json=wanted)
    assert started.status_code == 202, started.text
    tenants.wait()
    return tenants.get(token, started.headers["Location"])


def test_what_the_preview_shows(tenants: TwoTenants, run_id: str) -> None:
    """A tenant undoes their own part of a run; snapshots say by which run, and until when."""
    shown = tenants.get("acme-viewer", f"{API}/snapshots/undoable", params={"run_id": run_id})
    assert [(item["table"], item["refusal"], item["held"]) for item in shown] == [("lab.acme_logs", None, True)]
    done = undo(tenants, "acme-operator", run_id=run_id)
    assert (done["kind"], done["state"], done["total"]) == ("undo", "done", 1)
    assert [(item["table"], item["rows"]) for item in done["results"]] == [("lab.acme_logs", 1)]
    db: Database = tenants.db
    assert [db.left(f"{tenant}_logs") for tenant in ("acme", "globex")] == [[APRIL, JUNE], [JUNE]]
    [snapshot] = tenants.get("acme-viewer", f"{API}/snapshots", params={"table_name": "acme_logs"})
    assert (snapshot["run_id"], snapshot["recoverable_until"]) == (run_id, "2024-07-09T00:00:00+00:00")
    again = tenants.ask("acme-operator", "POST", f"{API}/snapshots/undo", json={"run_id": run_id})
    assert (again.status_code, "brought back already" in again.text) == (404, True)


@pytest.mark.parametrize("wanted", [{"policy_id": "globex-week"}, {"table_schema": "*", "table_name": "globex*"}])
def test_nothing_of_another_tenant(tenants: TwoTenants, run_id: str, wanted: dict[str, str]) -> None:
    """What is another tenant's does not exist."""
    for path in ("undoable", "undo"):
        method, how = ("GET", "params") if path == "undoable" else ("POST", "json")
        answer = tenants.ask("acme-operator", method, f"{API}/snapshots/{path}", **{how: wanted})
        assert (answer.status_code, "nothing can be brought back" in answer.text) == (404, True)
    tenants.wait()
    assert tenants.db.left("globex_logs") == [JUNE]
    assert undo(tenants, "admin", **wanted)["state"] == "done"
    assert tenants.db.left("globex_logs") == [APRIL, JUNE]


def test_something_must_be_selected(tenants: TwoTenants, run_id: str) -> None:
    """An empty request does not mean everything."""
    for given in ({}, {"table_schema": "lab"}):
        answer = tenants.ask("admin", "POST", f"{API}/snapshots/undo", json=given)
        assert (answer.status_code, "nothing is selected" in answer.text) == (422, True), answer.text
