"""
``list-policies``, ``check-policies``, ``lifecycle``, ``list-tags``, ``delete-policy``; ``apply``, ``export``: policies
as code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.errors import EXIT_FINDINGS, InvalidInput
from cratedb_retention.model.words import moment, plural, short, show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.planning.overview.limits import Unlimited
    from cratedb_retention.planning.overview.survey import Ungoverned
    from cratedb_retention.planning.policies import Finding
    from cratedb_retention.planning.rollups.cascades import Cascade, CascadeLevel
    from cratedb_retention.store.policies import Damaged, StoredPolicy

_COLUMNS = ("id", "name", "strategy", "table", "retention", "destination", "schedule", "tags", "enabled", "version")
_OFTEN_EMPTY = ("name", "schedule")
_UNGOVERNED = ("table", "partitions", "rows", "size", "growth a day", "oldest", "note")
_LISTED = 50  # Maximum number of tables without a policy, and of policies without a limit, that are listed.
_DONE = {"create": "created", "update": "updated", "delete": "deleted", "keep": "unchanged"}


@click.command("list-policies")
@options.connected(read_only=True)
@options.selection
@options.output_format
def list_policies(retention: Retention, chosen: options.Chosen, form: str) -> None:
    """
    List the policies. Invalid rows of the policy table are shown with the reason. Runs report them, and
    `delete-policy` removes them.

    \b
    Examples:
      cratedb-retention list-policies crate://localhost:4200/
      cratedb-retention list-policies --tags=acme --format=json
    """
    found, damaged = retention.policies.read(chosen.read(retention), required=True)
    if form != "table":
        from cratedb_retention.execution.results import policy_result

        write_data([*map(policy_result, found), *(row.to_dict() for row in damaged)], form)
    elif found or damaged:
        rows = [*map(_row, found), *map(_row, damaged)]
        # A narrow terminal has no room for an empty column.
        shown = [i for i, name in enumerate(_COLUMNS) if name not in _OFTEN_EMPTY or any(row[i] for row in rows)]
        write_table([_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows])
        for row in damaged:
            say(f"policy {short(row.id)} is damaged: {row.reason}")
    else:
        say("no policies; create one with `cratedb-retention create-policy`")


def _row(item: StoredPolicy | Damaged) -> Sequence[object]:
    from cratedb_retention.store.policies import Damaged

    if isinstance(item, Damaged):
        said = (item.row["name"], item.row["strategy"], item.target, item.row["retention_period"], None, None, None)
        return (short(item.id), *said, "damaged", item.version)
    policy = item.policy
    schedule = f"{policy.schedule} {policy.time_zone}" if policy.schedule else None
    what = (short(policy.id), policy.name, policy.strategy, policy.target, policy.kept, policy.destination)
    return (*what, schedule, ", ".join(policy.tags), policy.enabled, item.version)


@click.command("check-policies")
@options.database
@options.selection
@click.option(
    "--older-than",
    type=options.TEXT,
    metavar="DURATION",
    help="Also find tables with data that is older, such as 90d, and a policy that would fit.",
)
@options.output_format
def check_policies(database: options.Database, chosen: options.Chosen, older_than: str | None, form: str) -> None:
    """
    Check for policies that cannot work (no such table, column, repository or node; missing shards), for policies that
    contradict each other, and for archives that are not as recorded: missing, unknown, or left half by an interrupted
    run. The exit code is 3 if there are findings.

    Also list tables that no policy governs, with their size and growth, policies that match no data, empty
    partitions, and limits (--expected-max) that would fit policies without one. These do not change the exit code; data
    older than --older-than does. With --strategy, --tags or --policy, only these policies and their tables are listed.

    \b
    Examples:
      cratedb-retention check-policies crate://localhost:4200/
      cratedb-retention check-policies --older-than=90d
    """
    from cratedb_retention.execution.policies import find_mistakes
    from cratedb_retention.execution.results import Check
    from cratedb_retention.model.duration import parse_duration

    limit = parse_duration(older_than) if older_than else None
    with database.open(read_only=True) as retention:
        wanted = chosen.read(retention)
        prepared = retention.prepare(selection=wanted, every=True)
        mistakes = [*find_mistakes(prepared), *retention.archive.check(wanted)]
        survey = retention.survey(prepared, limit)
        survey = replace(survey, findings=(*mistakes, *survey.findings))
        count = len(retention.policies(wanted))
        cascades = retention.rollups.planned(wanted) if form == "table" else []
    if form != "table":
        write_data(Check.of(survey), form)
    else:
        _write_cascades(cascades)
        _write_findings("finding", survey.findings)
        if not survey.findings:
            say(f"{plural(count, 'policy', 'policies')} checked, no findings")
        _write_findings("note", survey.notes)
        _write_ungoverned(survey.ungoverned)
        _write_unlimited(survey.unlimited)
    if survey.findings:
        sys.exit(EXIT_FINDINGS)


def _write_findings(kind: str, found: Sequence[Finding]) -> None:
    if found:
        rows = [(str(each.table), ", ".join(map(short, each.policies)), each.message) for each in found]
        write_table(("table", "policies", kind), rows)


def _write_ungoverned(found: Sequence[Ungoverned]) -> None:
    """The largest tables; without columns of which nothing is known."""
    if not found:
        return
    rows = [_ungoverned(each) for each in found[:_LISTED]]
    shown = [i for i, name in enumerate(_UNGOVERNED) if any(row[i] not in (None, "") for row in rows)]
    names, cells = [_UNGOVERNED[i] for i in shown], [[row[i] for i in shown] for row in rows]
    write_table(names, cells, "Tables without a policy", right=("partitions", "rows", "size"))
    if len(found) > _LISTED:
        say(f"and {len(found) - _LISTED:,} smaller ones; --format=json lists all")
    if not all(each.partly or each.disabled or each.why_not for each in found):
        say("`cratedb-retention suggest` writes policies for tables without any")


def _write_unlimited(found: Sequence[Unlimited]) -> None:
    """Policies without a limit, each with one that would fit."""
    if not found:
        return
    rows = [(short(each.policy.id), each.policy.rule, f"partitions={each.partitions}") for each in found[:_LISTED]]
    write_table(("policy", "rule", "limit that fits"), rows, "Policies without a limit")
    more = f"and {len(found) - _LISTED:,} more; --format=json lists all; " if len(found) > _LISTED else ""
    say(f"{more}`cratedb-retention edit-policy --id=... --expected-max=partitions=...` sets a limit")


def _ungoverned(found: Ungoverned) -> Sequence[object]:
    disabled = f"disabled: {', '.join(map(short, found.disabled))}" if found.disabled else ""
    partly = "its other partitions have policies" if found.partly else ""
    notes = "; ".join(filter(None, (partly, disabled, found.reason)))
    partitions, size = found.partitions or None, show_size(found.size)
    return str(found.table), partitions, found.rows, size, str(found.growth), moment(found.oldest), notes


def _write_cascades(cascades: Sequence[Cascade]) -> None:
    rows = []
    for cascade in cascades:
        rollup = cascade.levels[0].rollup
        dimensions = ", ".join(column.name for column in rollup.dimensions) or "none"
        metrics = "\n".join(f"{m.column.name}: {', '.join(m.aggregates)}" for m in rollup.metrics) or "none"
        left_out = ", ".join(column.name for column in cascade.left_out) or "none"
        levels = "\n".join(map(_level, cascade.levels))
        rows.append((str(cascade.source), rollup.time.name, dimensions, metrics, left_out, levels))
    if rows:
        write_table(("table", "time", "dimensions", "metrics", "omitted", "levels"), rows, "Downsampling")


def _level(level: CascadeLevel) -> str:
    kept, parts = level.retention_period, level.rollup.partition
    partitioned = f"partitioned by {parts.unit}" if parts else "not partitioned"
    state = "" if level.table is not None else ", to be created"
    return f"{level.rollup.table.name}: {'forever' if kept.forever else f'for {kept}'}, {partitioned}{state}"


@click.command("lifecycle")
@options.database
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8"),
    help="Policy file, in place of the stored policies; - for stdin. Requires no database.",
)
@click.option("--table-name", type=options.TEXT, help="Only this table, also if policies name it by a pattern.")
@click.option("--table-schema", type=options.TEXT, help="Schema of the table. [default: the database's]")
@options.output_format
def lifecycle(
    database: options.Database, file: TextIO | None, table_name: str | None, table_schema: str | None, form: str
) -> None:
    """
    Show the lifecycle of each table by the enabled policies: hot as it is written, warm when it is compacted or moved,
    cold in an archive, gone; and its rollups. Each stage lasts until the data has this age. There is a line for each
    table or pattern that policies name, and for each of their filters.

    \b
    Examples:
      cratedb-retention lifecycle crate://localhost:4200/
      cratedb-retention lifecycle --table-name=raw_metrics --format=json
      cratedb-retention lifecycle -f policies.yaml
    """
    from cratedb_retention.execution.results import Lifecycle
    from cratedb_retention.model.catalog import TableName
    from cratedb_retention.model.policies.lifecycle import find_lifecycles
    from cratedb_retention.model.words import write_pairs

    if table_schema and not table_name:
        raise InvalidInput("--table-schema", "requires --table-name")
    table = TableName(table_schema or "", table_name) if table_name else None
    if file is not None:
        found = find_lifecycles(options.read_policies(file), table=table)
    else:
        with database.open(read_only=True) as retention:
            found = retention.policies.lifecycles(table)
    if form != "table":
        write_data([Lifecycle.of(each) for each in found], form)
    elif found:
        filtered = any(each.where for each in found)
        rows = [(str(each.table), *([write_pairs(each.where)] if filtered else []), each.line) for each in found]
        write_table(("table", *(["where"] if filtered else []), "lifecycle"), rows)
    else:
        say("no enabled policy" + (f" applies to {table}" if table else ""))


@click.command("list-tags")
@options.connected(read_only=True)
@options.output_format
def list_tags(retention: Retention, form: str) -> None:
    """
    List all tags, one per line.

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
def delete_policy(database: options.Database, id: str | None, tags: tuple[str, ...]) -> None:
    """
    Delete a policy by identifier, or all policies with certain tags. Data is not touched, and the audit log preserves
    the deleted policies. An identifier may also name an invalid row of the policy table.

    \b
    Examples:
      cratedb-retention delete-policy --id=2af93f28
      cratedb-retention delete-policy --tags=acme,metrics
    """
    from cratedb_retention.execution.plan.preparing import Selection
    from cratedb_retention.model.policies.policy import Policy
    from cratedb_retention.model.policies.tags import parse_tag_filter

    if bool(id) == bool(tags):
        raise InvalidInput("delete-policy", "requires either --id or --tags", "`list-policies` shows both")
    chosen = parse_tag_filter(tags)
    with database.open() as retention:
        policies = retention.policies
        if tags:
            policies(Selection(tags=chosen))  # Raises NotFound if no policy has them.
        for gone in [policies.delete(id)] if id else policies.delete_tagged(chosen):
            what = gone.rule if isinstance(gone, Policy) else f"an invalid row for {gone.target}"
            say(f"deleted policy {gone.id}: {what}")


@click.command("apply")
@options.database
@click.option("-f", "--file", type=click.File(encoding="utf-8"), required=True, help="Policy file; - for stdin.")
@click.option("--prune", is_flag=True, help="Delete stored policies that are not in the file.")
@options.tags
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@options.output_format
def apply(
    database: options.Database, file: TextIO, prune: bool, tags: tuple[str, ...], dry_run: bool, form: str
) -> None:
    """
    Create and update policies to match a YAML file as written by `export`. With --prune, other policies (with --tags,
    those with these tags) are deleted. A policy is identified by its id, or by strategy, data and destination.

    \b
    Examples:
      cratedb-retention apply -f policies.yaml --dry-run
      cratedb-retention apply -f policies.yaml --prune --tags=acme
    """
    from cratedb_retention.execution.results import Changed
    from cratedb_retention.model.policies.tags import parse_tag_filter

    wanted = options.read_policies(file)
    with database.open(read_only=dry_run) as retention:
        changes = retention.policies.apply(wanted, prune=prune, tags=parse_tag_filter(tags), dry_run=dry_run)
    if form != "table":
        write_data([Changed.of(change) for change in changes], form)
        return
    for change in changes:
        verb = f"would {change.action}" if dry_run and change.action != "keep" else _DONE[change.action]
        say(f"{f'{verb} {short(change.policy.id)}'.strip()}: {change.policy.rule}")
        if change.action == "update":
            for each in change.differences:
                say(f"  {each.attribute}: {' -> '.join(each.words)}")
    if not changes:
        say("the file contains no policies; nothing to do")


@click.command("export")
@options.database
@options.selection
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="Format. [default: yaml]")
@click.option("--json-schema", is_flag=True, help="Write the JSON schema of policy files; requires no database.")
def export(database: options.Database, chosen: options.Chosen, form: str, json_schema: bool) -> None:
    """
    Write the policies to standard output, in the format that `apply` reads.

    \b
    Examples:
      cratedb-retention export crate://localhost:4200/ > policies.yaml
      cratedb-retention export --json-schema > policies.schema.json
    """
    from cratedb_retention.model.policies.file import dump_policies, policy_file_schema

    if json_schema:
        write_data(policy_file_schema(), "json")
        return
    with database.open(read_only=True) as retention:
        policies = [item.policy for item in retention.policies(chosen.read(retention))]
    if form == "yaml":
        click.echo(dump_policies(policies), nl=False)
    else:
        write_data({"policies": [policy.to_dict() for policy in policies]}, form)
