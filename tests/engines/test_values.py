"""
Values of filters on both engines: taken as they are written, typed by their column, and the same from a file, an
option, a form, JSON and Python. What is no value of the column is refused, and nothing goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cratedb_retention import Retention
from cratedb_retention.cli.policies.editing import read_attributes
from cratedb_retention.model.policies.file import dump_policies, parse_policies
from cratedb_retention.model.policies.form import to_attributes, to_values
from cratedb_retention.model.policies.policy import Policy, make_policy
from support.databases import MONTH, TIME, Database
from support.tiers import others_on_duckdb

OLD = "2024-01-10T00:00:00Z"
# What a parser could take each of the first for is among the others.
TEXTS = (
    "007", "7", "NO", "false", "no", "12:30", "750", "0x10", "16", "1_000", "1000", ".5", "0.5", "1e3", "1000.0", "010",
    "8", "0o14", "12", "true", "yes", "on", "null", "NULL", "'NULL'", "~", "", "2024-01-01", "2024-01-01T00:00:00Z",
    "<<", "=", "- x", "a\nb\n", " blank ", "ünï 😀", "\u2028", '"quoted"', "{}", "[]", "# none", "%", "1.50", "1.5",
)  # fmt: skip


def from_file(where: dict[str, Any], base: dict[str, Any]) -> Policy:
    """As it is exported, and read again."""
    return parse_policies(dump_policies([make_policy(**base, where=where)]), "p.yaml")[0]


def from_json_file(where: dict[str, Any], base: dict[str, Any]) -> Policy:
    """The same as JSON."""
    return parse_policies(json.dumps([make_policy(**base, where=where).to_dict()]), "p.json")[0]


def from_form(where: dict[str, Any], base: dict[str, Any]) -> Policy:
    """From the form that shows it."""
    policy = make_policy(**base, where=where)
    return make_policy(**to_attributes(to_values(policy), policy))


def from_option(where: dict[str, Any], base: dict[str, Any]) -> Policy:
    """As ``--where`` says it: NULL is NULL, and the text has quotes."""
    pairs = tuple(f"{column}={'NULL' if text is None else _in_quotes(text)}" for column, text in where.items())
    return make_policy(**base, **read_attributes({"where": pairs}))


def _in_quotes(text: str) -> str:
    return f"'{text}'" if text.strip("'") == "NULL" else text


WAYS = [from_file, *others_on_duckdb(from_json_file, from_form, from_option)]


@pytest.fixture(params=[True, False], ids=["partitions", "rows"])
def texts(request: pytest.FixtureRequest, db: Database) -> str:
    """A table with an expired row of each text, by partitions or without."""
    columns = {"ts": TIME, "n": "TEXT", "tenant": "TEXT"}
    db.create("texts", {**columns, "month": MONTH} if request.param else columns, ["tenant", "month"] * request.param)
    db.insert("texts", [{"ts": OLD, "n": str(number), "tenant": text} for number, text in enumerate((*TEXTS, None))])
    return "texts"


def tenants(db: Database) -> list[str | None]:
    """The tenants that are left."""
    db.refresh("texts")
    return [row[0] for row in db.rows(f"SELECT tenant FROM {db.q('texts')}")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.some(4)
def test_text_is_what_is_written(db: Database, texts: str, way: Callable[..., Policy]) -> None:
    """Each policy takes the rows of its own tenant, and nothing of any other; NULL is one of them."""
    base = {"strategy": "delete", "table_schema": db.schema, "table_name": texts, "retention_period": "30d"}
    written = ("007", "NO", "12:30", "0x10", "1_000", ".5", "1e3", "010", "true", "null", "", "NULL", "a\nb\n", "1.50")
    db.tool.store.policies.create_all(way({"tenant": text}, base) for text in written)
    assert db.run().ok
    left = [*(text for text in TEXTS if text not in written), None]
    assert sorted(map(str, tenants(db))) == sorted(map(str, left))
    assert None in tenants(db)
    db.tool.store.policies.create(way({"tenant": None}, base))
    assert db.run().ok
    assert sorted(map(str, tenants(db))) == sorted(map(str, left[:-1]))


def test_written_plainly(db: Database, texts: str) -> None:
    """A file that a person wrote: without quotes a value is text all the same, and keys are names."""
    written = ["007", "NO", "12:30", "0x10", "1_000", ".5", "1e3", "010", "0o14", "2024-01-01", "on", "true"]
    wanted = "".join(
        f"- {{strategy: delete, table_schema: {db.schema}, table_name: texts, retention_period: 30, "
        f"where: {{tenant: {text}}}, tags: [{text}]}}\n"
        for text in written
    )
    db.tool.apply(parse_policies(wanted, "p.yaml"))
    assert db.run().ok
    assert sorted(map(str, tenants(db))) == sorted(map(str, {*TEXTS, None} - set(written)))
    assert db.tool.tags() == sorted(written)
    exported = dump_policies(item.policy for item in db.tool.policies())
    assert {change.action for change in db.tool.apply(parse_policies(exported, "p.yaml"))} == {"keep"}


NUMBERS = {"i": "BIGINT", "d": "DOUBLE PRECISION", "b": "BOOLEAN"}


@pytest.mark.parametrize(
    ("column", "value", "taken"),
    [
        ("i", "007", ["7"]),
        ("i", "9007199254740993", ["big"]),
        ("i", None, ["null"]),
        ("i", "7.5", None),
        ("d", "1.50", ["7"]),
        ("b", "NO", ["7"]),
        ("ts", "2024-01-10", ["7"]),
        ("ts", 1704844800000, ["7"]),
        *others_on_duckdb(
            ("i", "7.0", ["7"]),
            ("i", 7, ["7"]),
            ("i", 7.0, ["7"]),
            ("i", "9007199254740993.0", ["big"]),
            ("i", "NULL", None),
            ("i", 7.5, None),
            ("i", "0x7", None),
            ("i", "1_6", None),
            ("i", "seven", None),
            ("i", "", None),
            ("i", True, None),
            ("d", 1.5, ["7"]),
            ("d", "15e-1", ["7"]),
            ("d", "nan", None),
            ("b", "off", ["7"]),
            ("b", False, ["7"]),
            ("b", 0, ["7"]),
            ("b", "2", None),
            ("b", "maybe", None),
            ("ts", "20240110", ["7"]),
            ("ts", "1704844800000", ["7"]),
            ("ts", "2024-01-10T00:00:00.0001", None),
            ("ts", "January", None),
            ("ts", False, None),
        ),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.some(16)
def test_typed_by_the_column(db: Database, column: str, value: Any, taken: list[str] | None) -> None:
    """A value has the type of its column, whatever type it came with; one that it can't have takes nothing."""
    db.create("numbers", {"ts": TIME, "n": "TEXT", **NUMBERS})
    others = {"ts": "2024-01-11T00:00:00Z", "i": 16, "d": 2.5, "b": True}
    rows: list[dict[str, Any]] = [
        {**others, "n": "16"},
        {"ts": OLD, "i": 7, "d": 1.5, "b": False, "n": "7"},
        {**others, "i": 9007199254740993, "n": "big"},
        {**others, "i": 9007199254740992, "n": "near"},
        {"ts": "2024-01-11T00:00:00Z", "i": None, "d": 2.5, "b": True, "n": "null"},
    ]
    db.insert("numbers", rows)
    db.policy("delete", "numbers", "30d", where={column: value})
    report = db.run()
    assert report.ok == (taken is not None)
    assert sorted(db.left("numbers")) == sorted({row["n"] for row in rows} - set(taken or ()))
    assert taken is not None or [finding.message.partition(" is ")[0] for finding in db.tool.check()] == [
        f"where: {column}"
    ]


@pytest.mark.parametrize("value", ["NULL", *others_on_duckdb(None, "007", "1.50")], ids=str)
def test_a_hold_of_the_same(db: Database, texts: str, value: str | None) -> None:
    """A hold keeps the rows of its own value, and no others."""
    db.policy("delete", texts, "30d")
    db.tool.hold(texts, db.schema, where={"tenant": value})
    db.run()
    assert tenants(db) == [value]


def test_a_hold_that_is_no_value(db: Database) -> None:
    """What a hold can't mean exactly keeps the whole table."""
    db.create("numbers", {"ts": TIME, "n": "TEXT", **NUMBERS})
    db.insert("numbers", [{"ts": OLD, "n": str(i), "i": i, "d": 0.5, "b": True} for i in range(3)])
    db.policy("delete", "numbers", "30d")
    db.tool.hold("numbers", db.schema, where={"i": "1.5"})
    db.run()
    assert len(db.left("numbers")) == 3


def test_shown_apart(db: Database, texts: str) -> None:
    """A plan tells NULL from the text."""
    for where in ({"tenant": None}, {"tenant": "NULL"}):
        db.policy("delete", texts, "30d", where=where)
    assert {item.policy.target.partition("where ")[2] for item in db.tool.policies()} == {
        "tenant=NULL",
        "tenant='NULL'",
    }
    assert isinstance(db.tool, Retention)
