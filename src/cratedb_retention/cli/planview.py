"""
Shows a plan: for people as tables, for programs as data. ``plan`` and ``run --dry-run`` both use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.model.words import short, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.preparing import Prepared
    from cratedb_retention.model.plan import Plan

MOST_HOLDS = 10


def write_plan(prepared: Prepared, retention: Retention, form: str, sql: bool, details: bool = False) -> None:
    """
    Write a plan in the wanted form.

    :param details: Whether people are shown each task, rather than one line for those that are alike.
    """
    if form != "table":
        from cratedb_retention.execution.results import PlanAnswer

        write_data(PlanAnswer.of(prepared.plan, retention.statements if sql else None), form)
        return
    from cratedb_retention.model.time import show

    plan = prepared.plan
    say(f"Cutoff {show(plan.cutoff)}, {retention.address.safe}")
    for warning in plan.warnings:
        say(f"Warning: {warning}", "yellow")
    _write_tasks(prepared, retention, sql, details)
    _write_holds(plan)
    _write_legal_holds(plan)
    _write_next(prepared)


def _write_tasks(prepared: Prepared, retention: Retention, sql: bool, details: bool) -> None:
    from cratedb_retention.model.effect import TaskGroup, group_tasks

    plan = prepared.plan
    groups = [TaskGroup((task,)) for task in plan.tasks] if details else group_tasks(plan.tasks)
    if not plan.tasks:
        say("Nothing is due.", "bold")
    else:
        rows = [
            (
                str(group.table),
                _strategy(prepared, group.policy_id),
                group.what,
                group.why,
                group.amount.rows,
                show_size(group.amount.size),
            )
            for group in groups
        ]
        write_table(("table", "policy", "what", "why", "rows", "size"), rows, ("rows", "size"), "Due")
        if len(groups) < len(plan.tasks):
            say(f"{len(plan.tasks):,} tasks in all; `cratedb-retention plan --details` shows each")
    if sql:
        for task in plan.tasks:
            for step in task.steps:
                for statement in retention.statements(step):
                    say(f"{statement};", "dim")


def _strategy(prepared: Prepared, policy_id: str | None) -> str:
    policy = prepared.policies.get(policy_id or "")
    return f"{policy.strategy} {short(policy.id)}" if policy else "tidy up"


def _write_holds(plan: Plan) -> None:
    for title, holds in (
        ("Problems: somebody has to look at these", plan.problems),
        ("Held", tuple(hold for hold in plan.holds if not hold.problem)),
    ):
        if holds:
            from cratedb_retention.model.effect import concerned

            rows = [(hold.table, short(hold.policy_id), concerned(hold), hold.reason) for hold in holds]
            write_table(("table", "policy", "what", "why"), rows, title=title)


def _write_legal_holds(plan: Plan) -> None:
    from cratedb_retention.model.holds import hold_scope

    if plan.legal_holds:
        rows = [(hold.id, hold.kind, hold_scope(hold), hold.reason) for hold in plan.legal_holds[:MOST_HOLDS]]
        write_table(("id", "kind", "covers", "reason"), rows, title="Legal holds in force")
    more = len(plan.legal_holds) - MOST_HOLDS
    if more > 0:
        say(f"and {more:,} more; `cratedb-retention list-holds` shows all")


def _write_next(prepared: Prepared) -> None:
    from cratedb_retention.model.effect import next_due
    from cratedb_retention.model.time import show
    from cratedb_retention.model.words import plural

    due, stay = next_due(prepared.plan), _staying(prepared)
    if stay:
        when = f"; more is due on {show(due)}" if due is not None else ""
        say(f"{plural(stay, 'partition')} {'stays' if stay == 1 else 'stay'}{when}")


def _staying(prepared: Prepared) -> int:
    """How many partitions of the tables that were looked at are still there after a run, each counted once."""
    tables = {kept.table for kept in prepared.plan.kept}
    there = sum(len(prepared.catalog.tables[name].partitions) for name in tables)
    removed = 0
    for task in prepared.plan.tasks:
        policy = prepared.policies.get(task.policy_id or "")
        if task.table in tables and policy is not None and policy.strategy.traits.removes:
            removed += task.partitions
    return there - removed
