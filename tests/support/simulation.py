"""
A simulated database: tables as counts of rows per hour, on which plans of cascades are executed as the runner and an
engine would, so that years of runs take a moment.
"""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from cratedb_retention.model.catalog import Catalog, Kind, Partition, Table, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Measurements, WindowRows
from cratedb_retention.model.plan.plan import DeleteRows, DropPartitions, Plan, Task
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.ledger import KnownRollup, Ledger, LedgerRow, Windows
from cratedb_retention.model.rollups.rollup import (
    PARTITION,
    CreateRollup,
    RebaseRollup,
    ReplaceView,
    RollUp,
    Rollup,
    SealWindows,
    ViewPart,
    Window,
    level_table,
)
from cratedb_retention.model.step import Piece
from cratedb_retention.planning.pieces import make_pieces
from cratedb_retention.planning.rollups.cascades import below_as_target
from cratedb_retention.planning.rollups.windows import OpenWindow, WindowGrid, digest, sources_of_windows
from support.catalogs import METRICS, TENANT, TS, VALUE, catalog, column
from support.planning import find_probes, make_plan

HOUR, DAY = 3_600_000, 86_400_000


class BrokenLaw(AssertionError):
    """A law was broken."""


class Deferred(Exception):
    """What is about to go is not what was rolled up, as a run would find out as well."""


@dataclass(kw_only=True)
class SimulatedDatabase:
    """
    A table of raw rows, the rollups of it, and the ledger.

    :param raw: How many rows each tenant has in each hour (ms, UTC).
    :param unit: How the raw table is partitioned: ``hour``, ``day``, ``month``; empty: not at all.
    :param holds: Those in force.
    """

    policies: list[Policy]
    holds: Sequence[LegalHold] = ()
    unit: str = "day"
    tenants: bool = False
    raw: dict[tuple[str, int], int] = field(default_factory=dict)
    levels: dict[TableName, dict[tuple[str, int], int]] = field(default_factory=dict)
    known: dict[TableName, KnownRollup] = field(default_factory=dict)
    windows: dict[TableName, dict[int, LedgerRow]] = field(default_factory=dict)
    versions: dict[tuple[TableName, object], int] = field(default_factory=dict)
    written: int = 0

    def write(self, at: int, rows: int = 1, tenant: str = "a") -> None:
        """Add rows at an instant (ms)."""
        hour = at - at % HOUR
        self.raw[tenant, hour] = self.raw.get((tenant, hour), 0) + rows
        self.written += rows
        self._touch(METRICS, tenant, hour)

    def plan(self, cutoff: dt.datetime) -> Plan:
        """What a run would do."""
        return make_plan(self.policies, **self.facts(cutoff), ledger=self.ledger)

    def facts(self, cutoff: dt.datetime) -> dict[str, Any]:
        """What a plan rests on beside policies and ledger."""
        return {
            "catalog": self.catalog,
            "cutoff": cutoff,
            "holds": self.holds,
            "measurements": self.measure(cutoff),
        }

    def run(
        self, cutoff: dt.datetime, kill_at: int | None = None, meanwhile: Callable[[int], None] = lambda number: None
    ) -> Plan:
        """
        Plan, and carry it out.

        :param kill_at: Before which instant it is killed; each step is one, and each note that rows are gone.
        :param meanwhile: What others do before each instant, except to what is frozen.
        """
        plan, number = self.plan(cutoff), 0
        for task in plan.tasks:
            works = self._works(task)
            for work in works:
                number += 1
                if number == kill_at:
                    return plan
                if work is works[0] or not self.unit:
                    meanwhile(number)
                try:
                    work()
                except Deferred:
                    break
        return plan

    def _works(self, task: Task) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        for step in task.steps:
            found.append(partial(self._perform, task, step))
            found += [partial(self._note, task)] if isinstance(step, DeleteRows) else []
        return found

    @property
    def ledger(self) -> Ledger:
        """What was rolled up so far."""
        return Ledger(dict(self.known), {table: Windows(rows.values()) for table, rows in self.windows.items()})

    def measure(self, cutoff: dt.datetime) -> Measurements:
        """Answer what the planner asks of the rows."""
        probes = find_probes(self.policies, self.catalog, cutoff, self.holds, self.ledger)
        return Measurements(windows={p: self._window_rows(p) for p in probes if isinstance(p, WindowRows)})

    def shown(self) -> int:
        """The rows that the view shows."""
        return self._count(late=False)

    def seen(self) -> int:
        """The rows that the view shows, and those that came too late for the level above and are kept."""
        return self._surplus() + self._count(late=True)

    def _count(self, late: bool) -> int:
        finest = self.known.get(level_table(METRICS, self.policies[0].levels[0].interval))
        view = (finest.view if finest else ()) or (ViewPart(table=METRICS, interval="", start=None, end=None),)
        parts = {part.table: part for part in view}
        current = {level_table(METRICS, level.interval) for policy in self.policies for level in policy.levels}
        return sum(
            count
            for table in (METRICS, *(set(self.levels) & current))
            for (tenant, hour), count in self._rows(table).items()
            if (table in parts and _is_within(parts[table], hour)) or (late and self._is_late(table, tenant, hour))
        )

    def _surplus(self) -> int:
        """Rows that came to a window without partitions after it was sealed, and before its own rows went."""
        above = [known.rollup for known in self.known.values() if known.rollup.from_raw and not self.unit]
        there = {(rollup.table, start): rows for rollup in above for start, rows, _ in self._rows_between(rollup)}
        sealed = [(r.table, row) for r in above for row in self.windows.get(r.table, {}).values() if row.sealed]
        return sum(max(0, there.get((table, row.start), 0) - row.rows) for table, row in sealed if not row.expired)

    def _rows(self, table: TableName) -> dict[tuple[str, int], int]:
        return self.raw if table == METRICS else self.levels[table]

    def _is_late(self, table: TableName, tenant: str, hour: int) -> bool:
        rollup = self.known[table].rollup if table in self.known else None
        digests = {
            piece.values: digest(Piece(partition=piece, start=None, end=None))
            for piece in self._parts_of(table, rollup)
        }
        own = digests.get(self._values(tenant, hour, rollup))  # type: ignore[arg-type]
        above = [name for name, known in self.known.items() if known.rollup.below == table]
        rows = (row for name in above for row in self.windows.get(name, {}).values() if row.start <= hour < row.end)
        return any(row.expired or (row.sealed and own is not None and own not in row.token.split()) for row in rows)

    def _parts_of(self, table: TableName, rollup: Rollup | None) -> tuple[Partition, ...]:
        return (self._raw_table() if rollup is None else self._level_table(rollup)).partitions

    @property
    def catalog(self) -> Catalog:
        """What a database would report."""
        tables = [self._raw_table(), *(self._level_table(rollup) for rollup in self._rollups())]
        found = catalog(*tables)
        return replace(found, rollups=frozenset(self.known))

    def _rollups(self) -> Iterator[Rollup]:
        for table in self.levels:
            yield self.known[table].rollup

    def _raw_table(self) -> Table:
        if not self.unit:
            return Table(name=METRICS, columns={c.name: c for c in (TS, TENANT, VALUE)}, rows=sum(self.raw.values()))
        part = column("part", expression=f"date_trunc('{self.unit}', ts)")
        by = ("tenant", "part") if self.tenants else ("part",)
        columns = {c.name: c for c in (TS, TENANT, VALUE, part)}
        return Table(
            name=METRICS, columns=columns, partitioned_by=by, partitions=tuple(self._partitions(METRICS, self.raw))
        )

    def _level_table(self, rollup: Rollup) -> Table:
        columns = {name: column(name, Kind.NUMBER) for name in rollup.columns}
        columns[rollup.time_name] = TS
        if rollup.partition is None:
            return Table(name=rollup.table, columns=columns, rows=len(self.levels[rollup.table]))
        unit = rollup.partition.unit
        columns[PARTITION] = column(PARTITION, expression=f"date_trunc('{unit}', '{rollup.zone}', ts)")
        parts = tuple(self._partitions(rollup.table, self.levels[rollup.table], rollup))
        return Table(name=rollup.table, columns=columns, partitioned_by=(PARTITION,), partitions=parts)

    def _partitions(
        self, table: TableName, rows: Mapping[tuple[str, int], int], rollup: Rollup | None = None
    ) -> Iterator[Partition]:
        groups: dict[tuple[object, ...], int] = {}
        for (tenant, hour), count in rows.items():
            values = self._values(tenant, hour, rollup)
            groups[values] = groups.get(values, 0) + count
        for values, count in sorted(groups.items(), key=str):
            token = f"v{self.versions.get((table, values), 0)}"
            yield Partition(values=values, ident=f"{table.name}{values}", rows=count, size=10 * count, token=token)  # type: ignore[arg-type]

    def _values(self, tenant: str, hour: int, rollup: Rollup | None) -> tuple[object, ...]:
        if rollup is not None and rollup.partition is not None:
            return (rollup.partition.floor(hour, rollup.tzinfo),)
        start = hour if self.unit == "hour" else Interval(unit=self.unit or "day").floor(hour)
        return (tenant, start) if self.tenants and rollup is None else (start,)

    def _touch(self, table: TableName, tenant: str, hour: int, rollup: Rollup | None = None) -> None:
        if rollup is None and not self.unit:
            return
        if rollup is not None and rollup.partition is None:
            return
        key = (table, self._values(tenant, hour, rollup))
        self.versions[key] = self.versions.get(key, 0) + 1

    def _perform(self, task: Task, step: object) -> None:
        match step:
            case CreateRollup(rollup=rollup):
                self._register(task, rollup)
                self.levels.setdefault(rollup.table, {})
            case RebaseRollup(rollup=rollup, before=before):
                rows = self.windows.get(rollup.table, {})
                kept = {s: r._replace(sealed=True) for s, r in rows.items() if s < before or r.sealed}
                self.windows[rollup.table] = kept
                self._register(task, rollup)
            case RollUp(rollup=rollup, windows=windows):
                self._register(task, rollup)
                for window, parts in zip(windows, step.parts or (None,) * len(windows), strict=True):
                    self._roll_up(rollup, window, parts)
            case SealWindows(rollup=rollup, windows=windows, idents=idents):
                self._seal(rollup, windows, set(idents))
            case DropPartitions():
                self._drop(step)
            case DeleteRows():
                self._delete(step)
            case ReplaceView():
                levels = next(p.levels for p in self.policies if p.id == task.policy_id)
                finest = level_table(METRICS, levels[0].interval)
                self.known[finest] = replace(self.known[finest], view=step.parts)
            case _:
                pass  # Freezing has no meaning here.

    def _register(self, task: Task, rollup: Rollup) -> None:
        before = self.known.get(rollup.table)
        self.known[rollup.table] = (
            replace(before, rollup=rollup) if before else KnownRollup(rollup=rollup, policy_id=task.policy_id)
        )

    def _below(self, rollup: Rollup) -> dict[tuple[str, int], int]:
        return self.raw if rollup.from_raw else self.levels.get(rollup.below, {})

    def _roll_up(self, rollup: Rollup, window: Window, parts: str | None) -> None:
        token = self._token(rollup, window)
        own = self.levels[rollup.table]
        found: dict[tuple[str, int], int] = {}
        for (tenant, hour), count in self._below(rollup).items():
            if window.since <= hour < window.until:
                bucket = rollup.interval.floor(hour, rollup.tzinfo)
                found[tenant, bucket] = found.get((tenant, bucket), 0) + count
        for key in [k for k in own if window.since <= k[1] < window.until and k not in found]:
            self._touch(rollup.table, *key, rollup)
            del own[key]
        for key, count in found.items():
            own[key] = count
            self._touch(rollup.table, *key, rollup)
        rows = self.windows.setdefault(rollup.table, {})
        before = rows.get(window.start)
        if before is not None and before.sealed:
            raise BrokenLaw(f"a sealed window of {rollup.table} was computed again")
        until = max(window.until, before.until if before and not window.whole else window.until)
        mine = [count for (_, bucket), count in own.items() if window.start <= bucket < until]
        if not window.whole and parts is None:
            present = OpenWindow(
                rollup=rollup, start=window.start, end=window.end, until=window.start, complete=until, known={}
            )
            probe = present.probe(window.start, until)
            measured = Measurements(windows={probe: self._window_rows(probe)})
            parts = replace(present, measurements=measured).parts()
        rows[window.start] = LedgerRow(
            start=window.start,
            end=window.end,
            until=until,
            whole=window.whole,
            below=rollup.below,
            token=token,
            rows=sum(mine),
            groups=len(mine),
            sealed=False,
            parts=parts or "",
        )

    def _sources(self, rollup: Rollup, windows: tuple[Window, ...]) -> dict[int, object]:
        table = self._raw_table() if rollup.from_raw else self._level_table(self.known[rollup.below].rollup)
        policy = next(p for p in self.policies if p.levels)
        target = below_as_target(policy, rollup, table)
        return dict(sources_of_windows(windows, make_pieces(table, target.grids, {})))

    def _token(self, rollup: Rollup, window: Window) -> str:
        if self._by_rows(rollup):
            return next((t for s, _, t in self._rows_between(rollup) if s == window.start), "")
        source = self._sources(rollup, (window,)).get(window.start)
        return source.token if source else ""  # type: ignore[attr-defined]

    def _by_rows(self, rollup: Rollup) -> bool:
        if rollup.from_raw:
            return not self.unit
        return self.known[rollup.below].rollup.partition is None

    def _rows_between(self, rollup: Rollup) -> list[tuple[int, int, str]]:
        grid = WindowGrid.of(rollup)
        return _by_window(self._below(rollup), grid.interval, grid.zone)

    def _window_rows(self, probe: WindowRows) -> list[tuple[int, int, str]]:
        start, end = probe.within or (-math.inf, math.inf)
        rows = {key: count for key, count in self._rows(probe.table).items() if start <= key[1] < end}
        return _by_window(rows, probe.interval, zoneinfo.ZoneInfo(probe.zone))

    def _seal(self, rollup: Rollup, windows: tuple[Window, ...], idents: set[str]) -> None:
        rows = self.windows.get(rollup.table, {})
        sources = {} if self._by_rows(rollup) else self._sources(rollup, windows)
        there = {start: token for start, _, token in self._rows_between(rollup)} if self._by_rows(rollup) else {}
        known = {window.start for window in windows}
        if any(windows[0].start <= start < windows[-1].end and start not in known for start in there):
            raise Deferred
        for window in windows:
            row = rows.get(window.start)
            if row is not None and not row.sealed and there.get(window.start, row.token) != row.token:
                raise Deferred
            if row is None or not (row.whole or row.sealed):
                raise BrokenLaw(f"{rollup.table} does not cover {window} when its source is about to go")
            source = sources.get(window.start)
            for piece in source.pieces if source else ():  # type: ignore[attr-defined]
                looked_at = piece.partition.ident in idents if idents else not row.sealed
                if looked_at and digest(piece) not in row.token.split():
                    raise Deferred
            rows[window.start] = row._replace(sealed=True)

    def _drop(self, step: DropPartitions) -> None:
        rows = self._rows(step.table)
        rollup = None if step.table == METRICS else self.known[step.table].rollup
        going = {piece.partition.values for piece in step.pieces}
        if rollup is not None:
            known = self.known[step.table]
            until = max(piece.end for piece in step.pieces if piece.end is not None)
            self.known[step.table] = replace(known, gone=max(until, known.gone or until))
        for key in [k for k in rows if self._values(*k, rollup) in going]:
            if key[1] + HOUR > step.before:
                raise BrokenLaw(f"{key} is younger than {step.before}")
            del rows[key]

    def _delete(self, step: DeleteRows) -> None:
        going = [k for k in self.raw if (step.since or 0) <= k[1] < step.before]
        if sum(self.raw[key] for key in going) > (step.rows or 0):
            raise Deferred
        for key in going:
            del self.raw[key]

    def _note(self, task: Task) -> None:
        for seal in (s for s in task.steps if isinstance(s, SealWindows)):
            rows = self.windows[seal.rollup.table]
            for window in seal.windows:
                rows[window.start] = rows[window.start]._replace(expired=True)


def _is_within(part: ViewPart, hour: int) -> bool:
    return (part.start is None or hour >= part.start) and (part.end is None or hour < part.end)


def _by_window(rows: Mapping[tuple[str, int], int], interval: Interval, zone: dt.tzinfo) -> list[tuple[int, int, str]]:
    """The start of each window, its number of rows, and a token that changes with them."""
    found: dict[int, list[tuple[str, int, int]]] = {}
    for (tenant, hour), count in sorted(rows.items()):
        found.setdefault(interval.floor(hour, zone), []).append((tenant, hour, count))
    return [
        (start, sum(c for _, _, c in own), f"{len(own)}:{sum(map(hash, own))}") for start, own in sorted(found.items())
    ]
