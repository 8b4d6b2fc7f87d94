"""
Rows of a table that can be chosen, with a box in front of each.
"""

from __future__ import annotations

from nicegui import ui

# The row of parts.table with a box before it; Vue writes {{ }} as text, and never as markup.
_ROW = """
<q-tr :props="props">
  <q-td data-label="Choose">
    <q-checkbox v-model="props.selected" dense :aria-label="'Choose ' + props.row._name" />
  </q-td>
  <q-td v-for="col in props.cols" :key="col.name" :props="props" :data-label="col.label">
    <template v-for="(part, i) in props.row[col.name + '_']" :key="i">
      <a v-if="part.href" :href="part.href" :class="part.tone" :title="part.hint">{{ part.text }}</a>
      <span v-else :class="part.tone" :title="part.hint">{{ part.text }}</span>
    </template>
  </q-td>
</q-tr>
"""
_HEAD = '<q-checkbox v-model="props.selected" dense aria-label="Choose all on this page" />'


def choosable(table: ui.table) -> None:
    """Let rows of a table from :func:`parts.table` be chosen; their key ``_name`` says what each is."""
    table.set_selection("multiple")
    table.add_slot("body", _ROW)
    table.add_slot("header-selection", _HEAD)


def chosen(table: ui.table) -> list[int]:
    """The numbers of the chosen rows, counted from 0 as they were given."""
    return sorted(int(row["_"]) for row in table.selected)
