"""
Gathers what forecasts start from: a plan for now, how tables are stored, rows by day, archives. Nothing is written.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cratedb_retention.collector import without_collector
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.execution.policies import find_changes
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Forecast, count_days
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.present import Present
from cratedb_retention.planning.forecast.simulation import simulate
from cratedb_retention.planning.targets import find_targets
from cratedb_retention.store.store import Store


@dataclass(frozen=True, kw_only=True)
class ForecastRequest:
    """See :meth:`cratedb_retention.api.Retention.forecast`."""

    until: dt.datetime
    policies: Sequence[Policy] | None = None
    selection: Selection = field(default_factory=Selection)
    table: TableName | None = None
    capacity: int | None = None
    price: float | None = None
    archive_price: float | None = None


def make_forecast(engine: Engine, store: Store, now: dt.datetime, request: ForecastRequest) -> Forecast:
    """
    Simulate runs day by day, with the planner of real runs.

    :raises InvalidInput: if the end is not in the future; `NotFound` if a selected policy or tag does not exist.
    """
    instead = None if request.policies is None else _as_stored(request.policies, store)
    [found] = _make(engine, store, now, request, [instead])
    return found


def compare_policies(
    engine: Engine, store: Store, now: dt.datetime, request: ForecastRequest, base: Sequence[Policy] | None
) -> tuple[Forecast, Forecast]:
    """
    Forecasts with two sets of policies, of the same tables: those that only one of the sets names stay as they are
    under the other, and grow.

    :param base: The set before the change; None: the stored policies. The one after it is that of the request.
    """
    stored = [item.policy for item in store.policies.all()[0]]
    before, after = stored if base is None else _as_stored(base, store), _as_stored(request.policies or (), store)
    sets = [[*before, *_idle(after, before)], [*after, *_idle(before, after)]]
    first, second = _make(engine, store, now, request, sets)
    return first, second


def _idle(others: Iterable[Policy], own: Iterable[Policy]) -> list[Policy]:
    """The policies of another set as disabled ones, by which the tables are known that a set does not name itself."""
    known = {(policy.id, policy.table_schema, policy.table_name) for policy in own}
    return [
        policy.model_copy(update={"id": str(uuid.uuid4()), "enabled": False})
        for policy in others
        if (policy.id, policy.table_schema, policy.table_name) not in known
    ]


@without_collector()
def _make(
    engine: Engine, store: Store, now: dt.datetime, request: ForecastRequest, sets: Sequence[Sequence[Policy] | None]
) -> list[Forecast]:
    """A forecast for each set of policies, of the same tables; None: the stored policies."""
    days = count_days(now, request.until)
    for name, price in (("price", request.price), ("archive price", request.archive_price)):
        if price is not None and not 0 <= price < math.inf:
            raise InvalidInput(name, "not an amount of money", "write it like 0.10")
    look = Look(engine, store)
    prepared = [look.prepare(now, instead=policies, about=request.table) for policies in sets]
    chosen, archives = _find_chosen([each.facts for each in prepared], request), store.snapshots.all()
    presents = [Present(facts=each.facts, days=days, chosen=chosen, archives=archives) for each in prepared]
    storage = engine.read_storage({name for each in presents for names in each.groups.values() for name in names})
    disks = engine.read_disks() if request.capacity is None else None
    found = []
    for present, each in zip(presents, prepared, strict=True):
        present.storage, present.measured = storage, engine.measure(present.probes())
        forecast = _show(each, present, request)
        if disks is not None and forecast.size is not None:
            other = max(0, disks.used - forecast.size[0])
            forecast = replace(forecast, capacity=disks.total, other=other)
        found.append(forecast)
    return found


def _show(prepared: Prepared, present: Present, request: ForecastRequest) -> Forecast:
    outcome, chosen = simulate(present), present.chosen
    shown = tuple(series for series in outcome.series if chosen is None or series.source in chosen)
    tables = {series.table for series in shown}
    return Forecast(
        times=outcome.times,
        series=shown,
        events=tuple(event for event in outcome.events if event.table in tables),
        blocked=tuple(each for each in prepared.plan.needs_attention if chosen is None or each.table in tables),
        capacity=request.capacity,
        price=request.price,
        archive_price=request.archive_price,
        notes=outcome.notes,
    )


def _as_stored(policies: Sequence[Policy], store: Store) -> list[Policy]:
    """Policies of a file, with the identifiers of stored ones that do the same, whose archives remain theirs."""
    changes = find_changes(policies, store.policies.all()[0])
    made = (change.policy for change in changes)
    return [policy if policy.id else policy.model_copy(update={"id": str(uuid.uuid4())}) for policy in made]


def _find_chosen(facts: Sequence[Facts], request: ForecastRequest) -> frozenset[TableName] | None:
    """The tables that are asked for, or those of the chosen policies; of levels, the tables with the raw rows."""
    if request.table is None and request.selection == Selection():
        return None
    if request.table is None:
        request.selection.require(policy for each in facts for policy in each.policies)
    found = set[TableName]()
    for each in facts:
        known = each.ledger.rollups.values()
        sources = {name: one.rollup.source for one in known for name in one.rollup.tables}
        targets, _ = find_targets(filter(request.selection.fits, each.policies), each.catalog)
        tables = [target.table.name for target in targets] if request.table is None else [request.table]
        found.update(sources.get(name, name) for name in tables)
    return frozenset(found)
