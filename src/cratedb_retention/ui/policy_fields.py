"""
Which fields the form of a policy has, in which groups, and what they are called. What they are for is said by the
model.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from cratedb_retention.execution.suggesting import Suggestions
from cratedb_retention.model.catalog import Column, Grouping, Kind, TimeUnit
from cratedb_retention.model.patterns import matcher
from cratedb_retention.model.policy import CutoffBy, Deletions, Freeze, Late, Strategy, Undated, Verify
from cratedb_retention.model.policyform import LIMITS, LISTS, PAIRS, Values, fields_for, list_text, read_list
from cratedb_retention.model.schedule import Misfire

# A browser need not be sent more of them for one field.
MOST = 100
LABELS = {
    "strategy": "Strategy",
    "table_schema": "Schema",
    "table_name": "Table",
    "where": "Only rows with",
    "expected_max.partitions": "At most so many partitions",
    "expected_max.rows": "At most so many rows",
    "expected_max.percent": "At most so many percent of the rows",
    "reallocation_attribute_name": "Node attribute",
    "reallocation_attribute_value": "Value of the attribute",
    "target_repository_name": "Repository",
    "verify": "Verification",
    "cutoff_by": "Counted back",
    "misfire": "What was missed",
    "jitter": "Begin later by up to",
    "misfire_grace": "How late at most",
    "late": "Late rows",
    "deletions": "Rows that others deleted",
    "undated": "Partitions without a time",
    "freeze": "Partitions that refuse writes",
    "id": "Identifier",
}
CHOICES: dict[str, dict[str, str]] = {
    "strategy": {
        Strategy.DELETE: "Delete it",
        Strategy.REALLOCATE: "Reallocate: move it to other nodes",
        Strategy.SNAPSHOT: "Snapshot: archive it, then delete it",
        Strategy.DOWNSAMPLE: "Downsample: keep it at a coarser resolution",
    },
    "cutoff_by": {CutoffBy.INSTANT: "To the instant", CutoffBy.DAY: "By whole days, as in cratedb-toolkit"},
    "misfire": {Misfire.CATCH_UP: "Catch up by one run", Misfire.SKIP: "Skip it"},
    "verify": {
        Verify.RESTORE: "Restore the snapshot, and compare it",
        Verify.METADATA: "Metadata only: trust what CrateDB says",
    },
    "late": {Late.KEEP: "Keep them", Late.DROP: "Drop them"},
    "undated": {Undated.BLOCK: "Need attention", Undated.KEEP: "Are listed only"},
    "freeze": {Freeze.ALLOW: "For a moment, before they go", Freeze.NEVER: "Never: delete row by row"},
    "deletions": {Deletions.BLOCK: "Keep their summaries", Deletions.FOLLOW: "Compute summaries from what is left"},
}
# How to write what has no form of its own elsewhere.
FORMS = {
    "where": "One on each line, as tenant=acme; NULL is NULL, 'NULL' the text.",
    "aggregates": "One metric on each line, as temperature=min,max.",
    **dict.fromkeys(LISTS, "With commas between them."),
}

_USUAL = {
    "retention_period": ("7d", "30d", "90d", "6 months", "1y", "forever"),
    "schedule": ("@hourly", "@daily", "@weekly", "@monthly", "0 3 * * *"),
    "time_unit": tuple(TimeUnit),
    "levels": ("1m:7d,1h:90d,1d:forever", "1h:60d,1d:forever"),
}
# Which columns a field can name.
_COLUMNS: dict[str, Callable[[Column], bool]] = {
    "time_column": lambda column: column.kind is Kind.TIME,
    "dimensions": lambda column: column.kind is not Kind.TIME and column.grouping is not Grouping.NEVER,
    "where": lambda column: column.grouping is not Grouping.NEVER,
    **dict.fromkeys(("metrics", "aggregates", "counters"), lambda column: column.kind is Kind.NUMBER),
    **dict.fromkeys(("partition_column", "exclude"), lambda column: True),
}


@dataclass(frozen=True)
class Group:
    """
    Fields that belong together.

    :param folded: Whether most people do without.
    """

    title: str
    fields: tuple[str, ...]
    folded: bool = False


GROUPS = (
    Group(
        "What happens",
        (
            "strategy",
            "target_repository_name",
            "verify",
            "reallocation_attribute_name",
            "reallocation_attribute_value",
            "enabled",
            "description",
        ),
    ),
    Group("Which tables", ("table_schema", "table_name", "where")),
    Group("How long", ("retention_period", "cutoff_by", "levels", "time_zone")),
    Group("Tags and schedule", ("tags", "schedule", "misfire", "misfire_grace", "jitter")),
    Group(
        "Limits and more",
        (
            *LIMITS,
            "time_column",
            "time_unit",
            "partition_column",
            "dimensions",
            "metrics",
            "exclude",
            "aggregates",
            "counters",
            "late",
            "deletions",
            "undated",
            "freeze",
            "id",
        ),
        folded=True,
    ),
)


def label_of(field: str) -> str:
    """What a field is called."""
    return LABELS.get(field) or field.replace("_", " ").capitalize()


def is_shown(field: str, values: Values) -> bool:
    """Whether a field means anything beside what the others say."""
    if field in ("misfire", "jitter") and not values["schedule"]:
        return False
    if field == "misfire_grace" and not (values["schedule"] and values["misfire"] == Misfire.SKIP):
        return False
    return field in fields_for(str(values["strategy"]))


def offered(field: str, values: Values, found: Suggestions) -> list[str]:
    """What can be chosen for a field: beginning with what is written, then containing it."""
    typed = str(values[field])
    if field in PAIRS:
        return _completed(typed, _known(field, values, found))
    if field in LISTS:
        *before, last = ["", *typed.split(",")]
        known = read_list(",".join(before))
        rest = [each for each in _known(field, values, found) if each not in known]
        return [list_text([*known, each]) for each in _closest(rest, last.strip())]
    return _closest(_known(field, values, found), typed)


def _completed(typed: str, known: Sequence[str]) -> list[str]:
    """Pairs with one more that is begun: the last line, or one that comes after it."""
    lines = typed.splitlines()
    begun = "" if not lines or typed.endswith("\n") or "=" in lines[-1] else lines.pop()
    before = [line for line in lines if line.strip()]
    named = {line.partition("=")[0].strip() for line in before}
    return ["\n".join([*before, f"{each}="]) for each in _closest((k for k in known if k not in named), begun.strip())]


def _closest(known: Iterable[str], typed: str) -> list[str]:
    fits = [each for each in dict.fromkeys(known) if typed.casefold() in each.casefold()]
    return sorted(fits, key=lambda each: not each.casefold().startswith(typed.casefold()))[:MOST]


def _known(field: str, values: Values, found: Suggestions) -> Sequence[str]:
    """All that could stand in a field, or be one of its words."""
    fits = _COLUMNS.get(field)
    if field == "time_column" and values["time_unit"]:
        fits = _COLUMNS["metrics"]  # A time with a unit is a number.
    if fits is not None:
        return [column.name for column in found.columns if fits(column)]
    match field:
        case "table_schema":
            return sorted({table.schema for table in found.tables})
        case "table_name":
            inside = matcher(str(values["table_schema"]) or found.default_schema)
            return [table.name for table in found.tables if inside(table.schema)]
        case "tags":
            return found.tags
        case "target_repository_name":
            return found.repositories
        case "reallocation_attribute_name":
            return list(found.attributes)
        case "reallocation_attribute_value":
            return found.attributes.get(str(values["reallocation_attribute_name"]), ())
        case "time_zone":
            return _zones()
        case _:
            return _USUAL.get(field, ())


@cache
def _zones() -> list[str]:
    return sorted(zoneinfo.available_timezones())
