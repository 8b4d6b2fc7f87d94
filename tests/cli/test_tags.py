"""Tags: ``--tags a,b`` wants both, a repeated ``--tags`` wants either."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Command, FilledBy


def fill(command: Command) -> None:
    """Three policies with the tags a; a and b; c."""
    for number, tags in enumerate(("a", "a,b", "c")):
        command.ok(
            "create", "--strategy=delete", "--table-name=metrics", "--retention-period=60d", f"--tags={tags}",
            f"--id=p{number}", f"--where=tenant=t{number}",
        )  # fmt: skip


@pytest.fixture
def tagged(filled_by: FilledBy) -> Command:
    """The command on a database with these policies."""
    return filled_by(fill)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["a"], ["p0", "p1"]),
        (["a,b"], ["p1"]),
        (["b,a"], ["p1"]),
        ([" b , a "], ["p1"]),
        (["a", "c"], ["p0", "p1", "p2"]),
        (["a,b", "c"], ["p1", "p2"]),
        (["not:a"], ["p2"]),
        (["a,not:b"], ["p0"]),
        (["a,not:b", "c"], ["p0", "p2"]),
        (["not:b"], ["p0", "p2"]),
    ],
)
@pytest.mark.some(5)
def test_choosing(tagged: Command, tags: list[str], expected: list[str]) -> None:
    """Within one option all tags must be there; of several options one must fit."""
    options = [f"--tags={text}" for text in tags]
    assert sorted(policy["id"] for policy in tagged.data("list", *options)) == expected
    plan = tagged.data("plan", "--cutoff-day=2024-07-01", *options)
    assert {hold["policy_id"] for hold in plan["blocked"]} | {task["policy_id"] for task in plan["tasks"]} <= set(
        expected
    )


@pytest.mark.parametrize("tags", ["b,c", "A"])
def test_choosing_nothing(tagged: Command, tags: str) -> None:
    """Tags are told apart by case; where no policy fits, that is said."""
    assert "no policy" in tagged.refused(1, "list", f"--tags={tags}")


def test_tags_can_be_given_one_by_one(command: Command) -> None:
    """For a new policy a repeated ``--tags`` adds tags."""
    command.ok("create", "--strategy=delete", "--table-name=x", "--retention-period=1", "--tags=b", "--tags=a,c")
    assert command.data("list-tags") == ["a", "b", "c"]
    assert command.ok("list-tags") == "a\nb\nc\n"


def test_deleting_by_tags(tagged: Command) -> None:
    """Only policies with all the tags are deleted; that none fits is said."""
    assert tagged.ok("delete-policy", "--tags=a,b").startswith("deleted policy p1: ")
    assert "tag b: no policy has it" in tagged.refused(1, "delete-policy", "--tags=a,b")
    assert [policy["id"] for policy in tagged.data("list")] == ["p0", "p2"]


@pytest.mark.parametrize("command_name", ["list", "plan", "run", "status", "check", "export", "delete-policy"])
@pytest.mark.some(3)
def test_empty_tags_are_refused(tagged: Command, command_name: str) -> None:
    """An empty tag never means "every policy"."""
    for text in ("", " ", "a,,b", ",", "not:"):
        assert "an empty tag" in tagged.refused(2, command_name, f"--tags={text}")
    assert len(tagged.data("list")) == 3


def test_deleting_and_pruning_without_a_tag(tagged: Command, tmp_path: Path) -> None:
    """What is excluded stays, when policies are deleted and when a file is applied."""
    assert tagged.ok("delete-policy", "--tags=a,not:b").startswith("deleted policy p0: ")
    empty = tmp_path / "empty.yaml"
    empty.write_text("policies: []\n")
    tagged.ok("apply", "-f", str(empty), "--prune", "--tags=not:b")
    assert [policy["id"] for policy in tagged.data("list")] == ["p1"]
