"""
What became of earlier snapshots of a partition that is archived again: either its rows go on in the new one, since it
was restored, or was not dropped; or it was dropped, and other rows came.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.catalog import Catalog
from cratedb_retention.model.plan import DropArchived
from cratedb_retention.store.snapshots import SnapshotRecord, SnapshotStage
from cratedb_retention.store.store import Store

_OPEN = (SnapshotStage.CREATED, SnapshotStage.DROPPING, SnapshotStage.RESTORING, SnapshotStage.RESTORED)


def supersede(engine: Engine, store: Store, step: DropArchived) -> None:
    """
    Before a partition is dropped, settle which earlier snapshots of it are not needed any more, so that a restore
    brings each row once.

    One that can't be read stays as it is.
    """
    mine = (step.repository, step.name)
    earlier = [
        record
        for record in store.snapshots.of(step.table, *_OPEN)
        if record.archived.values == step.piece.partition.values and record.key != mine
    ]
    for group in _came_together(earlier):
        with contextlib.suppress(RetentionError):
            goes_on = any(_continues(engine, store, step, record) for record in group)
            for record in group:
                stage = SnapshotStage.SUPERSEDED if goes_on else SnapshotStage.ARCHIVED
                store.snapshots.mark(*record.key, stage)


def _came_together(records: Iterable[SnapshotRecord]) -> Iterable[list[SnapshotRecord]]:
    """What a restore brought back in one, or may have: all of it goes on, or none."""
    groups: dict[str | None, list[SnapshotRecord]] = {}
    for record in records:
        groups.setdefault(_token(record), []).append(record)
    return groups.values()


def _token(record: SnapshotRecord) -> str | None:
    """Of a restore that was interrupted, nothing tells whether it came to its end."""
    return None if record.stage is SnapshotStage.RESTORING else record.token


def _continues(engine: Engine, store: Store, step: DropArchived, record: SnapshotRecord) -> bool:
    whole = record.stage is SnapshotStage.DROPPING
    return engine.archive.continues(record.archived, step, _token(record), whole, store.schema)


def tidy_copies(engine: Engine, store: Store, ours: Collection[str] = ()) -> None:
    """
    Drop the copies of snapshots that runs which were killed left behind, and not those of runs that go on.

    :param ours: The policies whose leases we hold.
    """

    def in_use() -> set[str]:
        leases = store.leases.read()
        busy = {policy for policy, lease in leases.by_policy.items() if not lease.is_free(leases.now)}
        return {record.archived.name for record in store.snapshots.all() if record.policy_id in busy.difference(ours)}

    engine.archive.tidy(store.schema, in_use)


def settle(store: Store, catalog: Catalog) -> None:
    """Note of partitions that a killed run was dropping that they are gone."""
    for record in store.snapshots.of(None, SnapshotStage.DROPPING):
        table = catalog.tables.get(record.archived.table)
        if table is not None and all(p.values != record.archived.values for p in table.partitions):
            store.snapshots.mark(*record.key, SnapshotStage.ARCHIVED)
