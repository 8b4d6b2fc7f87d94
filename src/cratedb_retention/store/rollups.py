"""
Which rollups exist, and the ledger of their windows.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.model.aggregates import Aggregate
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, Kind, TableName, TimeUnit
from cratedb_retention.model.rollup import (
    KnownRollup,
    Ledger,
    LedgerRow,
    Metric,
    RolledUp,
    Rollup,
    SeriesPattern,
    ViewPart,
)
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.store.rows import read_text, text_values
from cratedb_retention.store.tables import Tables


class RollupStore:
    """Remembers rollups and their windows."""

    def __init__(self, database: Database, rollup: sa.Table, ledger: sa.Table, clock: Clock) -> None:
        self._database, self._rollup, self._ledger, self._clock = database, rollup, ledger, clock

    def all(self, refresh: bool = True) -> dict[TableName, KnownRollup]:
        """The rollups, by the level's table; see :meth:`Store.refresh` for doing without."""
        if refresh:
            self._database.refresh(self._rollup)
        found = {}
        for row in self._database.query(sa.select(self._rollup)):
            rollup = row_to_rollup(row)
            gone = None if row["gone_until"] is None else to_ms(row["gone_until"])
            view, mark = text_to_view(row["view"])
            identity = row["source_identity"] or ""
            found[rollup.table] = KnownRollup(
                rollup=rollup,
                retention_period=row["retention_period"],
                policy_id=row["policy_id"],
                view=view,
                view_mark=mark,
                gone=gone,
                identity=identity,
            )
        return found

    def ledger(self, rollups: Mapping[TableName, KnownRollup], refresh: bool = True) -> Ledger:
        """The rollups together with their windows."""
        if not rollups:
            return Ledger()
        if refresh:
            self._database.refresh(self._ledger)
        windows: dict[TableName, dict[int, LedgerRow]] = defaultdict(dict)
        for row in self._database.query(sa.select(self._ledger)):
            window = row_to_window(row)
            windows[TableName(row["table_schema"], row["table_name"])][window.start] = window
        return Ledger(rollups, windows)

    def register(self, rollup: Rollup, retention_period: str, policy_id: str | None, identity: str = "") -> None:
        """
        Note a rollup that is about to be created, or whose definition changed.

        :param identity: That of the table with the raw rows, if it is known.
        """
        values = {
            "source_schema": rollup.source.schema,
            "source_name": rollup.source.name,
            "interval": str(rollup.interval),
            "retention_period": retention_period,
            "policy_id": policy_id,
            **text_values("definition", rollup_to_text(rollup)),
            "changed_at": self._clock.now(),
            "source_identity": identity or None,
        }
        self._put(self._rollup, _key(rollup.table), values)

    def set_view(self, rollup: Rollup, parts: Sequence[ViewPart] = (), mark: str = "") -> None:
        """
        Note what the view consists of, with the finest level; first that it is about to be made, without a mark.

        :param rollup: The finest level. What is noted of the view with others of its cascade is out of date.
        """
        c, values = self._rollup.c, {"view": view_to_text(parts, mark), "changed_at": self._clock.now()}
        self._put(self._rollup, _key(rollup.table), values)
        if mark:
            self._database.refresh(self._rollup)
            of_others = sa.not_(sa.and_(c.table_schema == rollup.table.schema, c.table_name == rollup.table.name))
            mine = (c.source_schema == rollup.source.schema, c.source_name == rollup.source.name)
            stale = sa.update(self._rollup).where(*mine, of_others, c.view.is_not(None))
            self._database.execute(stale.values(view=None))

    def set_gone(self, table: TableName, until: int) -> None:
        """
        Note that rows of a level are about to expire.

        :param until: Those before this instant (ms, UTC).
        """
        self._put(self._rollup, _key(table), {"gone_until": from_ms(until), "changed_at": self._clock.now()})

    def record(
        self,
        rollup: Rollup,
        results: Iterable[RolledUp],
        tokens: Mapping[int, str],
        parts: Mapping[int, str],
        run_id: str,
    ) -> None:
        """
        Note that windows were computed. Killed in the middle, it leaves windows out, which are computed again.

        A window with nothing beneath it is noted only if it is known, so that what is known of it is not what was there
        once.

        :param results: Whole windows, and open ones up to where they are computed.
        :param tokens: The change tokens that were read before, by the window's start. One that was written to only
            later has none; it gets one that fits nothing.
        :param parts: The same of the parts of open windows.
        """
        results = list(results)
        before = self.windows(rollup.table, [result.window.start for result in results])
        rows = [
            self._row(rollup, result, tokens.get(start, ""), parts.get(start), run_id)
            for result in results
            for start in [result.window.start]
            if start in tokens or start in before or result.source_rows
        ]
        if before:
            self._database.execute(sa.delete(self._ledger).where(*self._within(rollup.table, before)))
        if rows:
            self._database.execute(sa.insert(self._ledger), rows)

    def _row(self, rollup: Rollup, result: RolledUp, token: str, parts: str | None, run_id: str) -> dict[str, Any]:
        window = result.window
        return {
            **_key(rollup.table),
            "start": from_ms(window.start),
            "end": from_ms(window.end),
            "until": from_ms(window.until),
            "whole": window.whole,
            "beneath_schema": rollup.beneath.schema,
            "beneath_name": rollup.beneath.name,
            **text_values("token", token),
            **text_values("parts", parts or None),
            "rows": result.source_rows,
            "groups": result.groups,
            "computed_at": self._clock.now(),
            "run_id": run_id,
        }

    def seal(self, table: TableName, starts: Iterable[int]) -> None:
        """Note that the source of windows is about to go (law 4)."""
        self._mark(table, starts, self._ledger.c.sealed_at)

    def expire(self, table: TableName, starts: Iterable[int]) -> None:
        """Note that the rows beneath windows were deleted."""
        self._mark(table, starts, self._ledger.c.expired_at)

    def doubt(self, table: TableName, starts: Iterable[int]) -> None:
        """Note that windows are not what they were computed to be, so that the next run computes them again."""
        self._database.refresh(self._ledger)
        doubtful = sa.update(self._ledger).where(*self._within(table, starts))
        self._database.execute(doubtful.values(**text_values("token", "")))

    def rebase(self, rollup: Rollup, before: int) -> None:
        """
        Seal the windows of a level that begin before an instant, and doubt the others, which are computed anew.

        :param before: ms, UTC.
        """
        c, limit = self._ledger.c, from_ms(before)
        self._database.refresh(self._ledger)
        mine = (c.table_schema == rollup.table.schema, c.table_name == rollup.table.name)
        sealing = sa.update(self._ledger).where(*mine, c.start < limit, c.sealed_at.is_(None))
        self._database.execute(sealing.values(sealed_at=self._clock.now()))
        beneath = {"beneath_schema": rollup.beneath.schema, "beneath_name": rollup.beneath.name}
        doubtful = sa.update(self._ledger).where(*mine, c.start >= limit, c.sealed_at.is_(None))
        self._database.execute(doubtful.values(**text_values("token", ""), **text_values("parts", None), **beneath))

    def forget(self, table: TableName) -> None:
        """Forget a level and its windows."""
        self._database.refresh(self._rollup, self._ledger)
        for own in (self._ledger, self._rollup):
            mine = (own.c.table_schema == table.schema, own.c.table_name == table.name)
            self._database.execute(sa.delete(own).where(*mine))

    def _mark(self, table: TableName, starts: Iterable[int], column: sa.Column[Any]) -> None:
        starts = list(starts)
        if starts:
            self._database.refresh(self._ledger)
            statement = sa.update(self._ledger).where(*self._within(table, starts), column.is_(None))
            self._database.execute(statement.values({column.name: self._clock.now()}))

    def windows(self, table: TableName, starts: Iterable[int]) -> dict[int, LedgerRow]:
        """Some windows of a level as they are now, by start."""
        self._database.refresh(self._ledger)
        rows = self._database.query(sa.select(self._ledger).where(*self._within(table, starts)))
        return {window.start: window for window in map(row_to_window, rows)}

    def _within(self, table: TableName, starts: Iterable[int]) -> list[sa.ColumnElement[bool]]:
        c = self._ledger.c
        instants = [from_ms(start) for start in starts]
        return [c.table_schema == table.schema, c.table_name == table.name, c.start.in_(instants)]

    def _put(self, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Change a row, or add it if there is none."""
        where = [table.c[name] == value for name, value in key.items()]
        if self._database.execute(sa.update(table).where(*where).values(**values)) == 1:
            return
        try:
            self._database.execute(sa.insert(table).values(**key, **values))
        except Conflict:  # It was there, and not yet visible.
            self._database.execute(sa.update(table).where(*where).values(**values))


def _key(table: TableName) -> dict[str, str]:
    return {"table_schema": table.schema, "table_name": table.name}


def rollup_to_text(rollup: Rollup) -> str:
    """A rollup as JSON."""
    return json.dumps(
        {
            "beneath": list(rollup.beneath),
            "time": _column(rollup.time),
            "time_unit": rollup.time.unit,
            "dimensions": [_column(column) for column in rollup.dimensions],
            "metrics": [[*_column(metric.column), list(map(str, metric.aggregates))] for metric in rollup.metrics],
            "interval": _interval(rollup.interval),
            "zone": rollup.zone,
            "partition": _interval(rollup.partition) if rollup.partition else None,
            "window": _interval(rollup.window) if rollup.window else None,
            "window_zone": rollup.window_zone,
            **_few(rollup),
        },
        ensure_ascii=False,
    )


def _few(rollup: Rollup) -> dict[str, Any]:
    """What only few rollups have: fields of structs, and metrics that are counters in some series."""
    columns = (rollup.time, *rollup.dimensions, *(metric.column for metric in rollup.metrics))
    paths = {column.name: column.path for column in columns if column.path}
    within = {m.column.name: [[p.dimension.name, p.pattern] for p in m.within] for m in rollup.metrics if m.within}
    return {**({"paths": paths} if paths else {}), **({"within": within} if within else {})}


def row_to_rollup(row: Mapping[str, Any]) -> Rollup:
    """The rollup of a row of the table ``rollup``."""
    data = json.loads(read_text(row, "definition"))
    paths, within = data.get("paths", {}), data.get("within", {})

    def column(parts: Sequence[Any]) -> Column:
        return replace(_to_column(parts), path=tuple(paths.get(parts[0], ())))

    dimensions = tuple(map(column, data["dimensions"]))
    by_name = {dimension.name: dimension for dimension in dimensions}

    def metric(parts: Sequence[Any]) -> Metric:
        patterns = tuple(SeriesPattern(by_name[name], pattern) for name, pattern in within.get(parts[0], ()))
        return Metric(column(parts[:4]), tuple(map(Aggregate, parts[4])), patterns)

    return Rollup(
        source=TableName(row["source_schema"], row["source_name"]),
        beneath=TableName(*data["beneath"]),
        table=TableName(row["table_schema"], row["table_name"]),
        interval=Interval(*data["interval"]),
        time=replace(column(data["time"]), unit=TimeUnit(unit) if (unit := data.get("time_unit")) else None),
        dimensions=dimensions,
        metrics=tuple(map(metric, data["metrics"])),
        zone=data["zone"],
        partition=Interval(*data["partition"]) if data["partition"] else None,
        window=Interval(*data["window"]) if data["window"] else None,
        window_zone=data["window_zone"],
    )


def view_to_text(parts: Sequence[ViewPart], mark: str) -> str:
    """The parts of a view and its mark as JSON."""
    listed = [[*part.table, part.interval, part.start, part.end] for part in parts]
    return json.dumps({"parts": listed, "mark": mark})


def text_to_view(text: str | None) -> tuple[tuple[ViewPart, ...], str | None]:
    """The parts of a view and its mark, which is not in what older releases wrote; None: there is no view."""
    if text is None:
        return (), None
    data = json.loads(text)
    parts, mark = (data, "") if isinstance(data, list) else (data["parts"], data["mark"])
    return tuple(
        ViewPart(table=TableName(s, n), interval=interval, start=a, end=b) for s, n, interval, a, b in parts
    ), mark


def row_to_window(row: Mapping[str, Any]) -> LedgerRow:
    """A row of the ledger."""
    return LedgerRow(
        start=to_ms(row["start"]),
        end=to_ms(row["end"]),
        until=to_ms(row["until"]),
        whole=bool(row["whole"]),
        beneath=TableName(row["beneath_schema"], row["beneath_name"]),
        token=read_text(row, "token"),
        rows=row["rows"] or 0,
        groups=row["groups"] or 0,
        sealed=row["sealed_at"] is not None,
        expired=row["expired_at"] is not None,
        parts=read_text(row, "parts") or "",
    )


def _interval(interval: Interval) -> list[int | str]:
    return [interval.seconds, interval.unit]


def _column(column: Column) -> list[str | None]:
    return [column.name, column.type, str(column.kind), column.expression]


def _to_column(parts: Sequence[Any]) -> Column:
    name, data_type, kind, expression = parts
    return Column(name=name, type=data_type, kind=Kind(kind), expression=expression)


@dataclass(frozen=True, kw_only=True)
class LevelState:
    """How far a level of a cascade is: all buckets that end at or before ``until`` are computed."""

    table: TableName
    interval: str
    policy_id: str | None
    until: dt.datetime | None


def level_states(database: Database, tables: Tables) -> list[LevelState]:
    """How far each level is, in two statements."""
    database.refresh(tables.rollup, tables.ledger)
    r, w = tables.rollup.c, tables.ledger.c
    newest = sa.select(w.table_schema, w.table_name, sa.func.max(w.until).label("until"))
    rows = database.query(newest.group_by(w.table_schema, w.table_name))
    until = {(row["table_schema"], row["table_name"]): row["until"] for row in rows}
    statement = sa.select(r.table_schema, r.table_name, r.interval, r.policy_id)
    return [
        LevelState(
            table=TableName(row["table_schema"], row["table_name"]),
            interval=row["interval"],
            policy_id=row["policy_id"],
            until=until.get((row["table_schema"], row["table_name"])),
        )
        for row in database.query(statement.order_by(r.table_schema, r.table_name))
    ]
