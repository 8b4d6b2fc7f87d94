"""``jobs``: the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import Cells, write_list
from cratedb_retention.errors import NotFound
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.words import short, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.store.audit import JournalFilter


_CELLS: Cells[Mapping[str, Any]] = {
    "time (UTC)": lambda row: f"{row['time']:%Y-%m-%d %H:%M:%S}",
    "event": lambda row: row["event"],
    "outcome": lambda row: row["outcome"],
    "table": lambda row: row["table_name"],
    "what": lambda row: "\n".join(text for text in (row["message"], row["error"]) if text),
    "rows": lambda row: row["rows"],
    "size": lambda row: show_size(row["bytes"]) if row["bytes"] else None,
    "who": lambda row: f"{row['actor']}@{row['host']}",
    "run": lambda row: short(row["run_id"]),
}


@click.command("jobs")
@options.database
@click.option("--table-name", type=TEXT, help="Only this table.")
@click.option("--policy", "policy_id", type=TEXT, help="Filter by the beginning of the policy's identifier.")
@click.option("--run", "run_id", type=TEXT, help="Filter by the beginning of the run's identifier.")
@options.tags
@click.option("--outcome", type=options.Values(Outcome), help="Only entries with this outcome.")
@click.option("--event", type=options.Values(Event), metavar="EVENT", help=f"Filter by event: {', '.join(Event)}.")
@click.option("--since", type=TEXT, metavar="INSTANT", help="Only entries since this instant; -7d is a week ago.")
@click.option("--until", type=TEXT, metavar="INSTANT", help="Only entries before this instant.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Maximum number of rows.")
@options.output_format
def jobs(
    database: options.Database, tags: tuple[str, ...], since: str | None, until: str | None, form: str, **wanted: Any
) -> None:
    """
    Show the audit log, newest entries first: changes of policies, holds, runs and steps, with outcome, user and host.

    \b
    Examples:
      cratedb-retention jobs crate://localhost:4200/
      cratedb-retention jobs --outcome=failed --since=2024-06-01 --format=json
      cratedb-retention jobs --tags=acme --event=slot-finished --since=-7d
    """
    from cratedb_retention.execution.results import plain_row
    from cratedb_retention.model.duration import read_moment
    from cratedb_retention.model.policies.tags import parse_tag_filter
    from cratedb_retention.store.audit import JournalFilter

    with database.open(read_only=True) as retention:
        now = retention.clock.now()
        first, last = (read_moment(text, now) if text else None for text in (since, until))
        chosen = JournalFilter(since=first, until=last, tags=parse_tag_filter(tags), **wanted)
        rows = retention.audit.stream(chosen)
        newest = list(islice(rows, 1))
        if not newest:
            _require_known(retention, chosen)
        write_list(form, chain(newest, rows), plain_row, _CELLS, "no matching entries in the audit log")


def _require_known(retention: Retention, wanted: JournalFilter) -> None:
    """Raises NotFound if no entry matches a single filter, since the name may be misspelt."""
    from cratedb_retention.store.audit import JournalFilter

    for name, thing in {"table_name": "table", "policy_id": "policy", "run_id": "run", "tags": "tags"}.items():
        value = getattr(wanted, name)
        if value and not retention.audit.read(JournalFilter(**{name: value}, limit=1)):
            raise NotFound(f"{thing} {value}", "no entries in the audit log", "omit this filter to see all")
