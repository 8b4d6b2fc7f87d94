"""
Filters that stand in the address of a page, so that they can be kept and handed on: a form, and links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nicegui import ui

from cratedb_retention.ui.links import address
from cratedb_retention.ui.parts import go, link


@dataclass(frozen=True)
class Field:
    """
    A field of a form.

    :param name: Its name in the address.
    :param choices: What can be chosen, with how it is shown; empty: it is written.
    :param hint: An example.
    :param unset: What stands for no choice.
    """

    name: str
    label: str
    choices: Mapping[str, str] | None = None
    hint: str = ""
    unset: str = "any"


def filter_form(path: str, fields: Sequence[Field], given: Mapping[str, str], action: str) -> None:
    """
    A form that goes to the same page with what is filled in.

    :param given: The query of the page.
    :param action: What its button says.
    """
    inputs: dict[str, ui.input | ui.select] = {}

    def submit() -> None:
        go(address(path, {name: str(each.value or "").strip() for name, each in inputs.items()}))

    with (
        ui.element("form").classes("bar filters").props('role=search aria-label="Filters"').on("submit.prevent", submit)
    ):
        for field in fields:
            inputs[field.name] = _input(field, given.get(field.name, ""))
        ui.button(action, color="primary").props("type=submit no-caps unelevated")
        if any(given.get(field.name) for field in fields):
            link("Clear filters", address(path, {}))


def _input(field: Field, value: str) -> ui.input | ui.select:
    if field.choices is None:
        made = ui.input(field.label, value=value, placeholder=field.hint)
        made.props("dense outlined autocomplete=off spellcheck=false stack-label")
        return made
    choices = {"": field.unset, **field.choices}
    return ui.select(choices, label=field.label, value=value if value in choices else "").props(
        "dense outlined options-dense stack-label"
    )
