"""What no request gets past, and what no answer tells."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from httpx2 import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from cratedb_retention.clock import Clock
from cratedb_retention.errors import (
    AccessDenied,
    ClusterUnhealthy,
    Conflict,
    ConnectionLost,
    DatabaseError,
    DiskFull,
    Forbidden,
    InvalidInput,
    NotFound,
    PartitionChanged,
    RetentionError,
    Unsupported,
)
from cratedb_retention.model.access import Role
from cratedb_retention.model.address import RedactingFormatter, redact
from cratedb_retention.service.http.access import REMEMBERED, Buckets, Context
from cratedb_retention.service.http.app import Gate, make_app
from cratedb_retention.service.http.problems import Failed, handle
from cratedb_retention.service.http.routes import read_if_match
from cratedb_retention.service.settings import HttpSettings
from support.databases import Database

API = "/api/v1"


def client(duck: Database, limits: HttpSettings | None = None, hosts: tuple[str, ...] = ("localhost",)) -> TestClient:
    """The API on this machine alone, without tokens."""
    context = Context(retention=duck.tool, authenticate=False, hosts=frozenset(hosts), limits=limits or HttpSettings())
    return TestClient(make_app(context), base_url="http://localhost:4242", raise_server_exceptions=False)


def test_other_names_and_pages_are_refused(duck: Database) -> None:
    """A name that is not ours (DNS rebinding), or a page from elsewhere that sends something: both are turned away."""
    api = client(duck, hosts=("LocalHost", "::1"))
    assert api.get("/health", headers={"Host": "LOCALHOST"}).status_code == 200
    assert api.get("/health").status_code == 200
    assert api.get("/health", headers={"Host": "[::1]:4242"}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1", "", "[", "localhost@evil.example"):
        assert api.get(f"{API}/tags", headers={"Host": host}).status_code == 403, host
    mine, other = {"Origin": "http://localhost:4242"}, {"Origin": "http://evil.example"}
    assert api.post(f"{API}/holds", json={"table_name": "t"}, headers=mine).status_code == 201
    for headers in (other, {"Origin": "null"}, {"Origin": "http://localhost:1"}):
        assert api.post(f"{API}/runs", json={}, headers=headers).status_code == 403
        assert api.patch(f"{API}/policies/x", json={}, headers={**headers, "If-Match": "*"}).status_code == 403
        for path in ("policies/x", "holds/x", "tokens/x"):
            assert api.delete(f"{API}/{path}", headers={**headers, "If-Match": "*"}).status_code == 403
    read, refused = api.get(f"{API}/tags", headers=other), api.post(f"{API}/runs", json={}, headers=other)
    assert (read.status_code, refused.status_code) == (200, 403)
    for answer in (read, refused):
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (answer.headers["X-Frame-Options"], answer.headers["Referrer-Policy"]) == ("DENY", "no-referrer")


def test_a_form_in_a_page_starts_nothing(duck: Database) -> None:
    """What a page can send without asking, text and forms, is not taken for JSON."""
    api = client(duck)
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert api.post(f"{API}/runs", content="{}", headers={"Content-Type": kind}).status_code in (415, 422)
    assert duck.journal(event="run-started") == []
    misspelt = api.post(f"{API}/holds", json={"tablename": "x"})  # It explains what is missing.
    assert (misspelt.status_code, misspelt.json()["thing"]) == (422, "attribute tablename")


def test_large_bodies_are_refused(duck: Database) -> None:
    """A body has a most, whether its length is declared or not."""
    api = client(duck, HttpSettings(max_body=1024))
    new = {"strategy": "delete", "table_name": "x", "retention_period": "1d", "description": "x" * 1000}
    declared = api.post(f"{API}/policies", json=new)
    chunked = api.post(f"{API}/policies", content=iter([b"x" * 600] * 2), headers={"Content-Type": "application/json"})
    for answer in (declared, chunked):
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    empty = json.dumps({**new, "description": ""})
    largest = empty.replace('""', f'"{"x" * (1024 - len(empty))}"').encode()
    assert len(largest) == 1024
    for content, status in ((largest, 201), (iter([largest]), 409)):  # It is let in, and is there already.
        answer = api.post(f"{API}/policies", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status


def test_a_body_that_does_not_arrive_is_refused(duck: Database) -> None:
    """Who sends the beginning of a request, and then nothing, is not waited for."""
    gate = Gate(make_app(Context(retention=duck.tool)), (), 1000, seconds=0.05)
    assert "did not arrive" in refused(gate, 408, [{"type": "http.request", "body": b"{", "more_body": True}])


def test_a_body_announced_as_too_large_is_not_read(duck: Database) -> None:
    """It is refused for its length alone, before anything of it has arrived."""
    gate = Gate(make_app(Context(retention=duck.tool)), (), 1000, seconds=5)
    assert "larger than 1000 bytes" in refused(gate, 413, [], (b"content-length", b"1001"))


def refused(gate: Gate, status: int, parts: list[Message], *headers: tuple[bytes, bytes]) -> str:
    """The answer to a request of which these parts arrive, and then nothing."""
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            await asyncio.Event().wait()
        return parts.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": f"{API}/policies", "headers": headers}
    with ThreadPoolExecutor(1) as thread:  # A loop of its own, also where pages keep one.
        thread.submit(asyncio.run, asyncio.wait_for(gate(scope, receive, send), 10)).result()
    assert sent[0]["status"] == status
    return str(sent[1]["body"].decode())


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (InvalidInput, 422),
        (Unsupported, 422),
        (NotFound, 404),
        (Conflict, 409),
        (PartitionChanged, 409),
        (Forbidden, 403),
        (ConnectionLost, 503),
        (ClusterUnhealthy, 503),
        (DiskFull, 503),
        (AccessDenied, 503),
        (DatabaseError, 502),
        (RetentionError, 500),
    ],
)
def test_each_error_has_its_status(kind: type[RetentionError], status: int) -> None:
    """502: the database refused; 503: try later, it can't be reached, lacks shards or room."""
    answer = answer_to(kind("table a.b", "is not what it was: crate://u:hunter2@host:4200/"))
    assert (answer.status_code, "Retry-After" in answer.headers) == (status, status == 503)
    assert "hunter2" not in answer.text


def answer_to(error: RetentionError, cause: Exception | None = None) -> Response:
    """The answer of a route that fails."""
    app = FastAPI()
    handle(app)

    @app.get("/")
    def fail() -> None:
        raise error from cause

    return TestClient(app, raise_server_exceptions=False).get("/")


def test_what_a_driver_says_is_not_told() -> None:
    """An error that a driver is the cause of may quote a statement, whatever its kind: only the log has it."""
    answer = answer_to(NotFound("table a.b", "SELECT secret FROM salaries"), SQLAlchemyError("x"))
    assert (answer.status_code, "salaries" in answer.text) == (502, False)


@pytest.mark.parametrize(("if_match", "status"), [('"1"', 412), ("*", 409)])
def test_who_is_faster_than_a_change(if_match: str, status: int) -> None:
    """Another change in the meantime: the version is outdated if one was named, else it is a conflict."""
    version = contextmanager(read_if_match)
    with pytest.raises(RetentionError) as error, version(if_match):
        raise Conflict("policy x", "another user has changed it")
    assert error.value.http_status == status


def test_too_many_requests(duck: Database) -> None:
    """A bucket for each caller: who asks too often has to wait, is told how long, and others don't notice."""
    context = Context(retention=duck.tool, limits=HttpSettings(rate=0.5, burst=3))
    api = TestClient(make_app(context), base_url="http://localhost")
    tokens = [duck.tool.create_token(name, Role.VIEWER)[1] for name in ("a", "b")]
    ask = [{"Authorization": f"Bearer {token}"} for token in tokens]
    assert [api.get(f"{API}/tags", headers=ask[0]).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert api.get(f"{API}/tags", headers=ask[0]).headers["Retry-After"] == "2"
    assert api.get(f"{API}/tags", headers=ask[1]).status_code == 200
    duck.time.set("2024-07-02T00:00:02+00:00")
    assert [api.get(f"{API}/tags", headers=ask[0]).status_code for _ in range(2)] == [200, 429]
    # Who has no token can't try one after the other: not even a valid one tells anything then.
    assert [api.get(f"{API}/tags").status_code for _ in range(4)] == [401, 401, 401, 429]
    assert api.get(f"{API}/tags", headers=ask[1]).status_code == 429


def test_too_many_requests_without_tokens(duck: Database) -> None:
    """Where no tokens are needed, an address has a bucket; a method that a route does not have is named with those."""
    api = client(duck, HttpSettings(rate=0.5, burst=1))
    assert [api.get(f"{API}/tags").status_code for _ in range(2)] == [200, 429]
    other = api.put(f"{API}/tags")
    assert (other.status_code, other.headers["Allow"]) == (405, "GET")


def test_time_to_wait_is_rounded_up(duck: Database) -> None:
    """Who waits as long as they are told is not refused again."""
    buckets = Buckets(duck.tool.clock, rate=0.4, burst=1)
    buckets.take("x")
    with pytest.raises(Failed) as failed:
        buckets.take("x")
    assert failed.value.headers["Retry-After"] == "3"


def test_buckets_are_bounded() -> None:
    """A million callers need no more memory than ten thousand; a clock that is set back gives nothing."""
    now = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]
    buckets = Buckets(Clock(now=lambda: now[0], sleep=lambda seconds: None), rate=1, burst=2)

    def wait(caller: str, taken: int = 1) -> int:
        """In how many seconds a caller may ask."""
        try:
            buckets.take(caller, taken)
        except Failed as failed:
            return int(failed.headers["Retry-After"])
        return 0

    for number in range(REMEMBERED + 500):
        assert wait(str(number)) == 0
    assert len(buckets._buckets) == REMEMBERED
    assert [wait("x") for _ in range(3)] == [0, 0, 1]
    now[0] -= dt.timedelta(days=1)
    assert wait("x") == 1
    now[0] += dt.timedelta(seconds=1)
    assert (wait("x", 0), wait("x"), wait("x")) == (0, 0, 1)
    now[0] += dt.timedelta(hours=1)  # A long pause does not fill it beyond its brim.
    assert [wait("x") for _ in range(3)] == [0, 0, 1]


def test_a_database_that_fails_tells_nothing(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Without its tables the service is alive and not ready; the reason is in the log, and only an admin reads it."""
    api = client(duck)
    assert api.get("/ready").json() == {"status": "ready"}
    context = Context(retention=duck.tool)
    guarded = TestClient(make_app(context), base_url="http://localhost", raise_server_exceptions=False)
    _, text = duck.tool.create_token("v", Role.EDITOR)
    duck.sql(f"DROP TABLE {duck.q('retention_hold', duck.own_schema)}")
    assert (api.get("/health").status_code, api.get("/ready").status_code) == (200, 503)
    answer = guarded.get(f"{API}/holds", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 502
    assert "retention_hold" in api.get(f"{API}/holds").text  # Without tokens, on this machine, everybody is an admin.
    for told in (answer.text, api.get("/ready").text):
        assert "retention_hold" not in told
        assert "Traceback" not in told
    assert "retention_hold" in caplog.text


def test_mistakes_are_told_to_the_log_only(duck: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in the program is a problem without details; the log has them."""

    def metrics() -> bytes:
        raise ZeroDivisionError("crate://u:hunter2@host:4200/")

    app = make_app(Context(retention=duck.tool, authenticate=False, metrics=metrics))
    answer = TestClient(app, base_url="http://localhost", raise_server_exceptions=False).get("/metrics")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert "ZeroDivision" not in answer.text
    assert "hunter2" not in answer.text
    assert "ZeroDivision" in caplog.text
    assert "hunter2" not in RedactingFormatter().format(caplog.records[-1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at crate://u:hunter2@h:4200/ it", "at crate://u:REDACTED@h:4200/ it"),
        (f"Bearer crt_{'0' * 16}_{'a' * 43}", f"Bearer crt_{'0' * 16}_REDACTED"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer REDACTED"),
        ("authorization: bearer hunter2", "authorization: bearer REDACTED"),
        ("GET /x?a=1&jwt_token=hunter2&b=2", "GET /x?a=1&jwt_token=REDACTED&b=2"),
        (f"GET /x?token=crt_{'0' * 16}_{'-' * 43}", "GET /x?token=REDACTED"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_redacting(text: str, shown: str) -> None:
    """Passwords in addresses and access tokens are taken out, whatever they stand in."""
    assert redact(text) == shown
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s", (text,), None)
    assert RedactingFormatter().format(record).endswith(f"INFO x: {shown}")
    record.created, error = 0.0, ValueError(text)
    record.exc_info = (ValueError, error, None)
    line = json.loads(RedactingFormatter(as_json=True).format(record))
    assert (line["message"], line["traceback"]) == (shown, f"ValueError: {shown}")
    assert (line["time"], line["level"]) == ("1970-01-01T00:00:00.000+00:00", "info")
