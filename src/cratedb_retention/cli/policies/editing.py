"""``create-policy``, ``edit-policy``, with options that are generated from the attributes of a policy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT, one_of
from cratedb_retention.cli.output import say, visible
from cratedb_retention.cli.runs import write_plan
from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.policies.attributes import Attribute, Form
from cratedb_retention.model.policies.policy import ATTRIBUTES
from cratedb_retention.model.words import read_pairs

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.model.policies.policy import Policy


def _option(attribute: Attribute) -> Callable[[Any], Any]:
    text = attribute.description.replace("`", "")
    if attribute.form is Form.FLAG:
        return click.option(attribute.option, attribute.name, default=None, help=text)
    is_list, pairs = attribute.form is Form.LIST, attribute.form in (Form.PAIRS, Form.PARTS)
    return click.option(
        attribute.option,
        attribute.name,
        type=None if attribute.may_be_empty or pairs else TEXT,
        multiple=is_list or pairs,
        metavar=attribute.metavar or "|".join(attribute.values) or ("COLUMN,..." if is_list else "TEXT"),
        shell_complete=one_of(*attribute.values) if attribute.values else None,
        help=text,
    )


# An option for each attribute but the identifier, which each command defines itself.
_policy_options = options.combine(*(_option(each) for each in ATTRIBUTES.values() if each.name != "id"))


def read_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes from options, as plain values. Raises InvalidInput if a pair is not of the form KEY=VALUE."""
    return {name: _read(ATTRIBUTES[name], value) for name, value in values.items() if value is not None and value != ()}


def _read(attribute: Attribute, value: Any) -> Any:
    if attribute.form is Form.LIST:
        return [word.strip() for text in value for word in text.split(",")]
    if attribute.form in (Form.PAIRS, Form.PARTS):
        return read_pairs(attribute.option, value, str(attribute.examples[0]))
    return value


_dry_run = click.option("--dry-run", is_flag=True, help="Only show the policy and its effect.")


@click.command("create-policy")
@options.database
@_policy_options
@click.option("--identifier", "--id", "id", type=TEXT, help="Identifier; generated if omitted.")
@_dry_run
def create_policy(database: options.Database, dry_run: bool, **values: Any) -> None:
    """
    Create a policy. With --dry-run, nothing is stored: the policy is shown with its effect in the next run and on other
    policies. A disabled policy is shown as if it were enabled.

    \b
    Examples:
      cratedb-retention create-policy --strategy=delete --table-name=raw_metrics --retention-period=90d
      cratedb-retention create-policy --strategy=delete --table-name=raw_metrics --retention-period=90d \\
        --recoverable=7d --target-repository-name=trash
      cratedb-retention create-policy --strategy=snapshot --table-name='metrics_*' --retention-period='6 months' \\
        --target-repository-name=export_cold --tags=acme,metrics
      cratedb-retention create-policy --strategy=reallocate --table-name=raw_metrics --retention-period=30d \\
        --reallocation-attribute-name=storage --reallocation-attribute-value=cold
      cratedb-retention create-policy --strategy=compact --table-name=raw_metrics --retention-period=7d --compress
      cratedb-retention create-policy --strategy=delete --table-name=events --where tenant=acme --retention-period=1y
      cratedb-retention create-policy --strategy=downsample --table-name='sensor_*' --retention-period=7d \\
        --levels=1m:30d,1h:1y,1d:forever
      cratedb-retention create-policy --strategy=delete --table-name=raw_metrics --retention-period=90d --dry-run
    """
    from cratedb_retention.execution.plan.preparing import Selection

    attributes = read_attributes(values)
    missing = [each.option for each in ATTRIBUTES.values() if each.required and each.name not in attributes]
    if missing:
        raise InvalidInput("create-policy", f"{', '.join(missing)} missing", "--help shows examples")
    with database.open() as retention:
        if dry_run:
            _preview(retention, retention.policies.make(**attributes), "create policy")
            return
        policy = retention.policies.create(**attributes)
        say(f"created policy {policy.id}: {policy.rule}")
        if retention.policies.could_undo(policy):
            edit = f"cratedb-retention edit-policy --id={policy.id} --recoverable=7d --target-repository-name=..."
            say(f"to be able to `undo` for a week what it drops of partitioned tables: {edit}")
        if policy.strategy.traits.rolls_up:  # Findings depend on the columns of tables.
            with suppress(RetentionError):  # The policy is stored even if this fails.
                for finding in retention.check(Selection(policy_id=policy.id)):
                    click.echo(visible(f"Warning: {finding.table} needs attention: {finding.why}"), err=True)


@click.command("edit-policy")
@options.database
@options.policy_id(required=True)
@click.option("--if-version", type=int, help="Fail unless the policy has this version, see `list-policies`.")
@click.option("--clear", multiple=True, metavar="ATTRIBUTE", help="Unset an attribute; may be repeated.")
@_policy_options
@_dry_run
def edit_policy(
    database: options.Database, if_version: int | None, clear: tuple[str, ...], dry_run: bool, **values: Any
) -> None:
    """
    Change attributes of a policy. A new strategy unsets attributes that only the former one uses. The audit log records
    the policy before and after. With --dry-run, nothing is changed: the new policy is shown with its effect.

    \b
    Examples:
      cratedb-retention edit-policy --id=2af93f28 --retention-period='3 months'
      cratedb-retention edit-policy --id=2af93f28 --disabled
      cratedb-retention edit-policy --id=2af93f28 --clear=where --clear=description
      cratedb-retention edit-policy --id=2af93f28 --enabled --dry-run
    """
    identifier = values.pop("id")
    changes = {**read_attributes(values), **_read_cleared(clear)}
    if not changes:
        raise InvalidInput("edit-policy", "nothing to change", "give the attributes to change, see --help")
    with database.open() as retention:
        if dry_run:
            policy = retention.policies.edited(identifier, changes, if_version)
            _preview(retention, policy, f"change policy {policy.id}")
            return
        policy = retention.policies.edit(identifier, changes, if_version)
        say(f"changed policy {policy.id}: {policy.rule}")


def _preview(retention: Retention, policy: Policy, done: str) -> None:
    """Show what would be done (``create policy``), the policy, and its effect in the next run."""
    from cratedb_retention.model.policies.file import dump_policies

    found = retention.preview(policy)
    say(f"would {done}: {policy.rule}", "bold")
    click.echo(visible(dump_policies([policy]), keep="\n"))
    if found.if_enabled is not None:
        say("The policy is disabled. This would be its effect if it were enabled:", "yellow")
    effect = found.if_enabled or found
    write_plan(replace(effect.after, plan=effect.plan), retention, "table", sql=False)
    for text in effect.contradictions:
        say(f"Contradiction: {text}", "yellow")
    for text in (text for other in effect.others for text in other.lines):
        say(text, "yellow")


def _read_cleared(names: Iterable[str]) -> dict[str, None]:
    """The attributes to unset. Raises InvalidInput for an unknown or required attribute."""
    cleared = [name.strip().replace("-", "_") for name in names]
    optional = [each.name for each in ATTRIBUTES.values() if not each.required and each.name != "id"]
    for name in cleared:
        if name not in optional:
            close = difflib.get_close_matches(name, optional, n=1)
            reason = "required, cannot be unset" if name in ATTRIBUTES else "unknown"
            remedy = f"did you mean {close[0]}?" if close else f"optional attributes: {', '.join(optional)}"
            raise InvalidInput(f"--clear {name}", reason, remedy)
    return dict.fromkeys(cleared)
