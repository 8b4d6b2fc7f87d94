"""Snapshots are restored and verified by HTTP, in the background; what a preview shows is what a restore does."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cratedb_retention import Retention
from cratedb_retention.errors import Conflict, DiskFull, NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.access import Access, Role
from cratedb_retention.service import runs
from cratedb_retention.service.access import Scope
from cratedb_retention.service.runs import Operations, OperationState, Result, Work
from support.databases import MONTH, TIME, DuckDatabase
from support.two_tenants import TwoTenants

API = "/api/v1"
RESTORED = pytest.mark.long("make test restores there through the service once, and has this on DuckDB", on="cratedb")


def start(tenants: TwoTenants, token: str, what: str, **wanted: Any) -> Any:
    """Start an operation, wait for its end, and tell how it was."""
    started = tenants.ask(token, "POST", f"{API}/snapshots/{what}", json=wanted)
    assert started.status_code == 202, started.text
    assert started.json()["state"] == "running"
    tenants.wait()
    return tenants.get(token, started.headers["Location"])


def test_a_restore_does_what_its_preview_shows(each_tenants: TwoTenants) -> None:
    """Partitions, rows and targets of the preview come back, on hold; what is there already is refused in both."""
    tenants, db = each_tenants, each_tenants.db
    chosen = {"table_name": "acme_metrics"}
    before = db.count("acme_metrics")
    shown = tenants.get("acme-viewer", f"{API}/snapshots/restorable", params=chosen)
    assert shown
    assert all(item["refusal"] is None and item["held"] for item in shown)
    assert db.count("acme_metrics") == before
    done = start(tenants, "acme-operator", "restore", **chosen)
    assert (done["kind"], done["state"], done["total"]) == ("restore", "done", len(shown))
    keys = ("name", "repository", "table", "partition", "into", "rows")
    assert [[item[k] for k in keys] for item in done["results"]] == [[item[k] for k in keys] for item in shown]
    assert db.count("acme_metrics") == before + sum(item["rows"] for item in shown)
    holds = {hold["id"] for hold in tenants.get("acme-viewer", f"{API}/holds")}
    assert {item["hold_id"] for item in done["results"]} <= holds
    again = tenants.get("acme-viewer", f"{API}/snapshots/restorable", params=chosen)
    assert all("already exists" in item["refusal"] for item in again)
    refused = tenants.ask("acme-operator", "POST", f"{API}/snapshots/restore", json=chosen)
    assert (refused.status_code, "already exists" in refused.text) == (409, True)


@RESTORED
def test_one_snapshot_beside_its_table(each_tenants: TwoTenants) -> None:
    """Exactly the named snapshot goes into the named table, without a hold; the table itself stays as it is."""
    tenants, db = each_tenants, each_tenants.db
    [first, *_] = tenants.get("acme-viewer", f"{API}/snapshots")
    before = db.count("acme_metrics")
    beside = {"into_schema": db.schema, "into_name": "acme_beside"}
    named = {"chosen": [{"repository": first["repository"], "name": first["name"]}]}
    done = start(tenants, "acme-operator", "restore", **named, **beside)
    [result] = done["results"]
    assert (result["into"], result["hold_id"]) == (f"{db.schema}.acme_beside", None)
    assert db.count("acme_beside") == result["rows"] == first["rows"]
    assert db.count("acme_metrics") == before


@RESTORED
def test_verifying(each_tenants: TwoTenants) -> None:
    """Each snapshot is read back; one that is gone is an error of its own, and is in the audit log."""
    tenants = each_tenants
    done = start(tenants, "acme-operator", "verify", table_name="acme_metrics")
    assert done["state"] == "done"
    assert done["results"]
    assert all(item["found"] and item["error"] is None for item in done["results"])
    tenants.db.drop_snapshot(done["results"][0]["name"])
    again = start(tenants, "acme-operator", "verify", table_name="acme_metrics")
    assert again["state"] == "failed"
    assert [bool(item["error"]) for item in again["results"]].count(True) == 1
    rows = tenants.get("acme-viewer", f"{API}/journal", params={"event": "verified", "outcome": "failed"})
    assert len(rows) == 1
    listed = tenants.get("acme-viewer", f"{API}/operations")
    assert [item["operation_id"] for item in listed] == [again["operation_id"], done["operation_id"]]
    over = tenants.ask("acme-operator", "POST", f"{API}/operations/{done['operation_id']}/cancel")
    assert over.status_code == 409


def test_deleting(each_tenants: TwoTenants) -> None:
    """What the preview shows is deleted for good; what a hold protects stays, without a word of holds of others."""
    tenants, db = each_tenants, each_tenants.db
    chosen, preview = {"table_name": "acme_metrics"}, f"{API}/snapshots/deletable"
    before = {item["name"] for item in tenants.get("acme-viewer", f"{API}/snapshots")}
    held = db.tool.hold("*_metrics", db.schema, reason="secret of globex")
    shown = tenants.get("acme-viewer", preview, params=chosen)
    assert {item["name"] for item in shown if item["refusal"]} == before
    assert "secret" not in str(shown) and "secret" in str(tenants.get("admin", preview, params=chosen))
    refused = tenants.ask("acme-editor", "POST", f"{API}/snapshots/delete", json=chosen)
    assert (refused.status_code, "nothing can be deleted" in refused.text, "secret" in refused.text) == (
        409,
        True,
        False,
    )
    db.tool.release(held.id)
    assert tenants.ask("acme-operator", "POST", f"{API}/snapshots/delete", json=chosen).status_code == 403
    done = start(tenants, "acme-editor", "delete", **chosen)
    assert (done["kind"], done["state"], done["total"]) == ("delete", "done", len(before))
    assert {(item["name"], item["error"]) for item in done["results"]} == {(name, None) for name in before}
    assert tenants.get("acme-viewer", f"{API}/snapshots") == []
    [*_, entry] = tenants.get("acme-viewer", f"{API}/journal", params={"event": "snapshot-deleted"})
    assert entry["actor"].startswith("acme-editor ")


@pytest.mark.parametrize(
    "more",
    [
        {"name": "nothing"},
        {"table_schema": "nothing"},
        {"repository": "/nowhere"},
        {"start": "2024-08-01T00:00:00Z"},
        {"end": "2024-01-01T00:00:00Z"},
        {"tags": ["globex"]},
    ],
    ids=lambda more: next(iter(more)),
)
@pytest.mark.some(3)
def test_each_attribute_chooses(tenants: TwoTenants, more: dict[str, Any]) -> None:
    """Each attribute narrows down what is listed, restored and verified; none is passed over."""
    chosen = {"table_name": "acme_metrics"}
    assert tenants.get("admin", f"{API}/snapshots", params=chosen)
    assert tenants.get("admin", f"{API}/snapshots", params={**chosen, **more}) == []
    for what in ("restore", "verify"):
        answer = tenants.ask("admin", "POST", f"{API}/snapshots/{what}", json={**chosen, **more})
        assert answer.status_code == 404, (what, answer.text)


def test_what_is_refused(tenants: TwoTenants) -> None:
    """Nothing chosen would be everything; half of a name, a misspelt one, what there is not, a viewer: refused."""
    for body, status in (
        ({}, 422),
        ({"into_schema": "x", "into_name": "y"}, 422),
        ({"table_name": "acme_metrics", "into_name": "y"}, 422),
        ({"table_name": "acme_metrics", "into_schema": "y"}, 422),
        ({"table_name": "nothing"}, 404),
        ({"chosen": []}, 422),
        ({"table": "acme_metrics"}, 422),
        ({"table_name": "acme_metrics", "ende": "2020-01-01T00:00:00Z"}, 422),
    ):
        answer = tenants.ask("admin", "POST", f"{API}/snapshots/restore", json=body)
        assert answer.status_code == status, (body, answer.text)
    assert tenants.ask("admin", "POST", f"{API}/snapshots/verify", json={}).status_code == 422
    viewer = tenants.ask("viewer", "POST", f"{API}/snapshots/verify", json={"table_name": "acme_metrics"})
    assert viewer.status_code == 403
    assert tenants.get("admin", f"{API}/operations") == []


def test_operations_in_the_background(tenants: TwoTenants) -> None:
    """Some at a time; one that is cancelled ends before its next snapshot, and an error ends one with its words."""
    retention, operations = tenants.db.tool, Operations(workers=1)
    results: list[Result] = list(retention.verify_snapshots(RestoreRequest()))
    assert len(results) > 1
    begun, go_on = threading.Event(), threading.Event()

    def work(told: Any) -> None:
        for result in results:
            begun.set()
            assert go_on.wait(60)
            told(result)

    def fail(told: Any) -> None:
        raise DiskFull("the repository", "is gone")

    state = operations.start(retention, "verify", len(results), work)
    assert begun.wait(60)
    with pytest.raises(Conflict, match="active already"):
        operations.start(retention, "verify", 1, work)
    operations.cancel(retention, state.operation_id)
    go_on.set()
    operations.wait()
    ended = operations.find(retention, state.operation_id)
    assert (ended.state, len(ended.results)) == ("cancelled", 1)
    started = threading.Event()

    def cancel_late(told: Any) -> None:
        assert started.wait(60)
        for result in results[:-1]:
            told(result)
        operations.cancel(retention, late.operation_id)
        told(results[-1])

    late = operations.start(retention, "verify", len(results), cancel_late)
    started.set()
    operations.wait()
    assert operations.find(retention, late.operation_id).state == "done"  # Nothing of it was left out.
    failed = operations.start(retention, "verify", 1, fail)
    operations.wait()
    found = operations.find(retention, failed.operation_id)
    assert (found.error, found.code) == ("the repository: is gone", "disk-full")
    with pytest.raises(NotFound):
        operations.find(retention, "nothing")
    operations.close()


@pytest.mark.parametrize("what", ["restore", "verify"])
def test_what_is_archived_meanwhile_is_left(duck: DuckDatabase, what: str) -> None:
    """An operation is about the snapshots that there were when it was asked for, not about those that came since."""

    def archive(day: str) -> None:
        duck.fill("metrics", [day])
        assert duck.run().partitions == 1

    class Waiting(Operations):
        """Work begins after more was archived."""

        def start(self, retention: Retention, kind: str, total: int, work: Work) -> OperationState:
            def late(told: Any) -> None:
                archive("2024-04-10T00:00:00Z")
                work(told)

            return super().start(retention, kind, total, late)

    duck.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    duck.policy("snapshot", "metrics", "30d")
    archive("2024-05-10T00:00:00Z")
    scope, operations = Scope(duck.tool, Access(role=Role.OPERATOR, actor="x")), Waiting()
    start = scope.start_restore if what == "restore" else scope.start_verify
    state = start(operations, RestoreRequest(table_name="metrics"))
    operations.wait()
    ended = operations.find(duck.tool, state.operation_id)
    assert (ended.state, ended.total, len(ended.results)) == ("done", 1, 1)
    assert len(duck.tool.snapshots()) == 2
    assert duck.left("metrics") == (["2024-05-10T00:00:00Z"] if what == "restore" else [])


def test_operations_end_with_the_process(tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a service ends one before its next snapshot; of those that are over, the latest are remembered."""
    monkeypatch.setattr(runs, "REMEMBERED", 1)
    retention, operations, go_on = tenants.db.tool, Operations(), threading.Event()
    results: list[Result] = list(retention.verify_snapshots(RestoreRequest()))

    def work(told: Any) -> None:
        assert go_on.wait(60)
        told(results[0])

    assert operations._workers == 2
    short = []
    for _ in range(2):
        short.append(operations.start(retention, "verify", 1, lambda told: None))
        operations.wait()
    state = operations.start(retention, "verify", len(results), work)
    assert {each.operation_id for each in operations.all(retention)} == {short[1].operation_id, state.operation_id}
    job, closing = operations._jobs[state.operation_id], threading.Thread(target=operations.close)
    closing.start()
    assert job.stop.wait(5)
    go_on.set()
    closing.join()
    assert operations.find(retention, state.operation_id).state == "cancelled"
