"""
Targets: a policy on one table, with everything about the table that the policy leaves open found out.

Here it is decided which column carries the time, whether whole partitions or rows expire, and where a partition's
interval comes from (design, "Time"). What can't be decided is a problem, said in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Capabilities, Catalog, Column, Kind, Table, TableName, Value
from cratedb_retention.model.instant import parse_instant, to_ms
from cratedb_retention.model.intervals import Grid, find_time_column, read_grid
from cratedb_retention.model.measurements import PartitionBounds
from cratedb_retention.model.patterns import find_tables, is_pattern
from cratedb_retention.model.plan import Hold
from cratedb_retention.model.policy import Policy, Scalar, Strategy
from cratedb_retention.model.repositories import why_no_directory

_BOOLEANS = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}


@dataclass(frozen=True)
class Target:
    """
    A policy on one table.

    :param columns: The table's partition columns.
    :param grids: Partition columns whose values give an interval: position and grid.
    :param time_column: The column with a row's time; None only if the partition column itself is the time.
    :param by_rows: Whether rows expire, rather than partitions.
    :param where: The policy's filter, with the table's columns.
    """

    policy: Policy
    table: Table
    columns: tuple[Column, ...] = ()
    grids: tuple[tuple[int, Grid], ...] = ()
    time_column: Column | None = None
    by_rows: bool = False
    where: tuple[tuple[Column, Value], ...] = ()

    @property
    def bounds_probe(self) -> PartitionBounds | None:
        """What must be asked of the rows because no expression says it."""
        if self.by_rows or self.grids or self.time_column is None:
            return None
        return PartitionBounds(self.table.name, self.columns, self.time_column)


class Undecided(Exception):
    """Why a policy can't be applied to a table."""


def find_targets(policies: Iterable[Policy], catalog: Catalog) -> tuple[list[Target], list[Hold]]:
    """
    Apply policies to the tables they name.

    :return: The targets, and a problem for each policy and table where there is none.
    """
    targets: list[Target] = []
    problems: list[Hold] = []
    for policy in policies:
        schema = policy.table_schema or catalog.capabilities.default_schema
        names = _find_names(schema, policy.table_name, catalog)
        if not names:
            reason = "no such table; create it, or correct or disable the policy"
            problems.append(Hold(policy.id, f"{schema}.{policy.table_name}", reason, problem=True))
        for name in names:
            try:
                _require_archivable(policy, catalog.tables[name], catalog.capabilities)
                targets.append(make_target(policy, catalog.tables[name]))
            except Undecided as error:
                problems.append(Hold(policy.id, str(name), str(error), problem=True))
    return targets, problems


def _require_archivable(policy: Policy, table: Table, capabilities: Capabilities) -> None:
    if policy.strategy is not Strategy.SNAPSHOT:
        return
    if capabilities.repositories_are_directories:
        why_not = why_no_directory(policy.target_repository_name or "")
        if why_not:
            raise Undecided(f"target_repository_name: {why_not}")
    for column in table.unarchivable:
        raise Undecided(f"column {column} can't be archived exactly; change its type, or disable the policy")


def _find_names(schema: str, name: str, catalog: Catalog) -> list[TableName]:
    """The tables that a policy means. A pattern never means a rollup, which has a retention period of its own."""
    found = find_tables(schema, name, catalog.tables)
    return [table for table in found if table not in catalog.rollups] if is_pattern(schema + name) else found


def coerce(column: Column, value: Scalar) -> Value:
    """Give a filter's value the type that the column's values have, so that ``7`` from a command line fits 7."""
    if value is None or column.kind is Kind.OTHER:
        return value
    if column.kind is Kind.TIME:
        return _instant(column, value)
    if column.kind is Kind.TEXT:
        return str(value).lower() if isinstance(value, bool) else str(value)
    if column.kind is Kind.BOOLEAN:
        return _boolean(column, value)
    return _number(column, value)


def _instant(column: Column, value: Scalar) -> Value:
    try:
        return to_ms(parse_instant(value)) if isinstance(value, str) else value
    except InvalidInput as error:
        raise Undecided(f"where: {column.name} is {column.type}; {error}") from None


def _boolean(column: Column, value: Scalar) -> Value:
    text = str(value).strip().lower()
    if text not in _BOOLEANS:
        raise Undecided(f"where: {column.name} is {column.type}, and {value!r} is neither true nor false")
    return _BOOLEANS[text]


def _number(column: Column, value: Scalar) -> Value:
    if not isinstance(value, str):
        return int(value) if isinstance(value, bool) else value
    for read in (int, float):
        with suppress(ValueError):
            return read(value)
    raise Undecided(f"where: {column.name} is {column.type}, and {value!r} is no number")


def bind_where(table: Table, where: Iterable[tuple[str, Scalar]]) -> tuple[tuple[Column, Value], ...]:
    """Connect a filter with the table's columns."""
    return tuple((column := _column(table, name, "where"), coerce(column, value)) for name, value in where)


def try_bind_where(table: Table, where: Mapping[str, Scalar]) -> tuple[tuple[Column, Value], ...] | None:
    """The same; None if that can't be worked out, so that it must be taken to mean everything."""
    try:
        return bind_where(table, where.items())
    except Undecided:
        return None


def _column(table: Table, name: str, role: str) -> Column:
    if name not in table.columns:
        raise Undecided(f"{role}: the table has no column {name!r}")
    return table.columns[name]


def make_target(policy: Policy, table: Table) -> Target:
    """
    Apply a policy to a table.

    :raises Undecided: if it can't be.
    """
    if table.closed:
        raise Undecided("the table is closed, so nothing can be done with its rows; open it, or disable the policy")
    columns = tuple(table.columns[name] for name in table.partitioned_by if name in table.columns)
    where = bind_where(table, policy.where.items())
    time_named = _time_column(table, policy.time_column)
    positions = _time_positions(policy, table, columns)
    if not positions:
        return _row_target(policy, table, columns, time_named, where)
    inside = {column.name for column, _ in where} <= set(table.partitioned_by)
    grids = _grids(table, columns, positions, time_named)
    if grids:
        time_column = table.columns[grids[0][1].time_column]
    else:
        time_column = time_named or _time_of(table, columns, positions)
    if not inside:
        return _row_target(policy, table, columns, time_column, where)
    return Target(policy, table, columns, grids, time_column, where=where)


def _time_column(table: Table, name: str | None) -> Column | None:
    if name is None:
        return None
    column = _column(table, name, "time_column")
    if column.kind is not Kind.TIME:
        raise Undecided(f"time_column: {name} is {column.type}, not a timestamp")
    return column


def _time_positions(policy: Policy, table: Table, columns: Sequence[Column]) -> list[int]:
    """Which partition columns carry time: the one that the policy names, else all that look like it."""
    if policy.partition_column:
        _column(table, policy.partition_column, "partition_column")
        names = [column.name for column in columns]
        if policy.partition_column not in names:
            by = ", ".join(names)
            raise Undecided(
                f"partition_column: the table is not partitioned by {policy.partition_column!r}"
                + (f", but by {by}" if by else "; leave it out and name the time_column to expire rows")
            )
        return [names.index(policy.partition_column)]
    return [i for i, column in enumerate(columns) if column.kind is Kind.TIME or _refers_to_time(table, column)]


def _refers_to_time(table: Table, column: Column) -> bool:
    return column.expression is not None and find_time_column(column.expression, _times(table)) is not None


def _times(table: Table) -> list[str]:
    return [column.name for column in table.columns.values() if column.kind is Kind.TIME]


def _grids(
    table: Table, columns: Sequence[Column], positions: Iterable[int], named: Column | None
) -> tuple[tuple[int, Grid], ...]:
    """The grids of the partition columns, as far as they are of the time column that the policy means."""
    found = []
    for position in positions:
        expression = columns[position].expression
        grid = read_grid(expression, table.columns) if expression and columns[position].kind is Kind.TIME else None
        if grid and (named is None or named.name == grid.time_column):
            found.append((position, grid))
    _refuse_several({grid.time_column for _, grid in found})
    return tuple(found)


def _time_of(table: Table, columns: Sequence[Column], positions: Sequence[int]) -> Column:
    """The time column where no grid tells it: from an expression, else the only candidate, else the column itself."""
    expressions = [columns[position].expression for position in positions]
    named = [find_time_column(expression, _times(table)) for expression in expressions if expression]
    names = [name for name in named if name]
    _refuse_several(names)
    return table.columns[names[0]] if names else _only_time_column(table, columns, columns[positions[0]])


def _only_time_column(table: Table, columns: Sequence[Column], fallback: Column | None) -> Column:
    partition_names = {column.name for column in columns}
    others = [
        column
        for column in table.columns.values()
        if column.kind is Kind.TIME and column.name not in partition_names and column.expression is None
    ]
    if not others and fallback is not None and fallback.kind is Kind.TIME:
        return fallback
    if not others:
        raise Undecided("the table has no timestamp column, so nothing says how old its rows are")
    _refuse_several(column.name for column in others)
    return others[0]


def _refuse_several(names: Iterable[str]) -> None:
    several = sorted(set(names))
    if len(several) > 1:
        raise Undecided(f"several columns could be the rows' time ({', '.join(several)}); name one as time_column")


def _row_target(
    policy: Policy,
    table: Table,
    columns: tuple[Column, ...],
    named: Column | None,
    where: tuple[tuple[Column, Value], ...],
) -> Target:
    if policy.strategy not in (Strategy.DELETE, Strategy.DOWNSAMPLE):
        others = sorted(set(policy.where) - set(table.partitioned_by))
        why = f"{', '.join(others)} is not a partition column" if others else "the table is not partitioned by time"
        raise Undecided(f"{policy.strategy} works on whole partitions, and {why}")
    column = named or _only_time_column(table, columns, None)
    return Target(policy, table, columns, (), column, by_rows=True, where=where)
