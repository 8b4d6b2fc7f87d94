"""``hold``, ``list-holds``, ``release``: legal holds, which protect data from all policies."""

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
@click.option("--table-schema", type=options.TEXT, help="Schema of the table; * and ? are wildcards.")
@click.option("--table-name", type=options.TEXT, required=True, help="Name of the table; * and ? are wildcards.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only rows with this value; may be repeated.")
@click.option("--from", "start", type=options.TEXT, metavar="INSTANT", help="Start of the time range.")
@click.option("--to", "end", type=options.TEXT, metavar="INSTANT", help="End of the time range, exclusive.")
@click.option("--reason", default="", help="Reason, such as a case number.")
@options.output_format
def hold(
    database: options.Database, where: tuple[str, ...], start: str | None, end: str | None, form: str, **said: Any
) -> None:
    """
    Place a legal hold on a table, on rows with a value, on a time range, or on any combination of these. Data under a
    hold is neither deleted, moved nor archived until the hold is released.

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
    say(f"hold {placed.id} is in force; release it with `cratedb-retention release {placed.id}`")
    if not tables:
        say(f"Warning: no table matches {placed.target} at present; check the name", "yellow")


@click.command("list-holds")
@options.connected(read_only=True)
@options.output_format
def list_holds(retention: Retention, form: str) -> None:
    """
    List the legal holds in force.

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
    write_list(form, retention.holds(), Hold.of, cells, "no legal holds are in force")


@click.command("release")
@click.argument("hold_id", type=options.TEXT)
@options.connected()
def release(retention: Retention, hold_id: str) -> None:
    """
    Release a legal hold. The next run applies policies to the data again. HOLD_ID is its full identifier.

    \b
    Examples:
      cratedb-retention release 2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6 crate://localhost:4200/
    """
    ended = retention.holds.release(hold_id)
    say(f"released hold {ended.id} on {ended.target}")
