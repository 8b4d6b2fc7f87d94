"""
What a plan costs where nothing is due, by the length of the history: a thousand cascades of three levels with windows
of a day, all sealed but those of the last month. The catalog is given, so that only rollups are measured: what is read
of them, and what is decided.
"""

from __future__ import annotations

import datetime as dt
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import sqlalchemy as sa

from benchmarks.line import Goal, Line
from benchmarks.surroundings import Missing, Surroundings
from benchmarks.timing import by_turns, peak_megabytes, seconds
from cratedb_retention import Retention
from cratedb_retention.collector import without_collector
from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import Catalog, Kind, Partition, Table, TableName
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.aggregates import GAUGE
from cratedb_retention.model.rollups.cascade import Interval, Level
from cratedb_retention.model.rollups.ledger import LedgerRow
from cratedb_retention.model.rollups.rollup import PARTITION, ReplaceView, Rollup, level_table, make_metric
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS, to_ms
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.rollups.cascades import choose_partition
from cratedb_retention.planning.rollups.windows import digest
from cratedb_retention.store.rollups.levels import RollupStore
from cratedb_retention.store.rollups.windows import range_values
from cratedb_retention.store.rows import name_values
from support.catalogs import DAILY, TS, VALUE, catalog, column, policy, table

TABLES, KEPT, LEVELS = 1000, 25, "1m:26d,1h:27d,1d:forever"
NOW = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
TODAY, DAY = to_ms(NOW), Interval(unit="day")
# Windows of a range, as many as fit into one.
RANGE = 1024
GOAL = Goal(seconds=2, megabytes=200)


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Plan."""
    yield from _measure(surroundings, "DuckDB", [f"duckdb:///{surroundings.directory() / name}.db" for name in "ab"])
    server = surroundings.server
    if server is None:
        raise Missing("no CrateDB")
    yield from _measure(surroundings, "CrateDB", [server.uri, server.uri])


def _measure(surroundings: Surroundings, product: str, uris: Sequence[str]) -> Iterator[Line]:
    histories = [History(years) for years in (1, 10)]
    stores = [_fill(uri, history) for uri, history in zip(uris, histories, strict=True)]
    for judged, about in ((False, "nothing due"), (True, "nothing due, each window judged")):
        short, long = (partial(history.plan, store, judged) for store, history in zip(stores, histories, strict=True))
        assert not long().tasks and not long().blocked
        taken = by_turns(surroundings.repeat(3), {"1": lambda: seconds(short), "10": lambda: seconds(long)})  # noqa: B023
        what = f"plan with {about}: {TABLES:,} tables, 3 levels"
        yield Line(what=f"{what}, 1 year, {product}", ours=taken["1"])
        gc.collect()
        yield Line(
            what=f"{what}, 10 years (by hand: 1 year), {product}",
            ours=taken["10"],
            best=taken["1"],
            megabytes=peak_megabytes(long),
            goal=replace(GOAL, ratio=1.2),
        )


@dataclass(frozen=True)
class History:
    """Cascades with a number of years of windows."""

    years: int

    @without_collector()
    def plan(self, store: RollupStore, judged: bool = False) -> Plan:
        """All of planning, as a run does it; on request also of what is known to be at rest."""
        planning = _planning(store, self, {} if judged else None)
        planning.probes()
        return replace(planning).plan()

    @cached_property
    def policies(self) -> list[Policy]:
        """A policy for all tables."""
        return [policy("downsample", f"{KEPT}d", table_name="raw_*", levels=LEVELS)]

    @cached_property
    def catalog(self) -> Catalog:
        """The tables with their partitions."""
        tables = [table for number in range(TABLES) for table in self._tables(TableName("doc", f"raw_{number:04}"))]
        levels = frozenset(rollup.table for rollup in self.rollups)
        return replace(catalog(*tables), rollups=levels)

    @property
    def levels(self) -> Sequence[Level]:
        """Those of the policy."""
        return self.policies[0].levels

    @cached_property
    def rollups(self) -> list[Rollup]:
        """The levels of all tables, by table."""
        return [rollup for number in range(TABLES) for rollup in self._rollups(TableName("doc", f"raw_{number:04}"))]

    def _rollups(self, source: TableName) -> Iterator[Rollup]:
        below = source
        for level in self.levels:
            yield Rollup(
                source=source,
                below=below,
                table=(own := level_table(source, level.interval)),
                interval=level.interval,
                time=TS,
                dimensions=(),
                metrics=(make_metric(VALUE, GAUGE),),
                partition=choose_partition(level, "UTC"),
                window=DAY,
            )
            below = own

    def _tables(self, source: TableName) -> Iterator[Table]:
        yield table([TS, VALUE, DAILY], ["day"], [_partition(day) for day in _days(KEPT)], source)
        for rollup, level in zip(self._rollups(source), self.levels, strict=True):
            columns = [column(name, Kind.NUMBER) for name in rollup.columns if name != rollup.time_name]
            unit = rollup.partition or DAY
            part = column(PARTITION, expression=f"date_trunc('{unit.unit}', ts)")
            count = int(level.retention_period.approximate_seconds()) // 86_400 if unit == DAY else 365 * self.years
            starts = sorted({unit.floor(day) for day in _days(count)})
            partitions = [_partition(start) for start in starts]
            yield table([TS, *columns, part], [PARTITION], partitions, rollup.table)

    def windows(self, rollup: Rollup, kept: int) -> Iterator[list[LedgerRow]]:
        """The windows of a level as they are stored: ranges, then those whose source is there, a number of days."""
        sealed = [_window(rollup, day, "0" * 12, sealed=True) for day in _days(365 * self.years)[:-kept]]
        yield from (sealed[start : start + RANGE] for start in range(0, len(sealed), RANGE))
        for day in _days(kept):
            token = digest(Piece(partition=_partition(day), start=None, end=None))
            yield [_window(rollup, day, token, sealed=False)]


def _days(count: int) -> list[int]:
    return [TODAY - number * DAY_MS for number in range(count, 0, -1)]


def _partition(start: int) -> Partition:
    return Partition(values=(start,), ident=str(start), rows=1000, size=10_000, token=str(start))


def _window(rollup: Rollup, day: int, token: str, sealed: bool) -> LedgerRow:
    end = day + DAY_MS
    about = {"start": day, "end": end, "until": end, "whole": True, "below": rollup.below}
    return LedgerRow(**about, token=token, rows=1000, groups=24, sealed=sealed)  # type: ignore[arg-type]


def _fill(uri: str, history: History) -> RollupStore:
    """A store with all rollups and their windows, as runs would have left them: those of one table, and copies."""
    retention = Retention(uri, f"history_{history.years}", create=True)
    retention.setup(journal_policy=False)
    database, own, store = retention.engine.database, retention.store.tables, retention.store.rollups
    rows = list[dict[str, object]]()
    for rollup, kept in zip(history.rollups, (KEPT, 26, 27), strict=False):
        store.register(rollup, "forever", history.policies[0].id)
        for windows in history.windows(rollup, kept):
            about = {"sealed_at": NOW if windows[0].sealed else None, "computed_at": NOW, "whole": True}
            names = {**name_values(rollup.table), **name_values(rollup.below, "beneath")}
            rows.append({**names, **about, "start": windows[0].start, **range_values(windows)})
    database.execute(sa.insert(own.ledger), rows)
    retention.store.refresh()
    _copy(database, own.rollup)
    _copy(database, own.ledger)
    retention.store.refresh()
    views = _planning(store, history).plan()
    for step in (step for task in views.tasks for step in task.steps):
        assert isinstance(step, ReplaceView), step
        store.set_view(step.rollup, step.parts)
    database.refresh(own.rollup)
    planning = _planning(store, history)
    assert not planning.plan().tasks
    store.rest(planning.rests)  # As a run would.
    database.refresh(own.rollup)
    return store


def _copy(database: Database, own: sa.Table) -> None:
    """Copy the rows of the first table for all others."""
    texts = {"table_name", "source_name", "beneath_name", "definition", "definition_long"}
    columns = [database.quote(column.name) for column in own.c]
    values = [
        f"replace({database.quote(column.name)}, 'raw_0000', 'raw_' || lpad(CAST(n AS TEXT), 4, '0'))"
        if column.name in texts
        else database.quote(column.name)
        for column in own.c
    ]
    numbers = f"(SELECT generate_series AS n FROM generate_series(1, {TABLES - 1})) AS numbers"
    name = f"{database.quote(str(own.schema))}.{database.quote(own.name)}"
    copied = f"SELECT {', '.join(values)} FROM {name}, {numbers}"
    database.execute_text(f"INSERT INTO {name} ({', '.join(columns)}) {copied}")


def _planning(store: RollupStore, history: History, at_rest: Mapping[TableName, Any] | None = None) -> Planning:
    about = {"policies": history.policies, "catalog": history.catalog, "cutoff": NOW, "at_rest": at_rest}
    return Planning(**about, ledger=store.ledger(store.all()))  # type: ignore[arg-type]
