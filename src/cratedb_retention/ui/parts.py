"""
The parts that pages are put together from: tables, states, errors, questions.

Everything from the database is text here, never markup.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from cratedb_retention.errors import RetentionError
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.ui.links import PREFIX

# Vue writes {{ }} as text, and never as markup.
_ROW = """
<q-tr :props="props">
  %s
  <q-td v-for="col in props.cols" :key="col.name" :props="props" :data-label="col.label"
    :class="{empty: !props.row[col.name + '_'].some(part => part.text)}">
    %s
    <div v-%s class="bits">
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
_CHOOSE = '<q-th auto-width><span class="spoken">Choose</span></q-th>'
# A box that chooses a row; its label is the row's ``name_of_row_``.
CHOICE = """
  <q-td auto-width data-label="Choose">
    <q-checkbox v-model="props.selected" dense :aria-label="'Choose ' + props.row['name_of_row_']" />
  </q-td>
"""

_CHOOSE_ALL = (
    '<q-th auto-width><q-checkbox v-model="props.selected" dense aria-label="Choose all on this page" /></q-th>'
)


def headings(before: str = "") -> str:
    """
    The headings, for the slot ``header`` of a table.

    :param before: Cells before those of the columns.
    """
    return _HEADINGS % before


def row_slot(before: str = "", instead: str = "") -> str:
    """
    How a row is shown, for the slot ``body`` of a table.

    :param before: Cells before those of the columns.
    :param instead: Stands in a cell in place of its text; begins with a ``v-if``.
    """
    return _ROW % (before, instead, "else" if instead else "if='true'")


@dataclass(frozen=True, kw_only=True)
class Bit:
    """
    A piece of text in a table.

    :param href: Where it leads; made of our own paths only.
    :param tone: How it looks: ``badge is-due``, ``muted``, ``many`` (keeps line ends), ... see style.css.
    :param hint: More, for who points at it.
    """

    text: str
    href: str = ""
    tone: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Column:
    """
    A column of a table.

    :param right: Whether it holds numbers.
    """

    name: str
    label: str
    right: bool = False


Cell = str | Bit | Sequence[Bit]


@dataclass(frozen=True)
class Choice:
    """
    Lets people choose one row of a table, by mouse or keyboard.

    :param names: What each row is, for those who do not see it.
    :param chosen: Told the number of the row; None: no row is chosen any more.
    :param first: The row that is chosen to begin with.
    """

    names: Sequence[str]
    chosen: Callable[[int | None], None]
    first: int | None = None


def table(
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, Cell]],
    caption: str,
    order: Sequence[Mapping[str, Any]] = (),
    per_page: int = 50,
    choice: Choice | None = None,
) -> ui.table:
    """
    A table that can be sorted, and searched by setting its ``filter``.

    :param rows: What stands in each column, by the column's name.
    :param caption: What it is, for those who do not see it.
    :param order: What to sort each row by, by the column's name, where that is not its text.
    :param choice: Whether a row can be chosen.
    """
    order = list(order)
    found = []
    for number, row in enumerate(rows):
        data: dict[str, Any] = {"_": number}
        for column in columns:
            bits = _bits(row.get(column.name, ""))
            data[f"{column.name}_"] = [{"text": b.text, "href": b.href, "tone": b.tone, "hint": b.hint} for b in bits]
            data[column.name] = " ".join(bit.text for bit in bits)
        data.update(order[number] if number < len(order) else {})
        if choice is not None:
            data["name_of_row_"] = choice.names[number]
        found.append(data)
    shown = [
        {
            "name": c.name,
            "label": c.label,
            "field": c.name,
            "align": "right" if c.right else "left",
            "sortable": True,
        }
        for c in columns
    ]
    made = ui.table(columns=shown, rows=found, row_key="_", pagination=per_page)
    made.props("flat wrap-cells role=region").classes("rows")
    made.props["aria-label"] = caption
    if len(found) <= per_page:
        made.props("hide-pagination")
    made.add_slot("header", headings("" if choice is None else _CHOOSE))
    if choice is None:
        made.add_slot("body", row_slot())
    else:
        _offer(made, choice)
    return made


def _offer(made: ui.table, choice: Choice) -> None:
    made.selection = "single"
    made.props("hide-selected-banner")
    if choice.first is not None:
        made.selected = [made.rows[choice.first]]
    made.on_select(lambda event: choice.chosen(event.selection[0]["_"] if event.selection else None))
    made.add_slot("body", row_slot(CHOICE))


def _bits(cell: Cell) -> Sequence[Bit]:
    if isinstance(cell, str):
        return (Bit(text=cell),)
    return (cell,) if isinstance(cell, Bit) else cell


def state(word: str, hint: str = "") -> Bit:
    """A state in a word, with a colour."""
    return Bit(text=word, tone=f"badge is-{word}", hint=hint)


def show_error(error: RetentionError) -> None:
    """An error: the thing, the reason, the remedy."""
    with ui.element("div").classes("error").props("role=alert"):
        ui.label(f"{error.thing}: {error.reason}").classes("what")
        if error.remedy:
            ui.label(f"{error.remedy[0].upper()}{error.remedy[1:]}.")


def link(text: str, href: str) -> ui.element:
    """A link to a page of ours; NiceGUI's own puts the prefix before an address that has it."""
    made = ui.element("a")
    made.props["href"] = href
    with made:
        ui.label(text)
    return made


def go(href: str) -> None:
    """Go to a page of ours."""
    ui.navigate.to(href.removeprefix(PREFIX))


def note(text: str, tone: str = "note") -> ui.label:
    """A sentence for people."""
    return ui.label(text).classes(tone)


def heading(text: str) -> None:
    """A heading within the page."""
    with ui.element("h2"):
        ui.label(text)


def button(text: str, work: Callable[[], Awaitable[None] | None], tone: str = "primary", icon: str = "") -> ui.button:
    """
    A button; while its work goes on it can't be pressed again, and what goes wrong is told.

    It is not disabled meanwhile, or it would lose the focus, which dialogs give back.
    """
    busy = False

    async def pressed() -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        made.props("aria-disabled=true").classes("busy")
        try:
            with telling():
                found = work()
                if found is not None:
                    await found
        finally:
            busy = False
            if not made.is_deleted:  # Its work may have led to another page.
                made.props(remove="aria-disabled").classes(remove="busy")

    made = ui.button(text, on_click=pressed, color=tone, icon=icon or None).props("no-caps unelevated")
    return made


@contextmanager
def telling() -> Iterator[None]:
    """Tell of errors in a notice that stays until it is closed."""
    try:
        yield
    except Failed as error:
        _tell(error.error)
    except RetentionError as error:
        _tell(error)


def _tell(error: RetentionError) -> None:
    ui.notify(str(error), type="negative", timeout=0, close_button="Close", multi_line=True)


def choosable(table: ui.table) -> None:
    """Let rows of a :func:`table` be chosen; their key ``name_of_row_`` says what each is."""
    table.set_selection("multiple")
    table.add_slot("body", row_slot(CHOICE))
    table.add_slot("header", headings(_CHOOSE_ALL))


def chosen(table: ui.table) -> list[int]:
    """The numbers of the chosen rows, counted from 0 as they were given."""
    return sorted(int(row["_"]) for row in table.selected)
