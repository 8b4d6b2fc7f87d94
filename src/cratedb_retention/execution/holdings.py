"""
What each table of a cascade holds, from the ledger: for reading it and for verifying it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cratedb_retention.errors import NotFound
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.ledger import KnownRollup, Ledger
from cratedb_retention.model.reading import Cascade, Holding
from cratedb_retention.store.store import Store


def find_cascade(store: Store, table: TableName) -> Cascade:
    """
    The cascade of a table, with what each of its tables holds.

    :param table: The table with the raw rows.
    :raises NotFound: if the table has none, or nothing was rolled up yet.
    """
    rollups = store.rollups.all()
    mine = [known for known in rollups.values() if known.rollup.source == table]
    if not mine:
        raise NotFound(f"table {table}", "has no rollups", "create a downsample policy for it, and run that")
    levels = sorted(_present(store, mine), key=lambda known: known.rollup.interval.approximate_seconds)
    ledger = store.rollups.ledger(rollups)
    raw = Holding(None, table, ledger.held_from(table, table), None)
    held = [_holding(ledger, known) for known in levels]
    finest = levels[0].rollup
    # The zone of the coarsest level, since a finer one may have to do without.
    zone = levels[-1].rollup.zone
    holdings = (raw, *(holding for holding in held if holding is not None))
    return Cascade(table, finest.time, finest.dimensions, finest.metrics, zone, holdings)


def _present(store: Store, mine: list[KnownRollup]) -> list[KnownRollup]:
    """Without levels that their policy has no more; those of a policy that is gone stay readable."""
    wanted: Mapping[str, set[object]] = {
        stored.policy.id or "": {level.interval for level in stored.policy.levels} for stored in store.policies.all()[0]
    }
    found = [known for known in mine if known.rollup.interval in wanted.get(known.policy_id or "", set())]
    return found or mine


def _holding(ledger: Ledger, known: KnownRollup) -> Holding | None:
    """What a level holds; None if that is nothing yet."""
    rows = ledger.of(known.rollup.table).values()
    if not rows:
        return None
    end = max(row.until for row in rows)
    start = ledger.held_from(known.rollup.source, known.rollup.table)
    begin = max(start if start is not None else min(row.start for row in rows), min(row.start for row in rows))
    return Holding(known.rollup, known.rollup.table, begin, end) if begin < end else None
