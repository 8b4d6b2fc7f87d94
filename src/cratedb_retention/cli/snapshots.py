"""
``list-snapshots``, ``verify-snapshots``, ``adopt-snapshots``; and the options by which these and ``restore`` choose
snapshots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT, combine
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.words import show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.store.archive import SnapshotRecord

F = TypeVar("F", bound=Callable[..., Any])
_options = combine(
    click.option("--name", type=TEXT, help="A snapshot's name, or six characters of its beginning."),
    click.option("--table-schema", type=TEXT, help="Only tables of this schema; * and ? are wildcards."),
    click.option("--table-name", type=TEXT, help="Only this table; * and ? are wildcards."),
    click.option("--from", "start", type=TEXT, metavar="INSTANT", help="Only what reaches beyond this instant."),
    click.option("--to", "end", type=TEXT, metavar="INSTANT", help="Only what begins before this instant."),
)


def snapshot_options(function: F) -> F:
    """Add the options; the command gets them as ``request``, a ``RestoreRequest``."""

    @functools.wraps(function)
    def command(
        *,
        name: str | None,
        table_schema: str | None,
        table_name: str | None,
        start: str | None,
        end: str | None,
        **others: Any,
    ) -> Any:
        return function(request=_read(name, table_schema, table_name, start, end), **others)

    return cast(F, _options(command))


def _read(
    name: str | None, table_schema: str | None, table_name: str | None, start: str | None, end: str | None
) -> RestoreRequest:
    """
    What the options ask for.

    :raises InvalidInput: if an instant can't be read.
    """
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.model.time import parse_instant

    first, last = (parse_instant(text) if text else None for text in (start, end))
    return RestoreRequest(name=name, table_schema=table_schema, table_name=table_name, start=first, end=last)


_COLUMNS = ("table", "partition", "rows", "size", "state")


def _cells(record: SnapshotRecord) -> Sequence[object]:
    from cratedb_retention.model.words import show_partition

    archived = record.archived
    partition = show_partition(archived.columns, archived.values)
    return (str(archived.table), partition, archived.rows, show_size(record.size), record.stage)


@click.command("list-snapshots")
@options.connected(read_only=True)
@snapshot_options
@options.output_format
def list_snapshots(retention: Retention, request: RestoreRequest, form: str) -> None:
    """
    List what was archived, and what its repository says about it.

    \b
    Examples:
      cratedb-retention list-snapshots crate://localhost:4200/
      cratedb-retention list-snapshots --table-name=metrics --from=2024-01-01 --to=2024-07-01 --format=json
    """
    from cratedb_retention.execution.archive import RestoreRequest, none_fits
    from cratedb_retention.execution.preview import ArchiveLine
    from cratedb_retention.execution.results import Snapshot

    records = retention.archive.snapshots(request)
    if not records and request != RestoreRequest():
        raise none_fits()
    states = retention.archive.states(records)
    data = [
        Snapshot.of(ArchiveLine(record=each, state=states.get((each.archived.repository, each.archived.name))))
        for each in records
    ]
    if form != "table":
        write_data(data, form)
    elif records:
        rows = [
            (*_cells(record), row.repository_state, row.repository, row.name)
            for record, row in zip(records, data, strict=True)
        ]
        write_table((*_COLUMNS, "in the repository", "repository", "name"), rows, ("rows", "size"))
    else:
        say("no snapshot fits; policies with the strategy snapshot make them")


@click.command("verify-snapshots")
@options.connected()
@snapshot_options
@options.output_format
def verify_snapshots(retention: Retention, request: RestoreRequest, form: str) -> None:
    """
    Read snapshots back and compare them with what was archived. On CrateDB each is restored into the schema of the
    toolkit's tables, counted and dropped again, so there must be room for the largest. Ends with 1 if any is damaged.

    \b
    Examples:
      cratedb-retention verify-snapshots --table-name=metrics crate://localhost:4200/
    """
    from cratedb_retention.model.words import plural

    found = retention.archive.verify(request)
    if form != "table":
        write_data([{"name": v.record.archived.name, "found": v.found, "error": v.error} for v in found], form)
    for verified in found if form == "table" else []:
        if verified.error:
            say(f"failed: {verified.error}", "red")
        else:
            say(f"right: {verified.record.archived.name}: {verified.found}", "green")
    if not found and form == "table":
        say("no snapshot fits")
    failed = sum(verified.error is not None for verified in found)
    if failed:
        raise RetentionError("verify-snapshots", f"{failed:,} of {plural(len(found), 'snapshot')} can't be relied on")


@click.command("adopt-snapshots")
@options.connected()
@click.option("--repository", required=True, type=options.TEXT, help="The repository; a directory on DuckDB.")
@snapshot_options
@click.option("--dry-run", is_flag=True, help="Only show what would be adopted.")
@options.output_format
def adopt_snapshots(retention: Retention, repository: str, request: RestoreRequest, dry_run: bool, form: str) -> None:
    """
    Note the snapshots of a repository in the toolkit's own table, so that they can be listed, verified and restored:
    after that table was lost, or where another database made them. Snapshots that it has stay as they are.

    \b
    Examples:
      cratedb-retention adopt-snapshots --repository=export_cold --dry-run crate://localhost:4200/
    """
    from cratedb_retention.execution.results import Adoptable
    from cratedb_retention.model.words import plural

    found = retention.archive.adopt(repository, request, dry_run=dry_run)
    if form != "table":
        write_data([Adoptable.of(item) for item in found], form)
        return
    new = [item.record for item in found if not item.known]
    if new:
        rows = [(*_cells(record), record.archived.name) for record in new]
        write_table((*_COLUMNS, "name"), rows, ("rows", "size"))
    done = "would be adopted" if dry_run else "adopted"
    say(f"{plural(len(new), 'snapshot')} {done}; {len(found) - len(new):,} known already")
