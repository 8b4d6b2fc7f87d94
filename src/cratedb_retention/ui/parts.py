"""
The parts that pages are put together from: facts, errors, buttons, questions.

Everything from the database is text here, never markup.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from cratedb_retention.errors import RetentionError
from cratedb_retention.model.words import capitalized


def tag(name: str, text: str, tone: str = "") -> TextElement:
    return TextElement(tag=name, text=text).classes(tone)


def note(text: str, tone: str = "note") -> ui.label:
    return ui.label(text).classes(tone)


def hidden_note(tone: str = "note") -> ui.label:
    """The same, there only while it says something; as yet it does not."""
    made = note("", tone)
    return made.bind_visibility_from(made, "text", backward=bool)


def heading(text: str) -> None:
    tag("h2", text)


def bar() -> ui.element:
    return ui.element("div").classes("bar")


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """A list of terms and values; empty ones are omitted."""
    with ui.element("dl").classes("facts"):
        for word, text in pairs:
            if text:
                tag("dt", word)
                tag("dd", text)


def show_error(error: RetentionError) -> None:
    with ui.element("div").classes("error").props("role=alert"):
        ui.label(f"{error.thing}: {error.reason}").classes("what")
        if error.remedy:
            ui.label(f"{capitalized(error.remedy)}.")


def button(text: str, work: Callable[[], Awaitable[None] | None], tone: str = "primary", icon: str = "") -> ui.button:
    """
    A button; while its work goes on it can't be pressed again, and errors are shown. It is not disabled meanwhile: it
    would lose the focus, which dialogs give back.
    """

    async def pressed() -> None:
        if "busy" in made.classes:
            return
        made.props("aria-disabled=true").classes("busy")
        try:
            with made.client, telling():  # What it clears may be where the button was.
                if (found := work()) is not None:
                    await found
        finally:
            if not made.is_deleted:  # Its work may have led to another page.
                made.props(remove="aria-disabled").classes(remove="busy")

    made = ui.button(text, on_click=pressed, color=tone, icon=icon or None).props("no-caps unelevated")
    return made


@contextmanager
def telling() -> Iterator[None]:
    """Show errors in a notice that stays until it is closed."""
    try:
        yield
    except RetentionError as error:
        ui.notify(str(error), type="negative", timeout=0, close_button="Close", multi_line=True)


async def agreed(
    question: str,
    effect: str | Callable[[], None],
    action: str,
    word: str = "",
    tone: str = "negative",
) -> bool:
    """
    Ask before something is done.

    :param effect: What will happen: in sentences, or shown by a function.
    :param action: The label of the button that does it, ``tone`` its colour.
    :param word: Has to be written first, so that what can't be undone is not clicked through; empty: nothing.
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
            left = ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat no-caps")
            done = ui.button(action, color=tone, on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
            if said:
                done.bind_enabled_from(said, "value", backward=lambda value: (value or "").strip() == word)
            else:
                left.props("autofocus")
    return bool(await dialog)
