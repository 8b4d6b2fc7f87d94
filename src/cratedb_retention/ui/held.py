"""
What is due and must not happen, as a table: of a plan, and of the timeline of a table.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from cratedb_retention.model.plan import Hold
from cratedb_retention.model.words import plural, short
from cratedb_retention.ui import links
from cratedb_retention.ui.parts import Bit, Cell, Column, state, table

_COLUMNS = (
    Column("state", "State"),
    Column("table", "Table"),
    Column("policy", "Policy"),
    Column("why", "Why"),
    Column("what", "What"),
)


def show_held(title: str, holds: Sequence[Hold]) -> ui.table:
    """
    Show holds, into the element that is open.

    :param title: What they are, for those who do not see the table.
    """
    rows: list[dict[str, Cell]] = [
        {
            "state": state("problem" if hold.problem else "held"),
            "table": str(hold.table),
            "policy": _policy(hold.policy_id),
            "why": hold.reason,
            "what": Bit(text=concerned(hold), tone="many"),
        }
        for hold in holds
    ]
    return table(_COLUMNS, rows, title)


def _policy(identifier: str | None) -> Cell:
    return Bit(text=short(identifier), href=links.policy(identifier), hint=identifier) if identifier else ""


def concerned(hold: Hold) -> str:
    """Which partitions a hold is about, one a line."""
    if not hold.count:
        return "the whole table"
    more = hold.count - len(hold.partitions)
    lines = [*hold.partitions, *([f"and {more:,} more"] if more > 0 else [])]
    return "\n".join(lines) if hold.partitions else plural(hold.count, "partition")
