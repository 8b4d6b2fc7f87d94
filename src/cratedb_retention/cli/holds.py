"""``hold``, ``list-holds``, ``release``: data that stays, whatever the policies say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import Cells, say, write_data, write_list
from cratedb_retention.model.time import parse_instant, show

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.model.holds import LegalHold


@click.command("hold")
@options.database
@click.option("--table-schema", type=options.TEXT, help="The table's schema; * and ? are wildcards.")
@click.option("--table-name", type=options.TEXT, required=True, help="The table's name; * and ? are wildcards.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only data with this value.")
@click.option("--from", "start", type=options.TEXT, metavar="INSTANT", help="Only data from this instant on.")
@click.option("--to", "end", type=options.TEXT, metavar="INSTANT", help="Only data before this instant.")
@click.option("--reason", default="", help="For people: a case number, a name.")
@options.output_format
def hold(
    database: options.Database, where: tuple[str, ...], start: str | None, end: str | None, form: str, **said: Any
) -> None:
    """
    Keep data whatever the policies say, until it is released: a table, a partition, a stretch of time, or any of these
    together. Nothing under a hold is deleted, moved or archived.

    \b
    Examples:
      cratedb-retention hold --table-name=events --reason='case 4711' --format=json
      cratedb-retention hold --table-name='events_*' --where tenant=acme --from=2024-01-01 --to=2024-04-01
    """
    from cratedb_retention.execution.results import Hold
    from cratedb_retention.model.words import read_pairs

    said["where"] = read_pairs("--where", where)
    said["start"], said["end"] = (parse_instant(text) if text else None for text in (start, end))
    with database.open() as retention:
        placed = retention.holds.place(**said)
        tables = retention.holds.tables(placed)
    if form != "table":
        write_data({**Hold.of(placed).model_dump(), "tables": list(map(str, tables))}, form)
        return
    say(f"hold {placed.id} is in force; end it with `cratedb-retention release {placed.id}`")
    if not tables:
        say(f"Warning: no table fits {placed.target} now; is the name right?", "yellow")


@click.command("list-holds")
@options.connected(read_only=True)
@options.output_format
def list_holds(retention: Retention, form: str) -> None:
    """
    List the holds in force.

    \b
    Examples:
      cratedb-retention list-holds crate://localhost:4200/
    """
    from cratedb_retention.execution.results import Hold
    from cratedb_retention.model.holds import hold_values

    cells: Cells[LegalHold] = {
        "id": lambda hold: hold.id,
        "kind": lambda hold: hold.kind,
        "table": lambda hold: hold.target,
        "where": lambda hold: hold_values(hold, ", "),
        "from": lambda hold: None if hold.start is None else show(hold.start),
        "to": lambda hold: None if hold.end is None else show(hold.end),
        "reason": lambda hold: hold.reason,
        "by": lambda hold: hold.placed_by,
    }
    write_list(form, retention.holds(), Hold.of, cells, "no holds are in force")


@click.command("release")
@click.argument("hold_id", type=options.TEXT)
@options.connected()
def release(retention: Retention, hold_id: str) -> None:
    """
    End a hold; the next run treats the data as any other. HOLD_ID is its whole identifier, as `list-holds` shows it.

    \b
    Examples:
      cratedb-retention release 2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6 crate://localhost:4200/
    """
    ended = retention.holds.release(hold_id)
    say(f"released hold {ended.id} on {ended.target}")
