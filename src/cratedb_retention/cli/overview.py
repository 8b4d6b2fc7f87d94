"""``status``: what is kept where, what is due, and what runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NoReturn

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import console, say, visible, write_data, write_table
from cratedb_retention.model.audit import Event
from cratedb_retention.model.time import show, to_ms
from cratedb_retention.model.words import plural, short, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.overview.lines import Line
    from cratedb_retention.model.runs import RunState

_LINES = ("state", "table", "policy", "retention", "rows", "size", "due", "next", "blocked")
_RUNS = ("run", "who", "since", "step", "doing", "progress", "rows", "end", "state")
_WATCH_SECONDS = 1.0


@click.command("status")
@options.database
@options.asked
@click.option("--watch", is_flag=True, help="Show active runs, refreshed every second, until Ctrl-C.")
@options.output_format
def status(database: options.Database, asked: options.Asked, watch: bool, form: str) -> None:
    """
    Show each policy on each table: its state, what is due now, and when more is due; the last run; and active runs on
    all machines. What needs attention comes first. Runs of less than a second are not shown.

    \b
    Examples:
      cratedb-retention status crate://localhost:4200/
      cratedb-retention status --cutoff-day=2024-06-01
      cratedb-retention status --watch
    """
    from cratedb_retention.execution import results
    from cratedb_retention.execution.overview.lines import overview
    from cratedb_retention.store.audit import JournalFilter

    with database.open(read_only=True) as retention:
        if watch:
            _watch(retention)
        now, jobs = retention.clock.now(), retention.runs.live()
        lines = overview(asked.prepare(retention))
        last = next(iter(retention.audit.read(JournalFilter(event=Event.RUN_FINISHED, limit=1))), None)
    if form != "table":
        found = {"policies": [results.Line.of(line) for line in lines], "last_run": last and results.plain_row(last)}
        running = [{**results.plain_row(job.row()), "silent": job.is_silent(now)} for job in jobs]
        write_data({**found, "running": running}, form)
        return
    write_table(_LINES, map(_line, lines))
    ended = f"{last['time']:%Y-%m-%d %H:%M:%S} UTC, {last['outcome']}, {last['message']}" if last else ""
    ended += f", {show_size(last['bytes'])} freed or moved" if last and last["bytes"] else ""
    say(f"last run: {ended}" if last else "no run yet")
    if jobs:
        write_table(_RUNS, [_run(job, now) for job in jobs], right=())


def _line(line: Line) -> tuple[object, ...]:
    due = plural(line.due_partitions, "partition") if line.due_partitions else ""
    due = due or (plural(line.due_rows, "row") if line.due_rows else "")
    following = None if line.next_due is None else show(line.next_due)
    policy, blocked = f"{line.policy.strategy} {short(line.policy.id)}", "; ".join(each.reason for each in line.blocked)
    size = show_size(line.size)
    return line.state, line.title, policy, line.retention_period, line.rows, size, due, following, blocked


def _run(job: RunState, now: dt.datetime) -> tuple[str, ...]:
    rows = f"{job.rows_done:,} of {job.rows:,}" if job.rows is not None else ""
    sizes = f", {show_size(job.bytes_done)} of {show_size(job.bytes)}" if job.bytes else ""
    doing = f"{job.table_name}: {job.doing}" if job.doing else ""
    who = (short(job.run_id), f"{job.actor}@{job.host}", _show(job.started_at))
    state = f"cancelled by {job.cancel_by}" if job.cancel_by else job.state
    if job.is_silent(now):
        state = f"silent since {_show(job.heartbeat_at)}"
    end = _show(job.expected_end) if job.expected_end else ""
    return (*who, f"{job.step} of {job.steps}", doing, job.units, rows + sizes, end, state)


def _watch(retention: Retention) -> NoReturn:
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    with Live(console=console(), auto_refresh=False) as live:
        while True:
            jobs, now = retention.runs.live(), retention.clock.now()
            table = Table(*_RUNS)
            for job in jobs:
                table.add_row(*(Text(visible(cell)) for cell in _run(job, now)))
            live.update(table if jobs else Text(f"no active runs at {_show(now)}"), refresh=True)
            retention.clock.sleep(_WATCH_SECONDS)


def _show(moment: dt.datetime) -> str:
    return show(to_ms(moment) // 1000 * 1000)
