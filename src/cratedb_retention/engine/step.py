"""The progress and the result of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cratedb_retention.model.rollups.rollup import Count, Window


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a step: units that are done, and in total, if known (rows, shards, partitions, windows)."""

    done: int
    total: int | None
    unit: str  # In the singular.


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The result of a step."""

    rows: int | None = None  # Removed, archived, moved or rolled up; None if unknown.
    partitions: int = 0
    size: int | None = None  # Bytes, if known.
    windows: Mapping[Window, Count] = field(default_factory=dict)  # The content of each window of a rollup.


Report = Callable[[Progress], None]
