"""
Archiving on CrateDB: one snapshot for each partition, proved to be restorable before the partition is dropped (law 2).
Copies of archived partitions are in the toolkit's own schema, where policies and other tools ignore them.

Several snapshots of a partition are merged before they are restored, so that the partition is restored as a whole:
CrateDB only restores a partition that does not exist, and has no transactions. After an interruption, only copies are
left, and never half a partition.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import (
    Archive,
    ArchivedColumn,
    ArchivedRows,
    Archives,
    Arrived,
    Contents,
    Snapshot,
    SnapshotState,
    Unread,
)
from cratedb_retention.engine.base import changed, label
from cratedb_retention.engine.cratedb import shards, sql
from cratedb_retention.engine.cratedb.catalog import Reader
from cratedb_retention.engine.cratedb.connection import CrateConnection
from cratedb_retention.engine.cratedb.query import archived_column
from cratedb_retention.engine.expressions import Condition, Element, ref, table_ref
from cratedb_retention.engine.plan import from_text
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import (
    AccessDenied,
    Conflict,
    ConnectionLost,
    DatabaseError,
    NotFound,
    PartitionChanged,
    RetentionError,
    Unsupported,
)
from cratedb_retention.model.archive import Archived, is_made_here, is_name_of
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.plan.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.policies.values import Verify
from cratedb_retention.model.words import plural

POLL_SECONDS = 0.5
FROZEN = "blocks.write"
COPY, MERGED = "retention_verify_", "retention_restore_"
_COMBINED = "retention-restore-"  # Snapshots of several that are restored as one.
OF_RUN = f"{COPY}run_"  # Runs and commands that verify at the same time must not drop each other's copies.
_ONE_BY_ONE = "restore them separately, with --name, each into another table, with --into"
_STAYS = "cannot be restored, so its partition stays: "
_LESS = "set verify: metadata in the policy"
_NULL, _BETWEEN = "\x1e", "\x1f"
_WATERMARKS = (5, 6, 7)  # In sys.node_checks.


class CrateArchive(Archive):
    """Snapshots made with ``CREATE SNAPSHOT``."""

    def __init__(self, database: CrateConnection, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def create(self, step: SnapshotPartition) -> StepResult:
        """Waits for a snapshot in progress, perhaps of a run that was killed."""
        self._require_frozen(step)
        while (state := self._state(step)) and state["state"] == "IN_PROGRESS":
            self._clock.sleep(POLL_SECONDS)
        if state is not None and state["state"] != "SUCCESS":
            self._database.execute(sql.snapshot("DROP", step))
            state = None
        if state is None:
            self._database.execute(sql.snapshot("CREATE", step))
        return _result(step, self._count(step))

    def _require_frozen(self, step: SnapshotPartition) -> None:
        """Require that the partition is as planned, and stays so."""
        shards.check_health(self._database, step)
        try:
            there = shards.check_token(self._database, step)
        except PartitionChanged:  # The next look at a frozen partition has to see all of its rows.
            sql.refresh_partitions(self._database, step.table, step.columns, [step.values])
            raise
        if not there:
            raise changed(step, step.piece, "is gone since the plan was made")

    def _state(self, of: Snapshot) -> Mapping[str, Any] | None:
        return next(iter(self._database.query(states_of(of.repository, [of.name]))), None)

    def _known(self, table: TableName) -> tuple[dict[str, Column], tuple[str, ...]]:
        return Reader.of(self._database.brief(), [table]).layout(table)

    def _count(self, step: ArchivingStep) -> int | None:
        return None if step.piece.partition.closed else self._count_rows(step.table, step)

    def prove(self, step: VerifySnapshot) -> StepResult:
        """Restores the snapshot into a copy, which checks all files, and compares it with the frozen partition."""
        self._require_complete(step)
        if step.verify is Verify.METADATA:
            return _result(step, step.piece.partition.rows)
        with self._copy_of(step.schema, step.name, OF_RUN) as copy:
            self._restore(step, copy)
            return _result(step, self._compare(step, copy))

    def drop(self, step: DropArchived) -> StepResult:
        """The partition must still be frozen."""
        shards.check_health(self._database, step)
        self._require_complete(step)
        rows = step.piece.partition.rows
        # It is gone already if the response to the same statement was lost, and this is a retry.
        if shards.check_token(self._database, step):
            shards.check_age(self._database, step)
            rows = self._count(step)
            self._database.execute(sa.delete(table_ref(step.table)).where(sql.is_of(step)))
        return _result(step, rows)

    def _require_complete(self, step: VerifySnapshot | DropArchived) -> None:
        """Require that CrateDB lists the snapshot as complete, and as one of the partition. It does not read files."""
        state, thing = self._state(step), self._thing(step)
        if state is None:
            raise DatabaseError(thing, "does not exist", "run again")
        if not is_complete(state):
            why = f"is not complete ({state['state']}) {'; '.join(state['failures'] or [])}"
            raise DatabaseError(thing, why, "check the repository, and run again")
        if (*step.table, step.values) not in _held(state, step.columns):
            reason = f"does not hold partition {label(step, step.piece)}"
            raise DatabaseError(thing, reason, "delete the snapshot and run again")

    def _restore(self, step: VerifySnapshot, copy: TableName) -> None:
        catalog, thing = self._database.brief(), self._thing(step)
        # If no shards are allocated, a restore would wait forever.
        setting = sql.words("settings['cluster']['routing']['allocation']['enable']")
        if catalog.rows(sa.select(setting).select_from(sql.system("sys.cluster").table))[0][0] == "none":
            remedy = f"RESET GLOBAL cluster.routing.allocation.enable, or {_LESS}"
            raise DatabaseError(thing, f"{_STAYS}the cluster allocates no shards", remedy)
        try:
            self._database.execute(sql.snapshot("RESTORE", step, copy))
            # Replicas would cost space and time, and prove nothing.
            catalog.execute(sql.alter(sql.partition_of(copy), "number_of_replicas", 0))
        except ConnectionLost:
            raise
        except RetentionError as error:
            why, remedy = self._explain(step, error)
            kind = AccessDenied if isinstance(error, AccessDenied) else DatabaseError
            raise kind(thing, f"{_STAYS}{why}", remedy) from None

    def _explain(self, step: VerifySnapshot, error: RetentionError) -> tuple[str, str]:
        """Why a snapshot could not be restored, and what to do."""
        quote, said = self._database.quote, error.reason.partition(" (in: ")[0]
        again = f"repair the repository, or DROP SNAPSHOT {quote(step.repository)}.{quote(step.name)}, and run again"
        if isinstance(error, AccessDenied):
            return said, f"{error.remedy}, or {_LESS}"
        if "maximum shards open" in said:
            return said, f"raise cluster.max_shards_per_node, or {_LESS}"
        if "failed to restore" not in said:
            return said, again
        c = sql.system("sys.node_checks")
        failed = sa.select(c.description).where(c.id.in_(_WATERMARKS), sa.not_(c.passed))
        if full := self._database.brief().rows(failed.limit(1)):
            return f"no space for a copy: {full[0][0]}", f"free space on the nodes' disks, or {_LESS}"
        return f"{said}: files in the repository are missing or damaged, or no node is allowed to hold the copy", again

    def _compare(self, step: VerifySnapshot, copy: TableName) -> int:
        """Compare a copy with the partition, unless it is closed, and return the number of rows of the copy."""
        # Columns whose values can be compared as text. One that was added since has no value in the partition. Others,
        # such as arrays, are in the files whose checksums were compared, with the identifiers of the same rows.
        known, there = (self._known(table)[0] for table in (step.table, copy))
        columns = [c for c in there.values() if c.kind is not Kind.OTHER and known.get(c.name) == c]
        # The number of rows, and the sum of their hashes, independent of order.
        summary = (sa.func.count(), sa.func.sum(_row_hash(columns)))
        restored = tuple(self._read_all(copy, step, *summary))
        rows = int(restored[0])
        if step.piece.partition.closed:
            return rows
        present = tuple(self._read_all(step.table, step, *summary))
        if restored == present:
            return rows
        # If shards are missing, or the partition was written to, the snapshot is not the cause.
        shards.check_health(self._database, step)
        if not shards.check_token(self._database, step):
            raise changed(step, step.piece, "is gone since the plan was made")
        what = label(step, step.piece)
        alike = f"as many as partition {what}, but different ones"
        than = alike if rows == present[0] else f"but partition {what} has {present[0]:,}"
        raise DatabaseError(
            self._thing(step), f"holds {plural(rows, 'row')}, {than}", "delete the snapshot and run again"
        )

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """One statement for each repository."""
        names: dict[str, list[str]] = defaultdict(list)
        for repository, name in snapshots:
            names[repository].append(name)
        rows = [row for each, wanted in names.items() for row in self._database.query(states_of(each, wanted))]
        details = ("; ".join([row["state"], *(row["failures"] or [])]) for row in rows)
        found = zip(rows, details, strict=True)
        return {(r["repository"], r["name"]): SnapshotState(is_complete(r), detail) for r, detail in found}

    def find(self, repository: str, schema: str) -> list[tuple[Archived, bool]]:
        """Snapshots of one partition with the name that this toolkit or cratedb-toolkit gives it."""
        self._require_repository(repository)
        layouts: dict[TableName, tuple[dict[str, Column], tuple[str, ...]]] = {}
        found = []
        for row in sorted(self._database.query(states_of(repository)), key=lambda row: str(row["name"])):
            held, name = row["table_partitions"] or [], row["name"]
            if not is_complete(row) or len(held) != 1:
                continue
            table = TableName(held[0]["table_schema"], held[0]["table_name"])
            bare = Archived(repository=repository, name=name, table=table)
            if table not in layouts:
                layouts[table] = self._layout(bare, schema)
            known, names = layouts[table]
            columns = tuple(known[column] for column in names)
            values = _values(columns, held[0]["values"])
            if values and is_name_of(name, table, columns, values):
                start, end = _span(columns, values, known)
                found.append((replace(bare, columns=columns, values=values, start=start, end=end), False))
        return found

    def _require_repository(self, name: str) -> None:
        r = sql.system("sys.repositories")
        if not self._database.rows(sa.select(r.name).where(r.name == name)):
            raise NotFound(f"repository {name}", "does not exist", "create it with CREATE REPOSITORY")

    def contents(self, repository: str) -> Contents:
        """By the names of snapshots and of their tables, without those that are being created."""
        self._require_repository(repository)
        own, left = set[str](), set[str]()
        for row in self._database.query(states_of(repository)):
            name, held = row["name"], row["table_partitions"] or []
            if row["state"] == "IN_PROGRESS":
                continue
            if name.startswith(_COMBINED):
                left.add(name)
            elif any(is_made_here(name, TableName(p["table_schema"], p["table_name"])) for p in held):
                own.add(name)
        return Contents(frozenset(own), frozenset(left))

    def delete(self, snapshot: Archived) -> bool:
        """
        Only a snapshot of this one partition, or one that was not completed. If none is listed, the repository may be
        unreadable, which only the statement tells.
        """
        thing, state = self._thing(snapshot), self._state(snapshot) or {"state": None, "table_partitions": None}
        if state["state"] == "IN_PROGRESS":
            raise Conflict(thing, "is being created", "wait until it is complete")
        if _held(state, snapshot.columns) not in ([], [(*snapshot.table, snapshot.values)]):
            reason = f"holds something else than partition {snapshot.partition}"
            raise Conflict(thing, reason, "delete it with DROP SNAPSHOT")
        try:
            self._database.execute(sql.snapshot("DROP", snapshot))
        except NotFound:
            self._require_repository(snapshot.repository)
            return False
        return True

    def open_rows(self, snapshots: Archives) -> tuple[list[ArchivedRows], Unread]:
        """None: only CrateDB reads its repositories."""
        remedy = "bring the rows back with `cratedb-retention restore`"
        return [], [
            (each, Unsupported(f"repository {each.repository}", "only CrateDB can read it", remedy))
            for each in snapshots
        ]

    def archived_column(self, column: Column) -> ArchivedColumn:
        return archived_column(column)

    def _layout(self, snapshot: Archived, schema: str) -> tuple[dict[str, Column], tuple[str, ...]]:
        known = self._known(snapshot.table)
        if known[1]:
            return known
        with self._copy_of(schema, snapshot.name) as copy:
            self._database.execute(sql.snapshot("RESTORE", snapshot, copy))
            return self._known(copy)

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:
        t = sql.system("information_schema.tables")
        beginnings = (COPY, MERGED) if in_use is None else (OF_RUN,)
        begun = sa.or_(*(t.table_name.startswith(prefix, autoescape=True) for prefix in beginnings))
        rows = self._database.brief().rows(sa.select(*t.place).where(t.table_schema == schema, begun))
        copies = {TableName(*row) for row in rows if row[1].startswith(OF_RUN) == (in_use is not None)}
        names = in_use() if copies and in_use else ()
        for copy in copies - {copy_name(schema, name, OF_RUN) for name in names}:
            self._drop_copy(copy)

    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        """From a copy, which is not beside its table, where policies and other tools may apply to it."""
        key = (snapshot.repository, snapshot.name)
        state = self.states([key]).get(key)
        if state is None:
            raise NotFound(self._thing(snapshot), f"is not in repository {snapshot.repository}")
        if not state.complete:
            raise DatabaseError(self._thing(snapshot), f"is not complete: {state.detail}")
        with self._copy_of(schema, snapshot.name) as copy:
            rows = self._restore_one(snapshot, copy)
        return rows, f"{state.detail}, restored and counted {rows:,} rows"

    def _thing(self, of: Snapshot) -> str:
        return f"snapshot {of.repository}.{of.name}"

    def continues(self, earlier: Archived, step: ArchivingStep, token: str | None, whole: bool, schema: str) -> bool:
        """By the incarnation of the partition; if that is unknown, by rows that are in both."""
        if token is not None:
            return bool(shards.incarnations(token) & shards.incarnations(step.piece.partition.token))
        with self._copy_of(schema, earlier.name) as copy:
            self._restore_one(earlier, copy)
            return self._shared_rows(copy, step.table, sql.is_of(step)) > 0

    def restore(self, snapshots: Archives, into: TableName, schema: str, others: Archives) -> Arrived:
        """Merges several snapshots first, so that the partition is restored as a whole; then allows writes to it."""
        one = snapshots[0]
        if len(snapshots) == 1:
            rows: tuple[int, ...] = (self._restore_one(one, into),)
        else:
            with self._merge(snapshots, schema) as (merged, rows):
                self._restore_one(merged, into)
        return Arrived(rows, shards.find_token(self._database, into, one))

    def render_restore(self, snapshots: Archives, into: TableName, others: Archives) -> Sequence[str]:
        """Without the statements that merge several snapshots."""
        statements = (self._restore_statements(each, into) for each in snapshots)
        return [self._database.render(statement) for both in statements for statement in both]

    def _restore_one(self, snapshot: Archived, into: TableName) -> int:
        restoring, thaw = self._restore_statements(snapshot, into)
        try:
            self._database.execute(restoring)
        except DatabaseError as error:
            if "IncompatibleSchemaForRestoreException" in error.reason:
                why = re.search(r"(column \[.*?\][^\]]*?(?:\[.*?\][^\]]*)*)(?:\]|$)", error.reason)
                reason = f"differs from what was archived: {why[1] if why else error.reason}"
                raise DatabaseError(f"table {into}", reason, "restore it into another table, with --into") from None
            # It leaves a partition with missing shards, which could neither be written to nor restored again.
            if "failed to restore" in error.reason:
                self._database.execute(sa.delete(table_ref(into)).where(sql.is_of(snapshot)))
            raise
        self._database.execute(thaw)
        return self._count_rows(into, snapshot)

    def _restore_statements(self, snapshot: Archived, into: TableName) -> list[sa.Executable]:
        """Restore a snapshot, which is frozen as it was when archived, and allow writes."""
        columns, values = snapshot.columns, snapshot.values
        # If the table is gone, CrateDB cannot interpret the values; each snapshot has only one partition.
        known = self._known(snapshot.table)[1] == tuple(column.name for column in columns)
        restoring = sql.snapshot("RESTORE", snapshot if known else replace(snapshot, columns=(), values=()), into)
        return [restoring, sql.alter(sql.partition_of(into, columns, values), FROZEN, False)]

    def _read_all(self, table: TableName, of: Snapshot | None, *aggregates: Element) -> Sequence[Any]:
        """Aggregates of the rows of a partition or table, including those that were just written."""
        read = sa.select(*aggregates).select_from(table_ref(table))
        if of is None:
            self._database.refresh(table_ref(table))
            return self._database.rows(read)[0]
        sql.refresh_partitions(self._database, table, of.columns, [of.values])
        return self._database.rows(read.where(sql.is_of(of)))[0]

    def _count_rows(self, table: TableName, of: Snapshot | None = None) -> int:
        return int(self._read_all(table, of, sa.func.count())[0])

    @contextmanager
    def _copy_of(self, schema: str, snapshot: str, prefix: str = COPY) -> Iterator[TableName]:
        copy = copy_name(schema, snapshot, prefix)
        self._drop_copy(copy)
        try:
            yield copy
        finally:
            self._drop_copy(copy)

    def _drop_copy(self, copy: TableName) -> None:
        """Unblock it if a disk is full, since CrateDB rejects even that then."""
        self._database.unblocking(partial(self._database.unblock, [copy])).drop(copy)

    @contextmanager
    def _merge(self, snapshots: Archives, schema: str) -> Iterator[tuple[Archived, tuple[int, ...]]]:
        """A snapshot of the rows of several, and the number from each: 0 if another one has its rows as well."""
        key = hashlib.sha256(json.dumps([(each.repository, each.name) for each in snapshots]).encode()).hexdigest()[:12]
        copies = [TableName(schema, f"{MERGED}{key}_{number}") for number in range(len(snapshots))]
        merged = replace(snapshots[-1], name=f"{_COMBINED}{key}")
        state = states_of(merged.repository, [merged.name])

        def tidy() -> None:
            for copy in copies:
                self._database.drop(copy)
            if self._database.query(state):
                self._database.execute(sql.snapshot("DROP", merged))

        tidy()
        try:
            counts = [self._restore_one(each, copy) for each, copy in zip(snapshots, copies, strict=True)]
            whole, rows = self._into_one(snapshots, copies, counts)
            self._database.execute(sql.snapshot("CREATE", replace(merged, table=whole)))
            if not any(map(is_complete, self._database.query(state))):
                raise DatabaseError(f"snapshot {merged.repository}.{merged.name}", "is not complete", "try again")
            yield replace(merged, table=whole, rows=sum(rows)), tuple(rows)
        finally:
            tidy()

    def _into_one(
        self, snapshots: Archives, copies: Sequence[TableName], counts: Sequence[int]
    ) -> tuple[TableName, list[int]]:
        """Collect the rows of all copies in the one that has the columns of all."""
        kept: list[int] = []
        for number in sorted(range(len(copies)), key=lambda number: -counts[number]):
            shared = max((self._shared_rows(copies[number], copies[other]) for other in kept), default=0)
            if shared and shared < counts[number]:
                each, rows = snapshots[number], plural(shared, "row")
                reason = f"{rows} of snapshot {each.name} differ from their version in a later one"
                raise Conflict(f"partition {each.partition}", reason, _ONE_BY_ONE)
            if not shared:
                kept.append(number)
        target = max(kept, key=lambda number: len(self._known(copies[number])[0]))
        for number in kept:
            if number != target:
                self._append(copies[number], copies[target], counts[number], snapshots[number].name)
        return copies[target], [count if number in kept else 0 for number, count in enumerate(counts)]

    def _shared_rows(self, one: TableName, other: TableName, condition: Condition | None = None) -> int:
        """The number of rows of one table that are in the other, and match a condition there, by their ``_id``."""
        a, b = (sa.select(sql.words("_id").label("i")).select_from(table_ref(table)) for table in (one, other))
        rows, others = a.subquery("a"), (b if condition is None else b.where(condition)).subquery("b")
        return self._database.count(rows.join(others, rows.c.i == others.c.i))

    def _append(self, source: TableName, target: TableName, count: int, name: str) -> None:
        own, there = (self._known(table)[0] for table in (source, target))
        names, thing = [c.name for c in own.values() if c.expression is None and "['" not in c.name], f"snapshot {name}"
        for missing in (name for name in names if name not in there):
            raise DatabaseError(thing, f"has a column {missing!r} that a later one lacks", _ONE_BY_ONE)
        # Columns without a table: one with a table would add that to each query that uses it.
        before, rows = self._count_rows(target), sa.select(*map(ref, names)).select_from(table_ref(source))
        self._database.execute(sa.insert(table_ref(target, *map(ref, names))).from_select(names, rows))
        written = self._count_rows(target) - before
        if written != count:
            raise DatabaseError(
                thing, f"only {written:,} of {count:,} rows are compatible with a later one", _ONE_BY_ONE
            )


def verify_statements(step: VerifySnapshot) -> list[sa.Executable]:
    """The relevant statements that verify a snapshot."""
    copy = copy_name(step.schema, step.name, OF_RUN)
    into_copy = [sql.snapshot("RESTORE", step, copy)] if step.verify is Verify.RESTORE else []
    return [states_of(step.repository, [step.name]), *into_copy]


def _result(step: ArchivingStep, rows: int | None) -> StepResult:
    return StepResult(rows=rows, partitions=1, size=step.piece.partition.size)


def _held(state: Mapping[str, Any], columns: Sequence[Column]) -> list[tuple[str, str, tuple[Value, ...] | None]]:
    """The partitions in a snapshot, with the names of their tables."""
    listed = state["table_partitions"] or []
    return [(p["table_schema"], p["table_name"], _values(columns, p["values"])) for p in listed]


def _values(columns: Sequence[Column], texts: Sequence[str | None]) -> tuple[Value, ...] | None:
    """The values of a partition, which snapshots list as text; None if the columns are different."""
    return tuple(map(from_text, columns, texts)) if len(columns) == len(texts) else None


def _row_hash(columns: Iterable[Column]) -> sa.ColumnElement[int]:
    """A number from values and version of a row, of 28 bits, so that no sum overflows; ``0x1fp0`` is 31."""
    version: list[Element] = [sql.words("_id"), sa.cast(sql.words("_seq_no"), sa.Text())]
    texts = [sa.func.coalesce(sa.cast(sql.SQL.column(column), sa.Text()), _NULL) for column in columns]
    digest = sa.func.md5(sa.func.concat_ws(_BETWEEN, *version, *texts))
    number = sa.func.concat("0x", sa.func.substr(digest, 1, 7), "p0")
    return sa.cast(sa.cast(number, sa.Double()), sa.BigInteger())


def _span(columns: Sequence[Column], values: Sequence[Value], known: Iterable[str]) -> tuple[int | None, int | None]:
    """The time range of a partition, if one of its columns tells it."""
    for column, value in zip(columns, values, strict=True):
        grid = read_grid(column.expression, known) if column.expression else None
        if grid and isinstance(value, int):
            return value, grid.end(value)
    return None, None


def states_of(repository: str, names: Collection[str] | None = None) -> sa.Select[Any]:
    """The query for snapshots of a repository, all or some, as ``sys.snapshots`` shows them."""
    columns = ("name", "repository", "state", "failures", "total_shards", "table_partitions")
    s = sql.system("sys.snapshots")
    found = sa.select(*(s[column] for column in columns)).where(s.repository == repository)
    return found if names is None else found.where(s.name.in_(list(names)))


def is_complete(state: Mapping[str, Any]) -> bool:
    """Whether all of a snapshot was written."""
    return state["state"] == "SUCCESS" and not state["failures"]


def copy_name(schema: str, snapshot: str, prefix: str) -> TableName:
    # Names of cratedb-toolkit contain a dot and end in a time, which is not unique.
    digest = hashlib.sha256(snapshot.encode()).hexdigest()[:12] if "." in snapshot else snapshot[-12:]
    return TableName(schema, f"{prefix}{digest}")
