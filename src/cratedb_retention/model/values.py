"""
The values of attributes of policies: their types, how they are read, and how they are written as JSON.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.aggregates import Aggregate
from cratedb_retention.model.cascade import Levels, parse_levels
from cratedb_retention.model.catalog import TimeUnit
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.pairs import plain_text
from cratedb_retention.model.schedule import parse_jitter, parse_schedule
from cratedb_retention.model.strategies import Strategy, parse_strategy
from cratedb_retention.model.tags import NOT
from cratedb_retention.model.time import parse_time_zone


class Late(enum.StrEnum):
    """What becomes of rows that arrive after their window was sealed (law 4)."""

    KEEP = "keep"
    DROP = "drop"


class Deletions(enum.StrEnum):
    """What becomes of summaries when others than the toolkit deleted rows beneath them (law 4)."""

    BLOCK = "block"
    FOLLOW = "follow"


class Verify(enum.StrEnum):
    """How a snapshot is verified before its partition is dropped (law 2)."""

    RESTORE = "restore"  # It is read back, and compared with the partition.
    METADATA = "metadata"  # What the database says about it.


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


def _names(value: object) -> tuple[str, ...]:
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
    named = {str(metric): _names("" if names is None else names) for metric, names in value.items()}
    return {metric: tuple(_aggregate(name) for name in names) for metric, names in named.items()}


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
    WithJsonSchema({"type": ["string", "integer"]}),
]
ScheduleField = Annotated[
    str,
    BeforeValidator(_as_value_error(parse_schedule)),
    WithJsonSchema({"type": "string"}),
]
JitterField = Annotated[
    Duration,
    BeforeValidator(_as_value_error(parse_jitter)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]
LevelsField = Annotated[
    Levels,
    BeforeValidator(_as_value_error(parse_levels)),
    PlainSerializer(_as_text, return_type=str),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
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
