"""
The proof that a snapshot can be restored, before its partition is dropped (law 2): it is restored into a copy, and that
is compared with the partition, which is still there and frozen.

Restoring compares each file with the checksum of when it was written. So what is left to prove is that these are the
files of the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.base import StepResult
from cratedb_retention.engine.cratedb.catalog import read_layout
from cratedb_retention.engine.cratedb.copies import OF_RUN, copy_of, named, renamed
from cratedb_retention.engine.cratedb.health import check_health
from cratedb_retention.engine.cratedb.snapshot import check_token, state_statement, verify_metadata
from cratedb_retention.engine.cratedb.sql import (
    SQL,
    AlterPartition,
    RestoreSnapshot,
    refresh_partitions,
    system,
)
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import in_partitions, table_ref
from cratedb_retention.errors import AccessDenied, ConnectionLost, DatabaseError, PartitionChanged, RetentionError
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan import VerifySnapshot
from cratedb_retention.model.values import Verify
from cratedb_retention.model.words import show_partition

_LESS = "prove less, with verify: metadata"
_NULL, _BETWEEN = "\x1e", "\x1f"
_WATERMARKS = (5, 6, 7)  # In sys.node_checks.


def verify(database: Database, step: VerifySnapshot) -> StepResult:
    """
    Make sure that a snapshot is an archive of the partition, as far as the policy wants that.

    :raises PartitionChanged: if the partition was written to since the plan.
    :raises DatabaseError: if the snapshot is none, or that can't be proved.
    """
    result = verify_metadata(database, step)
    if step.verify is Verify.METADATA:
        return result
    with copy_of(database, step.schema, step.name, OF_RUN) as copy:
        _restore(database, step, copy)
        return replace(result, rows=_compare(database, step, copy))


def statements(step: VerifySnapshot) -> list[sa.Executable]:
    """What is sent, as far as it is of interest."""
    found: list[sa.Executable] = [state_statement(step.repository, [step.name])]
    if step.verify is Verify.RESTORE:
        found.append(_restore_statement(step, named(step.schema, step.name, OF_RUN)))
    return found


def _restore_statement(step: VerifySnapshot, copy: TableName) -> RestoreSnapshot:
    values = step.piece.partition.values
    return RestoreSnapshot(step.table, step.columns, values, step.repository, step.name, renamed(step.table, copy))


def _restore(database: Database, step: VerifySnapshot, copy: TableName) -> None:
    _require_allocation(database, step)
    try:
        database.execute(_restore_statement(step, copy))
        # Replicas would cost room and time, and prove nothing.
        database.brief().execute(AlterPartition(copy, (), (), "number_of_replicas", 0))
    except ConnectionLost:
        raise
    except RetentionError as error:
        reason, remedy = _explain(database, step, error)
        kind = AccessDenied if isinstance(error, AccessDenied) else DatabaseError
        raise kind(_thing(step), f"can't be restored, so its partition stays: {reason}", remedy) from None


def _require_allocation(database: Database, step: VerifySnapshot) -> None:
    """Where no shards are allocated, a restore would wait without end."""
    setting: sa.ColumnElement[str] = sa.literal_column("settings['cluster']['routing']['allocation']['enable']")
    if database.brief().rows(sa.select(setting).select_from(system("sys.cluster").table))[0][0] == "none":
        reason = "can't be restored, so its partition stays: the cluster allocates no shards"
        remedy = f"RESET GLOBAL cluster.routing.allocation.enable, or {_LESS}"
        raise DatabaseError(_thing(step), reason, remedy)


def _explain(database: Database, step: VerifySnapshot, error: RetentionError) -> tuple[str, str]:
    """Why a snapshot could not be restored, and what to do."""
    again = f"mend the repository, or DROP SNAPSHOT {database.quote(step.repository)}.{database.quote(step.name)}, and "
    said = error.reason.partition(" (in: ")[0]
    if isinstance(error, AccessDenied):
        return said, f"{error.remedy}, or {_LESS}"
    if "maximum shards open" in said:
        return said, f"raise cluster.max_shards_per_node, or {_LESS}"
    if "failed to restore" not in said:
        return said, f"{again}run again"
    c = system("sys.node_checks")
    full = database.brief().rows(sa.select(c.description).where(c.id.in_(_WATERMARKS), sa.not_(c.passed)).limit(1))
    if full:
        return f"no room for a copy: {full[0][0]}", f"make room on the nodes' disks, or {_LESS}"
    reason = "files in the repository are missing or damaged, or no node is allowed to hold the copy"
    return f"{said}: {reason}", f"{again}run again"


def _compare(database: Database, step: VerifySnapshot, copy: TableName) -> int:
    """
    Compare a copy with the partition. One that is closed hides its rows: then that it could be restored is all.

    :return: The rows of the copy.
    """
    columns = _common_columns(database, step.table, copy)
    restored = _summary(database, step, copy, columns)
    rows = restored[0]
    if step.piece.partition.closed:
        return rows
    present = _summary(database, step, step.table, columns)
    if restored == present:
        return rows
    # Where shards are missing, or it was written to, the snapshot is not to blame.
    check_health(database, step.table, step.columns, [step.piece])
    what = f"partition {show_partition(step.columns, step.piece.partition.values)}"
    if not check_token(database, step):
        raise PartitionChanged(f"table {step.table}, {what}", "is gone since the plan was made")
    differs = f"{rows:,} rows, and {what} has {present[0]:,}"
    if rows == present[0]:
        differs = f"{rows:,} rows, as many as {what}, but others"
    raise DatabaseError(_thing(step), f"holds {differs}", "delete the snapshot and run again")


def _common_columns(database: Database, table: TableName, copy: TableName) -> list[Column]:
    """
    The columns whose values can be compared as text. One that was added since is in no row of the partition; what has
    no text, as arrays, is in the files whose checksums were compared, under the numbers of the same rows.
    """
    catalog = database.brief()
    present, restored = read_layout(catalog, table)[0], read_layout(catalog, copy)[0].values()
    return [c for c in restored if c.kind is not Kind.OTHER and present.get(c.name) == c]


def _summary(database: Database, step: VerifySnapshot, table: TableName, columns: Iterable[Column]) -> tuple[int, Any]:
    """How many rows there are, and a sum over hashes of all, whose order does not matter."""
    values = [step.piece.partition.values]
    refresh_partitions(database, table, step.columns, values)
    statement = sa.select(sa.func.count(), sa.func.sum(_row_hash(columns))).select_from(table_ref(table))
    rows, hashes = database.rows(statement.where(in_partitions(SQL, step.columns, values)))[0]
    return int(rows), hashes


def _row_hash(columns: Iterable[Column]) -> sa.ColumnElement[int]:
    """
    A number from all values of a row, and from what CrateDB tells its version by. CrateDB reads ``0x1fp0`` as 31.

    28 bits, so that no sum of them overflows.
    """
    version: list[sa.ColumnElement[Any]] = [sa.literal_column("_id"), sa.cast(sa.literal_column("_seq_no"), sa.Text())]
    texts = [sa.func.coalesce(sa.cast(SQL.column(column), sa.Text()), _NULL) for column in columns]
    digest = sa.func.md5(sa.func.concat_ws(_BETWEEN, *version, *texts))
    number = sa.func.concat("0x", sa.func.substr(digest, 1, 7), "p0")
    return sa.cast(sa.cast(number, sa.Double()), sa.BigInteger())


def _thing(step: VerifySnapshot) -> str:
    return f"snapshot {step.repository}.{step.name}"
