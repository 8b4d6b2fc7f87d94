"""
The overview: what is kept where and for how long, and what happens next; what is held or failing comes first.
"""

from __future__ import annotations

from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.words import show_size
from cratedb_retention.ui import words
from cratedb_retention.ui.frame import Query
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.parts import Cell, Column, state, table

COLUMNS = (
    Column("state", "State"),
    Column("table", "Table"),
    Column("strategy", "Strategy"),
    Column("kept", "Kept for"),
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    lines, _ = await guest.ask(lambda scoped: scoped.status(Selection()))
    rows: list[dict[str, Cell]] = [
        {
            "state": state(line.state, "; ".join(hold.reason for hold in line.held)),
            "table": line.table,
            "strategy": str(line.policy.strategy),
            "kept": str(line.retention_period),
            "rows": words.count(line.rows),
            "size": show_size(line.size),
        }
        for line in lines
    ]
    table(COLUMNS, rows, "Policies and the tables that they are about")
