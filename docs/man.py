"""
Writes a man page for each command, and one for all: ``make man``.

    python docs/man.py build/man

Made with click-man, which is told what it does not find out by itself: commands that are imported when they are called,
and paragraphs that click must not wrap.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from click_man.man import ManPage

from cratedb_retention import __version__
from cratedb_retention.cli.main import COMMANDS, cli

PROGRAM = "cratedb-retention"
_MORE = r""".SH ENVIRONMENT
.TP
\fBCRATEDB_URI\fP
Address of the database, unless an argument gives it.
.TP
\fBCRATEDB_EXT_SCHEMA\fP
Schema of the toolkit's own tables.
.PP
\fBcratedb\-retention config\fP shows all settings and their sources.
.SH EXIT STATUS
.TP
\fB0\fP
Success, or nothing was due.
.TP
\fB1\fP
Something failed or needs attention.
.TP
\fB2\fP
Invalid usage or input.
.TP
\fB3\fP
\fBcheck\-policies\fP has findings.
"""


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page, and its text."""
    context = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    page = _page(cli, context, "data retention for time series in CrateDB and DuckDB")
    page.commands = [(name, _escaped(entry.summary)) for name, entry in COMMANDS.items()]
    # A paragraph begins by itself after a heading.
    yield f"{PROGRAM}.1", str(page).replace(".SH COMMANDS\n.PP\n", ".SH COMMANDS\n") + _MORE
    for name, entry in COMMANDS.items():
        command = cli.get_command(context, name)
        if command is None:
            raise LookupError(name)
        page = _page(command, click.Context(command, info_name=name, parent=context), entry.summary.rstrip("."))
        also = f".SH SEE ALSO\n\\fB{_escaped(PROGRAM)}\\fP(1)\n"
        title = page.command.upper()
        text = str(page).replace(f'"{title}"', f'"{title.replace(" ", "-")}"', 1)
        yield f"{PROGRAM}-{name}.1", f"{text}{_MORE}{also}"


def _page(command: click.Command, context: click.Context, summary: str) -> ManPage:
    page = ManPage(context.command_path)
    page.version = __version__
    page.short_help = _escaped(summary)
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    page.description = "\n".join(_paragraphs(command.help or ""))
    records = (each.get_help_record(context) for each in command.get_params(context) if isinstance(each, click.Option))
    page.options = [(names, _filled(text)) for names, text in filter(None, records)]
    return page


def _paragraphs(text: str) -> Iterator[str]:
    """A help text; what click must not wrap stays as it is."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        lines = paragraph.splitlines()
        if number:
            yield ".PP"
        if lines and lines[0].strip() == "\b":
            yield from (".nf", *(_escaped(line) for line in lines[1:]), ".fi")
        else:
            yield _filled(paragraph)


def _filled(text: str) -> str:
    """Text in lines that are not too long."""
    return "\n".join(_escaped(line) for line in textwrap.wrap(text, 70, break_on_hyphens=False))


def _escaped(text: str) -> str:
    """Text that roff takes for text: no escapes, no requests, and hyphens that can be copied."""
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", r"\e").replace("-", r"\-"))


def main(arguments: Sequence[str]) -> int:
    """Write all pages into the directory that is named."""
    folder = Path(arguments[0] if arguments else "build/man")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, text in pages():
        (folder / name).write_text(text, encoding="utf-8")
        count += 1
    print(f"{count} pages in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
