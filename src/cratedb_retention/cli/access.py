"""``create-token``, ``list-tokens``, ``revoke-token``: access tokens of the HTTP API and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import Cells, say, write_data, write_list

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.store.access import AccessToken


@click.command("create-token")
@options.connected()
@click.option("--name", type=options.TEXT, required=True, help="Name of the token, for the audit log.")
@click.option(
    "--role", type=options.TEXT, required=True, metavar="ROLE", help="Role: viewer, operator, editor or admin."
)
@click.option(
    "--tags",
    multiple=True,
    metavar="A,B,not:C",
    help="Scope: policies that have all of these tags; `not:` excludes a tag. Repeat the option for alternatives.",
)
@click.option("--expires", type=options.TEXT, metavar="INSTANT", help="Expiry of the token. [default: never]")
@options.output_format
def create_token(
    retention: Retention, name: str, role: str, tags: tuple[str, ...], expires: str | None, form: str
) -> None:
    """
    Create an access token. The secret is shown only once, since only its digest is stored.

    \b
    Examples:
      cratedb-retention create-token --name=operations --role=admin
      cratedb-retention create-token --name=acme-dashboard --role=viewer --tags=acme --expires=2030-01-01
    """
    from cratedb_retention.execution.results import token_result
    from cratedb_retention.model.access import parse_role
    from cratedb_retention.model.policies.tags import parse_tag_filter
    from cratedb_retention.model.time import parse_instant

    until = parse_instant(expires) if expires else None
    token, text = retention.access.create(name, parse_role(role), parse_tag_filter(tags), until)
    if form == "table":
        click.echo(text)
    else:
        write_data(token_result(token, text), form)


@click.command("list-tokens")
@options.connected(read_only=True)
@click.option("--all", "everything", is_flag=True, help="Include expired and revoked tokens.")
@options.output_format
def list_tokens(retention: Retention, everything: bool, form: str) -> None:
    """
    List the access tokens. Their secrets are not stored.

    \b
    Examples:
      cratedb-retention list-tokens crate://localhost:4200/
    """
    from cratedb_retention.execution.results import token_result

    now = retention.clock.now()
    cells: Cells[AccessToken] = {
        "id": lambda token: token.id,
        "name": lambda token: token.name,
        "role": lambda token: token.role,
        "limited to": lambda token: str(token.limit) or "everything",
        "created": lambda token: f"{token.created_at:%Y-%m-%d %H:%M}",
        "expires": lambda token: f"{token.expires_at:%Y-%m-%d %H:%M}" if token.expires_at else None,
        "state": lambda token: "in force" if token.is_valid(now) else "revoked" if token.revoked_at else "expired",
    }
    found = [token for token in retention.access.tokens() if everything or token.is_valid(now)]
    write_list(form, found, token_result, cells, "no access tokens; create one with `cratedb-retention create-token`")


@click.command("revoke-token")
@click.argument("identifier", type=options.TEXT)
@options.connected()
def revoke_token(retention: Retention, identifier: str) -> None:
    """
    Revoke an access token, effective immediately. IDENTIFIER is its name, its identifier, or at least the first six
    characters of the identifier.

    \b
    Examples:
      cratedb-retention revoke-token acme-dashboard crate://localhost:4200/
    """
    token = retention.access.revoke(identifier)
    say(f"revoked token {token.id} ({token.name})")
