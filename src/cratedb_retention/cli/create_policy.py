"""``create-policy``: store a new policy."""

from __future__ import annotations

from typing import Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say
from cratedb_retention.cli.policy_options import policy_options, read_attributes, refuse_missing


@click.command("create-policy")
@options.database
@policy_options
@click.option("--identifier", "--id", "id", type=options.TEXT, help="The identifier; made up when it is not given.")
def command(dburi: str | None, schema: str, **values: Any) -> None:
    """
    Create a policy.

    \b
    Examples:
      cratedb-retention create-policy --strategy=delete --table-name=raw_metrics --retention-period=90d
      cratedb-retention create-policy --strategy=snapshot --table-name='metrics_*' --retention-period='6 months' \\
        --target-repository-name=export_cold --tags=acme,metrics
      cratedb-retention create-policy --strategy=reallocate --table-name=raw_metrics --retention-period=30d \\
        --reallocation-attribute-name=storage --reallocation-attribute-value=cold
      cratedb-retention create-policy --strategy=delete --table-name=events --where tenant=acme --retention-period=1y
      cratedb-retention create-policy --strategy=downsample --table-name='sensor_*' --retention-period=7d \\
        --levels=1m:30d,1h:1y,1d:forever
    """
    attributes = read_attributes(values)
    refuse_missing(attributes)
    with options.open_retention(dburi, schema) as retention:
        policy = retention.create_policy(**attributes)
        say(f"created policy {policy.id}: {policy.strategy} {policy.target} after {policy.retention_period}")
