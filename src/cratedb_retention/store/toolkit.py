"""
The policies of cratedb-toolkit 0.1.1 in the present layout, and in words what becomes of each.

What it never ran is kept, but disabled, so that no data expires which it had left alone: it looks for strategies in
lower case, takes names literally, does not quote columns, and passes on what only a number or a time can be.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.patterns import is_pattern
from cratedb_retention.model.policy import Policy, read_policy
from cratedb_retention.model.tags import NOT
from cratedb_retention.model.values import CutoffBy
from cratedb_retention.store.codec import policy_to_row

ACTOR = "cratedb-toolkit"
_PLAIN = (
    "table_schema",
    "table_name",
    "partition_column",
    "retention_period",
    "reallocation_attribute_name",
    "reallocation_attribute_value",
    "target_repository_name",
    "id",
)
_STRATEGIES = ("delete", "reallocate", "snapshot")
_NUMBERS = ("byte", "smallint", "integer", "bigint", "real", "double precision")
# Partition columns with their types, by schema and name of the table.
PartitionColumns = Mapping[tuple[str, str], Mapping[str, str]]


@dataclass(frozen=True)
class TakenOver:
    """
    A policy as it is stored from now on.

    :param words: What it is, and what changes.
    """

    row: Mapping[str, Any]
    words: str

    @property
    def enabled(self) -> bool:
        """Whether runs obey it."""
        return self.row["enabled"] is not False


def take_over(row: Mapping[str, Any], partitions: PartitionColumns, now: dt.datetime) -> TakenOver:
    """
    A policy of cratedb-toolkit; one that it never ran, or that lacks something, is kept, but disabled.

    :param partitions: Of the tables that there are.
    """
    known = {key: row[key] for key in _PLAIN if row.get(key) is not None}
    present = sorted(tag for tag, value in (row.get("tags") or {}).items() if value is not None)
    tags = [tag for tag in present if tag.strip() and "," not in tag and not tag.strip().startswith(NOT)]
    attributes = {**known, "strategy": row["strategy"], "tags": tags, "cutoff_by": CutoffBy.DAY}
    left_out = [f"tag {tag!r} is left out, since no --tags can name it" for tag in present if tag not in tags]
    try:
        policy = read_policy(attributes, stored=attributes)
    except InvalidInput as error:
        return TakenOver(_invalid(row, known, present, now, str(error)), _words(row, [f"disabled: {error}", *left_out]))
    reason = _why_never_run(row, policy, partitions)
    if reason is None:
        return TakenOver(policy_to_row(policy, 1, now, ACTOR), _words(row, left_out or ["as before"]))
    said = f"Disabled when it was taken over: cratedb-toolkit never ran it, since {reason}"
    policy = policy.model_copy(update={"enabled": False, "description": said})
    disabled = f"disabled: cratedb-toolkit never ran it, since {reason}"
    return TakenOver(policy_to_row(policy, 1, now, ACTOR), _words(row, [disabled, *left_out]))


def _invalid(
    row: Mapping[str, Any], known: Mapping[str, Any], tags: Sequence[str], now: dt.datetime, reason: str
) -> dict[str, Any]:
    return {
        **known,
        "strategy": row["strategy"],
        "tags": list(tags),
        "table_name": row.get("table_name") or "",
        "retention_period": f"{row['retention_period']}d",
        "enabled": False,
        "description": f"Disabled when it was taken over from cratedb-toolkit: {reason}",
        "version": 1,
        "changed_at": now,
        "changed_by": ACTOR,
    }


def _words(row: Mapping[str, Any], changes: Sequence[str]) -> str:
    table = ".".join(str(row[key]) for key in ("table_schema", "table_name") if row.get(key) is not None)
    what = f"{row['strategy']} {table or '?'} after {row['retention_period']}d"
    return f"policy {row['id']}: {what}: {'; '.join(changes)}"


def _why_never_run(row: Mapping[str, Any], policy: Policy, partitions: PartitionColumns) -> str | None:
    """Why cratedb-toolkit finds nothing to do for a valid policy, or fails to; None if it may have run."""
    strategy, column = row["strategy"], policy.partition_column or ""
    if strategy not in _STRATEGIES:
        return f"it looks for {policy.strategy}, and this is written {strategy!r}"
    if policy.table_schema is None:
        return "it names no schema"
    name = policy.table_schema + policy.table_name
    if is_pattern(name):
        return "it takes * and ? literally"
    if re.fullmatch("[a-z_][a-z0-9_]*", column) is None:
        return f"it does not quote the column {column!r}"
    if strategy == "snapshot" and name != name.lower():
        return "the name of a snapshot can't have capital letters"
    columns = partitions.get((policy.table_schema, policy.table_name))
    return None if columns is None else _why_no_partition(strategy, column, columns)


def _why_no_partition(strategy: str, column: str, columns: Mapping[str, str]) -> str | None:
    if column not in columns:
        return f"the table is not partitioned by {column}"
    if not columns[column].startswith(("timestamp", *_NUMBERS)):
        return f"{column} is {columns[column]}, neither a time nor a number"
    if strategy != "delete" and len(columns) > 1:
        return f"the table is partitioned by {', '.join(columns)}, and it names one of these only"
    return None
