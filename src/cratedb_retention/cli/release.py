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
    End a hold; the next run treats the data as any other. HOLD_ID is its whole identifier, as `list-holds` shows it.

    \b
    Examples:
      cratedb-retention release 2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6 crate://localhost:4200/
    """
    with options.open_retention(dburi, schema) as retention:
        hold = retention.release(hold_id)
        say(f"released hold {hold.id} on {hold.table_schema}.{hold.table_name}")
