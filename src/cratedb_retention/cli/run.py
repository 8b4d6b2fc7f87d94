"""``run``: do what is due."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data
from cratedb_retention.cli.planview import write_plan
from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.runs import Report, RunOptions
from cratedb_retention.model.words import short

if TYPE_CHECKING:
    from cratedb_retention.api import Retention


@click.command("run")
@options.database
@options.selection
@options.cutoff
@options.output_format
@click.option("--due", is_flag=True, help="Only policies whose schedules say so, each slot once.")
@click.option("--dry-run", is_flag=True, help="Only show the plan, with its statements; the same as `plan --sql`.")
@options.lease
def command(  # noqa: PLR0913 - one for each option
    dburi: str | None,
    schema: str,
    chosen: options.Chosen,
    when: options.Cutoff,
    form: str,
    due: bool,
    dry_run: bool,
    lease: float,
) -> None:
    """
    Do what is due. What can't be done now is reported, written to the audit log, and tried again by the next run;
    if something failed, or somebody has to look at it, the exit code is 1. What another run is at is left to it.

    With --due, only policies run whose schedules say so, and that nobody has run since: for cron, systemd timers and
    Kubernetes CronJobs.

    \b
    Examples:
      cratedb-retention run crate://localhost:4200/
      cratedb-retention run --strategy=delete --tags=acme --cutoff-day=2024-06-01
      cratedb-retention run --due
      cratedb-retention run --dry-run
    """
    from cratedb_retention.cli.progress import observer
    from cratedb_retention.execution.retrying import retry

    if due and when.moment is not None:
        raise InvalidInput("--due and --cutoff", "schedules are about the present", "leave one of them out")
    with options.open_retention(dburi, schema, read_only=dry_run and not due) as retention:
        if due:
            _run_due(retention, chosen, form, dry_run, RunOptions(lease=lease))
            return
        if dry_run:
            write_plan(when.prepare(retention, chosen), retention, form, sql=True)
            return
        with _interruptible():
            prepared = retry(lambda: when.prepare(retention, chosen), retention.clock.sleep)
            with observer(quiet=form != "table") as observe:
                report = retention.run(prepared, observers=[observe], options=RunOptions(lease=lease))
    _finish(report, form)


@contextmanager
def _interruptible() -> Iterator[None]:
    """After Ctrl-C say what becomes of what a run has left to do."""
    try:
        yield
    except KeyboardInterrupt:
        raise RetentionError("interrupted", "the next run goes on from here") from None


def _run_due(retention: Retention, chosen: options.Chosen, form: str, dry_run: bool, run_options: RunOptions) -> None:
    from cratedb_retention.cli.progress import observer
    from cratedb_retention.execution.preparing import Selection
    from cratedb_retention.planning.due import Timetable

    selection = chosen.read(retention)
    ids = None
    if selection != Selection():
        ids = {stored.policy.id or "" for stored in retention.policies(selection)}
    if dry_run:
        slots = retention.schedule.find_due(Timetable(), ids).slots
        write_plan(retention.prepare(selection=Selection(policy_ids=frozenset(slots))), retention, form, sql=True)
        return
    with _interruptible(), observer(quiet=form != "table") as observe:
        report = retention.run_due([observe], run_options, ids)
    if report is None:
        if form == "table":
            say("nothing is due")
        else:
            write_data(None, form)
        return
    _finish(report, form)


def _finish(report: Report, form: str) -> None:
    """Show what was done, and say by an error what was not."""
    from cratedb_retention.execution.events import summary

    if form != "table":
        write_data({**dataclasses.asdict(report), "ok": report.ok}, form)
    if not report.ok:
        raise RetentionError(
            f"run {short(report.run_id)}", summary(report), f"`cratedb-retention jobs --run={short(report.run_id)}`"
        )
