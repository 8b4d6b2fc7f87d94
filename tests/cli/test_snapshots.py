"""``list-snapshots``, ``verify-snapshots``, ``restore``: what was archived can be found, trusted and brought back."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from cratedb_retention.cli import archive
from support.command import Command, Contents, FilledBy, complaint

CUTOFF = "--cutoff-day=2024-07-01"


def fill(command: Command) -> None:
    """January and February are in the archive."""
    command.ok(
        "create", "--strategy=snapshot", "--table-name=metrics", "--retention-period=100d",
        "--target-repository-name=archive", "--tags=acme",
    )  # fmt: skip
    command.ok("run", CUTOFF)


@pytest.fixture
def archived(filled_by: FilledBy) -> Command:
    """The command on such a database."""
    return filled_by(fill)


@pytest.mark.parametrize(
    ("args", "months"),
    [
        ([], ["2024-01", "2024-02"]),
        (["--table-name=metrics"], ["2024-01", "2024-02"]),
        (["--table-name=m*"], ["2024-01", "2024-02"]),
        (["--table-schema=main"], ["2024-01", "2024-02"]),
        (["--name=main-metrics-2024-02"], ["2024-02"]),
        (["--from=2024-02-01"], ["2024-02"]),
        (["--to=2024-02-01"], ["2024-01"]),
        (["--from=2024-01-31T23:59:59Z", "--to=2024-02-01T00:00:01Z"], ["2024-01", "2024-02"]),
    ],
    ids=str,
)
@pytest.mark.some(4)
def test_choosing(archived: Command, args: list[str], months: list[str]) -> None:
    """Name, table and time choose the same for listing, verifying and a dry restore."""
    found = archived.data("list-snapshots", *args)
    assert [snapshot["name"][13:20] for snapshot in found] == months
    assert [verified["name"][13:20] for verified in archived.data("verify-snapshots", *args)] == months
    if args:
        assert archived.ok("restore", "--dry-run", *args).count("would restore ") == len(months)


@pytest.mark.parametrize("args", ["--table-name=events", "--table-schema=other", "--from=2024-03-01"])
def test_choosing_nothing(archived: Command, args: str) -> None:
    """Where none fits, nothing was verified, and nobody takes that for good news."""
    for name in ("list-snapshots", "verify-snapshots", "restore"):
        assert "snapshots: none matches" in archived.refused(1, name, args)


def test_the_list_says_what_the_repository_says(archived: Command, tmp_path: Path) -> None:
    """Table, partition, size, tags and state are listed; a snapshot that somebody removed is missing."""
    first = archived.data("list-snapshots")[0]
    assert {first[key] for key in ("table", "repository", "state")} == {"main.metrics", "archive", "archived"}
    assert first["tags"] == ["acme"]
    assert first["bytes"] > 0
    for file in (tmp_path / "archive").rglob(f"{first['name']}.*"):
        file.unlink()
    assert archived.data("list-snapshots")[0]["repository_state"] == "missing"
    assert " missing " in archived.ok("list-snapshots")


def rows_of(name: str, tmp_path: Path) -> Path:
    """The file with the rows of a snapshot."""
    (found,) = (tmp_path / "archive").rglob(f"{name}.parquet")
    return found


def test_the_list_sees_a_file_that_is_cut_off(archived: Command, tmp_path: Path) -> None:
    """Its size is compared, without reading it."""
    first, second = archived.data("list-snapshots")
    data = rows_of(first["name"], tmp_path)
    data.write_bytes(data.read_bytes()[:-10])
    states = [snapshot["repository_state"] for snapshot in archived.data("list-snapshots")]
    assert "bytes, not the " in states[0]
    assert states[1] == second["repository_state"]
    assert "would not restore" in archived.ok("restore", "--all", "--dry-run")


def test_late_rows_come_back_as_well(archived: Command, contents: Contents, tmp_path: Path) -> None:
    """All snapshots of a partition are restored, listed and shown by a dry run; one hold is on all of it."""
    before = contents()["main.metrics"]
    with duckdb.connect(str(tmp_path / "test.duckdb")) as connection:
        connection.execute("INSERT INTO metrics (ts) VALUES (TIMESTAMP '2024-01-20')")
    archived.ok("run", CUTOFF)
    assert len(archived.data("list-snapshots")) == 3
    assert archived.ok("restore", "--all", "--dry-run").count("would restore ") == 3
    archived.ok("restore", "--all", "--into=main.metrics")
    assert len(contents()["main.metrics"]) == len(before) + 60 + 1
    (hold,) = archived.data("list-holds")
    assert len(hold["partitions"]) == 2
    archived.ok("release", hold["id"])
    assert len(archived.data("plan", CUTOFF)["tasks"]) == 2


def test_when_archives_end(archived: Command) -> None:
    """By the policy as it is now; a run deletes what has ended, and its plan says so."""
    assert [snapshot["ends"] for snapshot in archived.data("list-snapshots")] == [None, None]
    [policy] = [each for each in archived.data("list-policies") if each["strategy"] == "snapshot"]
    archived.ok("edit-policy", f"--id={policy['id']}", "--archive-period=120d")
    ends = [snapshot["ends"] for snapshot in archived.data("list-snapshots")]
    assert ends == ["2024-05-31T00:00:00+00:00", "2024-06-29T00:00:00+00:00"]
    assert "2024-05-31" in archived.ok("list-snapshots")
    shown = archived.ok("plan", "--cutoff-day=2024-06-01")
    assert "delete archive main-metrics-2024-01-01" in shown
    assert "data ends 2024-02-01, archived until 2024-05-31" in shown
    archived.ok("run", "--cutoff-day=2024-06-01")
    assert [snapshot["ends"] for snapshot in archived.data("list-snapshots")] == ends[1:]
    complained = archived.refused(2, "edit-policy", f"--id={policy['id']}", "--archive-period=99d")
    assert "archives are kept for 99d, shorter than the data itself (100d)" in complained


def test_what_archives_cost(archived: Command, tmp_path: Path) -> None:
    """A price of archives is heeded by a forecast, and by a comparison of two sets of policies."""
    with duckdb.connect(str(archived.uri).removeprefix("duckdb:///")) as connection:
        connection.execute("DROP TABLE metrics")  # DuckDB tells no sizes of tables.
    prices = ["--until=+1d", "--archive-price=1000000000"]
    cost = archived.data("forecast", *prices)["cost"]
    file = tmp_path / "policies.yaml"
    file.write_text(archived.ok("export"))
    compared = archived.data("diff", "-f", str(file), *prices)
    assert compared["before"]["cost"] == compared["after"]["cost"] == cost > 0


def test_deleting(archived: Command) -> None:
    """What is chosen is shown, and deleted only if that is stated; what is under a hold stays, and is an error."""
    held = archived.data("hold", "--table-name=metrics", "--from=2024-02-01", "--reason=case 4711")["id"]
    shown = archived.ok("delete-snapshots", "--all", "--dry-run")
    assert "would delete main-metrics-2024-01" in shown and "1 snapshot with 31 rows" in shown
    assert "would not delete main-metrics-2024-02" in shown and "case 4711" in shown
    for chosen in ("--all", "--table-name=metrics"):
        assert "add --yes" in archived.refused(2, "delete-snapshots", chosen).lower()
    assert "nothing is selected" in archived.refused(2, "delete-snapshots", "--yes")
    assert "none matches" in archived.refused(1, "delete-snapshots", "--table-name=other", "--yes")
    assert len(archived.data("list-snapshots")) == 2
    assert "1 of 2 snapshots not deleted" in archived.refused(1, "delete-snapshots", "--all", "--yes")
    [left] = archived.data("list-snapshots")
    assert "2024-02" in left["name"]
    assert "1 of 1 snapshot not deleted" in archived.refused(1, "delete-snapshots", "--all"), "there is nothing to ask"
    archived.ok("release", held)
    assert f"deleted: {left['name']}" in archived.ok("delete-snapshots", "--to=2024-03-01", "--yes")
    assert archived.data("list-snapshots") == []


def test_deleting_what_was_shown(archived: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run archives while the user is asked stays."""
    asked: list[str] = []

    def confirm(question: str) -> None:
        asked.append(question)
        archived.ok("run", "--cutoff-day=2024-07-20")

    monkeypatch.setattr(archive, "_confirm", confirm)
    assert archived.ok("delete-snapshots", "--all").count("\ndeleted: ") == 2
    assert asked == ["Delete 2 snapshots for good?"]
    assert ["2024-03" in each["name"] for each in archived.data("list-snapshots")] == [True]


def test_check_finds_what_is_not_as_recorded(archived: Command, tmp_path: Path) -> None:
    """A snapshot that is gone, and one that is unknown, are findings."""
    first, second = (snapshot["name"] for snapshot in archived.data("list-snapshots"))
    manifest = tmp_path / "archive" / "_manifests" / f"{first}.json"
    manifest.rename(manifest.with_name("unknown.json"))
    rows_of(first, tmp_path).rename(tmp_path / "archive" / "unknown.parquet")
    outcome = archived("check-policies", "--format=json")
    assert outcome.code == 3
    found = json.loads(outcome.out)["findings"]
    assert [(each["table"], each["code"]) for each in found] == [
        ("main.metrics", "snapshots-gone"),
        ("main.metrics", "snapshots-unknown"),
    ]
    assert first in found[0]["message"] and second not in found[0]["message"]
    archived.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=9y", "--id=other")
    assert "snapshots-" not in archived("check-policies", "--policy=other", "--format=json").out


def test_damage_is_listed(archived: Command, tmp_path: Path) -> None:
    """What reading back found stays in the list until it is read back again."""
    first, second = (snapshot["name"] for snapshot in archived.data("list-snapshots"))
    data = rows_of(first, tmp_path)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(bytes(content))
    archived.refused(1, "verify-snapshots")
    damaged, whole = archived.data("list-snapshots")
    assert (damaged["condition"], whole["condition"]) == ("damaged", "complete")
    assert "differs from its checksum" in damaged["repository_state"]
    assert damaged["verified_at"] and whole["name"] == second


def test_adopting(archived: Command, contents: Contents, tmp_path: Path) -> None:
    """What the toolkit's table lost is shown, noted once, and can be restored; also without that."""
    known = archived.data("list-snapshots")
    with duckdb.connect(str(tmp_path / "test.duckdb")) as connection:
        connection.execute("DELETE FROM ext.retention_snapshot")
        connection.execute("DROP TABLE metrics")
    assert "2 snapshots would be adopted; 0 already known" in archived.ok(
        "adopt-snapshots", "--repository=archive", "--dry-run"
    )
    assert [item["known"] for item in archived.data("adopt-snapshots", "--repository=archive", "--dry-run")] == [
        False
    ] * 2
    for more in ("--table-name=nosuch", "--from=2024-03-01"):
        assert archived.data("adopt-snapshots", "--repository=archive", more, "--dry-run") == []
    assert archived.data("list-snapshots") == []
    archived.ok("restore", "--from-repository=archive", "--into=main.beside")
    assert len(contents()["main.beside"]) == 60
    assert len(archived.data("adopt-snapshots", "--repository=archive")) == 2
    assert {s["name"] for s in archived.data("list-snapshots")} == {s["name"] for s in known}
    out = archived.ok("adopt-snapshots", "--repository=archive")
    assert out == "0 snapshots adopted; 2 already known\n"
    assert "nosuch" in archived.refused(1, "adopt-snapshots", "--repository=nosuch")


def test_a_damaged_snapshot_is_found_and_not_restored(archived: Command, tmp_path: Path) -> None:
    """One byte is enough: verifying and restoring end with 1 and say which snapshot it is; the others are right."""
    first, second = (snapshot["name"] for snapshot in archived.data("list-snapshots"))
    data = rows_of(first, tmp_path)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    verified = archived("verify-snapshots")
    assert complaint(verified, 1) == "verify-snapshots: 1 of 2 snapshots failed verification"
    assert f"verified: {second}: " in verified.out
    assert "failed: " in verified.out
    as_data = archived("verify-snapshots", "--format=json")
    assert (as_data.code, [bool(item["error"]) for item in json.loads(as_data.out)]) == (1, [True, False])
    restored = archived("restore", "--all")
    assert complaint(restored, 1) == "restore: 1 of 2 snapshots not restored"
    assert f"failed: {first}: " in restored.out
    assert archived.data("status")["policies"][0]["rows"] == 120 + 29


def test_a_dry_restore_shows_the_statements(archived: Command, contents: Contents) -> None:
    """``--dry-run`` shows what would be done, and does nothing."""
    before = contents()
    out = archived.ok("restore", "--all", "--dry-run")
    assert "would restore main-metrics-2024-01-01-" in out
    assert "read_parquet(" in out
    assert contents() == before


@pytest.mark.parametrize("into", ["beside", "main.beside"])
def test_restoring_beside(archived: Command, contents: Contents, into: str) -> None:
    """What is restored into another table is there without a hold, and the archive still has it."""
    assert archived.ok("restore", "--all", f"--into={into}", "--dry-run").count("into main.beside\n") == 2
    out = archived.ok("restore", "--all", f"--into={into}")
    assert out.count("into main.beside, ") == 2
    assert "on hold" not in out
    assert len(contents()["main.beside"]) == 60
    assert len(contents()["main.metrics"]) == 120
    assert archived.data("list-holds") == []


def test_a_partition_that_is_there_already(archived: Command, contents: Contents) -> None:
    """What is there is not restored again; the reason is said, and the hold of the first time stays."""
    archived.ok("restore", "--all")
    before = contents()["main.metrics"]
    again = archived("restore", "--name=main-metrics-2024-01")
    assert complaint(again, 1) == "restore: 1 of 1 snapshot not restored"
    assert "the partition already exists. Restore it into another table, or delete it first" in again.out
    assert contents()["main.metrics"] == before
    assert len(archived.data("plan", CUTOFF)["tasks"]) == 0


def test_a_restore_can_be_tried_again_and_again(archived: Command, tmp_path: Path) -> None:
    """A restore that failed leaves nothing in the way of the next ones."""
    name = archived.data("list-snapshots")[0]["name"]
    home, away = rows_of(name, tmp_path), tmp_path / "away"
    home.rename(away)
    for _ in range(3):
        assert f"failed: {name}: " in archived("restore", f"--name={name}").out
        assert archived.data("list-holds") == []
    away.rename(home)
    assert "31 rows; on hold until" in archived.ok("restore", f"--name={name}")
    assert len(archived.data("list-holds")) == 1


def test_nothing_archived(command: Command) -> None:
    """Without snapshots, the list and the check of them say so; restoring is a failure."""
    nothing = "no snapshots; policies with the strategy `snapshot`, or with `recoverable`, create them\n"
    assert command.ok("list-snapshots") == nothing
    assert command.ok("verify-snapshots") == "no snapshot matches\n"
    assert "none matches" in command.refused(1, "restore", "--all")
