"""
Rows of a table that can be chosen, with a box in front of each.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.ui.parts import CHOICE, headings, row_slot

_ALL = '<q-th auto-width><q-checkbox v-model="props.selected" dense aria-label="Choose all on this page" /></q-th>'


def choosable(table: ui.table) -> None:
    """Let rows of a table from :func:`parts.table` be chosen; their key ``name_of_row_`` says what each is."""
    table.set_selection("multiple")
    table.add_slot("body", row_slot(CHOICE))
    table.add_slot("header", headings(_ALL))


def chosen(table: ui.table) -> list[int]:
    """The numbers of the chosen rows, counted from 0 as they were given."""
    return sorted(int(row["_"]) for row in table.selected)
