"""The existing rollups: the levels of cascades, and their views."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.errors import Conflict
from cratedb_retention.model.catalog import Column, Kind, TableName, TimeUnit
from cratedb_retention.model.rollups.aggregates import Aggregate
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.ledger import KnownRollup, Ledger, Rest, Windows
from cratedb_retention.model.rollups.rollup import Metric, Rollup, Series, ViewPart
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.store.rollups.windows import WindowStore, read_windows
from cratedb_retention.store.rows import is_named, name_values, read_text, same, text_values


@dataclass(frozen=True, kw_only=True)
class LevelState:
    """The progress of a level: all buckets that end at or before ``until`` are computed."""

    table: TableName
    interval: str
    policy_id: str | None
    until: dt.datetime | None


class RollupStore(WindowStore):
    """Stores rollups and, in the table of its base class, the ledger of their windows."""

    def __init__(self, rollup: sa.Table, *records: Any) -> None:
        super().__init__(*records)
        self._rollup = rollup

    def all(self, refresh: bool = True) -> dict[TableName, KnownRollup]:
        """The rollups by the level's table; :meth:`Store.refresh` makes the refresh here unnecessary."""
        if refresh:
            self._database.refresh(self._rollup)
        return {known.rollup.table: known for known in map(_known, self._database.query(sa.select(self._rollup)))}

    def level_states(self) -> list[LevelState]:
        self._database.refresh(self._rollup, self._table)
        r, w = self._rollup.c, self._table.c
        newest = sa.select(w.table_schema, w.table_name, sa.func.max(w.until)).group_by(w.table_schema, w.table_name)
        until = {TableName(*name): from_ms(last) for *name, last in self._database.rows(newest)}
        levels = sa.select(r.interval, r.policy_id, r.table_schema, r.table_name)
        return [
            LevelState(table=TableName(*name), interval=interval, policy_id=policy, until=until.get(TableName(*name)))
            for interval, policy, *name in self._database.rows(levels.order_by(r.table_schema, r.table_name))
        ]

    def spans(self, rollups: Mapping[TableName, KnownRollup]) -> dict[TableName, tuple[int, int]]:
        """The time range of each level's rows (ms, UTC), which the database finds in the ledger; visible rows only."""
        w, found = self._table.c, dict[TableName, tuple[int, int]]()
        ends = (sa.func.min(w.start), sa.func.max(w.until))
        held = sa.select(w.table_schema, w.table_name, *ends).where(w.groups > 0)
        query = held.group_by(w.table_schema, w.table_name)
        for schema, name, start, end in self._database.rows(query) if rollups else ():
            known = rollups.get(TableName(schema, name))
            since = max(start, (known.gone if known else None) or start)
            if since < end:
                found[TableName(schema, name)] = since, end
        return found

    def ledger(self, rollups: Mapping[TableName, KnownRollup], refresh: bool = True) -> Ledger:
        """The rollups, and their windows as they are asked for."""
        if rollups and refresh:
            self._visible()

        def read(tables: Sequence[TableName]) -> Mapping[TableName, Windows]:
            some = None if len(tables) == len(rollups) else tables
            return dict(read_windows(self._database, self._table, some))

        return Ledger(rollups, {}, read)

    def register(
        self, rollup: Rollup, retention_period: str, policy_id: str | None, identity: str = "", new: bool = False
    ) -> None:
        """
        Record a rollup that is about to be created or changed, with the identity of the table with the raw rows.

        :param new: Whether it is most likely not recorded yet.
        """
        self._put(
            rollup.table,
            new,
            **name_values(rollup.source, "source"),
            **text_values("definition", _rollup_to_text(rollup)),
            interval=str(rollup.interval),
            retention_period=retention_period,
            policy_id=policy_id,
            source_identity=identity or None,
        )

    def set_view(self, rollup: Rollup, parts: Sequence[ViewPart] = (), mark: str = "") -> None:
        """Record the parts of the view at the finest level: before its creation without a mark, then with it."""
        own = self._rollup
        listed = [[*part.table, part.interval, part.start, part.end] for part in parts]
        self._put(rollup.table, view=json.dumps({"parts": listed, "mark": mark}))
        if mark:
            self._database.refresh(own)
            # Records at other levels of the cascade are out of date.
            others = (is_named(own, rollup.source, "source"), sa.not_(is_named(own, rollup.table)))
            self._database.execute(sa.update(own).where(*others, own.c.view.is_not(None)).values(view=None))

    def set_gone(self, table: TableName, until: int) -> None:
        """Record that rows of a level before an instant (ms, UTC) are about to expire."""
        self._put(table, gone_until=until)

    def forget(self, table: TableName) -> None:
        self._database.refresh(self._rollup, self._table)
        for own in (self._table, self._rollup):
            self._database.execute(sa.delete(own).where(is_named(own, table)))

    def rest(self, rests: Mapping[TableName, Rest]) -> None:
        """Record cascades at rest, at their finest levels."""
        own = self._rollup
        mine = (own.c.table_schema == sa.bindparam("schema"), own.c.table_name == sa.bindparam("name"))
        resting = sa.update(own).where(*mine).values(at_rest=sa.bindparam("rest"))
        rows = [
            {"schema": table.schema, "name": table.name, "rest": json.dumps(asdict(rest), separators=(",", ":"))}
            for table, rest in rests.items()
        ]
        self._database.execute_each(resting, rows)

    def _put(self, table: TableName, new: bool = False, **values: Any) -> None:
        values["changed_at"] = self._clock.now()
        changing = sa.update(self._rollup).where(is_named(self._rollup, table)).values(**values)
        if not new and self._database.execute(changing) == 1:
            return
        try:
            self._database.execute(sa.insert(self._rollup).values(**name_values(table), **values))
        except Conflict:  # The row exists; it was not visible yet, or a killed run added it.
            self._database.execute(changing)


def _known(row: Mapping[str, Any]) -> KnownRollup:
    view = json.loads(row["view"] or '{"parts": [], "mark": null}')
    # Older releases wrote only the parts.
    parts, mark = (view, "") if isinstance(view, list) else (view["parts"], view["mark"])
    return KnownRollup(
        rollup=_rollup(row),
        policy_id=row["policy_id"],
        view=tuple(ViewPart(table=TableName(s, n), interval=i, start=a, end=b) for s, n, i, a, b in parts),
        view_mark=mark,
        gone=row["gone_until"],
        identity=row["source_identity"] or "",
        changed=None if row["changed_at"] is None else to_ms(row["changed_at"]),
        rest=_rest(row["at_rest"]),
    )


def _rest(text: str | None) -> Rest | None:
    if not text:
        return None
    found = json.loads(text)
    tables = tuple((TableName(*name), partitions, due) for name, partitions, due in found.pop("tables"))
    return Rest(**found, tables=tables)


def _rollup_to_text(rollup: Rollup) -> str:
    intervals = {name: getattr(rollup, name) for name in ("interval", "partition", "window")}
    # Few rollups have fields of structs, or metrics that are counters in some series only.
    columns = (rollup.time, *rollup.dimensions, *(metric.column for metric in rollup.metrics))
    paths = {column.name: column.path for column in columns if column.path}
    within = {m.column.name: [[p.dimension.name, p.pattern] for p in m.within] for m in rollup.metrics if m.within}
    data = {
        "beneath": rollup.below,
        "time": _column(rollup.time),
        "time_unit": rollup.time.unit,
        "dimensions": list(map(_column, rollup.dimensions)),
        "metrics": [[*_column(metric.column), metric.aggregates] for metric in rollup.metrics],
        **{name: [one.seconds, one.unit] if one else None for name, one in intervals.items()},
        **same(rollup, ("zone", "window_zone")),
        **({"paths": paths} if paths else {}),
        **({"within": within} if within else {}),
    }
    return json.dumps(data, ensure_ascii=False)


def _column(column: Column) -> list[str | None]:
    return [column.name, column.type, column.kind, column.expression]


def _rollup(row: Mapping[str, Any]) -> Rollup:
    data = json.loads(read_text(row, "definition"))
    paths, within = data.get("paths", {}), data.get("within", {})

    def column(parts: Sequence[Any]) -> Column:
        name, type_, kind, expression = parts
        path = tuple(paths.get(name, ()))
        return Column(name=name, type=type_, kind=Kind(kind), expression=expression, path=path)

    def metric(parts: Sequence[Any]) -> Metric:
        patterns = tuple(Series(dimensions[name], pattern) for name, pattern in within.get(parts[0], ()))
        return Metric(column(parts[:4]), tuple(map(Aggregate, parts[4])), patterns)

    dimensions = {parts[0]: column(parts) for parts in data["dimensions"]}
    return Rollup(
        source=TableName(row["source_schema"], row["source_name"]),
        below=TableName(*data["beneath"]),
        table=TableName(row["table_schema"], row["table_name"]),
        time=replace(column(data["time"]), unit=TimeUnit(unit) if (unit := data.get("time_unit")) else None),
        dimensions=tuple(dimensions.values()),
        metrics=tuple(map(metric, data["metrics"])),
        zone=data["zone"],
        window_zone=data["window_zone"],
        interval=Interval(*data["interval"]),
        **{name: Interval(*data[name]) if data[name] else None for name in ("partition", "window")},
    )
