"""Snapshots with their states, and frozen partitions: recorded before a freeze, removed after it ends."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cratedb_retention.errors import Conflict
from cratedb_retention.model.archive import (
    Archived,
    RestoredPartition,
    SnapshotPlace,
    SnapshotRecord,
    SnapshotStage,
)
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.plan.plan import FreezePartitions
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.time import to_ms
from cratedb_retention.store.rows import LISTED, PAGE, Records, cut, is_named, name_values, same

_SAME = ("policy_id", "changed_at", "token", "recoverable_until")
_ARCHIVED = ("repository", "name", "rows", "start", "end")


@dataclass(frozen=True, kw_only=True)
class SnapshotFilter:
    """
    Selects snapshots; each attribute that is set must match. The database selects all that match and few others, whose
    tags or names differ; where it matters, the caller compares them again.

    :param table_schema: A name or pattern; ``table_name``: likewise.
    :param name: The beginning of a snapshot's name; ``names``: any of these.
    :param policies: Any of these policies archived it.
    :param policy: The beginning of the policy's identifier; ``run``: of that of the run that archived or dropped it.
    :param start: Only partitions that end after this instant (ms, UTC); ``end``: that begin before this one.
    :param after: Only snapshots behind this place in their order, by table and time.
    """

    table_schema: str | None = None
    table_name: str | None = None
    folds_case: bool = False
    name: str | None = None
    names: Collection[str] = ()
    repository: str | None = None
    policies: Collection[str] = ()
    policy: str | None = None
    run: str | None = None
    tags: TagFilter = field(default_factory=TagFilter)
    start: int | None = None
    end: int | None = None
    after: SnapshotPlace | None = None


def _conditions(c: Any, wanted: SnapshotFilter) -> Iterator[sa.ColumnElement[bool]]:
    for name in ("table_schema", "table_name"):
        pattern = getattr(wanted, name)
        if pattern is not None and pattern.isascii():  # Lower case of other letters may differ in the database.
            yield _matches(c[name], pattern, wanted.folds_case)
    for column, values in ((c.name, wanted.names), (c.policy_id, wanted.policies)):
        if 0 < len(values) <= PAGE:
            yield column.in_(sorted(values))
    for column, beginning in ((c.name, wanted.name), (c.policy_id, wanted.policy), (c.run_id, wanted.run)):
        if beginning is not None:
            yield column.startswith(beginning, autoescape=True, escape="\\")
    if wanted.repository is not None:
        yield c.repository == wanted.repository
    if wanted.start is not None:
        yield sa.or_(c.end.is_(None), c.end > wanted.start)
    if wanted.end is not None:
        yield sa.or_(c.start.is_(None), c.start < wanted.end)
    tags = [[sa.literal(tag) == sa.any_(c.tags) for tag in sorted(group.wanted)] for group in wanted.tags.any_of]
    if tags and all(tags):
        yield sa.or_(*(sa.and_(*group) for group in tags))


def _matches(column: sa.ColumnElement[str], pattern: str, folds_case: bool) -> sa.ColumnElement[bool]:
    if folds_case:
        column, pattern = sa.func.lower(column), pattern.lower()
    if not is_pattern(pattern):
        return column == pattern
    escaped = re.sub(r"[\\%_]", r"\\\g<0>", pattern)
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")


@dataclass(frozen=True, kw_only=True)
class Dropper:
    """The run and the policy that drop an archived partition, and until when it is recoverable; None: not limited."""

    run_id: str
    policy_id: str | None
    tags: tuple[str, ...]
    recoverable_until: dt.datetime | None


class SnapshotStore(Records):
    def add(self, record: SnapshotRecord) -> None:
        """Record a snapshot; a known one stays unchanged."""
        archived = record.archived
        values = {
            **same(archived, _ARCHIVED),
            **same(record, _SAME),
            **name_values(archived.table),
            "partition": partition_to_text(archived.columns, archived.values),
            "state": str(record.stage),
            "bytes": archived.size,
            "tags": list(record.tags),
            "run_id": record.run_id,
            "table_identity": record.identity or None,
        }
        if not self._read(*self._key(*record.key), refresh=False):
            with suppress(Conflict):
                self._add(values)

    def mark(self, repository: str, name: str, stage: SnapshotStage, token: str | None = None) -> None:
        """Set the state of a snapshot, and optionally the change token of its partition."""
        more = {"token": token} if token else {}
        self._change(*self._key(repository, name), state=str(stage), changed_at=self._clock.now(), **more)

    def claim(
        self,
        repository: str,
        name: str,
        stage: SnapshotStage,
        among: Collection[SnapshotStage],
        dropper: Dropper | None = None,
    ) -> bool:
        """
        Set the state of a snapshot in one of some states; False: it is not. Of several writers, one succeeds.

        :param dropper: What drops its partition now. An archive of a recoverable policy belongs to this one from now
            on, another one to its own policy as before.
        """
        c, key = self._table.c, self._key(repository, name)
        rows = self._read(*key, refresh=False, stamps=True)
        if not rows or rows[0]["state"] not in among:
            return False
        more: dict[str, Any] = {} if dropper is None else {"run_id": dropper.run_id}
        if rows[0]["state"] == str(stage) and all(rows[0][name] == value for name, value in more.items()):
            return True  # The answer to an earlier attempt was lost.
        if dropper is not None and rows[0]["recoverable_until"] is not None:
            until, tags = dropper.recoverable_until, list(dropper.tags)
            more |= {"policy_id": dropper.policy_id, "tags": tags, "recoverable_until": until}
        same_row = (
            self._unchanged(self._stamp(rows[0])) if self._database.row_version else [c.state == rows[0]["state"]]
        )
        return self._change(*key, *same_row, state=str(stage), changed_at=self._clock.now(), **more) == 1

    def remove(self, repository: str, name: str) -> None:
        """Forget a snapshot that was deleted."""
        self._remove(*self._key(repository, name))

    def verified(self, record: SnapshotRecord, damage: str | None) -> None:
        """Record that a snapshot was verified on its own, and the damage found; None: it is intact."""
        self._change(*self._key(*record.key), verified_at=self._clock.now(), damage=damage and cut(damage))

    def _key(self, repository: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
        return self._table.c.name == name, self._table.c.repository == repository

    def stream(self, wanted: SnapshotFilter | None = None) -> Iterator[SnapshotRecord]:
        """The snapshots that may match, by table and time, read page by page."""
        c, wanted = self._table.c, wanted or SnapshotFilter()
        order = (c.table_schema, c.table_name, c.start, c.name, c.repository)
        return map(_record, self._stream(*_conditions(c, wanted), order=order, after=wanted.after or ()))

    def all(self) -> list[SnapshotRecord]:
        return list(self.stream())

    def tables(self) -> set[TableName]:
        """The tables that were archived."""
        c = self._table.c
        self._visible()
        return {TableName(*row) for row in self._database.rows(sa.select(c.table_schema, c.table_name).distinct())}

    def extents(self) -> dict[TableName, tuple[int, int]]:
        """The time range of the archives of each table (ms, UTC); of those whose time is known."""
        c = self._table.c
        self._visible()
        known = (c.state != str(SnapshotStage.SUPERSEDED), c.start.is_not(None), c.end.is_not(None))
        ends = (sa.func.min(c.start), sa.func.max(c.end))
        query = sa.select(c.table_schema, c.table_name, *ends).where(*known).group_by(c.table_schema, c.table_name)
        return {
            TableName(schema, name): (int(start), int(end)) for schema, name, start, end in self._database.rows(query)
        }

    def count_foreign(self, table: TableName, identity: str) -> int:
        """The number of snapshots of other tables of the same name."""
        c = self._table.c
        self._visible()
        return self._database.count(
            self._table, is_named(self._table, table), c.table_identity.is_not(None), c.table_identity != identity
        )

    def of(self, table: TableName | None, *stages: SnapshotStage) -> list[SnapshotRecord]:
        """The snapshots of a table, or of all tables, in some states."""
        mine = () if table is None else (is_named(self._table, table),)
        return self._find(self._table.c.state.in_(list(map(str, stages))), *mine)

    def ended(
        self, policies: Collection[str], before: int, recoverable: Collection[str], now: dt.datetime
    ) -> list[SnapshotRecord]:
        """
        The snapshots of policies whose data ends at an instant (ms, UTC) or before, those of recoverable policies that
        need not be any more, and superseded ones of the same tables.
        """
        c, found = self._table.c, list[SnapshotRecord]()
        for policy_ids, over in ((policies, c.end <= before), (recoverable, c.recoverable_until <= now)):
            ids = sorted(policy_ids)
            for some in (ids[first : first + LISTED] for first in range(0, len(ids), LISTED)):
                found += self._find(c.policy_id.in_(some), over, refresh=False)
        known, tables = {record.key for record in found}, sorted({record.archived.table for record in found})
        earlier = (self.of(table, SnapshotStage.SUPERSEDED) for table in tables)
        return found + [record for records in earlier for record in records if record.key not in known]

    def next_ends(
        self, limits: Mapping[str, int], recoverable: Collection[str], now: dt.datetime
    ) -> dict[tuple[str, TableName], int]:
        """
        By policy and table, the first end of archived data after an instant (ms, UTC) for each policy; of recoverable
        policies, when what they deleted can first not be brought back any more (ms, UTC).
        """
        c, found = self._table.c, dict[tuple[str, TableName], int]()
        place = (c.policy_id, c.table_schema, c.table_name)
        groups: list[tuple[list[str], tuple[sa.ColumnElement[bool], ...], sa.Column[Any]]] = [
            (
                sorted(name for name, own in limits.items() if own == limit),
                (c.end > limit, c.recoverable_until.is_(None)),
                c.end,
            )
            for limit in sorted(set(limits.values()))
        ]
        groups.append((sorted(recoverable), (c.recoverable_until > now,), c.recoverable_until))
        for ids, later, end in groups:
            for some in (ids[first : first + LISTED] for first in range(0, len(ids), LISTED)):
                query = sa.select(*place, sa.func.min(end)).where(c.policy_id.in_(some), *later).group_by(*place)
                for policy, schema, name, next_end in self._database.rows(query):
                    instant = to_ms(next_end) if isinstance(next_end, dt.datetime) else int(next_end)
                    found[policy, TableName(schema, name)] = instant
        return found

    def rows(self, policies: Collection[str]) -> dict[tuple[str, TableName], int]:
        """The number of archived rows, by policy and table; without those whose snapshots do not know it."""
        c = self._table.c
        place = (c.policy_id, c.table_schema, c.table_name)
        found = self._database.rows(
            sa.select(*place, sa.func.sum(c.rows)).where(c.policy_id.in_(sorted(policies))).group_by(*place)
        )
        return {(policy, TableName(schema, name)): int(rows or 0) for policy, schema, name, rows in found}

    def taken(self, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Of some repositories and names, those that snapshots have whose partition was dropped."""
        c, found, names = self._table.c, set[tuple[str, str]](), sorted({name for _, name in keys})
        for first in range(0, len(names), LISTED):
            rows = self._read(c.state == str(SnapshotStage.ARCHIVED), c.name.in_(names[first : first + LISTED]))
            found.update((row["repository"], row["name"]) for row in rows)
        return found.intersection(keys)

    def restored(self, refresh: bool = True) -> tuple[dict[RestoredPartition, tuple[str, str]], set[tuple[str, str]]]:
        """
        Restored partitions, each with the one snapshot that it came from, as repository and name; and the snapshots
        that are being deleted.
        """
        found: dict[RestoredPartition, list[tuple[str, str]]] = {}
        states = [str(SnapshotStage.RESTORED), str(SnapshotStage.DELETING)]
        records = self._find(self._table.c.state.in_(states), refresh=refresh)
        for record in records:
            if record.token and record.stage is SnapshotStage.RESTORED:
                found.setdefault((*record.partition, record.token), []).append(record.key)
        restored = {partition: keys[0] for partition, keys in found.items() if len(keys) == 1}
        return restored, {record.key for record in records if record.stage is SnapshotStage.DELETING}

    def _find(self, *where: sa.ColumnElement[bool], refresh: bool = True) -> list[SnapshotRecord]:
        c = self._table.c
        rows = self._read(*where, order=(c.table_schema, c.table_name, c.start, c.name), refresh=refresh)
        return list(map(_record, rows))


def _record(row: Mapping[str, Any]) -> SnapshotRecord:
    columns, values = text_to_partition(row["partition"])
    archived = {name: row[name] for name in _ARCHIVED}
    return SnapshotRecord(
        archived=Archived(**archived, size=row["bytes"], table=_table(row), columns=columns, values=values),
        **{name: row[name] for name in (*_SAME, "verified_at", "damage")},
        stage=SnapshotStage(row["state"]),
        tags=tuple(row["tags"] or ()),
        identity=row["table_identity"] or "",
        run_id=row["run_id"],
    )


def _table(row: Mapping[str, Any]) -> TableName:
    return TableName(row["table_schema"], row["table_name"])


class FreezeStore(Records):
    def all(self, refresh: bool = True) -> dict[tuple[TableName, tuple[Value, ...]], str]:
        """The frozen partitions, each with the identity of its table; empty: unknown."""
        return {
            (_table(row), text_to_partition(row["partition"])[1]): row["table_identity"] or ""
            for row in self._read(refresh=refresh)
        }

    def add(self, step: FreezePartitions, run_id: str, identity: str = "") -> None:
        for values in step.partitions:
            self.note(step.table, step.columns, values, run_id=run_id, table_identity=identity or None)

    def note(self, table: TableName, columns: Sequence[Column], values: tuple[Value, ...], **more: str | None) -> bool:
        """Record that a partition is about to be frozen, or restored frozen. False: it is recorded already."""
        row = {
            **name_values(table),
            "id": _freeze_key(table, values),
            "partition": partition_to_text(columns, values),
            "frozen_at": self._clock.now(),
            **more,
        }
        try:
            self._add(row)
        except Conflict:
            return False
        return True

    def remove(self, table: TableName, partitions: Iterable[tuple[Value, ...]]) -> None:
        """Record that partitions are no longer frozen, or no longer exist."""
        # Unlike `id = ?`, `id IN (...)` sees only refreshed rows on CrateDB, and the rows may be a moment old.
        self._visible()
        self._remove(self._table.c.id.in_([_freeze_key(table, values) for values in partitions]))


def _freeze_key(table: TableName, values: tuple[Value, ...]) -> str:
    return hashlib.sha256(repr((tuple(table), values)).encode()).hexdigest()[:32]


def partition_to_text(columns: Sequence[Column], values: Sequence[Value]) -> str:
    """A partition's columns and values as JSON; :func:`text_to_partition` reverses it."""
    parts = [[c.name, c.type, str(c.kind), v] for c, v in zip(columns, values, strict=True)]
    return json.dumps(parts, ensure_ascii=False)


def text_to_partition(text: str) -> tuple[tuple[Column, ...], tuple[Value, ...]]:
    parts = json.loads(text)
    columns = tuple(Column(name=name, type=data_type, kind=Kind(kind)) for name, data_type, kind, _ in parts)
    return columns, tuple(part[3] for part in parts)
