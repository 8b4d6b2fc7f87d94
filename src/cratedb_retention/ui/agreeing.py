"""
Questions before something is done: a plain one, and one that nobody clicks through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nicegui import ui

from cratedb_retention.ui.parts import heading

# What will happen: in sentences, or shown by a function.
Effect = str | Callable[[], None]


async def agreed(question: str, effect: Effect, action: str, back: str = "Back", tone: str = "negative") -> bool:
    """
    Ask before something that can be done again.

    :param question: As a heading.
    :param action: What the button says that does it.
    :param back: What the other one says.
    :param tone: The colour of the one that does it.
    """
    with _question(question, effect) as dialog, ui.row().classes("buttons"):
        ui.button(back, on_click=lambda: dialog.submit(False)).props("flat no-caps autofocus")
        ui.button(action, color=tone, on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
    return bool(await dialog)


async def confirmed(question: str, effect: Effect, word: str, action: str) -> bool:
    """
    Ask before something that can't be undone, in a way that nobody clicks through: a word has to be written.

    :param question: As a heading.
    :param word: What has to be written, such as a table's name.
    :param action: What the button says.
    """
    with _question(question, effect) as dialog:
        written = ui.input(f"Write {word} to go on").props("autocomplete=off spellcheck=false")
        with ui.row().classes("buttons"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat no-caps")
            go = ui.button(action, color="negative", on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
            go.bind_enabled_from(written, "value", backward=lambda value: (value or "").strip() == word)
    return bool(await dialog)


@contextmanager
def _question(question: str, effect: Effect) -> Iterator[ui.dialog]:
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
        yield dialog
