"""``list-policies``, ``check-policies``, ``list-tags``, ``delete-policy``: the stored policies."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.errors import EXIT_FINDINGS, InvalidInput
from cratedb_retention.model.words import short

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.model.policy import Policy
    from cratedb_retention.store.policies import Damaged, StoredPolicy


@click.command("list-policies")
@options.connected(read_only=True)
@options.selection
@options.output_format
def list_policies(retention: Retention, chosen: options.Chosen, form: str) -> None:
    """
    List the policies. Rows of the policy table that are no valid policies are shown with the reason; runs report them,
    and `delete-policy` removes them.

    \b
    Examples:
      cratedb-retention list-policies crate://localhost:4200/
      cratedb-retention list-policies --tags=acme --format=json
    """
    selection = chosen.read(retention)
    found, damaged = retention.policies(selection), retention.policies.damaged(selection)
    if form != "table":
        from cratedb_retention.execution.results import policy_result

        write_data([*map(policy_result, found), *(row.to_dict() for row in damaged)], form)
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


@click.command("check-policies")
@options.database
@options.selection
@options.output_format
def check_policies(dburi: str | None, schema: str, chosen: options.Chosen, form: str) -> None:
    """
    Look for policies that can't do what they say (no such table, column, repository or node; missing shards), and
    for policies that contradict each other. Ends with 3 if there is anything.

    \b
    Examples:
      cratedb-retention check-policies crate://localhost:4200/
    """
    from cratedb_retention.cli.cascadeview import write_cascades

    with options.open_retention(dburi, schema, read_only=True) as retention:
        wanted = chosen.read(retention)
        findings = retention.check(wanted)
        count = len(retention.policies(wanted))
        cascades = retention.rollups.planned(wanted) if form == "table" else []
    write_cascades(cascades)
    if form != "table":
        write_data(
            [
                {"table": str(f.table), "policies": f.policies, "message": str(f.why), "code": f.why.code}
                for f in findings
            ],
            form,
        )
    elif findings:
        rows = [(str(f.table), ", ".join(short(p) for p in f.policies), str(f.why)) for f in findings]
        write_table(("table", "policies", "finding"), rows)
    else:
        say(f"{count:,} {'policy' if count == 1 else 'policies'}, nothing to complain about")
    if findings:
        sys.exit(EXIT_FINDINGS)


@click.command("list-tags")
@options.connected(read_only=True)
@options.output_format
def list_tags(retention: Retention, form: str) -> None:
    """
    List all tags, one on a line.

    \b
    Examples:
      cratedb-retention list-tags crate://localhost:4200/
    """
    tags = retention.policies.tags()
    if form != "table":
        write_data(tags, form)
        return
    for tag in tags:
        say(tag)


@click.command("delete-policy")
@options.database
@options.policy_id()
@options.tags
def delete_policy(dburi: str | None, schema: str, id: str | None, tags: tuple[str, ...]) -> None:
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
        policies = retention.policies
        for gone in [policies.delete(id)] if id else policies.delete_tagged(parse_tag_filter(tags)):
            say(f"deleted policy {gone.id}: {_describe(gone)}")


def _describe(gone: Policy | Damaged) -> str:
    from cratedb_retention.model.policy import Policy

    if isinstance(gone, Policy):
        return gone.rule
    return f"a row for {gone.target} that was no valid policy"


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
