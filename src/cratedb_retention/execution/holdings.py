"""
What each table of a cascade holds, from the ledger: for reading it and for verifying it. A table without rollups can be
read as well: all that it holds are its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.model.catalog import Selector, TableName
from cratedb_retention.model.ledger import KnownRollup, Ledger
from cratedb_retention.model.patterns import folded
from cratedb_retention.model.policy import make_policy
from cratedb_retention.model.reading import Cascade, Holding
from cratedb_retention.planning.cascades import find_cascades, find_dimensions, find_metrics
from cratedb_retention.planning.targets import Undecided, find_targets, make_target
from cratedb_retention.store.store import Store


def find_cascade(engine: Engine, store: Store, table: TableName) -> Cascade:
    """
    A table with its rollups, if it has any, and what each of them holds.

    :param table: The table with the raw rows.
    :raises NotFound: if there is no such table, or it is one of the toolkit's own.
    :raises InvalidInput: if nothing says which column is the rows' time.
    """
    rollups = store.rollups.all()
    mine = of_source(store, rollups.values(), table)
    table = mine[0].rollup.source if mine else table
    if not mine:
        return _without_rollups(engine, store, table)
    levels = sorted(_present(store, mine), key=lambda known: known.rollup.interval.approximate_seconds)
    ledger = store.rollups.ledger(rollups)
    raw = Holding(rollup=None, table=table, start=ledger.held_from(table, table), end=None)
    held = [_holding(ledger, known) for known in levels]
    finest = levels[0].rollup
    # The zone of the coarsest level, since a finer one may have to do without.
    zone = levels[-1].rollup.zone
    holdings = (raw, *(holding for holding in held if holding is not None))
    return Cascade(
        source=table,
        time=finest.time,
        dimensions=finest.dimensions,
        metrics=finest.metrics,
        zone=zone,
        holdings=holdings,
    )


def of_source(store: Store, rollups: Iterable[KnownRollup], table: TableName) -> list[KnownRollup]:
    """The rollups of a table, whose name may be written in another case where the database does not care."""
    return [known for known in rollups if _is_same(store, known.rollup.source, table)]


def _is_same(store: Store, one: TableName, other: TableName) -> bool:
    return one == other or (store.folds_case and folded(one) == folded(other))


def _without_rollups(engine: Engine, store: Store, table: TableName) -> Cascade:
    """A table that has none, with the metrics and dimensions that a policy gives it, or that a policy would find."""
    catalog = engine.read_catalog([Selector(schema=table.schema, name=table.name, keys=True)])
    same = [name for name in catalog.tables if _is_same(store, name, table)]
    if not same or same[0].schema == store.schema:
        raise NotFound(f"table {table}", "there is no such table", "look at its name and its schema")
    table = table if table in same else same[0]
    policies = [stored.policy for stored in store.policies.all()[0] if stored.policy.enabled]
    targets = [target for target in find_targets(policies, catalog)[0] if target.table.name == table]
    raw = (Holding(rollup=None, table=table, start=None, end=None),)
    for cascade in find_cascades(targets, catalog, Ledger())[0]:
        finest = cascade.levels[0].rollup
        zone = cascade.policy.time_zone
        return Cascade(
            source=table,
            time=finest.time,
            dimensions=finest.dimensions,
            metrics=finest.metrics,
            zone=zone,
            holdings=raw,
        )
    unruled = make_policy(strategy="delete", table_schema=table.schema, table_name=table.name, retention_period="1d")
    try:
        targets.append(make_target(unruled, catalog.tables[table]))
    except Undecided as error:
        if not targets:
            raise InvalidInput(f"table {table}", str(error)) from None
    found = next(((target, target.time_column) for target in targets if target.time_column is not None), None)
    if found is None:
        reason = "nothing says which column is the time of its rows"
        raise InvalidInput(f"table {table}", reason, "name it as the time_column of a policy")
    target, time = found
    dimensions = find_dimensions(unruled, target.table, time)
    return Cascade(
        source=table,
        time=time,
        dimensions=dimensions,
        metrics=find_metrics(unruled, target.table, time, dimensions),
        zone="UTC",
        holdings=raw,
    )


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
    return Holding(rollup=known.rollup, table=known.rollup.table, start=begin, end=end) if begin < end else None
