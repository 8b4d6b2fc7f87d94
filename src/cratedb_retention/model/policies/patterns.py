"""
Table patterns: ``*`` stands for any text, ``?`` for one character; everything else is meant literally.

CrateDB allows neither sign in a table's name. Where a name does hold one (DuckDB), it fits itself.

For DuckDB names that differ in case only are one name, for CrateDB they are two: ``folds_case`` says which rule counts.
What is found has the catalog's own spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Capabilities, Selector, TableName


def parse_table(text: str, thing: str = "table", default_schema: str | None = None) -> TableName:
    """
    Read ``schema.table`` as people write it; raises InvalidInput if it is not of that form.

    :param thing: What it was given as, for errors.
    :param default_schema: What a name without a schema is in; None: it must have one.
    """
    schema, _, name = text.strip().rpartition(".")
    if not name.strip() or "." in schema or (not schema and default_schema is None):
        raise InvalidInput(f"{thing} {text.strip()!r}", "not of the form SCHEMA.TABLE", "write it like doc.restored")
    return TableName(schema or default_schema or "", name)


def folded(table: TableName) -> TableName:
    """What two names of one table have in common where case does not count."""
    return TableName(table.schema.lower(), table.name.lower())


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def matcher(pattern: str, folds_case: bool = False) -> Callable[[str], bool]:
    """A function that tells whether a name fits the pattern."""
    if folds_case:
        fits = matcher(pattern.lower())
        return lambda name: fits(name.lower())
    if not is_pattern(pattern):
        return pattern.__eq__
    source = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    compiled = re.compile(source, re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def find_tables(schema: str | None, name: str, tables: Iterable[TableName], database: Capabilities) -> list[TableName]:
    """The tables that fit, in order. A name without wildcards costs one look-up when ``tables`` is a mapping or set."""
    exact = TableName(schema or database.default_schema, name)
    if not is_pattern(exact.schema + name) and (exact in tables or not database.folds_case):
        return [exact] if exact in tables else []
    return sorted(filter(wanted_by([Selector(schema=schema, name=name)], database), tables))


def wanted_by(selectors: Iterable[Selector], database: Capabilities) -> Callable[[TableName], bool]:
    """A function that tells whether any selector wants a table."""
    named = [TableName(selector.schema or database.default_schema, selector.name) for selector in selectors]
    fold: Callable[[TableName], TableName] = folded if database.folds_case else lambda table: table
    exact = set(map(fold, named))
    patterns = [each for each in named if is_pattern(each.schema + each.name)]
    fits = [(matcher(each.schema, database.folds_case), matcher(each.name, database.folds_case)) for each in patterns]
    return lambda table: fold(table) in exact or any(s(table.schema) and n(table.name) for s, n in fits)


def pattern_within(inner: str, outer: str) -> bool:
    """Whether each name that fits the inner pattern fits the outer one; where that is not plain to see, no."""

    @cache
    def fits(i: int, o: int) -> bool:
        if o == len(outer):
            return i == len(inner)
        if outer[o] == "*":
            return fits(i, o + 1) or (i < len(inner) and fits(i + 1, o))
        if i == len(inner):
            return False
        same = inner[i] == outer[o] or (outer[o] == "?" and inner[i] != "*")
        return same and fits(i + 1, o + 1)

    return inner == outer or fits(0, 0)
