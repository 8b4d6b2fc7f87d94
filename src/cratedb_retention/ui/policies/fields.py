"""The fields of a policy as a form: each with a hint, suggestions, presets, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.policies import form as policyform
from cratedb_retention.model.policies.attributes import Attribute, Form, Group, Suggestions
from cratedb_retention.model.policies.form import FIELDS
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.words import plural
from cratedb_retention.ui import links
from cratedb_retention.ui.policies.draft import ROWS, TABLE, Draft
from cratedb_retention.ui.web.html import Child, Markup, el

_MATCHES, _VALUES, _PRESETS = 6, 12, 6  # How many of them are shown.
# The order of fields within a section, those that matter most first; others are behind them.
_ORDER = (
    "schedule",
    "time_zone",
    "retention_period",
    "levels",
    "reallocation_attribute_name",
    "reallocation_attribute_value",
    "merge",
    "compress",
    "read_only",
    "number_of_replicas",
    "recoverable",
    "target_repository_name",
    "archive_period",
    "verify",
)
# What stands in both fields of a row, for those who do not see it.
_ENDS = {"levels": ("Interval", "Kept for"), "where": ("Column", "Value"), "aggregates": ("Metric", "Aggregates")}
# What is typed is taken as it is.
_TYPED = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}


@dataclass(frozen=True, kw_only=True)
class Fields:
    """
    The fields of a draft.

    :param found: What is suggested.
    :param names: Whether an identifier can be chosen.
    :param everywhere: Whether all mistakes are shown, those of empty fields as well.
    """

    draft: Draft
    found: Suggestions
    names: bool
    everywhere: bool

    def section(self, group: Group, *more: Child) -> Markup:
        """The fields of a group."""
        apart = _APART if self.names else {*_APART, "id"}
        fields = [field for field in FIELDS.values() if field.group is group and field.name not in apart]
        fields.sort(key=lambda field: _ORDER.index(field.name) if field.name in _ORDER else len(_ORDER))
        shown = [self.field(field) for field in fields]
        if group is not Group.MORE:
            return el(
                "section", el("h2", group), *more, el("div", shown, class_="fields"), class_="card", id=group.name
            )
        plain = policyform.to_values(None)
        opened = any(self.draft.values[field.name] not in ("", plain[field.name]) for field in fields) or any(
            field.name in self.draft.mistakes for field in fields
        )
        content = (el("summary", el("h2", group)), el("div", shown, class_="fields"))
        return el("details", content, class_="card", id=group.name, open=opened)

    def table(self) -> Markup:
        """Schema and name of the table, or a pattern, and what it matches."""
        wrong = self._mistake("table_name", TABLE) or self._mistake("table_schema", TABLE)
        known = policyform.closest(map(str, self.found.tables), self.draft.table)
        hint = f"SCHEMA.TABLE; * and ? are wildcards. Without a schema: {self.found.default_schema}."
        box = self._input(TABLE, self.draft.table, bool(wrong), autofocus=not self.draft.table)
        content = (
            el("label", "Table", for_=f"i-{TABLE}"),
            box,
            self._options(TABLE, known),
            el("small", hint, id=f"h-{TABLE}", class_="hint"),
            wrong,
            self._matches(),
        )
        return el("div", content, class_=_tone(wrong, "field wide"), id=f"f-{TABLE}")

    def _matches(self) -> Child:
        if not self.draft.values["table_name"]:
            return None
        names = [el("a", str(table), href=links.table(table)) for table in self.found.matches[:_MATCHES]]
        if not names:
            return el("p", "No such table now.", class_="matches")
        left = len(self.found.matches) - len(names)
        more = f" and {left:,} more" if left else ""
        count = plural(len(self.found.matches), "table")
        said = f"Matches {count}: " if is_pattern(self.draft.table) else "See "
        return el(
            "p", said, [(", " if number else None, name) for number, name in enumerate(names)], more, class_="matches"
        )

    def strategies(self) -> Markup:
        """What happens to data, as cards to choose from; what the database lacks has its reason."""
        chosen = str(self.draft.values["strategy"])
        cards = []
        for strategy in Strategy:
            name, _, about = strategy.label.partition(": ")
            lacks = self.found.unsupported.get(strategy, "")
            box = el(
                "input",
                type="radio",
                name="strategy",
                value=strategy,
                checked=strategy == chosen,
                disabled=bool(lacks) and strategy != chosen,
            )
            text = el("span", el("b", name), el("small", lacks or about) if lacks or about else None)
            cards.append(el("label", box, text, class_="strategy", title=lacks or None))
        wrong = self._mistake("strategy", "strategy")
        legend = el("legend", "Data older than the retention period", class_="spoken")
        return el("fieldset", legend, cards, wrong, class_="strategies", id="f-strategy")

    def field(self, field: Attribute) -> Markup:
        name = field.name
        wrong, value = self._mistake(name, name), self.draft.values[name]
        shown = policyform.is_shown(field, self.draft.values)
        hint = el("small", policyform.hint_of(field), id=f"h-{name}", class_="hint")
        label: Child = el("label", field.called, for_=f"i-{name}")
        content: Child
        if name in ROWS:
            label, content = el("span", field.called, class_="label"), self._rows(field)
        elif isinstance(value, bool):
            box = el(
                "input", type="checkbox", name=name, id=f"i-{name}", checked=value, **self._about(name, bool(wrong))
            )
            label, content = None, el("label", box, field.called, class_="check")
        elif field.choices:
            options = (el("option", text, value=key, selected=key == value) for key, text in field.choices.items())
            content = el("select", options, name=name, id=f"i-{name}", **self._about(name, bool(wrong)))
        elif name == "description":
            content = el("textarea", value, name=name, id=f"i-{name}", rows=2, **self._about(name, bool(wrong)))
        else:
            offered = self._options(name, policyform.offered(field, self.draft.values, self.found))
            content = (self._input(name, value, bool(wrong)), offered)
        wide = "field wide" if name in ("levels", "where", "aggregates", "description") else "field"
        made = (label, content, self._presets(field), hint, wrong)
        return el("div", made, class_=_tone(wrong, wide), id=f"f-{name}", hidden=not shown)

    def _about(self, name: str, wrong: bool) -> dict[str, str | None]:
        ids = f"h-{name} m-{name}" if wrong else f"h-{name}"
        return {"aria_describedby": ids, "aria_invalid": "true" if wrong else None}

    def _input(self, name: str, value: str, wrong: bool, autofocus: bool = False) -> Markup:
        return el(
            "input",
            name=name,
            id=f"i-{name}",
            value=value,
            list=f"o-{name}",
            **_TYPED,
            autofocus=autofocus,
            **self._about(name, wrong),
        )

    @staticmethod
    def _options(name: str, texts: Sequence[str]) -> Markup | None:
        return el("datalist", (el("option", value=text) for text in texts), id=f"o-{name}") if texts else None

    def _mistake(self, field: str, name: str) -> Markup | None:
        """What is wrong with a field, unless nothing is written there yet."""
        text, value = self.draft.mistakes.get(field, ""), self.draft.values[field]
        if not text or (value == "" and not self.everywhere):
            return None
        return el("p", text, id=f"m-{name}", class_="mistake", role="alert")

    def _presets(self, field: Attribute) -> Markup | None:
        """Values that are often meant, as buttons that write them."""
        if field.form is not Form.TEXT or field.group is Group.MORE:
            return None
        texts = [text for text in field.examples if isinstance(text, str)][:_PRESETS]
        if field.metavar == "DURATION":
            texts = [str(parse_duration(text)) for text in texts]
        made = (
            self._put(field.name, text, text, _same(field, str(self.draft.values[field.name]), text)) for text in texts
        )
        return el("div", made, class_="presets") if texts else None

    @staticmethod
    def _put(name: str, value: str, label: str, chosen: bool) -> Markup:
        return el(
            "button",
            label,
            type="submit",
            name="put",
            value=f"{name}={value}",
            class_="preset",
            aria_pressed="true" if chosen else "false",
        )

    def _rows(self, field: Attribute) -> Markup:
        """Rows of two fields, and an empty one; what is offered for the second one are values that there are."""
        name, rows = field.name, self.draft.rows(field.name)
        offered = [] if name == "levels" else field.offered(self.found, self.draft.values)
        lines: list[Child] = []
        for number, (first, second) in enumerate([*rows, ("", "")]):
            values = self.found.values.get(first.strip(), ()) if name == "where" else ()
            ends = zip(("key", "value"), _ENDS[name], (first, second), (offered, values), strict=True)
            cells = [self._cell(name, end, label, number, text, list(known)) for end, label, text, known in ends]
            chips = [
                self._put(name, "\n".join(f"{k}={v}" for k, v in _with(rows, number, value)), value, value == second)
                for value in values[:_VALUES]
            ]
            lines.append(el("div", cells, class_="row", id=f"r-{name}-{number}"))
            lines.append(el("div", chips, class_="presets", id=f"v-{name}-{number}") if chips else None)
        return el("div", lines, class_="pairs", role="group", aria_label=field.called)

    def _cell(self, name: str, end: str, label: str, number: int, text: str, known: Sequence[str]) -> Child:
        key = f"{name}-{end}-{number}"
        box = el(
            "input",
            name=f"{name}:{end}",
            id=f"i-{key}",
            value=text,
            list=f"o-{key}",
            placeholder=label,
            aria_label=f"{label} {number + 1}",
            **_TYPED,
            aria_describedby=f"h-{name}",
        )
        return box, self._options(key, known[: policyform.MOST])


# Fields that are not made like the others.
_APART = frozenset({"strategy", "table_schema", "table_name"})


def _tone(wrong: Markup | None, tone: str) -> str:
    return f"{tone} wrong" if wrong else tone


def _same(field: Attribute, value: str, preset: str) -> bool:
    if field.metavar != "DURATION":
        return value == preset
    try:
        return parse_duration(value) == parse_duration(preset)
    except InvalidInput:
        return False


def _with(rows: Sequence[tuple[str, str]], number: int, value: str) -> Iterator[tuple[str, str]]:
    """Rows of which one has another value."""
    return ((key, value if place == number else old) for place, (key, old) in enumerate(rows))


def summary_of(values: Mapping[str, str | bool]) -> Iterator[tuple[str, str]]:
    """What a policy says that is not said by default, by the names of fields."""
    plain = policyform.to_values(None)
    for name, field in FIELDS.items():
        value = values[name]
        if policyform.is_shown(field, values) and name not in ("id", "enabled") and value not in ("", plain[name]):
            yield (
                field.called,
                field.choices.get(str(value), "yes" if value is True else "no" if value is False else str(value)),
            )
