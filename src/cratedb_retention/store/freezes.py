"""
Which partitions the toolkit has frozen. Written before a partition is frozen and removed after it was thawed or
dropped, so that a run that was killed in between leaves a trace, and the next one can tidy up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan import FreezePartitions
from cratedb_retention.store.codec import partition_to_text, text_to_partition


class FreezeStore:
    """Remembers frozen partitions."""

    def __init__(self, database: Database, table: sa.Table, clock: Clock) -> None:
        self._database, self._table, self._clock = database, table, clock

    def all(self, refresh: bool = True) -> set[tuple[TableName, tuple[Value, ...]]]:
        """
        The partitions that were frozen and not thawed.

        :param refresh: Whether what others wrote may not be visible yet.
        """
        if refresh:
            self._database.refresh(self._table)
        rows = self._database.query(sa.select(self._table))
        return {
            (TableName(row["table_schema"], row["table_name"]), text_to_partition(row["partition"])[1]) for row in rows
        }

    def add(self, step: FreezePartitions, run_id: str) -> None:
        """Note that partitions are about to be frozen."""
        for piece in step.pieces:
            text = partition_to_text(step.columns, piece.partition.values)
            row = {
                "id": _key(step.table, piece.partition.values),
                "table_schema": step.table.schema,
                "table_name": step.table.name,
                "partition": text,
                "run_id": run_id,
                "frozen_at": self._clock.now(),
            }
            try:
                self._database.execute(sa.insert(self._table).values(**row))
            except Conflict:  # An interrupted run noted it already.
                continue

    def remove(self, table: TableName, partitions: Iterable[tuple[Value, ...]]) -> None:
        """Note that partitions are not frozen any more, or gone."""
        keys = [_key(table, values) for values in partitions]
        # Unlike `id = ?`, CrateDB answers `id IN (...)` from what was refreshed, and the rows may be a moment old.
        self._database.refresh(self._table)
        self._database.execute(sa.delete(self._table).where(self._table.c.id.in_(keys)))


def _key(table: TableName, values: tuple[Value, ...]) -> str:
    return hashlib.sha256(repr((tuple(table), values)).encode()).hexdigest()[:32]
