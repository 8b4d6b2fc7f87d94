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
from support.databases import MONTH, TIME
from support.object_store import BUCKET, SECRET, ObjectStore, refusing
from support.two_tenants import MONTHS, TwoTenants


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


@pytest.mark.s3
@pytest.mark.long("make test reads files in a directory by HTTP, and on S3 by the command")
@pytest.mark.parametrize("each", ["tenants", pytest.param("crate_tenants", marks=pytest.mark.cratedb)])
def test_archives_on_s3(request: pytest.FixtureRequest, s3: ObjectStore, each: str) -> None:
    """The process of a query reads a bucket with the credentials of the service; what it cannot read is named."""
    tenants: TwoTenants = request.getfixturevalue(each)
    db = tenants.db
    db.create("acme_cold", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("acme_cold", MONTHS)
    db.policy("snapshot", "acme_cold", "30d", tags=["acme"], target_repository_name=f"s3://{BUCKET}/cold")
    db.run()
    assert db.left("acme_cold") == list(MONTHS[3:])
    text = "SELECT n FROM {s}.acme_cold ORDER BY n"
    for token in ("viewer", "acme-viewer"):
        answer = ask(tenants, token, text)
        assert (answer.status_code, answer.json()) == (200, [{"n": day} for day in MONTHS[:3]]), answer.text
        assert "Notes" not in answer.headers
    wanted = {"table_name": "acme_cold", "table_schema": db.schema, "start": "2024-03-01", "end": "2024-08-01"}
    fetched = tenants.get("acme-viewer", "/api/v1/fetch", params={**wanted, "step": "1mo", "metric": "row_count"})
    assert [row["level"] for row in fetched] == ["archive"] * 3 + ["raw"] * 2
    csv = ask(tenants, "acme-viewer", "SELECT count(*) AS n FROM {s}.acme_cold WHERE month = '2024-04-01'", "csv")
    assert csv.text.split() == ["n", "1"]
    first, *_ = (name for name in s3.files() if name.endswith(".parquet"))
    s3.delete(first)
    answer = ask(tenants, "viewer", text)
    assert answer.json() == [{"n": day} for day in MONTHS[1:3]]
    assert "is missing" in answer.headers["Notes"]
    with refusing(s3.address, 403) as address, pytest.MonkeyPatch.context() as patched:
        s3.use(patched, address)
        answer = ask(tenants, "viewer", text)
    assert (answer.status_code, SECRET in answer.text) == (503, False), answer.text


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


def test_size_of_an_answer(tenants: TwoTenants) -> None:
    """A service answers at most with as many bytes as it is set to."""
    running, who = queries(tenants, query_size=1024)
    with pytest.raises(InvalidInput, match=r"more than 1,?024 bytes"):
        running.answer(who, "SELECT repeat('x', 2000)", "csv")
