"""Archiving on CrateDB: one snapshot for each partition, proved to be restorable before that is dropped (law 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import Archive, Archived, Arrived, Found, SnapshotState
from cratedb_retention.engine.base import StepResult
from cratedb_retention.engine.cratedb import restore as restoring
from cratedb_retention.engine.cratedb import shards, sql
from cratedb_retention.engine.cratedb.catalog import read_layout
from cratedb_retention.engine.cratedb.connection import CrateConnection
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.engine.measuring import from_text
from cratedb_retention.errors import (
    AccessDenied,
    ConnectionLost,
    DatabaseError,
    NotFound,
    PartitionChanged,
    RetentionError,
)
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.plan import ArchivingStep, DropArchived, SnapshotPartition, VerifySnapshot
from cratedb_retention.model.snapshots import is_name_of, is_toolkit_name_of
from cratedb_retention.model.values import Verify

POLL_SECONDS = 0.5
_LESS = "prove less, with verify: metadata"
_NULL, _BETWEEN = "\x1e", "\x1f"
_WATERMARKS = (5, 6, 7)  # In sys.node_checks.
_Layout = tuple[dict[str, Column], tuple[str, ...]]


class CrateArchive(Archive):
    """Snapshots made with ``CREATE SNAPSHOT``."""

    def __init__(self, database: CrateConnection, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def create(self, step: SnapshotPartition) -> StepResult:
        """Waits for one that is being made, perhaps by a run that was killed."""
        shards.check_health(self._database, step)
        try:
            there = shards.check_token(self._database, step)
        except PartitionChanged:  # Who looks again at a frozen partition has to see all of it.
            sql.refresh_partitions(self._database, step.table, step.columns, [step.piece.partition.values])
            raise
        if not there:
            thing = f"table {step.table}, partition {shards.label(step, step.piece)}"
            raise PartitionChanged(thing, "is gone since the plan was made")
        while (state := self._state(step.repository, step.name)) and state["state"] == "IN_PROGRESS":
            self._clock.sleep(POLL_SECONDS)
        if state is not None and state["state"] != "SUCCESS":
            self._database.execute(sql.drop_snapshot(step.repository, step.name))
            state = None
        if state is None:
            self._database.execute(create_statement(step))
        return _result(step, self._count(step))

    def _state(self, repository: str, name: str) -> Mapping[str, Any] | None:
        return next(iter(restoring.find_states(self._database, repository, [name])), None)

    def _count(self, step: ArchivingStep) -> int | None:
        """The rows of the frozen partition; None if it is closed, which hides them."""
        if step.piece.partition.closed:
            return None
        return restoring.count_rows(self._database, step.table, step.columns, step.piece.partition.values)

    def prove(self, step: VerifySnapshot) -> StepResult:
        """
        The snapshot is restored into a copy, which is compared with the partition, still there and frozen. Restoring
        compares each file with the checksum of when it was written; left to prove is that these are of the same rows.
        """
        self._require_complete(step)
        result = _result(step, step.piece.partition.rows)
        if step.verify is Verify.METADATA:
            return result
        with restoring.copy_of(self._database, step.schema, step.name, restoring.OF_RUN) as copy:
            self._restore(step, copy)
            return replace(result, rows=self._compare(step, copy))

    def drop(self, step: DropArchived) -> StepResult:
        """It must still be frozen."""
        shards.check_health(self._database, step)
        self._require_complete(step)
        rows = step.piece.partition.rows
        # It is gone already if the answer to the same statement was lost, and this is the next try.
        if shards.check_token(self._database, step):
            shards.check_age(self._database, step)
            rows = self._count(step)
            condition = in_partitions(sql.SQL, step.columns, [step.piece.partition.values])
            self._database.execute(sa.delete(table_ref(step.table)).where(condition))
        return _result(step, rows)

    def _require_complete(self, step: VerifySnapshot | DropArchived) -> None:
        """CrateDB takes the snapshot for complete, and for one of the partition. It does not look at files."""
        state, thing = self._state(step.repository, step.name), self._thing(step.repository, step.name)
        if state is None:
            raise DatabaseError(thing, "does not exist", "run again")
        if not restoring.is_complete(state):
            why = f"is not complete ({state['state']}) {'; '.join(state['failures'] or [])}"
            raise DatabaseError(thing, why, "look at the repository, run again")
        listed = state["table_partitions"] or []
        held = [(p["table_schema"], p["table_name"], _values(step.columns, p["values"])) for p in listed]
        if (*step.table, step.piece.partition.values) not in held:
            reason = f"does not hold partition {shards.label(step, step.piece)}"
            raise DatabaseError(thing, reason, "delete the snapshot and run again")

    def _restore(self, step: VerifySnapshot, copy: TableName) -> None:
        def refusal(why: str, remedy: str, kind: type[DatabaseError] = DatabaseError) -> DatabaseError:
            thing = self._thing(step.repository, step.name)
            return kind(thing, f"can't be restored, so its partition stays: {why}", remedy)

        # Where no shards are allocated, a restore would wait without end.
        setting: sa.ColumnElement[str] = sa.literal_column("settings['cluster']['routing']['allocation']['enable']")
        catalog = self._database.brief()
        if catalog.rows(sa.select(setting).select_from(sql.system("sys.cluster").table))[0][0] == "none":
            remedy = f"RESET GLOBAL cluster.routing.allocation.enable, or {_LESS}"
            raise refusal("the cluster allocates no shards", remedy)
        try:
            self._database.execute(_copy_statement(step, copy))
            # Replicas would cost room and time, and prove nothing.
            catalog.execute(sql.alter_partition(copy, (), (), "number_of_replicas", 0))
        except ConnectionLost:
            raise
        except RetentionError as error:
            why, remedy = self._explain(step, error)
            raise refusal(why, remedy, AccessDenied if isinstance(error, AccessDenied) else DatabaseError) from None

    def _explain(self, step: VerifySnapshot, error: RetentionError) -> tuple[str, str]:
        """Why a snapshot could not be restored, and what to do."""
        quote, said = self._database.quote, error.reason.partition(" (in: ")[0]
        again = f"mend the repository, or DROP SNAPSHOT {quote(step.repository)}.{quote(step.name)}, and run again"
        if isinstance(error, AccessDenied):
            return said, f"{error.remedy}, or {_LESS}"
        if "maximum shards open" in said:
            return said, f"raise cluster.max_shards_per_node, or {_LESS}"
        if "failed to restore" not in said:
            return said, again
        c = sql.system("sys.node_checks")
        failed = sa.select(c.description).where(c.id.in_(_WATERMARKS), sa.not_(c.passed))
        if full := self._database.brief().rows(failed.limit(1)):
            return f"no room for a copy: {full[0][0]}", f"make room on the nodes' disks, or {_LESS}"
        return f"{said}: files in the repository are missing or damaged, or no node is allowed to hold the copy", again

    def _compare(self, step: VerifySnapshot, copy: TableName) -> int:
        """Compare a copy with the partition, which hides its rows if it is closed, and return the rows of the copy."""
        # Columns whose values can be compared as text. One that was added since is in no row of the partition; what has
        # no text, as arrays, is in the files whose checksums were compared, under the numbers of the same rows.
        catalog = self._database.brief()
        known, there = read_layout(catalog, step.table)[0], read_layout(catalog, copy)[0].values()
        columns = [c for c in there if c.kind is not Kind.OTHER and known.get(c.name) == c]
        restored = self._summary(step, copy, columns)
        rows = restored[0]
        if step.piece.partition.closed:
            return rows
        present = self._summary(step, step.table, columns)
        if restored == present:
            return rows
        # Where shards are missing, or it was written to, the snapshot is not to blame.
        shards.check_health(self._database, step)
        what = shards.label(step, step.piece)
        if not shards.check_token(self._database, step):
            raise PartitionChanged(f"table {step.table}, partition {what}", "is gone since the plan was made")
        reason = f"holds {rows:,} rows, and partition {what} has {present[0]:,}"
        if rows == present[0]:
            reason = f"holds {rows:,} rows, as many as partition {what}, but others"
        thing = self._thing(step.repository, step.name)
        raise DatabaseError(thing, reason, "delete the snapshot and run again")

    def _summary(self, step: VerifySnapshot, table: TableName, columns: Iterable[Column]) -> tuple[int, Any]:
        """How many rows there are, and a sum over hashes of all, whose order does not matter."""
        values = [step.piece.partition.values]
        sql.refresh_partitions(self._database, table, step.columns, values)
        statement = sa.select(sa.func.count(), sa.func.sum(_row_hash(columns))).select_from(table_ref(table))
        rows, hashes = self._database.rows(statement.where(in_partitions(sql.SQL, step.columns, values)))[0]
        return int(rows), hashes

    def states(self, snapshots: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SnapshotState]:
        """One statement for each repository."""
        names: dict[str, list[str]] = defaultdict(list)
        for repository, name in snapshots:
            names[repository].append(name)
        return {
            (repository, row["name"]): SnapshotState(
                repository=repository,
                name=row["name"],
                complete=restoring.is_complete(row),
                detail="; ".join([row["state"], *(row["failures"] or [])]),
            )
            for repository, wanted in names.items()
            for row in restoring.find_states(self._database, repository, wanted)
        }

    def find(self, repository: str, schema: str) -> list[Found]:
        """Those that hold one partition each and have the name that the toolkit gives it, or cratedb-toolkit."""
        r = sql.system("sys.repositories")
        if not self._database.rows(sa.select(r.name).where(r.name == repository)):
            raise NotFound(f"repository {repository}", "does not exist", "create it with CREATE REPOSITORY")
        layouts: dict[TableName, _Layout] = {}
        found = []
        for row in sorted(restoring.find_states(self._database, repository), key=lambda row: str(row["name"])):
            held, name = row["table_partitions"] or [], row["name"]
            if not restoring.is_complete(row) or len(held) != 1:
                continue
            table, texts = TableName(held[0]["table_schema"], held[0]["table_name"]), held[0]["values"]
            if table not in layouts:
                layouts[table] = self._layout(repository, name, table, schema)
            known, names = layouts[table]
            columns = tuple(known[column] for column in names)
            values = _values(columns, texts)
            if values and (is_name_of(name, table, columns, values) or is_toolkit_name_of(name, table, values)):
                archived = Archived(
                    repository=repository, name=name, table=table, columns=columns, values=values, rows=None
                )
                start, end = _span(archived, known)
                found.append(Found(archived=archived, start=start, end=end))
        return found

    def _layout(self, repository: str, name: str, table: TableName, schema: str) -> _Layout:
        """Columns and partition columns of a table; of one that is gone, as a copy of the snapshot tells them."""
        known = read_layout(self._database, table)
        if known[1]:
            return known
        with restoring.copy_of(self._database, schema, name) as copy:
            relation = sql.partition_of(table, (), ())
            self._database.execute(sql.restore_snapshot(repository, name, relation, restoring.renamed(table, copy)))
            return read_layout(self._database, copy)

    def tidy(self, schema: str, in_use: Callable[[], Collection[str]] | None = None) -> None:
        restoring.tidy_copies(self._database, schema, in_use)

    def _read_back(self, snapshot: Archived, schema: str) -> tuple[int, str]:
        """From a copy; not beside its table, since policies and other tools may mean each table there."""
        thing = self._thing(snapshot.repository, snapshot.name)
        state = self.states([(snapshot.repository, snapshot.name)]).get((snapshot.repository, snapshot.name))
        if state is None:
            raise NotFound(thing, f"is not in repository {snapshot.repository}")
        if not state.complete:
            raise DatabaseError(thing, f"is not complete: {state.detail}")
        with restoring.copy_of(self._database, schema, snapshot.name) as copy:
            rows = restoring.restore(self._database, snapshot, copy)
        return rows, f"{state.detail}, restored and counted {rows:,} rows"

    def _thing(self, repository: str, name: str) -> str:
        return f"snapshot {repository}.{name}"

    def continues(self, earlier: Archived, step: DropArchived, token: str | None, whole: bool, schema: str) -> bool:
        """Whether both are of one incarnation of the partition; where that is not known, whether rows are in both."""
        if token is not None:
            return bool(shards.incarnations(token) & shards.incarnations(step.piece.partition.token))
        with restoring.copy_of(self._database, schema, earlier.name) as copy:
            restoring.restore(self._database, earlier, copy)
            condition = in_partitions(sql.SQL, step.columns, [step.piece.partition.values])
            return restoring.shared_rows(self._database, copy, step.table, condition) > 0

    def restore(
        self, snapshots: Sequence[Archived], into: TableName, schema: str, others: Sequence[Archived]
    ) -> Arrived:
        """Several snapshots are made one first, so that the partition comes as a whole; writes to it are allowed."""
        one = snapshots[0]
        if len(snapshots) == 1:
            rows: tuple[int, ...] = (restoring.restore(self._database, one, into),)
        else:
            with restoring.merge(self._database, snapshots, schema) as (merged, rows):
                restoring.restore(self._database, merged, into)
        return Arrived(rows, shards.find_token(self._database, into, one.columns, one.values))

    def render_restore(
        self, snapshots: Sequence[Archived], into: TableName, others: Sequence[Archived]
    ) -> Sequence[str]:
        """Those by which several snapshots are made one are not shown."""
        statements = (restoring.restore_statements(self._database, each, into) for each in snapshots)
        return [self._database.render(statement) for both in statements for statement in both]


def create_statement(step: SnapshotPartition) -> sa.Executable:
    """The CREATE SNAPSHOT."""
    return sql.create_snapshot(step.table, step.columns, step.piece.partition.values, step.repository, step.name)


def verify_statements(step: VerifySnapshot) -> list[sa.Executable]:
    """What is sent to verify a snapshot, as far as it is of interest."""
    copy = restoring.copy_name(step.schema, step.name, restoring.OF_RUN)
    into_copy = [_copy_statement(step, copy)] if step.verify is Verify.RESTORE else []
    return [restoring.state_statement(step.repository, [step.name]), *into_copy]


def _copy_statement(step: VerifySnapshot, copy: TableName) -> sa.Executable:
    relation = sql.partition_of(step.table, step.columns, step.piece.partition.values)
    return sql.restore_snapshot(step.repository, step.name, relation, restoring.renamed(step.table, copy))


def _result(step: ArchivingStep, rows: int | None) -> StepResult:
    return StepResult(rows=rows, partitions=1, size=step.piece.partition.size)


def _values(columns: Sequence[Column], texts: Sequence[str | None]) -> tuple[Value, ...] | None:
    """The values of a partition as snapshots list them, all as text; None if they are of other columns."""
    return tuple(map(from_text, columns, texts)) if len(columns) == len(texts) else None


def _row_hash(columns: Iterable[Column]) -> sa.ColumnElement[int]:
    """
    A number from all values of a row, and from what CrateDB tells its version by. CrateDB reads ``0x1fp0`` as 31. 28
    bits, so that no sum of them overflows.
    """
    version: list[sa.ColumnElement[Any]] = [sa.literal_column("_id"), sa.cast(sa.literal_column("_seq_no"), sa.Text())]
    texts = [sa.func.coalesce(sa.cast(sql.SQL.column(column), sa.Text()), _NULL) for column in columns]
    digest = sa.func.md5(sa.func.concat_ws(_BETWEEN, *version, *texts))
    number = sa.func.concat("0x", sa.func.substr(digest, 1, 7), "p0")
    return sa.cast(sa.cast(number, sa.Double()), sa.BigInteger())


def _span(archived: Archived, known: Iterable[str]) -> tuple[int | None, int | None]:
    """The stretch of time that a partition covers, if one of its columns tells."""
    for column, value in zip(archived.columns, archived.values, strict=True):
        grid = read_grid(column.expression, known) if column.expression else None
        if grid and isinstance(value, int):
            return value, grid.end(value)
    return None, None
