"""``suggest``: policies for tables without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import write_data

if TYPE_CHECKING:
    from cratedb_retention.api import Retention


@click.command("suggest")
@options.connected(read_only=True)
@click.option(
    "--retention-period",
    type=options.TEXT,
    metavar="DURATION",
    help="Retention period of all suggestions. [default: for each table the first of 7d, 30d, 90d, 180d, 1y, 2y, ... "
    "that keeps all of its present data]",
)
@click.option("--enabled", is_flag=True, help="Suggest enabled policies.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="Format. [default: yaml]")
def suggest(retention: Retention, retention_period: str | None, enabled: bool, form: str) -> None:
    """
    Suggest a policy that deletes for each table without a policy, as a file for `apply`, by its partitions, the unit of
    its times, and the age of its data. Comments give the reasons. Nothing is stored, and the suggested policies are
    disabled: review the file, and remove `enabled: false`. JSON has no comments.

    \b
    Examples:
      cratedb-retention suggest crate://localhost:4200/ > policies.yaml
      cratedb-retention suggest --retention-period=90d
    """
    from cratedb_retention.model.duration import parse_duration
    from cratedb_retention.model.translation import write_policies
    from cratedb_retention.planning.overview.suggest import TITLE

    found = retention.suggest(parse_duration(retention_period) if retention_period else None, enabled=enabled)
    if form == "yaml":
        click.echo(write_policies(found, TITLE), nl=False)
    else:
        write_data({"policies": [dict(one.policy) for one in found.policies]}, form)
