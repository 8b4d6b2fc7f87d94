"""``export``: the stored policies as a file for ``apply``."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import write_data


@click.command("export")
@options.database
@options.selection
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--json-schema", is_flag=True, help="Write the JSON schema of policy files instead; needs no database.")
def command(dburi: str | None, schema: str, chosen: options.Chosen, form: str, json_schema: bool) -> None:
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
