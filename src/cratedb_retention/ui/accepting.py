"""
A table that was dropped and created again, or restored or copied: what is known of the earlier one, and how to take the
present one for that.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.execution.accepting import Earlier
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.words import plural
from cratedb_retention.ui import links
from cratedb_retention.ui.agreeing import confirmed
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.parts import button, go, heading, note

_EFFECT = (
    "What is known of the earlier table counts for this one from now on: {found}. Rows of a time that was rolled up "
    "and expired count as late; a policy with late: drop deletes them."
)


def known(earlier: Earlier) -> str:
    """What is known of the earlier table, in words."""
    counts = {"rollup": earlier.rollups, "snapshot": earlier.snapshots, "hold": earlier.holds}
    return ", ".join(plural(count, word) for word, count in counts.items() if count)


def offer(guest: Guest, table: TableName, earlier: Earlier) -> None:
    """Offer to take a table for the earlier one of its name."""

    async def accept() -> None:
        effect = _EFFECT.format(found=known(earlier))
        if await confirmed("Take this table for the earlier one?", effect, str(table), "Accept the table"):
            await guest.ask(lambda scope: scope.accept_tables(table.name, table.schema))
            go(links.timeline(table.schema, table.name))

    heading("Another table of this name")
    note(f"{known(earlier)} of an earlier table with this name. If they belong together, accept the table.")
    with ui.element("div").classes("bar"):
        button("Accept this table …", accept)
