"""Results for programs: JSON and YAML of commands and the HTTP API; ``of`` makes each from an object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from cratedb_retention.model.access import Role
from cratedb_retention.model.plan import plan
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.time import from_ms
from cratedb_retention.store import policies
from cratedb_retention.store.access import AccessToken


def _instant(value: object) -> object:
    value = from_ms(value) if isinstance(value, int) else value
    return value.isoformat() if isinstance(value, dt.datetime) else value


def _at(name: str) -> AliasPath:
    return AliasPath("record", "archived", name)


# Instants are in UTC, as ISO 8601.
Instant = Annotated[str, BeforeValidator(_instant), Field(json_schema_extra={"format": "date-time"})]
Name = Annotated[str, BeforeValidator(str)]
Partition = Annotated[
    dict[str, Any],
    BeforeValidator(lambda archived: dict(zip((c.name for c in archived.columns), archived.values, strict=True))),
]
Attributes = Annotated[dict[str, Any], BeforeValidator(lambda it: it.to_dict() if isinstance(it, Policy) else it)]
Reason = Annotated[str, BeforeValidator(lambda hold: getattr(hold, "reason", hold))]
Code = Annotated[str, BeforeValidator(lambda reason: getattr(reason, "code", reason))]


def _former(name: str) -> Any:
    """The former name of a key; its value has both names for one version."""
    return Field(validation_alias=name, deprecated=f"Use `{name}`.")


class _Result(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, thing: object, context: Any = None) -> Self:
        return cls.model_validate(thing, context=context)


class _Answer(_Result):
    """Declares the keys that always exist; there may be more."""

    model_config = ConfigDict(extra="allow")


class StoredPolicy(_Answer):
    """A policy: its attributes without default values, and its version."""

    strategy: str
    table_name: str
    retention_period: str
    id: str
    version: int


class DamagedPolicy(_Answer):
    """A row of the policy table that is not a valid policy, with the reason."""

    id: str
    damaged: str


class Policies(_Result):
    """The chosen policies, by table."""

    policies: list[StoredPolicy]
    damaged: list[DamagedPolicy]
    total: int


class Stage(_Result):
    """One stage of a lifecycle. Ages count from the end of the data: `30d`, `1y`, `forever`."""

    temperature: Name = Field(description="`hot`, `warm`, `cold` or `gone`.")
    since: Name = Field(description="The age of the data at which it begins.")
    until: Name = Field(description="The age at which the next one begins; `forever`: there is none.")
    budget: str | None = Field(description="The size above which the next one begins earlier: `500GB (at least 7d)`.")
    how: str | None = Field(
        description="How the data is kept: compaction, nodes, the repository; or for how long it is recoverable."
    )
    policy_ids: list[str] = Field(description="The policies that begin it.")


class KeptRollup(_Result):
    """A rollup that outlives the raw rows."""

    interval: Name
    until: Name = Field(validation_alias="retention_period", description="The age until which it is kept.")


class Lifecycle(_Result):
    """The stages that the data of a table passes through as it ages, by the enabled policies."""

    table: Name = Field(description="The table, or the pattern of a policy.")
    where: dict[str, Any] = Field(description="Only data with these values; empty: all.")
    line: str = Field(description="The same as text.")
    stages: list[Stage]
    rollups: list[KeptRollup]


class Changed(_Result):
    """The change of one policy by a file, made or planned."""

    action: Name
    before: Attributes | None
    after: Attributes | None


class Step(_Answer):
    """One operation on the database."""

    operation: str
    description: str

    @model_validator(mode="before")
    @classmethod
    def _of_step(cls, step: plan.Step, info: ValidationInfo) -> dict[str, Any]:
        sql = {"sql": info.context(step)} if info.context else {}
        return {"operation": step.operation(), "description": step.describe(), **sql}


class Task(_Result):
    """Steps that belong together."""

    policy_id: str | None
    table: Name
    reason: str
    code: str = Field(description="Code of the reason: `ends`, `older`.")
    partitions: int
    rows: int | None
    bytes: int | None = Field(validation_alias="size")
    steps: list[Step]


class Blocked(_Result):
    """What is due and must not happen now."""

    policy_id: str | None
    table: Name
    reason: str
    code: str = Field(description="Code of the reason: `legal-hold`, `missing-shards`.")
    partitions: list[str]
    count: int
    needs_attention: bool = Field(description="Whether a person has to act.")
    problem: bool = _former("needs_attention")


class UpToDate(_Result):
    """What is not due, and until when."""

    policy_id: str
    table: Name
    partitions: int
    next_due: Instant | None


class Hold(_Result):
    """A hold in force."""

    id: str
    table_schema: str
    table_name: str
    where: dict[str, Any]
    partitions: list[dict[str, Any]] = Field(
        description="Only data with one of these combinations of values; empty: all."
    )
    start: Instant | None
    end: Instant | None
    reason: str
    kind: str
    placed_by: str
    placed_at: Instant | None


class PlanAnswer(_Result):
    """A plan, as from `cratedb-retention plan --format=json`."""

    cutoff: Instant
    warnings: list[Name]
    warning_codes: list[Code] = Field(
        validation_alias=AliasPath("warnings"), description="Codes of `warnings`: `all-expired`."
    )
    tasks: list[Task]
    blocked: list[Blocked]
    up_to_date: list[UpToDate]
    legal_holds: list[Hold]
    holds: list[Blocked] = _former("blocked")
    kept: list[UpToDate] = _former("up_to_date")


class Finding(_Result):
    """Something about policies or tables."""

    table: Name = Field(description="The table, or the pattern of the policy.")
    policies: list[str] = Field(description="Identifiers of the policies that it is about.")
    message: str
    code: Code = Field(validation_alias="why", description="Code of the reason: `no-such-table`.")


class Ungoverned(_Result):
    """A table, or some of its partitions, that no enabled policy governs."""

    table: Name
    partitions: int = Field(description="Number of partitions without a policy; 0: the table has none.")
    partly: bool = Field(description="Whether policies govern its other partitions.")
    rows: int | None
    bytes: int | None = Field(validation_alias="size")
    rows_per_day: int | None = Field(validation_alias=AliasPath("growth", 0), description="Mean growth; null: unknown.")
    bytes_per_day: int | None = Field(validation_alias=AliasPath("growth", 1))
    oldest: Instant | None = Field(description="Start of the oldest partition with rows.")
    disabled: list[str] = Field(description="Identifiers of disabled policies on it.")
    reason: str | None = Field(description="Why a policy cannot determine the age of its data; null: it can.")
    code: str | None = Field(description="Code of the reason: `no-time-column`.")


class Unlimited(_Result):
    """An enabled policy that removes partitions without a limit (`expected_max`)."""

    policy: str = Field(validation_alias=AliasPath("policy", "id"), description="Its identifier.")
    partitions: int = Field(
        description="A limit that would fit, `expected_max.partitions`: twice what expires in a month."
    )


class Check(_Result):
    """The result of a check, as from `cratedb-retention check-policies --format=json`."""

    findings: list[Finding] = Field(description="Mistakes and contradictions; data that is older than expected.")
    notes: list[Finding] = Field(description="What may be intended: policies that match no data, empty partitions.")
    ungoverned: list[Ungoverned] = Field(description="Tables that no enabled policy governs, the largest first.")
    unlimited: list[Unlimited] = Field(description="Policies without a limit, if one is known that would fit.")


class Line(_Result):
    """One policy on one table."""

    state: str
    table: Name = Field(validation_alias="title")
    policy: Attributes
    rows: int | None
    bytes: int | None = Field(validation_alias="size")
    due_partitions: int
    due_rows: int | None
    next_due: Instant | None
    blocked: list[Reason]
    codes: list[Code] = Field(validation_alias=AliasPath("blocked"), description="Codes of the reasons in `blocked`.")
    held: list[Reason] = _former("blocked")


class Status(_Result):
    """The state of policies, as from `cratedb-retention status --format=json`."""

    policies: list[Line]
    last_run: dict[str, Any] | None


class Growth(_Result):
    """How fast a table grows."""

    rows_per_day: float = Field(validation_alias="daily", description="Rows per day, now.")
    trend: float = Field(description="By how many rows per day that changes each day.")
    rhythm: list[float] = Field(description="The share of each day of the week, from today on; empty: unknown.")
    known: bool = Field(description="Whether it could be measured; otherwise no growth is assumed.")
    measured_from: str = Field(validation_alias="source", description="What it was measured from, or why not.")


class ForecastSeries(_Result):
    """A table, a level or an archive, with one value for each instant of the forecast."""

    part: Name = Field(description="`table`, `level` or `archive`.")
    table: Name
    source: Name = Field(description="Of a level, the table with the raw rows.")
    repository: str = Field(description="Of an archive.")
    growth: Growth = Field(validation_alias="rate")
    rows: list[int]
    bytes: list[int] | None = Field(validation_alias="size", description="With replicas; null: unknown.")
    partitions: list[int]
    shards: list[int] | None = Field(description="With replicas; null: the database has none.")
    days: list[int | None] = Field(
        validation_alias="reach", description="For how many days there is data; null: unknown, or there is none."
    )


class ForecastEvent(_Result):
    """What the run of one day does to one table under one policy."""

    day: int = Field(description="Position in `times`.")
    kind: Name
    table: Name
    policy_id: str
    partitions: int
    rows: int
    bytes: int | None = Field(validation_alias="size")
    end: Instant | None = Field(description="All of this data is older.")


class Forecast(_Result):
    """A forecast, as from `cratedb-retention forecast --format=json`."""

    times: list[Instant] = Field(description="Now, and each day after the run of that day.")
    series: list[ForecastSeries]
    events: list[ForecastEvent]
    blocked: list[Blocked] = Field(description="What is blocked now; the forecast assumes that it stays so.")
    notes: list[str] = Field(description="What the forecast does not take into account.")
    capacity: int | None = Field(description="Bytes that fit on the disks; null: unknown.")
    other_bytes: int = Field(validation_alias="other", description="Bytes on the disks that are in no series.")
    full_at: Instant | None = Field(description="When the disks are full; null: not until the end, or unknown.")
    cost: float | None = Field(description="What the data costs until the end; null without prices or sizes.")


class Comparison(_Result):
    """Two forecasts, as from `cratedb-retention diff --format=json`."""

    before: Forecast
    after: Forecast


class RunReport(_Answer):
    """The result of a run."""

    done: int
    failed: int
    skipped: int
    deferred: int
    blocked: int
    needs_attention: int
    partitions: int
    rows: int
    bytes: int
    held: int = _former("blocked")
    problems: int = _former("needs_attention")


class Run(_Result):
    """A run and its progress."""

    run_id: str
    state: str = Field(validation_alias="phase", description="`running`, `done`, `failed` or `cancelled`.")
    actor: str
    started_at: Instant
    finished_at: Instant | None
    step: str | None = Field(validation_alias="present", description="Its present step.")
    steps_done: int
    steps_total: int = Field(validation_alias="steps")
    units_done: int | None = Field(validation_alias="done", description="Progress of the present step.")
    units_total: int | None = Field(validation_alias="total")
    unit: str | None
    rows: int = Field(validation_alias=AliasPath("removed", 0))
    bytes: int = Field(validation_alias=AliasPath("removed", 1))
    expected_end: Instant | None
    report: RunReport | None = Field(validation_alias="final_report")
    error: str | None = Field(description="Why it ended early.")
    code: str | None = Field(description="Code of the error: `cancelled`, `stopped`, `disk-full`.")


class JournalRow(_Answer):
    """A row of the audit log, without its empty columns; docs/reference/tables.md explains each."""

    time: Instant
    event: str


class _OfSnapshot(_Result):
    name: str = Field(validation_alias=_at("name"))
    repository: str = Field(validation_alias=_at("repository"))
    table: Name = Field(validation_alias=_at("table"))
    partition: Partition = Field(validation_alias=AliasPath("record", "archived"))


class _Counted(_OfSnapshot):
    rows: int | None = Field(validation_alias=_at("rows"))
    bytes: int | None = Field(validation_alias=_at("size"))


class Snapshot(_Counted):
    """A snapshot, and its state in the repository."""

    state: Name = Field(validation_alias=AliasPath("record", "stage"))
    repository_state: str = Field(validation_alias="found", description="Its state there, or its damage.")
    condition: str = Field(description="`complete`, `damaged`, `incomplete` or `missing`.")
    verified_at: Instant | None = Field(validation_alias=AliasPath("record", "verified_at"))
    ends: Instant | None = Field(description="When a run deletes it for good; null: never.")
    recoverable_until: Instant | None = Field(
        validation_alias=AliasPath("record", "recoverable_until"),
        description="Until when `undo` brings it back; null: an archive of `snapshot`.",
    )
    run_id: str | None = Field(
        validation_alias=AliasPath("record", "run_id"), description="The run that archived or dropped it."
    )
    policy_id: str | None = Field(validation_alias=AliasPath("record", "policy_id"))
    tags: list[str] = Field(validation_alias=AliasPath("record", "tags"))


class Adoptable(_Counted):
    """A snapshot in a repository."""

    state: Name = Field(validation_alias=AliasPath("record", "stage"))
    known: bool


class Restorable(_Counted):
    """What a restore would do with a snapshot. Those of a partition are restored together, or not at all."""

    into: Name = Field(description="The table that it would be restored into.")
    held: bool = Field(description="Whether it would be on hold from then on.")
    refusal: str | None = Field(description="Why it would not be restored; null: it would.")


class Deletable(_Counted):
    """What deleting would do with a snapshot."""

    refusal: str | None = Field(description="Why it would stay; null: it would be deleted.")


class OperationResult(_OfSnapshot):
    """The result for a snapshot."""

    into: Name | None = Field(None, description="The table that it was restored into.")
    rows: int | None = Field(None, description="Number of restored rows.")
    hold_id: str | None = Field(None, description="The hold on the restored partition.")
    found: str | None = Field(None, description="The result of reading it back.")
    error: str | None = Field(None, description="Why it was not restored or deleted, or its damage.")


class Operation(_Result):
    """A restore, a verification or a deletion, and its progress."""

    operation_id: str
    kind: str = Field(description="`restore`, `undo`, `verify` or `delete`.")
    state: str = Field(description="`running`, `done`, `failed` or `cancelled`.")
    actor: str
    started_at: Instant
    finished_at: Instant | None
    total: int = Field(description="Number of snapshots.")
    results: list[OperationResult]
    error: str | None = Field(description="Why it ended early.")
    code: str | None = Field(description="Code of the error: `disk-full`.")


class AcceptedTables(_Result):
    """Tables that were accepted as the earlier ones of their names."""

    tables: list[str]


class Token(_Answer):
    """An access token, without its secret."""

    id: str
    name: str
    role: Role
    tags: list[str]
    created_at: Instant
    created_by: str


class NewToken(Token):
    """A token and its text, which cannot be shown again."""

    token: str


class Health(_Result):
    """The condition of the service."""

    status: str


def policy_result(stored: policies.StoredPolicy) -> StoredPolicy:
    return StoredPolicy(**stored.policy.to_dict(), version=stored.version)


def token_result(token: AccessToken, text: str | None = None) -> Token:
    """A token without its secret; with its text if it was just created."""
    values = {**plain_row(vars(token)), "tags": list(token.limit.texts)}
    del values["limit"]
    return Token(**values) if text is None else NewToken(**values, token=text)


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table without its empty values, with instants as ISO 8601."""
    values = {key: value for key, value in row.items() if value is not None}
    return {key: each.isoformat() if isinstance(each, dt.datetime) else each for key, each in values.items()}
