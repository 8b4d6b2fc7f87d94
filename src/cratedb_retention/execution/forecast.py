"""Gathers what a forecast starts from: a plan for now, how tables are stored, rows by day, archives; writes nothing."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plan.preparing import Look, Selection, without_collector
from cratedb_retention.execution.policies import find_changes
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Forecast, count_days
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.forecast.present import Present, find_probes
from cratedb_retention.planning.forecast.simulation import simulate
from cratedb_retention.planning.targets import find_targets
from cratedb_retention.store.store import Store


@dataclass(frozen=True, kw_only=True)
class ForecastRequest:
    """See :meth:`cratedb_retention.api.Retention.forecast`."""

    until: dt.datetime
    policies: Sequence[Policy] | None = None
    selection: Selection = field(default_factory=Selection)
    capacity: int | None = None
    price: float | None = None
    archive_price: float | None = None


@without_collector()
def make_forecast(engine: Engine, store: Store, now: dt.datetime, request: ForecastRequest) -> Forecast:
    """
    Simulate runs day by day, with the planner of real runs.

    :raises InvalidInput: if the end is not in the future; `NotFound` if a selected policy or tag does not exist.
    """
    days = count_days(now, request.until)
    for name, price in (("price", request.price), ("archive price", request.archive_price)):
        if price is not None and not 0 <= price < math.inf:
            raise InvalidInput(name, "not an amount of money", "write it like 0.10")
    instead = None if request.policies is None else _as_stored(request.policies, store)
    prepared = Look(engine, store).prepare(now, instead=instead)
    facts, selection = prepared.facts, request.selection
    selection.require(facts.policies)
    present = Present(
        facts=facts,
        days=days,
        archives=store.snapshots.all(),
        storage=engine.read_storage(facts.catalog.tables),
        measured=engine.measure(find_probes(facts)),
    )
    outcome = simulate(present)
    chosen = None if selection == Selection() else _chosen_sources(facts, selection)
    shown = tuple(series for series in outcome.series if chosen is None or series.source in chosen)
    tables = {series.table for series in shown}
    forecast = Forecast(
        times=outcome.times,
        series=shown,
        events=tuple(event for event in outcome.events if event.table in tables),
        blocked=tuple(each for each in prepared.plan.needs_attention if chosen is None or each.table in tables),
        capacity=request.capacity,
        price=request.price,
        archive_price=request.archive_price,
        notes=outcome.notes,
    )
    disks = engine.read_disks() if request.capacity is None and forecast.size is not None else None
    if disks is not None and forecast.size is not None:
        forecast = replace(forecast, capacity=disks.total, other=max(0, disks.used - forecast.size[0]))
    return forecast


def _as_stored(policies: Sequence[Policy], store: Store) -> list[Policy]:
    """Policies of a file, with the identifiers of stored ones that do the same, whose archives remain theirs."""
    changes = find_changes(policies, store.policies.all()[0])
    made = (change.policy for change in changes)
    return [policy if policy.id else policy.model_copy(update={"id": str(uuid.uuid4())}) for policy in made]


def _chosen_sources(facts: Facts, selection: Selection) -> frozenset[TableName]:
    """The tables of the chosen policies; of levels, the tables with the raw rows."""
    known = facts.ledger.rollups.values()
    sources = {name: one.rollup.source for one in known for name in one.rollup.tables}
    targets, _ = find_targets(filter(selection.fits, facts.policies), facts.catalog)
    return frozenset(sources.get(target.table.name, target.table.name) for target in targets)
