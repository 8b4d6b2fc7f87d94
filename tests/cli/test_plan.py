"""``plan`` and ``run --dry-run``: what is shown is what is done, and nothing is changed."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from cratedb_retention.cli import runs
from cratedb_retention.model.words import plural
from support.command import Command, Contents, FilledBy
from support.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
CUTOFF = "--cutoff-day=2024-07-01"


def fill(command: Command) -> None:
    """Policies of all kinds: due, blocked, up to date, one that needs attention, and one that is disabled."""
    for identifier, table, *more in (
        ("archive-metrics", "metrics", "--strategy=snapshot", "--retention-period=100d",
         "--target-repository-name=archive", "--tags=metrics"),
        ("delete-acme", "events", "--strategy=delete", "--retention-period=60d", "--where=tenant=acme"),
        ("delete-old", "events", "--strategy=delete", "--retention-period=1y", "--tags=metrics"),
        ("early", "metrics", "--strategy=delete", "--retention-period=60d"),
        ("nowhere", "missing", "--strategy=delete", "--retention-period=1d"),
        ("switched-off", "plain", "--strategy=delete", "--retention-period=1d", "--disabled"),
    ):  # fmt: skip
        command.ok("create", f"--id={identifier}", f"--table-name={table}", *more)


@pytest.fixture
def planned(filled_by: FilledBy) -> Command:
    """The command on a database with these policies."""
    return filled_by(fill)


def test_the_plan_at_120_columns(planned: Command, tmp_path: Path) -> None:
    """The plan as it stands on a terminal: due, problems, and what stays, each with its reason."""
    out = planned.terminal(120, "plan", CUTOFF).replace(str(tmp_path), "")
    check_golden(GOLDEN / "plan-120.txt", "\n".join(line.rstrip() for line in out.splitlines()) + "\n")


def test_the_dry_run_at_120_columns(planned: Command, tmp_path: Path) -> None:
    """A dry run is the plan with its statements."""
    out = planned.terminal(120, "run", "--dry-run", CUTOFF).replace(str(tmp_path), "")
    text = "\n".join(line.rstrip() for line in out.splitlines()) + "\n"
    check_golden(GOLDEN / "dry-run-120.txt", _without_tokens(text))


def _without_tokens(text: str) -> str:
    """The end of a snapshot's name is made from the rows' change token, which another DuckDB may reckon differently."""
    return re.sub(r"(main-metrics-[0-9-]{10})-[0-9a-f]{12}", r"\1-TOKEN", text)


@pytest.mark.parametrize(
    "args", [["plan"], ["plan", "--sql"], ["run", "--dry-run"], ["status"], ["check"]], ids=" ".join
)
def test_looking_changes_nothing(planned: Command, contents: Contents, args: list[str]) -> None:
    """Plan, dry run, status and check leave every table as it was, the audit log too."""
    before = contents()
    planned(*args)
    planned(*args, "--format=json")
    assert contents() == before


def test_a_dry_run_is_the_plan(planned: Command) -> None:
    """``run --dry-run`` and ``plan --sql`` are the same, in every format."""
    for form in ("table", "json", "yaml"):
        assert planned.ok("run", "--dry-run", CUTOFF, f"--format={form}") == planned.ok(
            "plan", "--sql", CUTOFF, f"--format={form}"
        )


def test_the_run_does_what_the_plan_says(planned: Command) -> None:
    """The journal of a run has the operations of the plan, in its order and number."""
    plan = planned.data("plan", CUTOFF)
    expected = [step["operation"] for task in plan["tasks"] for step in task["steps"]]
    assert not any("sql" in step for task in plan["tasks"] for step in task["steps"])
    assert planned("run", CUTOFF).code == 1  # since there are problems
    finished = [row for row in planned.data("jobs") if row["event"] == "step-finished"]
    assert [row["operation"] for row in reversed(finished)] == expected


@pytest.mark.parametrize(
    ("args", "policies"),
    [
        (["--strategy=SNAPSHOT"], {"archive-metrics"}),
        (["--strategy=delete", "--tags=metrics"], {"delete-old"}),
        (["--policy=delete-acme"], {"delete-acme"}),
        (["--tags=metrics"], {"archive-metrics", "delete-old"}),
    ],
    ids=lambda value: str(value if isinstance(value, list) else sorted(value)),
)
def test_choosing_policies(planned: Command, args: list[str], policies: set[str]) -> None:
    """Strategy, tags and identifier narrow a plan, and a run, to the policies that fit."""
    plan = planned.data("plan", CUTOFF, *args)
    assert {part["policy_id"] for kind in ("tasks", "blocked", "up_to_date") for part in plan[kind]} <= policies
    assert planned("run", CUTOFF, *args).code == 0
    changed = {row.get("policy_id") for row in planned.data("jobs") if row["event"].startswith("step-")}
    assert changed <= policies


@pytest.mark.parametrize(
    ("cutoff", "due"),
    [
        ("--cutoff-day=2024-05-10", 0),
        ("--cutoff-day=2024-05-11", 1),
        ("--cutoff=2024-05-10T23:59:59.999Z", 0),
        ("--cutoff=2024-05-11", 1),
        ("--cutoff=2024-05-11T00:00:00", 1),
        ("--cutoff=2024-05-11T02:00:00+02:00", 1),
        ("--cutoff=2024-05-11T00:00:00+02:00", 0),
    ],
)
def test_the_cutoff_is_an_instant(planned: Command, cutoff: str, due: int) -> None:
    """January, which ends with it, is due 100 days later to the instant; without an offset, UTC is meant."""
    assert len(planned.data("plan", "--policy=archive-metrics", cutoff)["tasks"]) == due


def test_a_cutoff_in_the_future_can_be_allowed(planned: Command) -> None:
    """What would expire later can be looked at when it is asked for in so many words."""
    args = ("plan", "--policy=archive-metrics", "--cutoff-day=2999-01-01")
    planned.refused(2, *args)
    assert len(planned.data(*args, "--allow-future-cutoff")["tasks"]) == 6


def test_alike_tasks_are_one_line(planned: Command) -> None:
    """Partitions that are archived one by one are one line with their sums, unless details are asked for."""
    args = ("plan", "--policy=archive-metrics", "--cutoff-day=2999-01-01", "--allow-future-cutoff")
    short, full = (" ".join(planned.terminal(200, *args, *more).split()) for more in ((), ("--details",)))
    assert "archive 6 partitions, month=2024-01-01 to month=2024-06-01" in short
    assert ("180" in short, short.count("verify, drop"), full.count("verify, drop")) == (True, 1, 6)
    assert "6 tasks in total; `cratedb-retention plan --details` shows each" in short
    assert len(planned.data(*args)["tasks"]) == 6
    assert planned.data(*args) == planned.data(*args, "--details")


def test_a_hold_on_what_is_not_due(planned: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A legal hold is in the plan of its table also where nothing that it covers is due."""
    planned.ok("hold", "--table-name=metrics", "--from=2024-06-01", "--reason=case 4711")
    [hold] = planned.data("list-holds")
    args = ("plan", "--policy=archive-metrics", "--cutoff-day=2024-01-15")
    assert planned.data(*args)["legal_holds"] == [hold]
    out = planned.terminal(120, *args)
    assert "Nothing is due." in out
    assert "case 4711" in out
    assert hold["id"] in out
    assert planned.data("plan", "--policy=delete-acme", CUTOFF)["legal_holds"] == [], "of another table"
    planned.ok("hold", "--table-name=metrics", "--from=2024-06-01", "--reason=case 4712")
    monkeypatch.setattr(runs, "_MOST_HOLDS", 1)
    out = planned.ok(*args)
    assert ("case 4711" in out, "and 1 more; `cratedb-retention list-holds` shows all" in out) == (
        "case 4712" not in out, True,
    )  # fmt: skip


def test_status_at_another_time(planned: Command) -> None:
    """`status` takes an instant for now, as `plan` does, and tells what is due then."""
    due, partitions = {}, set[int]()
    for day in ("2020-01-01", "2024-07-01"):
        plan = planned.data("plan", f"--cutoff-day={day}")
        status = planned.data("status", f"--cutoff-day={day}")
        partitions |= {line["due_partitions"] for line in status["policies"]} - {0}
        due[day] = sum(line["due_partitions"] for line in status["policies"])
        assert due[day] == sum(task["partitions"] for task in plan["tasks"])
    assert due["2020-01-01"] == 0 < due["2024-07-01"]
    shown = planned.ok("status", CUTOFF)
    assert all(f" {plural(count, 'partition')} " in shown for count in partitions)
    assert " 1 partitions" not in shown
    with duckdb.connect(str(planned.uri).removeprefix("duckdb:///")) as connection:
        connection.execute("CREATE TABLE notes AS SELECT TIMESTAMP '2024-01-01' AS ts FROM range(1234)")
    planned.ok("create", "--strategy=delete", "--table-name=notes", "--retention-period=1d")
    assert " 1,234 rows " in planned.ok("status", CUTOFF)
    assert "is in the future" in planned.refused(2, "status", "--cutoff-day=2999-01-01")
