"""
Filters that stand in the address of a page, so that they can be kept and handed on: a form, and what it says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from nicegui import ui

from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.strategies import Strategy, parse_strategy
from cratedb_retention.model.tags import TagFilter, parse_tag_filter
from cratedb_retention.ui.links import Query, address
from cratedb_retention.ui.parts import go, link, telling

# Between the values of a field that can have several, which the address has one by one.
OR = " or "
Changed = Callable[[Query], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Field:
    """
    A field of a form.

    :param name: Its name in the address.
    :param choices: What can be chosen, with how it is shown; empty: it is written.
    :param hint: An example.
    :param unset: What stands for no choice.
    :param several: Whether it can have several values.
    """

    name: str
    label: str
    choices: Mapping[str, str] | None = None
    hint: str = ""
    unset: str = "any"
    several: bool = False

    def text(self, given: Query) -> str:
        """What stands in it for what is given."""
        return OR.join(given.getlist(self.name)) if self.several else given.get(self.name, "")

    def values(self, text: str) -> list[str]:
        """What is given by what stands in it."""
        found = text.split(OR) if self.several else [text]
        return [value for value in map(str.strip, found) if value]


Inputs = list[tuple[Field, ui.input | ui.select]]
TAGS = Field(name="tags", label="Tags", hint="acme,web or acme,not:old", several=True)
STRATEGY = Field(name="strategy", label="Strategy", choices={str(strategy): str(strategy) for strategy in Strategy})


def read_tags(query: Query) -> TagFilter:
    """
    The filter by tags, as the HTTP API has it: ``a,b`` both, repeated either, ``not:c`` those without c.

    :raises InvalidInput: if it is none.
    """
    return parse_tag_filter(filter(None, map(str.strip, query.getlist("tags"))))


def read_selection(query: Query) -> Selection:
    """
    Which policies are meant by ``tags``, ``strategy`` and ``policy``.

    :raises InvalidInput: if there is no such strategy, or the tags are no filter.
    """
    strategy = query.get("strategy")
    return Selection(
        strategy=parse_strategy(strategy) if strategy else None,
        tags=read_tags(query),
        policy_id=query.get("policy") or None,
    )


def filter_form(path: str, fields: Sequence[Field], given: Query, action: str) -> None:
    """
    A form that goes to the same page with what is filled in.

    :param given: The query of the page.
    :param action: What its button says.
    """
    inputs: Inputs = []
    with _form().on("submit.prevent", lambda: go(address(path, _written(inputs)))):
        inputs += [(field, _input(field, given)) for field in fields]
        ui.button(action, color="primary").props("type=submit no-caps unelevated")
        if any(field.text(given) for field in fields):
            link("Clear filters", address(path, {}))


def live_filter_form(path: str, fields: Sequence[Field], given: Query, changed: Changed) -> None:
    """
    A form whose page changes as one types, and its address as well.

    :param changed: Is told what is filled in.
    """
    inputs: Inputs = []

    async def change() -> None:
        query = _written(inputs)
        ui.navigate.history.replace(address(path, query))
        with telling():
            await changed(query)

    with _form().on("submit.prevent", lambda: None):
        inputs += [(field, _input(field, given)) for field in fields]
    for _, made in inputs:
        made.props("clearable debounce=300" if isinstance(made, ui.input) else "").on_value_change(change)


def _form() -> ui.element:
    return ui.element("form").classes("bar filters").props('role=search aria-label="Filters"')


def _written(inputs: Inputs) -> Query:
    return Query([(field.name, value) for field, made in inputs for value in field.values(made.value or "")])


def _input(field: Field, given: Query) -> ui.input | ui.select:
    value = field.text(given)
    if field.choices is None:
        made = ui.input(field.label, value=value, placeholder=field.hint)
        made.props("dense outlined autocomplete=off spellcheck=false stack-label maxlength=1000")
        return made
    choices = {"": field.unset, **field.choices}
    return ui.select(choices, label=field.label, value=value if value in choices else "").props(
        "dense outlined options-dense stack-label"
    )
