"""``apply`` and ``export``: policies as code, there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import Strategy
from support.command import Command, Contents

POLICIES = """\
policies:
- strategy: delete
  table_name: metrics
  retention_period: 60d
  tags: [acme]
- strategy: snapshot
  table_name: events_*
  retention_period: 3 months
  time_zone: Europe/Vienna
  target_repository_name: archive
  where: {tenant: acme, number: 7, flag: true, nothing: null, text: "7"}
  expected_max: {percent: 10.5}
  description: |
    several
    lines: [with] <markup>
  enabled: false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy file."""
    path = tmp_path / "policies.yaml"
    path.write_text(POLICIES)
    return path


def test_a_rule_that_is_in_the_file_twice(command: Command, file: Path) -> None:
    """A rule that occurs twice is refused, whether its policy is stored already or not; nothing is changed."""
    twice = f"{POLICIES}- strategy: delete\n  table_name: metrics\n  retention_period: 1d\n"
    for stored in (0, 2):
        assert len(command.data("list")) == stored
        file.write_text(twice)
        assert "twice" in command.refused(2, "apply", "-f", str(file))
        file.write_text(POLICIES)
        command.ok("apply", "-f", str(file))
    assert "60d" in {policy["retention_period"] for policy in command.data("list")}


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_there_and_back(command: Command, file: Path, contents: Contents, form: str) -> None:
    """What is exported, in either format, is applied without a change, and means what was written first."""
    assert command.ok("apply", "-f", str(file)) == (
        "created: delete metrics after 60d\n"
        "created: snapshot events_* where tenant=acme, number=7, flag=true, nothing=NULL, text=7 after 3mo\n"
    )
    exported = command.ok("export", f"--format={form}")
    file.write_text(exported)
    before = contents()
    out = command.ok("apply", "-f", str(file), "--prune")
    assert [line.split()[0] for line in out.splitlines()] == ["unchanged", "unchanged"]
    assert contents() == before
    assert command.ok("export", f"--format={form}") == exported
    (archive,) = command.data("list", "--strategy=snapshot")
    assert archive["where"] == {"tenant": "acme", "number": "7", "flag": "true", "nothing": None, "text": "7"}
    assert archive["description"] == "several\nlines: [with] <markup>\n"


def test_into_an_empty_database(command: Command, file: Path, tmp_path: Path) -> None:
    """An export makes the same policies, with their identifiers, in another database."""
    command.ok("apply", "-f", str(file))
    exported = command.ok("export")
    file.write_text(exported)
    other = Command(f"duckdb:///{tmp_path / 'other.duckdb'}")
    other.ok("setup", "--no-journal-policy")
    other.ok("apply", "-f", str(file))
    assert other.ok("export") == exported


def test_export_chooses(command: Command, file: Path) -> None:
    """An export can be narrowed to tags or a strategy."""
    command.ok("apply", "-f", str(file))
    assert len(yaml.safe_load(command.ok("export", "--tags=acme"))["policies"]) == 1
    assert "tag other: no policy has it" in command.refused(1, "export", "--tags=other")
    (policy,) = yaml.safe_load(command.ok("export", "--strategy=SNAPSHOT"))["policies"]
    assert policy["table_name"] == "events_*"


def test_updating(command: Command, file: Path) -> None:
    """A rule is found again without its identifier; what changes is shown, and only that is changed."""
    command.ok("apply", "-f", str(file))
    before = {policy["table_name"]: policy for policy in command.data("list")}
    file.write_text(POLICIES.replace("60d", "90d"))
    identifier = before["metrics"]["id"][:8]
    shown = f"{identifier}: delete metrics after 90d\n  retention_period: 60d -> 90d\n"
    assert command.ok("apply", "-f", str(file), "--dry-run").startswith(f"would update {shown}")
    assert command.ok("apply", "-f", str(file)).startswith(f"updated {shown}")
    after = {policy["table_name"]: policy for policy in command.data("list")}
    assert after["events_*"] == before["events_*"]
    assert after["metrics"] == {**before["metrics"], "retention_period": "90d", "version": 2}


@pytest.mark.parametrize("more", [[], ["--prune"], ["--prune", "--tags=acme"], ["--format=json"]])
def test_a_dry_run_changes_nothing(command: Command, file: Path, contents: Contents, more: list[str]) -> None:
    """``--dry-run`` only tells, and tells what then happens."""
    command.ok("apply", "-f", str(file))
    file.write_text(POLICIES.replace("metrics", "others"))
    before = contents()
    told = command.ok("apply", "-f", str(file), "--dry-run", *more)
    assert contents() == before
    done = command.ok("apply", "-f", str(file), *more)
    if "--format=json" not in more:
        assert told.count("would create") == done.count("created") == 1
        assert told.count("would delete") == done.count("deleted") == ("--prune" in more)


def test_pruning_deletes_what_the_file_lacks(command: Command, file: Path) -> None:
    """With ``--prune`` the file is all there is."""
    command.ok("create", "--strategy=delete", "--table-name=old", "--retention-period=1", "--id=old")
    command.ok("apply", "-f", str(file))
    assert len(command.data("list")) == 3
    assert "deleted old: delete old after 1d\n" in command.ok("apply", "-f", str(file), "--prune")
    assert {policy["table_name"] for policy in command.data("list")} == {"metrics", "events_*"}


def test_pruning_within_tags(command: Command, file: Path) -> None:
    """With tags, only policies that have them are pruned."""
    for name, tags in (("one", "acme"), ("two", "acme,other"), ("three", "other")):
        command.ok("create", "--strategy=delete", f"--table-name={name}", "--retention-period=1", f"--tags={tags}")
    command.ok("apply", "-f", str(file), "--prune", "--tags=acme")
    assert {policy["table_name"] for policy in command.data("list")} == {"three", "metrics", "events_*"}


def test_an_empty_file_prunes_nothing(command: Command, file: Path, contents: Contents) -> None:
    """A file without policies does not delete them all, unless tags say which."""
    command.ok("apply", "-f", str(file))
    file.write_text("policies: []\n")
    before = contents()
    assert "pruning would delete every policy" in command.refused(2, "apply", "-f", str(file), "--prune")
    assert command.ok("apply", "-f", str(file)) == "the file contains no policies; nothing to do\n"
    assert contents() == before
    assert command.ok("apply", "-f", str(file), "--prune", "--tags=acme").startswith("deleted ")
    assert len(command.data("list")) == 1


def test_reading_from_a_pipe(command: Command) -> None:
    """``-f -`` reads standard input; errors name it."""
    done = command.process("apply", "-f", "-", stdin=POLICIES)
    assert done.code == 0, done.err
    assert done.out.count("created: ") == 2


def test_the_schema_of_policy_files() -> None:
    """The JSON schema needs no database, knows every attribute, and demands what a policy needs."""
    schema = json.loads(Command(None).ok("export", "--json-schema"))
    policy = schema["$defs"]["Policy"]
    assert set(policy["properties"]) == set(Policy.model_fields)
    assert set(policy["required"]) == {"strategy", "table_name", "retention_period"}
    assert policy["additionalProperties"] is False
    assert policy["properties"]["strategy"]["enum"] == [str(strategy) for strategy in Strategy]
    assert schema["required"] == ["policies"]


def test_an_export_fits_the_schema(command: Command, file: Path) -> None:
    """What is exported has the attributes and the types that the schema names."""
    command.ok("apply", "-f", str(file))
    schema = json.loads(command.ok("export", "--json-schema"))
    exported = json.loads(command.ok("export", "--format=json"))
    assert set(exported) == set(schema["properties"])
    policy = schema["$defs"]["Policy"]
    for found in exported["policies"]:
        assert set(policy["required"]) <= set(found) <= set(policy["properties"])
        for name, value in found.items():
            assert _type_of(value) in _types(policy["properties"][name], schema["$defs"]), name


def _type_of(value: Any) -> str:
    names = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _types(definition: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """The types that a part of a JSON schema allows."""
    if "$ref" in definition:
        return _types(definitions[definition["$ref"].rpartition("/")[2]], definitions)
    found: set[str] = set()
    for part in definition.get("anyOf", ()):
        found |= _types(part, definitions)
    named = definition.get("type", [])
    return found | ({named} if isinstance(named, str) else set(named))
