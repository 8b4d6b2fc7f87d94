"""Policy files that can't be read: the error names the file, the line and the attribute, and nothing is stored."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from support.command import Command, Contents

ONE = "policies:\n- strategy: delete\n  table_name: a\n  retention_period: 30d\n"
EMPTY = ": the file is empty. Write `policies:` with a list below, as `cratedb-retention export` shows it"
# Text, and what is said about the file.
FILES: dict[str, tuple[str, str]] = {
    "empty": ("", EMPTY),
    "only a comment": ("# later\n", EMPTY),
    "a scalar": ("later", ", line 1: not a list of policies"),
    "not a list": ("policies: 3", ", line 1: not a list of policies"),
    "a list of scalars": ("policies:\n- 3\n", ", line 2: policies[0]: not a policy. Write its attributes"),
    "another attribute": ("version: 1\npolicies: []\n", ", line 1: attribute version: unknown"),
    "two documents": (ONE + "---\n" + ONE, ", line 5: not valid YAML"),
    "a tab": ("policies:\n\t- strategy: delete\n", ", line 2: not valid YAML: found character '\\t'"),
    "an open quote": ('policies: "', ", line 1: not valid YAML"),
    "an unknown alias": (ONE + "  where: *nope\n", ", line 5: not valid YAML: found undefined alias 'nope'"),
    "a duplicate key": (ONE + "  table_name: b\n", ", line 5: attribute table_name: written twice. Remove one of them"),
    "a list as key": (ONE + "  ? [a]\n  : 3\n", ", line 5: "),
    "two merge keys": (ONE + "  <<: {tags: a}\n  <<: {tags: b}\n", ", line 6: attribute <<: written twice"),
    "a bad merge key": (ONE + "  <<: 3\n", ": policies[0]: not valid YAML"),
    "recursion": ("policies:\n- &a\n  strategy: delete\n  where: *a\n", ": policies[0]"),
    "an object": (ONE.replace("name: a", "name: !!python/object:os.x []"), ", line 3: not plain YAML: the tag python/"),
    "an object as policy": ("policies:\n- !!python/object:os.x\n  strategy: delete\n", ", line 2: not plain YAML"),
    "an object as file": ("!!python/object/apply:os.system [ls]\n", ", line 1: not plain YAML"),
    "a tag of one's own": (ONE.replace("name: a", "name: !mine a"), ", line 3: not plain YAML: the tag !mine"),
    "deep nesting": ("policies: " + "[" * 5000 + "]" * 5000, ": nested too deeply"),
    "open nesting": ("policies: " + "[" * 100_000, ": nested too deeply"),
    "control characters": ("policies: \x00", ": not valid YAML"),
}
# Text, and what is said about an attribute: the line, and the words after "attribute".
ATTRIBUTES: dict[str, tuple[str, int, str]] = {
    "a bad duration": (ONE.replace("30d", "30x"), 4, "retention_period: duration '30x': not a duration. Write it like"),
    "a day as duration": (ONE.replace("30d", "2024-01-01"), 4, "retention_period: duration '2024-01-01': not a"),
    "no duration": (ONE.replace("30d", ""), 4, "retention_period: duration None: not a duration"),
    "a list as name": (ONE.replace("name: a", "name: [a]"), 3, "table_name: must be text"),
    "pairs as name": (ONE.replace("name: a", "name: {a: b}"), 3, "table_name: must be text"),
    "nothing as name": (ONE.replace("name: a", "name:"), 3, "table_name: must be text"),
    "an old way of numbers": (ONE.replace("30d", "0x10"), 4, "retention_period: duration '0x10': not a duration"),
    "another strategy": (ONE + "  levels: 1h:1y\n", 5, "levels: does not apply to delete; remove it, or use"),
    "a period of nothing": (ONE.replace("30d", "0"), 4, "retention_period: 0d keeps nothing; the shortest is 1s"),
    "an empty name": (ONE.replace("name: a", 'name: ""'), 3, "table_name: must not be empty"),
    "NUL in a name": (ONE.replace("name: a", 'name: "a\\0"'), 3, "table_name: has invalid characters"),
    "a list as filter": (ONE + "  where: [a]\n", 5, "where: must be pairs like `key: value`"),
    "a list in a filter": (ONE + "  where:\n    b: [1]\n", 6, "where.b: must be text, a number, true, false or null"),
    "pairs as tags": (ONE + "  tags: {a: b}\n", 5, "tags: must be a list"),
    "lists as tags": (ONE + "  tags: [[a]]\n", 5, "tags: a tag must be text without commas, and not empty"),
    "a word as switch": (ONE + "  enabled: maybe\n", 5, "enabled: must be true or false"),
    "a word as limit": (ONE + "  expected_max:\n    rows: x\n", 6, "expected_max.rows: must be a whole number"),
    "an unknown limit": (ONE + "  expected_max: {row: 1}\n", 5, "expected_max.row: unknown. Did you mean rows?"),
    "unknown": (ONE + "  tabel_schema: x\n", 5, "tabel_schema: unknown. Did you mean table_schema?"),
    "misspelt": (ONE.replace("table_name", "tabel_name"), 3, "tabel_name: unknown. Did you mean table_name?"),
    "missing": (ONE.replace("  table_name: a\n", ""), 2, "table_name: missing"),
}


@pytest.mark.parametrize("case", FILES)
def test_wrong_files(command: Command, contents: Contents, tmp_path: Path, case: str) -> None:
    """What is no policy file is refused as a whole, with file and line."""
    text, message = FILES[case]
    _refused(command, contents, tmp_path / "policies.yaml", text, message)


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_wrong_attributes(command: Command, contents: Contents, tmp_path: Path, case: str) -> None:
    """A wrong attribute is named with file, line and number of the policy; nothing of the file is stored."""
    text, line, message = ATTRIBUTES[case]
    _refused(command, contents, tmp_path / "policies.yaml", text, f", line {line}: policies[0], attribute {message}")


def _refused(command: Command, contents: Contents, file: Path, text: str, message: str) -> None:
    file.write_text(text)
    before = contents()
    complaint = command.refused(2, "apply", "-f", str(file), "--prune", "--tags=any")
    assert complaint.startswith(str(file))
    assert message in complaint
    assert contents() == before


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", bytes(range(256)), "p\xf6licies: []".encode("latin-1")])
def test_binary_files(command: Command, tmp_path: Path, content: bytes) -> None:
    """A file that is no text is refused as such."""
    file = tmp_path / "policies.yaml"
    file.write_bytes(content)
    assert f"{file}: not UTF-8 text" in command.refused(2, "apply", "-f", str(file))


def test_the_same_rule_twice(command: Command, contents: Contents, tmp_path: Path) -> None:
    """Two policies that are the same rule can't both be meant."""
    file = tmp_path / "policies.yaml"
    file.write_text(ONE + ONE.removeprefix("policies:\n").replace("30d", "60d"))
    before = contents()
    assert command.refused(2, "apply", "-f", str(file)) == "policy delete a: is in the file twice. Remove one of them"
    assert contents() == before


def test_a_billion_laughs(command: Command, tmp_path: Path) -> None:
    """A small file that would unfold to gigabytes is refused at once."""
    names = "abcdefghijklmnop"
    lines = ["    a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    {b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in itertools.pairwise(names)]
    file = tmp_path / "policies.yaml"
    file.write_text(ONE + "  where:\n" + "\n".join(lines) + "\n")
    assert "attribute where.a: must be text" in command.refused(2, "apply", "-f", str(file))


def test_what_yaml_offers_for_repeating_oneself(command: Command, tmp_path: Path) -> None:
    """Anchors, aliases and merge keys work, within a policy and between them; a day in a filter stays text."""
    file = tmp_path / "policies.yaml"
    file.write_text(
        "policies:\n"
        "- &one\n  strategy: delete\n  table_name: a\n  retention_period: 30d\n  tags: &tags [x, y]\n"
        "- <<: *one\n  table_name: b\n  where: {month: 2024-01-01}\n"
        "- strategy: delete\n  table_name: c\n  retention_period: 7\n  tags: *tags\n"
    )
    command.ok("apply", "-f", str(file))
    policies = {policy["table_name"]: policy for policy in command.data("list")}
    assert {name: policy["retention_period"] for name, policy in policies.items()} == {
        "a": "30d",
        "b": "30d",
        "c": "7d",
    }
    assert all(policy["tags"] == ["x", "y"] for policy in policies.values())
    assert policies["b"]["where"] == {"month": "2024-01-01"}
