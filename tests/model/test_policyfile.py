"""Policies as code: what a file may hold, and that an error names line and attribute."""

from __future__ import annotations

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.policyfile import dump_policies, parse_policies, policy_file_schema
from support.catalogs import policy

ONE = """\
policies:
- strategy: delete
  table_name: metrics
  retention_period: 30
  where: {tenant: acme, site: 7, gone: null}
"""


@pytest.mark.parametrize(
    "text", [ONE, ONE.removeprefix("policies:\n"), '[{"strategy": "delete", "table_name": "metrics", '
             '"retention_period": "30d", "where": {"tenant": "acme", "site": 7, "gone": null}}]']
)  # fmt: skip
def test_read(text: str) -> None:
    """A file holds `policies:`, or the list alone, as YAML or JSON."""
    assert parse_policies(text, "p.yaml") == [policy(id=None, where={"tenant": "acme", "site": 7, "gone": None})]


@pytest.mark.parametrize("text", ["policies: []", "[]"])
def test_no_policies(text: str) -> None:
    """A list may be empty, if it says so."""
    assert parse_policies(text, "p.yaml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml: the file is empty"),
        ("# nothing", "p.yaml: the file is empty"),
        ("policies:", "p.yaml, line 1: not a list of policies"),
        ("policies: 7", "p.yaml, line 1: not a list of policies"),
        ("strategy: delete", "p.yaml, line 1: attribute strategy: unknown"),
        ("polices: []", "p.yaml, line 1: attribute polices: unknown"),
        ("policies:\n- delete", "p.yaml, line 2: policies[0]: not a policy"),
        ("policies: [", "p.yaml, line 1: not valid YAML"),
        ("a: b: c", "p.yaml, line 1: not valid YAML"),
        ("\x00", "p.yaml: not valid YAML"),
        (ONE + "  retention_period: 1d\n", "p.yaml, line 6: attribute retention_period: written twice"),
        (ONE + "  retention: 1d\n", "p.yaml, line 6: policies[0], attribute retention: unknown"),
        (ONE.replace("30", "soon"), "p.yaml, line 4: policies[0], attribute retention_period: duration 'soon'"),
        (ONE.replace("30", "-1"), "p.yaml, line 4: policies[0], attribute retention_period: duration '-1'"),
        (ONE.replace("  table_name: metrics\n", ""), "p.yaml, line 2: policies[0], attribute table_name: missing"),
        (ONE.replace("delete", "snapshot"), "p.yaml, line 2: policies[0], policy: snapshot needs"),
        (ONE + "- {}\n", "p.yaml, line 6: policies[1], attribute strategy: missing"),
        ("- !!python/object/apply:os.system [ls]", "p.yaml, line 1: not plain YAML"),
    ],
)  # fmt: skip
def test_refused(text: str, message: str) -> None:
    """An error names the file, the line, the policy and the attribute; a key written twice is one."""
    with pytest.raises(InvalidInput) as caught:
        parse_policies(text, "p.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "- &a {<<: *a}",
        "- {? [a] : b}",
        "- {strategy: !!python/object/apply:os.system [ls]}",
        "- strategy: delete\n  where: {? {a: b} : c}",
        "- {strategy: !unknown x}",
        "policies: &a [*a]",
        "{[a]: b}",
        "- {strategy: delete, retention_period: 2024-02-30}",
        "- {strategy: delete, retention_period: " + "9" * 5000 + "}",
        "- &a [x]\n"
        + "".join(f"- &{'b' * i} [{', '.join(['*' + ('b' * (i - 1) or 'a')] * 9)}]\n" for i in range(1, 40)),
    ],
)
def test_hostile_yaml(text: str) -> None:
    """Anchors that hold themselves or grow, keys that are lists, objects of Python: refused like any other mistake."""
    with pytest.raises(InvalidInput, match=r"p\.yaml"):
        parse_policies(text, "p.yaml")


POLICIES: list[Policy] = [
    policy(id=None),
    policy("snapshot", "1y6mo", tags=["a", "ü"], where={"tenant": "no", "site": "7", "flag": True, "gone": None}),
    policy("reallocate", "forever", description="a: b\n- c\n", expected_max={"percent": 12.5}),
]


def test_round_trip() -> None:
    """What is written is read as the same policies; text that looks like something else stays text."""
    assert parse_policies(dump_policies(POLICIES), "p.yaml") == POLICIES


def test_written_strategy_first() -> None:
    """A written policy can be read like a sentence."""
    assert dump_policies(POLICIES[:1]) == (
        "policies:\n- strategy: delete\n  table_name: metrics\n  retention_period: 30d\n"
    )


def test_file_schema() -> None:
    """The schema of a file refers to that of a policy, and every reference has its definition."""
    schema = policy_file_schema()
    assert schema["properties"]["policies"]["items"] == {"$ref": "#/$defs/Policy"}
    assert {"Policy", "ExpectedMax"} <= set(schema["$defs"])
    assert "$defs" not in schema["$defs"]["Policy"]
