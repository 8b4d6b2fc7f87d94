"""``/journal``: the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cratedb_retention.execution.plain import journal_data
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.instant import parse_instant
from cratedb_retention.service.http.choosing import ChosenTags, Limit, Moment, Offset, ShortText
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import JournalRow
from cratedb_retention.service.http.security import Viewer
from cratedb_retention.store.journal import JournalFilter

router = APIRouter(tags=["journal"])


@router.get("/journal", responses=problems())
def read_journal(
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
    return [JournalRow(**row) for row in journal_data(rows)]
