"""
How long CrateDB is waited for: never forever, unless a statement may take hours and its host is alive.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention import Retention
from cratedb_retention.engine.cratedb import connection as waiting
from cratedb_retention.engine.cratedb.archive import OF_RUN
from cratedb_retention.errors import ConnectionLost, NoAnswer
from support.databases import MONTH, TIME, CrateDatabase
from support.proxy import Fate, proxy_to


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose host swallows what is sent: it answers no connection, and refuses none."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            with suppress(BlockingIOError):
                other.connect(server.getsockname())
        time.sleep(0.1)
        yield server.getsockname()[1]


def test_nobody_answers(full_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that swallows packets is given up, in one line."""
    monkeypatch.setattr(waiting, "CONNECT_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(ConnectionLost) as caught:
        Retention(f"crate://127.0.0.1:{full_port}/")
    assert time.monotonic() - started < 20
    assert f"database crate://127.0.0.1:{full_port}/: no answer (Connection to 127.0.0.1 timed out). " in str(
        caught.value
    )
    assert len(str(caught.value).splitlines()) == 1


def pools(connection: sa.Connection) -> list[Any]:
    """The driver's pools of sockets."""
    driver: Any = connection.connection.driver_connection
    return [server.pool for server in driver.client.server_pool.values()]


def test_settings_arrive(crate: CrateDatabase) -> None:
    """The driver connects with our timeout and with keepalive; what may take hours has no timeout, the rest one."""
    database = crate.tool.engine.database
    for opened, seconds in ((database.brief(), waiting.BRIEF_SECONDS), (database, None), (database.brief(), 90)):

        def look(connection: sa.Connection, seconds: float | None = seconds) -> None:
            connection.execute(sa.select(sa.literal(1)))
            (pool,) = pools(connection)
            assert (pool.timeout.connect_timeout, pool.timeout.read_timeout) == (waiting.CONNECT_SECONDS, seconds)
            options = pool.conn_kw["socket_options"]
            assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options
            for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
                assert (socket.IPPROTO_TCP, getattr(socket, name), value) in options

        opened.transact(look)


def test_address_wins(crate: CrateDatabase) -> None:
    """Who names a timeout in the address gets it, for each statement."""
    with Retention(f"{crate.uri}?timeout=30") as retention:

        def look(connection: sa.Connection) -> None:
            connection.execute(sa.select(sa.literal(1)))
            (pool,) = pools(connection)
            assert (pool.timeout.connect_timeout, pool.timeout.read_timeout) == (30, 30)

        retention.engine.database.transact(look)
        retention.engine.database.brief().transact(look)


def test_small_and_long_statements(crate: CrateDatabase) -> None:
    """The toolkit's tables and the catalog are asked with a timeout; what touches data has as long as it takes."""
    limited: dict[str, bool] = {}

    def note(connection: sa.Connection, cursor: Any, statement: str, *rest: Any) -> None:
        limited[statement] = pools(connection)[0].timeout.read_timeout is not None

    crate.create("months", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.create("rows", {"ts": TIME, "n": "TEXT"})
    for name in ("months", "rows"):
        crate.fill(name, ["2024-04-10"])
    crate.policy("snapshot", "months", "30d")
    crate.policy("delete", "rows", "30d")
    sa.event.listen(crate.tool.engine.database.engine, "before_cursor_execute", note)
    assert crate.run().done == 5
    data, copy = {f'"{crate.schema}".', "SNAPSHOT", "snapshots"}, OF_RUN
    brief = {"ALTER TABLE"}
    for statement, is_limited in limited.items():
        of_data = any(word in statement for word in data) and crate.own_schema not in statement
        touches = (of_data or copy in statement) and not any(word in statement for word in brief)
        assert is_limited is not touches, statement


def test_unanswered(crate: CrateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small statement that CrateDB leaves unanswered is given up; a run tries it once more, and not six times."""
    monkeypatch.setattr(waiting, "BRIEF_SECONDS", 0.3)
    crate.tool.setup()
    crate.create("months", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    crate.fill("months", ["2024-04-10"])
    crate.policy("delete", "months", "30d")
    asked: list[str] = []

    def leave_unanswered(body: str) -> Fate:
        if "jobs_log" in body:
            asked.append(body)
            time.sleep(1)
        return Fate.PASS

    with proxy_to(crate.uri) as proxy, Retention(proxy.uri, crate.own_schema, clock=crate.time.clock) as retention:
        prepared = retention.prepare()
        proxy.decide = leave_unanswered
        with pytest.raises(NoAnswer, match="no answer \\(Read timed out\\)"):
            retention.run(prepared)
        assert len(asked) == 2
    assert crate.left("months") == ["2024-04-10"]
