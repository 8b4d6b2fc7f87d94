"""
Archives of CrateDB's partitions as Parquet files, see :mod:`cratedb_retention.engine.files`.

A frozen partition is read by a cursor, in pages of a limited size. A restore writes a copy in the toolkit's own schema,
compares it with the archive, and then copies it into the table by one statement. If that is interrupted, the rows that
are there are part of the archive, and are replaced by the next restore.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cratedb_retention.collector import collecting_rarely
from cratedb_retention.engine.archive import (
    Archive,
    ArchivedColumn,
    ArchivedRows,
    Archives,
    Arrived,
    Contents,
    PlainFile,
    Snapshot,
    SnapshotState,
    Unread,
)
from cratedb_retention.engine.base import changed, label
from cratedb_retention.engine.cratedb import shards, sql
from cratedb_retention.engine.cratedb.archive import FROZEN, MERGED, POLL_SECONDS, CrateArchive
from cratedb_retention.engine.cratedb.catalog import Reader
from cratedb_retention.engine.cratedb.query import dataset_rows, require_readable
from cratedb_retention.engine.cratedb.values import Stored, describe_columns, inexact
from cratedb_retention.engine.database import Statement
from cratedb_retention.engine.expressions import Condition, ref, table_ref
from cratedb_retention.engine.files import File, FileArchive, require_same
from cratedb_retention.engine.parquet import Checksum, Digest, Manifest, Store, describe_partition, row_hashes, version
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import Conflict, DatabaseError, NotFound, Recovering
from cratedb_retention.model.address import is_address
from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot

if TYPE_CHECKING:
    import pyarrow as pa

# Of a page: its rows, and its bytes as JSON, estimated by a sample of the page before. CrateDB collects a page in a
# thread of its HTTP endpoint, where other connections wait for it, so a page is not large.
PAGE_ROWS, PAGE_BYTES, SAMPLE = 10_000, 2 * 2**20, 50
FIRST_ROWS, GROWTH = 10, 20
MANY_ROWS = 100_000  # Of a partition, to read two halves of it side by side.
AHEAD = 2  # Pages, so that the server always has one to collect.
INSERT_ROWS, INSERT_BYTES = 5_000, 2 * 2**20
HASHES = 500_000  # Of rows that are compared at once.
RECOVERING = 120  # Looks at shards that are being recovered.
_NAME = r'"(?:[^"]|"")+"'
_CREATES = re.compile(rf"CREATE TABLE IF NOT EXISTS {_NAME}\.{_NAME}")
# Fields of objects that never had a value are listed, but cannot be created; and what is left without them.
_UNDEFINED = (
    (re.compile(rf"\n\s+{_NAME} (?:ARRAY\()*UNDEFINED\)*,?(?=\n)"), ""),
    (re.compile(r",(?=\n\s*\))"), ""),
    (re.compile(r" AS \(\n\s*\)"), ""),
)
_BESIDE = "restore it into another table, with --into"
_THERE = "restore it into another table, or delete it first"
Columns = Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table's definition, and its columns as they are archived."""

    definition: str
    stored: Sequence[Stored]
    known: Sequence[Column]  # All columns, and those within objects.
    partitioned_by: tuple[str, ...]

    @property
    def generated(self) -> list[list[Any]]:
        return [[i, c.name, c.type, c.expression] for i, c in enumerate(self.known) if c.expression]


class ParquetArchive(FileArchive, CrateArchive):
    """Archives below addresses."""

    database_name = "CrateDB"

    def _store(self, repository: str) -> Store:
        return Store(repository)

    def create(self, step: SnapshotPartition) -> StepResult:
        """The partition must be frozen, and its rows readable."""
        self._require_frozen(step)
        if step.piece.partition.closed:
            raise DatabaseError(f"table {step.table}", f"partition {label(step, step.piece)} is closed", "open it")
        return super().create(step)

    def _write(self, store: Store, step: SnapshotPartition, path: str) -> Manifest:
        import pyarrow as pa

        layout, digest, where = self._layout_of(step.table), Digest(), sql.is_of(step)
        for column in inexact(layout.known):
            raise DatabaseError(f"table {step.table}", f"column {column} cannot be archived exactly", "change its type")
        with _exactly(step):
            schema = pa.schema([(column.name, column.arrow_type()) for column in layout.stored])
        expected = self._count_rows(step.table, step)
        with store.writing_rows(path, schema) as file:
            for part, columns, rows in self._read_parts(step.table, layout.stored, where, expected):
                digest.add(_comparable(layout.stored, columns), rows)
                with _exactly(step):
                    batch = exact_batch(layout.stored, columns, schema)
                file.write(batch, part)
            if digest.rows != expected:
                reason = f"{digest.rows:,} rows were read, but it has {expected:,}"
                raise DatabaseError(f"table {step.table}, partition {label(step, step.piece)}", reason, "run again")
        return Manifest(
            table=list(step.table),
            columns=[[column.name, column.type] for column in layout.stored],
            partition=describe_partition(step.columns, step.values),
            rows=digest.rows,
            digest=digest.text,
            values_sha256=file.checksum.text,
            token=step.piece.partition.token,
            file=path,
            size=store.size(path),
            database=self.database_name,
            definition=layout.definition,
            exact=[column.name for column in layout.stored if column.exact],
            generated=layout.generated,
            span=[step.piece.start, step.piece.end],
            toolkit=version(),
        )

    def prove(self, step: VerifySnapshot | DropArchived) -> StepResult:
        """The partition must still have as many rows."""
        result = super().prove(step)
        if self._count_rows(step.table, step) != result.rows:
            if not shards.check_token(self._database, step):
                raise changed(step, step.piece, "is gone since the plan was made")
            raise DatabaseError(self._thing(step), "has another number of rows than its partition", "run again")
        return result

    def _require_complete(self, step: VerifySnapshot | DropArchived) -> None:
        found = self._find(step)
        require_same(found, step)
        self._require_there(found)

    def _read(self, file: File) -> tuple[int, bool]:
        manifest = file.manifest
        if manifest.values_sha256:
            checksum = Checksum()
            for batch in file.store.read_rows(manifest.file):
                checksum.add(batch)
            return checksum.rows, checksum.text == manifest.values_sha256
        digest, stored = Digest(), _stored(manifest)
        for columns, rows in _file_rows(file):
            digest.add(_comparable(stored, columns), rows)
        return digest.rows, digest.text == manifest.digest

    def _shared(self, one: File, other: File) -> int:
        return _count_shared(_hashes(one), _hashes(other), one.manifest.rows)

    def _require_readable(self, file: File) -> None:
        require_readable(file.manifest)

    def _rows(self, table: TableName, files: Sequence[File]) -> list[ArchivedRows]:
        return [dataset_rows(table, files[0].store, [file.manifest for file in files])]

    def continues(self, earlier: Archived, step: ArchivingStep, token: str | None, whole: bool, schema: str) -> bool:
        """By the incarnation of the partition; after an interrupted restore by rows, all of which must be there."""
        if token is not None:
            return CrateArchive.continues(self, earlier, step, token, whole, schema)
        found, where = self._find(earlier), sql.is_of(step)
        rows, present = found.manifest.rows, self._hashes_of(step.table, _stored(found.manifest), where)
        shared = _count_shared(_hashes(found), present, rows)
        if whole or shared in (0, rows):
            return shared == rows
        thing = f"table {step.table}, partition {earlier.partition}"
        reason = f"restoring snapshot {earlier.name} was interrupted: it has {shared:,} of {rows:,} rows"
        raise Conflict(thing, reason, "restore it again, then release it")

    # Restoring

    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        found = self._find_all(snapshots)
        one, manifests = snapshots[0], [file.manifest for file in found]
        definition = self._definition_for(into, manifests, others)
        present = self._require_fit(into, manifests)
        key = hashlib.sha256(json.dumps([(each.repository, each.name) for each in snapshots]).encode()).hexdigest()[:12]
        copy = TableName(schema, f"{MERGED}{key}_rows")
        self._drop_copy(copy)
        try:
            self._create(definition, copy)
            self._database.execute(sql.alter([table_ref(copy)], "number_of_replicas", 0))
            for file in found:
                self._insert(file, copy)
            self._require_same_rows(copy, found)
            if present:
                self._remove_partial(into, one, found)
            else:
                self._create(definition, into)
            self._move_in(copy, into, one, found)
        finally:
            self._drop_copy(copy)
        return Arrived(tuple(each.rows for each in manifests), shards.find_token(self._database, into, one))

    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        manifests = [self._find(each).manifest for each in snapshots]
        definition = self._definition_for(into, manifests, others)
        created = [] if self._require_fit(into, manifests) else [self._renamed(definition, into)]
        return [*created, self._database.insertion(into, _insertable(manifests[-1]))]

    def _definition_for(self, into: TableName, manifests: Sequence[Manifest], others: Archives) -> str:
        """That of the table to restore into; if it does not exist, of the archived one that has the most columns."""
        if self._known(into)[0]:
            return self._definition(into)
        known = {(each.repository, each.name): each for each in others if is_address(each.repository)}
        alike = [each for each in known.values() if each.table == TableName(*manifests[0].table)]
        every = [*manifests, *(self._find(each).manifest for each in alike)]
        return max(every, key=lambda manifest: manifest.definition.count("\n")).definition

    def _require_fit(self, into: TableName, manifests: Sequence[Manifest]) -> bool:
        """Whether the table exists; fails if its columns are not those that were archived."""
        known = self._known(into)[0]
        if not known:
            return False
        layout, thing = self._layout_of(into), f"table {into}"
        there = {column.name: column.type for column in layout.stored}
        for manifest in manifests:
            names = tuple(name for name, *_ in manifest.partition)
            if layout.partitioned_by != names:
                raise DatabaseError(thing, f"is not partitioned by {', '.join(names)}, as it was archived", _BESIDE)
            for name, data_type in manifest.columns:
                if name not in there:
                    raise DatabaseError(thing, f"has no column {name!r}, which was archived", _BESIDE)
                if there[name] != data_type:
                    raise DatabaseError(thing, f"column {name!r} was {data_type} and is {there[name]}", _BESIDE)
        return True

    def _layout_of(self, table: TableName) -> Layout:
        known, by = self._known(table)
        if not known:
            raise NotFound(f"table {table}", "does not exist")
        declared = Reader(self._database.brief(), []).declared(table)
        return Layout(
            definition=self._definition(table),
            stored=describe_columns(known, declared, by),
            known=tuple(known.values()),
            partitioned_by=by,
        )

    def _definition(self, table: TableName) -> str:
        found = str(self._database.rows(Statement("SHOW CREATE TABLE ", table_ref(table)))[0][0])
        for pattern, instead in _UNDEFINED if "UNDEFINED" in found else ():
            found = pattern.sub(instead, found)
        return found

    def _renamed(self, definition: str, table: TableName) -> str:
        name = ".".join(map(self._database.quote, table))
        return _CREATES.sub(lambda match: f"CREATE TABLE IF NOT EXISTS {name}", definition, count=1)

    def _create(self, definition: str, table: TableName) -> None:
        self._database.execute(Statement(self._renamed(definition, table)))

    def _insert(self, file: File, copy: TableName) -> None:
        """Insert the rows of a file, whose values in the partition columns are those of the partition."""
        manifest = file.manifest
        stored, names = _stored(manifest), _insertable(manifest)
        constant = {name: value for name, _, _, value in manifest.partition}
        for batch in file.store.read_rows(manifest.file):
            size = max(batch.nbytes, 1)
            step = max(1, min(INSERT_ROWS, batch.num_rows * INSERT_BYTES // size))
            for start in range(0, batch.num_rows, step):
                some = batch.slice(start, step)
                values = {c.name: c.parameters(c.from_arrow(some.column(c.name))) for c in stored if c.name in names}
                rows = some.num_rows
                columns = [values[name] if name in values else [constant[name]] * rows for name in names]
                self._database.insert(copy, names, list(zip(*columns, strict=True)))

    def _require_same_rows(self, copy: TableName, found: Sequence[File]) -> None:
        """Compare the rows of a copy with the archives: digests of several add up."""
        self._database.refresh(table_ref(copy))
        digest, expected, stored = Digest(), Digest(), _stored(found[-1].manifest)
        for file in found:
            expected.add_all(file.manifest.rows, file.manifest.digest)
        for _, columns, rows in self._read_parts(copy, stored, sa.true(), expected.rows):
            digest.add(_comparable(stored, columns), rows)
        if (digest.rows, digest.text) != (expected.rows, expected.text):
            thing = f"snapshot {', '.join(file.name for file in found)}"
            raise DatabaseError(thing, "is damaged, or its rows changed when they were written to a copy", _BESIDE)

    def _move_in(self, copy: TableName, into: TableName, one: Archived, found: Sequence[File]) -> None:
        """Copy the rows into the table; the partition appears with the first, and is removed if one is missing."""
        names = _insertable(found[-1].manifest)
        # Columns without a table: one with a table would add that to each query that uses it.
        rows = sa.select(*map(ref, names)).select_from(table_ref(copy))
        expected = sum(file.manifest.rows for file in found)
        try:
            self._database.execute(sa.insert(table_ref(into, *map(ref, names))).from_select(names, rows))
            arrived = self._count_rows(into, one)
            if arrived != expected:
                raise DatabaseError(f"table {into}", f"only {arrived:,} of {expected:,} rows arrived")
        except DatabaseError:
            self._remove_partial(into, one, found)
            raise

    def interrupted(self, snapshots: Archives, into: TableName) -> bool:
        return self._is_partial(into, snapshots[0], self._find_all(snapshots))

    def _is_partial(self, into: TableName, one: Archived, found: Sequence[File]) -> bool:
        """Whether each row of a partition is archived, and some of the archived ones are missing; or it is empty."""
        total = sum(file.manifest.rows for file in found)
        rows = self._count_rows(into, one)
        if not rows or rows >= total:
            return not rows
        present = self._hashes_of(into, _stored(found[-1].manifest), sql.is_of(one))
        return _count_shared(present, _chain(map(_hashes, found)), rows) == rows

    def _remove_partial(self, into: TableName, one: Archived, found: Sequence[File]) -> None:
        """Remove a partition that an interrupted restore left, if there is one. Meanwhile it is frozen."""
        thing, before = f"table {into}", shards.find_token(self._database, into, one)
        if before is None:
            return
        if not self._is_partial(into, one, found):
            raise Conflict(thing, "the partition already exists", _THERE)
        partition = sql.partition_of(into, one.columns, one.values)
        self._database.execute(sql.alter(partition, FROZEN, True))
        if shards.find_token(self._database, into, one) != before:
            self._database.execute(sql.alter(partition, FROZEN, False))
            raise Conflict(thing, "the partition already exists, and is being written to", _THERE)
        self._database.execute(sa.delete(table_ref(into)).where(sql.is_of(one)))

    def merge_by(self, restore: Callable[[TableName], Arrived], into: TableName, of: Archived, schema: str) -> Arrived:
        """
        Restore a partition by a function that restores it into some table: its own, or if it is there already, into a
        copy, from which the rows that it lacks are added. Its token is then one that no snapshot is found by, since
        other rows may be in it as well.
        """
        if shards.find_token(self._database, into, of) is None:
            try:
                return restore(into)
            except Conflict:
                if shards.find_token(self._database, into, of) is None:
                    raise  # Otherwise a row arrived in the partition in the meantime.
        with self._copy_of(schema, of.name, MERGED) as copy:
            restore(copy)
            rows = self._complete(copy, into, of)
        incarnations = sorted(shards.incarnations(shards.find_token(self._database, into, of) or ""))
        return Arrived((rows,), "+".join(f"{each}:merged" for each in incarnations))

    def _complete(self, copy: TableName, into: TableName, of: Archived) -> int:
        """
        Add to a partition the rows of a copy that it lacks, each as often as it is in the copy. Rows are compared by
        all values of the copy's columns. If that is interrupted, the next time finds what is there.
        """
        layout, where = self._layout_of(copy), sql.is_of(of)
        thing = f"table {into}, partition {of.partition}"
        for column in inexact(layout.known):
            raise Conflict(thing, f"has rows by now, and column {column} cannot be compared exactly", _BESIDE)
        self._await_shards(into)
        total = self._count_rows(copy)
        archived = self._hashes_of(copy, layout.stored, sa.true())
        present = self._hashes_of(into, layout.stored, where)
        self._count_rows(into, of)  # Makes all rows of the partition visible.
        shared = _count_shared(archived, present, total)
        if self._shared_rows(copy, into, where) > shared:
            reason = "has rows with the same primary key by now, or they were changed; nothing was brought back"
            raise Conflict(thing, reason, _BESIDE)
        names = [c.name for c in layout.known if "['" not in c.name and not c.expression]
        if not shared:
            # Columns without a table: one with a table would add that to each query that uses it.
            rows = sa.select(*map(ref, names)).select_from(table_ref(copy))
            self._database.execute(sa.insert(table_ref(into, *map(ref, names))).from_select(names, rows))
        elif shared < total:
            self._insert_missing(copy, into, of, layout, total)
        self._count_rows(into, of)
        arrived = _count_shared(archived, present, total)
        if arrived != total:
            raise DatabaseError(thing, f"only {arrived:,} of {total:,} rows arrived", "undo it again")
        return total - shared

    def _await_shards(self, table: TableName) -> None:
        """Wait for shards that are being recovered: CrateDB may still be restoring for a command that was killed."""
        for _ in range(RECOVERING):
            try:
                shards.check_shards(self._database, table)
            except Recovering:
                self._clock.sleep(POLL_SECONDS)
            else:
                return
        shards.check_shards(self._database, table)

    def _insert_missing(self, copy: TableName, into: TableName, of: Archived, layout: Layout, total: int) -> None:
        computed = {column.name for column in layout.known if column.expression}
        stored = [column for column in layout.stored if column.name not in computed]
        constant = dict(zip((column.name for column in of.columns), of.values, strict=True))
        own = [name for name in layout.partitioned_by if "['" not in name and name not in computed]
        names, passes = [*(column.name for column in stored), *own], total // HASHES + 1
        for number in range(passes):
            hashes = self._hashes_of(into, layout.stored, sql.is_of(of))()
            present = Counter(value for value in hashes if value % passes == number)
            for columns, rows in self._read_rows(copy, layout.stored, sa.true()):
                missing = []
                for place, value in enumerate(row_hashes(_comparable(layout.stored, columns), rows)):
                    if value % passes == number:
                        if present[value] > 0:
                            present[value] -= 1
                        else:
                            missing.append(place)
                of_column = dict(zip((column.name for column in layout.stored), columns, strict=True))
                for first in range(0, len(missing), INSERT_ROWS):
                    some = missing[first : first + INSERT_ROWS]
                    values = [c.parameters([of_column[c.name][place] for place in some]) for c in stored]
                    values += [[constant[name]] * len(some) for name in own]
                    self._database.insert(into, names, list(zip(*values, strict=True)))

    # Reading

    def _read_rows(
        self, table: TableName, stored: Sequence[Stored], where: Condition
    ) -> Generator[tuple[list[Sequence[Any]], int]]:
        """The plain values of rows by column, in pages; the next ones are read meanwhile."""
        selected = [column.select() for column in stored] or [sa.literal_column("1")]
        query = sa.select(*selected).select_from(table_ref(table)).where(where)
        pool = ThreadPoolExecutor(1, thread_name_prefix="rows")
        latest: list[Sequence[Any]] | None = None

        def read() -> list[Sequence[Any]]:
            nonlocal latest
            if latest != []:
                latest = fetch(FIRST_ROWS if latest is None else _next_page(latest))
            return latest

        with collecting_rarely(), self._database.reading(query) as fetch, pool as reader:
            coming = deque(reader.submit(read) for _ in range(AHEAD))
            while rows := coming.popleft().result():
                coming.append(reader.submit(read))
                yield _by_column(stored, rows)

    def _read_parts(
        self, table: TableName, stored: Sequence[Stored], where: Condition, rows: int
    ) -> Iterator[tuple[int, list[Sequence[Any]], int]]:
        """
        The rows of a table that is not written to, as :meth:`_read_rows` gives them, with the number of their part:
        two halves of many rows are read side by side, which takes CrateDB half of the time.
        """
        parts = self._halves(table, stored, where) if rows >= MANY_ROWS else [where]
        with ExitStack() as stack:
            readers = [stack.enter_context(closing(self._read_rows(table, stored, part))) for part in parts]
            left = deque(enumerate(readers))
            while left:
                part, reader = left.popleft()
                if (found := next(reader, None)) is not None:
                    left.append((part, reader))
                    yield part, *found

    def _halves(self, table: TableName, stored: Sequence[Stored], where: Condition) -> list[Condition]:
        """Two conditions of which each row fulfils exactly one, by the median of a time; or one, without a time."""
        times = (c.name for c in stored if c.base.startswith("timestamp") and not c.depth)
        for time in map(ref, times):
            median_of = sa.func.percentile(sa.cast(time, sa.BigInteger), 0.5)
            median = self._database.rows(sa.select(median_of).select_from(table_ref(table)).where(where))[0][0]
            if median is not None:
                earlier = sa.func.coalesce(time < int(median), sa.false())
                return [sa.and_(where, earlier), sa.and_(where, sa.not_(earlier))]
        return [where]

    def _hashes_of(self, table: TableName, stored: Sequence[Stored], where: Condition) -> Callable[[], Iterator[int]]:
        """The hashes of rows of a table, which can be read several times."""

        def read() -> Iterator[int]:
            for columns, rows in self._read_rows(table, stored, where):
                yield from row_hashes(_comparable(stored, columns), rows)

        return read


def _next_page(rows: Sequence[Sequence[Any]]) -> int:
    """How many rows to read next: about as many bytes as a page has, and not much more than the rows before."""
    sample = rows[:: len(rows) // SAMPLE + 1]
    width = sum(map(_width, sample)) // len(sample) + 1
    return max(1, min(PAGE_ROWS, PAGE_BYTES // width, len(rows) * GROWTH))


def _width(value: Any) -> int:
    """About how many bytes a value has as JSON."""
    if isinstance(value, str):
        return len(value)
    return sum(map(_width, value)) if isinstance(value, list | tuple) else 12


def _count_shared(one: Callable[[], Iterator[int]], other: Callable[[], Iterator[int]], rows: int) -> int:
    """How many of the rows of one are in the other as well, each as often as it is in both."""
    passes, shared = rows // HASHES + 1, 0
    for number in range(passes):
        left = Counter(value for value in one() if value % passes == number)
        for value in other():
            if value % passes == number and left[value] > 0:
                left[value] -= 1
                shared += 1
    return shared


@contextmanager
def _exactly(step: ArchivingStep) -> Iterator[None]:
    """Turn errors of a value that does not fit its type in a file into one of this toolkit."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # Those of pyarrow are among them.
        thing = f"table {step.table}, partition {label(step, step.piece)}"
        raise DatabaseError(thing, f"a value cannot be archived exactly: {error}", "change the column's type") from None


def _by_column(stored: Sequence[Stored], page: Sequence[Sequence[Any]]) -> tuple[list[Sequence[Any]], int]:
    columns = list(zip(*page, strict=True)) if page and stored else [() for _ in stored]
    return [column.plain(values) for column, values in zip(stored, columns, strict=True)], len(page)


def exact_batch(stored: Sequence[Stored], columns: Columns, schema: pa.Schema) -> pa.RecordBatch:
    """The values as a file has them, from which the same plain values are made; ValueError otherwise."""
    import orjson
    import pyarrow as pa

    arrays = [column.to_arrow(values) for column, values in zip(stored, columns, strict=True)]
    for column, values, array in zip(stored, columns, arrays, strict=True):
        if orjson.dumps(column.from_arrow(array)) != orjson.dumps(values):
            raise ValueError(f"column {column.name} would have other values")
    return pa.record_batch(arrays, schema=schema)


def _comparable(stored: Sequence[Stored], columns: Columns) -> list[Sequence[Any]]:
    return [column.comparable(values) for column, values in zip(stored, columns, strict=True)]


def _stored(manifest: Manifest) -> list[Stored]:
    return [Stored(name, data_type, name in manifest.exact) for name, data_type in manifest.columns]


def _insertable(manifest: Manifest) -> list[str]:
    """The columns to write: those that are not computed from others, also of the partition, unless within an object."""
    names = [*(name for name, _ in manifest.columns), *(name for name, *_ in manifest.partition if "['" not in name)]
    return [name for name in names if name not in manifest.computed]


def _file_rows(file: File) -> Iterator[tuple[list[Sequence[Any]], int]]:
    """The plain values of a file by column, some rows at a time."""
    stored = _stored(file.manifest)
    with collecting_rarely():
        for batch in file.store.read_rows(file.manifest.file):
            yield [column.from_arrow(batch.column(column.name)) for column in stored], batch.num_rows


def _hashes(file: File) -> Callable[[], Iterator[int]]:
    """The hashes of the rows of a file, which can be read several times."""

    def read() -> Iterator[int]:
        stored = _stored(file.manifest)
        for columns, rows in _file_rows(file):
            yield from row_hashes(_comparable(stored, columns), rows)

    return read


def _chain(readers: Iterable[Callable[[], Iterator[int]]]) -> Callable[[], Iterator[int]]:
    every = list(readers)

    def read() -> Iterator[int]:
        for reader in every:
            yield from reader()

    return read


class EitherArchive(Archive):
    """Repositories of CrateDB by their names, and files by their addresses."""

    def __init__(self, snapshots: CrateArchive, files: ParquetArchive) -> None:
        self._snapshots, self._files = snapshots, files

    def _of(self, repository: str) -> Archive:
        return self._files if is_address(repository) else self._snapshots

    def create(self, step: SnapshotPartition) -> StepResult:
        return self._of(step.repository).create(step)

    def prove(self, step: VerifySnapshot) -> StepResult:
        return self._of(step.repository).prove(step)

    def drop(self, step: DropArchived) -> StepResult:
        return self._of(step.repository).drop(step)

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        every = list(snapshots)
        files = [key for key in every if is_address(key[0])]
        others = [key for key in every if not is_address(key[0])]
        return self._snapshots.states(others) | self._files.states(files)

    def find(self, repository: str, schema: str) -> list[tuple[Archived, bool]]:
        return self._of(repository).find(repository, schema)

    def contents(self, repository: str) -> Contents:
        return self._of(repository).contents(repository)

    def delete(self, snapshot: Archived) -> bool:
        return self._of(snapshot.repository).delete(snapshot)

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:
        self._snapshots.tidy(schema, in_use)

    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        return self._of(snapshot.repository)._read_back(snapshot, schema)

    def _thing(self, of: Snapshot) -> str:
        return self._of(of.repository)._thing(of)

    def open_rows(self, snapshots: Archives) -> tuple[list[ArchivedRows], Unread]:
        files = [each for each in snapshots if is_address(each.repository)]
        rows, unread = self._files.open_rows(files)
        others = [each for each in snapshots if not is_address(each.repository)]
        return rows, [*unread, *self._snapshots.open_rows(others)[1]]

    def locate(self, snapshots: Archives) -> dict[str, Archived]:
        return self._files.locate([each for each in snapshots if is_address(each.repository)])

    def open_plain(self, snapshots: Archives) -> tuple[list[PlainFile], Unread]:
        return self._files.open_plain([each for each in snapshots if is_address(each.repository)])

    def archived_column(self, column: Column) -> ArchivedColumn:
        return self._files.archived_column(column)

    def continues(self, earlier: Archived, step: ArchivingStep, token: str | None, whole: bool, schema: str) -> bool:
        return self._of(earlier.repository).continues(earlier, step, token, whole, schema)

    def interrupted(self, snapshots: Archives, into: TableName) -> bool:
        return self._all_of(snapshots).interrupted(snapshots, into)

    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        return self._all_of(snapshots).restore(snapshots, into, schema, others)

    def merge(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        """One snapshot after the other."""
        rows, token = list[int | None](), None
        for snapshot in snapshots:
            restore = partial(self._of(snapshot.repository).restore, [snapshot], schema=schema, others=others)
            arrived = self._files.merge_by(restore, into, snapshot, schema)
            rows, token = [*rows, *arrived.rows], arrived.token
        return Arrived(tuple(rows), token)

    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        return self._all_of(snapshots).render_restore(snapshots, into, others)

    def _all_of(self, snapshots: Archives) -> Archive:
        found = {self._of(each.repository) for each in snapshots}
        if len(found) > 1:
            reason = "some of its snapshots are files, and others in a repository of CrateDB"
            remedy = "restore them separately, with --name, each into another table, with --into"
            raise Conflict(f"partition {snapshots[0].partition}", reason, remedy)
        return found.pop()
