"""``list-holds``: the holds in force."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table


@click.command("list-holds")
@options.database
@options.output_format
def command(dburi: str | None, schema: str, form: str) -> None:
    """
    List the holds in force.

    \b
    Examples:
      cratedb-retention list-holds crate://localhost:4200/
    """
    from cratedb_retention.execution.plain import hold_data
    from cratedb_retention.model.holds import hold_values
    from cratedb_retention.model.instant import show

    with options.open_retention(dburi, schema, read_only=True) as retention:
        holds = retention.holds()
    if form != "table":
        write_data([hold_data(hold) for hold in holds], form)
        return
    if not holds:
        say("no holds are in force")
        return
    rows = [
        (
            hold.id,
            hold.kind,
            f"{hold.table_schema}.{hold.table_name}",
            hold_values(hold, ", "),
            show(hold.start) if hold.start is not None else None,
            show(hold.end) if hold.end is not None else None,
            hold.reason,
            hold.placed_by,
        )
        for hold in holds
    ]
    write_table(("id", "kind", "table", "where", "from", "to", "reason", "by"), rows)
