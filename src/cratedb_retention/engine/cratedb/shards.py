"""
Health and change tokens from shards. Tables and partitions with missing shards are not touched (law 6).

Only ``sys.health`` reports missing shards: counting rows of such a table gives a smaller number, and no error.

A change token identifies an incarnation of a partition, and the number of operations on its primary shards.
``seq_no_stats['max_seq_no']`` grows with each insert, update and delete; ``partition_uuid`` changes when a partition is
dropped and created again. An equal token therefore means that nothing was written since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import changed, label, require_old
from cratedb_retention.engine.cratedb.sql import SQL, refresh_partitions, system, words
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.expressions import in_partitions
from cratedb_retention.errors import ClusterUnhealthy, DatabaseError, DiskFull, PartitionChanged, Recovering
from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan.plan import (
    ArchivingStep,
    CompactPartitions,
    DropArchived,
    DropPartitions,
    PartitionsStep,
)
from cratedb_retention.model.words import show_size

# Number of retries for missing shards, and the pause before each: a new shard only seems to be missing.
HEALTH_RETRIES, HEALTH_SECONDS = 3, 0.3
IS_FROZEN = "settings['blocks']['write']"
MAX_SEQ_NO = "seq_no_stats['max_seq_no']"
CODEC, COMPRESSED = "settings['codec']", "best_compression"
# A partition that was opened counts as stuck if none of its shards starts for this time.
OPENING_SECONDS, POLL_SECONDS = 120.0, 0.2
_LOOKS = 5  # For shards that are not listed for a moment.
# The space to merge a partition, in times of its size.
ROOM_TO_MERGE = 1.0


def settled(look: Callable[[], list[Sequence[Any]]], clock: Clock) -> list[Sequence[Any]]:
    """Look for missing shards, and again a moment later, since new ones only seem to be missing."""
    rows = look()
    for _ in range(HEALTH_RETRIES if rows else 0):
        clock.sleep(HEALTH_SECONDS)
        if not (rows := look()):
            break
    return rows


def check_health(database: Database, step: PartitionsStep) -> None:
    """Check again right before partitions are moved, dropped or archived, since the plan may be old."""
    incomplete = _find_incomplete(database, step.table)
    for piece in step.pieces:
        if piece.partition.ident in incomplete:
            raise missing_shards(database, step.table, f", partition {label(step, piece)}")


def check_shards(database: Database, table: TableName, idents: Sequence[str] = ()) -> bool:
    """
    The same for partitions by their idents, which may not be closed either, since that hides their rows; without
    idents, for the whole table. Returns whether other partitions have missing shards.
    """
    incomplete = _find_incomplete(database, table)
    if incomplete.intersection(idents) if idents else incomplete:
        raise missing_shards(database, table)
    p = system("information_schema.table_partitions")
    mine = sa.select(p.partition_ident).where(p.of(table), p.partition_ident.in_(idents), words("closed"))
    if idents and database.rows(mine.limit(1)):
        raise PartitionChanged(f"table {table}", "one of its partitions is closed", "open it")
    return bool(incomplete)


def _find_incomplete(database: Database, table: TableName) -> set[str]:
    h = system("sys.health")
    rows = database.brief().rows(sa.select(h.partition_ident).where(h.of(table), h.missing_shards > 0))
    return {ident or "" for (ident,) in rows}


def missing_shards(database: Database, table: TableName, where: str = "") -> DatabaseError:
    """The error for a table with missing shards."""
    thing = f"table {table}{where}"
    if are_starting(database, *table):
        return Recovering(thing, "shards are missing, and some are being recovered", "try again in a minute")
    return ClusterUnhealthy(thing, "shards are missing", "bring the lost nodes back")


def are_starting(database: Database, schema: str, table: str | None = None) -> bool:
    """Whether primary shards of a table, or of any in a schema, are being recovered."""
    s = system("sys.shards")
    mine = (s.schema_name == schema, *([] if table is None else [s.table_name == table]))
    return database.brief().count(s.table, s.primary, s.routing_state == "INITIALIZING", *mine) > 0


def refresh_idents(database: Database, table: TableName, idents: Sequence[str]) -> None:
    """Make writes to partitions visible: if others have missing shards, refreshing the table takes a minute."""
    p = system("information_schema.table_partitions")
    wanted = sa.select(p["values"]).where(p.of(table), p.partition_ident.in_(idents))
    found = [dict(values) for (values,) in database.brief().rows(wanted)]
    if found:
        columns = [Column(name=name, type="", kind=Kind.OTHER) for name in found[0]]
        refresh_partitions(database, table, columns, [[values[column.name] for column in columns] for values in found])


def check_age(database: Database, step: DropPartitions | DropArchived) -> None:
    """If the age of partitions is known only from their rows: no row may be younger (law 1), or new since the plan."""
    if step.time_column is None:
        return
    inexact = [piece for piece in step.pieces if not piece.exact]
    values = [piece.partition.values for piece in inexact]
    refresh_partitions(database, step.table, step.columns, values)
    require_old(lambda query: database.rows(query)[0][0], SQL, step, in_partitions(SQL, step.columns, values))
    # A write in progress when the partition was frozen may have ended after the query above.
    tokens = read_tokens(database, step.table, [piece.partition.ident for piece in inexact])
    for piece in inexact:
        ident = piece.partition.ident
        if ident in tokens and tokens[ident] != piece.partition.token:
            raise changed(step, piece, "was written to since the plan was made", "the next run checks again")


def read_tokens(database: Database, table: TableName, idents: Sequence[str]) -> dict[str, str]:
    """The change tokens of partitions, by ident; those that are gone are missing."""
    s = system("sys.shards")
    statement = (
        sa.select(s.partition_ident, s.partition_uuid, sa.func.sum(words(MAX_SEQ_NO) + 1))
        .where(s.of(table), s.partition_ident.in_(idents), s.primary)
        .group_by(s.partition_ident, s.partition_uuid)
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for ident, uuid, count in database.brief().rows(statement):
        found[ident][uuid] = count or 0
    return {ident: format_token(counts) for ident, counts in found.items()}


def find_closed(database: Database, step: PartitionsStep) -> set[str]:
    """Of the partitions of a step, the idents of those that are closed now."""
    p = system("information_schema.table_partitions")
    idents = [piece.partition.ident for piece in step.pieces]
    mine = sa.select(p.partition_ident).where(p.of(step.table), p.partition_ident.in_(idents), words("closed"))
    return {ident for (ident,) in database.brief().rows(mine)}


def await_opened(database: Database, step: PartitionsStep, clock: Clock) -> None:
    """Wait until the primary shards of opened partitions are started, since their rows cannot be read before."""
    idents, last, since = {piece.partition.ident for piece in step.pieces}, None, clock.now()
    while missing := len(_find_incomplete(database, step.table) & idents):
        if missing != last:
            last, since = missing, clock.now()
        elif (clock.now() - since).total_seconds() > OPENING_SECONDS:
            reason = f"shards of {step.what} are missing since it was opened"
            raise ClusterUnhealthy(f"table {step.table}", reason, "bring the lost nodes back; the next run continues")
        clock.sleep(POLL_SECONDS)


def await_copies(database: Database, step: PartitionsStep, clock: Clock) -> None:
    """Wait for copies of shards that are being recovered, since they are not merged; not for any that no node takes."""
    s, last, since = system("sys.shards"), None, clock.now()
    idents = [piece.partition.ident for piece in step.pieces]
    mine = (s.of(step.table), s.partition_ident.in_(idents), s.routing_state == "INITIALIZING")
    while coming := database.brief().count(s.table, *mine):
        if coming != last:
            last, since = coming, clock.now()
        elif (clock.now() - since).total_seconds() > OPENING_SECONDS:
            return
        clock.sleep(POLL_SECONDS)


def check_quiet(database: Database, step: CompactPartitions, clock: Clock) -> None:
    """
    Require that nothing was written to partitions since the plan. Rows that are written to a closed one are lost, so
    one that still receives rows is not closed. One that is closed or compressed already was checked before. While
    settings change, CrateDB may not list a shard for a moment.
    """
    p = system("information_schema.table_partitions")
    idents = [piece.partition.ident for piece in step.pieces]
    mine = sa.select(p.partition_ident, p.closed, words(CODEC)).where(p.of(step.table), p.partition_ident.in_(idents))
    known = {ident: closed or codec == COMPRESSED for ident, closed, codec in database.brief().rows(mine)}
    tokens = read_tokens(database, step.table, idents)
    for _ in range(_LOOKS):
        if all(ident in tokens or closed for ident, closed in known.items()):
            break
        clock.sleep(POLL_SECONDS)
        tokens = read_tokens(database, step.table, idents)
    for piece in step.pieces:
        ident = piece.partition.ident
        if ident not in known:
            raise changed(step, piece, "is gone since the plan was made")
        if not known[ident] and tokens.get(ident) != piece.partition.token:
            raise changed(step, piece, "was written to since the plan was made", "it is compacted once that ends")


def check_room(database: Database, step: CompactPartitions) -> None:
    """Merging writes a shard once more before the former segments are removed: require that nodes have the space."""
    s, n = system("sys.shards"), system("sys.nodes")
    idents, node = [piece.partition.ident for piece in step.pieces], words("node['name']")
    # Partitions are merged one after the other, so the largest one matters.
    needed: dict[str, int] = defaultdict(int)
    read = sa.select(node, s.partition_ident, sa.func.sum(s.size)).where(
        s.of(step.table), s.partition_ident.in_(idents)
    )
    for name, _, size in database.brief().rows(read.group_by(node, s.partition_ident)):
        needed[name] = max(needed[name], size or 0)
    for name, left in database.brief().rows(sa.select(n.name, words("fs['total']['available']"))):
        if left is not None and left < needed.get(name, 0) * ROOM_TO_MERGE:
            reason = (
                f"merging {step.what} needs {show_size(needed[name])} on node {name}, which has {show_size(left)} left"
            )
            raise DiskFull(f"table {step.table}", reason, "free some space; the next run continues")


def count_segments(database: Database, step: PartitionsStep) -> tuple[int, int]:
    """The bytes of all segments of partitions, and the number of segments of the copy of a shard that has most."""
    s = system("sys.segments")
    visible = sa.func.sum(sa.case((s.search, 1), else_=0))
    mine = s.of(step.table), s.partition_ident.in_([piece.partition.ident for piece in step.pieces])
    copy = (s.partition_ident, s.shard_id, words("node['id']"))
    read = sa.select(sa.func.sum(s.size), visible).where(*mine).group_by(*copy)
    rows = database.brief().rows(read)
    return sum(size or 0 for size, _ in rows), max((int(number or 0) for _, number in rows), default=0)


def find_token(database: Database, table: TableName, of: Archived) -> str | None:
    """The token of the partition with the values of an archived one; None if it does not exist."""
    p = system("information_schema.table_partitions")
    for ident, by_column in database.brief().rows(sa.select(p.partition_ident, p["values"]).where(p.of(table))):
        if [by_column[column.name] for column in of.columns] == list(of.values):
            return read_tokens(database, table, [ident]).get(ident)
    return None


def incarnations(token: str) -> set[str]:
    """The part of a token that stays the same until the partition is dropped."""
    return {part.partition(":")[0] for part in token.split("+")}


def format_token(counts: dict[str, int]) -> str:
    """A token from the operations of each incarnation; there is one, unless a restore is in progress."""
    return "+".join(f"{uuid}:{count}" for uuid, count in sorted(counts.items(), key=str))


def check_token(database: Database, step: ArchivingStep) -> bool:
    """Require that the partition is as planned, and cannot change any more. Returns whether it still exists."""
    p, partition = system("information_schema.table_partitions"), step.piece.partition
    mine = sa.select(p.closed, words(IS_FROZEN)).where(p.of(step.table), p.partition_ident == partition.ident)
    protected = [closed or blocked for closed, blocked in database.brief().rows(mine)]
    if not protected:
        return False
    if read_tokens(database, step.table, [partition.ident]).get(partition.ident) != partition.token:
        reason = "was written to since the plan was made"
    elif not protected[0]:
        reason = "writes to it were allowed in the meantime"
    else:
        return True
    raise changed(step, step.piece, reason, "the next run archives it")
