"""
What of a plan is somebody's: the parts about their policies, without what the reasons tell of others.

A run of theirs does just these tasks, so that a plan still is what a run does (law 10).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from cratedb_retention.execution.overview import Line
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.access import Realm
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.plan import Hold, Task


def narrow_plan(prepared: Prepared, realm: Realm, holds: Collection[str]) -> Prepared:
    """
    The part of a plan that is about somebody's policies, or tidies up their tables.

    Warnings are about tables as a whole, which may be shared, so that they are left out.

    :param holds: The identifiers of the holds that they see.
    """
    mine = {policy.id for policy in realm.policies}
    plan = prepared.plan
    narrowed = replace(
        plan,
        tasks=tuple(_task(task, realm, holds) for task in plan.tasks if _is_theirs(task, realm, mine)),
        holds=tuple(_hold(hold, realm, holds) for hold in plan.holds if hold.policy_id in mine),
        kept=tuple(kept for kept in plan.kept if kept.policy_id in mine),
        warnings=(),
        legal_holds=tuple(hold for hold in plan.legal_holds if realm.covers_hold(hold)),
    )
    return replace(prepared, plan=narrowed)


def narrow_lines(lines: Sequence[Line]) -> list[Line]:
    """The size of a table that is shared with others is theirs as well."""
    return [replace(line, rows=None, size=None) if line.policy.where else line for line in lines]


def _is_theirs(task: Task, realm: Realm, mine: set[str | None]) -> bool:
    if task.policy_id is None:
        return realm.covers(make_area(task.table.schema, task.table.name, {}, realm.default_schema))
    return task.policy_id in mine


def _task(task: Task, realm: Realm, holds: Collection[str]) -> Task:
    return replace(task, why=realm.told(task.why, holds))


def _hold(hold: Hold, realm: Realm, holds: Collection[str]) -> Hold:
    return replace(hold, why=realm.told(hold.why, holds))
