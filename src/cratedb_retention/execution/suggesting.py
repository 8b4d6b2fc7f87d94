"""
What can be named in a policy: what the database has, and what other policies say.
"""

from __future__ import annotations

from collections.abc import Iterable

from cratedb_retention.engine.base import Engine
from cratedb_retention.model.attributes import Suggestions
from cratedb_retention.model.catalog import Capabilities, Outline, Selector, TableName
from cratedb_retention.model.patterns import find_tables
from cratedb_retention.model.policy import Policy


def suggest(
    engine: Engine, own_schema: str, policies: Iterable[Policy], limited: bool, chosen: Selector
) -> Suggestions:
    """
    Look what can be named, in a fixed number of statements.

    :param policies: The policies that whoever asks sees.
    :param limited: Whether only what these policies are about may be told.
    :param chosen: The tables whose columns are wanted.
    """
    policies = list(policies)
    default_schema = engine.capabilities.default_schema
    outline = engine.read_outline(chosen)
    tables = [table for table in outline.tables if table.schema != own_schema]
    if limited:
        tables = _covered(policies, tables, engine.capabilities)
    columns = {name: column for table in tables for name, column in outline.columns.get(table, {}).items()}
    return Suggestions(
        default_schema=default_schema,
        tables=tuple(tables),
        columns=tuple(columns.values()),
        repositories=tuple(sorted(_repositories(policies) | (frozenset() if limited else outline.repositories))),
        attributes=_attributes(policies, Outline() if limited else outline),
        tags=tuple(sorted({tag for policy in policies for tag in policy.tags})),
    )


def _covered(policies: Iterable[Policy], tables: Iterable[TableName], own: Capabilities) -> list[TableName]:
    """The tables that policies are about."""
    known = frozenset(tables)
    found: set[TableName] = set()
    for policy in policies:
        found.update(find_tables(policy.table_schema or own.default_schema, policy.table_name, known, own.folds_case))
    return sorted(found)


def _repositories(policies: Iterable[Policy]) -> frozenset[str]:
    return frozenset(policy.target_repository_name for policy in policies if policy.target_repository_name)


def _attributes(policies: Iterable[Policy], outline: Outline) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for attributes in outline.nodes.values():
        for name, value in attributes.items():
            found.setdefault(name, set()).add(value)
    for policy in policies:
        if policy.reallocation_attribute_name and policy.reallocation_attribute_value:
            found.setdefault(policy.reallocation_attribute_name, set()).add(policy.reallocation_attribute_value)
    return {name: tuple(sorted(values)) for name, values in sorted(found.items())}
