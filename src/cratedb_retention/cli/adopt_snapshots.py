"""``adopt-snapshots``: note what is in a repository, as after the loss of the toolkit's own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.cli.snapshot_options import snapshot_cells, snapshot_options

if TYPE_CHECKING:
    from cratedb_retention.execution.restoring import RestoreRequest


@click.command("adopt-snapshots")
@options.database
@click.option("--repository", required=True, type=options.TEXT, help="The repository; a directory on DuckDB.")
@snapshot_options
@click.option("--dry-run", is_flag=True, help="Only show what would be adopted.")
@options.output_format
def command(dburi: str | None, schema: str, repository: str, request: RestoreRequest, dry_run: bool, form: str) -> None:
    """
    Note the snapshots of a repository in the toolkit's own table, so that they can be listed, verified and restored:
    after that table was lost, or where another database made them. Snapshots that it has stay as they are.

    \b
    Examples:
      cratedb-retention adopt-snapshots --repository=export_cold --dry-run crate://localhost:4200/
    """
    from cratedb_retention.execution.results import Adoptable
    from cratedb_retention.model.words import plural

    with options.open_retention(dburi, schema) as retention:
        found = retention.adopt_snapshots(repository, request, dry_run=dry_run)
    if form != "table":
        write_data([Adoptable.of(item) for item in found], form)
        return
    new = [item.record for item in found if not item.known]
    if new:
        rows = [(*snapshot_cells(record), record.archived.name) for record in new]
        write_table(("table", "partition", "rows", "size", "state", "name"), rows, ("rows", "size"))
    done = "would be adopted" if dry_run else "adopted"
    say(f"{plural(len(new), 'snapshot')} {done}; {len(found) - len(new):,} known already")
