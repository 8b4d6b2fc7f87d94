"""Answers probes of rows, several hundred per statement; values of different types share columns, as text."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import (
    Expressions,
    between,
    equals,
    expired_rows,
    number,
    table_ref,
    time_number,
)
from cratedb_retention.errors import ConnectionLost, RetentionError
from cratedb_retention.model.catalog import Column, Kind, Value
from cratedb_retention.model.plan.measurements import (
    Bound,
    ExpiredRows,
    Measurements,
    PartitionBounds,
    Probe,
    TableBounds,
    Varied,
    Variety,
    WindowRows,
)

logger = logging.getLogger(__name__)
# CrateDB's parser runs out of stack between 1,000 and 3,000 branches of a UNION.
CHUNK = 300
ALIAS = "r"
# The newest rows of a table: of this number of buckets, or of four times as many, and so on until they are enough.
_BUCKETS, _LOOKS, _ENOUGH, _MOST = 8, 6, 1000, 100_000
_LONG_AGO = -10_000_000_000_000  # In 1653; much earlier times do not fit into a datetime.
_UNANSWERED = "reading rows failed: %s"
T = TypeVar("T")
P = TypeVar("P", bound=Probe)


def measure(database: Database, sql: Expressions, probes: Sequence[Probe]) -> Measurements:
    failed: dict[Probe, str] = {}

    def answers(kind: type[P], branch: Callable[..., sa.Select[Any]]) -> Iterator[tuple[P, Sequence[Any]]]:
        """The rows that answer probes of a kind, each with its probe; ``branch`` is the query of a numbered probe."""
        for chunk in chunks([probe for probe in probes if isinstance(probe, kind)]):
            rows, errors = ask(database, [branch(sql, place, probe) for place, probe in enumerate(chunk)], union)
            failed.update({chunk[place]: str(error) for place, error in errors.items()})
            yield from ((chunk[place], answer) for place, *answer in rows)

    bounds: dict[PartitionBounds, dict[tuple[Value, ...], Bound]] = defaultdict(dict)
    width = max((len(probe.columns) for probe in probes if isinstance(probe, PartitionBounds)), default=0)
    for by_partition, (*texts, oldest, newest) in answers(PartitionBounds, partial(_bounds, width)):
        values = tuple(from_text(c, text) for c, text in zip(by_partition.columns, texts, strict=False))
        bounds[by_partition][values] = _instants(by_partition.time_column, oldest, newest)
    windows: dict[WindowRows, list[tuple[int, int, str]]] = defaultdict(list)
    for by_window, (start, rows, token) in answers(WindowRows, _windows):
        windows[by_window].append((start, rows, token))
    varieties: dict[Variety, Varied] = {}
    for variety in (probe for probe in probes if isinstance(probe, Variety)):
        try:
            varied = _vary(database, sql, variety)
        except ConnectionLost:
            raise
        except RetentionError as error:
            logger.warning(_UNANSWERED, error)
            failed[variety] = str(error)
        else:
            varieties.update({variety: varied} if varied else {})
    return Measurements(
        rows={probe: count for probe, (count,) in answers(ExpiredRows, _count)},
        ranges={probe: _instants(probe.time_column, *found) for probe, found in answers(TableBounds, _range)},
        varieties=varieties,
        bounds={p: bounds[p] for p in probes if isinstance(p, PartitionBounds) and p not in failed},
        windows={p: windows[p] for p in probes if isinstance(p, WindowRows) and p not in failed},
        failed=failed,
    )


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split a sequence into parts that fit into one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def union(branches: Sequence[sa.Select[Any]]) -> sa.Executable:
    """``UNION ALL`` of one or more queries."""
    return branches[0] if len(branches) == 1 else sa.union_all(*branches)


def ask(
    database: Database, branches: Sequence[T], together: Callable[[Sequence[T]], sa.Executable]
) -> tuple[list[Sequence[Any]], dict[int, RetentionError]]:
    """
    Query all tables at once; if that fails, each by itself, so that one table cannot affect the others. Returns rows,
    and errors by the position of their query. Raises ConnectionLost if the database is unreachable.

    :param together: Makes one query of several branches.
    """
    try:
        return database.rows(together(branches)), {}
    except ConnectionLost:
        raise
    except RetentionError as error:
        if len(branches) == 1:
            logger.warning(_UNANSWERED, error)
            return [], {0: error}
    answers = [ask(database, [branch], together) for branch in branches]
    errors = {place: failed[0] for place, (_, failed) in enumerate(answers) if failed}
    return [row for rows, _ in answers for row in rows], errors


def _count(sql: Expressions, place: int, probe: ExpiredRows) -> sa.Select[Any]:
    condition = expired_rows(sql, probe.time_column, probe.before, probe.where, probe.spared)
    columns = [number(place), sa.func.count()]
    return sa.select(*columns).select_from(table_ref(probe.table)).where(condition)


def _windows(sql: Expressions, place: int, probe: WindowRows) -> sa.Select[Any]:
    """The window is computed in a subquery, since its parameters would differ if it were written twice."""
    column = probe.time_column
    start = sql.epoch_ms(sql.bucket(probe.interval, probe.zone, sql.instant(column)))
    within = [sql.column(column).is_not(None)] if probe.within is None else between(sql, column, *probe.within)
    columns = start.label("w"), sql.row_version(ALIAS).label("v")
    rows = sa.select(*columns).select_from(table_ref(probe.table).alias(ALIAS)).where(*within).subquery("s")
    token = sa.cast(sa.func.count(), sa.Text()).concat(":").concat(sa.cast(sa.func.sum(rows.c.v), sa.Text()))
    return sa.select(number(place), rows.c.w, sa.func.count(), token).group_by(rows.c.w)


def _instants(time: Column, *numbers: int | None) -> tuple[int | None, int | None]:
    oldest, newest = (None if found is None else found * time.tick for found in numbers)
    return oldest, newest


def _range(sql: Expressions, place: int, probe: TableBounds) -> sa.Select[Any]:
    time = sql.column(probe.time_column)
    ends = (time_number(sql, probe.time_column, end) for end in (sa.func.min(time), sa.func.max(time)))
    conditions = (equals(sql, column, value) for column, value in probe.where)
    return sa.select(number(place), *ends).select_from(table_ref(probe.table)).where(*conditions)


def _vary(database: Database, sql: Expressions, probe: Variety) -> Varied | None:
    """With some small statements, which are sent only until the table's rollups exist."""
    time, table = sql.column(probe.time_column), table_ref(probe.table)
    last = time_number(sql, probe.time_column, sa.func.max(time))
    past = time < sql.value(probe.time_column, probe.before)
    ((newest,),) = database.rows(sa.select(last).select_from(table).where(past))
    if newest is None:
        return None
    end = newest * probe.time_column.tick + 1
    length = probe.interval.approximate_seconds * 1000 * _BUCKETS
    starts = [max(end - length * 4**power, _LONG_AGO) for power in range(_LOOKS)]

    def enough(*starts: int) -> int | None:
        """The latest of these starts from which there are enough rows."""
        counts = (sa.func.count().filter(*between(sql, probe.time_column, start, None)) for start in starts)
        within = between(sql, probe.time_column, starts[-1], end)
        (found,) = database.rows(sa.select(*counts).select_from(table).where(*within))
        return next((start for start, rows in zip(starts, found, strict=True) if rows >= _ENOUGH), None)

    # Not all at once, since there may be very many rows in the longest of these times.
    first, *longer, longest = starts
    start = enough(first) or enough(*longer) or longest
    bucket = sql.bucket(probe.interval, probe.zone, sql.instant(probe.time_column))
    series = {f"d{i}": sql.column(column) for i, column in enumerate(probe.dimensions)}
    said = {f"s{i}": sql.column(column) for i, column in enumerate(probe.said)}
    columns = bucket.label("b"), time.label("t"), *(value.label(name) for name, value in {**series, **said}.items())
    newest_rows = sa.select(*columns).select_from(table).where(*between(sql, probe.time_column, start, end))
    sample = newest_rows.limit(_MOST).subquery("s")
    values = (sa.func.count(sa.distinct(sample.c[name])) for name in series)
    ((rows, *found),) = database.rows(sa.select(sa.func.count(), *values).select_from(sample))
    groups = database.count(_groups(sample, ["b", *series]))
    mixed = 0
    if said:
        different = _groups(sample, ["t", *series, *said])
        same = _groups(different, ["t", *series])
        ((mixed,),) = database.rows(sa.select(sa.func.sum(same.c.n) - sa.func.count()).select_from(same))
    return Varied(rows=rows, groups=groups, values=tuple(found), mixed=int(mixed or 0))


def _groups(rows: sa.Subquery, names: Sequence[str]) -> sa.Subquery:
    columns = [rows.c[name] for name in names]
    return sa.select(*columns, sa.func.count().label("n")).select_from(rows).group_by(*columns).subquery()


def _bounds(width: int, sql: Expressions, place: int, probe: PartitionBounds) -> sa.Select[Any]:
    time = sql.column(probe.time_column)
    columns = [
        number(place),
        *value_texts(sql, probe.columns, width),
        time_number(sql, probe.time_column, sa.func.min(time)),
        # A row without a time is never expired, so a partition that holds one has no known end.
        sa.case((sa.func.count() == sa.func.count(time), time_number(sql, probe.time_column, sa.func.max(time)))),
    ]
    return sa.select(*columns).select_from(table_ref(probe.table)).group_by(*map(sql.column, probe.columns))


def value_texts(sql: Expressions, columns: Sequence[Column], width: int) -> list[sa.ColumnElement[Any]]:
    """Partition columns as text, padded to a number of columns; instants as milliseconds."""
    texts = [
        sa.cast(sql.epoch_ms(sql.column(column)) if column.kind is Kind.TIME else sql.column(column), sa.Text())
        for column in columns
    ]
    return [*texts, *(sa.cast(sa.null(), sa.Text()) for _ in range(width - len(columns)))]


def from_text(column: Column, text: str | None) -> Value:
    """A partition value from its text, see :func:`value_texts`."""
    if text is None or column.kind in (Kind.TEXT, Kind.OTHER):
        return text
    if column.kind is Kind.BOOLEAN:
        return text.lower() in ("true", "t")
    try:
        return int(text)
    except ValueError:
        return float(text)
