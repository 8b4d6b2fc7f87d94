"""``cancel``: end a run before its next step."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say
from cratedb_retention.model.words import short


@click.command("cancel")
@click.argument("run_id", metavar="RUN")
@options.database
def command(run_id: str, dburi: str | None, schema: str) -> None:
    """
    Ask a run to end before its next step, on whatever machine it is. RUN is its identifier, or six characters of its
    beginning, as `status` shows it. What it has done stays done; what is left is due again at the next run.

    \b
    Examples:
      cratedb-retention cancel 1c0ffee5
    """
    with options.open_retention(dburi, schema) as retention:
        job = retention.runs.cancel(run_id)
    say(f"run {short(job.run_id)} of {job.actor}@{job.host} ends before its next step")
