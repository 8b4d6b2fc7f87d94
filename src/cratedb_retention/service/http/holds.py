"""``/holds``: what must stay, whatever the policies say."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from cratedb_retention.execution.plain import hold_data
from cratedb_retention.service.http.json_body import JsonRoute
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import Hold, HoldRequest
from cratedb_retention.service.http.security import Operator, Viewer

router = APIRouter(tags=["holds"], route_class=JsonRoute)


@router.get("/holds", responses=problems())
def list_holds(who: Viewer) -> list[Hold]:
    """The holds in force, oldest first."""
    return [Hold.model_validate(hold_data(hold)) for hold in who.holds()]


@router.post("/holds", status_code=HTTPStatus.CREATED, responses=problems())
def place_hold(who: Operator, wanted: HoldRequest) -> Hold:
    """Keep data until the hold is released."""
    hold = who.place(wanted.table_name, wanted.table_schema, wanted.where, wanted.start, wanted.end, wanted.reason)
    return Hold.model_validate(hold_data(hold))


@router.delete("/holds/{hold_id}", responses=problems(404))
def release_hold(who: Operator, hold_id: str) -> Hold:
    """End a hold; the next run treats the data as any other."""
    return Hold.model_validate(hold_data(who.release(hold_id)))
