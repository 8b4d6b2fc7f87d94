"""
The options of ``create-policy`` and ``edit-policy``, made from the attributes of a policy, so that both have the same
names and the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from cratedb_retention.cli.options import read_pairs
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policy import Policy

F = TypeVar("F", bound=Callable[..., Any])
_OWN_OPTION = {"id", "enabled"}
_PAIRS = {"where": "COLUMN=VALUE", "expected_max": "LIMIT=N"}
_SHORT = {"target_repository_name": "REPOSITORY", "retention_period": "DURATION", "time_zone": "ZONE", "tags": "A,B"}


def policy_options(function: F) -> F:
    """Add an option for each attribute."""
    function = click.option("--enabled/--disabled", default=None, help="Whether runs obey the policy.")(function)
    for name, field in reversed(Policy.model_fields.items()):
        if name not in _OWN_OPTION:
            function = click.option(
                f"--{name.replace('_', '-')}",
                name,
                multiple=name in (*_PAIRS, "tags"),
                metavar=_PAIRS.get(name) or _SHORT.get(name) or "TEXT",
                help=(field.description or "").replace("`", ""),
            )(function)
    return function


def read_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    The attributes that were given as options, as plain values.

    :raises InvalidInput: if a pair is not of the form KEY=VALUE.
    """
    given = {key: value for key, value in values.items() if value is not None and value != ()}
    if "tags" in given:
        given["tags"] = [tag for text in given["tags"] for tag in text.split(",")]
    if "where" in given:
        given["where"] = read_pairs("--where", given["where"])
    if "expected_max" in given:
        given["expected_max"] = {
            k: _number(k, v) for k, v in read_pairs("--expected-max", given["expected_max"]).items()
        }
    return given


def _number(key: str, value: str | None) -> float:
    try:
        number = float(value or "")
    except ValueError:
        raise InvalidInput(f"--expected-max {key}", f"{value!r} is no number") from None
    return int(number) if number.is_integer() else number
