"""``/plan`` and ``/status``: what is due, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cratedb_retention.execution.plain import line_data, plain_row, plan_data
from cratedb_retention.service.http.choosing import Chosen, Cutoff
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import PlanAnswer, Status
from cratedb_retention.service.http.security import Viewer

router = APIRouter(tags=["runs"])


@router.get("/plan", responses=problems(404))
def show_plan(
    who: Viewer,
    chosen: Chosen,
    cutoff: Cutoff,
    sql: Annotated[bool, Query(description="With statements; not for tokens with a limit.")] = False,
) -> PlanAnswer:
    """What a run would do now, and why; what is held, and why."""
    plan = who.prepare(chosen, cutoff).plan
    return PlanAnswer.model_validate(plan_data(plan, who.render if sql else None))


@router.get("/status", responses=problems(404))
def show_status(who: Viewer, chosen: Chosen) -> Status:
    """Each policy on each table: its state, what is due now and next, and the last run."""
    lines, last = who.status(chosen)
    data = {"policies": [line_data(line) for line in lines], "last_run": plain_row(last) if last else None}
    return Status.model_validate(data)
