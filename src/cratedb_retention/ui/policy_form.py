"""
The form of a policy: its fields with hints, what is wrong beside each as one types, and suggestions of what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from cratedb_retention.execution.suggesting import Suggestions
from cratedb_retention.model.policy import Policy, make_policy
from cratedb_retention.model.policyform import PAIRS, Values, find_mistakes_in, hint_of, to_attributes, to_values
from cratedb_retention.ui.parts import heading
from cratedb_retention.ui.policy_fields import CHOICES, FORMS, GROUPS, Group, is_shown, label_of, offered

# So many columns are offered at once; who types on is offered others.
MOST_COLUMNS = 12


@dataclass(kw_only=True)
class _Field:
    """The elements of a field."""

    box: ui.element
    control: Any
    mistake: ui.label
    options: ui.element | None = None


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
        self._changed, self._locked, self._names = changed, locked, names
        self._touched: set[str] = set()
        self._fields: dict[str, _Field] = {}
        self._filling = False
        self._folded: ui.element | None = None
        self._general = ui.label().classes("mistake").props("role=alert")
        for group in GROUPS:
            self._group(group)
        self.refresh()

    # What it says

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
        for name, field in self._fields.items():
            field.box.set_visibility(is_shown(name, self.values))
            _complain(field, mistakes.get(name, "") if name in self._touched else "")
        self._general.set_text(mistakes.get("", ""))
        self._general.set_visibility("" in mistakes)
        if self._folded and everywhere and any(name in GROUPS[-1].fields for name in mistakes):
            self._folded.props("open")

    def suggest(self, found: Suggestions) -> None:
        """Offer what there is."""
        self.suggestions = found
        for name in self._fields:
            self._offer(name)

    # How it looks

    def _group(self, group: Group) -> None:
        with ui.element("details" if group.folded else "section").classes("card fields") as box:
            if group.folded:
                self._folded = box
                with ui.element("summary"):
                    ui.label(group.title)
            else:
                heading(group.title)
            for name in group.fields:
                if name != "id" or self._names:
                    self._field(name)

    def _field(self, name: str) -> None:
        with ui.element("div").classes("field") as box:
            control = self._control(name)
            hint = ui.label(" ".join(filter(None, (hint_of(name), FORMS.get(name))))).classes("hint")
            mistake = ui.label().classes("mistake").props("role=alert")
        control.props(f"aria-describedby='{hint.html_id} {mistake.html_id}'")
        hint.props(f"id={hint.html_id}")
        mistake.props(f"id={mistake.html_id}")
        if self._locked:
            control.disable()
        self._fields[name] = _Field(box=box, control=control, mistake=mistake)
        with box:
            if name in PAIRS:  # A kind of input as well, for NiceGUI.
                made = ui.element("div").classes("offers").props("role=group")
                self._fields[name].options = made.props(f'aria-label="Columns for {label_of(name)}"')
            elif isinstance(control, ui.input):
                self._fields[name].options = ui.element("datalist").props(f"id={control.html_id}-datalist")

    def _control(self, name: str) -> Any:
        value: Any = self.values[name]
        label = label_of(name)

        def note(event: Any) -> None:
            self._note(name, event.value)

        if name in CHOICES:
            ui.label(label).classes("label")
            return ui.radio(dict(CHOICES[name]), value=value, on_change=note).props(f'aria-label="{label}" dense')
        if isinstance(value, bool):
            return ui.switch(label, value=value, on_change=note)
        if name in PAIRS:
            return ui.textarea(label, value=value, on_change=note).props("outlined dense autogrow spellcheck=false")
        made = ui.input(label, value=value, on_change=note)
        return made.props(f"outlined dense spellcheck=false autocomplete=off autocapitalize=off name={name}")

    def _note(self, name: str, value: Any) -> None:
        if self._filling:
            return
        self.values[name] = "" if value is None else value
        self._touched.add(name)
        self.refresh()
        for each in (name, "table_name", "reallocation_attribute_value"):
            self._offer(each)
        self._changed()

    def _offer(self, name: str) -> None:
        options = self._fields[name].options
        if options is None or self._locked:
            return
        options.clear()
        found = offered(name, self.values, self.suggestions)
        with options:
            if name in PAIRS:
                self._offer_columns(name, found[:MOST_COLUMNS])
                return
            for text in found:
                ui.element("option")._props["value"] = text

    def _offer_columns(self, name: str, found: Sequence[str]) -> None:
        """A field of several lines has no list of its own in a browser, so each column is a button that writes it."""
        control = self._fields[name].control

        def write(text: str) -> None:
            control.set_value(text)
            control.run_method("focus")

        for text in found:
            ui.button(text.splitlines()[-1], on_click=partial(write, text)).props("outline dense no-caps size=13px")


def _complain(field: _Field, text: str) -> None:
    field.mistake.set_text(text)
    field.mistake.set_visibility(bool(text))
    field.box.classes(add="wrong" if text else "", remove="" if text else "wrong")
    field.control.props(f"aria-invalid={'true' if text else 'false'}")


def differences(policies: Mapping[str, Policy | None]) -> list[dict[str, str]]:
    """
    The fields in which policies differ, with what each says.

    :param policies: By the name of the column that they stand in.
    """
    said = {name: to_values(policy) for name, policy in policies.items()}
    fields = next(iter(said.values()))
    return [
        {"field": label_of(field), **{name: _words(values[field]) for name, values in said.items()}}
        for field in fields
        if len({values[field] for values in said.values()}) > 1
    ]


def _words(value: str | bool) -> str:
    return value if isinstance(value, str) else ("yes" if value else "no")


__all__ = ["PolicyForm", "Values", "differences"]
