"""``plan``, ``run``, ``cancel``: plans as tables or data, and the progress of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import console, say, visible, write_data, write_table
from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.runs import Report, RunOptions
from cratedb_retention.model.words import plural, short, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.plan.preparing import Prepared
    from cratedb_retention.execution.runs.events import Observer, RunEvent

_MOST_HOLDS = 10


@click.command("plan")
@options.database
@options.asked
@options.output_format
@click.option("--sql", is_flag=True, help="Show the SQL statements.")
@click.option("--details", is_flag=True, help="Show each task, instead of one line for similar tasks.")
@click.option("--check", is_flag=True, help="Exit with code 1 if something needs attention, as `run` does.")
def plan(database: options.Database, asked: options.Asked, form: str, sql: bool, details: bool, check: bool) -> None:
    """
    Show the plan of a run without changing anything: due tasks, blocked actions, the reasons, and the legal holds in
    force. Similar tasks share a line, unless --details is given. JSON and YAML contain each task.

    \b
    Examples:
      cratedb-retention plan crate://localhost:4200/
      cratedb-retention plan --tags=acme --cutoff-day=2024-06-01 --sql
      cratedb-retention plan --check
    """
    with database.open(read_only=True) as retention:
        prepared = asked.prepare(retention)
        write_plan(prepared, retention, form, sql, details)
    if check and (count := len(prepared.plan.needs_attention)):
        what = plural(count, "action needs attention", "actions need attention")
        raise RetentionError("plan", what, "the reasons are in the plan")


@click.command("run")
@options.database
@options.asked
@options.output_format
@click.option("--due", is_flag=True, help="Only policies that are due by their schedules; each slot runs once.")
@click.option("--accept", is_flag=True, help="Do, in this run, what is blocked as unusual or exceeds `expected_max`.")
@click.option("--dry-run", is_flag=True, help="Only show the plan with its statements, as `plan --sql` does.")
@options.lease
def run(
    database: options.Database, asked: options.Asked, form: str, due: bool, accept: bool, dry_run: bool, lease: float
) -> None:
    """
    Execute everything that is due. Actions that are blocked or fail are written to the audit log, and tried again by
    the next run. The exit code is 1 if something failed or needs attention. Policies of other runs are deferred.

    With --due, only policies with a due slot of their schedules run: for cron, systemd timers and Kubernetes CronJobs.

    A policy that would remove far more from a table than earlier runs is blocked. With --accept, a person who has seen
    the plan allows it for this run; select what is meant with --policy or --tags.

    \b
    Examples:
      cratedb-retention run crate://localhost:4200/
      cratedb-retention run --strategy=delete --tags=acme --cutoff-day=2024-06-01
      cratedb-retention run --due
      cratedb-retention run --accept --policy=2af93f28 --dry-run
    """
    from cratedb_retention.execution.plan.preparing import Selection
    from cratedb_retention.execution.runs.retrying import retry
    from cratedb_retention.planning.schedule import Timetable

    if due and asked.moment is not None:
        raise InvalidInput("--due and --cutoff", "schedules refer to the present", "omit one of them")
    if due and accept:
        raise InvalidInput("--due and --accept", "what a schedule runs, no person has seen", "omit one of them")
    with database.open(read_only=dry_run and not due) as retention:
        ids, run_options = None, RunOptions(lease=lease)
        if due and (selection := asked.read(retention)) != Selection():
            ids = {stored.policy.id or "" for stored in retention.policies(selection)}
        if dry_run:
            if due:
                slots = retention.schedule.find_due(Timetable(), ids).slots
                prepared = retention.prepare(selection=Selection(policy_ids=frozenset(slots)))
            else:
                prepared = asked.prepare(retention, accept)
            write_plan(prepared, retention, form, sql=True)
            return
        try:
            with observer(quiet=form != "table") as observe:
                if due:
                    report = retention.run_due([observe], run_options, ids)
                else:
                    prepared = retry(lambda: asked.prepare(retention, accept), retention.clock.sleep)
                    report = retention.run(prepared, observers=[observe], options=run_options)
        except KeyboardInterrupt:
            raise RetentionError("interrupted", "the next run continues from here") from None
    _finish(report, form)


def _finish(report: Report | None, form: str) -> None:
    """Report the result; raise RetentionError if it is not a success. None: nothing was due by schedules."""
    from cratedb_retention.execution.results import RunReport
    from cratedb_retention.execution.runs.events import summary

    if form != "table":
        write_data(RunReport(**dataclasses.asdict(report), ok=report.ok) if report else None, form)
    elif report is None:
        say("nothing is due")
    if report is not None and not report.ok:
        name = short(report.run_id)
        raise RetentionError(f"run {name}", summary(report), f"`cratedb-retention jobs --run={name}`")


@contextmanager
def observer(quiet: bool) -> Iterator[Observer]:
    """Yield an observer that shows events, with a progress bar on terminals; nothing if ``quiet``."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from cratedb_retention.execution.runs import events
    from cratedb_retention.execution.runs.events import Tone

    if quiet:
        yield lambda event: None
        return
    styles = {Tone.GOOD: "green", Tone.NOTICE: "yellow", Tone.BAD: "red", Tone.END: "bold"}
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as bars:
        bar = bars.add_task("", total=None, visible=False)

        def show(event: RunEvent) -> None:
            if isinstance(event, events.StepStarted):
                bars.reset(bar, description=f"{event.task.table}: {event.step.describe()}", total=None, visible=True)
            elif isinstance(event, events.StepProgressed):
                bars.update(bar, completed=event.progress.done, total=event.progress.total)
            elif isinstance(event, events.RunEndedEarly | events.RunFinished):
                bars.update(bar, visible=False)
            for text, tone in events.lines_of(event):
                bars.console.print(Text(visible(text), style=styles.get(tone, "")), soft_wrap=True)

        yield show


@click.command("cancel")
@click.argument("run_id", metavar="RUN")
@options.connected()
def cancel(retention: Retention, run_id: str) -> None:
    """
    Cancel a run, on any machine, before its next step. RUN is its identifier, or at least the first six characters, as
    `status` shows them. Completed steps are not undone. The remaining tasks are due again in the next run.

    \b
    Examples:
      cratedb-retention cancel 1c0ffee5
    """
    job = retention.runs.cancel(run_id)
    say(f"run {short(job.run_id)} of {job.actor}@{job.host} ends before its next step")


def write_plan(prepared: Prepared, retention: Retention, form: str, sql: bool, details: bool = False) -> None:
    """Write a plan as tables for users, with a line per task if ``details``, or as data for programs."""
    from cratedb_retention.model.holds import hold_scope
    from cratedb_retention.model.time import show

    plan = prepared.plan
    if form != "table":
        from cratedb_retention.execution.results import PlanAnswer

        write_data(PlanAnswer.of(plan, retention.statements if sql else None), form)
        return
    say(f"Cutoff {show(plan.cutoff)}, {retention.address.safe}")
    for warning in plan.warnings:
        say(f"Warning: {warning}", "yellow")
    _write_tasks(prepared, details)
    for statement in (line for task in plan.tasks for step in task.steps for line in retention.statements(step)):
        if sql:
            say(f"{statement};", "dim")
    blocked = [each for each in plan.blocked if not each.needs_attention]
    for title, found in {"Needs attention: blocked until you act": plan.needs_attention, "Blocked": blocked}.items():
        if found:
            rows = [(each.table, short(each.policy_id), each.concerned, each.reason) for each in found]
            write_table(("table", "policy", "what", "why"), rows, title)
    if plan.legal_holds:
        covers = [(hold.id, hold.kind, hold_scope(hold), hold.reason) for hold in plan.legal_holds[:_MOST_HOLDS]]
        write_table(("id", "kind", "covers", "reason"), covers, "Legal holds in force")
    if (more := len(plan.legal_holds) - _MOST_HOLDS) > 0:
        say(f"and {more:,} more; `cratedb-retention list-holds` shows all")
    _write_next(prepared)


def _write_tasks(prepared: Prepared, details: bool) -> None:
    from cratedb_retention.model.plan.effect import TaskGroup, group_tasks

    def row(group: TaskGroup) -> tuple[object, ...]:
        policy = prepared.policies.get(group.first.policy_id or "")
        name = f"{policy.strategy} {short(policy.id)}" if policy else "clean up"
        return group.first.table, name, group.what, group.why, group.amount.rows, show_size(group.amount.size)

    tasks = prepared.plan.tasks
    if not tasks:
        say("Nothing is due.", "bold")
        return
    groups = [TaskGroup((task,)) for task in tasks] if details else group_tasks(tasks)
    write_table(("table", "policy", "what", "why", "rows", "size"), map(row, groups), "Due")
    if len(groups) < len(tasks):
        say(f"{len(tasks):,} tasks in total; `cratedb-retention plan --details` shows each")


def _write_next(prepared: Prepared) -> None:
    """Show the number of partitions that remain after the run, and when more is due."""
    from cratedb_retention.model.time import show

    tables = prepared.facts.catalog.tables.keys() & {each.table for each in prepared.plan.up_to_date}
    stay = sum(len(prepared.facts.catalog.tables[name].partitions) for name in tables)
    for task in prepared.plan.tasks:
        policy = prepared.policies.get(task.policy_id or "")
        if task.table in tables and policy is not None and policy.strategy.traits.removes:
            stay -= task.partitions
    if stay:
        due = prepared.plan.next_due
        when = f"; more is due at {show(due)}" if due is not None else ""
        say(f"{plural(stay, 'partition')} {'remains' if stay == 1 else 'remain'}{when}")
