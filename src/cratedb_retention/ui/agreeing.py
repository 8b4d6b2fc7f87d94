"""
A plain question before something that can be done again.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.ui.parts import heading


async def agreed(question: str, effect: str, action: str, back: str = "Back", tone: str = "negative") -> bool:
    """
    Ask.

    :param question: As a heading.
    :param effect: What will happen.
    :param action: What the button says that does it.
    :param back: What the other one says.
    :param tone: The colour of the one that does it.
    """
    with ui.dialog() as dialog, ui.card().classes("question").props("role=document"):
        heading(question)
        ui.label(effect).classes("many")
        with ui.row().classes("buttons"):
            ui.button(back, on_click=lambda: dialog.submit(False)).props("flat no-caps autofocus")
            ui.button(action, color=tone, on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
    answer = await dialog
    dialog.delete()
    return bool(answer)
