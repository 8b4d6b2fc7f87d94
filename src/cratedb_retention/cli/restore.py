"""``restore``: bring archived partitions back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say
from cratedb_retention.cli.snapshots import snapshot_options
from cratedb_retention.errors import InvalidInput, RetentionError

if TYPE_CHECKING:
    from cratedb_retention import Retention
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.execution.preview import Restorable


@click.command("restore")
@options.database
@snapshot_options
@click.option(
    "--into",
    type=options.TEXT,
    metavar="SCHEMA.TABLE",
    help="Restore beside, into this table, which may exist already.",
)
@click.option("--all", "everything", is_flag=True, help="Restore every partition.")
@click.option(
    "--from-repository",
    type=options.TEXT,
    metavar="REPOSITORY",
    help="Restore what is in this repository, even if the toolkit's own tables do not know it.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be restored, with the statements.")
def command(
    dburi: str | None,
    schema: str,
    request: RestoreRequest,
    into: str | None,
    everything: bool,
    from_repository: str | None,
    dry_run: bool,
) -> None:
    """
    Bring archived partitions back: those of a table and a stretch of time, each from all of its snapshots, or from one
    by its name. What goes into its own table is on hold, so that the next run leaves it alone; `release` ends that.

    \b
    Examples:
      cratedb-retention restore --name=doc-metrics-2024-01-01-5d41402abc4b crate://localhost:4200/
      cratedb-retention restore --table-name=metrics --from=2024-01-01 --to=2024-04-01 --into=doc.metrics_restored
    """
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.model.catalog import TableName
    from cratedb_retention.model.words import plural

    if not everything and not from_repository and request == RestoreRequest():
        raise InvalidInput("restore", "nothing is chosen", "give --name, --table-name, --from, --to, or --all")
    with options.open_retention(dburi, schema) as retention:
        target = None
        if into:
            before, _, after = into.rpartition(".")
            if not after.strip() or "." in before:
                raise InvalidInput(f"--into {into!r}", "not of the form SCHEMA.TABLE", "write it like doc.restored")
            target = TableName(before or retention.default_schema, after)
        request = dataclasses.replace(request, into=target, from_repository=from_repository)
        if dry_run:
            _show(retention, retention.archive.preview(request))
            return
        restored = retention.archive.restore(request)
    for item in restored:
        if item.error:
            say(f"failed: {item.record.archived.name}: {item.error}", "red")
            continue
        hold = f"; on hold until `cratedb-retention release {item.hold_id}`" if item.hold_id else ""
        rows = f"{item.rows:,} rows" if item.rows is not None else "done"
        say(f"restored: {item.record.archived.name} into {item.into}, {rows}{hold}", "green")
    failed = sum(item.error is not None for item in restored)
    if failed:
        raise RetentionError("restore", f"{failed:,} of {plural(len(restored), 'snapshot')} did not come back")


def _show(retention: Retention, found: Sequence[Restorable]) -> None:
    """What would be done, partition by partition."""
    for _, group in itertools.groupby(found, key=lambda item: item.record.partition):
        items = list(group)
        for item in items:
            name = item.record.archived.name
            if item.refusal:
                say(f"would not restore {name}: {item.refusal}", "red")
            else:
                say(f"would restore {name} into {item.into}")
        for line in retention.archive.statements(items):
            say(f"{line};", "dim")
