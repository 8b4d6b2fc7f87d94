"""The setting `service.lease` counts for every run: by schedule, by HTTP and on pages, and on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.service.http.app import HttpServer
from cratedb_retention.service.schedule import make_service
from cratedb_retention.service.settings import Settings
from support.command import Command
from support.databases import TIME, Database


@pytest.fixture
def lengths(duck: Database) -> Iterator[set[float]]:
    """How many seconds the leases last under which rows are deleted from the table ``t``."""
    found: set[float] = set()

    def listen(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "DELETE FROM" in statement and duck.schema in statement:
            query = f"SELECT epoch(expires_at - taken_at) FROM {duck.q('lease', duck.own_schema)}"
            found.update(row[0] for row in duck.rows(query))

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", listen)


def test_by_http(duck: Database, lengths: set[float]) -> None:
    """A run that was asked for by HTTP, which is also how pages begin one."""
    duck.create("t", {"ts": TIME, "n": "TEXT"})
    duck.fill("t", ["2024-01-05"])
    duck.policy("delete", "t", "30d")
    settings = Settings.model_validate({"service": {"lease": 7}, "http": {"listen": "127.0.0.1:0", "tokens": "off"}})
    service = make_service(duck.tool, settings, {})
    server = service._beside[0]
    assert isinstance(server, HttpServer)
    with TestClient(server._server.config.app, base_url="http://127.0.0.1") as client:  # type: ignore[arg-type]
        assert client.post("/api/v1/runs", json={}).status_code == 202
        server._ended[0].wait()
    assert duck.left("t") == []
    assert lengths == {7}


@pytest.mark.parametrize("seconds", [4.9, 86_401])
def test_one_limit_for_all(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too short or too long is refused as a setting, as an option, and by the library."""
    command = Command("duckdb:///nowhere.duckdb")
    for name in ("run", "serve"):
        assert "5<=x<=86400" in command.refused(2, name, f"--lease={seconds}")
    with pytest.raises(InvalidInput, match="Choose from 5 to 86400 seconds"):
        RunOptions(lease=seconds)
    assert [RunOptions(lease=limit).lease for limit in (5, 86_400)] == [5, 86_400]
    monkeypatch.setattr(Command, "environment", {"CRATEDB_RETENTION_SERVICE_LEASE": str(seconds)})
    assert "service.lease: must be " in command.refused(2, "config")


@pytest.mark.parametrize("due", [[], ["--due"]])
def test_on_the_command_line(
    duck: Database, lengths: set[float], monkeypatch: pytest.MonkeyPatch, due: list[str]
) -> None:
    """`run` takes it from the environment, or a file; an option says it for one run."""
    duck.create("t", {"ts": TIME, "n": "TEXT"})
    duck.fill("t", ["2024-01-05"])
    command = Command(duck.uri)
    command.ok("create", "--strategy=delete", f"--table-schema={duck.schema}", "--table-name=t",
               "--retention-period=30d", "--schedule=* * * * *")  # fmt: skip
    duck.sql(f"UPDATE {duck.q('retention_policy', duck.own_schema)} SET scheduled_at = NULL, changed_at = NULL")
    monkeypatch.setattr(Command, "environment", {**command.environment, "CRATEDB_RETENTION_SERVICE_LEASE": "7"})
    command.ok("run", *due)
    assert duck.left("t") == []
    assert lengths == {7}
    duck.fill("t", ["2024-01-05"])
    duck.sql(f"DELETE FROM {duck.q('lease', duck.own_schema)}")
    lengths.clear()
    command.ok("run", *due, "--lease=9")
    assert duck.left("t") == []
    assert lengths == {9}
