"""
The options by which ``list-snapshots``, ``verify-snapshots`` and ``restore`` choose snapshots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cratedb_retention.cli.options import TEXT, combine

if TYPE_CHECKING:
    from cratedb_retention.execution.restoring import RestoreRequest

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
    from cratedb_retention.execution.restoring import RestoreRequest
    from cratedb_retention.model.time import parse_instant

    first, last = (parse_instant(text) if text else None for text in (start, end))
    return RestoreRequest(name=name, table_schema=table_schema, table_name=table_name, start=first, end=last)
