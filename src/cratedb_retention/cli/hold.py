"""``hold``: keep data whatever the policies say."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data


@click.command("hold")
@options.database
@click.option("--table-schema", type=options.TEXT, help="The table's schema; * and ? are wildcards.")
@click.option("--table-name", type=options.TEXT, required=True, help="The table's name; * and ? are wildcards.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only data with this value.")
@click.option("--from", "start", type=options.TEXT, metavar="INSTANT", help="Only data from this instant on.")
@click.option("--to", "end", type=options.TEXT, metavar="INSTANT", help="Only data before this instant.")
@click.option("--reason", default="", help="For people: a case number, a name.")
@options.output_format
def command(
    dburi: str | None,
    schema: str,
    table_schema: str | None,
    table_name: str,
    where: tuple[str, ...],
    start: str | None,
    end: str | None,
    reason: str,
    form: str,
) -> None:
    """
    Keep data whatever the policies say, until it is released: a table, a partition, a stretch of time, or any of these
    together. Nothing under a hold is deleted, moved or archived.

    \b
    Examples:
      cratedb-retention hold --table-name=events --reason='case 4711' --format=json
      cratedb-retention hold --table-name='events_*' --where tenant=acme --from=2024-01-01 --to=2024-04-01
    """
    from cratedb_retention.model.instant import parse_instant
    from cratedb_retention.model.pairs import read_pairs

    pairs = read_pairs("--where", where)
    with options.open_retention(dburi, schema) as retention:
        hold = retention.hold(
            table_name,
            table_schema,
            where=pairs,
            start=parse_instant(start) if start else None,
            end=parse_instant(end) if end else None,
            reason=reason,
        )
        if form != "table":
            from cratedb_retention.execution.plain import hold_data

            write_data({**hold_data(hold), "tables": list(map(str, retention.held_tables(hold)))}, form)
            return
        say(f"hold {hold.id} is in force; end it with `cratedb-retention release {hold.id}`")
        if not retention.held_tables(hold):
            say(f"Warning: no table fits {hold.table_schema}.{hold.table_name} now; is the name right?", "yellow")
