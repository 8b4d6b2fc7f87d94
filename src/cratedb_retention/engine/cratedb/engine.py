"""
The engine for CrateDB: opens the connection, drops, freezes and moves partitions, and rolls up.

A DELETE whose condition matches whole partitions drops them, all in one statement. To roll up, present rows are
deleted, an INSERT from a SELECT computes them again, and both sides are counted, since such a statement silently skips
rows that it cannot store. Readers see all changes together, with the refresh before the count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.cratedb import forecast, shards
from cratedb_retention.engine.cratedb.archive import FROZEN, CrateArchive, verify_statements
from cratedb_retention.engine.cratedb.catalog import CAPABILITIES, Reader
from cratedb_retention.engine.cratedb.connection import CrateConnection, disk_is_full
from cratedb_retention.engine.cratedb.parquet import EitherArchive, ParquetArchive
from cratedb_retention.engine.cratedb.sql import (
    SQL,
    alter,
    is_of,
    optimize,
    partition_of,
    refresh_partitions,
    snapshot,
    system,
    words,
)
from cratedb_retention.engine.database import Database, Statement
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.engine.rollups import rollup as rollups
from cratedb_retention.engine.step import Progress, Report, StepResult
from cratedb_retention.errors import DatabaseError, MoveStuck, NotFound, PartitionChanged, RetentionError
from cratedb_retention.model.address import DatabaseAddress, is_address
from cratedb_retention.model.catalog import Catalog, Selector, TableName, Value
from cratedb_retention.model.forecast import Disks, Storage
from cratedb_retention.model.plan import plan
from cratedb_retention.model.rollups.rollup import AlterRollup, Count, LevelStep, RollUp, Rollup, Window
from cratedb_retention.model.step import Piece
from cratedb_retention.model.words import plural

POLL_SECONDS = 0.5
ATTEMPTS = 5  # To roll windows up.
# The explanation in sys.allocations of a primary shard that was never on a node.
_UNPLACED = "cannot allocate because allocation is not permitted to any of the nodes"
# A move counts as stuck if no shard arrives or makes progress for this time.
PATIENCE_SECONDS = 120.0


class CrateDBEngine(Engine):
    """CrateDB, 5.10 or later, over HTTP."""

    capabilities, sql = CAPABILITIES, SQL
    batch = 100_000  # CrateDB holds the identifiers of matching rows in memory.
    # A window function holds all rows of a run in one node's memory. All groups of an INSERT are passed to the shards
    # at once, and if there are too many, CrateDB waits, longer each time: 864,000 groups took 20 to 37 s in one
    # statement, 10 to 15 s in thirty.
    portions = rollups.Portions(run=20_000_000, counters=1_000_000, insert=100_000, windows=1000, gaps=3)
    database: CrateConnection

    def __init__(self, address: DatabaseAddress, clock: Clock) -> None:
        self.clock, self.database = clock, CrateConnection(address, clock)
        self.archive = EitherArchive(CrateArchive(self.database, clock), ParquetArchive(self.database, clock))
        self.database.rows(sa.select(sa.literal(1)))

    def own(self, tables: Sequence[TableName]) -> Database:
        """These stay writable if a disk is full."""
        database = self.database.brief()
        return database.unblocking(partial(database.unblock, tables))

    def unhealthy(self, schema: str) -> frozenset[TableName]:
        """See :class:`Engine`; raises Recovering if shards are being recovered, as after a full restart."""
        h, database = system("sys.health"), self.database.brief()
        statement = sa.select(h.table_name).where(h.table_schema == schema, h.missing_shards > 0)
        rows = shards.settled(lambda: database.rows(statement), self.clock)
        if rows and shards.are_starting(database, schema):
            raise shards.missing_shards(database, TableName(schema, rows[0][0]))
        return frozenset(TableName(schema, name) for (name,) in rows)

    def unplaced(self, schema: str) -> frozenset[TableName]:
        """
        Tables whose missing shards were never on a node, as above the disks' high watermark. Of shards that were,
        CrateDB reports that no node with an in-sync copy is allowed, or that no copy is found.
        """
        a = system("sys.allocations")
        new = sa.func.sum(sa.case((a.explanation == _UNPLACED, 1), else_=0))
        missing = (a.table_schema == schema, a.primary, a.current_state == "UNASSIGNED")
        found = sa.select(a.table_name, sa.func.count(), new).where(*missing).group_by(a.table_name)
        return frozenset(TableName(schema, row[0]) for row in self.database.brief().rows(found) if row[1] == row[2])

    def read_releases(self) -> list[str]:
        rows = self.database.brief().rows(sa.select(system("sys.nodes").version))
        return sorted({version["number"] for (version,) in rows})

    def read_catalog(self, selectors: Iterable[Selector], own_schema: str | None = None) -> Catalog:
        return Reader(self.database.brief(), selectors, own_schema).catalog(self.clock)

    def read_named(self, names: Iterable[TableName]) -> Catalog:
        return Reader.of(self.database.brief(), names).named()

    def read_outline(self, selector: Selector) -> Catalog:
        return Reader(self.database.brief(), [selector]).outline()

    def read_storage(self, tables: Collection[TableName]) -> Mapping[TableName, Storage]:
        return forecast.read_storage(self.database.brief(), tables)

    def read_disks(self) -> Disks | None:
        return forecast.read_disks(self.database.brief())

    def _identify(self, name: TableName) -> str:
        return Reader.of(self.database.brief(), [name]).identities().get(name, "")

    def perform(self, step: plan.Step, report: Report) -> StepResult:
        """See :class:`Engine`; only columns that are still missing are added."""
        if isinstance(step, AlterRollup):
            c = system("information_schema.columns")
            rows = self.database.rows(sa.select(c.column_name).where(c.of(step.rollup.table)))
            step = replace(step, columns=tuple(name for name in step.columns if (name,) not in rows))
        return super().perform(step, report)

    def statements(self, step: plan.Step) -> list[sa.Executable]:
        match step:
            case plan.DropPartitions() | plan.DropArchived():
                return [sa.delete(table_ref(step.table)).where(in_partitions(SQL, step.columns, step.partitions))]
            case plan.DeleteRows():
                return self._batches(step)
            case plan.MovePartitions():
                return _alter(step, f"routing.allocation.require.{step.attribute}", step.value)
            case plan.CompactPartitions():
                return [statement for values in step.partitions for statement in _compacting(step, values)]
            case plan.FreezePartitions():
                return _alter(step, FROZEN, True)
            case plan.ThawPartitions():
                closed = [piece.partition.values for piece in step.pieces if piece.partition.closed]
                return [*(_open(step, values) for values in closed), *_alter(step, FROZEN, False)]
            case plan.SnapshotPartition() | plan.VerifySnapshot() if is_address(step.repository):
                rows: sa.Executable = (
                    sa.select(sa.literal_column("*")).select_from(table_ref(step.table)).where(is_of(step))
                )
                return [rows] if isinstance(step, plan.SnapshotPartition) else []
            case plan.SnapshotPartition():
                return [snapshot("CREATE", step)]
            case plan.VerifySnapshot():
                return verify_statements(step)
            case plan.DeleteSnapshot():
                return [] if is_address(step.archived.repository) else [snapshot("DROP", step.archived)]
            case LevelStep():
                return self._rollup_statements(step)
            case _:
                assert_never(step)

    def _drop(self, step: plan.DropPartitions) -> StepResult:
        shards.check_health(self.database, step)
        shards.check_age(self.database, step)
        self._execute(step)
        rows = [piece.partition.rows for piece in step.pieces]
        return replace(_moved(step), rows=None if None in rows else sum(row or 0 for row in rows))

    def _recheck(self, table: TableName) -> None:
        shards.check_shards(self.database, table)

    def _block(self, step: plan.FreezePartitions | plan.ThawPartitions, report: Report) -> StepResult:
        """Frozen partitions reject writes with an error; reading, archiving and dropping still work."""
        database = self.database.brief()
        if isinstance(step, plan.ThawPartitions):
            self._open_closed(step)
            step = replace(step, pieces=_opened(step.pieces))
        for number, statement in enumerate(self.statements(step), 1):
            try:
                database.execute(statement)
            except NotFound as error:
                if isinstance(step, plan.FreezePartitions):
                    raise PartitionChanged(f"table {step.table}", f"a partition is gone: {error.reason}") from None
            report(Progress(number, len(step.pieces), "partition"))
        return StepResult(partitions=len(step.pieces))

    def _open_closed(self, step: plan.PartitionsStep) -> None:
        """Open those that were closed to compact them, and wait until their rows can be read."""
        closed = shards.find_closed(self.database, step)
        pieces = tuple(piece for piece in step.pieces if piece.partition.ident in closed)
        for piece in pieces:
            self.database.execute(_open(step, piece.partition.values))
        if pieces:
            shards.await_opened(self.database, replace(step, pieces=pieces), self.clock)

    def _compact(self, step: plan.CompactPartitions, report: Report) -> StepResult:
        """
        If the codec changes, partitions are frozen and closed for a moment. A killed run leaves them closed, and
        recorded as frozen, so that the next one opens them.
        """
        if step.compress:
            shards.check_quiet(self.database, step, self.clock)
            self._open_closed(step)
        shards.check_health(self.database, step)
        if step.merge:
            shards.check_room(self.database, step)
        before, _ = shards.count_segments(self.database, step)
        for number, piece in enumerate(step.pieces, 1):
            self._compact_one(replace(step, pieces=(piece,)))
            report(Progress(number, len(step.pieces), "partition"))
        after, _ = shards.count_segments(self.database, step)
        return replace(_moved(step), size=max(before - after, 0))

    def _compact_one(self, step: plan.CompactPartitions) -> None:
        database, values = self.database, step.partitions[0]
        try:
            for statement in _storing(step, values):
                database.execute(statement)
            if step.compress:
                shards.await_opened(database, step, self.clock)
            if step.merge:
                shards.await_copies(database, step, self.clock)
            # A shard on its way to another node is not merged, and rows may arrive meanwhile: the next run goes on.
            for _ in range(ATTEMPTS if step.merge else 0):
                database.execute(optimize(partition_of(step.table, step.columns, values)))
                refresh_partitions(database, step.table, step.columns, [values])
                if shards.count_segments(database, step)[1] <= 1:
                    break
        except NotFound as error:
            raise PartitionChanged(f"table {step.table}", f"a partition is gone: {error.reason}") from None

    def _move(self, step: plan.MovePartitions, report: Report) -> StepResult:
        """Set an allocation rule, which stays, and wait until the cluster has moved the shards."""
        database = self.database.brief()
        shards.check_health(database, step)
        for statement in self.statements(step):
            database.execute(statement)
        last_seen: object = None
        since = self.clock.now()
        while True:
            arrived, total, recovered = self._arrived(step)
            report(Progress(arrived, total, "shard"))
            if arrived == total:
                return _moved(step)
            if (arrived, recovered) != last_seen:
                last_seen, since = (arrived, recovered), self.clock.now()
            elif (self.clock.now() - since).total_seconds() > PATIENCE_SECONDS:
                missing = f"nodes with {step.attribute}={step.value} still lack {plural(total - arrived, 'shard')}"
                remedy = "add space or nodes there; the next run continues to wait"
                raise MoveStuck(f"table {step.table}", f"{missing}: {self._why_stuck(step)}", remedy)
            self.clock.sleep(POLL_SECONDS)

    def _arrived(self, step: plan.MovePartitions) -> tuple[int, int, int]:
        s, p = system("sys.shards"), system("information_schema.table_partitions")
        right, recovered = self._right_nodes(step), words("recovery['size']['recovered']")
        read = sa.select(words("node['id']"), s.routing_state, s.primary, recovered)
        rows = self.database.brief().rows(read.where(_mine(s, step)))
        # A replica that no node may hold stays unassigned, which does not concern the move.
        assigned = [row for row in rows if row[0] is not None or row[2]]
        arrived = sum(1 for where_it_is, state, _, _ in assigned if where_it_is in right and state == "STARTED")
        # While a shard is relocated, there is a moment when neither node lists it.
        primaries = self.database.brief().rows(sa.select(sa.func.sum(p.number_of_shards)).where(_mine(p, step)))[0][0]
        unlisted = int(primaries or 0) - sum(1 for row in rows if row[2])
        return arrived, len(assigned) + max(unlisted, 0), sum(row[3] or 0 for row in rows)

    def _right_nodes(self, step: plan.MovePartitions) -> list[str]:
        n = system("sys.nodes")
        rows = self.database.brief().rows(sa.select(n.id, n.attributes))
        return [name for name, attributes in rows if str((attributes or {}).get(step.attribute)) == step.value]

    def _why_stuck(self, step: plan.MovePartitions) -> str:
        a = system("sys.allocations")
        # CrateDB also explains shards that have arrived: why they do not move on.
        away = sa.or_(a.node_id.is_(None), a.node_id.not_in(self._right_nodes(step)))
        reasons: list[str] = []
        read = sa.select(a.explanation, words("decisions")).where(_mine(a, step), away)
        for explanation, by_node in self.database.brief().rows(read.limit(20)):
            reasons += [text for node in by_node or [] for text in node.get("explanations") or []]
            reasons += [explanation] if explanation and not by_node else []
        return "; ".join(list(dict.fromkeys(reasons))[:3]) or "CrateDB gives no reason"

    def _roll_up(self, step: RollUp, report: Report) -> StepResult:
        """A large INSERT from a SELECT can lose rows on a busy cluster, and is then repeated."""
        database, rollup, results = self.database, step.rollup, dict[Window, Count]()
        # Law 6 applies to the source's partitions of this step, and to other tables that are read.
        partly = shards.check_shards(database, rollup.below, step.idents)
        counters = (rollup, *(coarser for coarser, _ in step.older)) if rollup.has_counters else ()
        sketches = [rollup.below_sketch] if rollup.sketched and not rollup.from_raw else []
        for table in (*sketches, *(level.table for level in counters)):
            shards.check_shards(database, table)

        def count(windows: Sequence[Window]) -> dict[Window, Count]:
            if partly:
                shards.refresh_idents(database, rollup.below, step.idents)
            else:
                database.refresh(table_ref(rollup.below))
            if sketches:
                database.refresh(table_ref(rollup.below_sketch))
            return self.counts(rollup).below(windows)

        def compute(run: rollups.Run) -> dict[Window, Count]:
            version = rollups.new_version()
            database.refresh(*map(table_ref, rollup.tables))
            for statement in rollups.run_statements(SQL, step, run, version, self.portions):
                database.execute(statement)
            database.refresh(*map(table_ref, rollup.tables))
            return self.counts(rollup).stored(run, version)

        below = count(step.windows)
        for run in rollups.runs_of(step, self.portions):
            self.counts(rollup).require_rows(step, run)
            attempt = 0
            while True:
                stored, attempt = compute(run), attempt + 1
                lost = [w for w in run.windows if not stored[w].stands_for(below[w]) or stored[w].alien]
                if not lost:
                    break
                before, below = below, below | count(run.windows)
                if attempt == ATTEMPTS:
                    # If a disk is full, an INSERT from a SELECT silently writes nothing.
                    if database.blocked(rollup.tables):
                        raise disk_is_full(f"table {rollup.table}")
                    raise _failure(rollup, lost[0], before[lost[0]], stored[lost[0]], below != before)
            results |= stored
            report(Progress(len(results), len(step.windows), "window"))
        return StepResult(rows=sum(count.rows for count in results.values()), windows=results)


def _alter(step: plan.PartitionsStep, setting: str, to: int | str) -> list[sa.Executable]:
    """One ALTER TABLE for each partition; CrateDB has none for several."""
    return [alter(partition_of(step.table, step.columns, values), setting, to) for values in step.partitions]


def _compacting(step: plan.CompactPartitions, values: Sequence[Value]) -> list[Statement]:
    merging = [optimize(partition_of(step.table, step.columns, values))] if step.merge else []
    return [*_storing(step, values), *merging]


def _storing(step: plan.CompactPartitions, values: Sequence[Value]) -> list[Statement]:
    """Fewer replicas first, since each copy is opened and merged later."""
    relation = partition_of(step.table, step.columns, values)
    found = [] if step.replicas is None else [alter(relation, "number_of_replicas", step.replicas)]
    if step.compress:
        close = Statement("ALTER TABLE ", *relation, " CLOSE")
        found += [close, alter(relation, "codec", shards.COMPRESSED), _open(step, values)]
    return found


def _open(step: plan.PartitionsStep, values: Sequence[Value]) -> Statement:
    return Statement("ALTER TABLE ", *partition_of(step.table, step.columns, values), " OPEN")


def _opened(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    return tuple(piece._replace(partition=piece.partition._replace(closed=False)) for piece in pieces)


def _moved(step: plan.PartitionsStep) -> StepResult:
    found = [piece.partition for piece in step.pieces]
    return StepResult(rows=sum(p.rows or 0 for p in found), partitions=len(found), size=sum(p.size or 0 for p in found))


def _mine(t: system, step: plan.MovePartitions) -> sa.ColumnElement[bool]:
    return sa.and_(t.of(step.table), t.partition_ident.in_([piece.partition.ident for piece in step.pieces]))


def _failure(rollup: Rollup, window: Window, below: Count, stored: Count, moving: bool) -> RetentionError:
    thing = f"table {rollup.table}, {rollups.show_window(window)}"
    if stored.alien:
        return PartitionChanged(thing, "another process writes to it", "the next run computes it again")
    if moving:
        return PartitionChanged(thing, f"rows are being written to {rollup.below}", "the next run tries again")
    return DatabaseError(thing, f"{rollups.show_difference(below, stored)}, in {ATTEMPTS} attempts")
