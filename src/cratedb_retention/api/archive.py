"""Archives, and tables together with their rollups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from cratedb_retention.api.connection import Part
from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.execution import accepting, archive
from cratedb_retention.execution.accepting import Earlier
from cratedb_retention.execution.archive import Adoptable, Deletable, Deleted, Restored, RestoreRequest, Verified
from cratedb_retention.execution.iceberg import Mirror, Mirrored
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.execution.plan.preview import ArchiveLine, Restorable, preview_restore
from cratedb_retention.execution.query import (
    Reader,
    archived_since,
    fetch,
    find_archives,
    query_archives,
    suggest_values,
    write_answer,
)
from cratedb_retention.execution.rollups import levels as rollups
from cratedb_retention.execution.rollups.levels import Difference
from cratedb_retention.execution.runs.undo import undo
from cratedb_retention.model.archive import SnapshotRecord
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.plan.plan import DeleteRows, DropPartitions
from cratedb_retention.model.policies.patterns import matcher
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest
from cratedb_retention.model.rollups.rollup import sketch_table
from cratedb_retention.planning.policies import Finding
from cratedb_retention.planning.rollups.cascades import Cascade as PlannedCascade
from cratedb_retention.store.audit import JournalFilter
from cratedb_retention.store.rollups.levels import LevelState
from cratedb_retention.store.rows import PAGE

if TYPE_CHECKING:
    from cratedb_retention.model.query.answer import Answer, QueryRequest

_FOR_GOOD, _MOST_STEPS = (DropPartitions.operation(), DeleteRows.operation()), 1_000_000


class Archive(Part):
    """Archived partitions."""

    def snapshots(self, request: RestoreRequest | None = None) -> list[SnapshotRecord]:
        """The recorded snapshots, or those that match a request."""
        return list(self.stream(request))

    def stream(self, request: RestoreRequest | None = None) -> Iterator[SnapshotRecord]:
        """Like :meth:`snapshots`, but any number of them fits into memory."""
        return archive.find_snapshots(self._store, request or RestoreRequest())

    def states(self, records: Sequence[SnapshotRecord]) -> dict[tuple[str, str], SnapshotState]:
        """The states of snapshots in their repositories, by repository and name, without those that do not exist."""
        return self._engine.archive.states(record.key for record in records)

    def lines(self, records: Iterable[SnapshotRecord]) -> Iterator[ArchiveLine]:
        """Snapshots with their states in their repositories, which are read for many at a time."""
        left, ends = iter(records), archive.find_ends(self._engine, self._store)
        while some := list(islice(left, PAGE)):
            states = self.states(some)
            for record in some:
                yield ArchiveLine(record=record, state=states.get(record.key), ends=ends.due(record))

    def verify(
        self, request: RestoreRequest | None = None, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """
        Read snapshots back and compare them with the archived partitions.

        :param told: Called with each result at once.
        :raises NotFound: if no snapshot matches the request.
        """
        return archive.verify_snapshots(self._engine, self._store, request or RestoreRequest(), told)

    def preview(self, request: RestoreRequest) -> list[Restorable]:
        """What :meth:`restore` would restore, and what it would refuse. Writes nothing."""
        return preview_restore(self._engine, self.restorable(request), request.into, request.undo)

    def statements(self, found: Sequence[Restorable]) -> list[str]:
        """The statements that would restore one partition, given its snapshots from :meth:`preview`."""
        archived = [item.record.archived for item in found if not item.refusal]
        return list(self._engine.archive.render_restore(archived, found[0].into, archived)) if archived else []

    def restorable(self, request: RestoreRequest) -> list[SnapshotRecord]:
        """The snapshots that :meth:`restore` would restore: for each partition all that contain different rows."""
        return archive.find_restorable(self._engine, self._store, self._clock, request)

    def restore(self, request: RestoreRequest, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """
        Restore partitions, each from all of its snapshots unless some are chosen by name. Partitions that return to
        their own table are on hold until a user releases it: one hold for each table. See also
        :meth:`Retention.undo`.

        :param told: Called with each result at once.
        :return: One result for each snapshot; ``error`` is the reason if it was not restored.
        :raises NotFound: if no snapshot matches the request.
        """
        at = self._connection
        if request.undo:  # What a recoverable policy deleted is in no Iceberg catalog.
            return undo(self._engine, self._store, self._clock, at.actor, request, told)
        restoring = archive.Restoring(
            engine=self._engine, store=self._store, clock=self._clock, actor=at.actor, request=request
        )
        try:
            return restoring.run(told)
        finally:
            self._follow({archived.table for archived in restoring.every})

    def deleted_for_good(self, run_id: str) -> dict[TableName, int]:
        """The rows that a run deleted and :meth:`Retention.undo` does not bring back, by table."""
        wanted = JournalFilter(run_id=run_id, event=Event.STEP_FINISHED, outcome=Outcome.DONE, limit=_MOST_STEPS)
        found: dict[TableName, int] = {}
        for row in self._store.journal.stream(wanted):
            if row["operation"] in _FOR_GOOD:
                table = TableName(row["table_schema"], row["table_name"])
                found[table] = found.get(table, 0) + (row["rows"] or 0)
        return found

    def deletable(self, request: RestoreRequest) -> list[Deletable]:
        """What :meth:`delete` would delete, and what it would refuse. Writes nothing."""
        return archive.preview_delete(self._engine, self._store, request)

    def delete(self, request: RestoreRequest, told: Callable[[Deleted], None] | None = None) -> list[Deleted]:
        """
        Delete snapshots for good: all of the matching partitions unless some are chosen by name, whether or not a
        policy would still keep them. Those under a legal hold, or in use, stay.

        :param told: Called with each result at once.
        :return: One result for each snapshot; ``error`` is the reason if it was not deleted.
        :raises NotFound: if no snapshot matches the request.
        """
        if self._connection.mirror is None:
            return archive.delete_snapshots(self._engine, self._store, request, told)
        going = [item.record for item in self.deletable(request) if item.why_not is None]
        tables = {record.archived.table for record in going}
        self._follow(tables, {record.key for record in going})
        try:
            return archive.delete_snapshots(self._engine, self._store, request, told)
        finally:  # Those that were not deleted return.
            self._follow(tables)

    def query(self, query: str) -> Answer:
        """
        Run a query over the archived rows of all tables, which have their own names there, in DuckDB's SQL. Rows that
        are in the tables as well, such as restored ones, are not read. Close the answer after reading it.

        :param query: One SELECT. It can read these rows, and nothing else.
        :raises InvalidInput: if it is something else or invalid, or DuckDB is not installed.
        :raises NotFound: if a table has no archived rows.
        """
        return query_archives(self._engine, self._store, query)

    def write_answer(self, request: QueryRequest, reader: Reader, stream: BinaryIO) -> list[str]:
        """
        Like :meth:`query`, for a user who is not trusted with this process: within limits, by another process, which
        writes the answer to a file.

        :return: Notes on archives that were not read.
        """
        return write_answer(self._engine, self._store, request, reader, stream)

    def begins(self, table: TableName, reader: Reader | None = None) -> int | None:
        """When the archived rows of a table begin (ms, UTC); None: there are none, or it is unknown."""
        return archived_since(self._store, table, reader)

    def check(self, selection: Selection | None = None) -> list[Finding]:
        """
        Compare the repositories of policies with the toolkit's own table: snapshots that only one of them knows, and
        what interrupted runs and commands left behind. Reads no data.
        """
        return archive.find_strays(self._engine, self._store, self._chosen(selection or Selection()))

    def _chosen(self, selection: Selection) -> Iterator[Policy]:
        return (stored.policy for stored in self._store.policies.all()[0] if selection.fits(stored.policy))

    def adopt(
        self, repository: str, request: RestoreRequest | None = None, *, dry_run: bool = False
    ) -> list[Adoptable]:
        """
        Record snapshots of a repository in the toolkit's own table, for example after its loss: all that the toolkit
        created, or some. Known ones stay unchanged. A dry run only returns them.

        :raises NotFound: if the repository does not exist.
        """
        fits = (request or RestoreRequest()).fits
        found = archive.adopt(self._engine, self._store, self._clock, repository, fits, dry_run)
        self._follow({item.record.archived.table for item in found if not item.known and not dry_run})
        return found

    def sync(
        self,
        catalog: str | None = None,
        *,
        table_schema: str | None = None,
        table_name: str | None = None,
        dry_run: bool = False,
    ) -> list[Mirrored]:
        """
        Bring tables of an Iceberg catalog up to date: each has the rows of a table's archives that :meth:`query` reads.
        Runs, :meth:`restore`, :meth:`delete` and :meth:`adopt` do that by themselves for the tables they are about.

        :param catalog: Its name in the configuration of pyiceberg; None: that of the connection.
        :param table_schema: A name or pattern, as is ``table_name``; None: all archived tables.
        :param dry_run: Only count what would change.
        :return: One result for each table; the last one is about all, without a table, if the catalog cannot be used.
        :raises InvalidInput: if no catalog is named.
        """
        name = catalog or self._connection.catalog
        if not name:
            raise InvalidInput("Iceberg catalog", "none is named", "give --catalog, or set iceberg.catalog")
        folds = self._engine.capabilities.folds_case
        schemas, names = matcher(table_schema or "*", folds), matcher(table_name or "*", folds)

        def fits(table: TableName) -> bool:
            return schemas(table.schema) and names(table.name)

        found = list(Mirror(self._engine, self._store, name).update_all(fits, dry_run))
        for each in found if not dry_run else ():
            if each.is_worth_telling:
                self._store.journal.write(each.entry)
        return found


class Rollups(Part):
    """Tables with their rollups."""

    def planned(self, selection: Selection | None = None) -> list[PlannedCascade]:
        """The cascades that policies define: time, dimensions, metrics and levels of each table."""
        return rollups.planned_cascades(self._prepare(selection))

    def cascade(self, table_name: str, table_schema: str | None = None) -> Cascade:
        """
        A table with its rollups, if it has any: metrics, dimensions, and the time range that each level covers.

        :raises NotFound: if the table does not exist; `InvalidInput` if its time column is unknown.
        """
        return rollups.find_cascade(self._engine, self._store, self._named(table_name, table_schema))

    def fetch(self, request: FetchRequest) -> Fetched:
        """
        Read a table together with its rollups and archives: each time range from the level that fits the step, or from
        one that still has it. Without a level, raw rows are read: those in the table, and archived ones.

        :raises NotFound: if the table does not exist; `InvalidInput` if the request is invalid.
        """
        cascade = self.cascade(request.table_name, request.table_schema)
        find = partial(find_archives, self._engine, self._store, cascade.source)
        return fetch(self._engine, cascade, request, self._clock.now(), find)

    def values(self, request: FetchRequest, limit: int = 50) -> list[Value]:
        """Some values of the dimension in ``by``."""
        cascade = self.cascade(request.table_name, request.table_schema)
        return suggest_values(self._engine, cascade, request, self._clock.now(), limit)

    def levels(self) -> list[LevelState]:
        """The progress of each level of all cascades."""
        return self._store.rollups.level_states()

    def has_any(self, table: TableName) -> bool:
        """Whether a table has rollups."""
        return bool(rollups.of_source(self._store, self._store.rollups.all().values(), table))

    def tables(self) -> tuple[list[TableName], list[TableName]]:
        """The tables that have rollups, and the remaining ones that are not rollups themselves."""
        known = self._store.rollups.all()
        sources = {each.rollup.source for each in known.values()}
        levels = {name for table in known for name in (table, sketch_table(table))}
        outline = self._engine.read_outline(Selector(schema=self._connection.default_schema, name=""))
        return sorted(sources), sorted(set(outline.tables) - sources - levels)

    def verify(
        self, table_name: str, table_schema: str | None = None, told: Callable[[str], None] | None = None
    ) -> list[Difference]:
        """
        Compare each rollup of a table with its source, for the time range that both cover; returns the differences.
        Where the source is gone from its table, it is compared with archived rows that can be read.

        :param told: Called with a note for each time range that was compared with archived rows, or could not be.
        :raises NotFound: if the table has no rollups.
        """
        cascade = self.cascade(table_name, table_schema)
        if not any(holding.rollup for holding in cascade.holdings):
            remedy = "create a downsample policy for it, and run it"
            raise NotFound(f"table {cascade.source}", "has no rollups", remedy)
        find = partial(find_archives, self._engine, self._store, cascade.source)
        found = rollups.verify_rollups(self._engine, cascade, find, told)
        return rollups.mark_stale(found, self._prepare().plan) if found else []

    def drop(self, table_name: str, table_schema: str | None = None) -> list[TableName]:
        """
        Drop all rollups of a table. A policy that still exists creates new ones from the remaining raw rows.

        :raises NotFound: if the table has no rollups.
        """
        return rollups.drop_rollups(self._engine, self._store, self._named(table_name, table_schema))

    def accept_tables(self, table_name: str, table_schema: str | None = None) -> list[TableName]:
        """
        Accept tables, by names or patterns, as those that the rollups, snapshots and holds of their names belong to,
        although they were dropped and created again, restored or copied. Their rows in windows whose source expired
        count as late.

        :raises NotFound: if no such table exists, or nothing is recorded of an earlier one.
        """
        found = accepting.accept_tables(self._engine, self._store, *self._named(table_name, table_schema))
        self._follow(found)
        return found

    def find_earlier(self, table: TableName) -> Earlier | None:
        """What is recorded of an earlier table of the same name, see :meth:`accept_tables`; None: nothing."""
        return accepting.find_earlier(self._engine, self._store, table)

    def _named(self, table_name: str, table_schema: str | None) -> TableName:
        return TableName(table_schema or self._connection.default_schema, table_name)

    def _prepare(self, selection: Selection | None = None) -> Prepared:
        return Look(self._engine, self._store).prepare(self._clock.now(), selection)
