"""``/plan``, ``/status``, ``/runs`` and ``/journal``: what is due, what is done, and what was."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cratedb_retention.execution.preparing import Selection
from cratedb_retention.execution.results import JournalRow, Line, PlanAnswer, Run, Status, plain_row, run_result
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.strategies import parse_strategy
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.requests import (
    Chosen,
    ChosenTags,
    Cutoff,
    JsonRoute,
    Limit,
    Moment,
    Offset,
    RunRequest,
    ShortText,
)
from cratedb_retention.service.http.security import Operator, Viewer, context_of
from cratedb_retention.store.audit import JournalFilter

router = APIRouter(tags=["runs"], route_class=JsonRoute)
journal = APIRouter(tags=["journal"])
_LOCATION = {"headers": {"Location": {"description": "Where the run is.", "schema": {"type": "string"}}}}


@router.get("/plan", responses=problems(404))
def show_plan(
    who: Viewer,
    chosen: Chosen,
    cutoff: Cutoff,
    sql: Annotated[bool, Query(description="With statements; not for tokens with a limit.")] = False,
) -> PlanAnswer:
    """What a run would do now, and why; what is held, and why."""
    plan = who.prepare(chosen, cutoff).plan
    return PlanAnswer.of(plan, who.render if sql else None)


@router.get("/status", responses=problems(404))
def show_status(who: Viewer, chosen: Chosen) -> Status:
    """Each policy on each table: its state, what is due now and next, and the last run."""
    lines, last = who.status(chosen)
    return Status(policies=[Line.of(line) for line in lines], last_run=plain_row(last) if last else None)


@router.post("/runs", status_code=HTTPStatus.ACCEPTED, responses={202: _LOCATION, **problems(404, 409)})
def start_run(request: Request, who: Operator, wanted: RunRequest, response: Response) -> Run:
    """Do what is due, in the background."""
    strategy = parse_strategy(wanted.strategy) if wanted.strategy else None
    prepared = who.prepare(Selection(strategy=strategy, tags=parse_tag_filter(wanted.tags), policy_id=wanted.policy))
    state = who.start_run(context_of(request).runs, prepared)
    response.headers["Location"] = f"/api/v1/runs/{state.run_id}"
    return run_result(state)


@router.get("/runs", responses=problems())
def list_runs(request: Request, who: Viewer) -> list[Run]:
    """The runs of late, newest first."""
    return [run_result(state) for state in who.runs(context_of(request).runs)]


@router.get("/runs/{run_id}", responses=problems(404))
def get_run(request: Request, who: Viewer, run_id: str) -> Run:
    """How far a run is."""
    return run_result(who.find_run(context_of(request).runs, run_id))


@router.post("/runs/{run_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=problems(404, 409))
def cancel_run(request: Request, who: Operator, run_id: str) -> Run:
    """Let a run end before its next step."""
    return run_result(who.cancel_run(context_of(request).runs, run_id))


@journal.get("/journal", responses=problems())
def read_journal(  # noqa: PLR0913 - one for each parameter of the query
    who: Viewer,
    tags: ChosenTags,
    table_name: Annotated[ShortText | None, Query(description="Only this table.")] = None,
    policy_id: Annotated[ShortText | None, Query(description="Only policies whose identifier begins so.")] = None,
    run_id: Annotated[ShortText | None, Query(description="Only runs whose identifier begins so.")] = None,
    outcome: Outcome | None = None,
    event: Event | None = None,
    since: Annotated[Moment | None, Query(description="Only from this instant on.")] = None,
    until: Annotated[Moment | None, Query(description="Only before this instant.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[JournalRow]:
    """The audit log, newest first: changes of policies, runs, steps, holds."""
    rows = who.journal(
        JournalFilter(
            table_name=table_name,
            policy_id=policy_id,
            run_id=run_id,
            outcome=outcome,
            since=parse_instant(since) if since else None,
            event=event,
            limit=limit,
            until=parse_instant(until) if until else None,
            tags=tags,
            offset=offset,
        )
    )
    return [JournalRow(**plain_row(row)) for row in rows]
