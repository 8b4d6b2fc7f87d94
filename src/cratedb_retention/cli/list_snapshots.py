"""``list-snapshots``: what was archived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.cli.snapshot_options import snapshot_options

if TYPE_CHECKING:
    from cratedb_retention.execution.restoring import RestoreRequest


@click.command("list-snapshots")
@options.database
@snapshot_options
@options.output_format
def command(dburi: str | None, schema: str, request: RestoreRequest, form: str) -> None:
    """
    List what was archived, and what its repository says about it.

    \b
    Examples:
      cratedb-retention list-snapshots crate://localhost:4200/
      cratedb-retention list-snapshots --table-name=metrics --from=2024-01-01 --to=2024-07-01 --format=json
    """
    from cratedb_retention.execution.previewing import ArchiveLine
    from cratedb_retention.execution.restoring import RestoreRequest, none_fits
    from cratedb_retention.execution.results import Snapshot

    with options.open_retention(dburi, schema, read_only=True) as retention:
        records = retention.snapshots(request)
        if not records and request != RestoreRequest():
            raise none_fits()
        states = retention.snapshot_states(records)
    data = [Snapshot.of(ArchiveLine(record=each, state=states.get(each.key))) for each in records]
    if form != "table":
        write_data(data, form)
    elif records:
        rows = [
            (*snapshot_cells(record), row.repository_state, *record.key)
            for record, row in zip(records, data, strict=True)
        ]
        columns = ("table", "partition", "rows", "size", "state", "in the repository", "repository", "name")
        write_table(columns, rows, ("rows", "size"))
    else:
        say("no snapshot fits; policies with the strategy snapshot make them")
