"""
What was archived, where, and how far: the index of all snapshots that the toolkit made. And which partitions it froze:
written before that and removed after, so that a run that was killed in between leaves a trace.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.archive import Archived
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.plan import FreezePartitions, SnapshotPartition
from cratedb_retention.model.snapshots import RestoredPartition
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.model.words import show_partition
from cratedb_retention.store.rows import cut


class SnapshotStage(StrEnum):
    """How far an archived partition is."""

    CREATED = "created"  # The partition is still there.
    DROPPING = "dropping"  # Verified, and the partition is being dropped.
    ARCHIVED = "archived"  # The partition is dropped.
    RESTORING = "restoring"  # The partition is being brought back.
    RESTORED = "restored"  # The partition was brought back.
    SUPERSEDED = "superseded"  # Its rows were archived again, in a later snapshot.


@dataclass(frozen=True, kw_only=True)
class SnapshotRecord:
    """
    A snapshot as the toolkit knows it.

    :param start: The stretch of time that it covers (ms, UTC), as far as known.
    :param token: The change token of the partition that it was made of, or that it was restored as.
    :param identity: Tells its table from others that get its name; empty: unknown.
    :param verified_at: When it was last read back by itself (aware); None: never.
    :param damage: What was wrong then; None: all was right.
    """

    archived: Archived
    start: int | None
    end: int | None
    stage: SnapshotStage
    size: int | None
    policy_id: str | None
    tags: tuple[str, ...]
    changed_at: dt.datetime
    token: str | None = None
    identity: str = ""
    verified_at: dt.datetime | None = None
    damage: str | None = None

    @property
    def words(self) -> str:
        """How the audit log names it: ``month=2024-01-01 from repository.name``."""
        archived = self.archived
        return f"{show_partition(archived.columns, archived.values)} from {archived.repository}.{archived.name}"

    @property
    def key(self) -> tuple[str, str]:
        """Repository and name."""
        return self.archived.repository, self.archived.name

    @property
    def partition(self) -> tuple[TableName, tuple[Value, ...]]:
        """The partition that it is of; it may have others."""
        return self.archived.table, self.archived.values


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
        identity: str = "",
    ) -> None:
        """Note that a snapshot was made; once more changes nothing."""
        partition = step.piece.partition
        record = SnapshotRecord(
            archived=Archived(
                repository=step.repository,
                name=step.name,
                table=step.table,
                columns=step.columns,
                values=partition.values,
                rows=rows,
            ),
            start=step.piece.start,
            end=step.piece.end,
            stage=SnapshotStage.CREATED,
            size=size,
            policy_id=policy_id,
            tags=tags,
            changed_at=self._clock.now(),
            token=partition.token,
            identity=identity,
        )
        self.add(record, run_id=run_id)

    def add(self, record: SnapshotRecord, run_id: str | None = None) -> None:
        """Note a snapshot; one that is known stays as it is."""
        archived = record.archived
        values = {
            "name": archived.name,
            "repository": archived.repository,
            "table_schema": archived.table.schema,
            "table_name": archived.table.name,
            "partition": partition_to_text(archived.columns, archived.values),
            "start": None if record.start is None else from_ms(record.start),
            "end": None if record.end is None else from_ms(record.end),
            "state": str(record.stage),
            "rows": archived.rows,
            "bytes": record.size,
            "policy_id": record.policy_id,
            "tags": list(record.tags),
            "run_id": run_id,
            "changed_at": record.changed_at,
            "token": record.token,
            "table_identity": record.identity or None,
        }
        c = self._table.c
        known = (c.name == archived.name, c.repository == archived.repository)
        if not self._database.rows(sa.select(c.state).where(*known)):
            with suppress(Conflict):
                self._database.execute(sa.insert(self._table).values(**values))

    def mark(self, repository: str, name: str, stage: SnapshotStage, token: str | None = None) -> None:
        """
        Note how far a snapshot is.

        :param token: The change token of the partition from now on; None: as it was.
        """
        c = self._table.c
        self._database.execute(
            sa.update(self._table)
            .where(c.name == name, c.repository == repository)
            .values(state=str(stage), changed_at=self._clock.now(), **({"token": token} if token else {}))
        )

    def verified(self, record: SnapshotRecord, damage: str | None) -> None:
        """
        Note that a snapshot was read back by itself.

        :param damage: What was wrong; None: all was right.
        """
        c, archived = self._table.c, record.archived
        mine = sa.update(self._table).where(c.name == archived.name, c.repository == archived.repository)
        damage = None if damage is None else cut(damage)
        self._database.execute(mine.values(verified_at=self._clock.now(), damage=damage))

    def all(self) -> list[SnapshotRecord]:
        """All snapshots by table and time."""
        return self._read()

    def of(self, table: TableName | None, *stages: SnapshotStage) -> list[SnapshotRecord]:
        """The snapshots of a table, or of all, that are so far."""
        mine = () if table is None else self._mine(table)
        return self._read(self._table.c.state.in_(list(map(str, stages))), *mine)

    def _mine(self, table: TableName) -> tuple[sa.ColumnElement[bool], ...]:
        c = self._table.c
        return (c.table_schema == table.schema, c.table_name == table.name)

    def archived_names(self) -> frozenset[tuple[str, str]]:
        """Repository and name of all whose partition is dropped."""
        self._database.refresh(self._table)
        c = self._table.c
        found = self._database.rows(sa.select(c.repository, c.name).where(c.state == str(SnapshotStage.ARCHIVED)))
        return frozenset((repository, name) for repository, name in found)

    def restored(self, refresh: bool = True) -> dict[RestoredPartition, tuple[str, str]]:
        """
        Repository and name of the snapshots from which alone partitions were restored.

        :param refresh: Whether what others wrote may not be visible yet.
        """
        found: dict[RestoredPartition, list[tuple[str, str]]] = {}
        restored = self._table.c.state == str(SnapshotStage.RESTORED)
        for record in self._read(restored, refresh=refresh):
            if record.token:
                found.setdefault((*record.partition, record.token), []).append(record.key)
        return {partition: keys[0] for partition, keys in found.items() if len(keys) == 1}

    def _read(self, *conditions: sa.ColumnElement[bool], refresh: bool = True) -> list[SnapshotRecord]:
        if refresh:
            self._database.refresh(self._table)
        c = self._table.c
        ordered = (c.table_schema, c.table_name, c.start, c.name)
        rows = self._database.query(sa.select(self._table).where(*conditions).order_by(*ordered))
        return [_record(row) for row in rows]


def _record(row: Mapping[str, Any]) -> SnapshotRecord:
    columns, values = text_to_partition(row["partition"])
    table = TableName(row["table_schema"], row["table_name"])
    return SnapshotRecord(
        archived=Archived(
            repository=row["repository"],
            name=row["name"],
            table=table,
            columns=columns,
            values=values,
            rows=row["rows"],
        ),
        start=None if row["start"] is None else to_ms(row["start"]),
        end=None if row["end"] is None else to_ms(row["end"]),
        stage=SnapshotStage(row["state"]),
        size=row["bytes"],
        policy_id=row["policy_id"],
        tags=tuple(row["tags"] or ()),
        changed_at=row["changed_at"],
        token=row["token"],
        identity=row["table_identity"] or "",
        verified_at=row["verified_at"],
        damage=row["damage"],
    )


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


def partition_to_text(columns: Sequence[Column], values: Sequence[Value]) -> str:
    """A partition's columns and values as JSON that :func:`text_to_partition` understands."""
    parts = [[c.name, c.type, str(c.kind), v] for c, v in zip(columns, values, strict=True)]
    return json.dumps(parts, ensure_ascii=False)


def text_to_partition(text: str) -> tuple[tuple[Column, ...], tuple[Value, ...]]:
    """The columns and values of a partition."""
    parts = json.loads(text)
    columns = tuple(Column(name=name, type=data_type, kind=Kind(kind)) for name, data_type, kind, _ in parts)
    return columns, tuple(part[3] for part in parts)
