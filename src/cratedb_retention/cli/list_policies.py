"""``list-policies``: the stored policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.model.words import short

if TYPE_CHECKING:
    from cratedb_retention.store.policies import Damaged, StoredPolicy


@click.command("list-policies")
@options.database
@options.selection
@options.output_format
def command(dburi: str | None, schema: str, chosen: options.Chosen, form: str) -> None:
    """
    List the policies. Rows of the policy table that are no valid policies are shown with the reason; runs report them,
    and `delete-policy` removes them.

    \b
    Examples:
      cratedb-retention list-policies crate://localhost:4200/
      cratedb-retention list-policies --tags=acme --format=json
    """
    with options.open_retention(dburi, schema, read_only=True) as retention:
        selection = chosen.read(retention)
        found, damaged = retention.policies(selection), retention.damaged_policies(selection)
    if form != "table":
        from cratedb_retention.execution.plain import policy_data

        write_data([*map(policy_data, found), *(row.to_dict() for row in damaged)], form)
    elif found or damaged:
        rows = [*map(_row, found), *map(_damaged_row, damaged)]
        # A narrow terminal has no room for a column that says nothing.
        shown = [i for i, name in enumerate(_COLUMNS) if name != "schedule" or any(row[i] for row in rows)]
        columns = [_COLUMNS[i] for i in shown]
        write_table(columns, [tuple(row[i] for i in shown) for row in rows], right=("version",))
        for row in damaged:
            say(f"policy {short(row.id)} is damaged: {row.reason}")
    else:
        say("no policies; `cratedb-retention create-policy` makes one")


_COLUMNS = ("id", "strategy", "table", "retention", "destination", "schedule", "tags", "enabled", "version")


def _row(item: StoredPolicy) -> tuple[object, ...]:
    policy = item.policy
    return (
        short(policy.id),
        policy.strategy,
        policy.target,
        policy.retention_period,
        _destination(item),
        f"{policy.schedule} {policy.time_zone}" if policy.schedule else None,
        ", ".join(policy.tags),
        policy.enabled,
        item.version,
    )


def _damaged_row(damaged: Damaged) -> tuple[object, ...]:
    row = damaged.row
    said = (row["strategy"], str(damaged.target), row["retention_period"], None, None, None)
    return (short(damaged.id), *said, "damaged", row["version"])


def _destination(item: StoredPolicy) -> str | None:
    policy = item.policy
    if policy.reallocation_attribute_name:
        return f"{policy.reallocation_attribute_name}={policy.reallocation_attribute_value}"
    return policy.target_repository_name or ", ".join(map(str, policy.levels)) or None
