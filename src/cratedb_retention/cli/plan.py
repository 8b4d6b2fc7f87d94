"""``plan``: what a run would do, and why."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.planview import write_plan


@click.command("plan")
@options.database
@options.selection
@options.cutoff
@options.output_format
@click.option("--sql", is_flag=True, help="Show the statements.")
def command(
    dburi: str | None,
    schema: str,
    strategy: str | None,
    tags: tuple[str, ...],
    policy_id: str | None,
    cutoff: str | None,
    cutoff_day: str | None,
    allow_future_cutoff: bool,
    form: str,
    sql: bool,
) -> None:
    """
    Show what a run would do: each step with its reason, and what is held and why. Nothing is changed.

    \b
    Examples:
      cratedb-retention plan crate://localhost:4200/
      cratedb-retention plan --tags=acme --cutoff-day=2024-06-01 --sql
    """
    moment = options.read_cutoff(cutoff, cutoff_day)
    with options.open_retention(dburi, schema) as retention:
        chosen = options.read_selection(retention, strategy, tags, policy_id)
        prepared = retention.prepare(moment, chosen, allow_future=allow_future_cutoff)
        write_plan(prepared, retention, form, sql)
