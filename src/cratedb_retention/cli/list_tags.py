"""``list-tags``: all tags in use."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data


@click.command("list-tags")
@options.database
@options.output_format
def command(dburi: str | None, schema: str, form: str) -> None:
    """
    List all tags, one on a line.

    \b
    Examples:
      cratedb-retention list-tags crate://localhost:4200/
    """
    with options.open_retention(dburi, schema, read_only=True) as retention:
        tags = retention.tags()
    if form != "table":
        write_data(tags, form)
        return
    for tag in tags:
        say(tag)
