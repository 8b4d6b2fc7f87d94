"""Types of the attributes of policies: how values are parsed, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import TimeUnit
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.policies.strategies import Strategy, parse_strategy
from cratedb_retention.model.policies.tags import NOT
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import Levels, parse_levels
from cratedb_retention.model.schedule import parse_jitter, parse_schedule
from cratedb_retention.model.size import Size, parse_size
from cratedb_retention.model.time import parse_time_zone
from cratedb_retention.model.words import Choice, plain_text


class Late(Choice):
    """What happens to rows that arrive after their window was sealed (law 4)."""

    KEEP = "keep", "Keep them"
    DROP = "drop", "Drop them"


class Deletions(Choice):
    """What happens to rollups whose source rows were deleted by other means than the toolkit (law 4)."""

    BLOCK = "block", "Keep rollups unchanged"
    FOLLOW = "follow", "Compute rollups from the remaining rows"


class Verify(Choice):
    """How a snapshot is verified before its partition is dropped (law 2)."""

    RESTORE = "restore", "Restore the snapshot, and compare it"
    METADATA = "metadata", "Rely on metadata: the state that CrateDB reports"


class Undated(Choice):
    """How partitions whose time is unknown, such as that of NULL, are reported. They stay in any case."""

    BLOCK = "block", "Need attention"
    KEEP = "keep", "Are only listed"


class Per(Choice):
    """What a maximum size is the limit of."""

    TABLE = "table", "Each table"
    POLICY = "policy", "All tables of the policy together"


class Freeze(Choice):
    """Whether a partition may be frozen for a moment before it is dropped."""

    ALLOW = "allow", "For a moment, before they are dropped"
    NEVER = "never", "Never: delete row by row"


def describe_compaction(compress: bool, merge: bool, read_only: bool, replicas: str | None) -> str:
    """What is done to compact partitions: ``compress, merge, read-only, 0 replicas``."""
    wanted = {"compress": compress, "merge": merge, "read-only": read_only}
    number = [] if replicas is None else [f"{replicas} {'replica' if replicas == '1' else 'replicas'}"]
    return ", ".join([*(word for word, is_wanted in wanted.items() if is_wanted), *number])


class CutoffBy(Choice):
    """The instant from which a retention period counts back: the cutoff itself, or the start of its day."""

    INSTANT = "instant", "The cutoff itself"
    DAY = "day", "The start of its day, as in cratedb-toolkit"


def _read_by(parse: Callable[[object], object]) -> BeforeValidator:
    """Make a validator whose errors pydantic collects with the name of the field."""

    def validate(value: object) -> object:
        try:
            return parse(value)
        except InvalidInput as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(validate)


def _time_unit(value: object) -> TimeUnit:
    try:
        return TimeUnit(str(value).strip().lower())
    except ValueError:
        remedy = "use s or ms; for microseconds or nanoseconds, generate a timestamp column, and set time_column to it"
        raise InvalidInput(f"time unit {value!r}", "not supported", remedy) from None


def _tags(value: object) -> object:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple | set | frozenset):
        return value
    tags = sorted({str(tag).strip() for tag in value})
    texts = all(isinstance(tag, str | int) and not isinstance(tag, bool) for tag in value)
    if not texts or any(not tag or "," in tag for tag in tags):
        raise ValueError("a tag must be text without commas, and not empty")
    if any(tag.startswith(NOT) for tag in tags):
        raise ValueError(f"a tag must not begin with {NOT}, which excludes tags in filters")
    return tuple(tags)


def _as_written(value: object) -> str | None:
    if not isinstance(value, str | int | float | None):
        raise ValueError("must be text, a number, true, false or null")
    return None if value is None else plain_text(value)


def _names(value: object) -> tuple[str, ...]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else () if value is None else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be a list of columns")
    return tuple(dict.fromkeys(names))


def _aggregates(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("must be pairs like `metric: [min, max]`")
    named = {str(metric): _names("" if names is None else names) for metric, names in value.items()}
    for name in (name for names in named.values() for name in names):
        if name.strip().lower() not in list(Aggregate):
            raise ValueError(f"unknown aggregate {name!r}; available: {', '.join(Aggregate)}")
    return {metric: tuple(Aggregate(name.strip().lower()) for name in names) for metric, names in named.items()}


def _one_of(*values: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(map(str, values))})


_AS_TEXT = PlainSerializer(str, return_type=str)
StrategyField = Annotated[Strategy, _read_by(parse_strategy), _one_of(*Strategy)]
DurationField = Annotated[Duration, _read_by(parse_duration), _AS_TEXT, WithJsonSchema({"type": ["string", "integer"]})]
SizeField = Annotated[Size, _read_by(parse_size), _AS_TEXT, WithJsonSchema({"type": ["string", "integer"]})]
ScheduleField = Annotated[str, _read_by(parse_schedule), WithJsonSchema({"type": "string"})]
JitterField = Annotated[Duration, _read_by(parse_jitter), _AS_TEXT, WithJsonSchema({"type": "string"})]
LevelsField = Annotated[
    Levels,
    _read_by(parse_levels),
    PlainSerializer(lambda levels: ",".join(map(str, levels)), return_type=str),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
TimeUnitField = Annotated[TimeUnit, _read_by(_time_unit), _one_of(*TimeUnit)]
NamesField = Annotated[tuple[str, ...], BeforeValidator(_names)]
AggregatesField = Annotated[
    dict[str, tuple[Aggregate, ...]],
    BeforeValidator(_aggregates),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "array", "items": {"enum": [*Aggregate]}}}),
]
ValueField = Annotated[
    str | None, BeforeValidator(_as_written), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
# As CrateDB writes it: a number, or a range that it chooses from.
ReplicasField = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    Field(pattern=r"^[0-9]{1,3}(-([0-9]{1,3}|all))?$"),
]
TagsField = Annotated[tuple[str, ...], BeforeValidator(_tags)]
ZoneField = Annotated[str, _read_by(lambda value: parse_time_zone(str(value)).key)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
# One line with something to read in it.
Title = Annotated[
    str,
    Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$"),
    BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value),
]
