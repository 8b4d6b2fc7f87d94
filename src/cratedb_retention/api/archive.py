"""
The archive: snapshots of partitions, read back, brought back, and found again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cratedb_retention.api.connection import Part
from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.execution.accepting import Adoptable, adopt
from cratedb_retention.execution.archive import (
    Restored,
    RestoreRequest,
    Verified,
    find_restorable,
    find_snapshots,
    restore,
    verify_snapshots,
)
from cratedb_retention.execution.preview import Restorable, preview_restore
from cratedb_retention.store.archive import SnapshotRecord


class Archive(Part):
    """What was archived."""

    def snapshots(self, request: RestoreRequest | None = None) -> list[SnapshotRecord]:
        """The snapshots that the toolkit made, or those that fit a request."""
        return find_snapshots(self._store, request or RestoreRequest())

    def states(self, records: Sequence[SnapshotRecord]) -> dict[tuple[str, str], SnapshotState]:
        """What the repositories say of snapshots, by repository and name; those that are gone are missing."""
        return self._engine.archive.states((r.archived.repository, r.archived.name) for r in records)

    def verify(
        self, request: RestoreRequest | None = None, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """
        Read snapshots back and compare them with what was archived.

        :param told: Is told of each as soon as it was read.
        :raises NotFound: if none fits that was named.
        """
        return verify_snapshots(self._engine, self._store, request or RestoreRequest(), told)

    def preview(self, request: RestoreRequest) -> list[Restorable]:
        """
        What :meth:`restore` would bring back, and what it would refuse; nothing is written.

        :raises NotFound: if no snapshot fits.
        """
        return preview_restore(self._engine, self.restorable(request), request.into)

    def statements(self, found: Sequence[Restorable]) -> list[str]:
        """The statements that would bring back what :meth:`preview` says of one partition."""
        archived = [item.record.archived for item in found if not item.refusal]
        return list(self._engine.archive.render_restore(archived, found[0].into, archived)) if archived else []

    def restorable(self, request: RestoreRequest) -> list[SnapshotRecord]:
        """
        What :meth:`restore` would bring back: of each partition that fits all snapshots that hold different rows.

        :raises NotFound: if no snapshot fits.
        """
        return find_restorable(self._engine, self._store, self._clock, request)

    def restore(self, request: RestoreRequest, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """
        Bring partitions back: of each all of its snapshots, unless some are chosen by name. Those that go into their
        own table are on hold until it is released: one hold for each table.

        :param told: Is told of each as soon as it is back, or is not.
        :return: One for each snapshot; where ``error`` is set, it did not come back, and says why.
        :raises NotFound: if no snapshot fits.
        """
        return restore(self._engine, self._store, self._clock, self._connection.actor, request, told)

    def adopt(
        self, repository: str, request: RestoreRequest | None = None, *, dry_run: bool = False
    ) -> list[Adoptable]:
        """
        Note the snapshots of a repository in the toolkit's own table, as after its loss. Those that it has stay as
        they are.

        :param request: Which of them; None: all that the toolkit made.
        :param dry_run: Whether to only tell.
        :raises NotFound: if there is no such repository.
        """
        fits = (request or RestoreRequest()).fits
        return adopt(self._engine, self._store, self._clock, repository, fits, dry_run)
