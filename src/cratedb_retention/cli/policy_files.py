"""``apply``, ``export``: policies as code."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.words import short

if TYPE_CHECKING:
    from cratedb_retention.execution.policies import Change


_DONE = {"create": "created", "update": "updated", "delete": "deleted", "keep": "unchanged"}


@click.command("apply")
@options.database
@click.option("-f", "--file", "file", type=click.File(encoding="utf-8"), required=True, help="The file; - for input.")
@click.option("--prune", is_flag=True, help="Delete stored policies that the file lacks.")
@options.tags
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@options.output_format
def apply(
    dburi: str | None, schema: str, file: TextIO, prune: bool, tags: tuple[str, ...], dry_run: bool, form: str
) -> None:
    """
    Make the stored policies what a file says: YAML as `export` writes it. A policy is found again by its id, or else
    by its strategy, data and destination. With --prune, --tags limits what is deleted.

    \b
    Examples:
      cratedb-retention apply -f policies.yaml --dry-run
      cratedb-retention apply -f policies.yaml --prune --tags=acme
    """
    from cratedb_retention.execution.results import Changed
    from cratedb_retention.model.policyfile import parse_policies
    from cratedb_retention.model.tags import parse_tag_filter

    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise InvalidInput(file.name, f"not UTF-8 text ({error.reason})") from None
    wanted = parse_policies(text, file.name)
    with options.open_retention(dburi, schema, read_only=dry_run) as retention:
        changes = retention.policies.apply(wanted, prune=prune, tags=parse_tag_filter(tags), dry_run=dry_run)
    if form != "table":
        write_data([Changed.of(change) for change in changes], form)
        return
    for change in changes:
        _say(change, dry_run)
    if not changes:
        say("the file has no policies; nothing to do")


def _say(change: Change, dry_run: bool) -> None:
    policy = change.policy
    done = _DONE[change.action]
    verb = f"would {change.action}" if dry_run and change.action != "keep" else done
    name = f"{verb} {short(policy.id)}".strip()
    say(f"{name}: {policy.rule}")
    if change.before and change.after:
        for each in change.differences:
            say(f"  {each.attribute}: {' -> '.join(each.words)}")


@click.command("export")
@options.database
@options.selection
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--json-schema", is_flag=True, help="Write the JSON schema of policy files instead; needs no database.")
def export(dburi: str | None, schema: str, chosen: options.Chosen, form: str, json_schema: bool) -> None:
    """
    Write the policies as a file that `apply` reads.

    \b
    Examples:
      cratedb-retention export crate://localhost:4200/ > policies.yaml
      cratedb-retention export --json-schema > policies.schema.json
    """
    from cratedb_retention.model.policyfile import dump_policies, policy_file_schema

    if json_schema:
        write_data(policy_file_schema(), "json")
        return
    with options.open_retention(dburi, schema, read_only=True) as retention:
        found = retention.policies(chosen.read(retention))
    policies = [item.policy for item in found]
    if form == "yaml":
        click.echo(dump_policies(policies), nl=False)
    else:
        write_data({"policies": [policy.to_dict() for policy in policies]}, form)
