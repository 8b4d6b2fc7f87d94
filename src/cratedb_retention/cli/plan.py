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
@click.option("--details", is_flag=True, help="Show each task, rather than one line for those that are alike.")
@click.option("--check", is_flag=True, help="End with 1 if there are problems, as `run` would.")
def command(  # noqa: PLR0913 - one for each option
    dburi: str | None,
    schema: str,
    chosen: options.Chosen,
    when: options.Cutoff,
    form: str,
    sql: bool,
    details: bool,
    check: bool,
) -> None:
    """
    Show what a run would do and why, what is blocked and why, and the legal holds in force. Nothing is changed. Tasks
    that are alike are one line, unless --details is given; JSON and YAML have all of them.

    \b
    Examples:
      cratedb-retention plan crate://localhost:4200/
      cratedb-retention plan --tags=acme --cutoff-day=2024-06-01 --sql
      cratedb-retention plan --check
    """
    with options.open_retention(dburi, schema, read_only=True) as retention:
        prepared = when.prepare(retention, chosen)
        write_plan(prepared, retention, form, sql, details)
    problems = len(prepared.plan.problems)
    if check and problems:
        raise RetentionError("plan", plural(problems, "problem"), "a person has to act; the reasons are in the plan")
