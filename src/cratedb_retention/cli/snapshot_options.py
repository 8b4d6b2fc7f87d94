"""
The options by which ``list-snapshots``, ``verify-snapshots`` and ``restore`` choose snapshots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cratedb_retention.cli.options import TEXT, combine
from cratedb_retention.model.words import show_partition, show_size

if TYPE_CHECKING:
    from cratedb_retention.store.snapshots import SnapshotRecord

F = TypeVar("F", bound=Callable[..., Any])
_options = combine(
    click.option("--name", type=TEXT, help="A snapshot's name, or six characters of its beginning."),
    click.option("--table-schema", type=TEXT, help="Only tables of this schema; * and ? are wildcards."),
    click.option("--table-name", type=TEXT, help="Only this table; * and ? are wildcards."),
    click.option("--from", "start", type=TEXT, metavar="INSTANT", help="Only what reaches beyond this instant."),
    click.option("--to", "end", type=TEXT, metavar="INSTANT", help="Only what begins before this instant."),
)


def snapshot_options(function: F) -> F:
    """
    Add the options; the command gets them as ``request``, a ``RestoreRequest``.

    :raises InvalidInput: if an instant can't be read.
    """

    @functools.wraps(function)
    def command(*, start: str | None, end: str | None, **given: Any) -> Any:
        from cratedb_retention.execution.restoring import RestoreRequest
        from cratedb_retention.model.time import parse_instant

        names = {name: given.pop(name) for name in ("name", "table_schema", "table_name")}
        first, last = (parse_instant(text) if text else None for text in (start, end))
        return function(request=RestoreRequest(**names, start=first, end=last), **given)

    return cast(F, _options(command))


def snapshot_cells(record: SnapshotRecord) -> tuple[Any, ...]:
    """What tables say of a snapshot: table, partition, rows, size, state."""
    archived = record.archived
    partition = show_partition(archived.columns, archived.values)
    return str(archived.table), partition, archived.rows, show_size(record.size), record.stage
