"""
Rollups, views and windows as rows of the toolkit's tables, and back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cratedb_retention.model.aggregates import Aggregate
from cratedb_retention.model.cascade import Interval
from cratedb_retention.model.catalog import Column, Kind, TableName, TimeUnit
from cratedb_retention.model.rollup import LedgerRow, Metric, Rollup, SeriesPattern, ViewPart
from cratedb_retention.model.time import to_ms
from cratedb_retention.store.texts import read_text


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
