"""
Who has a token reaches the toolkit by one class: none of its methods shows one tenant what is another's, or changes it.
That holds for the pages as well, which have no routes.
"""

from __future__ import annotations

import datetime as dt
import inspect
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.clock import Actor
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.overview.lines import overview
from cratedb_retention.execution.plan.preparing import Prepared, Selection
from cratedb_retention.execution.plan.preview import Preview
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.query.answer import QueryRequest
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.time import parse_instant
from cratedb_retention.service.access import Scope
from cratedb_retention.store.audit import JournalFilter
from support.two_tenants import TwoTenants, leaks, of_globex, scoped

Arguments = tuple[Any, ...]


def calls(tenants: TwoTenants) -> Mapping[str, list[Arguments]]:
    """For each method, arguments by which a tenant reaches for what is another's, or for everything."""
    schema, ids, context = tenants.db.schema, tenants.ids, tenants.context
    runs, operations = context.runs, context.operations
    globex, shared = TableName(schema, "globex_metrics"), TableName(schema, "events")
    start, end = parse_instant("2024-01-01"), parse_instant("2024-08-01")
    whole = FetchRequest(table_name="events", table_schema=schema, start=start, end=end, by=("tenant",))
    asked: list[Arguments] = [
        (whole,),
        (replace(whole, where={"tenant": "globex"}),),
        (replace(whole, table_name="globex_metrics", by=("n",)),),
    ]
    new = {"strategy": "delete", "table_schema": schema, "retention_period": "1d"}
    theirs = [
        make_policy(**new, table_name="globex_metrics", tags=["acme"], id="globex-tables"),
        make_policy(**new, table_name="acme_metrics", tags=["globex"]),
        make_policy(**new, table_name="events", tags=["acme"]),
    ]
    by_tag = parse_tag_filter(["globex"])
    selections: list[Arguments] = [
        (Selection(),),
        (Selection(tags=by_tag),),
        (Selection(policy_id="globex-tables"),),
    ]
    requests = [
        RestoreRequest(table_name="globex*"),
        RestoreRequest(tags=by_tag),
        RestoreRequest(table_name="acme*", into=globex),
    ]
    restores: list[Arguments] = [(request,) for request in requests]
    everything: list[Arguments] = [(RestoreRequest(),)]
    policies = ("globex-tables", "globex-bad", "shared")
    holds = [ids[name] for name in ("globex-hold", "globex-events-hold", "acme-hold")]
    logs = [
        JournalFilter(limit=1000),
        JournalFilter(limit=1000, tags=by_tag),
        JournalFilter(limit=1000, event=Event.TOKEN_CREATED, about_tokens=True),
        JournalFilter(limit=1000, run_id=ids["globex-run"]),
    ]
    none, who = TagFilter(), scoped(tenants, "acme")
    own = who.preview(make_policy(**new, table_name="acme_metrics", tags=["acme"]))
    return {
        "accept_tables": [
            ("globex_metrics", schema),
            ("*", schema),
            ("events", schema),
            ("retention_hold", tenants.db.own_schema),
        ],
        "apply": [
            *(([policy], True, none, False) for policy in theirs),
            *(([*policies], True, none, False, []) for policies in ((), theirs[:1])),
        ],
        "archived_since": [(globex,), (shared,)],
        "cancel": [(operations, ids["globex-operation"]), (runs, ids["globex-run"])],
        "cascade": [(globex, {}), (shared, {})],
        "change": [
            ("globex-tables", {"enabled": False}, None),
            ("shared", {"tags": ["acme"]}, None),
            ("acme-tables", {"tags": ["globex"]}, None),
        ],
        "check": selections,
        "create": [(policy,) for policy in theirs],
        "delete": [(identifier, None) for identifier in policies],
        "deletable": [*restores, *everything],
        "fetch": asked,
        "find_earlier": [(globex,), (shared,)],
        "forecast": selections,
        "find_job": [(operations, ids["globex-operation"]), (runs, ids["globex-run"])],
        "find_placing": [(hold,) for hold in tenants.db.tool.holds()],
        "find_release": [(identifier,) for identifier in holds[:2]],
        "health": [()],
        "held_tables": [(tenants.db.tool.holds(),)],
        "holds": [()],
        "jobs": [(operations,), (runs,)],
        "last_run": [()],
        "lifecycles": [(), (globex,), (shared,), (globex, theirs[0]), (shared, theirs[2])],
        "make": [(policy,) for policy in theirs],
        "journal": [(wanted,) for wanted in logs],
        "listing": selections,
        "mark": [()],
        "now": [()],
        "overview": [()],
        "place": [(name, schema, {}, None, None, "x") for name in ("globex_metrics", "events", "*", "glob?x*")],
        "policies": selections,
        "policy": [(identifier,) for identifier in policies],
        "prepare": selections,
        "preview": [(policy,) for policy in theirs],
        "previewed": [(own, globex), (own, shared)],
        "query": [
            (QueryRequest(text=f"FROM {schema}.{name}", form="csv", seconds=60, size=10_000),)
            for name in ("globex_metrics", "events")
        ],
        "readable_tables": [()],
        "render": [()],
        "release": [(identifier,) for identifier in holds],
        "renew": [(identifier,) for identifier in holds],
        "restorable": [*restores, *everything],
        "restore": restores,
        "run_totals": [(wanted, by_table) for wanted in logs for by_table in (False, True)],
        "runs": [(wanted,) for wanted in logs],
        "sessions": [()],
        "snapshots": [(*each, 100) for each in (*restores, *everything)],
        "start_restore": [(operations, request) for request in requests],
        "start_run": [],  # It does what a plan of `prepare` says.
        "start_verify": [(operations, request) for request in requests[:2]],
        "statements": [(tenants.db.tool.plan(),)],
        "status": selections,
        "suggest": [(None, False)],
        "suggest_values": asked,
        "suggestions": [(), (schema, "globex_metrics"), (schema, "events", ["tenant", "n"])],
        "table": [(globex,), (shared,)],
        "tables": selections,
        "tags": [()],
        "tokens": [()],
        "verify_snapshots": [*restores, *everything],
        "gained": [([policy.model_copy(update={"id": "shared"})],) for policy in theirs],
        "what_if": [([policy],) for policy in theirs],
        # What is acme's is gone then.
        "start_delete": [(operations, request) for request in requests[:2]],
        "delete_snapshots": [*restores, *everything],
    }


def shown(result: Any) -> str:
    """What can be seen of a result: of a plan, not what it was made from."""
    if isinstance(result, Prepared):
        return repr((result.plan, overview(result)))
    if isinstance(result, Preview):
        return "".join(shown(each) for each in (result.before, result.after, result.if_enabled) if each)
    if isinstance(result, tuple | list):
        return "".join(map(shown, result))
    return repr(result)


def ask(who: Scope, name: str, arguments: Arguments) -> str:
    """What a call shows, be it an error, but for the thing in it, which is what was asked for."""
    with tempfile.TemporaryFile() as file:
        try:
            found = getattr(who, name)
            ahead = {"until": who.now + dt.timedelta(days=40)}
            asked: dict[str, Any] = ahead if name in ("forecast", "what_if") else {}
            asked |= {"stream": file} if name == "query" else {}
            text = shown(found(*arguments, **asked) if inspect.ismethod(found) else found)
        except RetentionError as error:
            text = f"{error.reason} {error.remedy}"
        file.seek(0)
        return f"{text}{file.read().decode()}"


def public(kind: type) -> set[str]:
    """The names of all methods that others may call."""
    methods = inspect.getmembers(kind, lambda value: inspect.isfunction(value) or isinstance(value, property))
    return {name for name, _ in methods if not name.startswith("_")}


@pytest.fixture
def busy(tenants: TwoTenants) -> TwoTenants:
    """Globex has an operation, too, and much is due."""
    verified = tenants.ask("globex-operator", "POST", "/api/v1/snapshots/verify", json={"table_name": "*"})
    tenants.ids["globex-operation"] = verified.json()["operation_id"]
    tenants.wait()
    tenants.db.time.set("2024-10-02T00:00:00+00:00")
    return tenants


def test_no_method_shows_or_changes_what_is_anothers(busy: TwoTenants) -> None:
    """Each method, called as acme's editor for what is globex's; a new one without a rule here fails."""
    rules = calls(busy)
    assert public(Scope) == set(rules), "a method without a rule"
    before = of_globex(busy)
    for name, found in rules.items():
        for arguments in found:
            text = ask(scoped(busy, "acme"), name, arguments)
            busy.wait()
            assert not leaks(busy, "", text), (name, text)
        assert of_globex(busy) == before, name


def test_a_shared_table_is_not_foreseen(tenants: TwoTenants) -> None:
    """A forecast of a shared table would tell how fast the rows of others grow."""
    who = scoped(tenants, "acme")
    found = who.forecast(Selection(), until=who.now + dt.timedelta(days=40))
    assert {each.source.name for each in found.series} == {"acme_metrics"}
    where = {"where": {"tenant": "acme"}, "tags": ["acme"], "table_schema": tenants.db.schema}
    draft = make_policy(strategy="delete", table_name="events", retention_period="10d", **where)
    for each in who.what_if([draft], until=who.now + dt.timedelta(days=40)):
        assert (each.series, each.events, each.notes) == ((), (), ())


def test_what_others_remove_is_not_foreseen(tenants: TwoTenants) -> None:
    """A forecast of an own table has what own policies remove, not what a policy of others does on the same table."""
    tenants.db.tool.policies.edit("acme-archive", {"enabled": False})
    tenants.db.policy("delete", "acme_metrics", "80d", id="of-all")
    new = {"strategy": "delete", "table_schema": tenants.db.schema, "table_name": "acme_*", "tags": ["acme"]}
    draft = make_policy(**new, retention_period="70d")
    admin = Scope(tenants.db.tool, Access(role=Role.ADMIN, actor="admin"))
    removing = []
    for who in (admin, scoped(tenants, "acme")):
        until = who.now + dt.timedelta(days=60)
        foreseen = (who.forecast(Selection(), until=until), *who.what_if([draft], until=until))
        removing.append([{event.policy_id for event in each.events} for each in foreseen])
    assert all("of-all" in policies for policies in removing[0][:2])
    assert removing[1] == [set(), set(), {"acme-tables"}]


def test_snapshots_of_others_are_not_deleted(tenants: TwoTenants) -> None:
    """Deleting all snapshots deletes all that are within the limit."""
    assert [item.record.archived.table.name for item in scoped(tenants, "acme").delete_snapshots(RestoreRequest())] == [
        "acme_metrics"
    ]
    assert [record.archived.table.name for record in tenants.db.tool.snapshots()] == ["globex_metrics"]


@pytest.mark.long("it is about the search, not about the toolkit")
def test_the_search_finds_what_leaks(busy: TwoTenants) -> None:
    """The same calls of an admin show what is globex's, so that the test above would fail."""
    changing = ("accept_tables", "apply", "delete", "release", "render", "renew", "restore")
    told = set()
    for name, found in calls(busy).items():
        for arguments in found if name not in changing else ():
            admin = Scope(busy.db.tool.acting_as(Actor("x", "y")), Access(role=Role.ADMIN, actor="x"))
            if leaks(busy, "", ask(admin, name, arguments)):
                told.add(name)
    assert len(told) > 20, told
