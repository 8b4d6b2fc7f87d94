"""
What somebody with an access token may do with the archive, and what becomes of data when a hold ends.

A limit lets through only snapshots of policies with its tags, and only into tables that these policies are about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cratedb_retention.errors import Conflict, Forbidden, NotFound
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.previewing import ArchiveLine, Restorable, archive_lines
from cratedb_retention.execution.restoring import Restored, RestoreRequest, Verified
from cratedb_retention.model.access import Role
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import Selector, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import find_tables
from cratedb_retention.service.operations import Operations, OperationState
from cratedb_retention.store.journal import JournalFilter
from cratedb_retention.store.snapshots import SnapshotRecord

if TYPE_CHECKING:
    from cratedb_retention.service.scoped import Scoped

# So many of the latest verifications are looked through; an older one counts as never.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Release:
    """
    What the next run would take if a hold ended.

    :param partitions: Partitions that are due only then, likewise ``rows``.
    """

    partitions: int
    rows: int


def read_archive(scoped: Scoped, request: RestoreRequest) -> list[ArchiveLine]:
    """What was archived of theirs and how well it is, problems first."""
    found = scoped.snapshots(request)
    return archive_lines(found, scoped.journal(JournalFilter(event=Event.VERIFIED, limit=_REMEMBERED)))


def verify(scoped: Scoped, request: RestoreRequest, told: Callable[[Verified], None] | None) -> list[Verified]:
    """
    Read snapshots of theirs back.

    :raises Forbidden: if their role is not enough.
    """
    scoped.access.require(Role.OPERATOR)
    return scoped.retention.verify_snapshots(_narrow(scoped, request), told)


def preview(scoped: Scoped, request: RestoreRequest) -> list[Restorable]:
    """
    What a restore would do, as far as it is theirs. Nothing is written.

    :raises NotFound: if no snapshot of theirs fits.
    :raises Forbidden: if it would go where nothing of theirs is.
    """
    request = _narrow(scoped, request)
    found = scoped.retention.preview_restore(request)
    _require(scoped, [item.record for item in found], request.into)
    return found


def restore(scoped: Scoped, request: RestoreRequest, told: Callable[[Restored], None] | None) -> list[Restored]:
    """
    Bring snapshots of theirs back, into tables of theirs.

    :raises NotFound: if no snapshot of theirs fits.
    :raises Forbidden: if their role is not enough, or it would go where nothing of theirs is.
    """
    scoped.access.require(Role.OPERATOR)
    request = _narrow(scoped, request)
    _require(scoped, scoped.retention.restorable(request), request.into)
    return scoped.retention.restore(request, told)


def start_restore(scoped: Scoped, operations: Operations, request: RestoreRequest) -> OperationState:
    """
    Bring back, in the background, exactly what a preview says at this moment (law 10).

    :raises NotFound: if no snapshot of theirs fits.
    :raises Forbidden: if their role is not enough, or it would go where nothing of theirs is.
    :raises Conflict: if nothing would come back, or too many operations go on.
    """
    scoped.access.require(Role.OPERATOR)
    found = preview(scoped, request)
    coming = [item.record.archived for item in found if item.refusal is None]
    if not coming:
        raise Conflict("restore", f"nothing would come back: {found[0].refusal}", "look at the preview")
    exactly = replace(request, chosen=frozenset((each.repository, each.name) for each in coming))
    return operations.start(scoped.retention, "restore", len(coming), lambda told: restore(scoped, exactly, told))


def start_verify(scoped: Scoped, operations: Operations, request: RestoreRequest) -> OperationState:
    """
    Read snapshots of theirs back, in the background: those that there are at this moment.

    :raises NotFound: if none fits.
    :raises Forbidden: if their role is not enough.
    :raises Conflict: if too many operations go on.
    """
    scoped.access.require(Role.OPERATOR)
    found = [record.archived for record in scoped.retention.snapshots(_narrow(scoped, request))]
    if not found:
        raise NotFound("snapshots", "none fits", "GET /api/v1/snapshots lists them")
    exactly = replace(request, chosen=frozenset((each.repository, each.name) for each in found))
    return operations.start(scoped.retention, "verify", len(found), lambda told: verify(scoped, exactly, told))


def _narrow(scoped: Scoped, request: RestoreRequest) -> RestoreRequest:
    return replace(request, tags=request.tags & scoped.access.limit)


def _require(scoped: Scoped, records: list[SnapshotRecord], into: TableName | None) -> None:
    """Of a table that is shared with others, only the partitions with their values are theirs."""
    own = scoped.retention.store.schema
    if into is not None and into.schema.casefold() == own.casefold():
        raise Forbidden(f"table {into}", "would be among the toolkit's own tables", "choose another schema")
    for record in records:
        archived = record.archived
        table = into or archived.table
        where = {column.name: value for column, value in zip(archived.columns, archived.values, strict=True)}
        scoped.realm.require(make_area(table.schema, table.name, where, scoped.realm.default_schema))


def held_tables(scoped: Scoped, holds: list[LegalHold]) -> dict[str, list[TableName]]:
    """The tables that holds are on at present, by the hold's identifier; one look for all of them."""
    if not holds:
        return {}
    selectors = dict.fromkeys(Selector(schema=hold.table_schema, name=hold.table_name) for hold in holds)
    tables = scoped.retention.engine.read_catalog(list(selectors)).tables
    own = scoped.retention.engine.capabilities
    return {
        hold.id: find_tables(hold.table_schema or own.default_schema, hold.table_name, tables, own.folds_case)
        for hold in holds
    }


def find_release(scoped: Scoped, identifier: str) -> Release:
    """
    What the next run would take of theirs if a hold ended, besides what it takes anyway.

    :raises NotFound: if they see no such hold.
    """
    if not any(hold.id == identifier for hold in scoped.holds()):
        raise NotFound(f"hold {identifier}", "is not in force", "it may have been released meanwhile")
    before, after = scoped.preview_release((identifier,))
    now, then = _amounts(before), _amounts(after)
    return Release(max(then[0] - now[0], 0), max(then[1] - now[1], 0))


def _amounts(prepared: Prepared) -> tuple[int, int]:
    tasks = prepared.plan.tasks
    return sum(task.partitions or 0 for task in tasks), sum(task.rows or 0 for task in tasks)
