"""``hold``, ``list-holds``, ``release``: what is held stays, whatever the policies say."""

from __future__ import annotations

import pytest

from support.command import Command, FilledBy

CUTOFF = "--cutoff-day=2024-07-01"


def fill(command: Command) -> None:
    """January to April are due."""
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=60d", "--id=p")


@pytest.fixture
def due(filled_by: FilledBy) -> Command:
    """The command on such a database."""
    return filled_by(fill)


@pytest.mark.parametrize(
    ("args", "dropped"),
    [
        (["--table-name=metrics"], 0),
        (["--table-name=m*", "--table-schema=main"], 0),
        (["--table-name=events"], 4),
        (["--table-name=metrics", "--from=2024-02-10", "--to=2024-02-11"], 3),
        (["--table-name=metrics", "--from=2024-03-01"], 2),
        (["--table-name=metrics", "--to=2024-03-01"], 2),
        (["--table-name=metrics", "--where=month=2024-01-01"], 3),
        (["--table-name=metrics", "--where=tenant=acme"], 0),
    ],
    ids=str,
)
@pytest.mark.some(4)
def test_what_is_held_stays(due: Command, args: list[str], dropped: int) -> None:
    """A table, a stretch of time or a filter is kept by a run; the plan says why, and finds nothing wrong with it."""
    out = due.ok("hold", *args, "--reason=case 4711")
    identifier = out.removeprefix("hold ").partition(" ")[0]
    assert f"`cratedb-retention release {identifier}`" in out
    due.ok("run", CUTOFF)
    rows = due.data("status")["policies"][0]["rows"]
    assert rows == 180 - sum([31, 29, 31, 30][: dropped if dropped in (0, 4) else 4]) + _kept(args)
    if dropped < 4:
        assert "case 4711" in due.ok("plan", "--check", CUTOFF)
    assert due.ok("release", identifier) == f"released hold {identifier} on main.{args[0].partition('=')[2]}\n"
    due.ok("run", CUTOFF)
    assert due.data("status")["policies"][0]["rows"] == 59


def _kept(args: list[str]) -> int:
    """The rows of the months that such a hold keeps, where it does not keep all or none."""
    months = {"--from=2024-02-10": 29, "--from=2024-03-01": 61, "--to=2024-03-01": 60, "--where=month=2024-01-01": 31}
    return sum(months.get(arg, 0) for arg in args[1:2])


def test_holds_are_listed_with_all_that_they_say(due: Command) -> None:
    """The list shows table, filter, time, reason and who; as data, instants are ISO 8601."""
    due.ok(
        "hold", "--table-name=events_*", "--where=tenant=acme", "--where=kind=NULL", "--from=2024-01-01",
        "--to=2024-04-01T02:00:00+02:00", "--reason=case [4711]",
    )  # fmt: skip
    out = due.ok("list-holds")
    for text in ("legal", "main.events_*", "tenant=acme, kind=NULL", "2024-01-01", "2024-04-01", "case [4711]"):
        assert text in out
    (hold,) = due.data("list-holds")
    assert hold["where"] == {"tenant": "acme", "kind": None}
    assert hold["start"] == "2024-01-01T00:00:00+00:00"
    assert hold["end"] == "2024-04-01T00:00:00+00:00"


def test_releasing_needs_the_whole_identifier(due: Command) -> None:
    """The beginning of an identifier, or that of no hold in force, releases nothing."""
    due.ok("hold", "--table-name=metrics")
    identifier = due.data("list-holds")[0]["id"]
    for beginning in (identifier[:1], identifier[:8]):
        assert "rite the whole identifier" in due.refused(1, "release", beginning)
    due.ok("release", identifier)
    assert "is not in force" in due.refused(1, "release", identifier)
    events = [row["event"] for row in due.data("jobs")]
    assert events[:2] == ["hold-released", "hold-placed"]


def test_a_hold_on_nothing_is_said(due: Command) -> None:
    """A misspelt table is a hold on nothing: it is in force, with a warning."""
    outcome = due("hold", "--table-name=metrisc")
    assert outcome.code == 0
    assert "is in force" in outcome.out
    assert "Warning: no table matches main.metrisc" in outcome.out
    assert "Warning" not in due.ok("hold", "--table-name=metrics")


def test_a_script_learns_which_hold_it_placed(due: Command) -> None:
    """As data, `hold` gives the identifier, and the tables that it covers now: none, if its name is misspelt."""
    due.ok("hold", "--table-name=events", "--reason=another")
    placed = due.data("hold", "--table-name=metrics", "--reason=case 4711")
    assert (placed["reason"], placed["tables"]) == ("case 4711", ["main.metrics"])
    due.ok("release", placed["id"])
    assert [hold["reason"] for hold in due.data("list-holds")] == ["another"]
    assert due.data("hold", "--table-name=metrisc")["tables"] == []
