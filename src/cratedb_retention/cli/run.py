"""``run``: do what is due."""

from __future__ import annotations

import dataclasses

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import short, write_data
from cratedb_retention.cli.planview import write_plan
from cratedb_retention.errors import RetentionError


@click.command("run")
@options.database
@options.selection
@options.cutoff
@options.output_format
@click.option("--dry-run", is_flag=True, help="Only show the plan, with its statements; the same as `plan --sql`.")
def command(
    dburi: str | None, schema: str, chosen: options.Chosen, when: options.Cutoff, form: str, dry_run: bool
) -> None:
    """
    Do what is due. What can't be done now is reported, written to the audit log, and tried again by the next run;
    if something failed, or somebody has to look at it, the exit code is 1.

    \b
    Examples:
      cratedb-retention run crate://localhost:4200/
      cratedb-retention run --strategy=delete --tags=acme --cutoff-day=2024-06-01
      cratedb-retention run --dry-run
    """
    from cratedb_retention.cli.progress import observer, summary
    from cratedb_retention.execution.retrying import retry

    with options.open_retention(dburi, schema) as retention:
        if dry_run:
            write_plan(when.prepare(retention, chosen), retention, form, sql=True)
            return
        prepared = retry(lambda: when.prepare(retention, chosen), retention.clock.sleep)
        with observer(prepared, quiet=form != "table") as observe:
            report = retention.run(prepared, observers=[observe])
    if form != "table":
        write_data({**dataclasses.asdict(report), "ok": report.ok}, form)
    if not report.ok:
        raise RetentionError(
            f"run {short(report.run_id)}", summary(report), f"`cratedb-retention jobs --run={short(report.run_id)}`"
        )
