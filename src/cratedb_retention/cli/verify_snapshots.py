"""``verify-snapshots``: read snapshots back and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data
from cratedb_retention.cli.snapshot_options import snapshot_options
from cratedb_retention.errors import RetentionError

if TYPE_CHECKING:
    from cratedb_retention.execution.restoring import RestoreRequest


@click.command("verify-snapshots")
@options.database
@snapshot_options
@options.output_format
def command(dburi: str | None, schema: str, request: RestoreRequest, form: str) -> None:
    """
    Read snapshots back and compare them with what was archived. On CrateDB each is restored into the schema of the
    toolkit's tables, counted and dropped again, so there must be room for the largest. Ends with 1 if any is damaged.

    \b
    Examples:
      cratedb-retention verify-snapshots --table-name=metrics crate://localhost:4200/
    """
    from cratedb_retention.model.words import plural

    with options.open_retention(dburi, schema) as retention:
        found = retention.verify_snapshots(request)
    if form != "table":
        write_data([{"name": v.record.archived.name, "found": v.found, "error": v.error} for v in found], form)
    for verified in found if form == "table" else []:
        if verified.error:
            say(f"failed: {verified.error}", "red")
        else:
            say(f"right: {verified.record.archived.name}: {verified.found}", "green")
    if not found and form == "table":
        say("no snapshot fits")
    failed = sum(verified.error is not None for verified in found)
    if failed:
        raise RetentionError("verify-snapshots", f"{failed:,} of {plural(len(found), 'snapshot')} can't be relied on")
