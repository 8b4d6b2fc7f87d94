"""
Shows what policies that downsample found out about their tables, before anything is created.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cratedb_retention.cli.output import write_table

if TYPE_CHECKING:
    from cratedb_retention.planning.cascades import Cascade, CascadeLevel


def write_cascades(cascades: Sequence[Cascade]) -> None:
    """One line for each table: its time, dimensions, metrics, what is left out, and levels."""
    if not cascades:
        return
    rows = []
    for cascade in cascades:
        rollup = cascade.levels[0].rollup
        dimensions = ", ".join(column.name for column in rollup.dimensions)
        metrics = (f"{m.column.name}: {', '.join(m.aggregates)}" for m in rollup.metrics)
        levels = "\n".join(map(_level, cascade.levels))
        left_out = ", ".join(column.name for column in cascade.left_out)
        found = (dimensions or "none", "\n".join(metrics) or "none", left_out or "none")
        rows.append((str(cascade.source), rollup.time.name, *found, levels))
    write_table(("table", "time", "dimensions", "metrics", "left out", "levels"), rows, title="Downsampling")


def _level(level: CascadeLevel) -> str:
    kept = level.retention_period
    parts = level.rollup.partition
    partitioned = f"partitioned by {parts.unit}" if parts else "not partitioned"
    state = "" if level.table is not None else ", to be created"
    return f"{level.rollup.table.name}: {'forever' if kept.forever else f'for {kept}'}, {partitioned}{state}"
