"""
Table patterns: ``*`` stands for any text, ``?`` for one character; everything else is literal.

CrateDB allows neither of these characters in a table's name. On DuckDB, a name that contains one matches itself.

Names that differ only in case are the same name on DuckDB (``folds_case``), but not on CrateDB. Tables that are found
have the spelling of the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Capabilities, Selector, TableName


def parse_table(text: str, thing: str = "table", default_schema: str | None = None) -> TableName:
    """
    Read ``schema.table``; raises InvalidInput if the text is not of that form.

    :param thing: The name of the option or argument, for errors.
    :param default_schema: The schema of a name without one; None: a schema is required.
    """
    schema, _, name = text.strip().rpartition(".")
    if not name.strip() or "." in schema or (not schema and default_schema is None):
        raise InvalidInput(f"{thing} {text.strip()!r}", "not of the form SCHEMA.TABLE", "write it like doc.restored")
    return TableName(schema or default_schema or "", name)


def folded(table: TableName) -> TableName:
    """A name in lower case, for comparisons that ignore case."""
    return TableName(table.schema.lower(), table.name.lower())


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def matcher(pattern: str, folds_case: bool = False) -> Callable[[str], bool]:
    """A function that decides whether a name matches a pattern."""
    if folds_case:
        fits = matcher(pattern.lower())
        return lambda name: fits(name.lower())
    if not is_pattern(pattern):
        return pattern.__eq__
    source = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    compiled = re.compile(source, re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def find_tables(schema: str | None, name: str, tables: Iterable[TableName], database: Capabilities) -> list[TableName]:
    """The matching tables, in order. A name without wildcards costs one look-up if ``tables`` is a mapping or set."""
    exact = TableName(schema or database.default_schema, name)
    if is_pattern(exact.schema + name):
        return sorted(filter(wanted_by([Selector(schema=schema, name=name)], database), tables))
    if exact in tables or not database.folds_case:
        return [exact] if exact in tables else []
    same = folded(exact)
    return sorted(table for table in tables if folded(table) == same)


def wanted_by(selectors: Iterable[Selector], database: Capabilities) -> Callable[[TableName], bool]:
    """A function that decides whether any selector matches a table."""
    named = [TableName(selector.schema or database.default_schema, selector.name) for selector in selectors]
    fold: Callable[[TableName], TableName] = folded if database.folds_case else lambda table: table
    exact = set(map(fold, named))
    patterns = [each for each in named if is_pattern(each.schema + each.name)]
    fits = [(matcher(each.schema, database.folds_case), matcher(each.name, database.folds_case)) for each in patterns]
    return lambda table: fold(table) in exact or any(s(table.schema) and n(table.name) for s, n in fits)


def pattern_within(inner: str, outer: str) -> bool:
    """Whether each name that matches the inner pattern surely matches the outer one."""

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
