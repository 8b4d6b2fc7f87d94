"""
Retention policies: one rule each, strategy first, as people write them and as the database stores them.

Unknown attributes, contradictory attributes and bad values are refused here, in the same words wherever a policy
comes from: the command line, a YAML file, the library, a page. What is stored already may hold attributes that were
accepted when it was stored, see :func:`read_policy`.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
import zoneinfo
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.aggregates import Aggregate
from cratedb_retention.model.cascade import Levels, check_zone, parse_levels
from cratedb_retention.model.catalog import TimeUnit
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.instant import parse_time_zone, start_of_day, to_ms
from cratedb_retention.model.pairs import plain_text, write_pairs
from cratedb_retention.model.plan import Verify
from cratedb_retention.model.schedule import Misfire, parse_jitter, parse_schedule
from cratedb_retention.model.tags import NOT


class Strategy(enum.StrEnum):
    """What happens to data past its retention period."""

    DELETE = "delete"
    REALLOCATE = "reallocate"
    SNAPSHOT = "snapshot"
    DOWNSAMPLE = "downsample"


class Late(enum.StrEnum):
    """What becomes of rows that arrive after their window was sealed (law 4)."""

    KEEP = "keep"
    DROP = "drop"


class Deletions(enum.StrEnum):
    """What becomes of summaries when others than the toolkit deleted rows beneath them (law 4)."""

    BLOCK = "block"
    FOLLOW = "follow"


class Undated(enum.StrEnum):
    """What is said of partitions that nothing tells the time of, such as that of NULL: they stay in any case."""

    BLOCK = "block"
    KEEP = "keep"


class Freeze(enum.StrEnum):
    """Whether a partition may refuse writes for a moment before it is dropped."""

    ALLOW = "allow"
    NEVER = "never"


class CutoffBy(enum.StrEnum):
    """What a policy takes for now: the cutoff itself, or the start of its day."""

    INSTANT = "instant"
    DAY = "day"


def parse_strategy(value: object) -> Strategy:
    """
    Read a strategy's name, in any case.

    :raises InvalidInput: if there is no such strategy.
    """
    try:
        return Strategy(str(value).strip().lower())
    except ValueError:
        raise InvalidInput(f"strategy {value!r}", "unknown", f"use one of: {', '.join(Strategy)}") from None


def parse_time_unit(value: object) -> TimeUnit:
    """
    Read the unit of an epoch.

    :raises InvalidInput: if it is not supported.
    """
    try:
        return TimeUnit(str(value).strip().lower())
    except ValueError:
        remedy = "use s or ms; of microseconds or nanoseconds, generate a timestamp column, and name that"
        raise InvalidInput(f"time unit {value!r}", "not supported", remedy) from None


def _as_value_error(parse: Any) -> Any:
    """Let pydantic collect our errors with the field's name beside them."""

    def validate(value: object) -> Any:
        try:
            return parse(value)
        except InvalidInput as error:
            raise ValueError(str(error)) from error

    return validate


def _tags(value: object) -> object:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if isinstance(value, list | tuple | set | frozenset):
        if any(isinstance(tag, bool) or not isinstance(tag, str | int) for tag in value):
            raise ValueError("a tag is text without commas, and not empty")
        tags = sorted({str(tag).strip() for tag in value})
        if any(not tag or "," in tag for tag in tags):
            raise ValueError("a tag is text without commas, and not empty")
        if any(tag.startswith(NOT) for tag in tags):
            raise ValueError(f"a tag does not begin with {NOT}, which chooses policies without a tag")
        return tuple(tags)
    return value


def _as_written(value: object) -> str | None:
    """A value of a filter: what type it has, the column says."""
    if not isinstance(value, str | int | float | None):
        raise ValueError("must be text, a number, true, false or null")
    return None if value is None else plain_text(value)


def _zone(value: object) -> str:
    return parse_time_zone(str(value)).key


def _names(value: object) -> object:
    """A list of columns, or text with commas between them."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("must be a list of columns")
    return tuple(dict.fromkeys(value))


def _aggregates(value: object) -> object:
    """For each metric a list of aggregates, or text with commas between them."""
    if not isinstance(value, dict):
        raise ValueError("must be pairs, as `metric: [min, max]`")
    return {str(metric): tuple(_aggregate(name) for name in _names(names)) for metric, names in value.items()}  # type: ignore[attr-defined]


def _aggregate(name: str) -> Aggregate:
    try:
        return Aggregate(name.strip().lower())
    except ValueError:
        raise ValueError(f"no aggregate {name!r}; use some of: {', '.join(Aggregate)}") from None


def _as_text(levels: Levels) -> str:
    return ",".join(map(str, levels))


StrategyField = Annotated[
    Strategy,
    BeforeValidator(_as_value_error(parse_strategy)),
    WithJsonSchema({"type": "string", "enum": [str(s) for s in Strategy]}),
]
DurationField = Annotated[
    Duration,
    BeforeValidator(_as_value_error(parse_duration)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["90d", "36h", "3 months", "P1Y", "forever", 30]}),
]
ScheduleField = Annotated[
    str,
    BeforeValidator(_as_value_error(parse_schedule)),
    WithJsonSchema({"type": "string", "examples": ["@daily", "0 3 * * *", "*/15 * * * *"]}),
]
JitterField = Annotated[
    Duration,
    BeforeValidator(_as_value_error(parse_jitter)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10m"]}),
]
LevelsField = Annotated[
    Levels,
    BeforeValidator(_as_value_error(parse_levels)),
    PlainSerializer(_as_text, return_type=str),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "examples": ["1m:7d,1h:90d,1d:forever"]}),
]
TimeUnitField = Annotated[
    TimeUnit,
    BeforeValidator(_as_value_error(parse_time_unit)),
    WithJsonSchema({"type": "string", "enum": [str(unit) for unit in TimeUnit]}),
]
NamesField = Annotated[tuple[str, ...], BeforeValidator(_names)]
AggregatesField = Annotated[
    dict[str, tuple[Aggregate, ...]],
    BeforeValidator(_aggregates),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "array", "items": {"enum": [*Aggregate]}}}),
]
ValueField = Annotated[
    str | None,
    BeforeValidator(_as_written),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
TagsField = Annotated[tuple[str, ...], BeforeValidator(_tags)]
ZoneField = Annotated[str, BeforeValidator(_as_value_error(_zone))]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]


# Pydantic's types of error, as people say it.
_IN_OUR_WORDS = {
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "has characters that it can't have",
    "dict_type": "must be pairs, as `key: value`",
    "model_type": "must be pairs, as `key: value`",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
}


class ExpectedMax(BaseModel):
    """Limits of what one run may do under a policy on one table; beyond them the run holds and says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: int | None = Field(None, ge=0, description="At most so many partitions of a table in one run.")
    rows: int | None = Field(None, ge=0, description="At most so many rows of a table in one run.")
    percent: float | None = Field(None, ge=0, le=100, description="At most this share of a table's rows in one run.")


class Policy(BaseModel):
    """
    A retention policy.

    Errors are pydantic's ``ValidationError`` (with our messages); :func:`make_policy` turns them into one line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    strategy: StrategyField = Field(
        description="What happens to expired data: delete, reallocate, snapshot or downsample."
    )
    table_schema: Name | None = Field(
        None,
        description="The table's schema; `*` and `?` are wildcards. Empty: the database's own default, "
        "`doc` on CrateDB and `main` on DuckDB.",
    )
    table_name: Name = Field(description="The table's name; `*` and `?` are wildcards, as in `metrics_*`.")
    retention_period: DurationField = Field(
        description="How long data is kept as it is: `90d`, `36h`, `3 months`, `P1Y`, `forever`; "
        "a plain number means days, and `cutoff_by: day`."
    )
    cutoff_by: CutoffBy = Field(
        CutoffBy.INSTANT,
        description="Whether the retention period counts back from the cutoff itself (`instant`) or from the start of "
        "its day (`day`), as in cratedb-toolkit. `day` keeps partitions of hours, and rows, for up to a day more.",
    )
    time_zone: ZoneField = Field(
        "UTC", description="The time zone of days, months and years of the retention period, and of the schedule."
    )
    schedule: ScheduleField | None = Field(
        None,
        description="When it runs by itself: a cron expression like `0 3 * * *`, or `@hourly`, `@daily`, `@weekly`, "
        "`@monthly`, `@yearly`. Empty: only by hand.",
    )
    misfire: Misfire = Field(
        Misfire.CATCH_UP,
        description="`schedule`: what was missed is made up for by one run (`catch-up`), or left out (`skip`).",
    )
    misfire_grace: DurationField = Field(
        Duration(seconds=3600), description="`schedule`: with `skip`, how late a run may begin nevertheless."
    )
    jitter: JitterField | None = Field(
        None,
        description="`schedule`: each run begins up to so much later, like `10m`, so that not all begin at once.",
    )
    partition_column: Name | None = Field(
        None, description="The partition column that carries the time. Empty: found from the table."
    )
    time_column: Name | None = Field(
        None, description="The column with a row's time. Empty: found from the partition column or the table."
    )
    time_unit: TimeUnitField | None = Field(
        None,
        description="What a time column of whole numbers counts since 1970: seconds (`s`) or milliseconds (`ms`). "
        "Empty: the time column is a timestamp, or the partition column tells.",
    )
    where: dict[str, ValueField] = Field(
        default_factory=dict,
        description="Only data with these values: `tenant: acme` in a file, `tenant=acme` as an option, where NULL is "
        "NULL, and 'NULL' the text. The column decides what type a value has.",
    )
    tags: TagsField = Field((), description="For grouping, choosing and multi-tenancy.")
    reallocation_attribute_name: Name | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]+$", description="`reallocate`: the name of the nodes' custom attribute."
    )
    reallocation_attribute_value: Name | None = Field(
        None, description="`reallocate`: the value of that attribute on the nodes that data moves to."
    )
    target_repository_name: Name | None = Field(
        None, description="`snapshot`: the repository on CrateDB; a directory on DuckDB."
    )
    verify: Verify = Field(
        Verify.RESTORE,
        description="`snapshot`: what is proved on CrateDB before a partition is dropped. `restore`: the snapshot is "
        "restored into a copy, and compared with the partition; `metadata`: CrateDB says that it is complete. DuckDB "
        "reads every archive back.",
    )
    levels: LevelsField = Field(
        (),
        description="`downsample`: the rollups, finest first, each with how long it is kept: "
        "`1m:7d,1h:90d,1d:forever`. `retention_period` is that of the raw rows.",
    )
    dimensions: NamesField = Field(
        (),
        description="`downsample`: the columns that tell series apart; an object stands for all in it. Empty: text, "
        "boolean and key columns, and what else rows are grouped by exactly, such as UUID, IP and ENUM; of tables of "
        "Telegraf and Prometheus, what is in `tags` or `labels`, and the hash of it, but nothing in `fields`.",
    )
    metrics: NamesField = Field((), description="`downsample`: the columns to aggregate. Empty: all other numbers.")
    exclude: NamesField = Field(
        (), description="`downsample`: columns that are neither dimensions nor metrics; an object with all in it."
    )
    aggregates: AggregatesField = Field(
        default_factory=dict,
        description="`downsample`: what is kept of a metric (`*`: of each): min, max, sum, count, first, last, avg, "
        "stddev (of the population), increase, percentiles. Empty: all but the last three.",
    )
    counters: NamesField = Field(
        (),
        description="`downsample`: monotonically increasing metrics (counters) that may reset; their `increase` is "
        "kept. Patterns are possible, such as `*_total`; `labels___name__=*_total` is about all metrics of the series "
        "in which that dimension fits the pattern.",
    )
    late: Late = Field(
        Late.KEEP,
        description="`downsample`: whether rows that come after their time was rolled up and expired are kept "
        "or dropped.",
    )
    deletions: Deletions = Field(
        Deletions.BLOCK,
        description="`downsample`: what happens where others deleted rows that were rolled up: the summaries stay, and "
        "computing them again is blocked (`block`), or they are computed from what is left (`follow`).",
    )
    undated: Undated = Field(
        Undated.BLOCK,
        description="Whether partitions that nothing tells the time of, such as that of NULL, need attention in each "
        "run (`block`), or are listed only (`keep`). They stay in any case.",
    )
    freeze: Freeze = Field(
        Freeze.ALLOW,
        description="`delete`: where only the rows of a partition tell how old it is, whether it refuses writes for a "
        "moment before it is dropped (`allow`), or expired rows are deleted one by one (`never`), which takes longer "
        "and leaves empty partitions.",
    )
    expected_max: ExpectedMax | None = Field(None, description="Limits of one run on one table.")
    enabled: bool = Field(True, description="Whether runs obey the policy.")
    description: str | None = Field(None, description="For people.")
    id: Name | None = Field(None, description="The identifier; made up when empty.")

    @model_validator(mode="before")
    @classmethod
    def _plain_numbers_are_whole_days(cls, data: Any) -> Any:
        """A plain number is how cratedb-toolkit writes days, so it means what it means there."""
        if isinstance(data, dict) and re.fullmatch(r"\s*[0-9]+\s*", str(data.get("retention_period"))):
            strategy = str(data.get("strategy")).strip().lower()
            if strategy in strategies_of("cutoff_by"):
                return {"cutoff_by": CutoffBy.DAY, **data}
        return data

    @field_validator("*")
    @classmethod
    def _has_a_use(cls, value: Any, info: ValidationInfo) -> Any:
        """No attribute of another strategy; one that is stored already is passed over."""
        name, strategy = info.field_name or "", info.data.get("strategy")
        default = cls.model_fields[name].get_default(call_default_factory=True)
        if strategy is None or name == "where" or strategy in strategies_of(name) or value == default:
            return value
        if name in (info.context or ()):
            return default
        raise ValueError(f"{strategy} has no use for it; leave it out, or use {' or '.join(strategies_of(name))}")

    @field_validator("retention_period")
    @classmethod
    def _keeps_something(cls, value: Duration, info: ValidationInfo) -> Duration:
        """At least something is kept, unless nothing was when it was stored."""
        if value == Duration() and "retention_period" not in (info.context or ()):
            raise ValueError(f"{value} keeps nothing; the shortest is 1s")
        return value

    @model_validator(mode="after")
    def _attributes_fit_the_strategy(self) -> Policy:
        """Each strategy has what it needs."""
        moves = (self.reallocation_attribute_name, self.reallocation_attribute_value)
        if self.strategy is Strategy.REALLOCATE and not all(moves):
            raise ValueError("reallocate needs reallocation_attribute_name and reallocation_attribute_value")
        if self.strategy is Strategy.SNAPSHOT and not self.target_repository_name:
            raise ValueError("snapshot needs target_repository_name")
        if self.strategy is Strategy.DOWNSAMPLE:
            self._check_cascade()
        return self

    def _check_cascade(self) -> None:
        if not self.levels:
            raise ValueError("downsample needs levels, as 1m:7d,1h:90d,1d:forever")
        if self.where:
            raise ValueError("downsample is about whole tables; leave where out")
        finest = self.levels[0]
        if self.retention_period.approximate_seconds() > finest.retention_period.approximate_seconds():
            raise ValueError(
                f"raw rows are kept for {self.retention_period}, longer than the level {finest}; keep that as long"
            )
        try:
            check_zone(self.levels, self.zone)
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone, as an object."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def target(self) -> str:
        """The table or pattern in words: ``doc.metrics_* where tenant=acme``."""
        name = f"{self.table_schema}.{self.table_name}" if self.table_schema else self.table_name
        return f"{name} where {write_pairs(self.where)}" if self.where else name

    def limit(self, cutoff: dt.datetime) -> int | None:
        """
        The instant (ms, UTC) before which data is expired at an aware cutoff; None if nothing ever is.

        Fractions of a millisecond are dropped, so that in doubt a row stays.
        """
        now = start_of_day(cutoff, self.zone) if self.cutoff_by is CutoffBy.DAY else cutoff
        limit = self.retention_period.before(now, self.zone)
        return None if limit is None else to_ms(limit)

    def due(self, end: dt.datetime) -> dt.datetime | None:
        """The first cutoff at which data that ends at an aware instant is expired; None if it never is."""
        moment = self.retention_period.after(end, self.zone)
        if moment is None or self.cutoff_by is CutoffBy.INSTANT or moment == start_of_day(moment, self.zone):
            return moment
        try:
            return start_of_day(moment, self.zone, days=1)
        except OverflowError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """The attributes that say something, as plain values for JSON and YAML."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return {"strategy": str(self.strategy), **{k: v for k, v in data.items() if k != "strategy"}}


def make_policy(**attributes: Any) -> Policy:
    """
    Build a policy from plain values.

    :raises InvalidInput: naming the first attribute that is wrong, and why.
    """
    return read_policy(attributes, ())


def read_policy(attributes: Mapping[str, Any], stored: Collection[str]) -> Policy:
    """
    Build a policy, some of whose attributes are stored already.

    :param stored: Their names. They may be what was accepted before: a retention period of nothing stays, and what the
        strategy has no use for is passed over.
    :raises InvalidInput: naming the first attribute that is wrong, and why.
    """
    from pydantic import ValidationError

    try:
        return Policy.model_validate(dict(attributes), context=stored)
    except ValidationError as error:
        raise InvalidInput(*explain_validation(error)) from None


def change_policy(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    """
    A stored policy with other attributes. With another strategy it loses those that only the former one has a use for.

    :param changes: New values; None clears an attribute.
    :raises InvalidInput: naming the first attribute that is wrong, and why.
    """
    present = policy.model_dump(mode="json", exclude_defaults=True)
    merged = {key: value for key, value in {**present, **changes}.items() if value is not None}
    return read_policy(merged, present.keys() - changes.keys())


def explain_validation(error: Any) -> tuple[str, str, str]:
    """Say in thing, reason and remedy what a pydantic ``ValidationError`` complains about first."""
    return _explain(first_error(error))


def find_mistakes(attributes: Mapping[str, Any]) -> dict[str, str]:
    """
    What is wrong with the attributes of a policy, by their names; ``""``: with the policy as a whole.

    Parts of ``expected_max`` are named like ``expected_max.rows``.
    """
    from pydantic import ValidationError

    try:
        Policy(**attributes)
    except ValidationError as error:
        mistakes: dict[str, str] = {}
        for each in error.errors():
            thing, reason, remedy = _explain(each)
            mistakes.setdefault(thing.removeprefix("attribute ").removeprefix("policy"), f"{reason} {remedy}".strip())
        return mistakes
    return {}


def strategies_of(attribute: str) -> tuple[Strategy, ...]:
    """The strategies that have a use for an attribute: its description begins with them."""
    description = Policy.model_fields[attribute].description or ""
    named = tuple(strategy for strategy in Strategy if description.startswith(f"`{strategy}`:"))
    # A cascade is about whole tables, and its levels count from the same instant.
    if attribute in ("where", "cutoff_by"):
        return tuple(strategy for strategy in Strategy if strategy is not Strategy.DOWNSAMPLE)
    return named or tuple(Strategy)


def _explain(first: Any) -> tuple[str, str, str]:
    """One of pydantic's errors as thing, reason and remedy."""
    import difflib

    where = ".".join(str(part) for part in first["loc"])
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ExpectedMax.model_fields if where.startswith("expected_max.") else Policy.model_fields
        close = difflib.get_close_matches(where.rpartition(".")[2], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
        return f"attribute {where}", "unknown", remedy
    if first["type"] == "missing":
        return f"attribute {where}", "missing", ""
    reason = _IN_OUR_WORDS.get(first["type"], reason).replace("Input should be ", "must be ")
    return (f"attribute {where}" if where else "policy"), reason, ""


def first_error(error: Any) -> Any:
    """The error of a pydantic ``ValidationError`` that tells most: an unknown name explains a missing one."""
    errors = error.errors()
    return next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
