"""
Repositories on DuckDB are directories or addresses: an address of something else is refused, and each name means
itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from cratedb_retention import RestoreRequest
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.archive import why_no_directory
from cratedb_retention.model.catalog import TableName
from support.databases import MONTH, TIME, DuckDatabase

OLD, YOUNG = "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"
ADDRESSES = [
    "s3://key:secret@bucket/x",
    "file://srv/x",
    "https://host/x",
    "azure:x",
    "host:/srv",
    "~/x",
    "~ann",
    "$HOME/x",
    r"C:\x",
]
NAMES = [
    "arch*",
    "arch?",
    "[a-z]rch",
    "a]b",
    "it's",
    'quo"te',
    "100%",
    "year=2024",
    "a b",
    "größe",
    "{a,b}",
    "a\\b",
]


def create(duck: DuckDatabase, repository: str) -> None:
    """A table of which May is expired, and a policy that archives it."""
    duck.create("metrics", {"ts": TIME, "n": "TEXT", "year": "TEXT", "month": MONTH}, by=["month"])
    duck.fill("metrics", [OLD, YOUNG], year="1")
    duck.policy("snapshot", "metrics", "30d", target_repository_name=repository)


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.some(5)
def test_address_is_refused(duck: DuckDatabase, name: str) -> None:
    """When a policy is made or changed, and when it was stored before: nothing is archived or dropped."""
    with pytest.raises(InvalidInput, match="target_repository_name") as error:
        create(duck, name)
    assert "secret" not in str(error.value)
    policy = duck.policy("snapshot", "metrics", "30d")
    with pytest.raises(InvalidInput, match=r"name a directory|full path|of a kind|user or password"):
        duck.tool.edit_policy(policy.id or "", {"target_repository_name": name})
    table = duck.tool.store.tables.policy
    duck.tool.engine.database.execute(sa.update(table).values(target_repository_name=name))
    assert [finding.why.code for finding in duck.tool.check()] == ["no-directory"]
    report = duck.run()
    assert (report.ok, report.partitions) == (False, 0)
    assert duck.left("metrics") == [OLD, YOUNG]
    assert [path.name for path in duck.directory.parent.iterdir() if path.is_dir()] == []
    assert duck.tool.snapshots() == []


@pytest.mark.parametrize("name", ["archive", "a/b", "/srv/x", "../x", "2024:x", ".hidden", "a~", "s3"])
def test_plain_directories(name: str) -> None:
    """What is a path is none of these."""
    assert why_no_directory(name) is None


def works(duck: DuckDatabase) -> None:
    """What was archived is verified and restored, with its own rows alone."""
    report = duck.run()
    assert (report.ok, report.partitions) == (True, 1)
    assert [verified.error for verified in duck.tool.verify_snapshots()] == [None]
    for into in (None, TableName("lab", "beside")):
        (restored,) = duck.tool.restore(RestoreRequest(table_name="metrics", into=into))
        assert (restored.rows, restored.error) == (1, None)
    assert duck.left("metrics") == [OLD, YOUNG]
    assert duck.left("beside") == [OLD]
    assert duck.rows("SELECT DISTINCT year FROM lab.metrics") == [("1",)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.some(5)
def test_hostile_names(duck: DuckDatabase, name: str) -> None:
    """Wildcards, quotes and the like in a repository's name mean themselves, whatever its neighbours hold."""
    create(duck, name)
    (task,) = duck.tool.plan().tasks
    snapshot = next(step.name for step in task.steps if hasattr(step, "name"))
    for neighbour in ("arch1", "archx", "brch", "zrch"):
        directory = duck.directory.parent / neighbour / "lab.metrics" / "month=2024-05-01"
        directory.mkdir(parents=True)
        duck.sql(f"COPY (SELECT 1 AS ts) TO '{directory / snapshot}.parquet' (FORMAT parquet)")
    works(duck)
    assert list((duck.directory.parent / name).rglob(f"{snapshot}.parquet"))


@pytest.mark.parametrize("name", ["year=2024", "[ab]*", "it's 100%"])
def test_hostile_directory_of_the_database(tmp_path: Path, name: str) -> None:
    """The same with the directory that the database's file is in."""
    directory = tmp_path / name
    directory.mkdir()
    url = sa.URL.create("duckdb", database=str(directory / "my.duckdb"))
    duck = DuckDatabase(url.render_as_string(), directory / "archive")
    duck.set_up()
    create(duck, "archive")
    works(duck)
    duck.close()


def test_a_file_of_another_size(duck: DuckDatabase) -> None:
    """A list of snapshots shows a file that became shorter or longer as incomplete, without reading it."""
    create(duck, "archive")
    assert duck.run().partitions == 1
    (record,) = duck.tool.snapshots()
    (path,) = (duck.directory.parent / "archive").glob("*/**/*.parquet")
    data = path.read_bytes()
    for changed, complete in ((data, True), (data[:-1], False), (data + b"x", False)):
        path.write_bytes(changed)
        (state,) = duck.tool.snapshot_states([record]).values()
        assert state.complete is complete
