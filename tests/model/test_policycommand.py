"""Policies as commands: what is shown does the same as saving."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from cratedb_retention.cli.policies.editing import _read_cleared, create_policy, edit_policy, read_attributes
from cratedb_retention.model.policies.command import write_create, write_edit
from cratedb_retention.model.policies.policy import ATTRIBUTES, change_policy, changes_of, make_policy

PLAIN = {"strategy": "delete", "table_name": "t", "retention_period": "30d"}
STRANGE = 'it\'s "x"; $HOME <b> é'
FULL: list[dict[str, Any]] = [
    {},
    {"table_schema": "a b", "table_name": "metrics_*", "where": {"tenant": STRANGE, "n": None, "t": "NULL"}},
    {"tags": ["b", STRANGE.replace(",", "")], "description": f"{STRANGE}\nmore", "enabled": False, "id": STRANGE},
    {"schedule": "0 3 * * *", "misfire": "skip", "jitter": "5m", "expected_max": {"rows": 5, "percent": 2.5}},
    {"strategy": "compact", "compress": True, "read_only": True, "number_of_replicas": "0-1"},
    {
        "strategy": "downsample",
        "levels": "1h:60d,1d:forever",
        "metrics": ["x", "y"],
        "aggregates": {"*": ["min", "max"], "x": ["avg"]},
    },
]


def words(command: str) -> list[str]:
    """A command as a shell reads it."""
    return shlex.split(command.replace("\\\n", ""))


@pytest.mark.parametrize("more", FULL)
def test_create(more: dict[str, Any]) -> None:
    """The command, read by a shell, creates the same policy."""
    policy = make_policy(**{**PLAIN, **more})
    program, name, *options = words(write_create(policy))
    given = create_policy.make_context(name, options).params
    assert (program, name) == ("cratedb-retention", create_policy.name)
    assert make_policy(**read_attributes({key: given[key] for key in ATTRIBUTES})) == policy


@pytest.mark.parametrize("more", FULL[1:])
def test_edit(more: dict[str, Any]) -> None:
    """The command changes a policy to another one, and back."""
    one, other = make_policy(**{**PLAIN, "id": "x y"}), make_policy(**{**PLAIN, **more, "id": "x y"})
    for before, after in ((one, other), (other, one)):
        _, name, *options = words(write_edit("x y", changes_of(before, after), 7))
        given = edit_policy.make_context(name, options).params
        assert (name, given["id"], given["if_version"]) == (edit_policy.name, "x y", 7)
        attributes = {key: given[key] for key in ATTRIBUTES if key != "id"}
        assert change_policy(before, {**read_attributes(attributes), **_read_cleared(given["clear"])}) == after
    assert write_edit("x", {}, 1) == ""
