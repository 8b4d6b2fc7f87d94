"""
Everything that somebody with an access token can do: the class ``Retention`` as far as their role and limit let them.

The HTTP API and the pages reach the toolkit through this class only, so that each rule stands in one place. What is not
theirs to see does not exist: the answer is the same as for a name that was never given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.errors import NotFound
from cratedb_retention.execution.previewing import ArchiveLine, Restorable
from cratedb_retention.execution.restoring import Restored, RestoreRequest, Verified
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.service import archiving
from cratedb_retention.service.operations import UNKNOWN_OPERATION, Operations, OperationState
from cratedb_retention.service.scope.cascades import Cascades
from cratedb_retention.service.scope.tables import Tables
from cratedb_retention.store.snapshots import SnapshotRecord
from cratedb_retention.store.tokens import AccessToken


class Scoped(Tables, Cascades):
    """
    The toolkit for one request.

    :param retention: Acts as whoever asks.
    """

    def held_tables(self, holds: Sequence[LegalHold]) -> dict[str, list[TableName]]:
        """The tables that holds which they see are on at present, by the hold's identifier."""
        return archiving.held_tables(self, [hold for hold in holds if self.realm.covers_hold(hold)])

    def find_release(self, identifier: str) -> archiving.Release:
        """What the next run would take of theirs if a hold ended."""
        return archiving.find_release(self, identifier)

    def snapshots(self, request: RestoreRequest) -> list[tuple[SnapshotRecord, SnapshotState | None]]:
        """What was archived of theirs, with what the repositories say about it."""
        records = self.retention.snapshots(request)
        mine = [r for r in records if self.access.sees(r.tags)]
        states = self.retention.snapshot_states(mine)
        return [(r, states.get((r.archived.repository, r.archived.name))) for r in mine]

    def archive(self, request: RestoreRequest) -> list[ArchiveLine]:
        """What was archived of theirs, with how well it is; problems first."""
        return archiving.read_archive(self, request)

    def verify_snapshots(
        self, request: RestoreRequest, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """
        Read snapshots of theirs back and compare them with what was archived.

        :param told: Is told of each as soon as it was read.
        :raises Forbidden: if their role is not enough.
        """
        return archiving.verify(self, request, told)

    def restorable(self, request: RestoreRequest) -> list[Restorable]:
        """
        What :meth:`restore` would bring back, and what it would refuse; nothing is written.

        :raises NotFound: if no snapshot of theirs fits.
        :raises Forbidden: if it would go where nothing of theirs is.
        """
        return archiving.preview(self, request)

    def restore(self, request: RestoreRequest, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """
        Bring partitions of theirs back, into tables of theirs.

        :param told: Is told of each as soon as it is back, or is not.
        :raises NotFound: if no snapshot of theirs fits.
        :raises Forbidden: if their role is not enough, or it would go where nothing of theirs is.
        """
        return archiving.restore(self, request, told)

    def start_restore(self, operations: Operations, request: RestoreRequest) -> OperationState:
        """The same in the background: exactly what :meth:`restorable` says at this moment would come back."""
        return archiving.start_restore(self, operations, request)

    def start_verify(self, operations: Operations, request: RestoreRequest) -> OperationState:
        """Like :meth:`verify_snapshots`, in the background."""
        return archiving.start_verify(self, operations, request)

    def operations(self, operations: Operations) -> list[OperationState]:
        """The operations of late that are theirs to see, newest first."""
        return [state for state in operations.all() if self._sees_actor(state.actor)]

    def find_operation(self, operations: Operations, operation_id: str) -> OperationState:
        """
        One of them.

        :raises NotFound: if they see none.
        """
        found = operations.find(operation_id)
        if not self._sees_actor(found.actor):
            raise NotFound(f"operation {operation_id}", "is not known here", UNKNOWN_OPERATION)
        return found

    def cancel_operation(self, operations: Operations, operation_id: str) -> OperationState:
        """
        Let an operation end before its next snapshot.

        :raises NotFound: if they see none.
        :raises Conflict: if it is over.
        """
        self.access.require(Role.OPERATOR)
        self.find_operation(operations, operation_id)
        return operations.cancel(operation_id)

    def tokens(self) -> Iterable[AccessToken]:
        """All tokens."""
        self.access.require(Role.ADMIN)
        return self._tokens
