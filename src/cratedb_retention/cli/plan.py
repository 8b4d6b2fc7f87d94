"""``plan``: what a run would do, and why."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.planview import write_plan
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.words import plural


@click.command("plan")
@options.database
@options.selection
@options.cutoff
@options.output_format
@click.option("--sql", is_flag=True, help="Show the statements.")
@click.option("--check", is_flag=True, help="End with 1 if there are problems, as `run` would.")
def command(
    dburi: str | None,
    schema: str,
    chosen: options.Chosen,
    when: options.Cutoff,
    form: str,
    sql: bool,
    check: bool,
) -> None:
    """
    Show what a run would do: each step with its reason, and what is held and why. Nothing is changed.

    \b
    Examples:
      cratedb-retention plan crate://localhost:4200/
      cratedb-retention plan --tags=acme --cutoff-day=2024-06-01 --sql
      cratedb-retention plan --check
    """
    with options.open_retention(dburi, schema, read_only=True) as retention:
        prepared = when.prepare(retention, chosen)
        write_plan(prepared, retention, form, sql)
    problems = len(prepared.plan.problems)
    if check and problems:
        raise RetentionError("plan", plural(problems, "problem"), "somebody has to look; the reasons are in the plan")
