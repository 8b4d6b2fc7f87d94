"""``delete-policy``: remove policies. Data is not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say
from cratedb_retention.errors import InvalidInput

if TYPE_CHECKING:
    from cratedb_retention.model.policy import Policy
    from cratedb_retention.store.policies import Damaged


@click.command("delete-policy")
@options.database
@options.policy_id()
@options.tags
def command(dburi: str | None, schema: str, id: str | None, tags: tuple[str, ...]) -> None:
    """
    Delete one policy, or all with some tags. Data is not touched, and the journal keeps what they said. By its
    identifier, a row that is no valid policy can be deleted, too.

    \b
    Examples:
      cratedb-retention delete-policy --id=2af93f28
      cratedb-retention delete-policy --tags=acme,metrics
    """
    from cratedb_retention.execution.preparing import Selection
    from cratedb_retention.model.tags import parse_tag_filter

    if bool(id) == bool(tags):
        raise InvalidInput("delete-policy", "needs either --id or --tags", "`list-policies` shows both")
    with options.open_retention(dburi, schema) as retention:
        if tags:
            retention.policies(Selection(tags=parse_tag_filter(tags)))  # That none has them is an error here.
        gone = [retention.delete_policy(id)] if id else retention.delete_policies(parse_tag_filter(tags))
        for policy in gone:
            say(f"deleted policy {policy.id}: {_describe(policy)}")


def _describe(gone: Policy | Damaged) -> str:
    from cratedb_retention.model.policy import Policy

    if isinstance(gone, Policy):
        return f"{gone.strategy} {gone.target} after {gone.retention_period}"
    return f"a row for {gone.target} that was no valid policy"
