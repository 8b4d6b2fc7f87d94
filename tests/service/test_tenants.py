"""
By no call can one tenant see or change what is another's.

The routes are those of the API's own description: a new one without a rule here fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.errors import Forbidden, NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.overview import State
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant
from cratedb_retention.service.access import Scope, narrow_plan
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import make_app
from cratedb_retention.store.audit import JournalFilter
from cratedb_retention.store.runs import RunOfPolicy
from support.databases import MONTH, NUMBER, TIME, Database
from support.two_tenants import TwoTenants, leaks, of_globex, scoped, serve_tenants

API = "/api/v1"
Probe = dict[str, Any]
# What never was, in place of what is the other's.
NOBODY = "n0b0dy"
POLICY = {"strategy": "delete", "retention_period": "7d"}


def probes(tenants: TwoTenants) -> Mapping[tuple[str, str], list[Probe]]:
    """
    For each route, requests in which a tenant reaches for what is another's, or for everything.

    ``{name}`` in a path is taken from the probe. An empty list: nobody with a limit may call it, see `test_roles`.
    """
    schema, ids = tenants.db.schema, tenants.ids
    data = {"table_schema": schema}
    period = {"start": "2024-01-01", "end": "2024-08-01", "step": "1mo"}
    theirs: list[dict[str, Any]] = [
        {**data, "table_name": "globex_metrics"},
        {**data, "table_name": "*"},
        {**data, "table_name": "events"},
        {**data, "table_name": "events", "where": {"tenant": "globex"}},
        {**data, "table_name": "glob*"},
        {"table_schema": "*", "table_name": "acme_*"},
        {"table_schema": tenants.db.own_schema, "table_name": "retention_policy"},
    ]
    chosen = ({"tags": "globex"}, {"tags": "not:acme"}, {"policy": "globex-tables"}, {"policy": "shared"})
    selections: list[dict[str, Any]] = [{}, *chosen]
    snapshot = {**POLICY, "strategy": "snapshot", **data, "table_name": "acme_metrics", "tags": ["acme"]}
    found = [record.archived for record in tenants.db.tool.snapshots() if "globex" in record.archived.name]
    archived = [{"repository": each.repository, "name": each.name} for each in found]
    files = [
        [{**POLICY, **data, "table_name": "acme_x", "tags": ["globex"]}],
        [{**POLICY, **data, "table_name": "globex_metrics", "tags": ["acme"]}],
        [{**POLICY, **data, "table_name": "globex_*", "tags": ["globex"], "id": "globex-tables"}],
        [],
    ]
    return {
        ("GET", "/policies"): [{"params": p} for p in selections],
        ("POST", "/policies"): [
            *({"json": {**POLICY, **area, "tags": ["acme"]}} for area in theirs),
            {"json": {**POLICY, **data, "table_name": "acme_x", "tags": ["globex"]}},
            {"json": {**POLICY, **data, "table_name": "acme_x", "tags": ["acme", "globex"]}},
            {"json": {**POLICY, **data, "table_name": "acme_x"}},
            {"json": {**POLICY, **data, "table_name": "acme_x", "tags": ["acme"], "id": "globex-tables"}},
            {"json": {**snapshot, "target_repository_name": "/tmp/globex"}},
        ],
        ("GET", "/policies/{policy_id}"): [{"policy_id": "globex-tables"}, {"policy_id": "shared"}],
        ("PATCH", "/policies/{policy_id}"): [
            {"policy_id": "globex-tables", "json": {"enabled": False}, "headers": {"If-Match": "*"}},
            {"policy_id": "shared", "json": {"tags": ["acme"]}, "headers": {"If-Match": '"1"'}},
            {"policy_id": "acme-tables", "json": {"tags": ["globex"]}, "headers": {"If-Match": "*"}},
            {"policy_id": "acme-tables", "json": {"tags": None}, "headers": {"If-Match": "*"}},
            {"policy_id": "acme-tables", "json": {"table_name": "*"}, "headers": {"If-Match": "*"}},
            {"policy_id": "acme-events", "json": {"where": None}, "headers": {"If-Match": "*"}},
            {"policy_id": "acme-events", "json": {"where": {"tenant": "globex"}}, "headers": {"If-Match": "*"}},
            {"policy_id": "acme-tables", "json": {"id": "globex-tables"}, "headers": {"If-Match": "*"}},
        ],
        ("DELETE", "/policies/{policy_id}"): [
            {"policy_id": "globex-tables", "headers": {"If-Match": "*"}},
            {"policy_id": "shared", "headers": {"If-Match": "*"}},
        ],
        ("GET", "/lifecycles"): [
            {},
            *({"params": {"table_name": t, "table_schema": schema}} for t in ("globex_metrics", "events")),
        ],
        ("GET", "/tags"): [{}],
        ("GET", "/policy-file"): [{"params": p} for p in selections],
        ("POST", "/policy-file"): [
            {
                "content": json.dumps({"policies": file}),
                "headers": {"Content-Type": "application/yaml"},
                "params": {"prune": True, "tags": "globex"},
            }
            for file in files
        ],
        ("GET", "/check"): [{"params": {**p, "older_than": "1d"}} for p in selections],
        ("GET", "/suggested-policies"): [{}],
        ("GET", "/plan"): [{"params": {**p, "sql": True}} for p in selections],
        ("GET", "/forecast"): [{"params": {**p, "until": "+40d"}} for p in selections],
        ("POST", "/forecast/what-if"): [
            {"content": json.dumps({"policies": file}), "headers": {"Content-Type": "application/yaml"}}
            for file in files[:3]
        ],
        ("GET", "/status"): [{"params": p} for p in selections],
        ("POST", "/runs"): [{"json": {"tags": ["globex"]}}, {"json": {"policy": "globex-tables"}}, {"json": {}}],
        ("GET", "/runs"): [{}],
        ("GET", "/runs/{run_id}"): [{"run_id": ids["globex-run"]}],
        ("POST", "/runs/{run_id}/cancel"): [{"run_id": ids["globex-run"]}],
        ("GET", "/journal"): [
            {"params": {"limit": 1000}},
            {"params": {"tags": "globex"}},
            {"params": {"tags": "not:acme"}},
            {"params": {"table_name": "globex_metrics"}},
            {"params": {"policy_id": "globex"}},
            {"params": {"run_id": ids["globex-run"]}},
            {"params": {"event": "run-finished"}},
            {"params": {"event": "token-created"}},
            {"params": {"event": "hold-placed"}},
        ],
        ("GET", "/holds"): [{}],
        ("POST", "/holds"): [
            *({"json": area} for area in theirs),
            # What can't be worked out would hold all of the table.
            {"json": {**data, "table_name": "events", "where": {"tenant": "acme", "nothing": 1}}},
        ],
        ("DELETE", "/holds/{hold_id}"): [
            {"hold_id": ids["globex-hold"]},
            {"hold_id": ids["globex-events-hold"]},
            {"hold_id": ids["acme-hold"]},
        ],
        ("GET", "/snapshots"): [{}, {"params": {"table_name": "globex*"}}],
        ("GET", "/snapshots/restorable"): [
            {},
            {"params": {"table_name": "globex*"}},
            {"params": {"table_name": "acme*", "into_schema": tenants.db.schema, "into_name": "globex_metrics"}},
        ],
        ("POST", "/snapshots/restore"): [
            {"json": {"table_name": "globex*"}},
            {"json": {"tags": ["globex"]}},
            {"json": {"chosen": archived}},
            {"json": {"table_name": "acme*", "into_schema": tenants.db.schema, "into_name": "globex_metrics"}},
        ],
        ("GET", "/snapshots/undoable"): [
            {"params": {"table_schema": "*", "table_name": "globex*"}},
            {"params": {"run_id": ids["globex-run"]}},
            {"params": {"policy_id": "globex-tables"}},
        ],
        ("POST", "/snapshots/undo"): [
            {"json": {"table_schema": "*", "table_name": "globex*"}},
            {"json": {"run_id": ids["globex-run"]}},
            {"json": {"policy_id": "globex-tables"}},
        ],
        ("GET", "/snapshots/deletable"): [{}, {"params": {"table_name": "globex*"}}],
        ("POST", "/snapshots/delete"): [
            {"json": {"table_name": "globex*"}},
            {"json": {"tags": ["globex"]}},
            {"json": {"chosen": archived}},
        ],
        ("POST", "/snapshots/verify"): [
            {"json": {"table_name": "globex*"}},
            {"json": {"chosen": archived}},
        ],
        ("GET", "/operations"): [{}],
        ("GET", "/operations/{operation_id}"): [{"operation_id": ids["globex-operation"]}],
        ("POST", "/operations/{operation_id}/cancel"): [{"operation_id": ids["globex-operation"]}],
        ("GET", "/fetch"): [
            *({"params": {**period, **area, "where": "tenant=globex"}} for area in theirs),
            {"params": {**period, **data, "table_name": "events", "by": "tenant"}},
            {"params": {**period, **data, "table_name": "events", "where": ["tenant=globex"], "format": "csv"}},
        ],
        ("POST", "/query"): [
            {"json": {"query": text.format(s=schema), "format": "csv"}}
            for text in (
                "FROM {s}.globex_metrics",
                "FROM {s}.events",
                "WITH x AS (SELECT n FROM {s}.acme_metrics WHERE n IN (SELECT n FROM {s}.globex_metrics)) FROM x",
                "SELECT * FROM query('FROM {s}.globex_metrics')",
                "FROM duckdb_views()",
                "FROM information_schema.tables",
            )
        ],
        ("POST", "/tables/accept"): [
            *({"json": {key: area[key] for key in ("table_schema", "table_name")}} for area in theirs),
            {"json": {"table_name": "glob*"}},
        ],
        ("GET", "/tokens"): [],
        ("POST", "/tokens"): [],
        ("DELETE", "/tokens/{token_id}"): [],
        ("GET", "/health"): [{}],
        ("GET", "/ready"): [{}],
        ("GET", "/metrics"): [{}],
    }


def routes(tenants: TwoTenants) -> Iterator[tuple[str, str]]:
    """All routes of the description."""
    for path, methods in tenants.client.get(f"{API}/openapi.json").json()["paths"].items():
        for method in methods:
            yield method.upper(), path.removeprefix(API)


def send(tenants: TwoTenants, token: str, method: str, path: str, probe: Probe) -> Any:
    """Send a probe."""
    address = f"{'' if path in ('/health', '/ready', '/metrics') else API}{path}"
    more = {key: value for key, value in probe.items() if f"{{{key}}}" not in path}
    for key in set(probe) - set(more):
        address = address.replace(f"{{{key}}}", str(probe[key]))
    return tenants.ask(token, method, address, **more)


REFUSED = (403, 404, 409, 422)


def must_be_refused(method: str, path: str) -> bool:
    """Whether a probe asks for nothing that is acme's; what lists and runs things does so with what is acme's."""
    return path == "/fetch" or (method != "GET" and path not in ("/runs", "/policy-file"))


def check(tenants: TwoTenants, most: int = 100) -> int:
    """
    Send the probes as acme's editor; how many there were.

    :param most: At most so many for each route, the last ones.
    """
    verified = tenants.ask("globex-operator", "POST", f"{API}/snapshots/verify", json={"table_name": "*"})
    tenants.ids["globex-operation"] = verified.json()["operation_id"]
    tenants.wait()
    wanted = probes(tenants)
    assert sorted(routes(tenants)) == sorted(wanted), "a route without a rule"
    before, count = of_globex(tenants), 0
    assert all(before.values())
    for (method, path), requests in wanted.items():
        for probe in requests[-most:]:
            answer = send(tenants, "acme-editor", method, path, probe)
            tenants.wait()
            count += 1
            assert answer.status_code < 500, (method, path, probe, answer.text)
            assert not leaks(tenants, json.dumps(probe), answer.text), (method, path, probe, answer.text)
            assert not must_be_refused(method, path) or answer.status_code in REFUSED, (path, probe, answer.text)
            if method != "GET" and most > 2:
                assert of_globex(tenants) == before, (method, path, probe, answer.text)
    assert of_globex(tenants) == before
    return count


def test_nothing_of_another_tenant_is_seen_or_changed(tenants: TwoTenants) -> None:
    """Every route, with every way to reach for what is globex's: acme gets, learns and changes nothing of it."""
    assert check(tenants) > 70


def test_the_same_on_cratedb(crate: Database) -> None:
    """On CrateDB, where journal and holds are looked up by another dialect, two of the ways for each route."""
    with serve_tenants(crate) as tenants:
        assert check(tenants, 2) > 35


@pytest.mark.long("it is about the search, not about the toolkit")
def test_the_search_finds_what_leaks(tenants: TwoTenants) -> None:
    """The same requests with an admin's token show and change what is globex's, so that the test above would fail."""
    tenants.tokens["acme-editor"] = tenants.tokens["admin"]
    with pytest.raises(AssertionError):
        check(tenants)
    shown = 0
    for (method, path), requests in probes(tenants).items():
        if method == "GET":
            shown += any(
                leaks(tenants, str(probe), send(tenants, "admin", method, path, probe).text) for probe in requests
            )
    assert shown >= 9


NAMED = (
    ("GET", "/policies/{id}", "globex-tables"),
    ("DELETE", "/policies/{id}", "globex-tables"),
    ("PATCH", "/policies/{id}", "globex-tables"),
    ("GET", "/runs/{id}", "globex-run"),
    ("POST", "/runs/{id}/cancel", "globex-run"),
    ("DELETE", "/holds/{id}", "globex-hold"),
)


def test_what_is_not_seen_does_not_exist(tenants: TwoTenants) -> None:
    """The answer about what is another's is the one about what never was."""
    for method, path, real in NAMED:
        more: Probe = {"headers": {"If-Match": "*"}, **({"json": {}} if method == "PATCH" else {})}
        name = tenants.ids.get(real, real)
        theirs = send(tenants, "acme-editor", method, path, {"id": name, **more})
        never = send(tenants, "acme-editor", method, path, {"id": NOBODY, **more})
        assert theirs.status_code == never.status_code == 404
        assert theirs.text.replace(name, NOBODY) == never.text
    new = {**POLICY, "table_schema": tenants.db.schema, "table_name": "acme_x", "tags": ["acme"]}
    taken, free = (
        tenants.ask("acme-editor", "POST", f"{API}/policies", json={**new, "id": name})
        for name in ("globex-tables", NOBODY)
    )
    assert taken.status_code == free.status_code == 403
    assert taken.text.replace("globex-tables", NOBODY) == free.text
    for name in ("globex-tables", NOBODY):
        file = {
            "content": json.dumps({"policies": [{**new, "id": name}]}),
            "headers": {"Content-Type": "application/yaml"},
        }
        applied = tenants.ask("acme-editor", "POST", f"{API}/policy-file", **file)
        assert (applied.status_code, applied.text.replace(name, NOBODY)) == (403, free.text)


def test_a_tenant_has_what_is_its_own(tenants: TwoTenants) -> None:
    """Within its limit a token does everything: the limit keeps nothing from acme that is acme's."""
    assert [p["id"] for p in tenants.get("acme-viewer", f"{API}/policies")["policies"]] == [
        "acme-tables",
        "acme-archive",
        "acme-events",
    ]
    assert tenants.get("acme-viewer", f"{API}/tags") == ["acme"]
    assert [hold["id"] for hold in tenants.get("acme-viewer", f"{API}/holds")] == [tenants.ids["acme-hold"]]
    assert {row["table"] for row in tenants.get("acme-viewer", f"{API}/snapshots")} == {
        f"{tenants.db.schema}.acme_metrics"
    }
    period = {"start": "2024-01-01", "end": "2024-08-01", "step": "1mo", "table_schema": tenants.db.schema}
    mine = tenants.get("acme-viewer", f"{API}/fetch", params={**period, "table_name": "events", "where": "tenant=acme"})
    assert len(mine) == 5
    events = {row["event"] for row in tenants.get("acme-viewer", f"{API}/journal", params={"limit": 1000})}
    assert {"policy-created", "run-started", "run-finished", "step-finished", "blocked"} <= events
    place = {"table_schema": tenants.db.schema, "table_name": "events", "where": {"tenant": "acme"}}
    placed = tenants.ask("acme-operator", "POST", f"{API}/holds", json=place)
    assert placed.status_code == 201, placed.text
    assert len(tenants.get("acme-viewer", f"{API}/holds")) == 2
    assert tenants.get("globex-viewer", f"{API}/holds") != tenants.get("acme-viewer", f"{API}/holds")
    assert tenants.ask("acme-editor", "DELETE", f"{API}/holds/{placed.json()['id']}").status_code == 200
    # What somebody without the limit placed is seen, and stays.
    kept = tenants.ask("acme-editor", "DELETE", f"{API}/holds/{tenants.ids['acme-hold']}")
    assert (kept.status_code, "without this scope" in kept.text) == (403, True)
    assert tenants.get("acme-viewer", f"{API}/status")["last_run"]["event"] == "run-finished"
    assert len(tenants.get("acme-viewer", f"{API}/holds")) == 1


def test_what_a_revoked_token_left(tenants: TwoTenants) -> None:
    """A token that is replaced leaves its tenant what it did: its hold can be released, and its runs are seen."""
    tenants.token("acme-former", Role.EDITOR, "acme")
    place = {"table_schema": tenants.db.schema, "table_name": "events", "where": {"tenant": "acme"}}
    hold = tenants.ask("acme-former", "POST", f"{API}/holds", json=place).json()["id"]
    run = tenants.run("acme-former")["run_id"]
    tenants.db.tool.revoke_token("acme-former")
    assert run in {row.get("run_id") for row in tenants.get("acme-viewer", f"{API}/journal", params={"limit": 1000})}
    assert tenants.ask("acme-editor", "DELETE", f"{API}/holds/{hold}").status_code == 200


def test_a_plan_is_narrowed_twice(tenants: TwoTenants) -> None:
    """Of a plan of everything, what is acme's is left: no task, no hold of others, nor of rows that are no policy."""
    tenants.db.time.set("2024-12-02T00:00:00+00:00")
    prepared = tenants.db.tool.prepare()
    others = [task for task in prepared.plan.tasks if task.policy_id == "globex-archive"]
    tidying = [replace(task, policy_id=None) for task in others]
    whole = replace(
        prepared,
        plan=replace(
            prepared.plan,
            tasks=(*prepared.plan.tasks, *tidying),
            warnings=(Why.ALL_EXPIRED(table=TableName("a", "b"), expiring="globex", end=1),),
        ),
    )
    narrowed = narrow_plan(whole, scoped(tenants, "acme").visibility, []).plan
    assert {task.policy_id for task in narrowed.tasks} == {"acme-archive"}
    assert {hold.policy_id for hold in narrowed.blocked} <= {"acme-archive", "acme-tables", "acme-events"}
    assert "globex" not in str(narrowed)
    assert "globex-bad" in {hold.policy_id for hold in whole.plan.blocked}
    mine = [replace(task, policy_id=None) for task in narrowed.tasks]
    tidied = narrow_plan(
        replace(whole, plan=replace(narrowed, tasks=tuple(mine))), scoped(tenants, "acme").visibility, []
    )
    assert len(tidied.plan.tasks) == len(mine)


def test_numbers_and_statements_of_what_is_shared(tenants: TwoTenants) -> None:
    """How large a shared table is, and statements, which name what others hold, are for those without a limit."""
    tenants.db.time.set("2024-10-02T00:00:00+00:00")
    for holder, whole in (("acme-viewer", False), ("viewer", True)):
        lines = tenants.get(holder, f"{API}/status")["policies"]
        sizes = {line["policy"]["id"]: (line.get("rows"), line.get("bytes")) for line in lines}
        assert (sizes["acme-events"][0] is not None) is whole
        assert sizes["acme-archive"][0] is not None
        tasks = tenants.get(holder, f"{API}/plan", params={"sql": "true"})["tasks"]
        assert {task["policy_id"] for task in tasks} >= {"acme-archive"}
        assert {bool(step.get("sql")) for task in tasks for step in task["steps"]} == (
            {True, False} if whole else {False}
        )


def test_reading_without_routes(tenants: TwoTenants) -> None:
    """The pages read a shared table, its values and its levels as far as they are a tenant's, too, and no further."""
    acme, schema = scoped(tenants, "acme"), tenants.db.schema
    start, end = parse_instant("2024-01-01"), parse_instant("2024-08-01")
    whole = FetchRequest(table_name="events", table_schema=schema, start=start, end=end, by=("tenant",))
    for request in (whole, replace(whole, where={"tenant": "globex"}), replace(whole, table_name="globex_metrics")):
        for read in (acme.suggest_values, acme.fetch):
            with pytest.raises(Forbidden, match="no policy with the tags of this token covers it"):
                read(request)
    april = parse_instant("2024-04-01"), parse_instant("2024-05-01")
    mine_alone = replace(whole, where={"tenant": "acme"}, start=april[0], end=april[1])
    assert acme.suggest_values(mine_alone) == ["acme"]
    # Tables without rollups follow; of those of others there is none.
    (mine, where), *others = acme.readable_tables().items()
    assert mine == TableName(schema, "events")
    assert {table.name for table, _ in others} == {"acme_metrics"}
    plain = replace(whole, table_name="acme_metrics", by=(), metrics=("row_count",), step=parse_interval("1y"))
    # Only CrateDB reads its own repositories.
    assert [row[-1] for row in acme.fetch(plain).rows] in (["raw+archive"], ["raw"])
    assert where == {"tenant": "acme"}
    assert acme.cascade(mine, where).source == mine
    with pytest.raises(Forbidden):
        acme.cascade(mine, {})


def test_a_table_without_policies_is_not_read(tenants: TwoTenants) -> None:
    """The service reads tables with rollups or policies, and no others of the database, whatever the role."""
    tenants.db.create("salaries", {"ts": TIME, "n": "TEXT", "value": NUMBER})
    tenants.db.fill("salaries", ["2024-05-01T00:00:00Z"], value=1.0)
    wanted = {"table_schema": tenants.db.schema, "start": "2024-01-01", "end": "2025-01-01", "metric": "row_count"}
    for token in ("admin", "viewer", "acme-viewer"):
        answer = tenants.ask(token, "GET", f"{API}/fetch", params={**wanted, "table_name": "salaries"})
        assert answer.status_code == (403 if token == "acme-viewer" else 404), answer.text
    assert tenants.get("viewer", f"{API}/fetch", params={**wanted, "table_name": "acme_metrics"})


def test_the_audit_log_in_parts(tenants: TwoTenants) -> None:
    """What is not seen takes no place: a tenant's parts of the audit log are full, and make up the whole."""
    whole = tenants.get("acme-viewer", f"{API}/journal", params={"limit": 1000})
    assert len(whole) > 10
    parts = [
        tenants.get("acme-viewer", f"{API}/journal", params={"limit": 3, "offset": offset})
        for offset in range(0, len(whole), 3)
    ]
    assert [len(part) for part in parts[:-1]] == [3] * (len(parts) - 1)
    assert [row for part in parts for row in part] == whole
    assert scoped(tenants, "acme").journal(JournalFilter(actor=tenants.db.tool.actor.name)) == []


def test_timelines_of_others(tenants: TwoTenants) -> None:
    """What a table holds when is for those whose policies are about it; own tables are nobody's."""
    acme, schema = scoped(tenants, "acme"), tenants.db.schema
    assert acme.table(TableName(schema, "acme_metrics")).timeline.lanes
    for table in (TableName(schema, "globex_metrics"), TableName(tenants.db.own_schema, "jobs_log")):
        with pytest.raises(Forbidden, match="no policy with the tags of this token covers it"):
            acme.table(table)


def test_what_the_pages_tell_of_a_shared_table(tenants: TwoTenants) -> None:
    """Neither the holds of the other tenant, nor how much there is of both, nor what failed for the other."""
    acme, schema = scoped(tenants, "acme"), tenants.db.schema
    assert "globex" not in repr(acme.table(TableName(schema, "events")))
    shown = {line.title.partition(".")[2]: line for line in acme.tables(Selection())}
    assert {"events", "acme_metrics"} <= set(shown)
    assert not [name for name in shown if "globex" in name]
    assert (shown["events"].first.rows, shown["events"].oldest) == (None, None)
    assert (shown["acme_metrics"].first.rows is None, shown["acme_metrics"].oldest is None) == (False, False)
    whole = {
        line.title.partition(".")[2]: line
        for line in Scope(tenants.db.tool, Access(role=Role.ADMIN, actor="x")).tables(Selection())
    }
    assert whole["events"].first.rows


def test_why_a_table_fails(tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that may be about what another tenant has is not told with the state of a table, but to an admin."""
    now = tenants.db.time.clock.now()
    run = RunOfPolicy(
        policy_id="acme-archive",
        run_id="r",
        ended_at=now,
        failed=1,
        error="case of globex",
    )
    monkeypatch.setattr(type(tenants.db.tool.runs), "of_policies", lambda *_: [run])
    admin = Scope(tenants.db.tool, Access(role=Role.ADMIN, actor="x"))
    for who, told in ((scoped(tenants, "acme"), False), (admin, True)):
        assert any("case of globex" in line.why for line in who.tables(Selection())) is told


def test_the_end_of_a_hold_is_about_ones_own(tenants: TwoTenants) -> None:
    """What the next run takes when a hold ends is told without what it takes of the other tenant anyway."""
    tenants.db.time.set("2024-10-02T00:00:00+00:00")
    release = scoped(tenants, "acme").find_release(tenants.ids["acme-hold"])
    assert release == (1, 1, False)
    for other in (tenants.ids["globex-hold"], NOBODY):
        with pytest.raises(NotFound, match="is not in force"):
            scoped(tenants, "acme").find_release(other)


def test_what_is_listed_by_words(tenants: TwoTenants) -> None:
    """A list by words has the policies that have them all, and rows that are no policies likewise."""
    admin = Scope(tenants.db.tool, Access(role=Role.ADMIN, actor="x"))
    for text, policies, invalid in (
        ("globex archive", ["globex-archive"], []),
        ("globex soon", [], ["globex-bad"]),
        ("acme archive", ["acme-archive"], []),
        (NOBODY, [], []),
    ):
        stored, damaged = admin.policies(Selection(), text)
        assert [item.policy.id for item in stored] == policies, text
        assert [row.id for row in damaged] == invalid, text


def test_what_exists_already_is_not_told(tenants: TwoTenants) -> None:
    """A policy that somebody else has on the same data is refused without its name, by a file as well."""
    same = {"strategy": "delete", "table_schema": tenants.db.schema, "table_name": "acme_x", "retention_period": "7d"}
    tenants.db.tool.create_policy(**same, id="globex-has-it")
    new = {**same, "tags": ["acme"]}
    created = tenants.ask("acme-editor", "POST", f"{API}/policies", json=new)
    applied = tenants.ask(
        "acme-editor", "POST", f"{API}/policy-file", content=json.dumps({"policies": [new]}),
        headers={"Content-Type": "application/yaml"},
    )  # fmt: skip
    for answer in (created, applied):
        assert (answer.status_code, "globex" in answer.text) == (409, False), answer.text


def test_no_hold_on_a_table_to_come(tenants: TwoTenants) -> None:
    """As long as a table is not there, a hold on a tenant's rows of it could turn out to cover those of others."""
    db = tenants.db
    of_acme: dict[str, Any] = {"table_schema": db.schema, "where": {"tenant": "acme"}}
    db.tool.policies.create(strategy="delete", table_name="logs_*", retention_period="9d", tags=["acme"], **of_acme)
    hold = {**of_acme, "table_name": "logs_2030"}
    refused = tenants.ask("acme-operator", "POST", f"{API}/holds", json=hold)
    assert (refused.status_code, "would also cover other data" in refused.text) == (403, True)
    db.create("logs_2030", {"ts": TIME, "tenant": "TEXT"})
    assert tenants.ask("acme-operator", "POST", f"{API}/holds", json=hold).status_code == 201


def test_holds_of_several_partitions(tenants: TwoTenants) -> None:
    """A hold on partitions of a shared table that are all of one tenant is shown in its plan as in its list."""
    parts: tuple[dict[str, Value], ...] = tuple(
        {"month": month, "tenant": "acme"} for month in ("2024-03-01", "2024-04-01")
    )
    hold = LegalHold(id="of-acme", table_schema=tenants.db.schema, table_name="events", partitions=parts)
    mixed = replace(hold, id="of-both", partitions=(*parts, {"month": "2024-03-01", "tenant": "globex"}))
    prepared = tenants.db.tool.prepare()
    prepared = replace(prepared, plan=replace(prepared.plan, legal_holds=(hold, mixed)))
    visibility = scoped(tenants, "acme").visibility
    assert [found.id for found in narrow_plan(prepared, visibility, []).plan.legal_holds] == ["of-acme"]


def test_what_a_request_names_is_heeded(tenants: TwoTenants) -> None:
    """A hold has the time and the reason that were given, a run the strategy and the tags, a token the limit."""
    data = {"table_schema": tenants.db.schema, "table_name": "acme_metrics"}
    period = {"start": "2024-01-01T00:00:00+00:00", "end": "2024-02-01T00:00:00+00:00"}
    held = tenants.ask("acme-operator", "POST", f"{API}/holds", json={**data, **period, "reason": "case 7"}).json()
    assert [held[key] for key in ("start", "end", "reason")] == [
        "2024-01-01T00:00:00+00:00",
        "2024-02-01T00:00:00+00:00",
        "case 7",
    ]
    for end in ("start", "end"):
        naive = tenants.ask("acme-operator", "POST", f"{API}/holds", json={**data, end: "2024-01-01T00:00:00"})
        assert (naive.status_code, naive.json()["thing"]) == (422, f"attribute {end}"), naive.text
    tenants.db.time.set("2024-10-02T00:00:00+00:00")
    assert tenants.run("acme-operator", strategy="delete")["steps_done"] == 0
    assert tenants.run("acme-operator", policy="acme-tables")["steps_done"] == 0
    tagged = tenants.run("admin", tags=["globex"])
    steps = tenants.db.journal(event="step-finished", run_id=tagged["run_id"])
    assert {row["policy_id"] for row in steps} == {"globex-archive"}
    lines = tenants.get("admin", f"{API}/status", params={"policy": "acme-tables"})["policies"]
    assert {line["policy"]["id"] for line in lines} == {"acme-tables"}
    new = {"name": "acme-new", "role": "viewer", "tags": ["acme"]}
    tenants.tokens["acme-new"] = tenants.ask("admin", "POST", f"{API}/tokens", json=new).json()["token"]
    assert tenants.get("acme-new", f"{API}/tags") == ["acme"]


def test_each_filter_of_the_audit_log(tenants: TwoTenants) -> None:
    """Each narrows down what is shown; an instant is one of the log's times."""
    log = f"{API}/journal"
    assert {row["outcome"] for row in tenants.get("admin", log, params={"outcome": "blocked"})} == {"blocked"}
    former = tenants.ask("admin", "GET", log, params={"outcome": "held"})  # for one version
    assert former.json() == tenants.get("admin", log, params={"outcome": "blocked"})
    assert former.headers["Deprecation"].startswith("@")
    assert {row["event"] for row in tenants.get("admin", log, params={"event": "hold-placed"})} == {"hold-placed"}
    for nothing in ({"since": "2999-01-01"}, {"until": "2000-01-01"}, {"table_name": "x"}, {"policy_id": "x"}):
        assert tenants.get("admin", log, params=nothing) == []
    run = tenants.ids["acme-run"]
    assert {row["run_id"] for row in tenants.get("admin", log, params={"run_id": run[:8]})} == {run}
    assert tenants.get("acme-viewer", log, params={"tags": "acme,x"}) == []


def test_timeline_of_a_shared_table(tenants: TwoTenants) -> None:
    """Of a table of both, each sees which of their own partitions are archived, and nothing of those of the other."""
    db = tenants.db
    db.create("logs", {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}, by=["month", "tenant"])
    for tenant, months in (("acme", ["2024-03-10"]), ("globex", ["2024-01-10", "2024-02-10", "2024-07-01"])):
        db.fill("logs", months, tenant=tenant)
        db.policy("snapshot", "logs", "60d", id=f"{tenant}-logs", where={"tenant": tenant}, tags=[tenant])
    only = Selection(policy_ids=frozenset({"acme-logs", "globex-logs"}))
    assert db.tool.run(selection=only).partitions == 3
    table = TableName(db.schema, "logs")
    for tenant, archived in (("acme", 1), ("globex", 2)):
        lanes = scoped(tenants, tenant).table(table).timeline.lanes
        spans = [span for lane in lanes for span in lane.spans if span.state is State.ARCHIVED]
        assert sum(span.count for span in spans) == archived


@pytest.mark.parametrize("change", [str, str.upper])
def test_nothing_is_restored_among_the_own_tables(tenants: TwoTenants, change: Callable[[str], str]) -> None:
    """Not even an admin restores into the schema of the toolkit's tables, however it is written."""
    into = TableName(change(tenants.db.own_schema), "retention_policy")
    who = Scope(tenants.db.tool, Access(role=Role.ADMIN, actor="admin"))
    request = RestoreRequest(table_name="acme_metrics", into=into)
    for act in (who.restorable, who.restore, lambda wanted: who.start_restore(tenants.context.operations, wanted)):
        with pytest.raises(Forbidden, match="in the schema of the toolkit's own tables"):
            act(request)


def test_a_run_of_a_tenant_is_about_its_own(tenants: TwoTenants) -> None:
    """A run of acme does what is due for acme, and nothing else; its plan said so before."""
    tenants.db.time.set("2024-10-02T00:00:00+00:00")
    plan = tenants.get("acme-operator", f"{API}/plan")
    assert {task["policy_id"] for task in plan["tasks"]} == {"acme-archive"}
    before = of_globex(tenants)
    run = tenants.run("acme-operator")
    assert (run["state"], run["steps_done"]) == ("done", sum(len(task["steps"]) for task in plan["tasks"]))
    assert tenants.db.left("acme_metrics") == ["2024-03-10"]
    assert of_globex(tenants) == before
    steps = tenants.db.journal(event="step-finished", run_id=run["run_id"])
    assert {row["policy_id"] for row in steps} == {"acme-archive"}


def test_a_policy_that_moves_takes_nothing_with_it(tenants: TwoTenants) -> None:
    """An admin gives a policy of globex to acme: who had it before, and what it was, stays unseen."""
    change = {"tags": ["acme"], "description": "moved"}
    moved = tenants.ask("admin", "PATCH", f"{API}/policies/globex-events", json=change, headers={"If-Match": "*"})
    assert moved.status_code == 200
    row = tenants.get("acme-viewer", f"{API}/journal", params={"event": "policy-changed"})[0]
    assert "before" not in row
    assert json.loads(row["after"])["description"] == "moved"
    assert tenants.get("globex-viewer", f"{API}/journal", params={"event": "policy-changed"}) == []


def test_description_needs_no_database(duck: Database) -> None:
    """The description can be made from the application alone, and names a token as what is needed."""
    description = make_app(Context(retention=duck.retention())).openapi()
    assert description["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            assert bool(about.get("security")) is path.startswith(API) or path == "/metrics", (method, path)
