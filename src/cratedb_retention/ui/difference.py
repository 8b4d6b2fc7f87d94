"""
What differs between two states of a policy, as a table: attribute, before, after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from cratedb_retention.model.policy import Difference, differences

_HEADS = ("Attribute", "Before", "After")


def show_difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    """
    Show which attributes of a policy differ, as text; a sentence where none does.

    :param before: As ``Policy.to_dict`` and the audit log have them; None: there was none.
    :param after: Likewise; None: there is none any more.
    """
    found = differences(before, after)
    if not found:
        ui.label("No attribute differs.").classes("muted")
        return
    with ui.element("table").classes("difference").props('aria-label="What differs, before and after"'):
        with ui.element("thead"), ui.element("tr"):
            for head in _HEADS:
                with ui.element("th").props("scope=col"):
                    ui.label(head)
        with ui.element("tbody"):
            for each in found:
                _row(each)


def _row(each: Difference) -> None:
    with ui.element("tr"):
        with ui.element("th").props("scope=row"):
            ui.label(each.attribute)
        for name, value, text in zip(_HEADS[1:], each.values, each.words, strict=True):
            with ui.element("td").props(f"data-label={name}"):
                ui.label(text).classes("muted" if value is None else "many")
