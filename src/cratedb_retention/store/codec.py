"""
Policies, holds and partition values as rows of the toolkit's tables, and back.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cratedb_retention.model.attributes import Form
from cratedb_retention.model.catalog import Column, Kind, Value
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.policy import ATTRIBUTES, Policy, read_policy
from cratedb_retention.model.schedule import Misfire, Scheduled, parse_jitter, parse_schedule
from cratedb_retention.model.time import from_ms, parse_time_zone, to_ms
from cratedb_retention.store.texts import read_text, text_values

_HOUR = Duration(seconds=3600)
_JSON = [each.name for each in ATTRIBUTES.values() if each.form in (Form.PAIRS, Form.PARTS)]
_OWN = ("version", "changed_at", "changed_by", "scheduled_at")


def policy_to_row(
    policy: Policy, version: int, now: dt.datetime, actor: str, scheduled_at: dt.datetime | None = None
) -> dict[str, Any]:
    """
    A policy as a row; attributes that are objects become JSON.

    :param scheduled_at: Since when it has its schedule; None: since now.
    """
    row = policy.model_dump(mode="json")
    for key in _JSON:
        row[key] = json.dumps(row[key], ensure_ascii=False) if row[key] else None
    return {**row, "version": version, "changed_at": now, "changed_by": actor, "scheduled_at": scheduled_at or now}


def row_to_policy(row: Mapping[str, Any]) -> Policy:
    """
    A row as a policy.

    :raises InvalidInput: if somebody wrote something else into the table.
    """
    attributes = {key: value for key, value in row.items() if key not in _OWN and value is not None}
    for key in _JSON:
        if isinstance(attributes.get(key), str):
            attributes[key] = json.loads(attributes[key])
    return read_policy(attributes, stored=attributes)


def row_to_schedule(row: Mapping[str, Any]) -> Scheduled:
    """
    When a policy runs by itself.

    :raises InvalidInput: if somebody wrote something else into the table.
    :raises ValueError: the same.
    """
    return Scheduled(
        policy_id=row["id"],
        schedule=_schedule(row["schedule"]),
        time_zone=_zone(row["time_zone"] or "UTC"),
        since=row["scheduled_at"] or row["changed_at"],
        misfire=Misfire(row["misfire"] or Misfire.CATCH_UP),
        grace=_HOUR if row["misfire_grace"] is None else parse_duration(row["misfire_grace"]),
        jitter=None if row["jitter"] is None else parse_jitter(row["jitter"]),
    )


# A scheduler reads the same ones again and again.
@functools.lru_cache(4096)
def _schedule(text: str) -> str:
    return parse_schedule(text)


@functools.lru_cache(4096)
def _zone(name: str) -> str:
    return parse_time_zone(name).key


def hold_to_row(hold: LegalHold) -> dict[str, Any]:
    """A hold as a row."""
    where = json.dumps(_values_of(hold), ensure_ascii=False) if hold.where or hold.partitions else None
    return {
        "id": hold.id,
        "table_schema": hold.table_schema,
        "table_name": hold.table_name,
        **text_values("where", where),
        "start": None if hold.start is None else from_ms(hold.start),
        "end": None if hold.end is None else from_ms(hold.end),
        "kind": str(hold.kind),
        "reason": hold.reason,
        "placed_at": from_ms(hold.placed_at),
        "placed_by": hold.placed_by,
        "table_identity": hold.identity or None,
    }


def _values_of(hold: LegalHold) -> Any:
    return [dict(values) for values in hold.filters] if hold.partitions else dict(hold.where)


def row_to_hold(row: Mapping[str, Any]) -> LegalHold:
    """A row as a hold."""
    values = json.loads(read_text(row, "where") or "{}")
    several = isinstance(values, list)
    return LegalHold(
        id=row["id"],
        table_schema=row["table_schema"],
        table_name=row["table_name"],
        where={} if several else values,
        partitions=tuple(values) if several else (),
        start=None if row["start"] is None else to_ms(row["start"]),
        end=None if row["end"] is None else to_ms(row["end"]),
        reason=row["reason"] or "",
        kind=HoldKind(row["kind"]),
        placed_by=row["placed_by"] or "",
        placed_at=to_ms(row["placed_at"]),
        identity=row["table_identity"] or "",
    )


def partition_to_text(columns: Sequence[Column], values: Sequence[Value]) -> str:
    """A partition's columns and values as JSON that :func:`text_to_partition` understands."""
    parts = [[c.name, c.type, str(c.kind), v] for c, v in zip(columns, values, strict=True)]
    return json.dumps(parts, ensure_ascii=False)


def text_to_partition(text: str) -> tuple[tuple[Column, ...], tuple[Value, ...]]:
    """The columns and values of a partition."""
    parts = json.loads(text)
    columns = tuple(Column(name=name, type=data_type, kind=Kind(kind)) for name, data_type, kind, _ in parts)
    return columns, tuple(part[3] for part in parts)
