"""
The numbers of the page "Explore" as a table, for those who do not see the chart.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from nicegui import ui

from cratedb_retention.model import words
from cratedb_retention.model.reading import Cell, Fetched
from cratedb_retention.ui.parts import Column, note, table

MOST_ROWS = 1000


class Numbers:
    """A table under an expansion, which is filled when somebody opens it."""

    def __init__(self) -> None:
        self._fetched: Fetched | None = None
        self.element = ui.expansion("The numbers as a table", on_value_change=self._fill).classes("card")

    def show(self, fetched: Fetched) -> None:
        """Show other numbers."""
        self._fetched = fetched
        self._fill()

    def _fill(self) -> None:
        self.element.clear()
        if self.element.value and self._fetched is not None:
            with self.element:
                _table(self._fetched)


def _table(fetched: Fetched) -> None:
    known = [row for row in fetched.rows if row[-1] is not None]
    if len(known) > MOST_ROWS:
        note(f"The first {MOST_ROWS:,} of {len(known):,} rows; the download has all.")
    columns = [
        Column(f"c{i}", f"{name} (UTC)" if i == 0 else name, right=fetched.keys < i < len(fetched.columns) - 1)
        for i, name in enumerate(fetched.columns)
    ]
    rows = [{f"c{i}": _text(cell) for i, cell in enumerate(row)} for row in known[:MOST_ROWS]]
    order = [
        {f"c{i}": float(cell) for i, cell in enumerate(row) if isinstance(cell, int | float | Decimal)}
        for row in known[:MOST_ROWS]
    ]
    table(columns, rows, "The numbers of the chart", order)


def _text(cell: Cell) -> str:
    if isinstance(cell, dt.datetime):
        return words.exact(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return "NULL" if cell is None else str(cell)
    return f"{cell:,.6g}" if isinstance(cell, float) else f"{cell:,f}" if isinstance(cell, Decimal) else f"{cell:,}"
