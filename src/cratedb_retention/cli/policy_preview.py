"""
Shows what a policy would be and do, for ``create-policy`` and ``edit-policy`` with ``--dry-run``. Nothing is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cratedb_retention.cli.output import say, visible
from cratedb_retention.cli.planview import write_plan

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.candidates import Preview
    from cratedb_retention.model.policy import Policy

dry_run = click.option("--dry-run", is_flag=True, help="Only show what would be stored, and what it would do.")


def write_preview(retention: Retention, policy: Policy, done: str) -> None:
    """
    Write the policy, and what the next run would do with it.

    :param done: What would be done: ``create policy``.
    """
    from cratedb_retention.model.policyfile import dump_policies

    found = retention.preview(policy)
    say(f"would {done}: {policy.strategy} {policy.target} after {policy.retention_period}", "bold")
    click.echo(visible(dump_policies([policy]), keep="\n"))
    if found.if_enabled is not None:
        say("It is disabled: nothing happens until it is enabled. This is what it would do then:", "yellow")
    _write_effect(retention, found.if_enabled or found)


def _write_effect(retention: Retention, found: Preview) -> None:
    write_plan(found.own, retention, "table", sql=False)
    for text in found.contradictions:
        say(f"Contradiction: {text}", "yellow")
    for text in (text for other in found.others for text in other.lines):
        say(text, "yellow")
