"""Reasons: codes, values and texts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cratedb_retention
from cratedb_retention.errors import DiskFull
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.reasons import Why, failure
from support.catalogs import policy

SOURCE = Path(cratedb_retention.__file__).parent


def calls() -> list[tuple[str, Why, set[str]]]:
    """Each place of the source where a reason is made, with the values that it gives."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                names = [n.attr for n in ast.walk(node.func) if isinstance(n, ast.Attribute) and is_why(n.value)]
                given = {str(keyword.arg) for keyword in node.keywords}
                found += [(f"{path.relative_to(SOURCE)}:{node.lineno}", Why[name], given) for name in names]
    return found


def is_why(node: ast.expr) -> bool:
    """Whether an expression is the registry."""
    return isinstance(node, ast.Name) and node.id == "Why"


def test_each_reason_is_given_what_its_text_names() -> None:
    """A value that is missing would be found only when the reason comes up."""
    assert [(place, why.name) for place, why, given in calls() if given != set(why.kinds)] == []


def test_each_reason_is_used() -> None:
    """No code is left behind."""
    text = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    assert [why.name for why in Why if f"Why.{why.name}" not in text] == []


def test_codes_are_words() -> None:
    """They stand in JSON and in the audit log, and are as good as a name."""
    codes = [why.code for why in Why]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and code.replace("-", "").isalnum() for code in codes)


def test_a_reason_is_its_code_and_values() -> None:
    """Two are equal if both are; the text comes from the template."""
    one = Why.NOT_ROLLED_UP(level=TableName("a.b", "c.d"), end=0, cascade="p1")
    assert str(one) == "not rolled up into a.b.c.d yet; its window lasts until 1970-01-01"
    assert one == Why.NOT_ROLLED_UP(level=TableName("a.b", "c.d"), end=0, cascade="p1")
    assert one != Why.NOT_ROLLED_UP(level=TableName("a.b", "c.d"), end=0, cascade="p2")
    assert str(Why.MISSING_SHARDS(count=1)) == "1 missing shard; bring the lost nodes back"
    assert str(Why.MISSING_SHARDS(count=1200)) == "1,200 missing shards; bring the lost nodes back"


def test_wrong_values_are_refused() -> None:
    """A value is of the type that its kind takes, and none is missing or unknown."""
    for values in ({}, {"count": "1"}, {"count": 1, "other": 2}):
        with pytest.raises(TypeError, match="MISSING_SHARDS"):
            Why.MISSING_SHARDS(**values)


def test_this_policy() -> None:
    """A policy that is about to be stored has an identifier that nobody knows; it is called "this policy"."""
    own = policy().model_copy(update={"id": "a1b2c3d4-0000"})
    assert Why.ARCHIVED_WHOLE(archiver="p1").about("p1").startswith("this policy archives")
    assert Why.ARCHIVED_WHOLE(archiver="p12").about("p1").startswith("policy p12 archives")
    found = Why.SAME_DELETED(one=own, other=policy())
    assert found.about(own.id) == f"{str(found).replace('(a1b2c3d4)', '(this policy)')}"
    assert "(this policy)" in found.about(own.id)


def test_the_code_of_an_error_is_its_kind() -> None:
    """Of what the database said, programs learn which kind of error it was; of what is none, that the run ended."""
    assert failure(DiskFull("table a.b", "full")).code == "disk-full"
    assert str(failure(DiskFull("table a.b", "full"))) == "table a.b: full"
    assert (failure(ValueError("x")).code, str(failure(ValueError("x")))) == (
        "ended-early",
        "ended early: ValueError('x')",
    )
