"""``jobs``: the audit log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.errors import NotFound
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.words import short, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.store.audit import JournalFilter


def _require_known(retention: Retention, wanted: JournalFilter) -> None:
    """
    Make sure that what a filter names is somewhere in the audit log.

    :raises NotFound: if not: nobody should take a misspelt name for good news.
    """
    from cratedb_retention.store.audit import JournalFilter

    for thing, alone in {
        f"table {wanted.table_name}": JournalFilter(table_name=wanted.table_name),
        f"policy {wanted.policy_id}": JournalFilter(policy_id=wanted.policy_id),
        f"run {wanted.run_id}": JournalFilter(run_id=wanted.run_id),
        f"tags {wanted.tags}": JournalFilter(tags=wanted.tags),
    }.items():
        if alone != JournalFilter() and not retention.audit.read(replace(alone, limit=1)):
            raise NotFound(thing, "nothing in the audit log is about it", "leave it out to see all")


@click.command("jobs")
@options.database
@click.option("--table-name", type=options.TEXT, help="Only this table.")
@click.option("--policy", "policy_id", type=options.TEXT, help="Only the policy whose identifier begins so.")
@click.option("--run", "run_id", type=options.TEXT, help="Only the run whose identifier begins so.")
@options.tags
@click.option("--outcome", type=click.Choice(tuple(map(str, Outcome))), help="Only what ended so.")
@click.option(
    "--event", type=click.Choice(tuple(map(str, Event))), metavar="EVENT", help=f"Only these: {', '.join(Event)}."
)
@click.option("--since", type=options.TEXT, metavar="INSTANT", help="Only from this instant on; -7d is a week ago.")
@click.option("--until", type=options.TEXT, metavar="INSTANT", help="Only before this instant.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many rows.")
@options.output_format
def command(
    dburi: str | None,
    schema: str,
    tags: tuple[str, ...],
    since: str | None,
    until: str | None,
    form: str,
    **wanted: Any,
) -> None:
    """
    Show the audit log, newest first: changes of policies, runs, steps, holds, with outcome, who and where.

    \b
    Examples:
      cratedb-retention jobs crate://localhost:4200/
      cratedb-retention jobs --outcome=failed --since=2024-06-01 --format=json
      cratedb-retention jobs --tags=acme --event=slot-finished --since=-7d
    """
    from cratedb_retention.execution.results import plain_row
    from cratedb_retention.model.duration import read_moment
    from cratedb_retention.model.tags import parse_tag_filter
    from cratedb_retention.store.audit import JournalFilter

    with options.open_retention(dburi, schema, read_only=True) as retention:
        now = retention.clock.now()
        chosen = JournalFilter(
            since=read_moment(since, now) if since else None,
            until=read_moment(until, now) if until else None,
            tags=parse_tag_filter(tags),
            **wanted,
        )
        rows = retention.audit.read(chosen)
        if not rows:
            _require_known(retention, chosen)
    if form != "table":
        write_data([plain_row(row) for row in rows], form)
        return
    if not rows:
        say("nothing in the audit log fits")
        return
    columns = ("time (UTC)", "event", "outcome", "table", "what", "rows", "size", "who", "run")
    write_table(
        columns,
        [
            (
                f"{row['time']:%Y-%m-%d %H:%M:%S}",
                row["event"],
                row["outcome"],
                row["table_name"],
                "\n".join(text for text in (row["message"], row["error"]) if text),
                row["rows"],
                show_size(row["bytes"]) if row["bytes"] else None,
                f"{row['actor']}@{row['host']}",
                short(row["run_id"]),
            )
            for row in rows
        ],
        ("rows", "size"),
    )
