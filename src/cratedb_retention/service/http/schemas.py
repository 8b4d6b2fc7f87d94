"""
What requests and answers look like, for the description of the HTTP API. What a policy consists of stands in
``model/policy.py`` and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cratedb_retention.execution import previewing
from cratedb_retention.execution.plain import snapshot_data
from cratedb_retention.execution.restoring import Restored, Verified
from cratedb_retention.model.access import Role
from cratedb_retention.model.policy import ValueField
from cratedb_retention.model.runs import RunState
from cratedb_retention.service.operations import OperationState
from cratedb_retention.store.snapshots import SnapshotRecord

Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
# Instants of answers are in UTC, as ISO 8601.
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class _Answer(BaseModel):
    """Says what is always there; more may be."""

    model_config = ConfigDict(extra="allow")


class _Request(BaseModel):
    """Nothing unknown is let pass: a misspelt attribute would mean its default."""

    model_config = ConfigDict(extra="forbid")


class StoredPolicy(_Answer):
    """A policy: its attributes that are not the default ones, and its version."""

    strategy: str
    table_name: str
    retention_period: str
    id: str
    version: int


class DamagedPolicy(_Answer):
    """A row of the policy table that is no valid policy, and why."""

    id: str
    damaged: str


class Policies(BaseModel):
    """The policies that were chosen, by table."""

    policies: list[StoredPolicy]
    damaged: list[DamagedPolicy]
    total: int


class Changed(BaseModel):
    """What applying a file does, or would do, to one policy."""

    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Step(_Answer):
    """One operation on the database."""

    operation: str
    description: str


class Task(BaseModel):
    """Steps that belong together."""

    policy_id: str | None
    table: str
    reason: str
    code: str = Field(description="What tells the reason from others: `ends`, `older`.")
    partitions: int
    rows: int | None
    bytes: int | None
    steps: list[Step]


class HeldBack(BaseModel):
    """What is due and must not happen now."""

    policy_id: str | None
    table: str
    reason: str
    code: str = Field(description="What tells the reason from others: `legal-hold`, `missing-shards`.")
    partitions: list[str]
    count: int
    problem: bool


class Kept(BaseModel):
    """What stays, and until when."""

    policy_id: str
    table: str
    partitions: int
    next_due: Instant | None


class Hold(BaseModel):
    """A hold in force."""

    id: str
    table_schema: str
    table_name: str
    where: dict[str, Any]
    partitions: list[dict[str, Any]] = Field(description="Only data with the values of one of these; empty: all.")
    start: Instant | None
    end: Instant | None
    reason: str
    kind: str
    placed_by: str
    placed_at: Instant | None


class PlanAnswer(BaseModel):
    """What a run would do: the same as `cratedb-retention plan --format=json`."""

    cutoff: Instant
    warnings: list[str]
    tasks: list[Task]
    holds: list[HeldBack]
    kept: list[Kept]
    legal_holds: list[Hold]


class Line(BaseModel):
    """One policy on one table."""

    state: str
    table: str
    policy: dict[str, Any]
    rows: int | None
    bytes: int | None
    due_partitions: int
    due_rows: int | None
    next_due: Instant | None
    held: list[str]


class Status(BaseModel):
    """What is kept where, and what is due: the same as `cratedb-retention status --format=json`."""

    policies: list[Line]
    last_run: dict[str, Any] | None


class RunRequest(_Request):
    """Which policies a run is about; each attribute that is set must fit."""

    strategy: Text | None = Field(None, description="Only policies of this strategy.")
    tags: list[Text] = Field(
        default_factory=list,
        max_length=100,
        description="Only policies with these tags: `a,b` both, several either, `not:c` without.",
    )
    policy: Text | None = Field(None, description="Only the policy with this identifier.")


class RunReport(_Answer):
    """What a run did."""

    done: int
    failed: int
    skipped: int
    deferred: int
    held: int
    problems: int
    partitions: int
    rows: int
    bytes: int


class Run(BaseModel):
    """A run and how far it is."""

    run_id: str
    state: str = Field(description="`running`, `done`, `failed` or `cancelled`.")
    actor: str
    started_at: Instant
    finished_at: Instant | None
    step: str | None = Field(description="What it does at present.")
    steps_done: int
    steps_total: int
    units_done: int | None = Field(description="Of the present step.")
    units_total: int | None
    unit: str | None
    rows: int
    bytes: int
    expected_end: Instant | None
    report: RunReport | None
    error: str | None


class JournalRow(_Answer):
    """A row of the audit log, without its empty columns; docs/reference/tables.md explains each."""

    time: Instant
    event: str


class HoldRequest(_Request):
    """What must stay."""

    table_name: Text = Field(description="Name or pattern.")
    table_schema: Text | None = Field(None, description="Name or pattern; empty: the database's default one.")
    where: dict[Text, ValueField] = Field(default_factory=dict, description="Only data with these values.")
    start: AwareDatetime | None = Field(None, description="Only data from this instant on.")
    end: AwareDatetime | None = Field(None, description="Only data before this instant.")
    reason: str = Field("", max_length=1000, pattern=r"^[^\x00]*$", description="For people.")


class Snapshot(BaseModel):
    """What was archived, and what its repository says about it."""

    name: str
    repository: str
    table: str
    partition: dict[str, Any]
    rows: int | None
    bytes: int | None
    state: str
    repository_state: str
    policy_id: str | None
    tags: list[str]


class SnapshotKey(_Request):
    """Names a snapshot."""

    repository: Text
    name: Text


class SnapshotsWanted(_Request):
    """Which snapshots are meant; each attribute that is set must fit, and one must be set."""

    name: Text | None = Field(None, description="A snapshot's name, or six characters of its beginning.")
    table_schema: Text | None = Field(None, description="Name or pattern.")
    table_name: Text | None = Field(None, description="Name or pattern.")
    repository: Text | None = Field(None, description="Only those in this repository.")
    start: AwareDatetime | None = Field(None, description="Only what reaches beyond this instant.")
    end: AwareDatetime | None = Field(None, description="Only what begins before this instant.")
    tags: list[Text] | None = Field(
        None, min_length=1, max_length=100, description="Only snapshots of policies that had these tags then."
    )
    chosen: list[SnapshotKey] | None = Field(None, min_length=1, max_length=1000, description="Only these.")


class RestoreWanted(SnapshotsWanted):
    """What is brought back, and where to: into its own table, or one beside it."""

    into_schema: Text | None = Field(None, description="Restore beside, into a table of this schema.")
    into_name: Text | None = Field(None, description="The name of that table.")


class Restorable(BaseModel):
    """What a restore would do with a snapshot; those of a partition come back together, or not at all."""

    name: str
    repository: str
    table: str
    partition: dict[str, Any]
    rows: int | None
    bytes: int | None
    into: str = Field(description="The table that it would go into.")
    held: bool = Field(description="Whether it would be on hold from then on.")
    refusal: str | None = Field(description="Why it would not come back; null: it would.")


class OperationResult(BaseModel):
    """What became of a snapshot."""

    name: str
    repository: str
    table: str
    partition: dict[str, Any]
    into: str | None = Field(None, description="The table that it was brought back into.")
    rows: int | None = Field(None, description="Rows that came back.")
    hold_id: str | None = Field(None, description="The hold that it is on.")
    found: str | None = Field(None, description="What reading it back found.")
    error: str | None = Field(None, description="Why it did not come back, or what is wrong with it.")


class Operation(BaseModel):
    """A restore or a verification, and how far it is."""

    operation_id: str
    kind: str = Field(description="`restore` or `verify`.")
    state: str = Field(description="`running`, `done`, `failed` or `cancelled`.")
    actor: str
    started_at: Instant
    finished_at: Instant | None
    total: int = Field(description="How many snapshots it is about.")
    results: list[OperationResult]
    error: str | None = Field(description="Why it ended early.")


class TablesWanted(_Request):
    """Which tables are meant."""

    table_name: Text = Field(description="Name or pattern.")
    table_schema: Text | None = Field(None, description="Name or pattern; empty: the database's default one.")


class AcceptedTables(BaseModel):
    """The tables that are taken for the earlier ones of their names."""

    tables: list[str]


class TokenRequest(_Request):
    """A new access token."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", description="For people; the audit log names it.")
    role: Role
    tags: list[Text] = Field(default_factory=list, max_length=100, description="Limit it to policies with these tags.")
    expires_at: AwareDatetime | None = Field(None, description="When it ends; empty: never.")


class Token(_Answer):
    """An access token, without its secret."""

    id: str
    name: str
    role: Role
    tags: list[str]
    created_at: Instant
    created_by: str


class NewToken(Token):
    """A token and its text, which can't be had a second time."""

    token: str


class Health(BaseModel):
    """How the service is."""

    status: str


def run_answer(state: RunState) -> dict[str, Any]:
    """A run as plain values."""
    over = state.finished_at is not None
    report = None if state.report is None or not over or state.error else {**vars(state.report), "ok": state.report.ok}
    times = ("started_at", "finished_at", "expected_end")
    instants = {key: None if (moment := getattr(state, key)) is None else moment.isoformat() for key in times}
    rows, size = state.removed
    return {
        **instants,
        "run_id": state.run_id,
        "state": state.phase,
        "actor": state.actor,
        "step": None if over else state.doing,
        "steps_done": state.steps_done,
        "steps_total": state.steps,
        "units_done": state.done,
        "units_total": state.total,
        "unit": state.unit,
        "rows": rows,
        "bytes": size,
        "report": report,
        "error": state.error,
    }


def restorable_answer(item: previewing.Restorable) -> Restorable:
    """What a restore would do with a snapshot, for an answer."""
    return Restorable(
        **_snapshot(item.record),
        rows=item.record.archived.rows,
        bytes=item.record.size,
        into=str(item.into),
        held=item.held,
        refusal=item.refusal,
    )


def operation_answer(state: OperationState) -> Operation:
    """An operation, for an answer."""
    return Operation(
        operation_id=state.operation_id,
        kind=state.kind,
        state=state.state,
        actor=state.actor,
        started_at=state.started_at.isoformat(),
        finished_at=state.finished_at.isoformat() if state.finished_at else None,
        total=state.total,
        results=[_result(each) for each in state.results],
        error=state.error,
    )


def _result(item: Restored | Verified) -> OperationResult:
    if isinstance(item, Verified):
        return OperationResult(**_snapshot(item.record), found=item.found, error=item.error)
    into = str(item.into)
    return OperationResult(**_snapshot(item.record), into=into, rows=item.rows, hold_id=item.hold_id, error=item.error)


def _snapshot(record: SnapshotRecord) -> dict[str, Any]:
    data = snapshot_data(record, None)
    return {key: data[key] for key in ("name", "repository", "table", "partition")}
