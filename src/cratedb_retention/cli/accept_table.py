"""``accept-table``: take tables for the earlier ones of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say

if TYPE_CHECKING:
    from cratedb_retention.api import Retention


@click.command("accept-table")
@options.connected()
@click.option("--table-name", type=options.TEXT, required=True, help="The table; name or pattern.")
@click.option(
    "--table-schema", type=options.TEXT, help="Its schema, a name or pattern; the database's default one if omitted."
)
def command(retention: Retention, table_name: str, table_schema: str | None) -> None:
    """
    Take a table for the one that rollups, snapshots and holds of its name are of, though it was dropped and created
    again, or restored or copied. From then on, rows of a time that was rolled up and expired count as late: a policy
    with `late: drop` deletes them.

    \b
    Examples:
      cratedb-retention accept-table --table-name=weather crate://localhost:4200/
    """
    for table in retention.rollups.accept_tables(table_name, table_schema):
        say(f"accepted {table}")
