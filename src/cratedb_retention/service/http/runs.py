"""``/runs``: start a run, watch it, cancel it."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.strategies import parse_strategy
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.service.http.json_body import JsonRoute
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import Run, RunRequest, run_answer
from cratedb_retention.service.http.security import Operator, Viewer, context_of

router = APIRouter(tags=["runs"], route_class=JsonRoute)
_LOCATION = {"headers": {"Location": {"description": "Where the run is.", "schema": {"type": "string"}}}}


@router.post("/runs", status_code=HTTPStatus.ACCEPTED, responses={202: _LOCATION, **problems(404, 409)})
def start_run(request: Request, who: Operator, wanted: RunRequest, response: Response) -> Run:
    """Do what is due, in the background."""
    strategy = parse_strategy(wanted.strategy) if wanted.strategy else None
    prepared = who.prepare(Selection(strategy=strategy, tags=parse_tag_filter(wanted.tags), policy_id=wanted.policy))
    state = who.start_run(context_of(request).runs, prepared)
    response.headers["Location"] = f"/api/v1/runs/{state.run_id}"
    return _answer(state)


@router.get("/runs", responses=problems())
def list_runs(request: Request, who: Viewer) -> list[Run]:
    """The runs of late, newest first."""
    return [_answer(state) for state in who.runs(context_of(request).runs)]


@router.get("/runs/{run_id}", responses=problems(404))
def get_run(request: Request, who: Viewer, run_id: str) -> Run:
    """How far a run is."""
    return _answer(who.find_run(context_of(request).runs, run_id))


@router.post("/runs/{run_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=problems(404, 409))
def cancel_run(request: Request, who: Operator, run_id: str) -> Run:
    """Let a run end before its next step."""
    return _answer(who.cancel_run(context_of(request).runs, run_id))


def _answer(state: RunState) -> Run:
    return Run.model_validate(run_answer(state))
