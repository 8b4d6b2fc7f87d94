"""``list-tokens``: the access tokens of the HTTP API."""

from __future__ import annotations

import datetime as dt

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table


@click.command("list-tokens")
@options.database
@click.option("--all", "everything", is_flag=True, help="Also those that expired or were revoked.")
@options.output_format
def command(dburi: str | None, schema: str, everything: bool, form: str) -> None:
    """
    List the access tokens, without their secrets, which are stored nowhere.

    \b
    Examples:
      cratedb-retention list-tokens crate://localhost:4200/
    """
    with options.open_retention(dburi, schema, read_only=True) as retention:
        now = retention.clock.now()
        found = [token for token in retention.tokens() if everything or token.is_valid(now)]
    if form != "table":
        from cratedb_retention.execution.plain import token_data

        write_data([token_data(token) for token in found], form)
        return
    if not found:
        say("no tokens; `cratedb-retention create-token` makes one")
        return
    rows = [
        (
            token.id,
            token.name,
            token.role,
            str(token.limit) or "everything",
            _day(token.created_at),
            _day(token.expires_at),
            "in force" if token.is_valid(now) else "revoked" if token.revoked_at else "expired",
        )
        for token in found
    ]
    write_table(("id", "name", "role", "limited to", "created", "expires", "state"), rows)


def _day(moment: dt.datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else None
