"""``/operations``: restores and verifications that go on, or did of late."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request

from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import Operation, operation_answer
from cratedb_retention.service.http.security import Operator, Viewer, context_of

router = APIRouter(tags=["snapshots"])


@router.get("/operations", responses=problems())
def list_operations(request: Request, who: Viewer) -> list[Operation]:
    """The operations of late that this service was asked for, newest first."""
    return [operation_answer(state) for state in who.operations(context_of(request).operations)]


@router.get("/operations/{operation_id}", responses=problems(404))
def get_operation(request: Request, who: Viewer, operation_id: str) -> Operation:
    """How far an operation is, and what became of each snapshot so far."""
    return operation_answer(who.find_operation(context_of(request).operations, operation_id))


@router.post("/operations/{operation_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=problems(404, 409))
def cancel_operation(request: Request, who: Operator, operation_id: str) -> Operation:
    """Let an operation end before its next snapshot."""
    return operation_answer(who.cancel_operation(context_of(request).operations, operation_id))
