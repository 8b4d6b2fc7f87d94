"""Filters that name what there is not: said in one line, with exit code 1, by every command that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Command, FilledBy

POLICIES = ("plan", "run", "status", "list-policies", "export", "check-policies")
NOSUCH = [
    *([name, "--tags=nosuch"] for name in POLICIES),
    *([name, "--tags=acme,nosuch"] for name in POLICIES),
    *([name, "--tags=acme", "--tags=nosuch"] for name in POLICIES),
    *([name, "--policy=nosuch"] for name in POLICIES),
    ["run", "--due", "--tags=nosuch"],
    ["run", "--dry-run", "--tags=nosuch"],
    ["delete-policy", "--tags=nosuch"],
    ["delete-policy", "--id=nosuch"],
    ["jobs", "--tags=nosuch"],
    ["jobs", "--table-name=nosuch"],
    ["jobs", "--policy=nosuch"],
    ["jobs", "--run=nosuch"],
    ["list-snapshots", "--name=nosuch"],
    ["list-snapshots", "--table-name=nosuch"],
    ["list-snapshots", "--table-schema=nosuch"],
    ["verify-snapshots", "--name=nosuch"],
    ["verify-snapshots", "--table-name=nosuch*"],
    ["restore", "--name=nosuch"],
    ["fetch", "--table-name=nosuch"],
    ["fetch", "--table-name=metrics", "--table-schema=nosuch"],
    ["verify-rollups", "--table-name=nosuch"],
    ["verify-rollups", "--table-name=metrics", "--table-schema=nosuch"],
    ["accept-table", "--table-name=nosuch"],
    ["accept-table", "--table-name=metrics", "--table-schema=nosuch"],
    ["cancel", "nosuch"],
    ["release", "nosuch"],
    ["revoke-token", "nosuch"],
]


def fill(command: Command) -> None:
    """Two policies, with a tag each."""
    for table, tag in (("metrics", "acme"), ("events", "other")):
        command.ok(
            "create", "--strategy=delete", f"--table-name={table}", "--retention-period=1y", f"--tags={tag}",
            f"--id=delete-{table}", "--schedule=@daily",
        )  # fmt: skip


@pytest.fixture
def tagged(filled_by: FilledBy) -> Command:
    """The command on a database with these policies."""
    return filled_by(fill)


@pytest.mark.parametrize("args", NOSUCH, ids=" ".join)
def test_what_there_is_not(tagged: Command, args: list[str]) -> None:
    """Nobody takes a misspelt name for "nothing is due"."""
    message = tagged.refused(1, *args)
    assert "nosuch" in message or "none matches" in message
    if args[0] in ("run", "plan", "status", "jobs"):
        tagged.refused(1, *args, "--format=json")


@pytest.mark.parametrize("name", POLICIES)
def test_tags_that_no_policy_has_together(tagged: Command, name: str) -> None:
    """Each tag is in use, and no policy fits both."""
    assert "no policy matches" in tagged.refused(1, name, "--tags=acme,other")
    assert "no policy matches" in tagged.refused(1, name, "--tags=not:acme,not:other")


def test_a_tag_that_is_left_out_and_that_nobody_has(tagged: Command) -> None:
    """Who has no such tag is chosen, so that this is no failure; that it may be misspelt is said."""
    outcome = tagged.process("plan", "--tags=not:nosuch")
    assert outcome.code == 0
    assert "tag nosuch: no policy has it" in outcome.err
    assert tagged.ok("plan", "--tags=not:acme")


def test_a_file_is_not_pruned_by_tags_that_nobody_has(tagged: Command, tmp_path: Path) -> None:
    """A tag counts that a policy of the file has; another one is a mistake."""
    file = tmp_path / "p.yaml"
    file.write_text(
        "policies:\n- {strategy: delete, table_name: events, retention_period: 1y, id: delete-events, tags: [new]}\n"
    )
    assert "tag nosuch: no policy has it" in tagged.refused(1, "apply", "-f", str(file), "--prune", "--tags=nosuch")
    assert len(tagged.data("list-policies")) == 2
    tagged.ok("apply", "-f", str(file), "--prune", "--tags=new")
    assert len(tagged.data("list-policies")) == 2


def test_names_that_are_known(tagged: Command) -> None:
    """What exists, and has nothing to show at present, is no mistake."""
    for args in (
        ["run", "--tags=acme"], ["plan", "--strategy=snapshot"], ["run", "--strategy=snapshot"],
        ["list-snapshots"], ["verify-snapshots"], ["jobs", "--tags=acme", "--outcome=failed"],
        ["jobs", "--policy=delete-metrics", "--until=2020-01-01"],
    ):  # fmt: skip
        tagged.ok(*args)


def test_a_plan_that_checks(tagged: Command) -> None:
    """`plan --check` ends as `run` does if something needs attention; without it a plan is only shown."""
    assert tagged.ok("plan", "--check")
    tagged.ok("create", "--strategy=delete", "--table-name=nosuch", "--retention-period=1y", "--tags=broken")
    for form in ("table", "json"):
        outcome = tagged("plan", "--check", f"--format={form}")
        assert (outcome.code, outcome.err) == (
            1, "Error: plan: 1 action needs attention. The reasons are in the plan\n",
        )  # fmt: skip
        assert "no such table" in outcome.out
        tagged.ok("plan", f"--format={form}")
    assert tagged.ok("plan", "--check", "--tags=acme")
    assert "no such table" not in tagged.ok("plan", "--check", "--tags=acme")
    assert tagged("run").code == 1


def test_on_cratedb(crate: Command) -> None:
    """The same on CrateDB."""
    crate.ok("create", "--strategy=delete", "--table-name=x", "--retention-period=1y", "--tags=acme")
    for args in (["run", "--tags=nosuch"], ["verify-snapshots", "--name=nosuch"], ["jobs", "--tags=nosuch"]):
        crate.refused(1, *args)
    crate.refused(1, "plan", "--check")
    crate.ok("plan")
