"""``/snapshots``: what was archived."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cratedb_retention.execution.plain import snapshot_data
from cratedb_retention.execution.restoring import RestoreRequest
from cratedb_retention.model.instant import parse_instant
from cratedb_retention.service.http.choosing import Limit, Moment, Offset, ShortText
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import Snapshot
from cratedb_retention.service.http.security import Viewer

router = APIRouter(tags=["snapshots"])


@router.get("/snapshots", responses=problems())
def list_snapshots(
    who: Viewer,
    name: Annotated[ShortText | None, Query(description="Only snapshots whose name begins so.")] = None,
    table_schema: Annotated[ShortText | None, Query(description="Name or pattern.")] = None,
    table_name: Annotated[ShortText | None, Query(description="Name or pattern.")] = None,
    start: Annotated[Moment | None, Query(description="Only what reaches beyond this instant.")] = None,
    end: Annotated[Moment | None, Query(description="Only what begins before this instant.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[Snapshot]:
    """What was archived, and what its repository says about it."""
    first, last = (parse_instant(text) if text else None for text in (start, end))
    found = who.snapshots(RestoreRequest(name, table_schema, table_name, first, last))
    return [Snapshot.model_validate(snapshot_data(*each)) for each in found[offset : offset + limit]]
