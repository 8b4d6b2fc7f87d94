"""
Retention policies: one rule each, as users write them and as the database stores them.

Unknown attributes, contradictions and invalid values are rejected here, with the same messages for the command line,
YAML files, the library and the pages. Stored policies may have attributes that an earlier version accepted, see
:func:`read_policy`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
import zoneinfo
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Grouping, Kind
from cratedb_retention.model.duration import FOREVER, Duration
from cratedb_retention.model.policies import values
from cratedb_retention.model.policies.attributes import (
    Attribute,
    Form,
    Group,
    Suggestions,
    attributes_of,
    columns,
    time_zones,
)
from cratedb_retention.model.policies.patterns import is_pattern, matcher
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.policies.values import CutoffBy, Name
from cratedb_retention.model.rollups.aggregates import GAUGE, Aggregate
from cratedb_retention.model.rollups.cascade import check_zone
from cratedb_retention.model.schedule import Misfire
from cratedb_retention.model.time import start_of_day, to_ms
from cratedb_retention.model.words import write_pairs, write_value

# Messages for pydantic's types of errors, or for their prefixes.
_MESSAGES = {
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "has invalid characters",
    "dict": "must be pairs like `key: value`",
    "model": "must be pairs like `key: value`",
    "tuple": "must be a list",
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
}
# A cascade applies to whole tables, and its levels count from the same instant.
_NO_CASCADE = tuple(strategy for strategy in Strategy if not strategy.traits.rolls_up)
_tables, _life, _schedule = (partial(Attribute, group=group) for group in (Group.TABLES, Group.LIFE, Group.SCHEDULE))
_move = partial(_life, strategies=(Strategy.REALLOCATE,))
_snapshot = partial(_life, strategies=(Strategy.SNAPSHOT,))
_recoverable = partial(_life, strategies=(Strategy.DELETE, Strategy.DOWNSAMPLE))
_archived = partial(_life, strategies=(Strategy.SNAPSHOT, Strategy.DELETE, Strategy.DOWNSAMPLE))
# Without `recoverable`, a policy that deletes has no use for these.
OF_ARCHIVES = frozenset({"target_repository_name", "verify"})
_LONGEST_RECOVERABLE = 100 * 365.25 * 86_400  # In seconds.
_budget = partial(_life, strategies=_archived.keywords["strategies"])
_rollup = partial(Attribute, strategies=(Strategy.DOWNSAMPLE,))
_compact = partial(_life, strategies=(Strategy.COMPACT,))
_NUMBERS, _TIMES = columns(lambda column: column.kind is Kind.NUMBER), columns(lambda column: column.kind is Kind.TIME)
_EXACT = columns(lambda column: column.grouping is not Grouping.NEVER)
_DIMENSIONS = columns(lambda column: column.kind is not Kind.TIME and column.grouping is not Grouping.NEVER)


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    for name, attribute in attributes_of(model).items():
        schema["properties"][name]["description"] = attribute.description
        if attribute.examples and attribute.form is Form.TEXT:
            schema["properties"][name]["examples"] = list(attribute.examples)


def _names(found: Suggestions, given: Mapping[str, Any]) -> list[str]:
    inside = matcher(given["table_schema"] or found.default_schema)
    return [table.name for table in found.tables if inside(table.schema)]


def _contradiction(reason: str, *attributes: str) -> PydanticCustomError:
    return PydanticCustomError("policy", "{reason}", {"reason": reason, "attributes": attributes})


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_describe)


class ExpectedMax(_Model):
    """Limits of what one run may do under a policy on one table; a run beyond them does nothing there."""

    partitions: Annotated[
        int | None,
        Field(ge=0),
        Attribute(text="Maximum number of partitions per table and run.", label="Maximum partitions"),
    ] = None
    rows: Annotated[
        int | None, Field(ge=0), Attribute(text="Maximum number of rows per table and run.", label="Maximum rows")
    ] = None
    percent: Annotated[
        float | None,
        Field(ge=0, le=100),
        Attribute(text="Maximum percentage of a table's rows per run.", label="Maximum percent of the rows"),
    ] = None


# Options, form, columns and documentation are derived from the annotation of each field.
class Policy(_Model):
    """
    A retention policy.

    Errors are pydantic's ``ValidationError`` (with our messages); :func:`make_policy` turns them into one line.
    """

    strategy: Annotated[values.StrategyField, _life(text=f"What happens to expired data: {', '.join(Strategy)}.")]
    table_schema: Annotated[
        Name | None,
        _tables(
            text=(
                "The table's schema; `*` and `?` are wildcards. Empty: the database's own default, `doc` on CrateDB "
                "and `main` on DuckDB."
            ),
            label="Schema",
            offer=lambda found, _: sorted({table.schema for table in found.tables}),
        ),
    ] = None
    table_name: Annotated[
        Name,
        _tables(text="The table's name; `*` and `?` are wildcards, as in `metrics_*`.", label="Table", offer=_names),
    ]
    retention_period: Annotated[
        values.DurationField,
        _life(
            text=(
                "How long data is kept unchanged: `90d`, `36h`, `3 months`, `P1Y`, `forever`; a plain number means "
                "days, and implies `cutoff_by: day`."
            ),
            examples=("7d", "30d", "90d", "6 months", "P1Y", "forever", 30),
        ),
    ]
    max_size: Annotated[
        values.SizeField | None,
        _budget(
            text=(
                "The size of a table above which data expires before its retention period is over, the oldest "
                "partitions first: `500GB`, `1.5TiB`. Replicas and archives do not count; of a cascade, only the raw "
                "rows. Empty: no limit."
            ),
            label="Maximum size",
            metavar="SIZE",
            examples=("500GB", "2TB", "1.5TiB"),
        ),
    ] = None
    min_retention: Annotated[
        values.DurationField | None,
        _budget(
            text="How long data is kept even if there is more than `max_size`; counted like the retention period.",
            label="Kept at least",
            beside={"max_size": ""},
            examples=("1d", "7d", "30d"),
        ),
    ] = None
    max_size_per: Annotated[
        values.Per,
        _budget(
            text="Whether `max_size` is the limit of each table (`table`), or of all tables together (`policy`).",
            label="Maximum size of",
            beside={"max_size": ""},
        ),
    ] = values.Per.TABLE
    cutoff_by: Annotated[
        CutoffBy,
        Attribute(
            text=(
                "Whether the retention period counts back from the cutoff itself (`instant`) or from the start of its "
                "day (`day`), as in cratedb-toolkit. `day` keeps hourly partitions, and rows, for up to one day "
                "longer."
            ),
            label="Counts back from",
            strategies=_NO_CASCADE,
        ),
    ] = CutoffBy.INSTANT
    time_zone: Annotated[
        values.ZoneField,
        _schedule(
            text="The time zone of the schedule, and of days, months and years of the retention period.",
            metavar="ZONE",
            offer=lambda *_: time_zones(),
        ),
    ] = "UTC"
    schedule: Annotated[
        values.ScheduleField | None,
        _schedule(
            text=(
                "When the policy runs automatically: a cron expression like `0 3 * * *`, or `@hourly`, `@daily`, "
                "`@weekly`, `@monthly`, `@yearly`. Empty: only manually."
            ),
            metavar="CRON",
            examples=("@hourly", "@daily", "@weekly", "@monthly", "0 3 * * *"),
        ),
    ] = None
    misfire: Annotated[
        Misfire,
        _schedule(
            text="Whether missed runs are replaced by one run (`catch-up`) or skipped until the next slot (`skip`).",
            label="After missed runs",
            beside={"schedule": ""},
        ),
    ] = Misfire.CATCH_UP
    misfire_grace: Annotated[
        values.DurationField,
        _schedule(
            text="With `skip`, how late a missed run may still start.",
            label="Maximum delay",
            beside={"schedule": "", "misfire": Misfire.SKIP},
            examples=("1h",),
        ),
    ] = Duration(seconds=3600)
    jitter: Annotated[
        values.JitterField | None,
        _schedule(
            text="Maximum random delay before each run, like `10m`, to spread load.",
            label="Random delay up to",
            beside={"schedule": ""},
            examples=("10m",),
        ),
    ] = None
    partition_column: Annotated[
        Name | None,
        Attribute(text="The partition column with the time. Empty: determined from the table.", offer=columns()),
    ] = None
    # A time with a unit is a number.
    time_column: Annotated[
        Name | None,
        Attribute(
            text="The column with the time of a row. Empty: determined from the partition column or the table.",
            offer=lambda found, given: (_NUMBERS if given["time_unit"] else _TIMES)(found, given),
        ),
    ] = None
    time_unit: Annotated[
        values.TimeUnitField | None,
        Attribute(
            text=(
                "The unit of a time column that is a whole number: seconds (`s`) or milliseconds (`ms`) since 1970. "
                "Empty: the time column is a timestamp, or the unit follows from the partition column."
            )
        ),
    ] = None
    where: Annotated[
        dict[str, values.ValueField],
        _tables(
            text=(
                "Only data with these values, such as `tenant=acme`. NULL is SQL's NULL, 'NULL' the text. Values have "
                "the type of their column."
            ),
            label="Only rows with",
            strategies=_NO_CASCADE,
            metavar="COLUMN=VALUE",
            examples=("tenant=acme",),
            offer=_EXACT,
        ),
    ] = Field(default_factory=dict)
    tags: Annotated[
        values.TagsField,
        _schedule(
            text="Labels that group policies. Commands and access tokens choose policies by tags.",
            metavar="A,B",
            may_be_empty=True,
            offer=lambda found, given: found.tags,
        ),
    ] = ()
    reallocation_attribute_name: Annotated[
        Name | None,
        Field(pattern=r"^[A-Za-z0-9_.-]+$"),
        _move(
            text="The name of a custom attribute of nodes.",
            label="Node attribute",
            offer=lambda found, given: found.attributes,
        ),
    ] = None
    reallocation_attribute_value: Annotated[
        Name | None,
        _move(
            text="The value of that attribute on the target nodes.",
            label="Value of the attribute",
            offer=lambda found, given: found.attributes.get(given["reallocation_attribute_name"], ()),
        ),
    ] = None
    recoverable: Annotated[
        values.DurationField | None,
        _recoverable(
            text=(
                "How long deleted partitions can be brought back with `undo`: `7d`. They are archived in "
                "`target_repository_name` before they are dropped; runs delete these archives after that time. Of a "
                "cascade, the raw rows. Empty: they cannot be brought back."
            ),
            label="Recoverable for",
            examples=("7d", "30d"),
        ),
    ] = None
    target_repository_name: Annotated[
        Name | None,
        _archived(
            text=(
                "The repository of the archive: on CrateDB a snapshot repository, on DuckDB a directory; or an address "
                "for Parquet files, such as `s3://bucket/archive` or `file:///srv/archive`."
            ),
            label="Repository",
            metavar="REPOSITORY",
            offer=lambda found, given: found.repositories,
        ),
    ] = None
    archive_period: Annotated[
        values.DurationField,
        _snapshot(
            text=(
                "How long archived data is kept, counted like the retention period, and at least as long: `7y`, "
                "`forever`. Runs delete older archives for good."
            ),
            label="Archives are kept for",
            examples=("forever", "1y", "7y", "10y"),
        ),
    ] = FOREVER
    verify: Annotated[
        values.Verify,
        _archived(
            text=(
                "How a snapshot is verified on CrateDB before its partition is dropped. `restore`: it is restored "
                "into a copy, and compared with the partition; `metadata`: CrateDB reports it as complete. Files are "
                "always read back."
            ),
            label="Verification",
            beside={"target_repository_name": ""},
        ),
    ] = values.Verify.RESTORE
    compress: Annotated[
        bool,
        _compact(
            text=(
                "Compress stored values better (`best_compression`), by merging. CrateDB must close a partition to "
                "change its codec: for a second, or until its shards are open again, queries do not see its rows, and "
                "a row that is inserted is lost without an error."
            ),
            label="Compress better",
        ),
    ] = False
    merge: Annotated[
        bool,
        _compact(text="Merge the segments of each shard into one, which also removes deleted rows.", label="Merge"),
    ] = True
    read_only: Annotated[
        bool,
        _compact(
            text=(
                "Reject writes from then on. Otherwise rows can still arrive, and the next run merges them. CrateDB "
                "rejects single rows with an error, and skips those of a bulk operation or an `INSERT` from a `SELECT`."
            ),
            label="Make read-only",
        ),
    ] = False
    number_of_replicas: Annotated[
        values.ReplicasField | None,
        _compact(
            text=(
                "The number of replicas, such as `0`, `1` or `0-1`. Empty: unchanged. Of several policies, the one "
                "with the longest retention period decides. Without a replica, a lost node loses data."
            ),
            label="Replicas",
            metavar="N",
            examples=("0", "1", "0-1"),
        ),
    ] = None
    levels: Annotated[
        values.LevelsField,
        _rollup(
            text=(
                "The rollups, finest first, each with its interval and retention period: `1m:7d,1h:90d,1d:forever`. "
                "`retention_period` applies to the raw rows."
            ),
            group=Group.LIFE,
            metavar="INTERVAL:DURATION,...",
            examples=("1m:7d,1h:90d,1d:forever", "1h:60d,1d:forever"),
        ),
    ] = ()
    dimensions: Annotated[
        values.NamesField,
        _rollup(
            text=(
                "The columns that distinguish series; an object stands for all of its columns. Empty: text, boolean "
                "and key columns, and other types that rows can be grouped by exactly, such as UUID, IP and ENUM; in "
                "tables of Telegraf and Prometheus, the columns in `tags` or `labels`, and their hash, but none in "
                "`fields`."
            ),
            offer=_DIMENSIONS,
        ),
    ] = ()
    metrics: Annotated[
        values.NamesField, _rollup(text="The columns to aggregate. Empty: all other numeric columns.", offer=_NUMBERS)
    ] = ()
    exclude: Annotated[
        values.NamesField,
        _rollup(
            text="Columns that are neither dimensions nor metrics; an object stands for all of its columns.",
            offer=columns(),
        ),
    ] = ()
    aggregates: Annotated[
        values.AggregatesField,
        _rollup(
            text=f"The aggregates of a metric (`*`: of all): {', '.join(Aggregate)}. Empty: {', '.join(GAUGE)}.",
            metavar="METRIC=A,B",
            examples=("temperature=min,max",),
            offer=_NUMBERS,
        ),
    ] = Field(default_factory=dict)
    counters: Annotated[
        values.NamesField,
        _rollup(
            text=(
                "Monotonically increasing metrics (counters) that may reset; rollups store their `increase`. Patterns "
                "are allowed, such as `*_total`; `labels___name__=*_total` means all metrics of series whose "
                "dimension matches the pattern."
            ),
            metavar="METRIC,...",
            offer=_NUMBERS,
        ),
    ] = ()
    late: Annotated[
        values.Late,
        _rollup(text="Whether rows that arrive after their window was sealed are kept or dropped.", label="Late rows"),
    ] = values.Late.KEEP
    deletions: Annotated[
        values.Deletions,
        _rollup(
            text=(
                "What happens if rows that were rolled up are deleted by other means: rollups are unchanged, and "
                "computing them again is blocked (`block`), or they are computed from the remaining rows (`follow`)."
            ),
            label="Rows deleted by other means",
        ),
    ] = values.Deletions.BLOCK
    undated: Annotated[
        values.Undated,
        Attribute(
            text=(
                "Whether partitions whose time is unknown, such as that of NULL, need attention in each run "
                "(`block`), or are only listed (`keep`). They stay in any case."
            ),
            label="Partitions without a time",
        ),
    ] = values.Undated.BLOCK
    freeze: Annotated[
        values.Freeze,
        Attribute(
            text=(
                "Whether partitions whose age only their rows tell are made read-only for a moment before they are "
                "dropped (`allow`), or their expired rows are deleted one by one (`never`), which takes longer and "
                "leaves empty partitions."
            ),
            label="Freeze partitions",
            strategies=(Strategy.DELETE,),
        ),
    ] = values.Freeze.ALLOW
    expected_max: Annotated[
        ExpectedMax | None, Attribute(text="Limits per table and run.", metavar="LIMIT=N", examples=("rows=1000",))
    ] = None
    enabled: Annotated[bool, _schedule(text="Whether the policy is applied.", flag="--enabled/--disabled")] = True
    name: Annotated[
        values.Title | None,
        _schedule(
            text=(
                "A name for users, shown in lists and on pages. Empty: it is made from the content of the policy, such "
                "as `orders, tenant acme: archive after 2y`."
            ),
        ),
    ] = None
    description: Annotated[str | None, _schedule(text="A description for users.", may_be_empty=True)] = None
    id: Annotated[Name | None, Attribute(text="The identifier; generated if omitted.", label="Identifier")] = None

    @model_validator(mode="before")
    @classmethod
    def _plain_numbers_are_whole_days(cls, data: Any) -> Any:
        if not isinstance(data, dict) or str(data.get("strategy")).strip().lower() not in _NO_CASCADE:
            return data
        days = re.fullmatch(r"\s*[0-9]+\s*", str(data.get("retention_period")))
        return {"cutoff_by": CutoffBy.DAY, **data} if days else data

    @field_validator("*")
    @classmethod
    def _has_a_use(cls, value: Any, info: ValidationInfo) -> Any:
        attribute, strategy = ATTRIBUTES[info.field_name or ""], info.data.get("strategy")
        archives = attribute.name not in OF_ARCHIVES or info.data.get("recoverable") is not None
        users = attribute.strategies if archives else (Strategy.SNAPSHOT,)
        useful = strategy is None or strategy in users or value == attribute.default
        # Without its filter, a policy would apply to more data; it is reported as invalid instead.
        if useful or attribute.name == "where":
            return value
        if attribute.name in (info.context or ()):
            return cls.model_fields[attribute.name].get_default(call_default_factory=True)
        more = ", or set recoverable" if strategy in attribute.strategies else ""
        raise ValueError(f"does not apply to {strategy}; remove it, or use {' or '.join(users)}{more}")

    @field_validator("recoverable")
    @classmethod
    def _ends(cls, value: Duration | None) -> Duration | None:
        if value == Duration():
            raise ValueError(f"{value} keeps nothing; the shortest is 1s")
        if value is not None and value.approximate_seconds() > _LONGEST_RECOVERABLE:
            raise ValueError("longer than 100 years; use the strategy snapshot, whose archives need not end")
        return value

    @field_validator("retention_period", "min_retention")
    @classmethod
    def _keeps_something(cls, value: Duration | None, info: ValidationInfo) -> Duration | None:
        if value == Duration() and info.field_name not in (info.context or ()):
            raise ValueError(f"{value} keeps nothing; the shortest is 1s")
        return value

    @model_validator(mode="after")
    def _fits_its_strategy(self) -> Policy:
        traits, kept = self.strategy.traits, self.retention_period
        if not all(getattr(self, name) for name in traits.needs):
            example = f", as {traits.example}" if traits.example else ""
            raise _contradiction(f"{self.strategy} needs {' and '.join(traits.needs)}{example}", *traits.needs)
        if self.archive_period.approximate_seconds() < kept.approximate_seconds():
            reason = (
                f"archives are kept for {self.archive_period}, shorter than the data itself ({kept}); keep them longer"
            )
            raise _contradiction(reason, "archive_period")
        if traits.compacts:
            if self.compress and not self.merge:
                raise _contradiction("compress needs merge: only merged segments are compressed", "compress", "merge")
            if not self.compaction:
                reason = "compact needs one of compress, merge, read_only and number_of_replicas"
                raise _contradiction(reason, "merge")
        if traits.rolls_up:
            if self.where:
                raise _contradiction("downsample applies to whole tables; remove where", "where")
            finest = self.levels[0]
            if kept.approximate_seconds() > finest.retention_period.approximate_seconds():
                reason = f"raw rows are kept for {kept}, longer than the level {finest}; keep that level as long"
                raise _contradiction(reason, "levels")
            try:
                check_zone(self.levels, self.zone)
            except InvalidInput as error:
                raise _contradiction(str(error), "levels", "time_zone") from None
        return self

    @model_validator(mode="after")
    def _fits_its_budget(self) -> Policy:
        kept, floor = self.retention_period, self.min_retention
        if self.max_size is None:
            for name in ("min_retention", "max_size_per"):
                if getattr(self, name) != ATTRIBUTES[name].default:
                    raise _contradiction(f"{name} has no use without max_size; set max_size, or remove it", name)
        elif floor is None:
            reason = "max_size needs min_retention: how long data is kept, however much there is; for example 7d"
            raise _contradiction(reason, "min_retention")
        elif floor.approximate_seconds() >= kept.approximate_seconds():
            reason = (
                f"min_retention ({floor}) must be shorter than retention_period ({kept}), or max_size has no effect"
            )
            raise _contradiction(reason, "min_retention")
        return self

    @model_validator(mode="after")
    def _can_archive(self) -> Policy:
        if self.recoverable is not None:
            if not self.target_repository_name:
                reason = "recoverable needs target_repository_name: the repository for what is deleted"
                raise _contradiction(reason, "target_repository_name")
            if self.freeze is values.Freeze.NEVER:
                reason = "recoverable needs freeze=allow: partitions are frozen while they are archived"
                raise _contradiction(reason, "freeze", "recoverable")
        return self

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def table(self) -> str:
        """The table or pattern with its schema, if that is given."""
        return f"{self.table_schema}.{self.table_name}" if self.table_schema else self.table_name

    @property
    def target(self) -> str:
        """The same with the filter: ``doc.metrics_* where tenant=acme``."""
        return f"{self.table} where {write_pairs(self.where)}" if self.where else self.table

    @property
    def archives(self) -> bool:
        """Whether partitions are archived before they are dropped."""
        return self.strategy.traits.archives or self.recoverable is not None

    @property
    def compaction(self) -> str:
        """How it compacts: ``compress, merge``."""
        return values.describe_compaction(self.compress, self.merge, self.read_only, self.number_of_replicas)

    @property
    def destination(self) -> str | None:
        """Where expired data goes, or what becomes of it: nodes, levels, how it is compacted, a repository."""
        traits = self.strategy.traits
        if traits.moves:
            return f"{self.reallocation_attribute_name}={self.reallocation_attribute_value}"
        levels = ", ".join(map(str, self.levels))
        return self.compaction if traits.compacts else levels or self.target_repository_name

    def mentions(self, text: str) -> bool:
        """Whether all words of a text occur in its table, filter, tags, description, periods or identifier."""
        if not text:
            return True
        texts = (self.target, self.strategy, str(self.retention_period), ",".join(map(str, self.levels)), self.schedule)
        more = (self.title, self.target_repository_name, self.description, self.id, *self.tags)
        return mentions((*texts, *more), text)

    @property
    def title(self) -> str:
        """Its name, or what it does to which data: ``orders, tenant acme: archive after 2y``."""
        return self.name or f"{', '.join([self.table, *self._values])}: {self._effect}"

    @property
    def title_in_table(self) -> str:
        """The same where the table is known: ``archive after 2y, tenant acme``."""
        return self.name or ", ".join([self._effect, *self._values])

    @property
    def _values(self) -> list[str]:
        return [f"{column} {write_value(value)}" for column, value in self.where.items()]

    @property
    def _effect(self) -> str:
        if self.strategy.traits.rolls_up:
            levels = ", ".join(str(level.interval) for level in self.levels)
            return f"downsample to {levels}, raw rows {'' if self.keeps_all else 'for '}{self.kept}"
        return "keep forever" if self.keeps_all else f"{self.strategy.traits.verb} {self.when}"

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever expires, however old it is, and however much there is."""
        return self.retention_period.forever and not self.budget

    @property
    def rule(self) -> str:
        """A summary: ``delete doc.metrics_* after 90d or above 500GB (at least 7d), recoverable for 7d``."""
        more = f", {self.recovery}" if self.recovery else ""
        return f"{self.strategy} {self.target} {self.when}{more}"

    @property
    def when(self) -> str:
        """When data expires: ``after 90d``, ``after 90d or above 500GB (at least 7d)``."""
        after = "" if self.retention_period.forever and self.budget else f"after {self.retention_period}"
        return " or ".join(filter(None, [after, self.budget and f"above {self.budget}"]))

    @property
    def kept(self) -> str:
        """How long data is kept: ``90d``, ``90d or 500GB (at least 7d)``."""
        age = "" if self.retention_period.forever and self.budget else str(self.retention_period)
        return " or ".join(filter(None, [age, self.budget]))

    @property
    def recovery(self) -> str | None:
        """``recoverable for 7d``; None if what it deletes cannot be brought back."""
        return None if self.recoverable is None else f"recoverable for {self.recoverable}"

    @property
    def ends(self) -> str:
        """The consequences of deleting or disabling it, in sentences."""
        return self.strategy.traits.ends.format(self.target)

    @property
    def budget(self) -> str:
        """Its maximum size: ``500GB (at least 7d)``; empty if it has none."""
        if self.max_size is None:
            return ""
        per = " per table" if self.max_size_per is values.Per.TABLE and is_pattern(self.table) else ""
        return f"{self.max_size}{per} (at least {self.min_retention})"

    @property
    def shares_budget(self) -> bool:
        """Whether its maximum size is for all of its tables together."""
        return self.max_size is not None and self.max_size_per is values.Per.POLICY

    @property
    def over_budget(self) -> Policy:
        """The policy as it applies to what there is beyond its maximum size."""
        return self.model_copy(update={"retention_period": self.min_retention or self.retention_period})

    def for_level(self, retention_period: Duration) -> Policy:
        """The policy as it applies to a level: what concerns only the raw rows does not."""
        only_raw = {"recoverable": None, "max_size": None, "min_retention": None, "max_size_per": values.Per.TABLE}
        return self.model_copy(update={"retention_period": retention_period, **only_raw})

    def limit(self, cutoff: dt.datetime) -> int | None:
        """
        The expiry limit (ms, UTC) at an aware cutoff; None if nothing ever expires. Fractions of a millisecond are
        dropped, so that in doubt a row stays.
        """
        return self._limit(self.retention_period, cutoff)

    def archive_limit(self, cutoff: dt.datetime) -> int | None:
        """Archived data that ends at this instant (ms, UTC) or before is deleted for good; None: nothing is."""
        return self._limit(self.archive_period, cutoff)

    def _limit(self, period: Duration, cutoff: dt.datetime) -> int | None:
        now = start_of_day(cutoff, self.zone) if self.cutoff_by is CutoffBy.DAY else cutoff
        limit = period.before(now, self.zone)
        return None if limit is None else to_ms(limit)

    def acts(self, cutoff: dt.datetime) -> bool:
        """Whether a run does anything at a cutoff, if only computing rollups."""
        return self.strategy.traits.rolls_up or self.max_size is not None or self.limit(cutoff) is not None

    def due(self, end: dt.datetime) -> dt.datetime | None:
        """The first cutoff at which data that ends at an aware instant is expired; None if it never expires."""
        return self._due(self.retention_period, end)

    def archive_due(self, end: dt.datetime) -> dt.datetime | None:
        """The first cutoff at which archived data that ends at an aware instant is deleted; None: never."""
        return self._due(self.archive_period, end)

    def _due(self, period: Duration, end: dt.datetime) -> dt.datetime | None:
        moment = period.after(end, self.zone)
        if moment is None or self.cutoff_by is CutoffBy.INSTANT or moment == start_of_day(moment, self.zone):
            return moment
        try:
            return start_of_day(moment, self.zone, days=1)
        except OverflowError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """The attributes that differ from their default, as plain values for JSON and YAML."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return {"strategy": str(self.strategy), **{k: v for k, v in data.items() if k != "strategy"}}


ATTRIBUTES = attributes_of(Policy)


def make_policy(**attributes: Any) -> Policy:
    """Build a policy from plain values; raises ``InvalidInput`` with the first invalid attribute, and the reason."""
    return read_policy(attributes)


def read_policy(attributes: Mapping[str, Any], stored: Collection[str] = ()) -> Policy:
    """
    Build a policy from plain values, some of which may be stored already; raises InvalidInput as :func:`make_policy`.

    :param stored: Names of stored attributes, which may have values that earlier versions accepted: a retention period
        of nothing stays, and attributes of other strategies are ignored.
    """
    try:
        return Policy.model_validate(dict(attributes), context=stored)
    except ValidationError as error:
        raise InvalidInput(*explain(first_error(error))) from None


def change_policy(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    """
    A stored policy with changes; None unsets an attribute. With another strategy, it loses the attributes that apply
    only to the former one. Raises InvalidInput as :func:`make_policy`.
    """
    present = policy.model_dump(mode="json", exclude_defaults=True)
    merged = {key: value for key, value in {**present, **changes}.items() if value is not None}
    return read_policy(merged, present.keys() - changes.keys())


def mentions(texts: Iterable[str | None], text: str) -> bool:
    """Whether all words of a text occur in some texts, ignoring case. An empty text occurs everywhere."""
    everything = "\n".join(filter(None, texts)).lower()
    return all(word in everything for word in text.lower().split())


def explain(first: Any) -> tuple[str, str, str]:
    """Thing, reason and remedy of one of pydantic's errors."""
    where = ".".join(str(part) for part in first["loc"])
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ATTRIBUTES[first["loc"][0]].parts if len(first["loc"]) > 1 else ATTRIBUTES
        given = where.rpartition(".")[2]
        begin_so = [name for name in known if name.startswith(given)]
        close = difflib.get_close_matches(given, begin_so or known, n=1, cutoff=0.0 if begin_so else 0.6)
        remedy = f"did you mean {close[0]}?" if close else f"available: {', '.join(known)}"
        return f"attribute {where}", "unknown", remedy
    if first["type"] == "missing":
        return f"attribute {where}", "missing", ""
    kind = first["type"] if first["type"] in _MESSAGES else first["type"].partition("_")[0]
    reason = _MESSAGES.get(kind, reason).replace("Input should be ", "must be ")
    return (f"attribute {where}" if where else "policy"), reason, ""


def first_error(error: Any) -> Any:
    """The most helpful error of a pydantic ``ValidationError``: an unknown name explains a missing one."""
    errors = error.errors()
    return next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])


@dataclass(frozen=True, slots=True)
class Difference:
    """An attribute that differs between states."""

    attribute: str
    values: tuple[Any, ...]  # Its plain value in each state; None: not set, which means the default.

    @property
    def words(self) -> tuple[str, ...]:
        """The values as text: a list without brackets, pairs as ``key=value``."""
        return tuple("not set" if value is None else _words(value) for value in self.values)


def differences(*states: Mapping[str, Any] | None) -> list[Difference]:
    """
    The differences between states of a policy from ``Policy.to_dict``, oldest first. An attribute that is None counts
    as missing, a state that is None as empty.
    """
    names = dict.fromkeys(name for state in states for name in state or ())
    found = [Difference(name, tuple((state or {}).get(name) for state in states)) for name in names]
    return [each for each in found if any(value != each.values[0] for value in each.values)]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_inner(each)}" for key, each in value.items())
    return ", ".join(map(_inner, value)) if isinstance(value, list | tuple) else _inner(value)


def _inner(value: object) -> str:
    if isinstance(value, str):
        return value
    return "NULL" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def changes_of(before: Policy, after: Policy) -> dict[str, Any]:
    """The attributes that differ, except the identifier, as plain values for :func:`change_policy`."""
    found = differences(before.to_dict(), after.to_dict())
    return {each.attribute: each.values[1] for each in found if each.attribute != "id"}
