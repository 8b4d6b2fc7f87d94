"""SQL over archives by HTTP: the rows that a token may read, in each format, and within limits."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import pytest

from cratedb_retention.clock import Actor
from cratedb_retention.engine.duckdb.apart import Bounded
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.query.answer import QueryRequest
from cratedb_retention.service.access import Scope
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.http.query import Queries
from cratedb_retention.service.settings import HttpSettings
from support.two_tenants import TwoTenants


def ask(tenants: TwoTenants, token: str, text: str, form: str = "json") -> Any:
    """Send a query, in which ``{s}`` is the schema of the tables."""
    text = text.replace("{s}", tenants.db.schema)
    return tenants.ask(token, "POST", "/api/v1/query", json={"query": text, "format": form})


def test_all_archives(tenants: TwoTenants) -> None:
    """Without a scope, the archives of all tables are read."""
    text = "SELECT (SELECT count(*) FROM {s}.acme_metrics) AS acme, count(*) AS globex FROM {s}.globex_metrics"
    answer = ask(tenants, "viewer", text)
    assert (answer.status_code, answer.json()) == (200, [{"acme": 1, "globex": 1}])
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.content)


# A table of another tenant, one that never was, and one without archives; and ways to name it.
OTHERS = ("globex_metrics", "n0b0dy", "events")
WAYS = (
    "FROM {s}.{t}",
    'SELECT * FROM {s}."{t}"',
    "SELECT n FROM {s}.acme_metrics WHERE EXISTS (FROM {s}.{t})",
    "WITH x AS (SELECT * FROM {s}.acme_metrics UNION ALL FROM {s}.{t}) FROM x",
    "SELECT (SELECT max(n) FROM {s}.{t}) FROM {s}.acme_metrics",
)


def test_archives_within_a_scope(tenants: TwoTenants) -> None:
    """With a scope, no way leads to archives of others: they are answered as if they had never been."""
    pa = pytest.importorskip("pyarrow")
    answer = ask(tenants, "acme-viewer", "FROM {s}.acme_metrics", "arrow")
    assert answer.status_code == 200, answer.text
    with pa.ipc.open_stream(answer.content) as reader:
        assert reader.read_all().num_rows == 1
    for way in WAYS:
        answers = {name: ask(tenants, "acme-viewer", way.replace("{t}", name)) for name in OTHERS}
        assert {found.status_code for found in answers.values()} == {404}, way
        (text,) = {found.text.replace(name, "x") for name, found in answers.items()}
        assert "has no archive of which this token may read all rows" in text


def test_own_tables_are_not_read(tenants: TwoTenants) -> None:
    """Not even without a scope: the audit log tells of tokens, which only admins may see."""
    records = tenants.db.q("retention_snapshot", tenants.db.own_schema)
    tenants.db.sql(f"UPDATE {records} SET table_schema = '{tenants.db.own_schema}', table_name = 'jobs_log'")
    answer = ask(tenants, "viewer", f"FROM {tenants.db.own_schema}.jobs_log")
    assert (answer.status_code, "of which this token may read all rows" in answer.text) == (404, True)


def queries(tenants: TwoTenants, **limits: Any) -> tuple[Queries, Scope]:
    who = Scope(tenants.db.tool.acting_as(Actor("x", "y")), Access(role=Role.VIEWER, actor="x"))
    return Queries(HttpSettings(**limits)), who


def test_memory(tenants: TwoTenants) -> None:
    """What takes too much memory ends with its process; DuckDB's own limit does not include long texts."""
    running, who = queries(tenants)
    with pytest.raises(InvalidInput, match=r"(?i)memory"):
        running.answer(who, "SELECT length(repeat('x', 2000000000))", "csv")


def test_time(tenants: TwoTenants) -> None:
    """A query that takes too long is ended, and its place is free again."""
    running, who = queries(tenants, queries=1, query_timeout=0.05)
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"query: takes longer than 0.05 s\. Select less"):
            running.answer(who, "SELECT count(*) FROM range(3000000000)", "csv")


class Waiting(Scope):
    """A caller who asks again while the first query is running."""

    running: Queries

    def query(self, request: QueryRequest, stream: BinaryIO) -> list[str]:
        with pytest.raises(Failed, match="1 are running") as refused:
            self.running.answer(self, "SELECT 1", "csv")
        assert (refused.value.http_status, refused.value.headers) == (429, {"Retry-After": "5"})
        return []


def test_some_at_a_time(tenants: TwoTenants) -> None:
    """More queries than the service is set to are refused."""
    running, who = queries(tenants, queries=1)
    waiting = Waiting(tenants.db.tool, who.access)
    waiting.running = running
    running.answer(waiting, "SELECT 1", "csv")[0].close()


def test_size() -> None:
    """The answer has as many bytes as allowed, and not one more."""
    stream = Bounded(io.BytesIO(), 10)
    stream.write(b"12345")
    stream.write(memoryview(b"67890"))
    with pytest.raises(InvalidInput, match="more than 10 bytes"):
        stream.write(b"1")
