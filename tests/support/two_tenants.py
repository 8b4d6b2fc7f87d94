"""
Two tenants, acme and globex, who share a database and a table: policies, holds, runs, archives and tokens of both, and
the HTTP API on top.

All that is of globex alone has ``globex`` in it, names, reasons and values, so that a test can look for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.testclient import TestClient

from cratedb_retention.clock import Actor
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.service.access import Scope
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import make_app
from cratedb_retention.service.metrics import RetentionCollector
from cratedb_retention.service.runs import Runs
from cratedb_retention.service.settings import HttpSettings
from support.databases import MONTH, NUMBER, TIME, Database

MONTHS = ("2024-03-10", "2024-04-10", "2024-05-10", "2024-06-20", "2024-07-01")
ROLES = ("viewer", "operator", "editor")


@dataclass(kw_only=True)
class TwoTenants:
    """
    The database and its HTTP API.

    :param tokens: The text of tokens by name: ``admin``, ``acme-viewer``, ``globex-editor``, ...
    """

    db: Database
    context: Context
    client: TestClient
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def ask(self, token: str | None, method: str, path: str, **more: Any) -> Any:
        """Send a request with a token by its name; None: without one."""
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {self.tokens[token]}"
        return self.client.request(method, path, headers=headers, **more)

    def get(self, token: str | None, path: str, **more: Any) -> Any:
        """The JSON of an answer that is fine."""
        answer = self.ask(token, "GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, token: str, **wanted: Any) -> Any:
        """Start a run, wait for its end, and tell how it was."""
        started = self.ask(token, "POST", "/api/v1/runs", json=wanted)
        assert started.status_code == 202, started.text
        self.wait()
        return self.get(token, started.headers["Location"])

    def wait(self) -> None:
        """Until no run and no operation is going on."""
        runs = self.context.runs
        assert isinstance(runs, Runs)
        runs.wait()
        self.context.operations.wait()

    def rows(self, table: str) -> list[Any]:
        """All rows of one of the toolkit's tables."""
        self.db.refresh(table, self.db.own_schema)
        return sorted(map(str, self.db.rows(f"SELECT * FROM {self.db.q(table, self.db.own_schema)}")))

    def token(self, name: str, role: Role, *limit: str) -> None:
        """Make a token."""
        self.tokens[name] = self.db.tool.create_token(name, role, parse_tag_filter(limit))[1]


@contextmanager
def serve_tenants(db: Database, filled: TwoTenants | None = None, **more: Any) -> Iterator[TwoTenants]:
    """
    Two tenants and their HTTP API.

    :param filled: The tenants whose data the database holds already.
    """
    if not filled:
        fill(db)
    runs = Runs()
    limits = HttpSettings(rate=1000, burst=100_000)
    context = Context(retention=db.tool, limits=limits, runs=runs, metrics=RetentionCollector(db.tool).text, **more)
    with TestClient(make_app(context), base_url="http://localhost", raise_server_exceptions=False) as client:
        tenants = TwoTenants(db=db, context=context, client=client)
        if filled:
            tenants.tokens, tenants.ids = dict(filled.tokens), dict(filled.ids)
        else:
            add_tenants(tenants)
        for tenant in ("acme", "globex"):
            tenants.ids[f"{tenant}-run"] = tenants.run(f"{tenant}-operator")["run_id"]
        yield tenants
    runs.close()
    context.operations.close()


def fill(db: Database) -> None:
    """A table for each tenant, partitioned by month, and one that both share, which is rolled up."""
    for tenant in ("acme", "globex"):
        db.create(f"{tenant}_metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(f"{tenant}_metrics", MONTHS)
    columns = {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "value": NUMBER, "month": MONTH}
    db.create("events", columns, by=["month", "tenant"])
    for tenant in ("acme", "globex"):
        db.fill("events", MONTHS, tenant=tenant, value=1.0)


def add_tenants(tenants: TwoTenants) -> None:
    """Policies, holds, a run of everything, and tokens of all roles."""
    db = tenants.db
    for tenant in ("acme", "globex"):
        more = {"tags": [tenant]}
        db.policy("delete", f"{tenant}_*", "90d", id=f"{tenant}-tables", **more)
        db.policy("snapshot", f"{tenant}_metrics", "60d", id=f"{tenant}-archive", **more)
        db.policy("delete", "events", "forever", id=f"{tenant}-events", where={"tenant": tenant}, **more)
        for role in ROLES:
            tenants.token(f"{tenant}-{role}", Role(role), tenant)
    stored = db.q("retention_policy", db.own_schema)
    damaged = "'delete', 'globex_x', 'soon', ['globex'], 'globex-bad', 1"
    db.sql(f"INSERT INTO {stored} (strategy, table_name, retention_period, tags, id, version) VALUES ({damaged})")
    db.refresh("retention_policy", db.own_schema)
    db.policy("downsample", "events", "30d", id="shared", levels="1d:forever", dimensions="tenant", exclude="n")
    tenants.token("admin", Role.ADMIN)
    tenants.token("viewer", Role.VIEWER)
    tool = db.tool
    for tenant in ("acme", "globex"):
        first, last = map(parse_instant, ("2024-03-01", "2024-04-01"))
        hold = tool.hold(f"{tenant}_metrics", db.schema, reason=f"case {tenant}", start=first, end=last)
        tenants.ids[f"{tenant}-hold"] = hold.id
    whole = tool.hold("events", db.schema, reason="case of globex against all", where={"tenant": "globex"})
    tenants.ids["globex-events-hold"] = whole.id
    tool.run()


def scoped(tenants: TwoTenants, tenant: str) -> Scope:
    """The toolkit as a tenant's editor has it, without HTTP."""
    access = Access(role=Role.EDITOR, actor="editor", limit=parse_tag_filter([tenant]))
    return Scope(tenants.db.tool.acting_as(Actor("editor", "host")), access)


# What belongs to globex, as far as the toolkit's tables hold it.
KEPT = ("retention_policy", "retention_hold", "retention_snapshot", "access_token")


def of_globex(tenants: TwoTenants) -> dict[str, list[str]]:
    """All rows about globex, and about the whole, in the toolkit's tables, and the data."""
    found = {name: [row for row in tenants.rows(name) if "globex" in row or "shared" in row] for name in KEPT}
    data = {"globex_metrics": "TRUE", "events": "tenant = 'globex'"}
    return {**found, **{name: tenants.db.left(name, where) for name, where in data.items()}}


def leaks(tenants: TwoTenants, said: str, text: str) -> bool:
    """Whether an answer tells of globex: what the request said itself does not count, nor acme's own choice of tags."""
    text = text.replace("acme+globex", "")
    names = [
        name
        for name in ("globex-hold", "globex-events-hold", "globex-run", "globex-operation")
        if tenants.ids[name] not in said
    ]
    secrets = [tenants.ids[name][:length] for name in names for length in (36, 8)]
    words = re.findall(r"[\w/*-]*globex[\w*-]*", text)
    return any(word not in said for word in words) or any(secret in text for secret in secrets)
