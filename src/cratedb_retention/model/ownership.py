"""
How what the toolkit made is told from what has the same name: the tables of levels by columns that no other table has,
the view by what it was when it was made. Whatever is not surely the toolkit's own is neither written to, nor replaced,
nor dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cratedb_retention.model.catalog import TableName, View
from cratedb_retention.model.rollup import (
    ROW_COUNT,
    SKETCH_BIN,
    SKETCH_COUNT,
    SKETCH_METRIC,
    SKETCH_SIGN,
    VERSION,
    Rollup,
    label,
    level_column,
)


def is_own_table(rollup: Rollup, table: TableName, columns: Collection[str]) -> bool:
    """
    Whether a table with these columns is the one that the toolkit made for a level.

    :param table: The level's own table, or that with its distributions.
    """
    own = {SKETCH_METRIC, SKETCH_SIGN, SKETCH_BIN, SKETCH_COUNT} if table == rollup.sketch else {ROW_COUNT}
    return {rollup.time_name, VERSION, *own} <= set(columns)


def is_own_view(view: View, time: str, tables: Collection[TableName], marks: Sequence[str]) -> bool:
    """
    Whether a view is the one that the toolkit made over a cascade.

    :param time: The source's time column.
    :param tables: The source and the levels.
    :param marks: Of the views that it made; where one says nothing of this release of the database, the form decides.
    """
    if view.mark in marks:
        return True
    unsure = any(not mark or mark.partition(":")[0] != view.release for mark in marks)
    return unsure and _has_the_form(view, time, tables)


def _has_the_form(view: View, time: str, tables: Collection[TableName]) -> bool:
    if len(view.columns) < 3:
        return False
    first, *others, rows, level = view.columns
    fits = (first, rows, level) == (label(time), ROW_COUNT, level_column([first, *others]))
    return fits and any(table.name in view.definition for table in tables)
