"""``revoke-token``: end an access token of the HTTP API."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say


@click.command("revoke-token")
@click.argument("identifier", type=options.TEXT)
@options.database
def command(identifier: str, dburi: str | None, schema: str) -> None:
    """
    End an access token: the next request with it is refused. IDENTIFIER is its name, its identifier, or six
    characters of that.

    \b
    Examples:
      cratedb-retention revoke-token acme-dashboard crate://localhost:4200/
    """
    with options.open_retention(dburi, schema) as retention:
        token = retention.revoke_token(identifier)
    say(f"token {token.id} ({token.name}) is revoked")
