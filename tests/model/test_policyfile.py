"""Policies as code: what a file may hold, and that an error names line and attribute."""

from __future__ import annotations

import json

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.file import dump_policies, parse_policies, policy_file_schema
from cratedb_retention.model.policies.policy import Policy
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
             '"retention_period": "30", "where": {"tenant": "acme", "site": 7, "gone": null}}]']
)  # fmt: skip
def test_read(text: str) -> None:
    """A file holds `policies:`, or the list alone, as YAML or JSON."""
    wanted = policy("delete", 30, id=None, where={"tenant": "acme", "site": 7, "gone": None})
    assert parse_policies(text, "p.yaml") == [wanted]


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
        ("policies: []\nversion: 1", "p.yaml, line 2: attribute version: unknown"),
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
        (ONE.replace(": 7", ": !!int 7"), "p.yaml, line 5: not plain YAML: the tag int"),
        (ONE.replace(": 7", ": !!binary aaaa"), "p.yaml, line 5: not plain YAML: the tag binary"),
        (ONE.replace("site", "!!int 7"), "p.yaml, line 5: not plain YAML: the tag int"),
        (ONE.replace("site", "~"), "p.yaml, line 5: not the name of an attribute"),
        (ONE.replace("site", "tenant"), "p.yaml, line 5: attribute tenant: written twice"),
        (ONE + "---\n" + ONE, "p.yaml, line 6: not valid YAML: but found another document"),
        (ONE.replace("30", "1_000"), "p.yaml, line 4: policies[0], attribute retention_period: duration '1_000'"),
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


PLAIN = (
    "007", "NO", "off", "12:30", "0x10", "0o14", "1_000", ".5", "1e3", "1.50", "-1", "2024-01-01", "=", ".inf", "nullx",
    "True", "9" * 250,
)  # fmt: skip


@pytest.mark.parametrize("text", PLAIN, ids=lambda text: text[:9])
def test_plain_values(text: str) -> None:
    """A value is what is written, as a filter, a tag, a name, a node's attribute and a key; in JSON as well."""
    attributes = f"table_name: {text}, retention_period: 1d, where: {{{text}: {text}}}, tags: [{text}, a]"
    moves = f"reallocation_attribute_name: x, reallocation_attribute_value: {text}"
    file = f"- {{strategy: reallocate, {attributes}, {moves}}}"
    (found,) = parse_policies(file, "p.yaml")
    assert (found.table_name, found.reallocation_attribute_value) == (text, text)
    assert (found.where, found.tags) == ({text: text}, tuple(sorted((text, "a"))))
    assert parse_policies(dump_policies([found]), "p.yaml") == [found]
    assert parse_policies(json.dumps([found.to_dict()]), "p.json") == [found]


@pytest.mark.parametrize(
    ("text", "value"),
    [("null", None), ("~", None), ("", None), ("NULL", None), ("'NULL'", "NULL"), ('"null"', "null"), ("''", ""),
     ("!!str null", "null"), ("nULL", "nULL"), ("'~'", "~"), ("<<", "<<")],
)  # fmt: skip
def test_null(text: str, value: str | None) -> None:
    """NULL is what YAML 1.2 calls so, unless it is in quotes."""
    (found,) = parse_policies(ONE.replace("null", text), "p.yaml")
    assert found.where["gone"] == value
    assert parse_policies(dump_policies([found]), "p.yaml") == [found]


def test_attributes_of_other_types() -> None:
    """Numbers and truth values of attributes are what YAML 1.2 says; octal ones are decimal."""
    (found,) = parse_policies(
        "- {strategy: delete, table_name: t, retention_period: 010, enabled: NO,"
        " expected_max: {rows: 1000, percent: .5}}",
        "p.yaml",
    )
    assert (str(found.retention_period), found.enabled) == ("10d", False)
    assert found.expected_max is not None
    assert (found.expected_max.rows, found.expected_max.percent) == (1000, 0.5)


def test_taken_over() -> None:
    """An anchor with ``<<`` takes over what another policy says, but for what is written."""
    one, other = parse_policies(
        "- &a {strategy: delete, table_name: a, retention_period: 1d, where: {tenant: 007}}\n"
        "- {<<: *a, table_name: b, id: b}\n",
        "p.yaml",
    )
    assert other == one.model_copy(update={"table_name": "b", "id": "b"})


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("plain", [True, False])
def test_json(plain: bool, indent: int | str | None) -> None:
    """JSON is read whatever its blanks and escapes are."""
    strange = 'a\n😀 é \u2028 \x85 \t \\ "q" / end\n'
    wanted = policy(id=None, description=strange, where={strange: strange})
    text = json.dumps({"policies": [wanted.to_dict()]}, ensure_ascii=plain, indent=indent)
    assert parse_policies(text, "p.json") == [wanted]
    assert parse_policies(text.replace("/", "\\/"), "p.json") == [wanted]


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
