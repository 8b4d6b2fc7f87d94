"""``create-token``: an access token of the HTTP API."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import write_data


@click.command("create-token")
@options.database
@click.option("--name", type=options.TEXT, required=True, help="For people; the audit log names it.")
@click.option(
    "--role", type=options.TEXT, required=True, metavar="ROLE", help="What it may do: viewer, operator, editor, admin."
)
@click.option(
    "--tags",
    multiple=True,
    metavar="A,B,not:C",
    help="Limit it to policies with all of these tags, and without those behind not:; repeat it for another choice.",
)
@click.option("--expires", type=options.TEXT, metavar="INSTANT", help="When it ends. [default: never]")
@options.output_format
def command(
    dburi: str | None, schema: str, name: str, role: str, tags: tuple[str, ...], expires: str | None, form: str
) -> None:
    """
    Create an access token. Its text is shown now and never again: only a digest of it is stored.

    \b
    Examples:
      cratedb-retention create-token --name=operations --role=admin
      cratedb-retention create-token --name=acme-dashboard --role=viewer --tags=acme --expires=2030-01-01
    """
    from cratedb_retention.execution.plain import token_data
    from cratedb_retention.model.access import parse_role
    from cratedb_retention.model.instant import parse_instant
    from cratedb_retention.model.tags import parse_tag_filter

    until = parse_instant(expires) if expires else None
    with options.open_retention(dburi, schema) as retention:
        token, text = retention.create_token(name, parse_role(role), parse_tag_filter(tags), until)
    if form == "table":
        click.echo(text)
    else:
        write_data({**token_data(token), "token": text}, form)
