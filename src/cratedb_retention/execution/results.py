"""Results as programs get them: as JSON and YAML from commands and the HTTP API, each read from an object by ``of``."""

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
Condition = Annotated[str, BeforeValidator(lambda state: state.detail if state else "missing")]
Reason = Annotated[str, BeforeValidator(lambda hold: getattr(hold, "reason", hold))]
Code = Annotated[str, BeforeValidator(lambda reason: getattr(reason, "code", reason))]


def _former(name: str) -> Any:
    """A key as it was called before; what it says is under both names for one version."""
    return Field(validation_alias=name, deprecated=f"Use `{name}`.")


class _Result(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, thing: object, context: Any = None) -> Self:
        return cls.model_validate(thing, context=context)


class _Answer(_Result):
    """Says what is always there; more may be."""

    model_config = ConfigDict(extra="allow")


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


class Policies(_Result):
    """The policies that were chosen, by table."""

    policies: list[StoredPolicy]
    damaged: list[DamagedPolicy]
    total: int


class Changed(_Result):
    """What applying a file does, or would do, to one policy."""

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
    code: str = Field(description="What tells the reason from others: `ends`, `older`.")
    partitions: int
    rows: int | None
    bytes: int | None = Field(validation_alias="size")
    steps: list[Step]


class Blocked(_Result):
    """What is due and must not happen now."""

    policy_id: str | None
    table: Name
    reason: str
    code: str = Field(description="What tells the reason from others: `legal-hold`, `missing-shards`.")
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
    partitions: list[dict[str, Any]] = Field(description="Only data with the values of one of these; empty: all.")
    start: Instant | None
    end: Instant | None
    reason: str
    kind: str
    placed_by: str
    placed_at: Instant | None


class PlanAnswer(_Result):
    """What a run would do: the same as `cratedb-retention plan --format=json`."""

    cutoff: Instant
    warnings: list[Name]
    warning_codes: list[Code] = Field(
        validation_alias=AliasPath("warnings"), description="What tells each of `warnings` from others: `all-expired`."
    )
    tasks: list[Task]
    blocked: list[Blocked]
    up_to_date: list[UpToDate]
    legal_holds: list[Hold]
    holds: list[Blocked] = _former("blocked")
    kept: list[UpToDate] = _former("up_to_date")


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
    codes: list[Code] = Field(
        validation_alias=AliasPath("blocked"), description="What tells each reason of `blocked` from others."
    )
    held: list[Reason] = _former("blocked")


class Status(_Result):
    """What is kept where, and what is due: the same as `cratedb-retention status --format=json`."""

    policies: list[Line]
    last_run: dict[str, Any] | None


class RunReport(_Answer):
    """What a run did."""

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
    """A run and how far it is."""

    run_id: str
    state: str = Field(validation_alias="phase", description="`running`, `done`, `failed` or `cancelled`.")
    actor: str
    started_at: Instant
    finished_at: Instant | None
    step: str | None = Field(validation_alias="present", description="What it does at present.")
    steps_done: int
    steps_total: int = Field(validation_alias="steps")
    units_done: int | None = Field(validation_alias="done", description="Of the present step.")
    units_total: int | None = Field(validation_alias="total")
    unit: str | None
    rows: int = Field(validation_alias=AliasPath("removed", 0))
    bytes: int = Field(validation_alias=AliasPath("removed", 1))
    expected_end: Instant | None
    report: RunReport | None = Field(validation_alias="final_report")
    error: str | None = Field(description="Why it ended early.")
    code: str | None = Field(description="What tells the error from others: `cancelled`, `stopped`, `disk-full`.")


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
    """What was archived, and what its repository says about it."""

    state: Name = Field(validation_alias=AliasPath("record", "stage"))
    repository_state: Condition = Field(validation_alias="state")
    policy_id: str | None = Field(validation_alias=AliasPath("record", "policy_id"))
    tags: list[str] = Field(validation_alias=AliasPath("record", "tags"))


class Adoptable(_Counted):
    """A snapshot in a repository."""

    state: Name = Field(validation_alias=AliasPath("record", "stage"))
    known: bool


class Restorable(_Counted):
    """What a restore would do with a snapshot; those of a partition come back together, or not at all."""

    into: Name = Field(description="The table that it would go into.")
    held: bool = Field(description="Whether it would be on hold from then on.")
    refusal: str | None = Field(description="Why it would not come back; null: it would.")


class OperationResult(_OfSnapshot):
    """What became of a snapshot."""

    into: Name | None = Field(None, description="The table that it was brought back into.")
    rows: int | None = Field(None, description="Rows that came back.")
    hold_id: str | None = Field(None, description="The hold that it is on.")
    found: str | None = Field(None, description="What reading it back found.")
    error: str | None = Field(None, description="Why it did not come back, or what is wrong with it.")


class Operation(_Result):
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
    code: str | None = Field(description="What tells the error from others: `disk-full`.")


class AcceptedTables(_Result):
    """The tables that are taken for the earlier ones of their names."""

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
    """A token and its text, which can't be had a second time."""

    token: str


class Health(_Result):
    """How the service is."""

    status: str


def policy_result(stored: policies.StoredPolicy) -> StoredPolicy:
    return StoredPolicy(**stored.policy.to_dict(), version=stored.version)


def token_result(token: AccessToken, text: str | None = None) -> Token:
    """A token without its secret; with its text, where it was just made."""
    told = {**plain_row(vars(token)), "tags": list(token.limit.texts)}
    del told["limit"]
    return Token(**told) if text is None else NewToken(**told, token=text)


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table without its empty values, with instants as ISO 8601."""
    values = {key: value for key, value in row.items() if value is not None}
    return {key: each.isoformat() if isinstance(each, dt.datetime) else each for key, each in values.items()}
