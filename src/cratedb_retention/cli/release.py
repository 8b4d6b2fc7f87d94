"""``release``: end a hold."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say


@click.command("release")
@click.argument("hold_id", type=options.TEXT)
@options.database
def command(hold_id: str, dburi: str | None, schema: str) -> None:
    """
    End a hold; the next run treats the data as any other.

    \b
    Examples:
      cratedb-retention release 2af93f28 crate://localhost:4200/
    """
    with options.open_retention(dburi, schema) as retention:
        hold = retention.release(hold_id)
        say(f"released hold {hold.id} on {hold.table_schema}.{hold.table_name}")
