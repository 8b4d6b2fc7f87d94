"""``undo``: what a run deleted with `recoverable` comes back; and ``create-policy``, which suggests it."""

from __future__ import annotations

import pytest

from support.command import Command, Contents, FilledBy

CUTOFF = "--cutoff-day=2024-07-01"
CREATE = ("create", "--strategy=delete", "--retention-period=100d")


def fill(command: Command) -> None:
    """January and February are deleted, and can be brought back for a week."""
    command.ok(
        *CREATE, "--table-name=metrics", "--recoverable=7d", "--target-repository-name=archive", "--id=week"
    )  # fmt: skip
    command.ok("run", CUTOFF)


@pytest.fixture
def deleted(filled_by: FilledBy) -> Command:
    """The command on such a database."""
    return filled_by(fill)


@pytest.mark.parametrize("by", ["run", "--policy=week", "--table-name=metrics"])
def test_comes_back(deleted: Command, contents: Contents, by: str) -> None:
    """A dry run shows it and changes nothing; then all rows are there again, once."""
    [run_id] = [row["run_id"] for row in deleted.data("jobs", "--event=run-finished")]
    choice = run_id[:8] if by == "run" else by
    before = contents()["main.metrics"]
    assert len(before) == 120
    shown = deleted.ok("undo", choice, "--dry-run")
    assert (shown.count("would restore "), "INSERT INTO" in shown) == (2, True)
    assert contents()["main.metrics"] == before
    lines = deleted.ok("undo", choice).splitlines()
    assert [line.partition(", ")[2].partition(";")[0] for line in lines] == ["31 rows", "29 rows"]
    assert all("; on hold until `cratedb-retention release " in line for line in lines)
    found = contents()["main.metrics"]
    assert (len(found), len(set(found))) == (180, 180)
    assert "it was brought back already" in deleted.refused(1, "undo", choice)
    deleted.ok("run", CUTOFF)
    assert contents()["main.metrics"] == found


def test_what_does_not_come_back(filled_by: FilledBy) -> None:
    """Rows that a policy without the attribute deleted in the same run are named, with their number."""
    command = filled_by(fill_both)
    [run_id] = [row["run_id"] for row in command.data("jobs", "--event=run-finished")]
    lines = command.ok("undo", run_id).splitlines()
    assert len(lines) == 3
    assert lines[-1] == "not recoverable: 82 rows of main.events"


def fill_both(command: Command) -> None:
    """A policy that deletes for good beside the recoverable one."""
    command.ok(*CREATE, "--table-name=events")
    fill(command)


def test_the_address_may_be_the_only_argument(deleted: Command) -> None:
    """As of all commands, the address is the last argument."""
    elsewhere = Command(None)
    assert "restored: " in elsewhere.ok("undo", "--policy=week", deleted.uri or "")
    for chosen in ("1c0ffee5", "--table-name=metrics"):
        assert "it was brought back already" in elsewhere.refused(1, "undo", chosen, deleted.uri or "")


def test_a_choice_is_needed(deleted: Command) -> None:
    """An undo of everything must be asked for by a pattern; an empty choice is none."""
    assert "nothing is selected" in deleted.refused(2, "undo")
    assert "nothing is selected" in deleted.refused(2, "undo", "--table-schema=main")
    assert "nothing can be brought back" in deleted.refused(1, "undo", "--table-name=metrics", "--table-schema=other")


def test_the_list_says_when_it_ends(deleted: Command) -> None:
    """In the list of snapshots, with the run; a policy file has the attribute."""
    [run_id] = [row["run_id"] for row in deleted.data("jobs", "--event=run-finished")]
    for snapshot in deleted.data("list-snapshots"):
        # The end is in milliseconds.
        assert (snapshot["run_id"], snapshot["ends"][:23]) == (run_id, snapshot["recoverable_until"][:23])
    assert "recoverable: 7d" in deleted.ok("export")


def test_the_first_policy_of_a_table(command: Command) -> None:
    """Who creates the first policy that deletes from a table learns how to be able to undo it."""
    out = command.ok(*CREATE, "--table-name=metrics", "--id=first")
    assert "cratedb-retention edit-policy --id=first --recoverable=7d --target-repository-name=..." in out
    assert "undo" not in command.ok(*CREATE, "--table-name=metrics", "--where", "tenant=acme")
    recoverable = ("--recoverable=7d", "--target-repository-name=archive")
    assert "`undo`" not in command.ok(*CREATE, "--table-name=events", *recoverable)
    changed = command.ok("edit-policy", "--id=first", *recoverable)
    assert changed.startswith("changed policy first: delete metrics after 100d, recoverable for 7d")
