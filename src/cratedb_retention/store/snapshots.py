"""
What was archived, where, and how far: the index of all snapshots that the toolkit made.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import Archived
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.instant import from_ms, to_ms
from cratedb_retention.model.plan import SnapshotPartition
from cratedb_retention.store.codec import partition_to_text, text_to_partition


class SnapshotStage(StrEnum):
    """How far an archived partition is."""

    CREATED = "created"  # The partition is still there.
    ARCHIVED = "archived"  # Verified, and the partition is dropped.
    RESTORED = "restored"  # The partition was brought back.


@dataclass(frozen=True)
class SnapshotRecord:
    """
    A snapshot as the toolkit knows it.

    :param start: The stretch of time that it covers (ms, UTC), as far as known.
    """

    archived: Archived
    start: int | None
    end: int | None
    stage: SnapshotStage
    size: int | None
    policy_id: str | None
    tags: tuple[str, ...]
    changed_at: dt.datetime


class SnapshotStore:
    """Reads and writes the index of snapshots."""

    def __init__(self, database: Database, table: sa.Table, clock: Clock) -> None:
        self._database, self._table, self._clock = database, table, clock

    def record(
        self,
        step: SnapshotPartition,
        rows: int | None,
        size: int | None,
        policy_id: str | None,
        tags: tuple[str, ...],
        run_id: str,
    ) -> None:
        """Note that a snapshot was made; once more changes nothing."""
        piece = step.piece
        values = {
            "name": step.name,
            "repository": step.repository,
            "table_schema": step.table.schema,
            "table_name": step.table.name,
            "partition": partition_to_text(step.columns, piece.partition.values),
            "start": None if piece.start is None else from_ms(piece.start),
            "end": None if piece.end is None else from_ms(piece.end),
            "state": str(SnapshotStage.CREATED),
            "rows": rows,
            "bytes": size,
            "policy_id": policy_id,
            "tags": list(tags),
            "run_id": run_id,
            "changed_at": self._clock.now(),
        }
        c = self._table.c
        known = (c.name == step.name, c.repository == step.repository)
        if not self._database.rows(sa.select(c.state).where(*known)):
            try:
                self._database.execute(sa.insert(self._table).values(**values))
            except Conflict:
                return

    def mark(self, repository: str, name: str, stage: SnapshotStage) -> None:
        """Note how far a snapshot is."""
        c = self._table.c
        self._database.execute(
            sa.update(self._table)
            .where(c.name == name, c.repository == repository)
            .values(state=str(stage), changed_at=self._clock.now())
        )

    def all(self) -> list[SnapshotRecord]:
        """All snapshots by table and time."""
        self._database.refresh(self._table)
        c = self._table.c
        rows = self._database.query(sa.select(self._table).order_by(c.table_schema, c.table_name, c.start, c.name))
        records = []
        for row in rows:
            columns, values = text_to_partition(row["partition"])
            table = TableName(row["table_schema"], row["table_name"])
            records.append(
                SnapshotRecord(
                    Archived(row["repository"], row["name"], table, columns, values, row["rows"]),
                    None if row["start"] is None else to_ms(row["start"]),
                    None if row["end"] is None else to_ms(row["end"]),
                    SnapshotStage(row["state"]),
                    row["bytes"],
                    row["policy_id"],
                    tuple(row["tags"] or ()),
                    row["changed_at"],
                )
            )
        return records
