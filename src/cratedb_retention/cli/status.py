"""``status``: what is kept where, and what is due."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import console, say, visible, write_data, write_table
from cratedb_retention.model.time import show, to_ms
from cratedb_retention.model.words import short, show_size

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from cratedb_retention.clock import Clock
    from cratedb_retention.execution.overview import Line
    from cratedb_retention.model.runs import RunState

_COLUMNS = ("run", "who", "since", "step", "doing", "progress", "rows", "end", "state")
_WATCH_SECONDS = 1.0


@click.command("status")
@options.database
@options.selection
@options.cutoff
@click.option("--watch", is_flag=True, help="Show the runs that go on, each second anew, until Ctrl-C.")
@options.output_format
def command(
    dburi: str | None, schema: str, chosen: options.Chosen, when: options.Cutoff, watch: bool, form: str
) -> None:
    """
    Show each policy on each table: its state, what is due now and next, the last run, and the runs that go on, on
    whatever machine. Problems come first. Runs of less than a second are not shown.

    \b
    Examples:
      cratedb-retention status crate://localhost:4200/
      cratedb-retention status --cutoff-day=2024-06-01
      cratedb-retention status --watch
    """
    from cratedb_retention.execution.overview import overview
    from cratedb_retention.execution.results import Line as LineResult
    from cratedb_retention.execution.results import plain_row
    from cratedb_retention.model.audit import Event
    from cratedb_retention.store.audit import JournalFilter

    with options.open_retention(dburi, schema, read_only=True) as retention:
        if watch:
            _watch(retention.runs.live, retention.clock)
            return
        now, jobs = retention.clock.now(), retention.runs.live()
        lines = overview(when.prepare(retention, chosen))
        last = next(iter(retention.audit.read(JournalFilter(event=Event.RUN_FINISHED, limit=1))), None)
    if form != "table":
        found = {"policies": [LineResult.of(line) for line in lines], "last_run": plain_row(last) if last else None}
        write_data({**found, "running": [_data(job, now) for job in jobs]}, form)
        return
    columns = ("state", "table", "policy", "retention", "rows", "size", "due", "next", "held")
    rows = [
        (
            line.state,
            line.title,
            f"{line.policy.strategy} {short(line.policy.id)}",
            line.retention_period,
            line.rows,
            show_size(line.size),
            _due(line),
            show(line.next_due) if line.next_due is not None else None,
            "; ".join(hold.reason for hold in line.held),
        )
        for line in lines
    ]
    write_table(columns, rows, ("rows", "size"))
    say(
        f"last run: {last['time']:%Y-%m-%d %H:%M:%S} UTC, {last['outcome']}, {last['message']}"
        if last
        else "no run yet"
    )
    if jobs:
        write_table(_COLUMNS, [_row(job, now) for job in jobs], ())


def _due(line: Line) -> str | None:
    if line.due_partitions:
        return f"{line.due_partitions:,} partitions"
    return f"{line.due_rows:,} rows" if line.due_rows else None


def _row(job: RunState, now: dt.datetime) -> tuple[str, ...]:
    """A run as a row of a table."""
    rows = f"{job.rows_done:,} of {job.rows:,}" if job.rows is not None else ""
    sizes = f", {show_size(job.bytes_done)} of {show_size(job.bytes)}" if job.bytes else ""
    return (
        short(job.run_id),
        f"{job.actor}@{job.host}",
        _show(job.started_at),
        f"{job.step} of {job.steps}",
        f"{job.table_name}: {job.doing}" if job.doing else "",
        job.units,
        rows + sizes,
        _show(job.expected_end) if job.expected_end else "",
        _state(job, now),
    )


def _data(job: RunState, now: dt.datetime) -> dict[str, Any]:
    """A run as plain values."""
    from cratedb_retention.execution.results import plain_row

    return {**plain_row(job.row()), "silent": job.is_silent(now)}


def _watch(read: Callable[[], Sequence[RunState]], clock: Clock) -> None:
    """Show runs, each second anew, until Ctrl-C."""
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        while True:
            live.update(_table(read(), clock.now()), refresh=True)
            clock.sleep(_WATCH_SECONDS)


def _table(jobs: Sequence[RunState], now: dt.datetime) -> Table | Text:
    from rich.table import Table
    from rich.text import Text

    if not jobs:
        return Text(f"nothing runs at {_show(now)}")
    table = Table(*_COLUMNS)
    for job in jobs:
        table.add_row(*(Text(visible(cell)) for cell in _row(job, now)))
    return table


def _state(job: RunState, now: dt.datetime) -> str:
    if job.is_silent(now):
        return f"silent since {_show(job.heartbeat_at)}"
    return f"cancelled by {job.cancel_by}" if job.cancel_by else job.state


def _show(moment: dt.datetime) -> str:
    return show(to_ms(moment) // 1000 * 1000)
