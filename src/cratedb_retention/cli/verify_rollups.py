"""``verify-rollups``: compare each rollup with what is beneath it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.errors import RetentionError

if TYPE_CHECKING:
    from cratedb_retention.execution.rollups import Difference


@click.command("verify-rollups")
@options.database
@click.option("--table-name", type=options.TEXT, required=True, help="The table with the raw rows.")
@click.option("--table-schema", type=options.TEXT, help="Its schema, if not the database's default one.")
@options.output_format
def command(dburi: str | None, schema: str, table_name: str, table_schema: str | None, form: str) -> None:
    """
    Compare each rollup of a table with the level beneath it, for the time that both hold: the number of rows, and the
    sums and counts of each metric. Ends with 1 if anything differs: what is stale, since rows came after it was
    computed, is computed again by the next run; what is wrong is not.

    \b
    Examples:
      cratedb-retention verify-rollups --table-name=weather crate://localhost:4200/
    """
    from cratedb_retention.model.time import show
    from cratedb_retention.model.words import plural

    with options.open_retention(dburi, schema, read_only=True) as retention:
        found = retention.rollups.verify(table_name, table_schema)
    if form != "table":
        write_data([difference.to_dict() for difference in found], form)
    elif found:
        rows = [
            (
                d.level,
                d.what,
                show(d.start),
                show(d.end),
                d.beneath,
                d.expected,
                d.found,
                "stale" if d.stale else "wrong",
            )
            for d in found
        ]
        columns = ("level", "what", "from", "to", "beneath", "expected", "found", "state")
        write_table(columns, rows, ("expected", "found"))
        for level in dict.fromkeys(d.level for d in found):
            say(f"{level}: {_count(d for d in found if d.level == level)}")
    else:
        say(f"right: each rollup of {table_name} holds what is beneath it", "green")
    if found:
        levels = plural(len({difference.level for difference in found}), "level")
        stale = "the next run computes it again" if all(difference.stale for difference in found) else ""
        reason = f"{levels} of {table_name} differ from what is beneath: {_count(found)}"
        raise RetentionError("verify-rollups", reason, stale)


def _count(found: Iterable[Difference]) -> str:
    """How many differences there are, of which kind: ``2 stale, 1 wrong``."""
    kinds = Counter("stale" if difference.stale else "wrong" for difference in found)
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
