"""
Several snapshots of a partition made one, so that they can be restored as a whole: CrateDB restores a partition only
where none is, and knows no transactions. Whatever ends this early, only copies are left, and never half a partition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.archive import Archived
from cratedb_retention.engine.cratedb.catalog import read_layout
from cratedb_retention.engine.cratedb.copies import MERGED
from cratedb_retention.engine.cratedb.snapshot import find_state, is_complete
from cratedb_retention.engine.cratedb.sql import CreateSnapshot, DropSnapshot, refresh
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.ddl import drop_table
from cratedb_retention.engine.expressions import Condition, table_ref
from cratedb_retention.errors import Conflict, DatabaseError
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.words import plural, show_partition

_ONE_BY_ONE = "restore them one by one, by --name, each beside the table, with --into"


@contextmanager
def merge(
    database: Database, snapshots: Sequence[Archived], schema: str, restore: Callable[[Archived, TableName], int]
) -> Iterator[tuple[Archived, tuple[int, ...]]]:
    """
    Restore snapshots of a partition into copies, put all rows into one of them, and make a snapshot of that.

    :param schema: Where the copies are for a while.
    :param restore: Restores a snapshot into a table, and counts its rows.
    :return: That snapshot, and the rows that came from each; none from one whose rows another holds as well.
    :raises Conflict: if two hold some of the same rows.
    :raises DatabaseError: if their columns differ, or a row can't be written.
    """
    names = json.dumps([(each.repository, each.name) for each in snapshots])
    key = hashlib.sha256(names.encode()).hexdigest()[:12]
    copies = [TableName(schema, f"{MERGED}{key}_{number}") for number in range(len(snapshots))]
    merged = replace(snapshots[-1], name=f"retention-restore-{key}")
    _tidy(database, merged, copies)
    try:
        counts = [restore(each, copy) for each, copy in zip(snapshots, copies, strict=True)]
        whole, rows = _into_one(database, snapshots, copies, counts)
        database.execute(CreateSnapshot(whole, merged.columns, merged.values, merged.repository, merged.name))
        state = find_state(database, merged.repository, merged.name)
        if state is None or not is_complete(state):
            raise DatabaseError(f"snapshot {merged.repository}.{merged.name}", "is not complete", "try again")
        yield replace(merged, table=whole, rows=sum(rows)), tuple(rows)
    finally:
        _tidy(database, merged, copies)


def _tidy(database: Database, merged: Archived, copies: Sequence[TableName]) -> None:
    for copy in copies:
        drop_table(database, copy)
    if find_state(database, merged.repository, merged.name) is not None:
        database.execute(DropSnapshot(merged.repository, merged.name))


def _into_one(
    database: Database, snapshots: Sequence[Archived], copies: Sequence[TableName], counts: Sequence[int]
) -> tuple[TableName, list[int]]:
    """Put the rows of all copies into one of them, which has the columns of all."""
    kept: list[int] = []
    for number in sorted(range(len(copies)), key=lambda number: -counts[number]):
        shared = max((shared_rows(database, copies[number], copies[other]) for other in kept), default=0)
        if shared and shared < counts[number]:
            what = show_partition(snapshots[number].columns, snapshots[number].values)
            raise Conflict(
                f"partition {what}",
                f"{plural(shared, 'row')} of snapshot {snapshots[number].name} have another version in a later one",
                _ONE_BY_ONE,
            )
        if not shared:
            kept.append(number)
    target = max(kept, key=lambda number: len(read_layout(database, copies[number])[0]))
    for number in kept:
        if number != target:
            _append(database, copies[number], copies[target], counts[number], snapshots[number].name)
    return copies[target], [count if number in kept else 0 for number, count in enumerate(counts)]


def shared_rows(database: Database, one: TableName, other: TableName, condition: Condition | None = None) -> int:
    """
    How many rows of one table are rows of the other: a row keeps its ``_id`` in snapshots and when it is restored.

    :param condition: Which rows of the other table count.
    """
    identity: sa.ColumnElement[str] = sa.literal_column("_id")
    a = sa.select(identity.label("i")).select_from(table_ref(one)).subquery("a")
    b = sa.select(identity.label("i")).select_from(table_ref(other))
    b_rows = (b if condition is None else b.where(condition)).subquery("b")
    joined = sa.select(sa.func.count()).select_from(a.join(b_rows, a.c.i == b_rows.c.i))
    return int(database.rows(joined)[0][0])


def _append(database: Database, source: TableName, target: TableName, count: int, name: str) -> None:
    there, _ = read_layout(database, target)
    columns = [c for c in read_layout(database, source)[0].values() if c.expression is None and "['" not in c.name]
    for column in columns:
        if column.name not in there:
            raise DatabaseError(f"snapshot {name}", f"has a column {column.name!r} that a later one lacks", _ONE_BY_ONE)
    names = [column.name for column in columns]
    into = sa.table(quoted_name(target.name, True), *_columns(names), schema=quoted_name(target.schema, True))
    rows = sa.select(*_columns(names)).select_from(table_ref(source))
    before = _count(database, target)
    database.execute(sa.insert(into).from_select(names, rows))
    written = _count(database, target) - before
    if written != count:
        raise DatabaseError(f"snapshot {name}", f"{written:,} of {count:,} rows fit those of a later one", _ONE_BY_ONE)


def _count(database: Database, table: TableName) -> int:
    refresh(database, table)
    return int(database.rows(sa.select(sa.func.count()).select_from(table_ref(table)))[0][0])


def _columns(names: Iterable[str]) -> list[sa.ColumnClause[object]]:
    """Fresh column objects: one that belongs to a table brings that table into every query that uses it."""
    return [sa.column(quoted_name(name, True)) for name in names]
