"""
The rollups of tables: what each table of a cascade holds, from the ledger, for reading and for verifying it; the
cascades that policies would make; and how the rollups of a table are dropped. A table without rollups can be read as
well: all that it holds are its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Selector, TableName
from cratedb_retention.model.ledger import KnownRollup, Ledger, view_marks
from cratedb_retention.model.ownership import is_own_table, is_own_view
from cratedb_retention.model.patterns import folded
from cratedb_retention.model.policy import make_policy
from cratedb_retention.model.reading import Cascade, Holding
from cratedb_retention.model.rollup import Rollup, view_name
from cratedb_retention.planning.cascades import Cascade as PlannedCascade
from cratedb_retention.planning.cascades import find_cascades, find_dimensions, find_metrics
from cratedb_retention.planning.targets import Undecided, find_targets, make_target
from cratedb_retention.store.audit import Entry
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
    # The zone of the coarsest level, since a finer one may have to do without.
    zone = levels[-1].rollup.zone
    holdings = (raw, *(holding for holding in held if holding is not None))
    return _cascade(table, levels[0].rollup, zone, holdings)


def _cascade(table: TableName, finest: Rollup, zone: str, holdings: tuple[Holding, ...]) -> Cascade:
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
        return _cascade(table, cascade.levels[0].rollup, cascade.policy.time_zone, raw)
    unruled = make_policy(strategy="delete", table_schema=table.schema, table_name=table.name, retention_period="1d")
    try:
        targets.append(make_target(unruled, catalog.tables[table]))
    except Undecided as error:
        if not targets:
            raise InvalidInput(f"table {table}", error.why) from None
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


def drop_rollups(engine: Engine, store: Store, source: TableName) -> list[TableName]:
    """
    Drop the view, the levels and their distributions; their policy, if it is still there, makes them anew. What has
    the name of one of these and is something else stays.

    :param source: The table with the raw rows, which need not exist any more.
    :return: The levels.
    :raises NotFound: if it has none.
    """
    known = store.rollups.all()
    mine = sorted((k.rollup for k in of_source(store, known.values(), source)), key=lambda rollup: rollup.table)
    if not mine:
        raise NotFound(f"table {source}", "has no rollups")
    source = mine[0].source
    view, tables = view_name(source), [name for rollup in mine for name in (rollup.table, rollup.sketch)]
    catalog = engine.read_named([view, *tables])
    found = (catalog.views or {}).get(view)
    time, levels = mine[0].time.name, [source, *(rollup.table for rollup in mine)]
    if found is not None and is_own_view(found, time, levels, view_marks(known.values(), source)):
        engine.database.drop_view(view)
    for rollup in mine:
        for name in (rollup.sketch, rollup.table):
            if name in catalog.tables and is_own_table(rollup, name, catalog.tables[name].columns):
                engine.database.drop_table(name)
        store.rollups.forget(rollup.table)
    store.journal.write(
        Entry(
            event=Event.ROLLUPS_DROPPED,
            outcome=Outcome.DONE,
            table_schema=source.schema,
            table_name=source.name,
            message=f"dropped {', '.join(rollup.table.name for rollup in mine)}",
        )
    )
    return [rollup.table for rollup in mine]


def planned_cascades(prepared: Prepared) -> list[PlannedCascade]:
    """The cascades of the policies that were chosen."""
    chosen = [
        policy
        for policy in prepared.policies.values()
        if policy.strategy.traits.rolls_up and policy.enabled and prepared.selection.fits(policy)
    ]
    targets, _ = find_targets(chosen, prepared.catalog)
    return find_cascades(targets, prepared.catalog, prepared.ledger)[0]
