"""
What of a plan, a list or a run is somebody's: the parts about their policies, without what reasons tell of others.

A run of theirs does just the tasks of their plan, so that a plan still is what a run does (law 10).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cratedb_retention.execution.candidates import Preview
from cratedb_retention.execution.overview import Line, TableLine
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.access import Realm
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.audit import Event
from cratedb_retention.model.effect import amount
from cratedb_retention.model.plan import Task

_OF_STEPS = (Event.STEP_FINISHED, Event.HELD)


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
        tasks=tuple(
            replace(task, why=realm.told(task.why, holds)) for task in plan.tasks if _is_theirs(task, realm, mine)
        ),
        holds=tuple(replace(hold, why=realm.told(hold.why, holds)) for hold in plan.holds if hold.policy_id in mine),
        kept=tuple(kept for kept in plan.kept if kept.policy_id in mine),
        warnings=(),
        legal_holds=tuple(hold for hold in plan.legal_holds if realm.covers_hold(hold)),
    )
    return replace(prepared, plan=narrowed)


def _is_theirs(task: Task, realm: Realm, mine: set[str | None]) -> bool:
    if task.policy_id is None:
        return realm.covers(make_area(task.table.schema, task.table.name, {}, realm.default_schema))
    return task.policy_id in mine


def narrow_preview(found: Preview, realm: Realm, holds: Collection[str]) -> Preview:
    """What of a preview is somebody's; afterwards, the policy that it is about is theirs, too."""
    others = tuple(known for known in realm.policies if known.id != found.policy.id)
    after = replace(realm, policies=(*others, found.policy))
    return replace(
        found,
        before=narrow_plan(found.before, realm, holds),
        after=narrow_plan(found.after, after, holds),
        if_enabled=None if found.if_enabled is None else narrow_preview(found.if_enabled, realm, holds),
    )


def narrow_lines(lines: Sequence[Line]) -> list[Line]:
    """The size of a table that is shared with others is theirs as well."""
    return [replace(line, rows=None, size=None) if line.policy.where else line for line in lines]


def narrow_tables(lines: Sequence[TableLine]) -> list[TableLine]:
    """What a table that is shared with others holds in all is theirs as well."""
    return [
        replace(line, lines=tuple(narrow_lines(line.lines)), oldest=None, newest=None)
        if any(each.policy.where for each in line.lines)
        else line
        for line in lines
    ]


@dataclass(frozen=True)
class Release:
    """
    What the next run would take if a hold ended.

    :param partitions: Partitions that are due only then, likewise ``rows``.
    """

    partitions: int
    rows: int


def find_release(before: Prepared, after: Prepared) -> Release:
    """What a plan takes more than another one."""
    now, then = amount(before.plan.tasks), amount(after.plan.tasks)
    return Release(max(then.partitions - now.partitions, 0), max(then.known_rows - now.known_rows, 0))


@dataclass(frozen=True)
class RunEnd:
    """
    How a run ended.

    :param finished: The row of its end; None: there is none, as it never began, or ended in no order.
    :param troubles: Rows of what failed, is a problem, or was left to the next run, in order.
    :param more: Whether there is more of that.
    """

    finished: dict[str, Any] | None
    troubles: list[dict[str, Any]]
    more: bool = False

    @property
    def outcome(self) -> str:
        """How it ended in a word; empty if that is not known."""
        return str(self.finished["outcome"] or "") if self.finished else ""


def run_end(finished: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], most: int) -> RunEnd:
    """
    How a run ended, from rows of the audit log.

    :param rows: What did not go well, newest first.
    :param most: At most so many of these are told.
    """
    troubles = [row for row in reversed(rows) if row["event"] in _OF_STEPS]
    return RunEnd(finished[0] if finished else None, troubles[:most], len(troubles) > most)
