"""``restore``: bring archived partitions back."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, short
from cratedb_retention.cli.snapshot_options import read_request, snapshot_options
from cratedb_retention.errors import InvalidInput, NotFound, RetentionError


@click.command("restore")
@options.database
@snapshot_options
@click.option(
    "--into",
    type=options.TEXT,
    metavar="SCHEMA.TABLE",
    help="Restore beside, into this table, which may exist already.",
)
@click.option("--all", "everything", is_flag=True, help="Restore every snapshot.")
@click.option("--dry-run", is_flag=True, help="Only show what would be restored, with the statements.")
def command(
    dburi: str | None,
    schema: str,
    name: str | None,
    table_schema: str | None,
    table_name: str | None,
    start: str | None,
    end: str | None,
    into: str | None,
    everything: bool,
    dry_run: bool,
) -> None:
    """
    Bring archived partitions back: one by its name, or those of a table and a stretch of time. What goes into its own
    table is on hold, so that the next run leaves it alone; `release` ends that.

    \b
    Examples:
      cratedb-retention restore --name=doc-metrics-2024-01-01-5d41402abc4b crate://localhost:4200/
      cratedb-retention restore --table-name=metrics --from=2024-01-01 --to=2024-04-01 --into=doc.metrics_restored
    """
    from cratedb_retention.execution.restoring import choose_latest
    from cratedb_retention.model.catalog import TableName
    from cratedb_retention.model.words import plural

    if not everything and not any((name, table_name, table_schema, start, end)):
        raise InvalidInput("restore", "nothing is chosen", "give --name, --table-name, --from, --to, or --all")
    with options.open_retention(dburi, schema) as retention:
        target = None
        if into:
            before, _, after = into.rpartition(".")
            if not after.strip() or "." in before:
                raise InvalidInput(f"--into {into!r}", "not of the form SCHEMA.TABLE", "write it like doc.restored")
            target = TableName(before or retention.engine.capabilities.default_schema, after)
        request = read_request(name, table_schema, table_name, start, end, target)
        if dry_run:
            found = choose_latest(retention.snapshots(request))
            if not found:
                raise NotFound("snapshots", "none fits", "`cratedb-retention list-snapshots` shows what there is")
            for record in found:
                say(f"would restore {record.archived.name} into {target or record.archived.table}")
                for line in retention.engine.archive.render_restore(record.archived, target or record.archived.table):
                    say(f"{line};", "dim")
            return
        restored = retention.restore(request)
    for item in restored:
        if item.error:
            say(f"failed: {item.record.archived.name}: {item.error}", "red")
            continue
        hold = f"; on hold until `cratedb-retention release {short(item.hold_id)}`" if item.hold_id else ""
        rows = f"{item.rows:,} rows" if item.rows is not None else "done"
        say(f"restored: {item.record.archived.name} into {item.into}, {rows}{hold}", "green")
    failed = sum(item.error is not None for item in restored)
    if failed:
        raise RetentionError("restore", f"{failed:,} of {plural(len(restored), 'snapshot')} did not come back")
