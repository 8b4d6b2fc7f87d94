"""``verify-rollups``: compare each rollup with its source; ``accept-table``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import say, write_data, write_notes, write_table
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.rollups.levels import Difference


@click.command("verify-rollups")
@options.database
@options.raw_table
@options.output_format
def verify_rollups(database: options.Database, table_name: str, table_schema: str | None, form: str) -> None:
    """
    Compare each rollup of a table with its source, for the time range that both contain: the number of rows, and the
    sums and counts of each metric. Where the source is gone from its table, archived rows take its place if they are
    Parquet; notes name these time ranges. The exit code is 1 if they differ. The next run computes stale windows again,
    whose source changed since they were computed, but not wrong ones.

    \b
    Examples:
      cratedb-retention verify-rollups --table-name=weather crate://localhost:4200/
    """
    notes: list[str] = []
    with database.open(read_only=True) as retention:
        found = retention.rollups.verify(table_name, table_schema, notes.append)
    levels = dict.fromkeys(difference.level for difference in found)
    if form != "table":
        write_data([difference.to_dict() for difference in found], form)
    elif found:
        columns = ("level", "what", "from", "to", "source", "expected", "found", "state")
        rows = [(d.level, d.what, show(d.start), show(d.end), d.source, d.expected, d.found, _state(d)) for d in found]
        write_table(columns, rows, right=("expected", "found"))
        for level in levels:
            say(f"{level}: {_count(d for d in found if d.level == level)}")
    else:
        say(f"verified: each rollup of {table_name} matches its source", "green")
    write_notes(notes)
    if found:
        stale = "the next run computes it again" if all(difference.stale for difference in found) else ""
        reason = f"{plural(len(levels), 'level')} of {table_name} differ from their source: {_count(found)}"
        raise RetentionError("verify-rollups", reason, stale)


def _state(difference: Difference) -> str:
    return "stale" if difference.stale else "wrong"


def _count(found: Iterable[Difference]) -> str:
    """The number of differences by kind: ``2 stale, 1 wrong``."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(Counter(map(_state, found)).items()))


@click.command("accept-table")
@options.connected()
@click.option("--table-name", type=TEXT, required=True, help="Name of the table; * and ? are wildcards.")
@click.option("--table-schema", type=TEXT, help="Schema of the table; * and ? are wildcards. [default: the database's]")
def accept_table(retention: Retention, table_name: str, table_schema: str | None) -> None:
    """
    Accept a table that was dropped and created again, restored or copied as the one that existing rollups, snapshots
    and holds of its name refer to. From then on, rows of a time range that was rolled up and expired count as late: a
    policy with `late: drop` deletes them.

    \b
    Examples:
      cratedb-retention accept-table --table-name=weather crate://localhost:4200/
    """
    for table in retention.rollups.accept_tables(table_name, table_schema):
        say(f"accepted {table}")
