"""``list-``, ``verify-``, ``adopt-`` and ``delete-snapshots``, ``restore``, ``undo``: archived partitions."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import Cells, say, write_data, write_list, write_things
from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.archive import Adoptable, Deletable, Restored, RestoreRequest
    from cratedb_retention.execution.iceberg import Mirrored
    from cratedb_retention.execution.plan.preview import ArchiveLine

_CELLS: Cells[ArchiveLine | Adoptable] = {
    "table": lambda item: item.record.archived.table,
    "partition": lambda item: item.record.archived.partition,
    "rows": lambda item: item.record.archived.rows,
    "size": lambda item: show_size(item.record.archived.size),
    "state": lambda item: item.record.stage,
}


def _request(
    name: str | None, table_schema: str | None, table_name: str | None, start: str | None, end: str | None
) -> RestoreRequest:
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.model.time import parse_instant

    first, last = (parse_instant(text) if text else None for text in (start, end))
    return RestoreRequest(name=name, table_schema=table_schema, table_name=table_name, start=first, end=last)


_snapshots = options.gathered(
    "request",
    _request,
    click.option("--name", type=TEXT, help="Name of a snapshot, or at least its first six characters."),
    click.option("--table-schema", type=TEXT, help="Only tables of this schema; * and ? are wildcards."),
    click.option("--table-name", type=TEXT, help="Only this table; * and ? are wildcards."),
    click.option("--from", "start", type=TEXT, metavar="INSTANT", help="Only partitions that end after this instant."),
    click.option("--to", "end", type=TEXT, metavar="INSTANT", help="Only partitions that begin before this instant."),
)


@click.command("list-snapshots")
@options.connected(read_only=True)
@_snapshots
@options.output_format
def list_snapshots(retention: Retention, request: RestoreRequest, form: str) -> None:
    """
    List archived partitions, each with the state of its snapshot in the repository, and when a run deletes it for good
    by the `archive_period` of its policy, or since it is no longer `recoverable`.

    \b
    Examples:
      cratedb-retention list-snapshots crate://localhost:4200/
      cratedb-retention list-snapshots --table-name=metrics --from=2024-01-01 --to=2024-07-01 --format=json
    """
    from cratedb_retention.execution.archive import RestoreRequest, none_fits
    from cratedb_retention.execution.results import Snapshot

    records = retention.archive.stream(request)
    first = list(itertools.islice(records, 1))
    if not first and request != RestoreRequest():
        raise none_fits()
    cells: Cells[ArchiveLine] = {
        **_CELLS,
        "in the repository": lambda line: line.found,
        "ends": lambda line: "never" if line.ends is None else show(line.ends),
        "repository": lambda line: line.record.archived.repository,
        "name": lambda line: line.record.archived.name,
    }
    lines = retention.archive.lines(itertools.chain(first, records))
    nothing = "no snapshots; policies with the strategy `snapshot`, or with `recoverable`, create them"
    write_list(form, lines, Snapshot.of, cells, nothing)


@click.command("verify-snapshots")
@options.connected()
@_snapshots
@options.output_format
def verify_snapshots(retention: Retention, request: RestoreRequest, form: str) -> None:
    """
    Read snapshots back and compare them with what was archived. On CrateDB, each snapshot is restored into the schema
    of the toolkit's tables, counted and dropped again, which requires space for the largest one. The exit code is 1 if
    a snapshot is damaged.

    \b
    Examples:
      cratedb-retention verify-snapshots --table-name=metrics crate://localhost:4200/
    """
    found = retention.archive.verify(request)
    if form != "table":
        write_data([{"name": v.record.archived.name, "found": v.found, "error": v.error} for v in found], form)
    elif not found:
        say("no snapshot matches")
    for verified in found if form == "table" else ():
        if verified.error:
            say(f"failed: {verified.error}", "red")
        else:
            say(f"verified: {verified.record.archived.name}: {verified.found}", "green")
    failed = sum(verified.error is not None for verified in found)
    if failed:
        raise RetentionError("verify-snapshots", f"{failed:,} of {plural(len(found), 'snapshot')} failed verification")


@click.command("adopt-snapshots")
@options.connected()
@click.option(
    "--repository", required=True, type=TEXT, help="Snapshot repository or address; on DuckDB a directory or address."
)
@_snapshots
@click.option("--dry-run", is_flag=True, help="Only show what would be adopted.")
@options.output_format
def adopt_snapshots(retention: Retention, repository: str, request: RestoreRequest, dry_run: bool, form: str) -> None:
    """
    Record the snapshots of a repository in the toolkit's own table, which makes it possible to list, verify and restore
    them: after that table was lost, or if another database created them. Recorded snapshots are not changed.

    \b
    Examples:
      cratedb-retention adopt-snapshots --repository=export_cold --dry-run crate://localhost:4200/
    """
    from cratedb_retention.execution import results

    found = retention.archive.adopt(repository, request, dry_run=dry_run)
    if form != "table":
        write_data([results.Adoptable.of(item) for item in found], form)
        return
    if new := [item for item in found if not item.known]:
        write_things({**_CELLS, "name": lambda item: item.record.archived.name}, new)
    done = "would be adopted" if dry_run else "adopted"
    say(f"{plural(len(new), 'snapshot')} {done}; {len(found) - len(new):,} already known")


@click.command("delete-snapshots")
@options.database
@_snapshots
@click.option("--all", "everything", is_flag=True, help="Delete every snapshot.")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete_snapshots(
    database: options.Database, request: RestoreRequest, everything: bool, dry_run: bool, yes: bool
) -> None:
    """
    Delete archived partitions for good: those of a table and a time range, each with all of its snapshots, or a
    snapshot by name. Snapshots under a legal hold, or in use, stay. Runs delete archives by themselves once the
    `archive_period` of their policy is over.

    \b
    Examples:
      cratedb-retention delete-snapshots --table-name=metrics --to=2019-01-01 --dry-run crate://localhost:4200/
      cratedb-retention delete-snapshots --name=doc-metrics-2024-01-01-5d41402abc4b
    """
    from cratedb_retention.execution.archive import RestoreRequest

    if not everything and request == RestoreRequest():
        raise InvalidInput(
            "delete-snapshots", "nothing is selected", "give --name, --table-name, --from, --to, or --all"
        )
    with database.open() as retention:
        found = retention.archive.deletable(request)
        going = [item.record for item in found if item.why_not is None]
        if dry_run or not yes:
            _show_deletable(found)
        if dry_run:
            return
        if going and not yes:
            _confirm(f"Delete {plural(len(going), 'snapshot')} for good?")
        chosen = frozenset(item.record.key for item in found)
        deleted = retention.archive.delete(dataclasses.replace(request, chosen=chosen))
    for done in deleted:
        name = done.record.archived.name
        say(
            f"not deleted: {name}: {done.error}" if done.error else f"deleted: {name}", "red" if done.error else "green"
        )
    left = sum(done.error is not None for done in deleted)
    if left:
        raise RetentionError("delete-snapshots", f"{left:,} of {plural(len(deleted), 'snapshot')} not deleted")


def _show_deletable(found: Sequence[Deletable]) -> None:
    going = [item.record.archived for item in found if item.why_not is None]
    for item in found:
        archived, why = item.record.archived, f": {item.refusal}" if item.refusal else ""
        would = "would not delete" if why else "would delete"
        say(f"{would} {archived.name}, {archived.table}, {archived.partition}{why}", "red" if why else "")
    rows, size = sum(each.rows or 0 for each in going), sum(each.size or 0 for each in going)
    say(f"{plural(len(going), 'snapshot')} with {plural(rows, 'row')}, {show_size(size)}")


def _confirm(question: str) -> None:
    """Ask a user at a terminal; a script has to state it."""
    if not sys.stdin.isatty():
        raise InvalidInput("delete-snapshots", "this cannot be undone, and there is no terminal to ask", "add --yes")
    click.confirm(question, abort=True, err=True)


@click.command("sync-catalog")
@options.database
@click.option(
    "--catalog",
    type=TEXT,
    help="Name of the catalog in pyiceberg's configuration. [default: the setting `iceberg.catalog`]",
)
@click.option("--table-schema", type=TEXT, help="Only tables of this schema; * and ? are wildcards.")
@click.option("--table-name", type=TEXT, help="Only this table; * and ? are wildcards.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@options.output_format
def sync_catalog(
    database: options.Database,
    catalog: str | None,
    table_schema: str | None,
    table_name: str | None,
    dry_run: bool,
    form: str,
) -> None:
    """
    Bring the tables of an Iceberg catalog up to date with the archives, so that other programs read each archived table
    as one. Nothing is copied: the tables consist of the Parquet files of archives. With the setting `iceberg.catalog`,
    runs and the other commands do this by themselves for the tables that they are about. The exit code is 1 if a table
    is not up to date.

    \b
    Examples:
      cratedb-retention sync-catalog --catalog=lake --dry-run crate://localhost:4200/
      cratedb-retention sync-catalog --table-name=metrics
    """
    with database.open(read_only=dry_run) as retention:
        found = retention.archive.sync(catalog, table_schema=table_schema, table_name=table_name, dry_run=dry_run)
    if form != "table":
        write_data([_as_data(each) for each in found], form)
    elif not found:
        say("no table has archives")
    for each in found if form == "table" else ():
        for reason in each.refused:
            say(f"not in the catalog: {reason}", "yellow")
        if each.error:
            say(f"failed: {each.error}", "red")
        else:
            changes = each.changes if each.added or each.removed else "up to date"
            say(f"{'would change' if dry_run else 'synchronized'}: {each.table}: {changes}", "green")
    failed = sum(each.error is not None for each in found)
    if failed:
        raise RetentionError("sync-catalog", f"{failed:,} of {plural(len(found), 'table')} not up to date")


def _as_data(each: Mirrored) -> dict[str, object]:
    table = None if each.table is None else str(each.table)
    error = None if each.error is None else str(each.error)
    return {"table": table, "added": each.added, "removed": each.removed, "refused": each.refused, "error": error}


@click.command("restore")
@options.database
@_snapshots
@click.option("--into", type=TEXT, metavar="SCHEMA.TABLE", help="Restore into this table, which may exist.")
@click.option("--all", "everything", is_flag=True, help="Restore every partition.")
@click.option(
    "--from-repository",
    type=TEXT,
    metavar="REPOSITORY",
    help="Restore from this repository, even snapshots that the toolkit's own tables do not know.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be restored, with the statements.")
def restore(
    database: options.Database,
    request: RestoreRequest,
    into: str | None,
    everything: bool,
    from_repository: str | None,
    dry_run: bool,
) -> None:
    """
    Restore archived partitions: those of a table and a time range, each from all of its snapshots, or a snapshot by
    name. A legal hold protects partitions that are restored into their original table; `release` ends it.

    \b
    Examples:
      cratedb-retention restore --name=doc-metrics-2024-01-01-5d41402abc4b crate://localhost:4200/
      cratedb-retention restore --table-name=metrics --from=2024-01-01 --to=2024-04-01 --into=doc.metrics_restored
    """
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.model.policies.patterns import parse_table

    if not everything and not from_repository and request == RestoreRequest():
        raise InvalidInput("restore", "nothing is selected", "give --name, --table-name, --from, --to, or --all")
    with database.open() as retention:
        target = parse_table(into, "--into", retention.default_schema) if into else None
        request = dataclasses.replace(request, into=target, from_repository=from_repository)
        if dry_run:
            _show(retention, request)
            return
        _write_restored("restore", retention.archive.restore(request))


@click.command("undo")
@click.argument("run_id", metavar="[RUN]", required=False)
@options.database
@click.option("--policy", "policy_id", type=TEXT, help="What this policy deleted; at least its first six characters.")
@click.option("--table-schema", type=TEXT, help="Only tables of this schema; * and ? are wildcards.")
@click.option("--table-name", type=TEXT, help="What was deleted from this table; * and ? are wildcards.")
@click.option("--dry-run", is_flag=True, help="Only show what would be brought back, with the statements.")
def undo(
    database: options.Database,
    run_id: str | None,
    policy_id: str | None,
    table_schema: str | None,
    table_name: str | None,
    dry_run: bool,
) -> None:
    """
    Bring back what policies with `recoverable` deleted: in a run, by a policy, or from a table; also what a run that
    was killed deleted before. RUN is the run's identifier, or at least the first six characters, as `jobs` shows them.
    Rows that arrived since stay. A legal hold protects what comes back; `release` ends it.

    \b
    Examples:
      cratedb-retention undo 1c0ffee5 --dry-run
      cratedb-retention undo 1c0ffee5
      cratedb-retention undo --table-name=metrics crate://localhost:4200/
    """
    from cratedb_retention.execution.archive import RestoreRequest

    if run_id and "://" in run_id:  # There is one argument, which is the address of the database.
        run_id, database = None, dataclasses.replace(database, dburi=run_id)
    request = RestoreRequest.of_undo(run_id, policy_id, table_schema, table_name)
    with database.open() as retention:
        if dry_run:
            _show(retention, request)
        else:
            _write_restored("undo", retention.archive.restore(request))
        for table, rows in retention.archive.deleted_for_good(run_id).items() if run_id else ():
            say(f"not recoverable: {plural(rows, 'row')} of {table}", "yellow")


def _write_restored(command: str, restored: Sequence[Restored]) -> None:
    for item in restored:
        if item.error:
            say(f"failed: {item.record.archived.name}: {item.error}", "red")
            continue
        hold = f"; on hold until `cratedb-retention release {item.hold_id}`" if item.hold_id else ""
        rows = plural(item.rows, "row") if item.rows is not None else "done"
        say(f"restored: {item.record.archived.name} into {item.into}, {rows}{hold}", "green")
    failed = sum(item.error is not None for item in restored)
    if failed:
        raise RetentionError(command, f"{failed:,} of {plural(len(restored), 'snapshot')} not restored")


def _show(retention: Retention, request: RestoreRequest) -> None:
    for _, group in itertools.groupby(retention.archive.preview(request), key=lambda item: item.record.partition):
        items = list(group)
        for item in items:
            name = item.record.archived.name
            if item.refusal:
                say(f"would not restore {name}: {item.refusal}", "red")
            else:
                say(f"would restore {name} into {item.into}")
        for line in retention.archive.statements(items):
            say(f"{line};", "dim")
