"""
The routes of the HTTP API, with their parameters, roles and responses.

They are not ``async``, so FastAPI runs them in threads, where they can wait for the database.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from os import SEEK_END
from typing import Annotated, Any, BinaryIO, Generic, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainValidator

from cratedb_retention.errors import Conflict, Forbidden, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution import results
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.forecast import read_until
from cratedb_retention.model.former import DEPRECATED_SINCE, VALUES
from cratedb_retention.model.policies.file import dump_policies, parse_policies
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import parse_strategy
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.policies.values import ValueField
from cratedb_retention.model.query.reading import FetchRequest, Fill
from cratedb_retention.model.size import parse_size
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import read_pairs
from cratedb_retention.service.http.access import Admin, Editor, Operator, Viewer, context_of
from cratedb_retention.service.http.problems import Failed, JsonRoute, problem, problems
from cratedb_retention.service.runs import OperationState
from cratedb_retention.store.access import NAME
from cratedb_retention.store.audit import JournalFilter
from cratedb_retention.store.policies import StoredPolicy

PREFIX = "/api/v1"
policies, runs, journal, holds, snapshots, data, tokens = (
    APIRouter(prefix=PREFIX, tags=[tag], route_class=JsonRoute, responses=problems())
    for tag in ("policies", "runs", "journal", "holds", "snapshots", "data", "tokens")
)
watching = APIRouter(tags=["service"])
ROUTERS = (policies, runs, journal, holds, snapshots, data, tokens, watching)


def _header(name: str, description: str) -> dict[str, Any]:
    return {"headers": {name: {"description": description, "schema": {"type": "string"}}}}


def _accepted(what: str) -> dict[str, Any]:
    location = _header("Location", f"The address of the {what}.")
    return {"status_code": HTTPStatus.ACCEPTED, "responses": {202: location, **problems(404, 409)}}


_SNAPSHOT_TAGS = "Only snapshots whose policies had these tags when they were archived"
Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
ShortText = Annotated[str, Query(min_length=1, max_length=255)]
Texts = Annotated[list[ShortText] | None, Query(max_length=100)]
_TAGS = "Only policies with these tags: `a,b`: both; repeated: any; `not:c`: without c."
Tags = Annotated[Texts, Query(description=_TAGS)]
Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of results.")]
Offset = Annotated[int, Query(ge=0, le=100_000, description="Number of results to skip.")]
_Instant = Annotated[str, Field(min_length=1, max_length=64, description="An instant in ISO 8601.")]
Moment = Annotated[dt.datetime, PlainValidator(parse_instant, json_schema_input_type=_Instant)]
When = TypeVar("When")


def read_tags(tags: Tags = None) -> TagFilter:
    return parse_tag_filter(tags or ())


def read_selection(
    tags: Tags = None,
    strategy: Annotated[ShortText | None, Query(description="Only policies with this strategy.")] = None,
    policy: Annotated[ShortText | None, Query(description="Only the policy with this identifier.")] = None,
) -> Selection:
    return Selection(strategy=parse_strategy(strategy) if strategy else None, tags=read_tags(tags), policy_id=policy)


Chosen = Annotated[Selection, Depends(read_selection)]


class _Body(BaseModel):
    """Rejects unknown attributes: a misspelt one would silently have its default."""

    model_config = ConfigDict(extra="forbid")


class TablesWanted(_Body):
    """A selection of tables."""

    table_name: Text = Field(description="Name of the table; `*` and `?` are wildcards.")
    table_schema: Text | None = Field(None, description="Schema, likewise; omitted: the database's default schema.")


_IfMatch = Annotated[str | None, Header(description='ETag that the change is based on, such as `"3"`; `*`: any.')]
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"', re.ASCII)
_WITH_ETAG = _header("ETag", "Version of the policy.")
YAML = "application/yaml"
_LIST = {"type": "array", "items": {"$ref": "#/components/schemas/Policy"}}
_FILE = {YAML: {"schema": {"type": "object", "properties": {"policies": _LIST}, "required": ["policies"]}}}


def read_if_match(if_match: _IfMatch = None) -> Iterator[int | None]:
    """The version that a change is based on; None: any."""
    if if_match is None:
        remedy = "send the ETag that the change is based on, or *"
        raise Failed(HTTPStatus.PRECONDITION_REQUIRED, "If-Match", "missing", remedy)
    found = _ETAG.fullmatch(if_match.strip())
    if found is None and if_match.strip() != "*":
        raise Failed(HTTPStatus.PRECONDITION_FAILED, "If-Match", "not the ETag of a policy", 'write it like "3"')
    try:
        yield int(found[1]) if found else None
    except Conflict as error:
        if found:
            raise Failed(HTTPStatus.PRECONDITION_FAILED, error.thing, error.why, error.remedy) from None
        raise


Version = Annotated[int | None, Depends(read_if_match)]


@policies.get("/policies")
def list_policies(who: Viewer, chosen: Chosen, limit: Limit = 100, offset: Offset = 0) -> results.Policies:
    """List the policies, ordered by table. The first page also contains invalid rows of the policy table."""
    found, damaged = who.policies(chosen)
    shown = [results.policy_result(item) for item in found[offset : offset + limit]]
    rows = [] if offset else [results.DamagedPolicy(**results.plain_row(row.to_dict())) for row in damaged[:limit]]
    return results.Policies(policies=shown, damaged=rows, total=len(found))


@policies.post("/policies", status_code=HTTPStatus.CREATED, responses={201: _WITH_ETAG, **problems(409)})
def create_policy(who: Editor, policy: Policy, response: Response) -> results.StoredPolicy:
    """Create a policy."""
    return _answer(StoredPolicy(who.create(policy), 1), response)


@policies.get("/policies/{policy_id:path}", responses={200: _WITH_ETAG, **problems(404)})
def get_policy(who: Viewer, policy_id: str, response: Response) -> results.StoredPolicy:
    """Get a policy. Its ETag is required to change or delete it."""
    return _answer(who.policy(policy_id), response)


@policies.patch("/policies/{policy_id:path}", responses={200: _WITH_ETAG, **problems(404, 409, 412, 428)})
def change_policy(
    who: Editor,
    policy_id: str,
    changes: Annotated[dict[str, Any], Body(description="New values of attributes; null unsets an attribute.")],
    version: Version,
    response: Response,
) -> results.StoredPolicy:
    """Change attributes of a policy. If its version is not that of `If-Match`, the response is 412."""
    return _answer(who.change(policy_id, changes, version), response)


@policies.delete(
    "/policies/{policy_id:path}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409, 412, 428)
)
def delete_policy(who: Editor, policy_id: str, version: Version) -> None:
    """Delete a policy. Data is not touched."""
    who.delete(policy_id, version)


def _answer(stored: StoredPolicy, response: Response) -> results.StoredPolicy:
    response.headers["ETag"] = f'"{stored.version}"'
    return results.policy_result(stored)


@policies.get("/lifecycles")
def list_lifecycles(
    who: Viewer,
    table_name: Annotated[ShortText | None, Query(description="Only this table; omitted: all.")] = None,
    table_schema: Annotated[ShortText | None, Query(description="Its schema; omitted: the database's default.")] = None,
) -> list[results.Lifecycle]:
    """Show the lifecycle of each table, by the enabled policies: hot, warm, cold, gone; and its rollups."""
    table = TableName(table_schema or "", table_name) if table_name else None
    return list(map(results.Lifecycle.of, who.lifecycles(table)))


@policies.get("/tags")
def list_tags(who: Viewer) -> list[str]:
    """List the tags of all policies."""
    return who.tags()


@policies.get(
    "/policy-file", response_class=Response, responses={200: {"description": "A policy file.", "content": _FILE}}
)
def export_policies(who: Viewer, chosen: Chosen) -> Response:
    """Export policies as a file, in the format that `apply` reads."""
    found, _ = who.policies(chosen)
    return Response(dump_policies(item.policy for item in found), media_type=YAML)


@policies.post(
    "/policy-file", responses=problems(409, 415), openapi_extra={"requestBody": {"required": True, "content": _FILE}}
)
def apply_policies(
    who: Editor,
    tags: Annotated[TagFilter, Depends(read_tags)],
    file: Annotated[bytes, Body(media_type=YAML, description="YAML or JSON, as written by `export`.")],
    prune: Annotated[bool, Query(description="Delete other policies, or those with `tags`.")] = False,
    dry_run: Annotated[bool, Query(description="Only show what would change.")] = False,
) -> list[results.Changed]:
    """Create, update and delete policies to match a file."""
    return list(map(results.Changed.of, who.apply(_read_file(file), prune, tags, dry_run)))


def _read_file(file: bytes) -> list[Policy]:
    try:
        text = file.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the file", "not UTF-8 text", "save it as UTF-8") from None
    return parse_policies(text, "the file")


def _read_period(text: str | None) -> Duration | None:
    return None if text is None else parse_duration(text)


@policies.get("/check", responses=problems(404))
def check_policies(
    who: Viewer,
    chosen: Chosen,
    older_than: Annotated[
        ShortText | None, Query(description="Also find tables with data that is older: `90d`, `P1Y`.")
    ] = None,
) -> results.Check:
    """
    Check policies for mistakes and contradictions, and list tables that no policy governs, policies that match no data,
    empty partitions, and limits that would fit policies without one. With a scope, archives are not checked.
    """
    return results.Check.of(who.check(chosen, _read_period(older_than)))


@policies.get(
    "/suggested-policies",
    response_class=Response,
    responses={200: {"description": "A policy file.", "content": _FILE}},
)
def suggest_policies(
    who: Viewer,
    retention_period: Annotated[
        ShortText | None,
        Query(description="Of all suggestions: `90d`; omitted: one that keeps all present data of the table."),
    ] = None,
    enabled: Annotated[bool, Query(description="Whether the suggested policies are enabled.")] = False,
) -> Response:
    """
    Suggest a policy for each table without one, as a file with comments that `POST /policy-file` accepts. Not for
    tokens with a scope.
    """
    return Response(who.suggest(_read_period(retention_period), enabled), media_type=YAML)


@runs.get("/plan", responses=problems(404))
def show_plan(
    who: Viewer,
    chosen: Chosen,
    cutoff: Annotated[Moment | None, Query(description="Cutoff, not in the future; omitted: now.")] = None,
    sql: Annotated[bool, Query(description="Include SQL statements; not for tokens with a scope.")] = False,
    accept: Annotated[bool, Query(description="Show the plan of a run with `accept`.")] = False,
) -> results.PlanAnswer:
    """Show the plan: what a run would do, what would be blocked, and why."""
    plan = who.prepare(replace(chosen, accepted=accept), cutoff).plan
    return results.PlanAnswer.of(plan, who.render if sql else None)


@dataclass(frozen=True, kw_only=True)
class _Outlook:
    """How far a forecast looks, and what it counts with."""

    until: str
    capacity: int | None
    price: float | None
    archive_price: float | None

    def since(self, now: dt.datetime) -> dict[str, Any]:
        """The arguments for the library."""
        return {**vars(self), "until": read_until(self.until, now)}


def read_outlook(
    until: Annotated[ShortText, Query(description="End: a length such as `+90d`, or an instant.")] = "+1y",
    capacity: Annotated[ShortText | None, Query(description="Size of the disks: `2TB`; omitted: as reported.")] = None,
    price: Annotated[float | None, Query(ge=0, description="Price of a GB of tables in a month.")] = None,
    archive_price: Annotated[float | None, Query(ge=0, description="Price of a GB of archives in a month.")] = None,
) -> _Outlook:
    size = None if capacity is None else parse_size(capacity, "capacity").bytes
    return _Outlook(until=until, capacity=size, price=price, archive_price=archive_price)


Outlook = Annotated[_Outlook, Depends(read_outlook)]


@runs.get("/forecast", responses=problems(404))
def show_forecast(who: Viewer, chosen: Chosen, outlook: Outlook) -> results.Forecast:
    """Forecast tables, levels and archives by day, and what runs will remove when; with a scope, only whole tables."""
    return results.Forecast.of(who.forecast(chosen, **outlook.since(who.now)))


@runs.post(
    "/forecast/what-if",
    responses=problems(409, 415),
    openapi_extra={"requestBody": {"required": True, "content": _FILE}},
)
def compare_policies(
    who: Editor,
    outlook: Outlook,
    tags: Annotated[TagFilter, Depends(read_tags)],
    file: Annotated[bytes, Body(media_type=YAML, description="YAML or JSON, as written by `export`.")],
    prune: Annotated[bool, Query(description="As if other policies were deleted, or those with `tags`.")] = False,
) -> results.Comparison:
    """Forecast the tables of a policy file, with the stored policies and as if the file were applied; nothing is."""
    before, after = who.what_if(_read_file(file), prune=prune, tags=tags, **outlook.since(who.now))
    return results.Comparison(before=results.Forecast.of(before), after=results.Forecast.of(after))


@runs.get("/status", responses=problems(404))
def show_status(who: Viewer, chosen: Chosen) -> results.Status:
    """Show each policy on each table: its state, what is due now, and when more is due; and the last run."""
    lines, last = who.status(chosen)
    return results.Status(
        policies=list(map(results.Line.of, lines)), last_run=results.plain_row(last) if last else None
    )


class RunRequest(_Body):
    """A selection of policies that match all given attributes."""

    strategy: Text | None = Field(None, description="Only policies with this strategy.")
    tags: list[Text] = Field(
        [], max_length=100, description="Only policies with these tags: `a,b`: both; several: any; `not:c`: without c."
    )
    policy: Text | None = Field(None, description="Only the policy with this identifier.")
    accept: bool = Field(
        False,
        description="Do, in this run, what is blocked as unusual or exceeds `expected_max`: a person has seen it.",
    )


@runs.post("/runs", **_accepted("run"))
def start_run(request: Request, who: Operator, wanted: RunRequest, response: Response) -> results.Run:
    """Start a run in the background: execute everything that is due."""
    chosen = replace(read_selection(wanted.tags, wanted.strategy, wanted.policy), accepted=wanted.accept)
    state = who.start_run(context_of(request).runs, who.prepare(chosen))
    response.headers["Location"] = f"{PREFIX}/runs/{state.run_id}"
    return results.Run.of(state)


@runs.get("/runs")
def list_runs(request: Request, who: Viewer) -> list[results.Run]:
    """List recent runs, newest first."""
    return list(map(results.Run.of, who.jobs(context_of(request).runs)))


@runs.get("/runs/{run_id}", responses=problems(404))
def get_run(request: Request, who: Viewer, run_id: str) -> results.Run:
    """Show the progress of a run."""
    return results.Run.of(who.find_job(context_of(request).runs, run_id))


@runs.post("/runs/{run_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=problems(404, 409))
def cancel_run(request: Request, who: Operator, run_id: str) -> results.Run:
    """Cancel a run before its next step."""
    return results.Run.of(who.cancel(context_of(request).runs, run_id))


class JournalQuery(BaseModel):
    """A filter for the audit log."""

    table_name: ShortText | None = Query(None, description="Only this table.")
    policy_id: ShortText | None = Query(None, description="Beginning of the policy's identifier.")
    run_id: ShortText | None = Query(None, description="Beginning of the run's identifier.")
    outcome: Outcome | None = None
    event: Event | None = None
    since: Moment | None = Query(None, description="Only entries since this instant.")
    until: Moment | None = Query(None, description="Only entries before this instant.")
    limit: Limit = 50
    offset: Offset = 0
    tags: Tags = None


@journal.get("/journal")
def read_journal(
    request: Request, who: Viewer, asked: Annotated[JournalQuery, Query()], response: Response
) -> list[results.JournalRow]:
    """Show the audit log, newest entries first: changes of policies, runs, steps and holds."""
    if any(request.query_params.get(name) in VALUES for name in ("event", "outcome")):
        response.headers["Deprecation"] = DEPRECATED_SINCE
    wanted = JournalFilter(**{**dict(asked), "tags": read_tags(asked.tags)})
    return [results.JournalRow(**results.plain_row(row)) for row in who.journal(wanted)]


class HoldRequest(TablesWanted):
    """Data to protect."""

    where: dict[Text, ValueField] = Field({}, description="Only rows with these values.")
    start: AwareDatetime | None = Field(None, description="Start of the time range.")
    end: AwareDatetime | None = Field(None, description="End of the time range, exclusive.")
    reason: str = Field("", max_length=1000, pattern=r"^[^\x00]*$", description="Reason, such as a case number.")


@holds.get("/holds")
def list_holds(who: Viewer) -> list[results.Hold]:
    """List the legal holds in force, oldest first."""
    return list(map(results.Hold.of, who.holds()))


@holds.post("/holds", status_code=HTTPStatus.CREATED)
def place_hold(who: Operator, wanted: HoldRequest) -> results.Hold:
    """Place a legal hold, which protects data until it is released."""
    return results.Hold.of(who.place(**dict(wanted)))


@holds.delete("/holds/{hold_id}", responses=problems(404))
def release_hold(who: Operator, hold_id: str) -> results.Hold:
    """Release a legal hold. From the next run on, policies apply to the data again."""
    return results.Hold.of(who.release(hold_id))


class _Snapshots(BaseModel, Generic[When]):
    """A selection of snapshots that match all given attributes."""

    name: Text | None = Field(None, description="Name of a snapshot, or at least its first six characters.")
    table_schema: Text | None = Field(None, description="Schema of the table; `*` and `?` are wildcards.")
    table_name: Text | None = Field(None, description="Name of the table; `*` and `?` are wildcards.")
    repository: Text | None = Field(None, description="Only snapshots in this repository.")
    start: When | None = Field(None, description="Only partitions that end after this instant.")
    end: When | None = Field(None, description="Only partitions that begin before this instant.")
    tags: Texts = Field(None, description=f"{_SNAPSHOT_TAGS}: `a,b`: both; repeated: any; `not:c`: without c.")

    def read(self) -> RestoreRequest:
        """The request for the library. Raises InvalidInput if only a part of the target's name is given."""
        said = dict(self)
        schema, name, chosen = said.get("into_schema"), said.get("into_name"), said.get("chosen")
        if (schema is None) is not (name is None):
            raise InvalidInput("into_schema, into_name", "one of them is missing", "give both or neither")
        return RestoreRequest(
            **{key: said[key] for key in ("name", "table_schema", "table_name", "repository", "start", "end")},
            into=TableName(schema, name) if schema and name else None,
            tags=read_tags(self.tags),
            chosen=frozenset((key.repository, key.name) for key in chosen) if chosen else None,
        )


class _Into(BaseModel):
    into_schema: Text | None = Field(None, description="Restore into another table, of this schema.")
    into_name: Text | None = Field(None, description="Name of that table.")


class SnapshotsListed(_Snapshots[Moment]):
    limit: Limit = 100
    offset: Offset = 0


class SnapshotsPreviewed(_Into, _Snapshots[Moment]):
    """A selection of snapshots to restore, and the target."""


class SnapshotsDeletable(_Snapshots[Moment]):
    """A selection of snapshots to delete."""


class SnapshotKey(_Body):
    """Identifies a snapshot."""

    repository: Text
    name: Text


class SnapshotsWanted(_Body, _Snapshots[AwareDatetime]):
    """A selection of snapshots that match all given attributes, at least one."""

    tags: list[Text] | None = Field(None, min_length=1, max_length=100, description=f"{_SNAPSHOT_TAGS}.")
    chosen: list[SnapshotKey] | None = Field(None, min_length=1, max_length=1000, description="Only these snapshots.")

    def read(self) -> RestoreRequest:
        """The request for the library. Raises InvalidInput without any attribute, which would select all."""
        if not self.model_dump(exclude_none=True, exclude={"into_schema", "into_name"}):
            raise InvalidInput("snapshots", "nothing is selected", "give table_name or another attribute")
        return super().read()


class RestoreWanted(_Into, SnapshotsWanted):
    """A selection of snapshots to restore into their original table, or another one."""


@snapshots.get("/snapshots")
def list_snapshots(who: Viewer, asked: Annotated[SnapshotsListed, Query()]) -> list[results.Snapshot]:
    """List archived partitions, each with the state of its snapshot in the repository."""
    return list(map(results.Snapshot.of, who.snapshots(asked.read(), asked.limit, asked.offset)))


@snapshots.get("/snapshots/restorable", responses=problems(404))
def preview_restore(who: Viewer, asked: Annotated[SnapshotsPreviewed, Query()]) -> list[results.Restorable]:
    """Preview a restore: the snapshots, their targets, and the reason if one cannot be restored."""
    return list(map(results.Restorable.of, who.restorable(asked.read())))


@snapshots.post("/snapshots/restore", **_accepted("operation"))
def restore_snapshots(request: Request, who: Operator, wanted: RestoreWanted, response: Response) -> results.Operation:
    """Start a restore in the background: what the preview shows at this moment."""
    return _started(who.start_restore(context_of(request).operations, wanted.read()), response)


class _Undoable(BaseModel):
    """What to bring back of what policies with `recoverable` deleted. All given attributes match, at least one."""

    run_id: Text | None = Field(None, description="What this run deleted; at least its first six characters.")
    policy_id: Text | None = Field(None, description="What this policy deleted, likewise.")
    table_schema: Text | None = Field(None, description="Schema of the table; `*` and `?` are wildcards.")
    table_name: Text | None = Field(None, description="Name of the table; `*` and `?` are wildcards.")

    def read(self) -> RestoreRequest:
        """The request for the library. Raises InvalidInput without a run, a policy or a table."""
        return RestoreRequest.of_undo(**dict(self))


class UndoWanted(_Body, _Undoable):
    """What to bring back."""


@snapshots.get("/snapshots/undoable", responses=problems(404))
def preview_undo(who: Viewer, asked: Annotated[_Undoable, Query()]) -> list[results.Restorable]:
    """Preview an undo: what policies with `recoverable` deleted, and the reason if it cannot be brought back."""
    return list(map(results.Restorable.of, who.restorable(asked.read())))


@snapshots.post("/snapshots/undo", **_accepted("operation"))
def undo(request: Request, who: Operator, wanted: UndoWanted, response: Response) -> results.Operation:
    """Start an undo in the background: bring back what the preview shows at this moment."""
    return _started(who.start_restore(context_of(request).operations, wanted.read()), response)


@snapshots.post("/snapshots/verify", **_accepted("operation"))
def verify_snapshots(request: Request, who: Operator, wanted: SnapshotsWanted, response: Response) -> results.Operation:
    """Start a verification in the background: read snapshots back, and compare them with what was archived."""
    return _started(who.start_verify(context_of(request).operations, wanted.read()), response)


@snapshots.get("/snapshots/deletable", responses=problems(404))
def preview_delete(who: Viewer, asked: Annotated[SnapshotsDeletable, Query()]) -> list[results.Deletable]:
    """Preview a deletion: the snapshots, and the reason if one stays."""
    return list(map(results.Deletable.of, who.deletable(asked.read())))


@snapshots.post("/snapshots/delete", **_accepted("operation"))
def delete_snapshots(request: Request, who: Editor, wanted: SnapshotsWanted, response: Response) -> results.Operation:
    """Start a deletion in the background: what the preview shows at this moment. It cannot be undone."""
    return _started(who.start_delete(context_of(request).operations, wanted.read()), response)


def _started(state: OperationState, response: Response) -> results.Operation:
    response.headers["Location"] = f"{PREFIX}/operations/{state.operation_id}"
    return results.Operation.of(state)


@snapshots.get("/operations")
def list_operations(request: Request, who: Viewer) -> list[results.Operation]:
    """List recent operations of this service, newest first."""
    return list(map(results.Operation.of, who.jobs(context_of(request).operations)))


@snapshots.get("/operations/{operation_id}", responses=problems(404))
def get_operation(request: Request, who: Viewer, operation_id: str) -> results.Operation:
    """Show the progress of an operation, with the results so far."""
    return results.Operation.of(who.find_job(context_of(request).operations, operation_id))


@snapshots.post("/operations/{operation_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=problems(404, 409))
def cancel_operation(request: Request, who: Operator, operation_id: str) -> results.Operation:
    """Cancel an operation before its next snapshot."""
    return results.Operation.of(who.cancel(context_of(request).operations, operation_id))


# Maximum number of buckets in a response.
MOST_POINTS = 10_000
Form = StrEnum("Form", ["JSON", "CSV", "ARROW", "PARQUET"])
_BINARY = {"type": "string", "format": "binary"}
_MEDIA: dict[Form, tuple[str, dict[str, Any]]] = {
    Form.JSON: ("application/json", {"type": "array", "items": {"type": "object"}}),
    Form.CSV: ("text/csv; charset=utf-8", {"type": "string"}),
    Form.ARROW: ("application/vnd.apache.arrow.stream", _BINARY),
    Form.PARQUET: ("application/vnd.apache.parquet", _BINARY),
}
_CONTENT = {kind.partition(";")[0]: {"schema": schema} for kind, schema in _MEDIA.values()}
_NOTED = "The header `Notes` contains notes for the reader, percent-encoded."
_ANSWER = {
    "description": f"The rows, ordered by time. {_NOTED} Values and sums of decimal columns have all digits.",
    "content": _CONTENT,
}
_ROWS = {"description": f"The rows. {_NOTED}", "content": _CONTENT}
_PART = 64 * 1024  # Bytes of an answer that are sent at once.
_MOST_NOTES = 20  # A header must not be long.


@data.get("/fetch", response_class=Response, responses={200: _ANSWER, **problems(404)})
def fetch(  # noqa: PLR0913 - one for each parameter of the query
    who: Viewer,
    table_name: ShortText,
    table_schema: ShortText | None = None,
    start: Annotated[ShortText | None, Query(description="Start: an instant, or an age such as -7d.")] = None,
    end: Annotated[ShortText | None, Query(description="End: an instant, or an age such as -2h.")] = None,
    step: Annotated[ShortText | None, Query(description="Length of the buckets: 10s, 5m, 1h, 1d, 1w, 1mo, 1y.")] = None,
    points: Annotated[int | None, Query(ge=1, le=MOST_POINTS, description="Maximum number of buckets.")] = None,
    metric: Annotated[Texts, Query(description="`NAME[:AGGREGATE]`, such as `temp:p95`, or `row_count`.")] = None,
    where: Annotated[Texts, Query(description="Only series with this value: `DIMENSION=VALUE`.")] = None,
    by: Annotated[Texts, Query(description="Group by this dimension.")] = None,
    fill: Fill = Fill.NONE,
    form: Annotated[Form, Query(alias="format")] = Form.JSON,
) -> Response:
    """
    Query a table together with its rollups and archives. Each time range is read from the level that fits the step.
    Without rollups, raw rows are read: from the table, and archived ones from Parquet files.
    """
    if step and points is not None:
        raise InvalidInput("step and points", "cannot be combined", "omit one of them")
    more: dict[str, Any] = {
        "table_name": table_name,
        "table_schema": table_schema,
        "metrics": tuple(metric or ()),
        "where": read_pairs("where", where or (), "station=KJFK"),
        "by": tuple(by or ()),
        "fill": fill,
    }
    fetched = who.fetch(FetchRequest.of_texts(who.now, start, end, step, points, **more))
    content = (
        fetched.to_json() if form is Form.JSON else fetched.to_csv() if form is Form.CSV else fetched.to_bytes(form)
    )
    return Response(content, media_type=_MEDIA[form][0], headers=_with_notes(fetched.notes))


def _with_notes(notes: Sequence[str]) -> dict[str, str]:
    more = [f"{len(notes) - _MOST_NOTES:,} more notes"] if len(notes) > _MOST_NOTES else []
    return {"Notes": quote("; ".join([*notes[:_MOST_NOTES], *more]), safe=" ,:;+-/")} if notes else {}


class QueryWanted(_Body):
    """A query of archives."""

    query: str = Field(min_length=1, max_length=100_000, description="One SELECT, in the SQL of DuckDB.")
    form: Form = Field(Form.JSON, alias="format", description="Format of the answer.")


@data.post("/query", response_class=Response, responses={200: _ROWS, **problems(404)})
def query(request: Request, who: Viewer, wanted: QueryWanted) -> Response:
    """
    Query archived rows by SQL: a SELECT over the Parquet archives of all tables, which have their own names. With a
    scope, only archives are read that lie within it as a whole.
    """
    file, notes = context_of(request).queries.answer(who, wanted.query, wanted.form)
    size = {"Content-Length": str(file.seek(0, SEEK_END))}
    return StreamingResponse(_parts(file), media_type=_MEDIA[wanted.form][0], headers=size | _with_notes(notes))


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while part := file.read(_PART):
            yield part


@data.post("/tables/accept", responses=problems(404))
def accept_tables(who: Editor, wanted: TablesWanted) -> results.AcceptedTables:
    """
    Accept tables that were dropped and created again, restored or copied as the ones that existing rollups, snapshots
    and holds of their names refer to. From then on, rows of a time range that was rolled up and expired count as late.
    """
    return results.AcceptedTables(tables=list(map(str, who.accept_tables(wanted.table_name, wanted.table_schema))))


class TokenRequest(_Body):
    """A new access token."""

    name: str = Field(pattern=f"^{NAME.pattern}$", description="Name of the token, for the audit log.")
    role: Role
    tags: list[Text] = Field([], max_length=100, description="Scope: only policies with these tags.")
    expires_at: AwareDatetime | None = Field(None, description="Expiry; omitted: never.")


@tokens.get("/tokens")
def list_tokens(who: Admin) -> list[results.Token]:
    """List all access tokens, without their secrets."""
    return list(map(results.token_result, who.tokens.tokens()))


@tokens.post("/tokens", status_code=HTTPStatus.CREATED)
def create_token(who: Admin, wanted: TokenRequest) -> results.NewToken:
    """Create an access token. Only this response contains its secret."""
    token, text = who.tokens.create(wanted.name, wanted.role, parse_tag_filter(wanted.tags), wanted.expires_at)
    return results.NewToken.model_validate(results.token_result(token, text))


@tokens.delete("/tokens/{token_id}", responses=problems(404))
def revoke_token(who: Admin, token_id: str) -> results.Token:
    """Revoke an access token, effective immediately."""
    return results.token_result(who.tokens.revoke(token_id))


@watching.get("/health")
def health() -> results.Health:
    """Liveness probe: the service responds. Does not check the database. No token is required."""
    return results.Health(status="alive")


@watching.get("/ready", response_model=results.Health, responses=problems(503))
def ready(request: Request) -> Any:
    """Readiness probe: the database responds, and the toolkit's tables exist. No token is required."""
    try:
        context_of(request).retention.probe()
    except RetentionError:
        reason = "does not respond, or lacks the toolkit's tables"
        return problem(Failed(HTTPStatus.SERVICE_UNAVAILABLE, "the database", reason, "see the log"))
    return results.Health(status="ready")


_METRICS = {"description": "Metrics for Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@watching.get("/metrics", response_class=Response, responses={200: _METRICS, **problems(), **problems(404)})
def metrics(request: Request, who: Viewer) -> Response:
    """Metrics of all policies, for Prometheus. Not for tokens with a scope."""
    make = context_of(request).metrics
    if make is None:
        raise NotFound("metrics", "are disabled", "see the setting http.metrics")
    if who.access.limited:
        raise Forbidden("metrics", "are about all policies", "use a token without a scope")
    return Response(make(), media_type="text/plain; version=0.0.4; charset=utf-8")
