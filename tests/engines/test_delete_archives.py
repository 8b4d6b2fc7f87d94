"""
Deleting archives, on both engines: only what is a snapshot of the partition, whole or not at all, and repeatable.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cratedb_retention.engine.parquet import Store
from cratedb_retention.errors import Conflict, DatabaseError, NotFound
from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import TableName
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase

BY_MONTH = {"ts": TIME, "n": "TEXT", "month": MONTH}
APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"


def archive(db: Database) -> list[Archived]:
    """A table of which April and May are archived."""
    db.create("metrics", BY_MONTH, by=["month"])
    db.fill("metrics", [APRIL, MAY, MAY, JUNE])
    db.policy("snapshot", "metrics", "30d")
    assert db.run().partitions == 2
    return [record.archived for record in db.tool.snapshots()]


def test_the_snapshot_alone(db: Database) -> None:
    """A deleted snapshot is gone, the others stay; deleting it again changes nothing."""
    april, may = archive(db)
    engine = db.tool.engine.archive
    assert engine.contents(db.repository).snapshots == {april.name, may.name}
    assert engine.delete(april)
    assert not engine.delete(april)
    assert db.snapshot_names() == [may.name]
    found = engine.contents(db.repository)
    assert found.snapshots == {may.name}
    assert found.leftovers == set()
    assert "2 rows" in engine.verify(may, db.own_schema)


def test_of_another_partition(db: Database) -> None:
    """What has the name of a snapshot, but is something else, stays."""
    april, may = archive(db)
    for other in (replace(april, name=may.name), replace(may, table=TableName(db.schema, "other"))):
        with pytest.raises(Conflict):
            db.tool.engine.archive.delete(other)
    assert db.snapshot_names() == [april.name, may.name]


def test_without_its_repository(db: Database) -> None:
    """Without its repository, it is unknown whether a snapshot exists."""
    april, _ = archive(db)
    for act in (
        db.tool.engine.archive.contents,
        lambda name: db.tool.engine.archive.delete(replace(april, repository=name)),
    ):
        with pytest.raises(NotFound):
            act("not_there")


def test_disk_that_is_not_there(crate: CrateDatabase) -> None:
    """CrateDB lists no snapshots of a repository whose files are gone, for a while perhaps: nothing counts as gone."""
    april, may = archive(crate)
    engine = crate.tool.engine.archive
    crate.break_repository()
    with pytest.raises(DatabaseError):
        engine.delete(april)
    crate.mend_repository()
    assert engine.delete(april)
    assert crate.snapshot_names() == [may.name]


def test_more_partitions_in_one(crate: CrateDatabase) -> None:
    """A snapshot that a user made of several partitions under that name stays."""
    april, may = archive(crate)
    crate.drop_snapshot(april.name)
    crate.fill("metrics", [APRIL, MAY])
    table = crate.q("metrics")
    crate.sql(f'CREATE SNAPSHOT {crate.repository}."{april.name}" TABLE {table} WITH (wait_for_completion = true)')
    with pytest.raises(Conflict, match="something else than partition"):
        crate.tool.engine.archive.delete(april)
    assert crate.snapshot_names() == [april.name, may.name]


def test_foreign_snapshots(crate: CrateDatabase) -> None:
    """Snapshots that others made are not the toolkit's; what an interrupted restore left is a leftover."""
    april, may = archive(crate)
    for name in ("backup", "retention-restore-0123456789ab", f"{april.name[:-13]}-x"):
        crate.sql(
            f'CREATE SNAPSHOT {crate.repository}."{name}" TABLE {crate.q("metrics")} WITH (wait_for_completion = true)'
        )
    found = crate.tool.engine.archive.contents(crate.repository)
    assert found.snapshots == {april.name, may.name}
    assert found.leftovers == {"retention-restore-0123456789ab"}


def test_with_other_files(duck: DuckDatabase) -> None:
    """Files that the toolkit did not write stay; a directory without any is not left."""
    april, may = archive(duck)
    note = duck.directory / "lab.metrics" / "month=2024-04-01" / "note.txt"
    note.write_text("mine")
    assert duck.tool.engine.archive.delete(april) and duck.tool.engine.archive.delete(may)
    assert note.read_text() == "mine"
    assert [path for path in duck.directory.rglob("*") if path.is_file()] == [note]


@pytest.mark.parametrize("name", ["..", ".", "", "../other", "a/b"])
def test_names_of_no_snapshot(duck: DuckDatabase, name: str) -> None:
    """A name in the toolkit's table that leads out of the repository deletes nothing."""
    april, may = archive(duck)
    (duck.directory.parent / "other").mkdir()
    (duck.directory / "a" / "b").mkdir(parents=True)
    with pytest.raises(Conflict):
        duck.tool.engine.archive.delete(replace(april, name=name))
    assert duck.snapshot_names() == [april.name, may.name]
    assert (duck.directory.parent / "other").is_dir() and (duck.directory / "a" / "b").is_dir()


@pytest.mark.parametrize("half", ["manifest", "rows"])
def test_damaged(duck: DuckDatabase, half: str) -> None:
    """A damaged archive can be deleted, whole."""
    for archived in archive(duck):
        if half == "manifest":
            duck.manifest(archived.name).write_text("{")
        else:
            next(path for path in duck.snapshot_files() if path.stem == archived.name).unlink()
        assert duck.tool.engine.archive.delete(archived)
    assert list(duck.directory.iterdir()) == []


def test_killed_in_between(duck: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows go first, so that half of a snapshot is known by its manifest; the next deletion removes the rest."""
    april, may = archive(duck)

    def die(store: Store, name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Store, "delete_manifest", die)
        duck.tool.engine.archive.delete(april)
    found = duck.tool.engine.archive
    assert found.contents(duck.repository).snapshots == {april.name, may.name}
    key = (duck.repository, april.name)
    assert not found.states([key])[key].complete
    assert found.delete(april)
    assert not found.delete(april)
    assert duck.snapshot_names() == [path.stem for path in duck.snapshot_files()] == [may.name]


def test_files_that_cannot_be_removed(duck: DuckDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the file system is in the message."""
    april, _ = archive(duck)

    def refuse(path: Path) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DatabaseError, match="not permitted"):
        duck.tool.engine.archive.delete(april)
    assert april.name in duck.snapshot_names()
