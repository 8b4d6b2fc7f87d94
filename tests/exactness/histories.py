"""
Random tables that are downsampled, and what happens to them: rows that are written, changed and deleted while time
goes on, and runs in between, some of which crash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

HOUR, DAY = 3_600_000, 86_400_000
Values = tuple[Any, ...]


@dataclass(frozen=True)
class Number:
    """
    A metric of a table.

    :param kind: Its type as SQL.
    :param counter: Whether its increase is kept, rather than least, greatest and sum.
    """

    name: str
    kind: str
    counter: bool = False


@dataclass(frozen=True, kw_only=True)
class Shape:
    """
    A table, and its policy.

    :param unit: Its partitions: ``hour``, ``day``, ``month``; empty: none.
    :param local: Whether the partitions follow the policy's time zone, and not UTC.
    :param by_dimension: Whether the first dimension is a partition column as well.
    :param raw: How many days raw rows are kept; None: forever.
    :param levels: Each with its interval and how many days it is kept; None: forever.
    """

    unit: str
    local: bool
    by_dimension: bool
    raw: int | None
    levels: tuple[tuple[str, int | None], ...]
    zone: str
    dimensions: tuple[str, ...]
    numbers: tuple[Number, ...]
    late: str

    @property
    def days_kept(self) -> tuple[int | None, ...]:
        """How long each table is kept, raw rows first."""
        return (self.raw, *(days for _, days in self.levels))

    @property
    def columns(self) -> dict[str, str]:
        """Dimensions and metrics with their types."""
        dimensions = {f"d{i}": kind for i, kind in enumerate(self.dimensions)}
        return dimensions | {number.name: number.kind for number in self.numbers}


@dataclass(frozen=True)
class NewRow:
    """
    A row.

    :param hours: Its age in hours; negative: it is in the future.
    :param shift: Its distance from the full hour, in ms.
    """

    hours: int
    shift: int
    values: Values


@dataclass(frozen=True)
class Edit:
    """A change of one of the rows that are there; None as values: it is deleted."""

    which: int
    values: Values | None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """
    Everything up to the end of the next run.

    :param hours: How much time goes by.
    :param amid: Rows that are written during the run, when something has just been rolled up.
    :param crash: Number of statements after which a run crashes first; None: it does not.
    :param afterwards: Rows that are written between that and the next run.
    """

    hours: int
    rows: tuple[NewRow, ...]
    edits: tuple[Edit, ...] = ()
    amid: tuple[NewRow, ...] = ()
    crash: int | None = None
    afterwards: tuple[NewRow, ...] = ()


@dataclass(frozen=True)
class History:
    """
    A table and what happens to it.

    :param start: The first instant (UTC).
    """

    shape: Shape
    start: str
    turns: tuple[Turn, ...] = field(default=())


_FOREVER = None
_CASCADES = st.sampled_from(
    [
        (2, (("1m", 3), ("1h", 8), ("1d", _FOREVER))),
        (1, (("1h", 3), ("1d", _FOREVER))),
        (3, (("1h", 10), ("1w", _FOREVER))),
        (2, (("1d", 40), ("1mo", _FOREVER))),
        (2, (("1h", _FOREVER),)),
        (_FOREVER, (("1h", _FOREVER), ("1d", _FOREVER))),
        (2, (("10s", 2), ("15m", 4), ("1mo", _FOREVER))),
        (1, (("1d", 14), ("1w", _FOREVER))),
        (2, (("6h", 4), ("1y", _FOREVER))),
    ]
)
_ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"])
# Clocks change in each of them, but for the year's end.
_STARTS = st.sampled_from(["2024-03-31T12:00", "2023-10-29T06:00", "2024-01-01T06:00", "2024-03-10T18:00"])
_KINDS: dict[str, list[Any]] = {
    "TEXT": ["a", "b", "", "1:a", None],
    "BOOLEAN": [True, False, None],
    "INTEGER": [0, -1, 2**31 - 2, None],
}
_NOT_FINITE = st.sampled_from([math.nan, math.inf, -math.inf])
_NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "DOUBLE PRECISION": st.sampled_from([None, 0.0, 0.1, -2.5, 1e300, -1e300, 1e-300, 2.0**53])
    | _NOT_FINITE
    | st.floats(-1e6, 1e6),
    # CrateDB does not take the very last ones.
    "BIGINT": st.sampled_from([None, 0, 2**53 + 1, -(2**53) - 1, 2**63 - 1000, 1000 - 2**63]) | st.integers(-99, 99),
    "INTEGER": st.sampled_from([None, 0, 2**31 - 2, 2 - 2**31]) | st.integers(-99, 99),
}
_COUNTERS: dict[str, st.SearchStrategy[Any]] = {
    "DOUBLE PRECISION": st.sampled_from([None, 0.0]) | _NOT_FINITE | st.integers(0, 99).map(float),
    "BIGINT": st.sampled_from([None, 0, 2**53 + 1, 2**62]) | st.integers(0, 99),
}
_SHIFTS = st.sampled_from([0, 0, -1, 1, 59_999, 1_800_000])
# Mostly of the last days; some are of weeks ago, and some of the future.
_AGES = st.integers(-2, 30) | st.integers(0, 100) | st.integers(0, 20 * 24)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """A table and its policy."""
    raw, levels = draw(_CASCADES)
    zone = "UTC" if levels[0][0] == "6h" else draw(_ZONES)
    unit = draw(st.sampled_from(["", "day", "day", "month", "hour"]))
    dimensions = tuple(draw(st.lists(st.sampled_from(sorted(_KINDS)), max_size=2)))
    kinds = draw(st.lists(st.sampled_from(sorted(_NUMBERS)), min_size=1, max_size=2))
    numbers = [Number(f"m{i}", kind) for i, kind in enumerate(kinds)]
    if draw(st.booleans()):
        numbers.append(Number("c", draw(st.sampled_from(sorted(_COUNTERS))), counter=True))
    return Shape(
        unit=unit,
        local=draw(st.booleans()),
        by_dimension=draw(st.booleans()) if unit and dimensions else False,
        raw=raw,
        levels=levels,
        zone=zone,
        dimensions=dimensions,
        numbers=tuple(numbers),
        late=draw(st.sampled_from(["keep", "drop"])),
    )


def _values(shape: Shape) -> st.SearchStrategy[Values]:
    dimensions = [st.sampled_from(_KINDS[kind]) for kind in shape.dimensions]
    numbers = [(_COUNTERS if number.counter else _NUMBERS)[number.kind] for number in shape.numbers]
    return st.tuples(*dimensions, *numbers)


def _turns(shape: Shape, most_rows: int, crash: st.SearchStrategy[int | None]) -> st.SearchStrategy[Turn]:
    values = _values(shape)
    row = st.builds(NewRow, _AGES, _SHIFTS, values)

    def some(most: int, what: st.SearchStrategy[Any] = row) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(what, max_size=most).map(tuple)

    edits = st.builds(Edit, st.integers(0, 99), st.none() | values)
    hours = st.integers(1, 30) | st.sampled_from([24, 48, 7 * 24])
    return st.builds(
        Turn, hours=hours, rows=some(most_rows), edits=some(2, edits), amid=some(1), crash=crash, afterwards=some(2)
    )


@st.composite
def histories(draw: st.DrawFn, most_turns: int, most_rows: int, last_statement: int) -> History:
    """
    A table and what happens to it.

    :param most_rows: In each turn.
    :param last_statement: The last statement at which runs crash.
    """
    shape = draw(shapes())
    crash = st.none() | st.integers(1, last_statement)
    turns = st.lists(_turns(shape, most_rows, crash), min_size=1, max_size=most_turns)
    return History(shape, draw(_STARTS), tuple(draw(turns)))
