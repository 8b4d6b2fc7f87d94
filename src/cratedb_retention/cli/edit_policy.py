"""``edit-policy``: change attributes of a stored policy."""

from __future__ import annotations

from typing import Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say
from cratedb_retention.cli.policy_options import policy_options, read_attributes, read_cleared
from cratedb_retention.cli.policy_preview import dry_run, write_preview
from cratedb_retention.errors import InvalidInput


@click.command("edit-policy")
@options.database
@options.policy_id(required=True)
@click.option("--if-version", type=int, help="Only if the policy still is of this version, see `list-policies`.")
@click.option("--clear", multiple=True, metavar="ATTRIBUTE", help="Take an attribute's value away.")
@policy_options
@dry_run
def command(
    dburi: str | None, schema: str, if_version: int | None, clear: tuple[str, ...], dry_run: bool, **values: Any
) -> None:
    """
    Change attributes of a policy; the others stay, but with another strategy those that only the former one has a use
    for. The journal keeps both states. With --dry-run nothing is changed: it shows what the policy would be and do.

    \b
    Examples:
      cratedb-retention edit-policy --id=2af93f28 --retention-period='3 months'
      cratedb-retention edit-policy --id=2af93f28 --disabled
      cratedb-retention edit-policy --id=2af93f28 --clear=where --clear=description
      cratedb-retention edit-policy --id=2af93f28 --enabled --dry-run
    """
    identifier = values.pop("id")
    changes = {**read_attributes(values), **read_cleared(clear)}
    if not changes:
        raise InvalidInput("edit-policy", "nothing to change", "give the attributes that change, see --help")
    with options.open_retention(dburi, schema) as retention:
        if dry_run:
            policy = retention.policies.edited(identifier, changes)
            write_preview(retention, policy, f"change policy {policy.id}")
            return
        policy = retention.policies.edit(identifier, changes, if_version)
        say(f"changed policy {policy.id}: {policy.strategy} {policy.target} after {policy.retention_period}")
