"""``status``: what is kept where, and what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.model.words import short, show_size

if TYPE_CHECKING:
    from cratedb_retention.execution.overview import Line


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
    from cratedb_retention.cli.jobview import COLUMNS, job_data, job_row
    from cratedb_retention.cli.jobview import watch as watch_jobs
    from cratedb_retention.execution.overview import overview
    from cratedb_retention.execution.plain import line_data, plain_row
    from cratedb_retention.model.audit import Event
    from cratedb_retention.model.instant import show
    from cratedb_retention.store.journal import JournalFilter

    with options.open_retention(dburi, schema, read_only=True) as retention:
        if watch:
            watch_jobs(retention.running, retention.clock.now, retention.clock.sleep)
            return
        now, jobs = retention.clock.now(), retention.running()
        lines = overview(when.prepare(retention, chosen))
        last = next(iter(retention.journal(JournalFilter(event=Event.RUN_FINISHED, limit=1))), None)
    if form != "table":
        found = {"policies": [line_data(line) for line in lines], "last_run": plain_row(last) if last else None}
        write_data({**found, "running": [job_data(job, now) for job in jobs]}, form)
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
        write_table(COLUMNS, [job_row(job, now) for job in jobs], ())


def _due(line: Line) -> str | None:
    if line.due_partitions:
        return f"{line.due_partitions:,} partitions"
    return f"{line.due_rows:,} rows" if line.due_rows else None
