"""Policies by HTTP: created, changed if nobody else did, deleted, as a file."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import unquote

import pytest

from cratedb_retention.cli.output import write_data
from cratedb_retention.errors import Conflict
from cratedb_retention.execution import results
from cratedb_retention.execution.plan.preview import ArchiveLine
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.query.reading import FetchRequest, Fill
from support.two_tenants import TwoTenants, scoped

API = "/api/v1"
NEW = {"strategy": "delete", "table_name": "x", "retention_period": "90d", "tags": ["acme"], "id": "new/é 1"}


@pytest.fixture
def path(tenants: TwoTenants) -> str:
    """A new policy with an identifier that no path has as it is."""
    made = tenants.ask("admin", "POST", f"{API}/policies", json=NEW)
    assert made.status_code == 201, made.text
    assert made.headers["ETag"] == '"1"'
    return f"{API}/policies/new%2F%C3%A9%201"


def test_lifecycles(tenants: TwoTenants) -> None:
    """Each sees the stages by the policies that they see: of all tables, or of one."""

    def lines(token: str, **params: str) -> dict[str, str]:
        return {each["table"]: each["line"] for each in tenants.get(token, f"{API}/lifecycles", params=params)}

    new = {**NEW, "strategy": "snapshot", "target_repository_name": "r", "archive_period": "1y", "tags": ["globex"]}
    assert tenants.ask("admin", "POST", f"{API}/policies", json=new).status_code == 201
    table = f"{tenants.db.tool.default_schema}.x"
    line = "hot until 90d -> cold (r) until 1y -> gone"
    assert lines("admin")[table] == line
    assert lines("admin", table_name="x") == lines("globex-viewer", table_name="x") == {table: line}
    assert lines("acme-viewer")
    assert table not in lines("acme-viewer") and lines("acme-viewer", table_name="x") == {}
    assert lines("admin", table_name="x", table_schema="other") == {}
    [found] = tenants.get("admin", f"{API}/lifecycles", params={"table_name": "x"})
    assert found["where"] == {} and found["rollups"] == []
    assert found["stages"][1:] == [
        {"temperature": "cold", "since": "90d", "until": "1y", "budget": None, "how": "r", "policy_ids": [NEW["id"]]},
        {
            "temperature": "gone",
            "since": "1y",
            "until": "forever",
            "budget": None,
            "how": None,
            "policy_ids": [NEW["id"]],
        },
    ]


def test_only_who_knows_the_present_state_changes_it(tenants: TwoTenants, path: str) -> None:
    """A change names the version that it is based on; one that is outdated changes nothing, nor one that names none."""

    def change(if_match: str | None, **changes: Any) -> tuple[int, str | None]:
        headers = {} if if_match is None else {"If-Match": if_match}
        answer = tenants.ask("admin", "PATCH", path, json=changes, headers=headers)
        return answer.status_code, answer.headers.get("ETag")

    assert change(None, enabled=False) == (428, None)
    assert change('"1"', retention_period="30d") == (200, '"2"')
    assert change('"1"', retention_period="1d") == (412, None)
    assert change('"9"', retention_period="1d") == (412, None)
    assert change("2", retention_period="1d") == (412, None)
    assert change('"2"0', retention_period="1d") == (412, None)
    assert change('W/"2"', description="x") == (200, '"3"')
    assert change("*", description=None) == (200, '"4"')
    assert change('"4"', retention_period="soon") == (422, None)
    assert change('"4"', retentionperiod="1d") == (422, None)
    found = tenants.ask("admin", "GET", path)
    assert found.headers["ETag"] == '"4"'
    assert found.json() == {**NEW, "retention_period": "30d", "version": 4}
    assert tenants.ask("admin", "DELETE", path).status_code == 428
    assert tenants.ask("admin", "DELETE", path, headers={"If-Match": '"3"'}).status_code == 412
    assert tenants.ask("admin", "DELETE", path, headers={"If-Match": '"4"'}).status_code == 204
    assert tenants.ask("admin", "GET", path).status_code == 404


JSON = {"Content-Type": "application/json"}


def test_values_are_what_is_written(tenants: TwoTenants) -> None:
    """A number or truth value in JSON is kept as it is written, for the column to type; null is NULL."""
    where = '{"a": 1.50, "b": 7, "c": true, "d": null, "e": "NULL", "f": "007", "g": 1e3, "h": 9007199254740993.0}'
    kept = {"a": "1.50", "b": "7", "c": "true", "d": None, "e": "NULL", "f": "007", "g": "1e3"}
    kept["h"] = "9007199254740993.0"
    body = (
        '{"strategy": "delete", "table_name": "t", "retention_period": 30, "expected_max": {"percent": 2.5}, "where": '
    )
    made = tenants.ask("admin", "POST", f"{API}/policies", content=f"{body}{where}}}", headers=JSON)
    assert (made.status_code, made.json()["where"]) == (201, kept)
    assert (made.json()["retention_period"], made.json()["expected_max"]) == ("30d", {"percent": 2.5})
    path = f"{API}/policies/{made.json()['id']}"
    changed = tenants.ask("admin", "PATCH", path, content='{"where": {"a": 1.10}}', headers={**JSON, "If-Match": "*"})
    assert changed.json()["where"] == {"a": "1.10"}
    held = tenants.ask(
        "admin", "POST", f"{API}/holds", content='{"table_name": "t", "where": ' + where + "}", headers=JSON
    )
    assert (held.status_code, held.json()["where"]) == (201, kept)
    assert tenants.ask("admin", "DELETE", f"{API}/holds/{held.json()['id'][:8]}").status_code == 404
    assert tenants.ask("admin", "DELETE", f"{API}/holds/{held.json()['id']}").status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"retention_period": "90d", "retention_period": "1d"}', "duplicate attribute retention_period"),
        ('{"where": {"a": 1, "a": 2}}', "duplicate attribute a"),
        ('{"where": {"a": [1]}}', "attribute where.a: must be text, a number, true, false or null"),
        ('{"table_name": 7}', "attribute table_name: must be text"),
        ('{"tags": [1.50]}', "attribute tags: a tag must be text"),
        ('{"enabled": 2}', "attribute enabled: must be true or false"),
        ('{"retention_period": 0}', "attribute retention_period: 0d keeps nothing"),
        ('{"levels": "1h:1y"}', "attribute levels: does not apply to delete"),
        ('{"strategy": "snapshot", "target_repository_name": "r", "late": "drop"}', "late: does not apply to snapshot"),
    ],
)  # fmt: skip
@pytest.mark.some(4)
def test_refused(tenants: TwoTenants, path: str, body: str, words: str) -> None:
    """What is written twice, or can't be typed, or means nothing, is refused by its name; nothing is changed."""
    answer = tenants.ask("admin", "PATCH", path, content=body, headers={**JSON, "If-Match": "*"})
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
    assert tenants.get("admin", path) == {**NEW, "version": 1}


def test_of_two_at_once_one_wins(each_tenants: TwoTenants) -> None:
    """Several change the same version at the same time: one succeeds, the others are told, and nothing is mixed."""
    path, codes = f"{API}/policies/acme-tables", []

    def change(number: int) -> None:
        headers = {"If-Match": '"1"'}
        answer = each_tenants.ask("admin", "PATCH", path, json={"description": str(number)}, headers=headers)
        codes.append((answer.status_code, number))

    threads = [threading.Thread(target=change, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [number for code, number in codes if code == 200]
    assert sorted(code for code, _ in codes) == [200, 412, 412, 412]
    found = each_tenants.get("admin", path)
    assert (found["description"], found["version"]) == (str(won[0]), 2)


def test_policies_as_a_file(tenants: TwoTenants) -> None:
    """What is exported can be applied; a dry run tells the same and changes nothing; pruning stays within the tags."""
    exported = tenants.ask("acme-viewer", "GET", f"{API}/policy-file")
    assert exported.headers["Content-Type"] == "application/yaml"
    policies = parse_policies(exported.text, "x")
    assert [policy.id for policy in policies] == ["acme-tables", "acme-archive", "acme-events"]
    one = {"policies": [{**policies[0].to_dict(), "retention_period": "80d"}]}
    more = {"content": json.dumps(one), "headers": {"Content-Type": "application/yaml"}}

    def apply(**params: Any) -> list[tuple[str, str]]:
        answer = tenants.ask("acme-editor", "POST", f"{API}/policy-file", params={"prune": True, **params}, **more)
        assert answer.status_code == 200, answer.text
        return [(c["action"], (c["after"] or c["before"])["id"]) for c in answer.json()]

    before = tenants.rows("retention_policy")
    misspelt = tenants.ask("acme-editor", "POST", f"{API}/policy-file", params={"prune": True, "tags": "acne"}, **more)
    assert (misspelt.status_code, "tag acne" in misspelt.text) == (404, True)
    assert tenants.rows("retention_policy") == before
    wanted = [("update", "acme-tables"), ("delete", "acme-archive"), ("delete", "acme-events")]
    assert sorted(apply(dry_run=True)) == sorted(wanted)
    assert tenants.rows("retention_policy") == before
    with pytest.raises(Conflict, match="another user has changed some in the meantime"):
        scoped(tenants, "acme").apply(policies[:1], True, TagFilter(), False, [])
    assert tenants.rows("retention_policy") == before
    assert sorted(apply()) == sorted(wanted)
    assert len(tenants.get("admin", f"{API}/policies")["policies"]) == 5
    moved = {**NEW, "strategy": "reallocate", "reallocation_attribute_name": "a", "reallocation_attribute_value": "b"}
    unsupported = tenants.ask("admin", "POST", f"{API}/policy-file", params={"dry_run": True},
                              content=json.dumps({"policies": [moved]}), headers=more["headers"])  # fmt: skip
    assert (unsupported.status_code, "has no nodes" in unsupported.text) == (422, True)
    wrong = tenants.ask("admin", "POST", f"{API}/policy-file", content="policies:\n- strategy: x\n",
                      headers={"Content-Type": "application/yaml"})  # fmt: skip
    assert wrong.status_code == 422
    assert wrong.json()["thing"] == "the file, line 2"


def test_what_a_file_would_remove(tenants: TwoTenants) -> None:
    """As if a file were applied, policies that are not in it count as deleted, with tags only those that have them."""
    file = {"content": json.dumps({"policies": [NEW]}), "headers": {"Content-Type": "application/yaml"}}
    pruned = {"until": "+1d", "prune": True}

    def tables(**params: Any) -> set[str]:
        answer = tenants.ask("admin", "POST", f"{API}/forecast/what-if", params=params, **file)
        assert answer.status_code == 200, answer.text
        return {each["table"].partition(".")[2] for each in answer.json()["before"]["series"]}

    assert {"acme_metrics", "globex_metrics"} <= tables(**pruned)
    assert "acme_metrics" in tables(**pruned, tags="acme")
    assert "globex_metrics" not in tables(**pruned, tags="acme")


def test_what_a_forecast_counts_with(tenants: TwoTenants) -> None:
    """The policies, capacity and prices of a request. DuckDB tells no sizes of tables, so one has only archives."""
    tenants.db.sql(f"DROP TABLE {tenants.db.q('acme_metrics')}")

    def foreseen(**asked: object) -> Any:
        return tenants.get("viewer", f"{API}/forecast", params={"until": "+1d", **asked})

    assert foreseen(capacity="2TB")["capacity"] == 2 * 10**12
    assert foreseen(price=1e9)["cost"] is None
    assert foreseen(archive_price=1e9)["cost"] > 0
    assert {each["table"] for each in foreseen(policy="globex-tables")["series"]} == {
        f"{tenants.db.schema}.globex_metrics"
    }


def test_lists_come_in_parts(tenants: TwoTenants) -> None:
    """A part of a list has what it is asked for, and rows that are no policies come once; a thousand are the most."""
    ids = [policy["id"] for policy in tenants.get("admin", f"{API}/policies")["policies"]]
    parts = [tenants.get("admin", f"{API}/policies", params={"limit": 3, "offset": n}) for n in (0, 3, 6, 9)]
    assert [policy["id"] for part in parts for policy in part["policies"]] == ids
    assert {part["total"] for part in parts} == {7}
    assert [[row["id"] for row in part["damaged"]] for part in parts] == [["globex-bad"], [], [], []]
    rows = tenants.get("admin", f"{API}/journal", params={"limit": 1000})
    halves = [tenants.get("admin", f"{API}/journal", params={"limit": 500, "offset": n}) for n in (0, len(rows) // 2)]
    assert halves[1] == rows[len(rows) // 2 :]
    archived = tenants.get("admin", f"{API}/snapshots")
    singles = [tenants.get("admin", f"{API}/snapshots", params={"limit": 1, "offset": n}) for n in range(len(archived))]
    assert len(archived) > 1 and [row for single in singles for row in single] == archived
    for wrong in ({"limit": 1001}, {"limit": 0}, {"offset": -1}, {"limit": "x"}):
        assert tenants.ask("admin", "GET", f"{API}/policies", params=wrong).status_code == 422
    archives = tenants.get("admin", f"{API}/policies", params={"strategy": "snapshot"})
    assert {policy["strategy"] for policy in archives["policies"]} == {"snapshot"}
    assert archives["damaged"] == []
    exported = tenants.ask("admin", "GET", f"{API}/policy-file", params={"strategy": "snapshot"}).text
    assert {policy.strategy for policy in parse_policies(exported, "x")} == {"snapshot"}
    fetch = {"table_schema": tenants.db.schema, "table_name": "events", "start": "2024-01-01", "end": "2024-08-01"}
    for points, status in ((10_000, 200), (10_001, 422)):
        assert tenants.ask("admin", "GET", f"{API}/fetch", params={**fetch, "points": points}).status_code == status


def test_the_plan_is_that_of_the_command(tenants: TwoTenants) -> None:
    """A plan by HTTP is the one that `plan --format=json` shows."""
    from cratedb_retention.execution.results import PlanAnswer

    cutoff = "2024-12-01T00:00:00+00:00"
    tenants.db.time.set(cutoff)
    shown = tenants.get("admin", f"{API}/plan", params={"sql": True})
    assert shown == PlanAnswer.of(tenants.db.tool.plan(), tenants.db.tool.statements).model_dump()
    assert shown["tasks"]
    assert tenants.get("admin", f"{API}/plan", params={"cutoff": "2024-07-02"})["cutoff"] == "2024-07-02T00:00:00+00:00"
    unknown = tenants.ask("admin", "GET", f"{API}/plan", params={"policy": "nosuch"})
    assert (unknown.status_code, unknown.json()["remedy"]) == (404, "see the list of policies")
    future = tenants.ask("admin", "GET", f"{API}/plan", params={"cutoff": "2999-01-01"})
    assert (future.status_code, "future" in future.text) == (422, True)


def test_commands_write_what_http_answers(tenants: TwoTenants, capsys: pytest.CaptureFixture[str]) -> None:
    """Holds, snapshots, policies and tokens look the same as JSON of a command and as an answer."""
    tool = tenants.db.tool
    states = tool.archive.states(tool.archive.snapshots())
    written: dict[str, Any] = {
        "holds": [results.Hold.of(hold) for hold in tool.holds()],
        "snapshots": [
            results.Snapshot.of(ArchiveLine(record=each, state=states.get(each.key)))
            for each in tool.archive.snapshots()
        ],
        "tokens": [results.token_result(token) for token in tool.access.tokens()],
    }
    for path, found in written.items():
        write_data(found, "json")
        assert found
        assert json.loads(capsys.readouterr().out) == tenants.get("admin", f"{API}/{path}"), path
    write_data([results.policy_result(stored) for stored in tool.policies()], "json")
    assert json.loads(capsys.readouterr().out) == tenants.get("admin", f"{API}/policies")["policies"]


def test_what_is_fetched_is_what_was_asked(tenants: TwoTenants) -> None:
    """Data by HTTP is the same as in Python, by each of its parameters, as JSON and as CSV."""
    schema = tenants.db.schema
    start, end, step = "2024-03-01", "2024-06-01", "1w"
    period = {"start": start, "end": end, "step": step}
    asked = {"table_schema": schema, "table_name": "events", "metric": "value:max", "by": "tenant", "fill": "previous"}
    request = FetchRequest.of_texts(
        tenants.db.time.clock.now(), start, end, step, None, table_schema=schema, table_name="events",
        metrics=("value:max",), by=("tenant",), where={"tenant": "acme"}, fill=Fill.PREVIOUS,
    )  # fmt: skip
    found = tenants.db.tool.fetch(request)
    assert len(found.rows) == 14
    for form, kind, text in (("json", "application/json", found.to_json()), ("csv", "text/csv", found.to_csv())):
        params = {**period, **asked, "where": "tenant=acme", "format": form}
        answer = tenants.ask("viewer", "GET", f"{API}/fetch", params=params)
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers["Content-Type"].startswith(kind)
    few: dict[str, Any] = {"start": start, "end": end, "points": 3}
    request = FetchRequest.of_texts(
        tenants.db.time.clock.now(), start, end, None, 3, table_schema=schema, table_name="events",
        metrics=("value:max",), by=("tenant",), fill=Fill.PREVIOUS,
    )  # fmt: skip
    answer = tenants.ask("viewer", "GET", f"{API}/fetch", params={**few, **asked})
    found = tenants.db.tool.fetch(request)
    assert (answer.text, 0 < len(found.rows) <= 3 * 2) == (found.to_json(), True)
    hours = {**asked, "start": "2024-03-01", "end": "2024-04-01", "step": "1h"}
    noted = tenants.ask("viewer", "GET", f"{API}/fetch", params=hours)
    assert "only 1d is left, so buckets are longer than 1h" in unquote(noted.headers["Notes"])
    both = tenants.ask("viewer", "GET", f"{API}/fetch", params={**period, **asked, "points": 10})
    assert (both.status_code, "cannot be combined" in both.text) == (422, True)
