"""
Which partitions the toolkit has frozen. Written before a partition is frozen and removed after it was thawed or
dropped, so that a run that was killed in between leaves a trace, and the next one can tidy up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.model.catalog import Column, TableName, Value
from cratedb_retention.model.plan import FreezePartitions
from cratedb_retention.store.codec import partition_to_text, text_to_partition


class FreezeStore:
    """Remembers frozen partitions."""

    def __init__(self, database: Database, table: sa.Table, clock: Clock) -> None:
        self._database, self._table, self._clock = database, table, clock

    def all(self, refresh: bool = True) -> dict[tuple[TableName, tuple[Value, ...]], str]:
        """
        The partitions that were frozen and not thawed, each with the identity of its table; empty: unknown.

        :param refresh: Whether what others wrote may not be visible yet.
        """
        if refresh:
            self._database.refresh(self._table)
        rows = self._database.query(sa.select(self._table))
        return {
            (TableName(row["table_schema"], row["table_name"]), text_to_partition(row["partition"])[1]): (
                row["table_identity"] or ""
            )
            for row in rows
        }

    def add(self, step: FreezePartitions, run_id: str, identity: str = "") -> None:
        """
        Note that partitions are about to be frozen.

        :param identity: Tells their table from others that get its name.
        """
        for piece in step.pieces:
            self.note(step.table, step.columns, piece.partition.values, run_id, identity)

    def note(
        self,
        table: TableName,
        columns: Sequence[Column],
        values: tuple[Value, ...],
        run_id: str | None = None,
        identity: str = "",
    ) -> bool:
        """
        Note that one partition is about to be frozen, or to come back frozen.

        :return: Whether it is new; if not, an interrupted run noted it already.
        """
        row = {
            "id": _key(table, values),
            "table_schema": table.schema,
            "table_name": table.name,
            "partition": partition_to_text(columns, values),
            "run_id": run_id,
            "frozen_at": self._clock.now(),
            "table_identity": identity or None,
        }
        try:
            self._database.execute(sa.insert(self._table).values(**row))
        except Conflict:
            return False
        return True

    def remove(self, table: TableName, partitions: Iterable[tuple[Value, ...]]) -> None:
        """Note that partitions are not frozen any more, or gone."""
        keys = [_key(table, values) for values in partitions]
        # Unlike `id = ?`, CrateDB answers `id IN (...)` from what was refreshed, and the rows may be a moment old.
        self._database.refresh(self._table)
        self._database.execute(sa.delete(self._table).where(self._table.c.id.in_(keys)))


def _key(table: TableName, values: tuple[Value, ...]) -> str:
    return hashlib.sha256(repr((tuple(table), values)).encode()).hexdigest()[:32]
