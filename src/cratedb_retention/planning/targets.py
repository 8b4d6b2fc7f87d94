"""
Policies on one table. A target is a policy on a table, with everything determined that the policy
leaves open: which column carries the time, whether partitions or rows expire, and where the interval of a partition
comes from. If that is impossible, it is blocked, with its reason.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import itemgetter
from typing import Generic, TypeVar

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.address import is_address
from cratedb_retention.model.archive import why_no_repository
from cratedb_retention.model.catalog import Catalog, Column, Grouping, Kind, Table, TableName, TimeUnit, Value
from cratedb_retention.model.intervals import Grid, find_time_column, read_grid
from cratedb_retention.model.plan.measurements import PartitionBounds
from cratedb_retention.model.plan.plan import Blocked
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import find_tables, is_pattern
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.values import Freeze
from cratedb_retention.model.rollups.rollup import label
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.model.words import plain_text

T = TypeVar("T")
logger = logging.getLogger(__name__)
Where = Sequence[tuple[Column, Value]]
_TRUE, _FALSE = ("true", "t", "1", "yes", "on"), ("false", "f", "0", "no", "off")
_BOOLEANS = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_NUMBER = 1000
_FRACTIONAL = ("real", "double", "float", "decimal", "numeric")
_MILLISECONDS = re.compile(r"-?[0-9]+")
_COMPACT_DATE = re.compile(r"[0-9]{8}")
_UUID = re.compile(r"[0-9a-f]{32}")
_FINER = re.compile(r"[.,][0-9]{3}[0-9]*[1-9]")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A policy on one table."""

    policy: Policy
    table: Table
    grids: tuple[tuple[int, Grid], ...] = ()  # Partition columns whose values give an interval: position and grid.
    time_column: Column | None = None  # The time of a row; None only if the partition column itself is the time.
    by_rows: bool = False  # Whether rows expire, rather than partitions.
    where: tuple[tuple[Column, Value], ...] = ()  # The policy's filter, with the table's columns.

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.table.partition_columns

    @property
    def bounds_probe(self) -> PartitionBounds | None:
        """The probe for the times of partitions; None if expressions tell them, or rows expire."""
        if self.by_rows or self.grids or self.time_column is None:
            return None
        return PartitionBounds(self.table.name, self.columns, self.time_column)


class Undecided(Exception):
    """A policy cannot be applied to a table."""

    def __init__(self, why: Reason) -> None:
        self.why = why
        super().__init__(why)


@contextlib.contextmanager
def isolated(policy_id: str | None, table: TableName, undecided: list[Blocked]) -> Iterator[None]:
    """Decide about one target: a failure blocks that target alone."""
    try:
        yield
        return
    except Undecided as error:
        why = error.why
    except RetentionError as error:
        why = Why.FAILED(error=error)
    except Exception as error:
        logger.exception("planning policy %s on table %s failed", policy_id, table)
        why = Why.NOT_PLANNED(error=error)
    undecided.append(Blocked(policy_id=policy_id, table=table, why=why, needs_attention=True))


def find_targets(policies: Iterable[Policy], catalog: Catalog) -> tuple[list[Target], list[Blocked]]:
    """The targets of policies, and a reason for each policy and table without one."""
    targets: list[Target] = []
    undecided: list[Blocked] = []
    for policy in policies:
        names = find_tables(policy.table_schema, policy.table_name, catalog.tables, catalog.capabilities)
        named = TableName(policy.table_schema or catalog.capabilities.default_schema, policy.table_name)
        if is_pattern("".join(named)):  # Never matches a rollup, which has its own retention period.
            names = [table for table in names if table not in catalog.rollups]
        if not names:
            undecided.append(Blocked(policy_id=policy.id, table=named, why=Why.NO_SUCH_TABLE(), needs_attention=True))
        for name in names:
            with isolated(policy.id, name, undecided):
                archives, table = policy.archives, catalog.tables[name]
                repository, files = (
                    policy.target_repository_name or "",
                    catalog.capabilities.repositories_are_directories,
                )
                if archives and (why_not := why_no_repository(repository, files)):
                    raise Undecided(Why.NO_DIRECTORY(mistake=why_not))
                for column in table.unarchivable if archives and (files or is_address(repository)) else ():
                    raise Undecided(Why.UNARCHIVABLE(column=column))
                if policy.read_only and name in catalog.rollups:
                    raise Undecided(Why.READ_ONLY_LEVEL())
                targets.append(make_target(policy, table))
    return targets, undecided


def find_by_policy(policies: Iterable[Policy], catalog: Catalog) -> dict[str, list[Target]]:
    """The targets of each policy, by its identifier; a policy without any is missing."""
    found: dict[str, list[Target]] = defaultdict(list)
    for target in find_targets(policies, catalog)[0]:
        found[target.policy.id or ""].append(target)
    return found


def coerce(column: Column, value: Value) -> Value:
    """A filter's value in the type of the column: ``007`` is a text, or the number 7. Undecided if it is invalid."""
    if value is None:
        return None
    if column.grouping is Grouping.NEVER:
        raise Undecided(Why.NOT_COMPARABLE(column=column))
    text = plain_text(value)
    bare = text.strip()
    if column.kind is Kind.TIME:
        return value if isinstance(value, int) and not isinstance(value, bool) else _instant(column, bare)
    if column.kind is Kind.BOOLEAN:
        if bare.lower() not in _BOOLEANS:
            raise Undecided(Why.NO_BOOLEAN(column=column, value=bare))
        return _BOOLEANS[bare.lower()]
    if column.kind is Kind.NUMBER:
        return _number(column, bare)
    if column.type.upper() != "UUID":
        return text
    # In the form of the database, regardless of case and dashes.
    digits = bare.strip("{}").replace("-", "").lower()
    if not _UUID.fullmatch(digits):
        raise _not_a(column, text, "UUID")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _instant(column: Column, text: str) -> Value:
    if _MILLISECONDS.fullmatch(text) and not _COMPACT_DATE.fullmatch(text) and len(text) <= _LONGEST_NUMBER:
        return int(text)
    if _FINER.search(text):
        raise _not_a(column, text, "time in whole milliseconds")
    try:
        return to_ms(parse_instant(text))
    except InvalidInput as error:
        raise Undecided(Why.NO_INSTANT(column=column, error=error)) from None


def _number(column: Column, text: str) -> Value:
    """A number exactly as written; never rounded, since it could match other rows then."""
    if not _NUMBER.fullmatch(text) or len(text) > _LONGEST_NUMBER:
        raise _not_a(column, text, "number")
    exact = Decimal(text)
    if exact == (whole := exact.to_integral_value()):
        return int(whole)
    if not column.type.lower().startswith(_FRACTIONAL):
        raise _not_a(column, text, "whole number")
    if Decimal(repr(float(exact))) != exact:
        raise _not_a(column, text, "number that can be compared exactly")
    return float(exact)


def _not_a(column: Column, text: str, what: str) -> Undecided:
    return Undecided(Why.NO_VALUE(column=column, value=text[:60], wanted=what))


def bind_where(table: Table, where: Iterable[tuple[str, Value]]) -> tuple[tuple[Column, Value], ...]:
    """A filter with the table's columns; Undecided if it does not match them."""
    return tuple((column := _column(table, name, "where"), coerce(column, value)) for name, value in where)


def try_bind_where(table: Table, where: Mapping[str, Value]) -> tuple[tuple[Column, Value], ...] | None:
    """Like :func:`bind_where`; None if the filter does not match, and therefore has to stand for everything."""
    try:
        return bind_where(table, where.items())
    except Undecided:
        return None


def _column(table: Table, name: str, role: str) -> Column:
    """The column with a name, which may be its name in rollups: ``tags_host`` for ``tags['host']``."""
    if name in table.columns:
        return table.columns[name]
    found = [column for column in table.columns.values() if label(column.name) == name]
    if len(found) > 1:
        columns = " or ".join(column.name for column in found)
        raise Undecided(Why.SEVERAL_COLUMNS(role=role, name=name, columns=columns))
    if not found:
        raise Undecided(Why.NO_COLUMN(role=role, name=name))
    return found[0]


def make_target(policy: Policy, table: Table) -> Target:
    """Apply a policy to a table; Undecided if that is impossible."""
    if table.closed:
        raise Undecided(Why.CLOSED_TABLE())
    if table.flaw:
        raise Undecided(Why.FLAWED_TABLE(flaw=table.flaw))
    columns = table.partition_columns
    where = bind_where(table, policy.where.items())
    timed = replace(table, columns={**table.columns, **_find_epochs(policy, table)})
    named = None if policy.time_column is None else _column(timed, policy.time_column, "time_column")
    if named is not None and named.kind is not Kind.TIME:
        raise Undecided(Why.NO_TIMESTAMP(name=policy.time_column or "", column=named))
    positions = _time_positions(policy, timed, columns)
    if not positions:
        return _row_target(policy, table, named or _only_time_column(timed, columns, None), where)
    grids = _grids(timed, columns, positions, named)
    # The time column is that of the grids, else from an expression, else the only candidate, else the column itself.
    found = (find_time_column(columns[position].expression or "", _times(timed)) for position in positions)
    names = [grid.time_column for _, grid in grids] or [name for name in found if name and named is None]
    _refuse_several(names)
    own = timed.columns[columns[positions[0]].name]
    time = timed.columns[names[0]] if names else named or _only_time_column(timed, columns, own)
    inside = {column.name for column, _ in where} <= set(table.partitioned_by)
    if not inside or (not grids and policy.freeze is Freeze.NEVER):
        return _row_target(policy, table, time, where)
    return Target(policy=policy, table=table, grids=grids, time_column=time, where=where)


def _find_epochs(policy: Policy, table: Table) -> dict[str, Column]:
    """Integer columns that hold times, by the policy's unit, else by a partition column's expression."""
    whole = {name for name, c in table.columns.items() if c.kind is Kind.NUMBER and "INT" in c.type.upper()}
    grids = (read_grid(column.expression, table.columns) for column in table.partition_columns if column.expression)
    # Where CrateDB needs a timestamp, it interprets an integer as milliseconds.
    units = {g.time_column: g.unit or TimeUnit.MILLISECONDS for g in grids if g and g.time_column in whole}
    named = None if policy.time_column is None else _column(table, policy.time_column, "time_column")
    if policy.time_unit is not None:
        column = named
        if column is None:  # The partition column, or the source of its expression.
            partitions = table.partition_columns
            referred = {find_time_column(c.expression, whole) for c in partitions if c.expression} - {None}
            own = {policy.partition_column} & {c.name for c in partitions if c.expression is None}
            found = set(units) or referred or own
            if len(found) != 1:
                raise Undecided(Why.UNIT_OF_NOTHING())
            column = table.columns[str(found.pop())]
        if column.name not in whole:
            why = Why.UNIT_NEEDLESS if column.kind is Kind.TIME else Why.UNIT_OF_NO_TIME
            raise Undecided(why(column=column))
        units[column.name] = policy.time_unit
    elif named is not None and named.name in whole and named.name not in units:
        raise Undecided(Why.UNIT_MISSING(column=named))
    elif not units and not _times(table) and policy.partition_column in whole & set(table.partitioned_by):
        # Without any timestamp, cratedb-toolkit and CrateDB interpret an integer as milliseconds if it is the policy's
        # partition column, or the source of its expression. Implausible times are blocked.
        column = table.columns[policy.partition_column]
        counted = find_time_column(column.expression, list(whole)) if column.expression else column.name
        units = {counted: TimeUnit.MILLISECONDS} if counted else {}
    return {name: replace(table.columns[name], kind=Kind.TIME, unit=unit) for name, unit in units.items()}


def _time_positions(policy: Policy, table: Table, columns: Sequence[Column]) -> list[int]:
    """The positions of partition columns that carry time: the one that the policy names, else all candidates."""
    if policy.partition_column:
        named = _column(table, policy.partition_column, "partition_column").name
        names = [column.name for column in columns]
        if named not in names:
            if names:
                raise Undecided(Why.PARTITIONED_OTHERWISE(name=policy.partition_column, by=tuple(names)))
            raise Undecided(Why.NOT_PARTITIONED(name=policy.partition_column))
        return [names.index(named)]
    times = _times(table)
    return [
        position
        for position, column in enumerate(columns)
        if column.kind is Kind.TIME or (column.expression and find_time_column(column.expression, times))
    ]


def _times(table: Table) -> list[str]:
    return [column.name for column in table.columns.values() if column.kind is Kind.TIME]


def _grids(
    table: Table, columns: Sequence[Column], positions: Iterable[int], named: Column | None
) -> tuple[tuple[int, Grid], ...]:
    return tuple(
        (position, grid)
        for position in positions
        if columns[position].kind is Kind.TIME
        and (grid := read_grid(columns[position].expression or "", table.columns))
        and (named is None or named.name == grid.time_column)
        and _counts(table.columns[grid.time_column], grid)
    )


def _counts(column: Column, grid: Grid) -> bool:
    """Whether a column has the unit that an expression assumes, so that the intervals are right."""
    if column.unit is None:
        return grid.unit is None
    return column.unit is (grid.unit or TimeUnit.MILLISECONDS)


def _only_time_column(table: Table, columns: Sequence[Column], fallback: Column | None) -> Column:
    names = set(_times(table)) - {column.name for column in columns}
    times = (column for column in table.columns.values() if column.name in names)
    others = [column for column in times if column.expression is None and not column.path]
    _refuse_several(column.name for column in others)
    if others:
        return others[0]
    if fallback is None or fallback.kind is not Kind.TIME:
        raise Undecided(Why.NO_TIME_COLUMN())
    # If the value is truncated from another column, the rows of a partition are younger than it.
    for of, other in table.columns.items():
        if of != fallback.name and find_time_column(fallback.expression or "", [of]):
            if other.kind is Kind.NUMBER:
                raise Undecided(Why.COMPUTED_FROM_NUMBER(column=fallback, source=of))
            raise Undecided(Why.COMPUTED_FROM_OTHER(column=fallback, source=other))
    return fallback


def _refuse_several(names: Iterable[str]) -> None:
    several = sorted(set(names))
    if len(several) > 1:
        raise Undecided(Why.SEVERAL_TIMES(columns=tuple(several)))


def _row_target(policy: Policy, table: Table, time: Column, where: tuple[tuple[Column, Value], ...]) -> Target:
    if not policy.strategy.traits.by_rows:
        others = sorted({column.name for column, _ in where} - set(table.partitioned_by))
        if others:
            raise Undecided(Why.NEEDS_PARTITION_COLUMNS(strategy=policy.strategy, columns=tuple(others)))
        raise Undecided(Why.NEEDS_PARTITIONS(strategy=policy.strategy))
    if time.kind is not Kind.TIME:
        raise Undecided(Why.TIME_IS_NONE(column=time))
    if policy.max_size is not None:
        raise Undecided(Why.BUDGET_NEEDS_PARTITIONS())
    return Target(policy=policy, table=table, time_column=time, by_rows=True, where=where)


def overlap(one: Where, other: Where) -> bool:
    """Whether the same data can match both filters: they do not require different values of a column."""
    values = dict(one)
    return all(values.get(column, value) == value for column, value in other)


class FilterIndex(Generic[T]):
    """Finds the items whose filters match a partition, without testing each of possibly thousands."""

    def __init__(self, columns: Sequence[Column], items: Iterable[tuple[T, Where]]) -> None:
        positions = {column.name: position for position, column in enumerate(columns)}
        self._found: dict[tuple[int, ...], dict[tuple[Value, ...], list[tuple[int, T]]]] = {}
        for number, (item, where) in enumerate(items):
            wanted = {positions[column.name]: value for column, value in where if column.name in positions}
            by_values = self._found.setdefault(tuple(wanted), {})
            by_values.setdefault(tuple(wanted.values()), []).append((number, item))

    def fitting(self, values: Sequence[Value]) -> list[T]:
        """Items whose filter matches a partition, in the given order."""
        fits: list[tuple[int, T]] = []
        for positions, by_values in self._found.items():
            fits += by_values.get(tuple([values[position] for position in positions]), ())
        return [item for _, item in sorted(fits, key=itemgetter(0))]
