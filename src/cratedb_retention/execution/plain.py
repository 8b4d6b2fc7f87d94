"""
Everything that programs are told, as plain values for JSON and YAML: the same from the commands and the HTTP API.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.execution.adopting import Adoptable
from cratedb_retention.execution.applying import Change
from cratedb_retention.execution.overview import Line
from cratedb_retention.model.effect import describe, kind_of
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan import Plan, Step, Task
from cratedb_retention.model.time import from_ms
from cratedb_retention.store.policies import StoredPolicy
from cratedb_retention.store.snapshots import SnapshotRecord
from cratedb_retention.store.tokens import AccessToken

Render = Callable[[Step], list[str]]


def policy_data(stored: StoredPolicy) -> dict[str, Any]:
    """A stored policy with its version."""
    return {**stored.policy.to_dict(), "version": stored.version}


def change_data(change: Change) -> dict[str, Any]:
    """What applying a file does to a policy."""
    return {
        "action": str(change.action),
        "before": change.before.to_dict() if change.before else None,
        "after": change.after.to_dict() if change.after else None,
    }


def plan_data(plan: Plan, render: Render | None = None) -> dict[str, Any]:
    """
    A plan.

    :param render: Makes statements of a step; None: they are left out.
    """
    return {
        "cutoff": from_ms(plan.cutoff).isoformat(),
        "warnings": list(map(str, plan.warnings)),
        "tasks": [_task_data(task, render) for task in plan.tasks],
        "holds": [
            {
                "policy_id": hold.policy_id,
                "table": str(hold.table),
                "reason": hold.reason,
                "code": hold.why.code,
                "partitions": list(hold.partitions),
                "count": hold.count,
                "problem": hold.problem,
            }
            for hold in plan.holds
        ],
        "kept": [
            {
                "policy_id": kept.policy_id,
                "table": str(kept.table),
                "partitions": kept.partitions,
                "next_due": _instant(kept.next_due),
            }
            for kept in plan.kept
        ],
        "legal_holds": [hold_data(hold) for hold in plan.legal_holds],
    }


def _task_data(task: Task, render: Render | None) -> dict[str, Any]:
    steps = [
        {"operation": kind_of(step), "description": describe(step)} | ({"sql": render(step)} if render else {})
        for step in task.steps
    ]
    return {
        "policy_id": task.policy_id,
        "table": str(task.table),
        "reason": task.reason,
        "code": task.why.code,
        "partitions": task.partitions,
        "rows": task.rows,
        "bytes": task.size,
        "steps": steps,
    }


def line_data(line: Line) -> dict[str, Any]:
    """A line of ``status``."""
    return {
        "state": line.state,
        "table": line.title,
        "policy": line.policy.to_dict(),
        "rows": line.rows,
        "bytes": line.size,
        "due_partitions": line.due_partitions,
        "due_rows": line.due_rows,
        "next_due": _instant(line.next_due),
        "held": [hold.reason for hold in line.held],
    }


def hold_data(hold: LegalHold) -> dict[str, Any]:
    """A hold in force."""
    data = dataclasses.asdict(hold)
    del data["identity"]
    instants = {key: _instant(data[key]) for key in ("start", "end", "placed_at")}
    return {**data, **instants, "partitions": list(hold.partitions)}


def snapshot_data(record: SnapshotRecord, state: SnapshotState | None) -> dict[str, Any]:
    """
    A snapshot.

    :param state: What its repository says; None: it is gone.
    """
    return {
        **_archived_data(record),
        "repository_state": state.detail if state else "missing",
        "policy_id": record.policy_id,
        "tags": list(record.tags),
    }


def adoptable_data(item: Adoptable) -> dict[str, Any]:
    """A snapshot in a repository."""
    return {**_archived_data(item.record), "known": item.known}


def _archived_data(record: SnapshotRecord) -> dict[str, Any]:
    archived = record.archived
    return {
        "name": archived.name,
        "repository": archived.repository,
        "table": str(archived.table),
        "partition": {c.name: value for c, value in zip(archived.columns, archived.values, strict=True)},
        "rows": archived.rows,
        "bytes": record.size,
        "state": str(record.stage),
    }


def token_data(token: AccessToken) -> dict[str, Any]:
    """A token without its secret."""
    data = {
        "id": token.id,
        "name": token.name,
        "role": str(token.role),
        "tags": list(token.limit.texts),
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "revoked_by": token.revoked_by,
    }
    return plain_row(data)


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without its empty values, with instants as ISO 8601."""
    return {
        key: value.isoformat() if hasattr(value, "isoformat") else value
        for key, value in row.items()
        if value is not None
    }


def journal_data(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the audit log."""
    return [plain_row(row) for row in rows]


def _instant(value: int | None) -> str | None:
    return None if value is None else from_ms(value).isoformat()
