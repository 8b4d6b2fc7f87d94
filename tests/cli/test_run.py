"""``run``, ``status`` and ``jobs``: what is done, what went wrong, and how a script and a person learn of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cratedb_retention import Retention
from cratedb_retention.errors import ConnectionLost
from cratedb_retention.execution.runs.events import summary
from cratedb_retention.model.runs import Report
from support.command import Command

CUTOFF = "--cutoff-day=2024-07-01"
DELETE = ("create", "--strategy=delete", "--retention-period=60d")


def test_a_policy_without_its_table(command: Command) -> None:
    """A missing table fails the run and the check, not the plan; each says so, and other tables are done."""
    command.ok(*DELETE, "--table-name=missing", "--id=lost")
    command.ok(*DELETE, "--table-name=metrics", "--id=good")
    reason = "no such table; create it, or correct or disable the policy"
    assert reason in command.ok("plan", CUTOFF)
    checked = command("check")
    assert (checked.code, checked.err) == (3, "")
    assert f"main.missing   lost       {reason}" in checked.out
    ran = command("run", CUTOFF)
    assert f"needs attention: main.missing: {reason}\n" in ran.out
    assert "done: main.metrics: drop 4 partitions" in ran.out
    assert ran.code == 1
    assert ran.err.startswith("Error: run ")
    assert "1 needs attention. `cratedb-retention jobs --run=" in ran.err
    assert command("run", CUTOFF, "--format=json").code == 1


def test_a_lost_connection_costs_no_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that can't be made at first is made again after a pause."""
    prepare, failures = Retention.prepare, [ConnectionLost("database", "no answer")]

    def fail_once(*args: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return prepare(*args, **more)

    monkeypatch.setattr(Retention, "prepare", fail_once)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert command.ok("run", CUTOFF).endswith("0 steps done\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--table-name=metrics", "--partition-column=nope"], "partition_column: the table has no column 'nope'"),
        (["--table-name=metrics", "--time-column=nope"], "time_column: the table has no column 'nope'"),
        (["--table-name=metrics", "--time-column=value"], "time_column: value is DOUBLE, not a timestamp"),
        (["--table-name=metrics", "--where=nope=1"], "where: the table has no column 'nope'"),
        (["--table-name=metrics", "--where=value=x"], "where: value is DOUBLE, but 'x' is not a number"),
        (["--table-name=plain"], "the table has no timestamp column, so the age of its rows is unknown"),
        (["--table-name=metrics", "--table-schema=nope"], "no such table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.some(4)
def test_policies_that_do_not_fit_their_table(command: Command, options: list[str], reason: str) -> None:
    """What can't be done is a finding of the check and a problem of the run, and no row is touched."""
    command.ok(*DELETE, "--id=p", *options)
    checked = command("check", "--format=json")
    assert checked.code == 3
    assert reason in checked.out
    ran = command("run", CUTOFF)
    assert ran.code == 1
    assert reason in ran.out
    (line,) = command.data("status")["policies"]
    assert line["state"] == "needs-attention"
    assert reason in line["blocked"][0]


def test_contradictions_are_found(command: Command) -> None:
    """A check names both parties of a contradiction; with a selection only what it is about."""
    command.ok(*DELETE, "--table-name=metrics", "--id=early")
    command.ok(
        "create", "--strategy=snapshot", "--table-name=metrics", "--retention-period=90d", "--id=late",
        "--target-repository-name=archive", "--tags=late",
    )  # fmt: skip
    checked = command("check")
    assert checked.code == 3
    assert "delete after 60d (early) would delete the data before snapshot after 90d (late) archives it" in checked.out
    assert command.ok("check", "--tags=late") == "1 policy checked, no findings\n"


def test_limits_stop_a_run(command: Command) -> None:
    """A run that would go beyond what its policy expects holds instead, says so, and fails."""
    command.ok(*DELETE, "--table-name=metrics", "--expected-max=partitions=3")
    ran = command("run", CUTOFF)
    assert ran.code == 1
    assert "needs attention: main.metrics: 4 partitions: " in ran.out
    ended, blocked = command.data("jobs", "--outcome=needs-attention")
    assert (ended["event"], blocked["event"], blocked["partitions"]) == ("run-finished", "blocked", 4)


def test_a_repository_that_can_not_be_written(command: Command, tmp_path: Path) -> None:
    """A step that fails is a line, an exit code and a row of the journal; nothing is dropped."""
    (tmp_path / "file").write_text("in the way")
    command.ok(
        "create", "--strategy=snapshot", "--table-name=metrics", "--retention-period=100d",
        "--target-repository-name=file",
    )  # fmt: skip
    ran = command("run", CUTOFF)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.out + ran.err
    (line,) = command.data("status")["policies"]
    assert line["rows"] == 180
    failed = next(row for row in command.data("jobs", "--outcome=failed") if row["event"] == "step-finished")
    shown = command.ok("jobs", "--outcome=failed")
    assert all(failed[text][:20] in shown for text in ("message", "error"))


def test_a_run_with_nothing_to_do(command: Command) -> None:
    """Nothing due is said, and is no failure; so is a database without policies."""
    assert command.ok("run", CUTOFF) == "Cutoff 2024-07-01: nothing is due\n0 steps done\n"
    command.ok(*DELETE, "--table-name=metrics")
    command.ok("run", CUTOFF)
    out = command.ok("run", CUTOFF)
    assert out == "Cutoff 2024-07-01: nothing is due\n0 steps done\n"


def test_status_of_every_kind(command: Command) -> None:
    """Status tells due, up-to-date and disabled policies apart, what needs attention first, and knows the last run."""
    assert "no run yet" in command.ok("status")
    command.ok(*DELETE, "--table-name=metrics", "--id=due")
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=forever", "--id=kept",
               "--where=tenant=acme")  # fmt: skip
    command.ok(*DELETE, "--table-name=plain", "--id=off", "--disabled")
    command.ok(*DELETE, "--table-name=zzz", "--id=lost")
    command.ok("run", CUTOFF, "--policy=due")
    states = [(line["policy"]["id"], line["state"]) for line in command.data("status")["policies"]]
    assert states == [("lost", "needs-attention"), ("due", "due"), ("kept", "up-to-date"), ("off", "disabled")]
    assert "last run: " in command.ok("status")
    command.ok("hold", "--table-name=plain")  # It is a later entry of the audit log, and no run.
    last = command.data("status")["last_run"]
    assert (last["event"], last["outcome"]) == ("run-finished", "done")


def test_the_audit_log(command: Command) -> None:
    """Changes of policies, runs and steps are there, newest first, and can be chosen; short identifiers are enough."""
    command.ok(*DELETE, "--table-name=metrics", "--id=one")
    command.ok(*DELETE, "--table-name=events", "--id=two")
    command.ok("run", CUTOFF, "--policy=one")
    rows = command.data("jobs")
    assert rows[0]["event"] == "run-finished"
    assert {row["event"] for row in rows if "run_id" not in row} == {"policy-created"}
    run_id = rows[0]["run_id"]
    shown = command.ok("jobs", f"--run={run_id[:8]}")
    assert run_id[:8] in shown
    assert "policy-created" not in shown
    assert all(row["run_id"] == run_id for row in command.data("jobs", f"--run={run_id[:8]}"))
    assert {row["table_name"] for row in command.data("jobs", "--table-name=events")} == {"events"}
    assert {row["policy_id"] for row in command.data("jobs", "--policy=tw")} == {"two"}
    assert len(command.data("jobs", "--limit=2")) == 2
    assert command.data("jobs", "--since=2999-01-01") == []
    assert command.ok("jobs", "--outcome=failed") == "no matching entries in the audit log\n"
    assert len(command.data("jobs", "--since=2024-01-01T00:00:00+02:00")) == len(rows)


def test_rows_are_deleted_to_the_instant(command: Command, path: Path) -> None:
    """A policy with a filter deletes the rows that fit and are old enough, and no other."""
    command.ok(*DELETE, "--table-name=events", "--where=tenant=acme")
    assert "61 rows" in command.ok("run", CUTOFF)
    with duckdb.connect(str(path)) as connection:
        left = connection.execute("SELECT tenant, count(*), min(ts)::DATE::TEXT FROM events GROUP BY 1 ORDER BY 1")
        assert left.fetchall() == [("acme", 29, "2024-05-02"), ("other", 90, "2024-01-02")]


def test_a_run_in_a_line() -> None:
    """The last line counts each action once: what needs attention is not among what is blocked."""
    report = Report(run_id="r", done=3, failed=1, skipped=2, blocked=5, needs_attention=2, partitions=1, rows=1200)
    text = summary(report)
    assert text == "3 steps done on 1 partition and 1,200 rows, 1 failed, 2 skipped, 3 blocked, 2 need attention"
    assert summary(Report(run_id="r")) == "0 steps done"


def test_what_is_accepted(command: Command, path: Path) -> None:
    """What earlier runs do not explain fails a run, until a person accepts it; a schedule accepts nothing."""

    def count() -> int:
        with duckdb.connect(str(path)) as connection:
            return len(connection.execute("SELECT ts FROM events").fetchall())

    command.ok("create", "--strategy=delete", "--retention-period=150d", "--table-name=events", "--id=keep")
    command.ok("run", CUTOFF)
    command.ok("edit-policy", "--id=keep", "--retention-period=5d")
    before = count()
    failed = command("run", CUTOFF)
    assert (failed.code, count(), before > 100) == (1, before, True)
    assert "needs attention: main.events: " in failed.out
    assert "accept it for one run (`cratedb-retention run --accept`)" in failed.out
    assert "DELETE FROM" in command.ok("run", "--accept", "--dry-run", CUTOFF)
    command.ok("run", "--accept", "--policy=keep", CUTOFF)
    assert count() == 3
    assert "--due and --accept" in command("run", "--due", "--accept").err
