"""``run --due``, ``serve``, ``cancel``, and what ``status`` and ``jobs`` show of them."""

from __future__ import annotations

import datetime as dt
import os
import pty
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from cratedb_retention import Retention
from cratedb_retention.clock import Actor, Clock
from cratedb_retention.model.runs import RunState
from support.command import Command, argv

THEN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
WAIT = 60


@pytest.fixture
def due(command: Command) -> Command:
    """A database with two policies whose slots are due since years."""
    with Retention(
        command.uri or "", clock=Clock(now=lambda: THEN, sleep=lambda seconds: None, shared=True)
    ) as retention:
        for table, tags in (("metrics", ["acme"]), ("events", ["other"])):
            retention.create_policy(
                id=table,
                strategy="delete",
                table_name=table,
                retention_period="1d",
                schedule="@daily",
                tags=tags,
                time_column="ts",
            )
    return command


def rows(path: Path, table: str) -> int:
    """How many rows a table has."""
    with duckdb.connect(str(path)) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0


def test_what_is_due_once(due: Command, path: Path) -> None:
    """``run --due`` does what the schedules say, of the policies that are chosen, once."""
    assert due.ok("run", "--due", "--strategy=snapshot") == "nothing is due\n"
    dry = due.ok("run", "--due", "--dry-run", "--tags=acme")
    assert ('"where"' in dry, "metrics" in dry, "events" in dry) == (False, True, False)
    assert "Nothing is due." in due.ok("run", "--due", "--dry-run", "--strategy=snapshot")
    assert rows(path, "metrics") == 180
    assert "events" not in due.ok("run", "--due", "--tags=acme")
    assert (rows(path, "metrics"), rows(path, "events")) == (0, 180)
    report = due.data("run", "--due")
    assert (report["ok"], report["done"], rows(path, "events")) == (True, 1, 0)
    assert due.ok("run", "--due") == "nothing is due\n"
    assert due.data("run", "--due") is None
    assert "schedules refer to the present" in due.refused(2, "run", "--due", "--cutoff-day=2024-01-01")


def test_what_jobs_shows_of_it(due: Command) -> None:
    """The audit log has each slot, and can be filtered by tag, event, outcome and time."""
    due.ok("run", "--due")
    (slot,) = due.data("jobs", "--tags=acme", "--event=slot-finished")
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = (slot["policy_id"], slot["table_name"], slot["outcome"], slot["slot"], slot["message"])
    assert found == ("metrics", "metrics", "done", today.isoformat(), f"slot {today:%Y-%m-%d}")
    assert "tags nobody: no entries in the audit log" in due.refused(1, "jobs", "--tags=nobody")
    assert due.data("jobs", "--event=slot-finished", "--until=-1h") == []
    assert len(due.data("jobs", "--event=slot-finished", "--since=-1h", "--outcome=done", "--policy=metrics")) == 1
    assert {row["event"] for row in due.data("jobs", "--until=2024-02-01")} == {"policy-created"}


@pytest.fixture
def running(command: Command) -> RunState:
    """A run that goes on, as another process left it in the database."""
    now = dt.datetime.now(dt.UTC)
    job = RunState(
        run_id="1c0ffee5-0000-4000-8000-000000000000",
        started_at=now - dt.timedelta(minutes=1),
        heartbeat_at=now,
        actor="bot",
        host="elsewhere",
        step=2,
        steps=4,
        table_name="main.metrics",
        doing="delete rows",
        done=50,
        total=200,
        unit="row",
        rows_done=10,
        rows=210,
        expected_end=now + dt.timedelta(minutes=3),
    )
    with Retention(command.uri or "", actor=Actor("bot", "elsewhere")) as retention:
        retention.store.jobs.begin(job)
    return job


def test_status_and_cancel(command: Command, running: RunState) -> None:
    """Runs that go on are listed, and can be cancelled by the beginning of their identifier, once."""
    out = command.ok("status")
    for text in ("1c0ffee5", "bot@elsewhere", "2 of 4", "main.metrics: delete rows", "50 of 200 rows", "10 of 210"):
        assert text in out
    assert command.ok("cancel", "1c0ffee5") == "run 1c0ffee5 of bot@elsewhere ends before its next step\n"
    command.ok("cancel", "1c0ffee5")
    assert len(command.data("jobs", "--event=cancel-requested")) == 1
    assert "cancelled by " in command.ok("status")
    (job,) = command.data("status")["running"]
    assert (job["run_id"], job["silent"], job["cancel_by"].partition("@")[1]) == (running.run_id, False, "@")
    assert "run 2: is not running" in command.refused(1, "cancel", "2")


def test_status_shows_who_is_silent(command: Command, running: RunState) -> None:
    """A run of which nothing was heard for minutes is shown as that, cancelled or not."""
    with Retention(command.uri or "") as retention:
        dead = running.heartbeat_at - dt.timedelta(minutes=5)
        retention.store.jobs.update(RunState(**{**vars(running), "heartbeat_at": dead}))
    assert "silent since" in command.ok("status")
    command.ok("cancel", "1c0ffee5")
    assert "silent since" in command.ok("status")
    assert command.data("status")["running"][0]["silent"] is True


def test_watching(command: Command, running: RunState) -> None:
    """``status --watch`` shows runs on a terminal until Ctrl-C."""
    master, slave = pty.openpty()
    environment = {**command.environment, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        argv("status", "--watch"), env=environment, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown = b""
        while b"1c0ffee5" not in shown:
            shown += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 1
        os.close(master)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve(due: Command, path: Path, number: signal.Signals) -> None:
    """``serve`` runs what is due, says so in its log, and ends in order when it is told to."""
    with subprocess.Popen(
        argv("serve", "--interval=0.2"), env=due.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines: list[str] = []
        with ExitStack() as stack:
            stack.callback(process.kill)
            while "2 steps done" not in (line := process.stderr.readline()):
                assert line, lines
                lines.append(line)
            stack.pop_all()
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(WAIT) == 0, rest
    assert "stopping" in rest
    assert (rows(path, "metrics"), rows(path, "events")) == (0, 0)
    assert due.ok("run", "--due") == "nothing is due\n"
