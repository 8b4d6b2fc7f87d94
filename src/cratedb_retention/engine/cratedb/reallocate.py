"""
Moving partitions on CrateDB: an allocation rule says where the shards belong; the cluster moves them in its own time.
This module waits for that, and says why if nothing moves.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Progress, Report, StepResult
from cratedb_retention.engine.cratedb.health import check_health
from cratedb_retention.engine.cratedb.sql import AlterPartition, system
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import MoveStuck
from cratedb_retention.model.plan import MovePartitions
from cratedb_retention.model.words import plural

POLL_SECONDS = 0.5
# Without any shard arriving or recovering further for so long, the move counts as stuck.
PATIENCE_SECONDS = 120.0


def statements(step: MovePartitions) -> list[sa.Executable]:
    """One ALTER TABLE for each partition."""
    setting = f"routing.allocation.require.{step.attribute}"
    return [
        AlterPartition(step.table, step.columns, piece.partition.values, setting, step.value) for piece in step.pieces
    ]


def move(database: Database, step: MovePartitions, report: Report, clock: Clock) -> StepResult:
    """
    Move partitions and wait until all their shards have arrived.

    :raises MoveStuck: if nothing moves any more; the rule stays, and the next run waits again.
    """
    check_health(database, step.table, step.columns, step.pieces)
    for statement in statements(step):
        database.execute(statement)
    _wait(database, step, report, clock)
    rows = sum(piece.partition.rows or 0 for piece in step.pieces)
    return StepResult(
        rows=rows, partitions=len(step.pieces), size=sum(piece.partition.size or 0 for piece in step.pieces)
    )


def _wait(database: Database, step: MovePartitions, report: Report, clock: Clock) -> None:
    idents = [piece.partition.ident for piece in step.pieces]
    last_seen: object = None
    since = clock.now()
    while True:
        arrived, total, recovered = _arrived(database, step, idents)
        report(Progress(arrived, total, "shard"))
        if arrived == total:
            return
        if (arrived, recovered) != last_seen:
            last_seen, since = (arrived, recovered), clock.now()
        elif (clock.now() - since).total_seconds() > PATIENCE_SECONDS:
            raise _stuck(database, step, idents, total - arrived)
        clock.sleep(POLL_SECONDS)


def _arrived(database: Database, step: MovePartitions, idents: list[str]) -> tuple[int, int, int]:
    """How many of the assigned shards are on the right nodes, of how many; and bytes recovered so far."""
    s = system("sys.shards")
    node: sa.ColumnElement[Any] = sa.literal_column("node['id']")
    recovered: sa.ColumnElement[Any] = sa.literal_column("recovery['size']['recovered']")
    right = _right_nodes(database, step)
    where = (s.schema_name == step.table.schema, s.table_name == step.table.name, s.partition_ident.in_(idents))
    rows = database.rows(sa.select(node, s.routing_state, s.primary, recovered).where(*where))
    # A replica that no node may hold stays unassigned for good; that is the table's business, not the move's.
    assigned = [row for row in rows if row[0] is not None or row[2]]
    arrived = sum(1 for where_it_is, state, _, _ in assigned if where_it_is in right and state == "STARTED")
    # While a shard changes places, there is a moment when neither node lists it.
    unlisted = max(_primaries(database, step, idents) - sum(1 for row in rows if row[2]), 0)
    return arrived, len(assigned) + unlisted, sum(row[3] or 0 for row in rows)


def _primaries(database: Database, step: MovePartitions, idents: list[str]) -> int:
    """How many primary shards the partitions have, as far as they still exist."""
    p = system("information_schema.table_partitions")
    where = (p.table_schema == step.table.schema, p.table_name == step.table.name, p.partition_ident.in_(idents))
    return int(database.rows(sa.select(sa.func.sum(p.number_of_shards)).where(*where))[0][0] or 0)


def _right_nodes(database: Database, step: MovePartitions) -> list[str]:
    """The identifiers of the nodes with the attribute."""
    n = system("sys.nodes")
    rows = database.rows(sa.select(n.id, n.attributes))
    return [name for name, attributes in rows if str((attributes or {}).get(step.attribute)) == step.value]


def _stuck(database: Database, step: MovePartitions, idents: list[str], count: int) -> MoveStuck:
    a = system("sys.allocations")
    # CrateDB has something to say of shards that have arrived, too: why they don't move on.
    away = sa.or_(a.node_id.is_(None), a.node_id.not_in(_right_nodes(database, step)))
    of_table = (a.table_schema == step.table.schema, a.table_name == step.table.name)
    decisions: sa.ColumnElement[Any] = sa.literal_column("decisions")
    statement = sa.select(a.explanation, decisions).where(*of_table, a.partition_ident.in_(idents), away)
    reasons: list[str] = []
    for explanation, by_node in database.rows(statement.limit(20)):
        reasons += [text for node in by_node or [] for text in node.get("explanations") or []]
        reasons += [explanation] if explanation and not by_node else []
    why = "; ".join(list(dict.fromkeys(reasons))[:3]) or "CrateDB gives no reason"
    return MoveStuck(
        f"table {step.table}",
        f"{plural(count, 'shard')} do not reach nodes with {step.attribute}={step.value}: {why}",
        "make room or nodes there; the next run goes on waiting",
    )
