"""
A plan as pages show it: what somebody has to look at comes first, then what would be done, then what stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nicegui import ui

from cratedb_retention.model import words
from cratedb_retention.model.effect import TaskGroup, concerned, group_tasks, next_due, summary
from cratedb_retention.model.holds import LegalHold, hold_scope
from cratedb_retention.model.plan import Hold, Kept, Plan, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.time import show
from cratedb_retention.model.words import short, show_size
from cratedb_retention.ui import links
from cratedb_retention.ui.parts import Bit, Cell, Column, heading, note, state, table

# More would be slow to send, and nobody reads them; the sentence on top counts all.
MOST = 1_000
_TASKS = (
    Column("table", "Table"),
    Column("policy", "Policy"),
    Column("what", "What"),
    Column("why", "Why"),
    Column("partitions", "Partitions", right=True),
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
    Column("touched", "Oldest to newest"),
)
_BLOCKED = (
    Column("state", "State"),
    Column("table", "Table"),
    Column("policy", "Policy"),
    Column("why", "Why"),
    Column("what", "What"),
)
_LEGAL_HOLDS = (
    Column("id", "Hold"),
    Column("kind", "Kind"),
    Column("covers", "Covers"),
    Column("reason", "Reason"),
)
_KEPT = (
    Column("table", "Table"),
    Column("policy", "Policy"),
    Column("partitions", "Partitions that stay", right=True),
    Column("next", "More is due"),
)


def show_plan(plan: Plan, policies: Mapping[str, Policy], details: bool = False, most: int = MOST) -> None:
    """
    Show a plan, into the element that is open.

    :param policies: By identifier, as a plan comes with them.
    :param details: Whether each task has a row, rather than those that are alike one together.
    :param most: At most so many rows of each table.
    """
    ui.label(summary(plan)).classes("summary")
    ui.label(f"Cutoff: {show(plan.cutoff)}. What is older than this by more than its retention period is expired.")
    for warning in plan.warnings:
        with ui.element("div").classes("warning").props("role=note"):
            ui.label(f"Warning: {warning}")
    _show_holds("Problems: somebody has to look at these", plan.problems, most)
    _show_holds("Held: due, and stays nevertheless", [hold for hold in plan.holds if not hold.problem], most)
    _show_tasks(plan.tasks, policies, details, most)
    _show_legal_holds(plan.legal_holds, most)
    _show_kept(plan, policies, most)


def policy_bit(policy_id: str | None, policies: Mapping[str, Policy]) -> Bit:
    """A policy as a link to its page; what has none tidies up after an interrupted run."""
    if policy_id is None:
        return Bit(text="tidy up", tone="muted")
    policy = policies.get(policy_id)
    text = f"{policy.strategy} {short(policy_id)}" if policy else short(policy_id)
    return Bit(text=text, href=links.policy(policy_id), hint=policy_id)


def _show_holds(title: str, holds: Sequence[Hold], most: int) -> None:
    if not holds:
        return
    heading(title)
    show_held(title, holds[:most]).classes("holds")
    _rest(len(holds), most)


def show_held(title: str, holds: Sequence[Hold]) -> ui.table:
    """
    Show holds, into the element that is open.

    :param title: What they are, for those who do not see the table.
    """
    rows: list[dict[str, Cell]] = [
        {
            "state": state("problem" if hold.problem else "held"),
            "table": str(hold.table),
            "policy": policy_bit(hold.policy_id, {}) if hold.policy_id else "",
            "why": hold.reason,
            "what": Bit(text=concerned(hold), tone="many"),
        }
        for hold in holds
    ]
    return table(_BLOCKED, rows, title)


def _show_legal_holds(holds: Sequence[LegalHold], most: int) -> None:
    if not holds:
        return
    heading("Legal holds in force")
    rows: list[dict[str, Cell]] = [
        {"id": hold.id, "kind": str(hold.kind), "covers": hold_scope(hold), "reason": hold.reason}
        for hold in holds[:most]
    ]
    table(_LEGAL_HOLDS, rows, "Legal holds in force")
    _rest(len(holds), most)


def _show_tasks(tasks: Sequence[Task], policies: Mapping[str, Policy], details: bool, most: int) -> None:
    heading("What would be done")
    if not tasks:
        note("Nothing is due.")
        return
    groups = [TaskGroup((task,)) for task in tasks] if details else group_tasks(tasks)
    show_groups(groups[:most], policies, "What would be done")
    _rest(len(groups), most)


def show_groups(groups: Sequence[TaskGroup], policies: Mapping[str, Policy], caption: str) -> ui.table:
    """
    Show tasks, into the element that is open.

    :param caption: What they are, for those who do not see the table.
    """
    amounts = [group.amount for group in groups]
    order = [{"rows": of.rows, "size": of.size, "partitions": of.partitions} for of in amounts]
    return table(_TASKS, [_group(group, policies) for group in groups], caption, order).classes("tasks")


def _group(group: TaskGroup, policies: Mapping[str, Policy]) -> dict[str, Cell]:
    steps, of = [step.describe() for step in group.tasks[0].steps], group.amount
    return {
        "table": str(group.table),
        "policy": policy_bit(group.policy_id, policies),
        "what": Bit(text="\n".join(steps if len(group.tasks) == 1 else [group.what]), tone="many"),
        "why": group.why,
        "partitions": words.count(of.partitions or None),
        "rows": words.count(of.rows),
        "size": show_size(of.size),
        "touched": _stretch(of.start, of.end),
    }


def _stretch(start: int | None, end: int | None) -> str:
    if end is None:
        return "" if start is None else f"from {show(start)}"
    return f"before {show(end)}" if start is None else f"{show(start)} to {show(end)}"


def _show_kept(plan: Plan, policies: Mapping[str, Policy], most: int) -> None:
    if not plan.kept:
        return
    heading("What is kept")
    due = next_due(plan)
    if due is not None:
        note(f"More is due on {show(due)}.")
    kept = sorted(plan.kept, key=lambda each: (each.next_due is None, each.next_due or 0, each.table))
    order = [{"next": each.next_due, "partitions": each.partitions} for each in kept[:most]]
    table(_KEPT, [_kept(each, policies) for each in kept[:most]], "What is kept", order)
    _rest(len(kept), most)


def _kept(kept: Kept, policies: Mapping[str, Policy]) -> dict[str, Cell]:
    return {
        "table": str(kept.table),
        "policy": policy_bit(kept.policy_id, policies),
        "partitions": f"{kept.partitions:,}",
        "next": "" if kept.next_due is None else show(kept.next_due),
    }


def _rest(count: int, most: int) -> None:
    if count > most:
        note(f"And {count - most:,} more, which are not shown here.")
