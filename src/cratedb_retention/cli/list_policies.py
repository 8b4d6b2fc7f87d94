"""``list-policies``: the stored policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, short, write_data, write_table

if TYPE_CHECKING:
    from cratedb_retention.store.policies import StoredPolicy


@click.command("list-policies")
@options.database
@options.selection
@options.output_format
def command(dburi: str | None, schema: str, chosen: options.Chosen, form: str) -> None:
    """
    List the policies.

    \b
    Examples:
      cratedb-retention list-policies crate://localhost:4200/
      cratedb-retention list-policies --tags=acme --format=json
    """
    with options.open_retention(dburi, schema) as retention:
        found = retention.policies(chosen.read(retention))
    if form != "table":
        write_data([{**item.policy.to_dict(), "version": item.version} for item in found], form)
    elif found:
        columns = ("id", "strategy", "table", "retention", "destination", "tags", "enabled", "version")
        write_table(columns, [_row(item) for item in found], right=("version",))
    else:
        say("no policies; `cratedb-retention create-policy` makes one")


def _row(item: StoredPolicy) -> tuple[object, ...]:
    policy = item.policy
    return (
        short(policy.id),
        policy.strategy,
        policy.target,
        policy.retention_period,
        _destination(item),
        ", ".join(policy.tags),
        policy.enabled,
        item.version,
    )


def _destination(item: StoredPolicy) -> str | None:
    policy = item.policy
    if policy.reallocation_attribute_name:
        return f"{policy.reallocation_attribute_name}={policy.reallocation_attribute_value}"
    return policy.target_repository_name
