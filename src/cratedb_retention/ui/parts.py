"""
The parts that pages are put together from: tables, states, facts, errors, buttons, questions.

Everything from the database is text here, never markup.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from cratedb_retention.errors import RetentionError
from cratedb_retention.model import words
from cratedb_retention.service.http.problems import Failed

T = TypeVar("T")
# What can go wrong when the toolkit is asked.
TROUBLE = (Failed, RetentionError)
Trouble = Failed | RetentionError
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


Cell = str | Bit | Sequence[Bit]


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table: what stands in it about a thing, and what that is sorted by if not by its text."""

    label: str
    cell: Callable[[T], Cell]
    order: Callable[[T], float | str | None] | None = None


class Number(Column[T]):
    """A column of numbers."""


def counted(label: str, get: Callable[[T], int | None]) -> Column[T]:
    """A column of whole numbers."""
    return Number(label, lambda item: words.count(get(item)), get)


def sized(get: Callable[[T], int | None]) -> Column[T]:
    """The column of sizes in bytes."""
    return Number("Size", lambda item: words.show_size(get(item)), get)


def table(
    columns: Sequence[Column[T]],
    items: Iterable[T],
    caption: str,
    *,
    per_page: int = 50,
    named: Callable[[T], str] | None = None,
    choose: Literal["single", "multiple"] | None = None,
    instead: str = "",
) -> ui.table:
    """
    A table that can be sorted, and searched by setting its ``filter``.

    :param caption: What it is, for those who do not see it.
    :param named: What each row is, for the same; scripts find it as ``props.row.named``.
    :param choose: Whether rows can be chosen by mouse or keyboard.
    :param instead: Stands in a cell in place of its text; begins with a ``v-if``.
    """
    rows = []
    for number, item in enumerate(items):
        row: dict[str, Any] = {"_": number, "named": named(item) if named else ""}
        for place, column in enumerate(columns):
            cell = column.cell(item)
            bits = [Bit(text=cell)] if isinstance(cell, str) else [cell] if isinstance(cell, Bit) else cell
            row[f"c{place}_"] = [vars(bit) for bit in bits]
            row[f"c{place}"] = column.order(item) if column.order else " ".join(bit.text for bit in bits)
        rows.append(row)
    shown = [
        {
            "name": f"c{place}",
            "label": column.label,
            "field": f"c{place}",
            "align": "right" if isinstance(column, Number) else "left",
            "sortable": True,
        }
        for place, column in enumerate(columns)
    ]
    made = ui.table(columns=shown, rows=rows, row_key="_", pagination=per_page, selection=choose)
    made.props("flat wrap-cells role=region hide-selected-banner").classes("rows")
    made.props["aria-label"] = caption
    if len(rows) <= per_page:
        made.props("hide-pagination")
    made.add_slot("header", _HEADINGS % {None: "", "single": _CHOOSE_ONE, "multiple": _CHOOSE_ALL}[choose])
    made.add_slot("body", _ROW % (_CHOICE if choose else "", instead, "else" if instead else "if='true'"))
    return made


def state(word: str, hint: str = "") -> Bit:
    """A state in a word, with a colour."""
    return Bit(text=word, tone=f"badge is-{word}", hint=hint)


def tag(name: str, text: str, tone: str = "") -> TextElement:
    """An element with text in it."""
    return TextElement(tag=name, text=text).classes(tone)


def note(text: str, tone: str = "note") -> ui.label:
    """A sentence for people."""
    return ui.label(text).classes(tone)


def hidden_note(tone: str = "note") -> ui.label:
    """The same, there only while it says something; as yet it does not."""
    made = note("", tone)
    return made.bind_visibility_from(made, "text", backward=bool)


def heading(text: str) -> None:
    """A heading within the page."""
    tag("h2", text)


def bar() -> ui.element:
    """A line of buttons and the like."""
    return ui.element("div").classes("bar")


def facts(pairs: Iterable[tuple[str, str]], tone: str = "") -> None:
    """What there is to know of something: words, and what they are; empty ones are left out."""
    with ui.element("dl").classes("facts"):
        for word, text in pairs:
            if text:
                tag("dt", word)
                tag("dd", text, tone)


def show_error(error: Trouble) -> None:
    """An error: the thing, the reason, the remedy."""
    found = error.error if isinstance(error, Failed) else error
    with ui.element("div").classes("error").props("role=alert"):
        ui.label(f"{found.thing}: {found.reason}").classes("what")
        if found.remedy:
            ui.label(f"{words.capitalized(found.remedy)}.")


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
    except TROUBLE as error:
        text = str(error.error if isinstance(error, Failed) else error)
        ui.notify(text, type="negative", timeout=0, close_button="Close", multi_line=True)


async def agreed(
    question: str,
    effect: str | Callable[[], None],
    action: str,
    word: str = "",
    back: str = "Cancel",
    tone: str = "negative",
) -> bool:
    """
    Ask before something is done.

    :param effect: What will happen: in sentences, or shown by a function.
    :param action: What the button says that does it; ``back`` is what the other one says.
    :param word: Has to be written first, so that nobody clicks through what can't be undone; empty: nothing.
    :param tone: The colour of the button that does it.
    """
    with ui.dialog() as dialog:
        dialog.props["aria-label"] = question
    dialog.on("hide", dialog.delete)  # Not before: it gives back the focus when it hides.
    with dialog, ui.card().classes("question").props("role=document"):
        heading(question)
        if isinstance(effect, str):
            ui.label(effect).classes("many")
        else:
            with ui.element("div").classes("effect"):
                effect()
        said = ui.input(f"Write {word} to go on").props("autocomplete=off spellcheck=false") if word else None
        with ui.row().classes("buttons"):
            left = ui.button(back, on_click=lambda: dialog.submit(False)).props("flat no-caps")
            done = ui.button(action, color=tone, on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
            if said:
                done.bind_enabled_from(said, "value", backward=lambda value: (value or "").strip() == word)
            else:
                left.props("autofocus")
    return bool(await dialog)
