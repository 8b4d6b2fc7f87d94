"""``delete-policy``: remove policies. Data is not touched."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say
from cratedb_retention.errors import InvalidInput


@click.command("delete-policy")
@options.database
@click.option("--identifier", "--id", "id", type=options.TEXT, help="The policy's identifier, or the beginning of it.")
@options.tags
def command(dburi: str | None, schema: str, id: str | None, tags: tuple[str, ...]) -> None:
    """
    Delete one policy, or all with some tags. Data is not touched, and the journal keeps what they said.

    \b
    Examples:
      cratedb-retention delete-policy --id=2af93f28
      cratedb-retention delete-policy --tags=acme,metrics
    """
    from cratedb_retention.model.tags import parse_tag_filter

    if bool(id) == bool(tags):
        raise InvalidInput("delete-policy", "needs either --id or --tags", "`list-policies` shows both")
    with options.open_retention(dburi, schema) as retention:
        gone = [retention.delete_policy(id)] if id else retention.delete_policies(parse_tag_filter(tags))
        for policy in gone:
            say(f"deleted policy {policy.id}: {policy.strategy} {policy.target} after {policy.retention_period}")
        if not gone:
            say(f"no policy has the tags {parse_tag_filter(tags)}")
