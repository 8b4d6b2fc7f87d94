"""``/fetch`` and ``/tables``: read a table together with its rollups; take it for an earlier one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.results import AcceptedTables
from cratedb_retention.model.pairs import read_pairs
from cratedb_retention.model.reading import Fetched, FetchRequest, Fill
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.requests import JsonRoute, ShortText, TablesWanted
from cratedb_retention.service.http.security import Editor, Viewer

router = APIRouter(tags=["data"], route_class=JsonRoute)
# Buckets of one answer; more are asked for in parts.
MOST_POINTS = 10_000


class Form(StrEnum):
    """What an answer looks like."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


_MEDIA = {
    Form.JSON: "application/json",
    Form.CSV: "text/csv; charset=utf-8",
    Form.ARROW: "application/vnd.apache.arrow.stream",
    Form.PARQUET: "application/vnd.apache.parquet",
}
_ANSWER = {
    "description": "The rows, in order of time. The header `Notes` says what a reader must know, percent-encoded. "
    "Values and sums of decimal columns have all their digits.",
    "content": {
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
        "text/csv": {"schema": {"type": "string"}},
        _MEDIA[Form.ARROW]: {"schema": {"type": "string", "format": "binary"}},
        _MEDIA[Form.PARQUET]: {"schema": {"type": "string", "format": "binary"}},
    },
}
Texts = Annotated[list[ShortText] | None, Query(max_length=100)]


@router.get("/fetch", response_class=Response, responses={200: _ANSWER, **problems(404)})
def fetch(  # noqa: PLR0913 - one for each parameter of the query
    who: Viewer,
    table_name: ShortText,
    table_schema: ShortText | None = None,
    start: Annotated[ShortText | None, Query(description="From this instant on, or so long ago: -7d.")] = None,
    end: Annotated[ShortText | None, Query(description="Until this instant, or so long ago.")] = None,
    step: Annotated[ShortText | None, Query(description="Length of the buckets: 10s, 5m, 1h, 1d, 1w, 1mo, 1y.")] = None,
    points: Annotated[int | None, Query(ge=1, le=MOST_POINTS, description="Without a step, at most so many.")] = None,
    metric: Annotated[Texts, Query(description="`NAME[:AGGREGATE]`, as `temperature:p95`, or `row_count`.")] = None,
    where: Annotated[Texts, Query(description="Only series with this value: `DIMENSION=VALUE`.")] = None,
    by: Annotated[Texts, Query(description="Tell apart by this dimension.")] = None,
    fill: Fill = Fill.NONE,
    form: Annotated[Form, Query(alias="format")] = Form.JSON,
) -> Response:
    """
    Read a table together with its rollups: each stretch of time from the level that fits the step. Of a table without
    rollups the rows are read.
    """
    if step and points is not None:
        raise InvalidInput("step and points", "both are given", "give one of them")
    fetched = who.fetch(
        FetchRequest.of_texts(
            who.now,
            start,
            end,
            step,
            points,
            table_name=table_name,
            table_schema=table_schema,
            metrics=tuple(metric or ()),
            where=read_pairs("where", where or (), "station=KJFK"),
            by=tuple(by or ()),
            fill=fill,
        )
    )
    return Response(_content(fetched, form), media_type=_MEDIA[form], headers=_notes(fetched))


@router.post("/tables/accept", responses=problems(404))
def accept_tables(who: Editor, wanted: TablesWanted) -> AcceptedTables:
    """
    Take tables for the ones that rollups, snapshots and holds of their names are of, though they were dropped and
    created again, or restored or copied. From then on, rows of a time that was rolled up and expired count as late.
    """
    return AcceptedTables(tables=list(map(str, who.accept_tables(wanted.table_name, wanted.table_schema))))


def _content(fetched: Fetched, form: Form) -> str | bytes:
    if form is Form.JSON:
        return fetched.to_json()
    return fetched.to_csv() if form is Form.CSV else fetched.to_bytes(form)


def _notes(fetched: Fetched) -> dict[str, str]:
    return {"Notes": quote("; ".join(fetched.notes), safe=" ,:;+-/")} if fetched.notes else {}
