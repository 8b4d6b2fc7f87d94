"""``/holds``, ``/snapshots`` and ``/operations``: what must stay, what was archived, read back or restored."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.previewing import ArchiveLine
from cratedb_retention.execution.results import Hold, Operation, Restorable, Snapshot
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.requests import (
    ChosenSnapshots,
    HoldRequest,
    JsonRoute,
    Limit,
    Offset,
    RestoreWanted,
    ShortText,
    SnapshotsWanted,
)
from cratedb_retention.service.http.security import Operator, Viewer, context_of
from cratedb_retention.service.operations import OperationState

holds = APIRouter(tags=["holds"], route_class=JsonRoute)
snapshots = APIRouter(tags=["snapshots"], route_class=JsonRoute)
_LOCATION = {"headers": {"Location": {"description": "Where the operation is.", "schema": {"type": "string"}}}}


@holds.get("/holds", responses=problems())
def list_holds(who: Viewer) -> list[Hold]:
    """The holds in force, oldest first."""
    return [Hold.of(hold) for hold in who.holds()]


@holds.post("/holds", status_code=HTTPStatus.CREATED, responses=problems())
def place_hold(who: Operator, wanted: HoldRequest) -> Hold:
    """Keep data until the hold is released."""
    hold = who.place(wanted.table_name, wanted.table_schema, wanted.where, wanted.start, wanted.end, wanted.reason)
    return Hold.of(hold)


@holds.delete("/holds/{hold_id}", responses=problems(404))
def release_hold(who: Operator, hold_id: str) -> Hold:
    """End a hold; the next run treats the data as any other."""
    return Hold.of(who.release(hold_id))


@snapshots.get("/snapshots", responses=problems())
def list_snapshots(who: Viewer, chosen: ChosenSnapshots, limit: Limit = 100, offset: Offset = 0) -> list[Snapshot]:
    """What was archived, and what its repository says about it."""
    found = who.snapshots(chosen)
    return [Snapshot.of(ArchiveLine(record=r, state=state)) for r, state in found[offset : offset + limit]]


@snapshots.get("/snapshots/restorable", responses=problems(404))
def preview_restore(
    who: Viewer,
    chosen: ChosenSnapshots,
    into_schema: Annotated[ShortText | None, Query(description="Restore beside, into a table of this schema.")] = None,
    into_name: Annotated[ShortText | None, Query(description="The name of that table.")] = None,
) -> list[Restorable]:
    """What a restore would do: what would come back, where to, and what would not, and why. Nothing is written."""
    found = who.restorable(chosen.going(_into(into_schema, into_name)))
    return [Restorable.of(each) for each in found]


@snapshots.post("/snapshots/restore", status_code=HTTPStatus.ACCEPTED, responses={202: _LOCATION, **problems(404, 409)})
def restore_snapshots(request: Request, who: Operator, wanted: RestoreWanted, response: Response) -> Operation:
    """Bring back, in the background, what the preview says at this moment."""
    chosen = _read(wanted).going(_into(wanted.into_schema, wanted.into_name))
    return _started(who.start_restore(context_of(request).operations, chosen), response)


@snapshots.post("/snapshots/verify", status_code=HTTPStatus.ACCEPTED, responses={202: _LOCATION, **problems(404, 409)})
def verify_snapshots(request: Request, who: Operator, wanted: SnapshotsWanted, response: Response) -> Operation:
    """Read snapshots back, in the background, and compare them with what was archived."""
    return _started(who.start_verify(context_of(request).operations, _read(wanted)), response)


def _read(wanted: SnapshotsWanted) -> RestoreRequest:
    """
    Which snapshots are meant.

    :raises InvalidInput: if nothing says so: that would be all.
    """
    if not wanted.model_dump(exclude_none=True, exclude={"into_schema", "into_name"}):
        raise InvalidInput("snapshots", "nothing is chosen", "give table_name, or another attribute")
    return RestoreRequest(
        name=wanted.name,
        table_schema=wanted.table_schema,
        table_name=wanted.table_name,
        start=wanted.start,
        end=wanted.end,
        repository=wanted.repository,
        tags=parse_tag_filter(wanted.tags or ()),
        chosen=None if wanted.chosen is None else frozenset((key.repository, key.name) for key in wanted.chosen),
    )


def _into(schema: str | None, name: str | None) -> TableName | None:
    """
    The table beside.

    :raises InvalidInput: if only half of its name is there.
    """
    if (schema is None) is not (name is None):
        raise InvalidInput("into_schema, into_name", "one of them is missing", "give both, or neither")
    return None if schema is None or name is None else TableName(schema, name)


def _started(state: OperationState, response: Response) -> Operation:
    response.headers["Location"] = f"/api/v1/operations/{state.operation_id}"
    return Operation.of(state)


@snapshots.get("/operations", responses=problems())
def list_operations(request: Request, who: Viewer) -> list[Operation]:
    """The operations of late that this service was asked for, newest first."""
    return [Operation.of(state) for state in who.operations(context_of(request).operations)]


@snapshots.get("/operations/{operation_id}", responses=problems(404))
def get_operation(request: Request, who: Viewer, operation_id: str) -> Operation:
    """How far an operation is, and what became of each snapshot so far."""
    return Operation.of(who.find_operation(context_of(request).operations, operation_id))


@snapshots.post("/operations/{operation_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=problems(404, 409))
def cancel_operation(request: Request, who: Operator, operation_id: str) -> Operation:
    """Let an operation end before its next snapshot."""
    return Operation.of(who.cancel_operation(context_of(request).operations, operation_id))
