"""`serve` with the HTTP API: a real server, its scheduler, and a graceful end."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cratedb_retention.api import Retention
from cratedb_retention.clock import system_clock
from cratedb_retention.errors import InvalidInput, NotFound, RetentionError
from cratedb_retention.model.access import Role
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.service import schedule
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import HttpServer
from cratedb_retention.service.notifications import Notifications
from cratedb_retention.service.schedule import Service, make_service
from cratedb_retention.service.settings import ServiceSettings, Settings
from support.command import Command, argv
from support.databases import MONTH, TIME, Database


def get(port: int, path: str, token: str | None = None) -> tuple[int, bytes]:
    """Ask a server on this machine."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_what_does_not_start_is_no_service(caplog: pytest.LogCaptureFixture) -> None:
    """An application that fails at its start keeps the service from starting, and its port is free again."""

    async def refuse() -> None:
        raise OSError("no room for it")

    @asynccontextmanager
    async def failing(app: FastAPI) -> AsyncIterator[None]:
        await refuse()
        yield

    server = HttpServer(FastAPI(lifespan=failing), "127.0.0.1", 0)
    with pytest.raises(RetentionError, match=r"http: the application did not start\. See the log"):
        server.start()
    assert "no room for it" in caplog.text
    server.stop()


def test_http_beside_the_scheduler(duck: Database) -> None:
    """A service with an address answers there, asks for tokens if it shall, and listens no more once it is stopped."""
    duck.create("t", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    _, token = duck.tool.create_token("x", Role.VIEWER)
    settings = Settings.model_validate({"http": {"listen": "127.0.0.1:0", "tokens": "on"}})
    duck.time.moment = system_clock().now()  # Else the scheduler would make up for the ticks of years.
    service = make_service(duck.tool, settings, {})
    service.start()
    try:
        server = service._beside[0]
        assert isinstance(server, HttpServer)
        port = server.port
        seconds = sorted(job.trigger.interval.total_seconds() for job in service._clockwork.get_jobs())
        assert seconds == [10, 6 * 3600]
        assert get(port, "/ready") == (200, b'{"status":"ready"}')
        assert get(port, "/api/v1/tags")[0] == 401
        assert get(port, "/api/v1/tags", token) == (200, b"[]")
        assert b"cratedb_retention_policies 0.0" in get(port, "/metrics", token)[1]
        taken = make_service(duck.tool, Settings.model_validate({"http": {"listen": f"127.0.0.1:{port}"}}), {})
        with pytest.raises(InvalidInput, match="Address already in use"):
            taken.start()
        taken.stop()
    finally:
        assert service.stop()
    with pytest.raises(urllib.error.URLError):
        get(port, "/health")


def test_settings_reach_the_service(duck: Database) -> None:
    """What is set for the scheduler and the HTTP API is what these go by."""
    http = {
        "listen": "127.0.0.1:0",
        "max_body": 2048,
        "rate": 3,
        "burst": 4,
        "metrics": False,
        "hosts": ["example.org"],
    }
    own = {"interval": 1, "lease": 20, "workers": 5, "patience": 2}
    notify = {"webhook": "http://localhost/", "interval": 7, "blocked_longer_than": "2d"}
    service = make_service(duck.tool, Settings.model_validate({"service": own, "http": http, "notify": notify}), {})
    assert service.settings == ServiceSettings(interval=1, lease=20, workers=5, patience=2)
    assert (service.scheduler._workers, service.scheduler._options.lease) == (5, 20)
    server, notifications = service._beside
    assert isinstance(server, HttpServer)
    assert isinstance(notifications, Notifications)
    assert (notifications._interval, notifications._longest) == (7, parse_duration("2d"))
    app = server._server.config.app
    assert isinstance(app, FastAPI)
    context: Context = app.state.context
    assert (context.limits.max_body, context.limits.rate, context.limits.burst) == (2048, 3, 4)
    assert context.hosts == frozenset({"example.org"})
    assert server._ended == (context.runs, context.operations)
    assert not server._server.config.proxy_headers  # Anybody could name another address.
    assert TestClient(app, base_url="http://example.org").get("/metrics").status_code == 404
    server.stop()
    for jobs in server._ended:
        with pytest.raises(RuntimeError, match="after shutdown"):
            jobs._pool.submit(str)


def test_what_begins_first_ends_last(duck: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP API and notifications begin before the scheduler, and end after the runs; without tables none begins."""
    happened: list[str] = []
    duck.time.moment = system_clock().now()  # Else the scheduler would make up for the ticks of years.
    notifications = Notifications(duck.tool, [], None)
    for name in ("start", "stop"):
        monkeypatch.setattr(notifications, name, partial(happened.append, name))
    service = Service(duck.tool, ServiceSettings(patience=7, interval=3), notifications)
    monkeypatch.setattr(service.scheduler, "tick", lambda: False)

    def stop(patience: float) -> bool:
        happened.append(f"wait {patience:g}")
        return True

    monkeypatch.setattr(service.scheduler, "stop", stop)
    service.start()
    assert min(job.trigger.interval for job in service._clockwork.get_jobs()) == dt.timedelta(seconds=3)
    assert service.stop()
    assert happened == ["start", "wait 7", "stop"]
    with Retention(duck.uri, "nothing", clock=duck.time.clock) as empty, pytest.raises(NotFound, match="setup"):
        Service(empty, ServiceSettings(), notifications).start()
    assert happened == ["start", "wait 7", "stop"]


class Stopped:
    """A service that gets signals as soon as it starts, and whose runs end in time, or not."""

    def __init__(self, signals: int, in_time: bool) -> None:
        self._signals, self._in_time = signals, in_time

    def start(self) -> None:
        for _ in range(self._signals):
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> bool:
        return self._in_time


@pytest.fixture
def handlers() -> Iterator[None]:
    """What signals do is the same afterwards: `serve` handles them in its own way."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_how_serve_ends(duckdb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 if all runs ended in time, else 1; a second signal ends the process at once, with 1."""
    Retention(duckdb_uri, create=True).close()
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    for signals, in_time in ((1, True), (2, True), (1, False)):
        service = Stopped(signals, in_time)
        monkeypatch.setattr(schedule, "make_service", lambda *_, found=service, **__: found)
        outcome = Command(duckdb_uri)("serve", "--patience=7")
        assert (outcome.code, "did not end within 7 seconds" in outcome.err) == (int(not in_time), not in_time)
        assert codes == [1] * (signals - 1)
        codes.clear()


@pytest.mark.usefixtures("handlers")
def test_what_serve_is_told(duckdb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options and settings reach the service, and its pages; it logs what it does unless a level is set."""
    Retention(duckdb_uri, create=True).close()
    made: list[tuple[Settings, object]] = []
    own = logging.getLogger("cratedb_retention")
    monkeypatch.setattr(own, "level", logging.NOTSET)

    def make(retention: Retention, settings: Settings, mount: object) -> Stopped:
        made.append((settings, mount))
        return Stopped(1, True)

    monkeypatch.setattr(schedule, "make_service", make)
    command, listen = Command(duckdb_uri), "--listen=127.0.0.1:0"
    monkeypatch.setenv("CRATEDB_RETENTION_LOG_LEVEL", "error")
    command.ok("serve")
    assert own.level == logging.NOTSET
    monkeypatch.delenv("CRATEDB_RETENTION_LOG_LEVEL")
    monkeypatch.setenv("CRATEDB_RETENTION_NOTIFY_TIMEOUT", "3")
    command.ok("serve", "--interval=4", "--lease=20", "--workers=3", "--patience=7", listen, "--tokens=on")
    assert own.level == logging.INFO
    settings, mount = made[-1]
    assert settings.service == ServiceSettings(interval=4, lease=20, workers=3, patience=7)
    assert (settings.http.listen, settings.http.tokens, settings.notify.timeout) == ("127.0.0.1:0", "on", 3)
    assert mount is not None
    for pages in ("off", "auto"):
        monkeypatch.setenv("CRATEDB_RETENTION_HTTP_PAGES", pages)
        command.ok("serve", listen)
        assert made[-1][1] is None
        monkeypatch.setitem(sys.modules, "cratedb_retention.ui.frame", None)  # As without the extra.
    monkeypatch.setenv("CRATEDB_RETENTION_HTTP_PAGES", "on")
    assert "the pages are not installed" in command.refused(2, "serve", listen)


def test_serve_in_a_process(duckdb_uri: str, tmp_path: Path) -> None:
    """The command listens where the file says, logs JSON without secrets, and ends by SIGTERM with 0."""
    with Retention(duckdb_uri, create=True) as retention:
        retention.setup()
        _, token = retention.create_token("x", Role.ADMIN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = tmp_path / "c.toml"
    file.write_text(
        f'[database]\nuri = "{duckdb_uri}"\n[http]\nlisten = "127.0.0.1:{port}"\ntokens = "on"\n'
        '[log]\nformat = "json"\nlevel = "info"\n'
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CRATEDB")}
    command = argv("--config", str(file), "serve")
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if str(port) in lines[-1]["message"]:
                break
        assert get(port, "/api/v1/tags", token) == (200, b"[]")
        assert get(port, f"/api/v1/policies/{token}")[0] == 401
        assert b"Access token" in get(port, "/")[1]
        assert get(port, "/ui/nowhere")[1] == get(port, "/ui/login?to=/ui/nowhere")[1]
        process.send_signal(signal.SIGTERM)
        lines += [json.loads(line) for line in process.stderr]
        assert process.wait(30) == 0
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any(line["message"] == "stopping" for line in lines)
    assert token not in str(lines)
