"""``create-policy``: store a new policy."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, visible
from cratedb_retention.cli.policy_options import policy_options, read_attributes, refuse_missing
from cratedb_retention.cli.policy_preview import dry_run, write_preview
from cratedb_retention.errors import RetentionError

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.model.policy import Policy


@click.command("create-policy")
@options.database
@policy_options
@click.option("--identifier", "--id", "id", type=options.TEXT, help="The identifier; made up when it is not given.")
@dry_run
def command(dburi: str | None, schema: str, dry_run: bool, **values: Any) -> None:
    """
    Create a policy. With --dry-run nothing is stored: it shows the policy, what the next run would do with it, and what
    changes for other policies. A disabled one is shown as if it were enabled.

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
      cratedb-retention create-policy --strategy=delete --table-name=raw_metrics --retention-period=90d --dry-run
    """
    attributes = read_attributes(values)
    refuse_missing(attributes)
    with options.open_retention(dburi, schema) as retention:
        if dry_run:
            write_preview(retention, retention.policies.make(**attributes), "create policy")
            return
        policy = retention.policies.create(**attributes)
        say(f"created policy {policy.id}: {policy.strategy} {policy.target} after {policy.retention_period}")
        if policy.strategy.traits.rolls_up:
            _show_problems(retention, policy)


def _show_problems(retention: Retention, policy: Policy) -> None:
    """What is in the way of a cascade depends on the columns of tables, which nobody has at hand."""
    from cratedb_retention.execution.preparing import Selection

    with suppress(RetentionError):  # The policy is stored, whatever is the matter with the database.
        for finding in retention.check(Selection(policy_id=policy.id)):
            click.echo(visible(f"Warning: {finding.table} needs attention: {finding.why}"), err=True)
