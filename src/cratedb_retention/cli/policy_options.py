"""
The options of ``create-policy`` and ``edit-policy``, made from the attributes of a policy, so that both have the same
names and the same words.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from cratedb_retention.cli.options import TEXT, one_of
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.attributes import Attribute, Form
from cratedb_retention.model.pairs import read_pairs
from cratedb_retention.model.policy import ATTRIBUTES

F = TypeVar("F", bound=Callable[..., Any])
_SEVERAL = (Form.LIST, Form.PAIRS, Form.PARTS)


def policy_options(function: F) -> F:
    """Add an option for each attribute; the identifier has one of its own in each command."""
    for attribute in reversed(ATTRIBUTES.values()):
        if attribute.name != "id":
            function = _option(attribute)(function)
    return function


def _option(attribute: Attribute) -> Callable[[F], F]:
    text = attribute.description.replace("`", "")
    if attribute.form is Form.FLAG:
        return click.option(attribute.option, attribute.name, default=None, help=text)
    lists = "COLUMN,..." if attribute.form is Form.LIST else "TEXT"
    return click.option(
        attribute.option,
        attribute.name,
        type=None if attribute.may_be_empty or attribute.form in (Form.PAIRS, Form.PARTS) else TEXT,
        multiple=attribute.form in _SEVERAL,
        metavar=attribute.metavar or "|".join(attribute.values) or lists,
        shell_complete=one_of(*attribute.values) if attribute.values else None,
        help=text,
    )


def read_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    The attributes that were given as options, as plain values.

    :raises InvalidInput: if a pair is not of the form KEY=VALUE.
    """
    return {name: _read(ATTRIBUTES[name], value) for name, value in values.items() if value is not None and value != ()}


def _read(attribute: Attribute, value: Any) -> Any:
    if attribute.form is Form.LIST:
        return [word.strip() for text in value for word in text.split(",")]
    if attribute.form in (Form.PAIRS, Form.PARTS):
        return read_pairs(attribute.option, value, str(attribute.examples[0]))
    return value


def refuse_missing(given: Mapping[str, Any]) -> None:
    """
    Name the options that a new policy lacks, all at once.

    :raises InvalidInput: if there are any.
    """
    missing = [each.option for each in ATTRIBUTES.values() if each.required and each.name not in given]
    if missing:
        raise InvalidInput("create-policy", f"{', '.join(missing)} missing", "--help shows examples")


def read_cleared(names: Iterable[str]) -> dict[str, None]:
    """
    The attributes that are to be cleared.

    :raises InvalidInput: if there is no such attribute, or a policy needs it.
    """
    cleared = [name.strip().replace("-", "_") for name in names]
    optional: Sequence[str] = [each.name for each in ATTRIBUTES.values() if not each.required and each.name != "id"]
    for name in cleared:
        if name not in optional:
            close = difflib.get_close_matches(name, optional, n=1)
            reason = "a policy needs it" if name in ATTRIBUTES else "unknown"
            remedy = f"did you mean {close[0]}?" if close else f"these can be cleared: {', '.join(optional)}"
            raise InvalidInput(f"--clear {name}", reason, remedy)
    return dict.fromkeys(cleared)
