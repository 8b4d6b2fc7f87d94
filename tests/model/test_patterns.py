"""Table patterns: only * and ? are special."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Catalog, Selector, Table, TableName, View
from cratedb_retention.model.policies.patterns import find_tables, is_pattern, matcher, parse_table, wanted_by
from support.catalogs import CRATEDB

names = st.text(st.sampled_from("ab.+[]()^$\\|{}_-%\n"), max_size=8)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("metrics", "metrics", True),
        ("metrics", "Metrics", False),
        ("metrics_*", "metrics_cpu", True),
        ("metrics_*", "metrics_", True),
        ("metrics_*", "metrics", False),
        ("*", "", True),
        ("m?", "m1", True),
        ("m?", "m", False),
        ("m?", "m12", False),
        ("a.c", "abc", False),
        ("a.*", "abc", False),
        ("a.*", "a.c", True),
        ("*_%", "x_y", False),
        ("[ab]*", "abc", False),
        ("a*c", "a\nc", True),
        ("*b*", "abc", True),
    ],
)
def test_matcher(pattern: str, name: str, fits: bool) -> None:
    """`*` is any text, `?` one character, everything else itself: no regular expression, no SQL."""
    assert matcher(pattern)(name) is fits


@given(names)
def test_every_name_fits_itself(name: str) -> None:
    """A name without wildcards fits itself and nothing longer."""
    assert not is_pattern(name)
    assert matcher(name)(name)
    assert not matcher(name)(name + "x")
    assert matcher(name + "*")(name)


TABLES = [TableName("doc", "b"), TableName("doc", "a"), TableName("iot", "a"), TableName("iot", "a*")]


@pytest.mark.parametrize(
    ("schema", "name", "found"),
    [
        ("doc", "a", ["doc.a"]),
        ("doc", "c", []),
        ("doc", "*", ["doc.a", "doc.b"]),
        ("*", "a", ["doc.a", "iot.a"]),
        ("*", "*", ["doc.a", "doc.b", "iot.a", "iot.a*"]),
        ("iot", "a*", ["iot.a", "iot.a*"]),
        ("i?t", "a?", ["iot.a*"]),
    ],
)
def test_find_tables(schema: str, name: str, found: list[str]) -> None:
    """Tables are found by schema and name, each of which may be a pattern, in order."""
    assert [str(table) for table in find_tables(schema, name, set(TABLES), CRATEDB)] == found


@pytest.mark.parametrize(
    ("schema", "name", "found"),
    [("doc", "A", ["doc.a"]), ("DOC", "?", ["doc.a", "doc.b"]), ("Iot", "A", ["iot.a"]), ("doc", "c", [])],
)
def test_case_of_names(schema: str, name: str, found: list[str]) -> None:
    """Where names that differ only in case are the same name, policies find tables in the database's spelling."""
    folding = replace(CRATEDB, folds_case=True)
    assert [str(table) for table in find_tables(schema, name, set(TABLES), folding)] == found
    assert find_tables(schema, name, set(TABLES), CRATEDB) == []
    wanted = wanted_by([Selector(schema=schema, name=name)], folding)
    assert [str(table) for table in sorted(TABLES) if wanted(table)] == found
    upper = TableName(schema, name.upper())
    assert find_tables(schema, name.lower(), {upper}, folding) == [upper]
    assert wanted_by([Selector(schema=schema, name=name.lower())], folding)(upper)


def test_names_that_are_taken() -> None:
    """A name is taken by a table, a view or any other relation; in another case, only where that is the same name."""
    table, other = TableName("doc", "a"), TableName("doc", "b")
    view = View(name=TableName("doc", "v"))
    found = Catalog(
        capabilities=CRATEDB,
        tables={table: Table(name=table, columns={})},
        views={view.name: view},
        others=frozenset({other}),
    )
    for name in (table, other, view.name):
        upper = TableName("doc", name.name.upper())
        assert (found.taken(name), found.taken(upper)) == (name, None)
        assert replace(found, capabilities=replace(CRATEDB, folds_case=True)).taken(upper) == name


def test_wanted_by() -> None:
    """A selector without a schema means the default one; several selectors add up."""
    wanted = wanted_by([Selector(schema=None, name="a"), Selector(schema="iot", name="?*")], CRATEDB)
    assert [str(table) for table in TABLES if wanted(table)] == ["doc.a", "iot.a", "iot.a*"]
    assert not wanted_by([], CRATEDB)(TABLES[0])


@pytest.mark.parametrize(
    ("text", "default", "table"),
    [
        ("doc.a", None, TableName("doc", "a")),
        (" doc.a ", "iot", TableName("doc", "a")),
        ("a", "iot", TableName("iot", "a")),
        ("a", None, None),
        ("doc.", "iot", None),
        ("", "iot", None),
        ("crate.doc.a", "iot", None),
    ],
)
def test_name_of_a_table(text: str, default: str | None, table: TableName | None) -> None:
    """A schema and a name, or a name if there is a default schema; what could be read in two ways is refused."""
    if table is not None:
        assert parse_table(text, default_schema=default) == table
        return
    with pytest.raises(InvalidInput):
        parse_table(text, default_schema=default)
