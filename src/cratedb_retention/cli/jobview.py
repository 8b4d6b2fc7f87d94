"""
Shows the runs that go on: for ``status``, once or again and again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from cratedb_retention.cli.output import console, visible
from cratedb_retention.model.instant import show, to_ms
from cratedb_retention.model.words import short, show_size

if TYPE_CHECKING:
    from cratedb_retention.store.jobs import Job

COLUMNS = ("run", "who", "since", "step", "doing", "progress", "rows", "end", "state")
WATCH_SECONDS = 1.0


def job_row(job: Job, now: dt.datetime) -> tuple[str, ...]:
    """A run as a row of a table."""
    rows = f"{job.rows_done:,} of {job.rows:,}" if job.rows is not None else ""
    sizes = f", {show_size(job.bytes_done)} of {show_size(job.bytes)}" if job.bytes else ""
    return (
        short(job.run_id),
        f"{job.actor}@{job.host}",
        _show(job.started_at),
        f"{job.step} of {job.steps}",
        f"{job.table_name}: {job.doing}" if job.doing else "",
        _progress(job),
        rows + sizes,
        _show(job.expected_end) if job.expected_end else "",
        _state(job, now),
    )


def job_data(job: Job, now: dt.datetime) -> dict[str, Any]:
    """A run as plain values."""
    from dataclasses import asdict

    from cratedb_retention.execution.plain import plain_row

    return {**plain_row(asdict(job)), "silent": job.is_silent(now)}


def watch(read: Callable[[], Sequence[Job]], now: Callable[[], dt.datetime], sleep: Callable[[float], None]) -> None:
    """Show runs, each second anew, until Ctrl-C."""
    with Live(console=console(), auto_refresh=False) as live:
        while True:
            live.update(_table(read(), now()), refresh=True)
            sleep(WATCH_SECONDS)


def _table(jobs: Sequence[Job], now: dt.datetime) -> Table | Text:
    if not jobs:
        return Text(f"nothing runs at {_show(now)}")
    table = Table(*COLUMNS)
    for job in jobs:
        table.add_row(*(Text(visible(cell)) for cell in job_row(job, now)))
    return table


def _progress(job: Job) -> str:
    if job.done is None or job.unit is None:
        return ""
    return f"{job.done:,} of {job.total:,} {job.unit}s" if job.total is not None else f"{job.done:,} {job.unit}s"


def _state(job: Job, now: dt.datetime) -> str:
    if job.is_silent(now):
        return f"silent since {_show(job.heartbeat_at)}"
    return f"cancelled by {job.cancel_by}" if job.cancel_by else job.state


def _show(moment: dt.datetime) -> str:
    return show(to_ms(moment) // 1000 * 1000)
