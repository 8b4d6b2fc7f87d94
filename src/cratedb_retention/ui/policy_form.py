"""
The form of a policy: its fields with hints, what is wrong beside each as one types, and suggestions of what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from cratedb_retention.model.attributes import Attribute, Form, Group, Suggestions
from cratedb_retention.model.policy import Policy, make_policy
from cratedb_retention.model.policyform import (
    FIELDS,
    find_mistakes_in,
    hint_of,
    is_shown,
    offered,
    to_attributes,
    to_values,
)
from cratedb_retention.ui.parts import heading

# So many columns are offered at once; who types on is offered others.
MOST_COLUMNS = 12


@dataclass(kw_only=True)
class _Field:
    """The elements of a field."""

    attribute: Attribute
    box: ui.element
    control: Any
    mistake: ui.label
    options: ui.element | None = None
    offered: Sequence[str] = ()

    def complain(self, text: str) -> None:
        """Say what is wrong with it, or nothing."""
        self.mistake.set_text(text)
        self.mistake.set_visibility(bool(text))
        self.box.classes(add="wrong" if text else "", remove="" if text else "wrong")
        self.control.props(f"aria-invalid={'true' if text else 'false'}")


class PolicyForm:
    """
    The fields of a policy.

    :param base: The policy that it is filled with; None: a new one.
    :param changed: Is called after each change.
    :param locked: Whether nothing can be changed.
    :param names: Whether an identifier can be chosen.
    """

    def __init__(
        self, base: Policy | None, changed: Callable[[], None], locked: bool = False, names: bool = False
    ) -> None:
        self.base, self.values = base, to_values(base)
        self.suggestions = Suggestions()
        self._changed, self._locked = changed, locked
        self._touched: set[str] = set()
        self._fields: dict[str, _Field] = {}
        self._filling = False
        self._general = ui.label().classes("mistake").props("role=alert")
        for group in Group:
            with ui.element("details" if group is Group.MORE else "section").classes("card fields") as self._last:
                if group is Group.MORE:
                    with ui.element("summary"):
                        ui.label(group)
                else:
                    heading(group)
                for name, attribute in FIELDS.items():
                    if attribute.group is group and (name != "id" or names):
                        self._fields[name] = self._field(attribute)
        self.refresh()

    @property
    def mistakes(self) -> dict[str, str]:
        """What is wrong, by field."""
        return find_mistakes_in(self.values, self.base)

    def policy(self) -> Policy:
        """
        The policy that it says.

        :raises InvalidInput: if it is none.
        """
        identifier = {"id": self.base.id} if self.base and self.base.id else {}
        return make_policy(**{**to_attributes(self.values, self.base), **identifier})

    def fill(self, base: Policy | None) -> None:
        """Let it say what a policy says."""
        self.base, self.values = base, to_values(base)
        self._touched.clear()
        self._filling = True
        for name, field in self._fields.items():
            field.control.set_value(self.values[name])
        self._filling = False
        self.refresh()

    def refresh(self, everywhere: bool = False) -> None:
        """
        Show the fields that mean something, and what is wrong with what was written.

        :param everywhere: Whether also fields count that nobody has written into.
        """
        mistakes = self.mistakes
        if everywhere:
            self._touched.update(self._fields)
            if any(name in FIELDS and FIELDS[name].group is Group.MORE for name in mistakes):
                self._last.props("open")
        for name, field in self._fields.items():
            field.box.set_visibility(is_shown(field.attribute, self.values))
            field.complain(mistakes.get(name, "") if name in self._touched else "")
        self._general.set_text(mistakes.get("", ""))
        self._general.set_visibility("" in mistakes)

    def suggest(self, found: Suggestions) -> None:
        """Offer what there is."""
        self.suggestions = found
        for field in self._fields.values():
            self._offer(field)

    def _field(self, attribute: Attribute) -> _Field:
        with ui.element("div").classes("field") as box:
            control = self._control(attribute)
            hint = ui.label(hint_of(attribute)).classes("hint")
            mistake = ui.label().classes("mistake").props("role=alert")
        control.props(f"aria-describedby='{hint.html_id} {mistake.html_id}'")
        hint.props(f"id={hint.html_id}")
        mistake.props(f"id={mistake.html_id}")
        if self._locked:
            control.disable()
        field = _Field(attribute=attribute, box=box, control=control, mistake=mistake)
        with box:
            if attribute.form is Form.PAIRS:  # A kind of input as well, for NiceGUI.
                made = ui.element("div").classes("offers").props("role=group")
                field.options = made.props(f'aria-label="Columns for {attribute.called}"')
            elif isinstance(control, ui.input):
                field.options = ui.element("datalist").props(f"id={control.html_id}-datalist")
        return field

    def _control(self, attribute: Attribute) -> Any:
        value: Any = self.values[attribute.name]
        label = attribute.called

        def note(event: Any) -> None:
            self._note(attribute.name, event.value)

        if attribute.choices:
            ui.label(label).classes("label")
            return ui.radio(attribute.choices, value=value, on_change=note).props(f'aria-label="{label}" dense')
        if attribute.form is Form.FLAG:
            return ui.switch(label, value=value, on_change=note)
        if attribute.form is Form.PAIRS:
            return ui.textarea(label, value=value, on_change=note).props("outlined dense autogrow spellcheck=false")
        made = ui.input(label, value=value, on_change=note).props(f"name={attribute.name}")
        return made.props("outlined dense spellcheck=false autocomplete=off autocapitalize=off")

    def _note(self, name: str, value: Any) -> None:
        if self._filling:
            return
        self.values[name] = "" if value is None else value
        self._touched.add(name)
        self.refresh()
        for field in self._fields.values():  # What is offered for one may depend on another.
            self._offer(field)
        self._changed()

    def _offer(self, field: _Field) -> None:
        if field.options is None or self._locked:
            return
        found = offered(field.attribute, self.values, self.suggestions)
        if found == field.offered:
            return
        field.offered = found
        field.options.clear()
        with field.options:
            if field.attribute.form is Form.PAIRS:
                self._offer_columns(field.control, found[:MOST_COLUMNS])
                return
            for text in found:
                ui.element("option")._props["value"] = text

    def _offer_columns(self, control: Any, found: Sequence[str]) -> None:
        """A field of several lines has no list of its own in a browser, so each column is a button that writes it."""

        def write(text: str) -> None:
            control.set_value(text)
            control.run_method("focus")

        for text in found:
            ui.button(text.splitlines()[-1], on_click=partial(write, text)).props("outline dense no-caps size=13px")
