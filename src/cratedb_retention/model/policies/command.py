"""Policies as commands: what one would type to do the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cratedb_retention.model.policies.attributes import Attribute, Form
from cratedb_retention.model.policies.policy import ATTRIBUTES, Policy
from cratedb_retention.model.words import write_pairs

_NAME = "cratedb-retention"


def write_create(policy: Policy) -> str:
    """The command that creates a policy."""
    return _command("create-policy", _options(policy.to_dict()))


def write_edit(identifier: str, changes: Mapping[str, Any], version: int) -> str:
    """The command that changes attributes of a policy, see :func:`.policy.changes_of`; empty without changes."""
    known = [f"--id={identifier}", f"--if-version={version}"]
    return _command("edit-policy", [*known, *_options(changes)]) if changes else ""


def _command(name: str, options: Iterable[str]) -> str:
    return " \\\n  ".join([f"{_NAME} {name}", *map(shlex.quote, options)])


def _options(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        attribute = ATTRIBUTES[name]
        meant = attribute.default if value is None and attribute.form is Form.FLAG else value
        yield from [f"--clear={name.replace('_', '-')}"] if meant is None else _option(attribute, meant)


def _option(attribute: Attribute, value: Any) -> Iterator[str]:
    match attribute.form:
        case Form.FLAG:
            yield attribute.option.split("/")[not value]
        case Form.LIST:
            yield from (f"{attribute.option}={each}" for each in value)
        case Form.PAIRS | Form.PARTS:
            pairs = ((key, ",".join(each) if isinstance(each, list) else each) for key, each in value.items())
            yield from (f"{attribute.option}={write_pairs([pair])}" for pair in pairs)
        case _:
            yield f"{attribute.option}={value}"
