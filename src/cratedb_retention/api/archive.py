"""
Data that is no longer as it was: the archive, and tables together with their rollups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cratedb_retention.api.connection import Part
from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.errors import NotFound
from cratedb_retention.execution import accepting, archive
from cratedb_retention.execution.accepting import Earlier
from cratedb_retention.execution.archive import Adoptable, Restored, RestoreRequest, Verified
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.execution.plan.preview import Restorable, preview_restore
from cratedb_retention.execution.query import fetch, suggest_values
from cratedb_retention.execution.rollups import levels as rollups
from cratedb_retention.execution.rollups.levels import Difference
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest
from cratedb_retention.model.rollups.rollup import sketch_table
from cratedb_retention.planning.rollups.cascades import Cascade as PlannedCascade
from cratedb_retention.store.archive import SnapshotRecord
from cratedb_retention.store.rollups import LevelState


class Archive(Part):
    """What was archived."""

    def snapshots(self, request: RestoreRequest | None = None) -> list[SnapshotRecord]:
        """The snapshots that the toolkit made, or those that fit a request."""
        return archive.find_snapshots(self._store, request or RestoreRequest())

    def states(self, records: Sequence[SnapshotRecord]) -> dict[tuple[str, str], SnapshotState]:
        """What the repositories say of snapshots, by repository and name; those that are gone are missing."""
        return self._engine.archive.states(record.key for record in records)

    def verify(
        self, request: RestoreRequest | None = None, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """
        Read snapshots back and compare them with what was archived; each is passed to `told` as soon as it was read.

        :raises NotFound: if none fits that was named.
        """
        return archive.verify_snapshots(self._engine, self._store, request or RestoreRequest(), told)

    def preview(self, request: RestoreRequest) -> list[Restorable]:
        """What :meth:`restore` would bring back, and what it would refuse, likewise; nothing is written."""
        return preview_restore(self._engine, self.restorable(request), request.into)

    def statements(self, found: Sequence[Restorable]) -> list[str]:
        """The statements that would bring back what :meth:`preview` says of one partition."""
        archived = [item.record.archived for item in found if not item.refusal]
        return list(self._engine.archive.render_restore(archived, found[0].into, archived)) if archived else []

    def restorable(self, request: RestoreRequest) -> list[SnapshotRecord]:
        """What :meth:`restore` would bring back: of each partition all snapshots that hold different rows."""
        return archive.find_restorable(self._engine, self._store, self._clock, request)

    def restore(self, request: RestoreRequest, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """
        Bring partitions back: of each all of its snapshots, unless some are chosen by name. Those that go into their
        own table are on hold until it is released: one hold for each table.

        :param told: Is told of each as soon as it is back, or is not.
        :return: One for each snapshot; where ``error`` is set, it did not come back, and says why.
        :raises NotFound: if no snapshot fits.
        """
        restoring = archive.Restoring(
            engine=self._engine, store=self._store, clock=self._clock, actor=self._connection.actor, request=request
        )
        return restoring.run(told)

    def adopt(
        self, repository: str, request: RestoreRequest | None = None, *, dry_run: bool = False
    ) -> list[Adoptable]:
        """
        Note the snapshots of a repository, all that the toolkit made or some, in the toolkit's own table, as after its
        loss; those that it has stay as they are. A dry run only tells which.

        :raises NotFound: if there is no such repository.
        """
        fits = (request or RestoreRequest()).fits
        return archive.adopt(self._engine, self._store, self._clock, repository, fits, dry_run)


class Rollups(Part):
    """Tables with their rollups."""

    def planned(self, selection: Selection | None = None) -> list[PlannedCascade]:
        """What policies that downsample found out about their tables: time, dimensions, metrics and levels."""
        return rollups.planned_cascades(self._prepare(selection))

    def cascade(self, table_name: str, table_schema: str | None = None) -> Cascade:
        """
        A table with its rollups, or without if it has none: its metrics and dimensions, and what each table holds.

        :raises NotFound: if there is no such table; `InvalidInput` if nothing says which column is the rows' time.
        """
        return rollups.find_cascade(self._engine, self._store, self._named(table_name, table_schema))

    def fetch(self, request: FetchRequest) -> Fetched:
        """
        Read a table together with its rollups: each stretch of time from the level that fits the step, or from the one
        that still has it. Of a table without rollups the rows are read.

        :raises NotFound: if there is no such table; `InvalidInput` if the request makes no sense.
        """
        cascade = self.cascade(request.table_name, request.table_schema)
        return fetch(self._engine, cascade, request, self._clock.now())

    def values(self, request: FetchRequest, limit: int = 50) -> list[Value]:
        """Some values of a dimension of a table, which ``by`` names."""
        cascade = self.cascade(request.table_name, request.table_schema)
        return suggest_values(self._engine, cascade, request, self._clock.now(), limit)

    def levels(self) -> list[LevelState]:
        """How far each level of all cascades is."""
        return self._store.rollups.level_states()

    def has_any(self, table: TableName) -> bool:
        """Whether a table has rollups."""
        return bool(rollups.of_source(self._store, self._store.rollups.all().values(), table))

    def tables(self) -> tuple[list[TableName], list[TableName]]:
        """The tables that have rollups; and the other ones of the database that are none themselves."""
        known = self._store.rollups.all()
        sources = {each.rollup.source for each in known.values()}
        levels = {name for table in known for name in (table, sketch_table(table))}
        outline = self._engine.read_outline(Selector(schema=self._connection.default_schema, name=""))
        return sorted(sources), sorted(set(outline.tables) - sources - levels)

    def verify(self, table_name: str, table_schema: str | None = None) -> list[Difference]:
        """
        Compare each rollup of a table with its source, for the time that both hold; returns what differs.

        :raises NotFound: if the table has no rollups.
        """
        cascade = self.cascade(table_name, table_schema)
        if not any(holding.rollup for holding in cascade.holdings):
            remedy = "create a downsample policy for it, and run that"
            raise NotFound(f"table {cascade.source}", "has no rollups", remedy)
        found = rollups.verify_rollups(self._engine, cascade)
        return rollups.mark_stale(found, self._prepare().plan) if found else []

    def drop(self, table_name: str, table_schema: str | None = None) -> list[TableName]:
        """
        Drop all rollups of a table; a policy that is still there makes new ones, from the raw rows that are left.

        :raises NotFound: if the table has none.
        """
        return rollups.drop_rollups(self._engine, self._store, self._named(table_name, table_schema))

    def accept_tables(self, table_name: str, table_schema: str | None = None) -> list[TableName]:
        """
        Take tables, by names or patterns, for those that rollups, snapshots and holds of their names are of, though
        they were dropped and created again, or restored or copied. Rows of a time that was rolled up and expired then
        count as late.

        :raises NotFound: if there is no such table, or nothing is known of an earlier one.
        """
        return accepting.accept_tables(self._engine, self._store, *self._named(table_name, table_schema))

    def find_earlier(self, table: TableName) -> Earlier | None:
        """What is known of another table that had the name of a table before, see :meth:`accept_tables`; or None."""
        return accepting.find_earlier(self._engine, self._store, table)

    def _named(self, table_name: str, table_schema: str | None) -> TableName:
        return TableName(table_schema or self._connection.default_schema, table_name)

    def _prepare(self, selection: Selection | None = None) -> Prepared:
        return Look(self._engine, self._store).prepare(self._clock.now(), selection)
