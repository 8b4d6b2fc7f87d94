"""Tables of pages, each column of which says what stands in it. What is from the database is text, never markup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from nicegui import ui

from cratedb_retention.ui.columns import Column, bits_of

T = TypeVar("T")
# Vue writes {{ }} as text, and never as markup.
_ROW = """
<q-tr :props="props">
  %s
  <q-td v-for="col in props.cols" :key="col.name" :props="props" :data-label="col.label"
    :class="{empty: !props.row[col.name + '_'].some(part => part.text)}">
    <div class="bits">
      <template v-for="(part, i) in props.row[col.name + '_']" :key="i">
        <a v-if="part.href" :href="part.href" :class="part.tone" :title="part.hint">{{ part.text }}</a>
        <span v-else :class="part.tone" :title="part.hint">{{ part.text }}</span>
      </template>
    </div>
  </q-td>
</q-tr>
"""
# Headings that sort by the keyboard as well, and say what is sorted how, which Quasar says by a class only; above boxes
# that choose a row there is one too.
_HEADINGS = """
<q-tr :props="props">
  %s
  <q-th v-for="col in props.cols" :key="col.name" :props="props" tabindex="0"
    :aria-sort="!/ sorted /.test(col.__thClass) ? null : / sort-desc/.test(col.__thClass) ? 'descending' : 'ascending'"
    @keydown.enter="props.sort(col)" @keydown.space.prevent="props.sort(col)">{{ col.label }}</q-th>
</q-tr>
"""
# A box that chooses a row.
_CHOICE = """
  <q-td auto-width data-label="Choose">
    <q-checkbox v-model="props.selected" dense :aria-label="'Choose ' + props.row.named" />
  </q-td>
"""
_CHOOSE_ONE = '<q-th auto-width><span class="spoken">Choose</span></q-th>'
_CHOOSE_ALL = (
    '<q-th auto-width><q-checkbox v-model="props.selected" dense aria-label="Choose all on this page" /></q-th>'
)


def table(
    columns: Sequence[Column[T]],
    items: Iterable[T],
    caption: str,
    *,
    per_page: int = 50,
    named: Callable[[T], str] | None = None,
    choose: Literal["single", "multiple"] | None = None,
) -> ui.table:
    """
    A table that can be sorted, and searched by setting its ``filter``. Screen readers say its ``caption``, and what
    each row is ``named``, which scripts find as ``props.row.named``.
    """
    rows = []
    for number, item in enumerate(items):
        row: dict[str, Any] = {"_": number, "named": named(item) if named else ""}
        for place, column in enumerate(columns):
            bits = bits_of(column.cell(item))
            row[f"c{place}_"] = [vars(bit) for bit in bits]
            row[f"c{place}"] = column.order(item) if column.order else " ".join(bit.text for bit in bits)
        rows.append(row)
    shown = [
        {"name": f"c{place}", "field": f"c{place}", "label": c.label, "align": c.align, "sortable": True}
        for place, c in enumerate(columns)
    ]
    made = ui.table(columns=shown, rows=rows, row_key="_", pagination=per_page, selection=choose)
    made.props("flat wrap-cells role=region hide-selected-banner").classes("rows")
    made.props["aria-label"] = caption
    if len(rows) <= per_page:
        made.props("hide-pagination")
    made.add_slot("header", _HEADINGS % {None: "", "single": _CHOOSE_ONE, "multiple": _CHOOSE_ALL}[choose])
    made.add_slot("body", _ROW % (_CHOICE if choose else ""))
    return made
