"""Names of snapshots: what the database allows, stable, and different where the content is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.model.archive import is_name_of, snapshot_name
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from support.catalogs import MONTH, TENANT, ms

ALLOWED = re.compile(r"[a-z0-9][a-z0-9_-]*")
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
texts = st.text(min_size=1)


def name(table: TableName, values: list[Value], token: str = "t1") -> str:
    """A snapshot's name, for columns of any type."""
    return snapshot_name(
        table, [Column(name=f"c{i}", type="x", kind=Kind.OTHER) for i, _ in enumerate(values)], values, token
    )


def test_readable_and_stable() -> None:
    """A name says what is in it, and is the same tomorrow: an interrupted run has to find its snapshot again."""
    found = snapshot_name(TableName("doc", "metrics"), [TENANT, MONTH], ["Acme, Inc.", ms("2024-05-01")], "t1")
    assert found == "doc-metrics-acme-inc-2024-05-01-d56d1ab5035f"


@given(texts, texts, st.lists(values, max_size=4), st.text())
def test_allowed(schema: str, table: str, partition: list[Value], token: str) -> None:
    """Lower case, no sign that is not allowed, no leading underscore or dash, and not too long, whatever the names."""
    found = name(TableName(schema, table), partition, token)
    assert ALLOWED.fullmatch(found)
    assert len(found) <= 255
    assert found == name(TableName(schema, table), partition, token)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (name(TableName("doc", "a"), [1], "t1"), name(TableName("doc", "a"), [1], "t2")),
        (name(TableName("doc", "a"), [1]), name(TableName("doc", "a"), [2])),
        (name(TableName("doc", "a"), [1]), name(TableName("doc", "a"), ["1"])),
        (name(TableName("doc", "a"), [None]), name(TableName("doc", "a"), ["NULL"])),
        (name(TableName("doc", "a"), [None]), name(TableName("doc", "a"), ["null"])),
        (name(TableName("doc", "a"), ["A"]), name(TableName("doc", "a"), ["a"])),
        (name(TableName("doc", "a"), ["a b"]), name(TableName("doc", "a"), ["a-b"])),
        (name(TableName("doc", "a"), ["a", "b"]), name(TableName("doc", "a"), ["a-b"])),
        (name(TableName("doc", "a-b"), ["c"]), name(TableName("doc-a", "b"), ["c"])),
        (name(TableName("doc", "x" * 200), [1]), name(TableName("doc", "x" * 201), [1])),
        (name(TableName("doc", "ä"), [1]), name(TableName("doc", "ö"), [1])),
    ],
)
def test_unique(one: str, other: str) -> None:
    """Another table, partition, type or content is another name, even where the readable part is the same."""
    assert one != other


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("doc-metrics-2024-05-01-d56d1ab5035f", True),
        (f"doc.metrics-{ms('2024-05-01')}", True),
        ("doc-metrics-2024-05-01", False),
        ("doc-metrics-2024-05-01-by-hand", False),
        ("doc-metrics-2024-05-01-acme-d56d1ab5035f", False),
        ("doc-metrics-2024-06-01-d56d1ab5035f", False),
    ],
)
def test_recognized(name: str, fits: bool) -> None:
    """A snapshot is a partition's by its whole name: a user may have named others almost like it."""
    assert is_name_of(name, TableName("doc", "metrics"), [MONTH], [ms("2024-05-01")]) is fits


@given(st.lists(st.tuples(texts, texts, st.lists(st.text() | st.integers(), max_size=2), st.text()), unique_by=repr))
def test_no_two_alike(snapshots: list[tuple[str, str, list[Value], str]]) -> None:
    """Different contents never share a name."""
    names = {name(TableName(schema, table), partition, token) for schema, table, partition, token in snapshots}
    assert len(names) == len(snapshots)
