"""
Archives in each kind of repository: a directory, a bucket of a real S3 server, and CrateDB's own; on both engines.
Whatever happens to their files, no row is lost, and the next run goes on.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cratedb_retention import FetchRequest, RestoreRequest, parse_interval
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.runs.events import Observer, RunEvent, StepFinished
from cratedb_retention.model.archive import Archived, SnapshotStage
from cratedb_retention.model.plan.plan import SnapshotPartition, Step
from cratedb_retention.model.time import parse_instant
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase, ParquetDatabase
from support.object_store import BUCKET, HALF, SECRET, ObjectStore, refusing
from support.tiers import DECIDED

APRIL, MAY, LATE_MAY, JUNE = (f"2024-{day}T00:00:00Z" for day in ("04-10", "05-10", "05-20", "06-10"))
ALL = [APRIL, MAY, LATE_MAY, JUNE]
METRICS = RestoreRequest(table_name="metrics")


class Place(ABC):
    """A database, and where its archives are."""

    own = False  # Whether that is a repository of CrateDB.

    def __init__(self, db: Database, repository: str) -> None:
        self.db, self.repository = db, repository

    @abstractmethod
    def files(self) -> list[str]:
        """All files."""

    @abstractmethod
    def read(self, file: str) -> bytes:
        """What is in a file."""

    @abstractmethod
    def write(self, file: str, content: bytes) -> None:
        """Replace a file."""

    @abstractmethod
    def delete(self, file: str) -> None:
        """Remove a file."""

    def rows(self) -> list[str]:
        """The files with the rows, by partition."""
        return [file for file in self.files() if file.endswith(".parquet")]

    def manifests(self) -> list[str]:
        """The files that describe them."""
        return [file for file in self.files() if file.endswith(".json")]


class Directory(Place):
    """Files in a directory."""

    def __init__(self, db: Database, repository: str, directory: Path) -> None:
        super().__init__(db, repository)
        self.directory = directory

    def files(self) -> list[str]:
        return sorted(str(path) for path in self.directory.rglob("*") if path.is_file())

    def read(self, file: str) -> bytes:
        return Path(file).read_bytes()

    def write(self, file: str, content: bytes) -> None:
        Path(file).write_bytes(content)

    def delete(self, file: str) -> None:
        Path(file).unlink()


class Bucket(Place):
    """Objects in a bucket."""

    def __init__(self, db: Database, store: ObjectStore) -> None:
        super().__init__(db, f"s3://{BUCKET}/cold")
        self.store = store

    def files(self) -> list[str]:
        return self.store.files()

    def read(self, file: str) -> bytes:
        return self.store.read(file)

    def write(self, file: str, content: bytes) -> None:
        self.store.write(file, content)

    def delete(self, file: str) -> None:
        self.store.delete(file)


class Own(Directory):
    """A repository of CrateDB."""

    own = True

    def rows(self) -> list[str]:
        return [file for file in self.files() if "/indices/" in file and "/__" in file]


ON_CRATEDB = (pytest.mark.cratedb,)
FILES = [
    "duck-directory",
    pytest.param("duck-s3", marks=[pytest.mark.s3, pytest.mark.slow("the first one starts an S3 server")]),
    pytest.param("crate-directory", marks=ON_CRATEDB),
    pytest.param(
        "crate-s3", marks=[*ON_CRATEDB, pytest.mark.s3, pytest.mark.slow("the first one starts an S3 server")]
    ),
]
EVERY = [*FILES, pytest.param("crate-own", marks=ON_CRATEDB)]
SLOW = pytest.mark.slow("an archive of CrateDB is restored, and archived again")


def find_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The place of a kind."""
    engine, _, kind = request.param.partition("-")
    db: Database = request.getfixturevalue(engine)
    if kind == "s3":
        return Bucket(db, request.getfixturevalue("s3"))
    if kind == "own":
        return Own(db, db.repository, db.directory)
    directory = tmp_path / "archive"
    directory.mkdir()
    return Directory(db, f"file://{directory}", directory)


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each kind of repository in turn, with a table of which April and May are expired, and its policy."""
    return fill(find_place(request, tmp_path))


@pytest.fixture(params=FILES)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Those that are Parquet files."""
    return fill(find_place(request, tmp_path))


def fill(found: Place) -> Place:
    """A table of which two months are expired, and its policy."""
    found.db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    found.db.fill("metrics", ALL)
    found.db.policy("snapshot", "metrics", "30d", target_repository_name=found.repository)
    return found


def after(kind: type[Step], do: Callable[[], None]) -> Observer:
    """An observer that does something right after the first step of a kind."""
    seen: list[RunEvent] = []

    def observe(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, kind):
            seen.append(event)
            if len(seen) == 1:
                do()

    return observe


def errors(db: Database) -> list[str]:
    """What failed, as the audit log has it."""
    return [str(row["error"]) for row in db.journal() if row["error"]]


def assert_stays(db: Database) -> None:
    """All rows are there, the table can be written to, and each error is one line without a secret."""
    assert db.left("metrics") == ALL
    assert not isinstance(db, CrateDatabase) or db.frozen("metrics") == 0
    assert errors(db)
    assert all("\n" not in error and SECRET not in error for error in errors(db))


def assert_archived(db: Database) -> None:
    """A run archives both months, and both archives are right."""
    report = db.run()
    assert (report.ok, report.partitions, db.left("metrics")) == (True, 2, [JUNE]), errors(db)
    assert [found.error for found in db.tool.verify_snapshots()] == [None, None]


@SLOW
def test_there_and_back(place: Place) -> None:
    """Archived, listed, verified, restored, adopted and deleted; nothing is left then."""
    db = place.db
    assert_archived(db)
    april, may = db.tool.snapshots()
    assert (april.archived.rows, may.archived.rows, april.archived.repository) == (1, 2, place.repository)
    states = db.tool.snapshot_states([april, may])
    assert all(states[record.key].complete for record in (april, may))
    if not place.own:
        assert [file.rpartition("/")[2] for file in place.rows()] == [
            f"{each.archived.name}.parquet" for each in (april, may)
        ]
        assert all(f"{db.schema}.metrics/month=2024-0" in file for file in place.rows())
    db.sql(f"DELETE FROM {db.q('retention_snapshot', db.own_schema)}")
    db.refresh("retention_snapshot", db.own_schema)
    assert len(db.tool.adopt_snapshots(place.repository)) == 2
    adopted = [record.archived for record in db.tool.snapshots()]
    assert [(one.name, one.values, one.start) for one in adopted] == [
        (each.archived.name, each.archived.values, each.archived.start) for each in (april, may)
    ]
    assert {item.refusal for item in db.tool.preview_restore(METRICS)} == {None}
    assert [item.error for item in db.tool.restore(METRICS)] == [None, None]
    assert db.left("metrics") == ALL
    assert {"already exists" in str(item.refusal) for item in db.tool.preview_restore(METRICS)} == {True}
    engine = db.tool.engine.archive
    assert engine.delete(adopted[0])
    assert not engine.delete(adopted[0])
    assert engine.contents(place.repository).snapshots == {adopted[1].name}
    assert engine.delete(adopted[1])
    assert place.own or place.files() == []


@SLOW
def test_read_without_a_restore(place: Place) -> None:
    """SQL and `fetch` read archived rows where they are. What cannot be read is named: damage, and CrateDB's own."""
    db = place.db
    assert_archived(db)
    asked = FetchRequest(
        table_name="metrics",
        table_schema=db.schema,
        start=parse_instant("2024-04-01"),
        end=parse_instant("2024-07-01"),
        step=parse_interval("1mo"),
        metrics=("row_count",),
    )
    found = db.tool.fetch(asked)
    if place.own:
        assert [row[1:] for row in found.rows] == [(1, "raw")]
        assert "only CrateDB can read it" in found.notes[0]
        return
    assert [row[1:] for row in found.rows] == [(1, "archive"), (2, "archive"), (1, "raw")]
    with db.tool.archive.query(f"SELECT n FROM {db.q('metrics')} WHERE ts > '2024-05-15'") as answer:
        assert list(answer) == [(LATE_MAY,)]
    april, _ = place.rows()
    place.write(april, place.read(april)[:-10])
    found = db.tool.fetch(asked)
    assert [row[1:] for row in found.rows] == [(2, "archive"), (1, "raw")]
    assert [note[:54] for note in found.notes] == ["2024-04-01 to 2024-05-01: archived rows were not read:"]


@SLOW
def test_late_rows(place: Place) -> None:
    """Rows that arrive after their partition was dropped are in another archive; a restore has all of them once."""
    db = place.db
    assert_archived(db)
    db.fill("metrics", ["2024-05-11T00:00:00Z"])
    assert db.run().partitions == 1
    assert [item.error for item in db.tool.restore(METRICS)] == [None] * 3
    assert db.left("metrics") == sorted([*ALL, "2024-05-11T00:00:00Z"])
    for hold in db.tool.holds():
        db.tool.release(hold.id)
    assert db.run().partitions == 2
    stages = [record.stage for record in db.tool.snapshots()]
    assert sorted(stages) == [SnapshotStage.ARCHIVED] * 2 + [SnapshotStage.SUPERSEDED] * 2
    assert [item.rows for item in db.tool.restore(METRICS)] == [1, 3]


def truncate(place: Place, file: str) -> None:
    """As a full disk does it."""
    place.write(file, place.read(file)[:-50])


def flip(place: Place, file: str) -> None:
    """One bit, as a failing disk does it; the size stays."""
    content = place.read(file)
    middle = len(content) // 3
    place.write(file, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def empty(place: Place, file: str) -> None:
    """As a file system does it that lost power."""
    place.write(file, b"")


def remove(place: Place, file: str) -> None:
    """As a clean-up by hand does it."""
    place.delete(file)


# What is damaged is found by code that does not know where the files are.
ON_S3 = pytest.mark.long("make test has these cases in a directory, and others on S3", on="s3")
DAMAGE = [flip, *(pytest.param(damage, marks=[DECIDED, ON_S3]) for damage in (truncate, empty, remove))]


@pytest.mark.parametrize("of", ["rows", pytest.param("manifest", marks=[DECIDED, ON_S3])])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.some(6)
def test_damage_before_the_drop(files: Place, damage: Callable[[Place, str], None], of: str) -> None:
    """The partition stays, and the next run writes what is damaged again, also if its size is the same."""
    db = files.db

    def act() -> None:
        (file,) = files.rows() if of == "rows" else files.manifests()
        damage(files, file)

    report = db.tool.run(observers=[after(SnapshotPartition, act)])
    assert (report.failed, report.skipped, report.partitions) == (1, 1, 0)
    assert_stays(db)
    assert_archived(db)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_after_a_kill(files: Place, damage: Callable[[Place, str], None]) -> None:
    """A run was killed before it read an archive back: the next one does not take what is damaged for one."""
    db = files.db

    def stop() -> None:
        damage(files, files.rows()[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.tool.run(observers=[after(SnapshotPartition, stop)])
    assert db.left("metrics") == ALL
    db.forget_leases()
    assert_archived(db)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_after_the_drop(place: Place, damage: Callable[[Place, str], None]) -> None:
    """It is found by reading back, and mostly by a list; a restore restores nothing of it, and the rest."""
    db = place.db
    assert_archived(db)
    april, may = db.tool.snapshots()
    if place.own:
        for file in place.rows():
            damage(place, file)
    else:
        damage(place, place.rows()[0])
        states = db.tool.snapshot_states([april, may])
        assert [states[record.key].complete for record in (april, may)] == [damage is flip, True]
    right = not place.own
    assert [found.error is None for found in db.tool.verify_snapshots()] == [False, right]
    assert [item.error is None for item in db.tool.restore(METRICS)] == [False, right]
    assert db.left("metrics") == ([MAY, LATE_MAY, JUNE] if right else [JUNE])


def forge(place: Place, **more: object) -> None:
    """Change the first manifest, so that it seems right."""
    from cratedb_retention.engine.parquet import _checksum

    file = place.manifests()[0]
    described = {**json.loads(place.read(file)), **more}
    described.pop("checksum")
    place.write(file, json.dumps({**described, "checksum": _checksum(described)}).encode())


def replace_rows(place: Place, local: Path) -> None:
    """Replace the first file by one with as many rows, of which one value differs."""
    import pyarrow
    import pyarrow.parquet

    file = place.rows()[0]
    local.write_bytes(place.read(file))
    table = pyarrow.parquet.read_table(local)
    other = pyarrow.array(["2024-04-11T00:00:00Z"] * table.num_rows, table.schema.field("n").type)
    changed = table.set_column(table.schema.get_field_index("n"), "n", other)
    pyarrow.parquet.write_table(changed, local, compression="zstd", write_page_checksum=True)
    place.write(file, local.read_bytes())
    forge(place, size=local.stat().st_size, sha256=hashlib.sha256(local.read_bytes()).hexdigest())


def test_other_values(files: Place, tmp_path: Path) -> None:
    """A whole file with as many rows, of which one value differs: only a digest over all values tells."""
    db, local = files.db, tmp_path / "rows.parquet"
    report = db.tool.run(observers=[after(SnapshotPartition, lambda: replace_rows(files, local))])
    assert (report.failed, report.partitions) == (1, 0)
    assert_stays(db)
    assert any("differ from the 1 archived" in error for error in errors(db))
    assert_archived(db)


def test_earlier_manifests(crate_files: ParquetDatabase, tmp_path: Path) -> None:
    """An archive of a version that kept no checksum is verified by its digest."""
    place = fill(Directory(crate_files, crate_files.repository, crate_files.directory))
    assert_archived(crate_files)
    forge(place, values_sha256="")
    assert [found.error for found in crate_files.tool.verify_snapshots()] == [None, None]
    replace_rows(place, tmp_path / "rows.parquet")
    april, may = (found.error for found in crate_files.tool.verify_snapshots())
    assert "differ from the 1 archived" in str(april) and may is None


def test_later_manifests(duck: DuckDatabase, tmp_path: Path) -> None:
    """An archive of a later version, whose manifest has more, is not said to be damaged, and stays."""
    directory = tmp_path / "archive"
    directory.mkdir()
    place = fill(Directory(duck, f"file://{directory}", directory))
    assert_archived(duck)
    forge(place, toolkit="9.1", more="x")
    april, may = (found.error for found in duck.tool.verify_snapshots())
    assert "was written by version 9.1, with more. Upgrade cratedb-retention" in str(april) and may is None
    assert [item.error is None for item in duck.tool.restore(METRICS)] == [False, True]
    assert duck.left("metrics") == [MAY, LATE_MAY, JUNE]


def test_of_another_database(duck: DuckDatabase, tmp_path: Path) -> None:
    """Databases may share an address: what another one archived there, with types of its own, is not taken for ours."""
    directory = tmp_path / "archive"
    directory.mkdir()
    place = fill(Directory(duck, f"file://{directory}", directory))
    assert_archived(duck)
    forge(place, database="CrateDB")
    april, may = (verified.error for verified in duck.tool.verify_snapshots())
    assert "was archived from CrateDB" in str(april) and may is None
    duck.sql(f"DELETE FROM {duck.q('retention_snapshot', duck.own_schema)}")
    [adopted] = duck.tool.adopt_snapshots(place.repository)
    assert adopted.record.archived.partition == "month=2024-05-01"


def test_full_disk(crate: CrateDatabase, tmp_path: Path) -> None:
    """A file that cannot be written whole: in one line, nothing is dropped, and nothing of it is left."""
    directory = tmp_path / "archive"
    directory.mkdir()
    found = fill(Directory(crate, f"file://{directory}", directory))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        report = crate.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (report.ok, report.partitions, found.files()) == (False, 0, [])
    assert_stays(crate)
    assert any("File too large" in error for error in errors(crate))
    assert_archived(crate)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that has room for one small file."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts a file system")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("engine", ["duck", pytest.param("crate", marks=[*ON_CRATEDB, DECIDED])])
@pytest.mark.parametrize("rows", [1, 400], ids=["manifest", "rows"])
def test_disk_without_room(request: pytest.FixtureRequest, small_disk: Path, engine: str, rows: int) -> None:
    """The manifest does not fit, or not even the rows: one line, nothing is dropped, and with room it goes on."""
    found = fill(Directory(request.getfixturevalue(engine), f"file://{small_disk}", small_disk))
    db, names = found.db, [hashlib.sha256(str(n).encode()).hexdigest() for n in range(rows)]
    db.insert("metrics", [{"ts": APRIL, "n": name} for name in names])
    before = db.left("metrics")
    report = db.run()
    assert (report.failed, report.skipped, report.partitions) == (1, 1, 0)
    assert db.left("metrics") == before
    assert len(found.rows()) == (rows == 1), "rows that are not whole are not left"
    assert not isinstance(db, CrateDatabase) or db.frozen("metrics") == 0
    full = [each for each in errors(db) if "No space left on device" in each or "disk is full" in each]
    assert [each.startswith(f"repository {found.repository}") for each in full] == [True], errors(db)
    assert all("\n" not in error for error in errors(db))
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    assert_archived(db)


@pytest.mark.parametrize("engine", ["duck", pytest.param("crate", marks=ON_CRATEDB)])
def test_missing_directory(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    """A directory of an address that does not exist may be a mount that is gone: it is not created."""
    directory = tmp_path / "archive"
    found = fill(Directory(request.getfixturevalue(engine), f"file://{directory}", directory))
    report = found.db.run()
    assert (report.ok, report.partitions, directory.exists()) == (False, 0, False)
    assert_stays(found.db)
    assert any(f"directory {directory} does not exist" in error for error in errors(found.db))
    directory.mkdir()
    assert_archived(found.db)


REFUSALS = [
    (503, "", ""),
    (HALF, "GET", ".parquet"),
]
ON_DUCKDB = [
    (507, "PUT POST", ".parquet"),  # No space is left.
    (403, "PUT POST", ".json"),
]
OTHERS = [
    (403, "", ""),
    (404, "", ""),
    (503, "GET", ".parquet"),
    (403, "GET", ".parquet"),
    (HALF, "GET", ".json"),
]
ELSEWHERE = pytest.mark.long("make test has others: each kind of answer, and each place of a run")


@pytest.fixture(params=["duck", pytest.param("crate", marks=ON_CRATEDB)])
def bucket(request: pytest.FixtureRequest, s3: ObjectStore) -> Bucket:
    """A bucket, and each engine in turn."""
    found = Bucket(request.getfixturevalue(request.param), s3)
    fill(found)
    return found


@pytest.mark.slow("starts an S3 server")
@pytest.mark.parametrize(
    "refused",
    [
        *REFUSALS,
        *(pytest.param(each, marks=DECIDED) for each in ON_DUCKDB),
        *(pytest.param(each, marks=ELSEWHERE) for each in OTHERS),
    ],
    ids=str,
)
def test_refusals(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, refused: tuple[int, str, str]) -> None:
    """A store that refuses something, or answers half of it: nothing is dropped, and the next run goes on."""
    db, store = bucket.db, bucket.store
    with refusing(store.address, *refused) as address:
        store.use(monkeypatch, address)
        report = db.run()
    assert (report.failed, report.skipped, report.partitions) == (1, 1, 0)
    assert_stays(db)
    assert refused[0] == HALF or any("repository s3://archives/cold" in error for error in errors(db))
    store.use(monkeypatch)
    assert_archived(db)


def count_names(db: Database) -> int:
    """How many names are archived, as a query reads them."""
    with db.tool.archive.query(f"SELECT count(n) FROM {db.q('metrics')}") as answer:
        return int(next(answer.rows)[0])


@pytest.mark.slow("starts an S3 server")
@pytest.mark.parametrize(
    "refused", [(HALF, "GET", ".parquet"), *(pytest.param(each, marks=ELSEWHERE) for each in OTHERS[2:4])], ids=str
)
@pytest.mark.long("make test has those that come before anything is read")
def test_refusals_later(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, refused: tuple[int, str, str]) -> None:
    """The same after the drop: a restore restores nothing, and then everything; a query is an error, not an answer."""
    db, store = bucket.db, bucket.store
    assert_archived(db)
    april, may = db.tool.snapshots()
    with refusing(store.address, *refused) as address:
        store.use(monkeypatch, address)
        states = db.tool.snapshot_states([april, may])
        assert states[april.key].complete == (refused[1] == "GET")
        assert all(found.error for found in db.tool.verify_snapshots())
        assert all(item.error for item in db.tool.restore(METRICS))
        assert db.left("metrics") == [JUNE]
        with pytest.raises(RetentionError) as unread:
            count_names(db)
        assert "\n" not in str(unread.value) and SECRET not in str(unread.value)
    store.use(monkeypatch)
    assert count_names(db) == 3
    assert [item.error for item in db.tool.restore(METRICS)] == [None, None]
    assert db.left("metrics") == ALL


@SLOW
def test_wide_rows(files: Place) -> None:
    """Rows of two megabytes among narrow ones, and a partition whose value is longer than a name of a directory."""
    db, wide = files.db, "wide " * 400_000
    of_crate = isinstance(db, CrateDatabase)
    long_text = "TEXT INDEX OFF STORAGE WITH (columnstore = false)" if of_crate else "TEXT"
    db.create("t", {"ts": TIME, "n": "TEXT", "v": long_text, "kind": "TEXT"}, by=["kind"])
    value = "größe/" * (4 if of_crate else 60)
    db.insert("t", [{"ts": MAY, "n": str(n), "v": wide if n % 10 == 9 else "x", "kind": value} for n in range(40)])
    before = db.rows(f"SELECT n, v FROM {db.q('t')} ORDER BY n")
    db.policy("snapshot", "t", "30d", partition_column="kind", target_repository_name=files.repository)
    assert db.run().ok, errors(db)
    assert db.count("t") == 0
    assert [item.error for item in db.tool.restore(RestoreRequest(table_name="t"))] == [None]
    db.refresh("t")
    assert db.rows(f"SELECT n, v FROM {db.q('t')} ORDER BY n") == before


# Archives of earlier versions on DuckDB


def as_before(duck: DuckDatabase, name: str, without: tuple[str, ...] = ()) -> Path:
    """An archive as earlier versions wrote it: a directory with rows and a manifest."""
    now = json.loads(duck.manifest(name).read_text())
    (rows,) = (path for path in duck.snapshot_files() if path.stem == name)
    directory = duck.directory / name
    directory.mkdir()
    rows.rename(directory / "data.parquet")
    manifest = {
        "table": now["table"],
        "columns": now["columns"],
        "partition": [[column, value] for column, _, _, value in now["partition"]],
        "rows": now["rows"],
        "token": now["token"],
        "sha256": now["sha256"],
        "version": 2,
        "size": now["size"],
        "generated": now["generated"],
        "comment": now["comment"],
        "span": now["span"],
    }
    found = {key: value for key, value in manifest.items() if key not in without}
    (directory / "manifest.json").write_text(json.dumps(found, indent=2) + "\n")
    duck.manifest(name).unlink()
    return directory


OLDEST = ("version", "size", "generated", "comment", "span")


@pytest.mark.parametrize(
    ("without", "dropped"), [((), False), ((), True), (OLDEST, False)], ids=["second", "dropped", "first"]
)
@pytest.mark.some(2)
def test_archives_of_earlier_versions(duck: DuckDatabase, without: tuple[str, ...], dropped: bool) -> None:
    """They are listed, verified, adopted, restored, superseded and deleted like others."""
    fill(Directory(duck, duck.repository, duck.directory))
    assert_archived(duck)
    april, may = (as_before(duck, record.archived.name, without) for record in duck.tool.snapshots())
    assert {state.detail for state in duck.tool.snapshot_states(duck.tool.snapshots()).values()} == {"SUCCESS"}
    assert [found.error for found in duck.tool.verify_snapshots()] == [None, None]
    known = [(record.archived.values, record.archived.rows) for record in duck.tool.snapshots()]
    duck.sql("DELETE FROM ext.retention_snapshot")
    assert duck.tool.engine.archive.contents(duck.repository).snapshots == {april.name, may.name}
    assert len(duck.tool.adopt_snapshots(duck.repository)) == 2
    assert [(record.archived.values, record.archived.rows) for record in duck.tool.snapshots()] == known
    if dropped:
        duck.sql("DROP TABLE lab.metrics")
    assert [item.error for item in duck.tool.restore(METRICS)] == [None, None]
    assert duck.left("metrics") == (ALL[:3] if dropped else ALL)
    for hold in duck.tool.holds():
        duck.tool.release(hold.id)
    duck.fill("metrics", [LATE_MAY])
    assert duck.run().partitions == 2
    assert [record.stage for record in duck.tool.snapshots()].count(SnapshotStage.SUPERSEDED) >= 1
    assert duck.tool.engine.archive.delete(adopted(duck, april.name))
    assert not april.exists() and may.exists()


def adopted(duck: DuckDatabase, name: str) -> Archived:
    """A snapshot by its name."""
    return next(record.archived for record in duck.tool.snapshots() if record.archived.name == name)


@pytest.mark.parametrize("damage", ["data.parquet", "manifest.json"])
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.some(3)
def test_damaged_archives_of_earlier_versions(
    duck: DuckDatabase, damage: str, how: Callable[[Place, str], None]
) -> None:
    """They are found, and restore nothing; deleting them leaves nothing."""
    found = Directory(duck, duck.repository, duck.directory)
    fill(found)
    assert_archived(duck)
    april, may = (as_before(duck, record.archived.name, OLDEST) for record in duck.tool.snapshots())
    how(found, str(april / damage))
    assert [verified.error is None for verified in duck.tool.verify_snapshots()] == [False, True]
    assert [item.error is None for item in duck.tool.restore(METRICS)] == [False, True]
    assert duck.left("metrics") == [MAY, LATE_MAY, JUNE]
    duck.tool.engine.archive.delete(adopted(duck, april.name))
    assert not april.exists() and may.exists()


def by_duckdb(table: str) -> Iterable[tuple[Any, ...]]:
    return duckdb.sql(f"SELECT month, n FROM read_parquet('{table}/**/*.parquet', hive_partitioning = true)").fetchall()


def by_pandas(table: str) -> Iterable[tuple[Any, ...]]:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return list(pandas.read_parquet(table)[["month", "n"]].itertuples(index=False))


def by_polars(table: str) -> Iterable[tuple[Any, ...]]:
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    found = polars.scan_parquet(f"{table}/**/*.parquet", hive_partitioning=True).collect()
    return list(found.select("month", "n").rows())


def by_spark(table: str) -> Iterable[tuple[Any, ...]]:
    sql = pytest.importorskip("pyspark.sql", reason="Spark is not installed")
    spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        return [(row.month, row.n) for row in spark.read.parquet(table).collect()]
    finally:
        spark.stop()


OTHER_PROGRAMS = (by_pandas, by_polars, by_spark)
IS_SEEN = pytest.mark.long("make test reads them by DuckDB, and the documentation by pandas")


@pytest.mark.parametrize("read", [by_duckdb, *(pytest.param(each, marks=IS_SEEN) for each in OTHER_PROGRAMS)])
@pytest.mark.filterwarnings("ignore")  # Their own.
def test_files_are_read_by_others(duck: DuckDatabase, read: Callable[[str], Iterable[tuple[Any, ...]]]) -> None:
    """The directory has the layout of Hive, which other programs read with one line."""
    fill(Directory(duck, duck.repository, duck.directory))
    assert_archived(duck)
    assert sorted((str(month)[:10], n) for month, n in read(f"{duck.directory}/lab.metrics")) == [
        ("2024-04-01", APRIL),
        ("2024-05-01", MAY),
        ("2024-05-01", LATE_MAY),
    ]


@pytest.mark.parametrize("kind", ["rows", "manifest"])
def test_half_a_file(duck: DuckDatabase, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A run that is killed while a file is written leaves none of that name; the next one leaves no other."""
    found = Directory(duck, duck.repository, duck.directory)
    fill(found)

    def die(path: Path) -> None:
        if path.is_file() and (path.suffix == ".partial") and (("_manifests" in path.parts) == (kind == "manifest")):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("cratedb_retention.engine.parquet._sync", die)
        patched.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # A kill leaves it.
        duck.run()
    assert found.manifests() == []
    assert len(found.rows()) == (kind == "manifest")
    assert len([file for file in found.files() if file.endswith(".partial")]) == 1
    duck.forget_leases()
    assert_archived(duck)
    assert [file for file in found.files() if file.endswith(".partial")] == []
