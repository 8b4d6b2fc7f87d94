"""
Restoring partitions on CrateDB, and copies of archived ones, in the toolkit's own schema, where no policy and no other
tool takes them for a table.

Several snapshots of a partition are made one first, so that they come as a whole: CrateDB restores a partition only
where none is, and knows no transactions. Whatever ends this early, only copies are left, and never half a partition.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.archive import Archived
from cratedb_retention.engine.cratedb import sql
from cratedb_retention.engine.cratedb.catalog import read_layout
from cratedb_retention.engine.cratedb.connection import CrateConnection
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import Condition, in_partitions, ref, table_ref
from cratedb_retention.errors import Conflict, DatabaseError
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.words import plural, show_partition

FROZEN = "blocks.write"
COPY, MERGED = "retention_verify_", "retention_restore_"
# A run verifies beside commands that do, and neither drops what the other is at.
OF_RUN = f"{COPY}run_"
_ONE_BY_ONE = "restore them one by one, by --name, each beside the table, with --into"


def restore(database: Database, snapshot: Archived, into: TableName) -> int:
    """Restore a snapshot, allow writes to what it was of, and count its rows."""
    restoring, thaw = restore_statements(database, snapshot, into)
    try:
        database.execute(restoring)
    except DatabaseError as error:
        if "IncompatibleSchemaForRestoreException" in error.reason:
            why = re.search(r"(column \[.*?\][^\]]*?(?:\[.*?\][^\]]*)*)(?:\]|$)", error.reason)
            reason = f"differs from what was archived: {why[1] if why else error.reason}"
            raise DatabaseError(f"table {into}", reason, "restore it beside the table, with --into") from None
        # It leaves a partition behind that lacks shards: nobody could write to it, or restore it again.
        if "failed to restore" in error.reason:
            database.execute(
                sa.delete(table_ref(into)).where(in_partitions(sql.SQL, snapshot.columns, [snapshot.values]))
            )
        raise
    database.execute(thaw)
    return count_rows(database, into, snapshot.columns, snapshot.values)


def restore_statements(database: Database, snapshot: Archived, into: TableName) -> list[sa.Executable]:
    """Restore a snapshot, which comes back frozen as it was archived, and allow writes."""
    table, columns, values = snapshot.table, snapshot.columns, snapshot.values
    # Where the table is gone, CrateDB does not understand the values, and each snapshot holds one partition only.
    known = read_layout(database, table)[1] == tuple(column.name for column in columns)
    relation = sql.partition_of(table, *((columns, values) if known else ((), ())))
    options = {} if into == table else renamed(table, into)
    restoring = sql.restore_snapshot(snapshot.repository, snapshot.name, relation, options)
    return [restoring, sql.alter_partition(into, columns, values, FROZEN, False)]


def count_rows(database: Database, table: TableName, columns: Sequence[Column], values: Sequence[Value]) -> int:
    """All rows of a partition, also those that were written a moment ago."""
    sql.refresh_partitions(database, table, columns, [values])
    return _count(database, table, in_partitions(sql.SQL, columns, [values]))


def _count(database: Database, table: TableName, condition: Condition | None = None) -> int:
    count = sa.select(sa.func.count()).select_from(table_ref(table))
    return int(database.rows(count if condition is None else count.where(condition))[0][0])


def find_states(database: Database, repository: str, names: Collection[str] | None = None) -> list[Mapping[str, Any]]:
    """Snapshots of a repository, all or some, as ``sys.snapshots`` shows them."""
    return database.query(state_statement(repository, names))


def state_statement(repository: str, names: Collection[str] | None = None) -> sa.Select[Any]:
    """The query for them."""
    columns = ("name", "repository", "state", "failures", "total_shards", "table_partitions")
    s = sql.system("sys.snapshots")
    found = sa.select(*(s[column] for column in columns)).where(s.repository == repository)
    return found if names is None else found.where(s.name.in_(list(names)))


def is_complete(state: Mapping[str, Any]) -> bool:
    """Whether all of a snapshot was written."""
    return state["state"] == "SUCCESS" and not state["failures"]


@contextmanager
def copy_of(database: CrateConnection, schema: str, snapshot: str, prefix: str = COPY) -> Iterator[TableName]:
    """The name of a copy, which is not there before, nor after."""
    copy = copy_name(schema, snapshot, prefix)
    _drop(database, copy)
    try:
        yield copy
    finally:
        _drop(database, copy)


def copy_name(schema: str, snapshot: str, prefix: str) -> TableName:
    """What a copy is called."""
    # Names that cratedb-toolkit gave, with a dot, end in a time that other tables have as well.
    digest = hashlib.sha256(snapshot.encode()).hexdigest()[:12] if "." in snapshot else snapshot[-12:]
    return TableName(schema, f"{prefix}{digest}")


def tidy_copies(database: CrateConnection, schema: str, in_use: Callable[[], Collection[str]] | None) -> None:
    """Drop what an interruption left in a schema: of commands, or of runs. See :meth:`Archive.tidy`."""
    t = sql.system("information_schema.tables")
    beginnings = (COPY, MERGED) if in_use is None else (OF_RUN,)
    begun = sa.or_(*(t.table_name.startswith(prefix, autoescape=True) for prefix in beginnings))
    left = database.brief().rows(sa.select(t.table_name).where(t.table_schema == schema, begun))
    copies = {TableName(schema, name) for (name,) in left if name.startswith(OF_RUN) == (in_use is not None)}
    spared = {copy_name(schema, snapshot, OF_RUN) for snapshot in in_use()} if copies and in_use else set()
    for copy in copies - spared:
        _drop(database, copy)


def _drop(database: CrateConnection, copy: TableName) -> None:
    """Where a disk is full, CrateDB refuses even that."""
    database.unblocking(partial(database.unblock, [copy])).drop_table(copy)


def renamed(table: TableName, into: TableName) -> dict[str, str]:
    """Options to restore a table as another: a regular expression, and a replacement that knows groups."""
    return {
        "schema_rename_pattern": f"^{re.escape(table.schema)}$",
        "schema_rename_replacement": _literally(into.schema),
        "table_rename_pattern": f"^{re.escape(table.name)}$",
        "table_rename_replacement": _literally(into.name),
    }


def _literally(name: str) -> str:
    return name.replace("\\", "\\\\").replace("$", "\\$")


@contextmanager
def merge(database: Database, snapshots: Sequence[Archived], schema: str) -> Iterator[tuple[Archived, tuple[int, ...]]]:
    """
    Restore snapshots of a partition into copies, put all rows into one of them, and make a snapshot of that.

    :return: That snapshot, and the rows that came from each; none from one whose rows another holds as well.
    """
    names = json.dumps([(each.repository, each.name) for each in snapshots])
    key = hashlib.sha256(names.encode()).hexdigest()[:12]
    copies = [TableName(schema, f"{MERGED}{key}_{number}") for number in range(len(snapshots))]
    merged = replace(snapshots[-1], name=f"retention-restore-{key}")
    where = merged.repository, merged.name

    def tidy() -> None:
        for copy in copies:
            database.drop_table(copy)
        if find_states(database, merged.repository, [merged.name]):
            database.execute(sql.drop_snapshot(*where))

    tidy()
    try:
        counts = [restore(database, each, copy) for each, copy in zip(snapshots, copies, strict=True)]
        whole, rows = _into_one(database, snapshots, copies, counts)
        database.execute(sql.create_snapshot(whole, merged.columns, merged.values, *where))
        if not any(map(is_complete, find_states(database, merged.repository, [merged.name]))):
            raise DatabaseError(f"snapshot {merged.repository}.{merged.name}", "is not complete", "try again")
        yield replace(merged, table=whole, rows=sum(rows)), tuple(rows)
    finally:
        tidy()


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
    """How many rows of one table are rows of the other, or of those of it that count: each keeps its ``_id``."""
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
    # Each with columns of its own: one that belongs to a table brings that table into every query that uses it.
    into = sa.table(quoted_name(target.name, True), *map(ref, names), schema=quoted_name(target.schema, True))
    rows = sa.select(*map(ref, names)).select_from(table_ref(source))
    before = _visible(database, target)
    database.execute(sa.insert(into).from_select(names, rows))
    written = _visible(database, target) - before
    if written != count:
        raise DatabaseError(f"snapshot {name}", f"{written:,} of {count:,} rows fit those of a later one", _ONE_BY_ONE)


def _visible(database: Database, table: TableName) -> int:
    database.refresh(table_ref(table))
    return _count(database, table)
