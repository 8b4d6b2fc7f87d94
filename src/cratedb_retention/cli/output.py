"""Output of results: tables for users, JSON and YAML for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
# The columns of a table, each with a function for its cells.
Cells = Mapping[str, Callable[[T], object]]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NUMBERS = ("rows", "size", "version")


@cache
def console() -> Console:
    """The terminal. In files and pipes, lines are not cut at 80 columns."""
    from rich.console import Console

    class Quiet(Console):
        """Continues without output after its reader (head, less) has ended: a run must not end for that."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    width = None if sys.stdout.isatty() else 200
    return Quiet(width=width, highlight=False, soft_wrap=False, emoji=False)


def write_data(data: Any, form: str) -> None:
    if form == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))
    else:
        click.echo(yaml_text(data), nl=False)


def _plain(value: Any) -> Any:
    """JSON for the results of ``execution/results.py``; text for other values."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)


def yaml_text(data: Any) -> str:
    from cratedb_retention.model.policies.file import write_yaml

    return write_yaml(json.loads(json.dumps(data, ensure_ascii=False, default=_plain)))


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, right: Sequence[str] = _NUMBERS
) -> None:
    """Write a table. Values are never parsed as markup. Columns named in ``right`` are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console().print(table)


def write_things(cells: Cells[T], found: Iterable[T], title: str | None = None) -> None:
    write_table([*cells], [[cell(each) for cell in cells.values()] for each in found], title)


def write_list(form: str, found: Iterable[T], data: Callable[[T], object], cells: Cells[T], nothing: str) -> None:
    """
    Write items: as data for programs, one after the other, so that any number fits into memory; as a table for users,
    or the text ``nothing`` if there are none.
    """
    if form != "table":
        _write_items(map(data, found), form)
    elif rows := [[cell(each) for cell in cells.values()] for each in found]:
        write_table([*cells], rows)
    else:
        say(nothing)


def _write_items(items: Iterable[object], form: str) -> None:
    """The same text as :func:`write_data` writes of a list."""
    begun = False
    for item in items:
        if form == "json":
            text = json.dumps(item, indent=2, ensure_ascii=False, default=_plain).replace("\n", "\n  ")
            click.echo(f"{',' if begun else '['}\n  {text}", nl=False)
        else:
            click.echo(yaml_text([item]), nl=False)
        begun = True
    if not begun:
        write_data([], form)
    elif form == "json":
        click.echo("\n]")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else visible(str(value), keep="\n")


def visible(text: str, keep: str = "") -> str:
    """Escape control characters: names and descriptions must not move the cursor or forge a line."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else repr(match[0])[1:-1], text)


def say(text: str, style: str = "") -> None:
    from rich.text import Text

    console().print(Text(visible(text), style=style), soft_wrap=True)


def write_notes(notes: Iterable[str]) -> None:
    """Write notes for the reader to standard error, beside a result for programs."""
    for note in notes:
        click.echo(f"Note: {visible(note)}", err=True)
