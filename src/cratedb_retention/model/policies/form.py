"""
Converts a policy to the fields of a form, each of which is a text or a boolean, and back.

Fields that the user did not change keep their exact value, even if their text is ambiguous: 5 or "5", or a comma.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.attributes import Attribute, Form, Suggestions
from cratedb_retention.model.policies.policy import ATTRIBUTES, OF_ARCHIVES, Policy, explain
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.words import read_pairs, write_pairs

Values = dict[str, str | bool]
_NAME = re.compile("[a-z]+(?:_[a-z]+)+")
# The maximum number of suggestions per field.
MOST = 100


def _fields(attribute: Attribute) -> Iterator[Attribute]:
    if attribute.form is not Form.PARTS:
        yield attribute
    for name, part in attribute.parts.items():
        own = {"group": attribute.group, "strategies": attribute.strategies, "label": part.called}
        yield replace(part, name=f"{attribute.name}.{name}", **own)  # type: ignore[arg-type]


# By name, in the order of the model.
FIELDS = {field.name: field for attribute in ATTRIBUTES.values() for field in _fields(attribute)}


def is_used(field: Attribute, strategy: str) -> bool:
    """Whether a strategy uses a field; for an unknown strategy, whether all strategies do."""
    return len(field.strategies) == len(Strategy) or strategy in field.strategies


def is_shown(field: Attribute, values: Mapping[str, str | bool]) -> bool:
    """Whether a field has an effect, given the values of the others."""
    beside = all(values[name] == wanted if wanted else values[name] for name, wanted in field.beside.items())
    return beside and _applies(field, values)


def _applies(field: Attribute, values: Mapping[str, str | bool]) -> bool:
    """Whether a policy can have a field; one that deletes has archives only if it is recoverable."""
    archives = field.name not in OF_ARCHIVES or values["strategy"] == Strategy.SNAPSHOT or bool(values["recoverable"])
    return archives and is_used(field, str(values["strategy"]))


def hint_of(field: Attribute) -> str:
    """The description of a field, and its syntax."""
    text = _in_form(field.text).replace("`", "")
    return f"{text} Comma-separated." if field.form is Form.LIST else text


def _in_form(text: str) -> str:
    """A text in which fields are called as in the form: ``max_size`` is “Maximum size”."""
    return _NAME.sub(lambda found: f"“{FIELDS[found[0]].called}”" if found[0] in FIELDS else found[0], text)


def to_values(policy: Policy | None) -> Values:
    """The fields of a policy; for None, the initial values of a new one."""
    if policy is None:
        plain = {name: _to_text(field, field.default) for name, field in FIELDS.items()}
        return plain | {"strategy": str(Strategy.DELETE)}
    data = policy.model_dump(mode="json")
    return {name: _to_text(field, _pick(data, name)) for name, field in FIELDS.items()}


def to_attributes(values: Mapping[str, str | bool], base: Policy | None = None) -> dict[str, Any]:
    """
    The fields as plain values for :func:`make_policy`, without those that the strategy does not use.

    :param base: The policy that the form was filled with; unchanged fields keep its exact values.
    :raises InvalidInput: if pairs are not of the form ``key=value``.
    """
    before, present = (to_values(base), base.model_dump(mode="json")) if base else ({}, {})
    found: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if _applies(field, values):
            kept = values[name] == before.get(name)
            meant = _pick(present, name) if kept else _to_value(field, values[name])
            attribute, _, part = name.partition(".")
            if meant is not None:
                (found.setdefault(attribute, {}) if part else found)[part or attribute] = meant
    return found


def find_mistakes_in(values: Mapping[str, str | bool], base: Policy | None = None) -> dict[str, str]:
    """
    Error messages by field; ``""`` is the policy as a whole. A contradiction is reported at those of its fields that
    are empty, or else at the first. See :func:`to_attributes`.
    """
    mistakes: dict[str, str] = {}
    before = to_values(base) if base else {}
    for name, field in FIELDS.items():
        changed = values[name] != before.get(name)
        if changed and field.form is Form.PAIRS and is_used(field, str(values["strategy"])):
            try:
                _to_value(field, values[name])
            except InvalidInput as error:
                mistakes[name] = f"{error.thing} {error.reason}; {error.remedy}".rstrip("; ")
    if mistakes:
        return mistakes
    attributes = to_attributes(values, base)
    try:
        Policy(**attributes)
    except ValidationError as error:
        for each in error.errors():
            _, reason, remedy = explain(each)
            message = "must not be empty" if each["type"] == "missing" else f"{reason} {remedy}".strip()
            named = list(each.get("ctx", {}).get("attributes", ())) or [".".join(map(str, each["loc"]))]
            for name in [name for name in named if not attributes.get(name)] or named[:1]:
                known = (field for field in (name, name.partition(".")[0]) if field in FIELDS)
                mistakes.setdefault(next(known, ""), _in_form(message))
    return mistakes


def left_out(policy: Policy, strategy: str) -> list[Attribute]:
    """The fields with a value that a strategy does not use."""
    values, plain = to_values(policy), to_values(None)
    other = {**values, "strategy": strategy}
    return [f for name, f in FIELDS.items() if not _applies(f, other) and values[name] not in ("", plain[name])]


def offered(field: Attribute, values: Values, found: Suggestions) -> list[str]:
    """Suggestions for a field: first those that begin with its text, then those that contain it."""
    typed, known = str(values[field.name]), field.offered(found, values)
    if field.form is Form.PAIRS:  # Each suggestion completes the last line, or adds one.
        lines = typed.splitlines()
        begun = "" if not lines or typed.endswith("\n") or "=" in lines[-1] else lines.pop()
        there = [line for line in lines if line.strip()]
        named = {line.partition("=")[0].strip() for line in there}
        free = (each for each in known if each not in named)
        return ["\n".join([*there, f"{each}="]) for each in closest(free, begun.strip())]
    if field.form is Form.LIST:
        *before, last = ["", *typed.split(",")]
        chosen = read_list(",".join(before))
        return [list_text([*chosen, each]) for each in closest((k for k in known if k not in chosen), last.strip())]
    return closest(known, typed)


def closest(known: Iterable[str], typed: str) -> list[str]:
    """Texts that contain what is typed, those first that begin with it."""
    fits = [each for each in dict.fromkeys(known) if typed.casefold() in each.casefold()]
    return sorted(fits, key=lambda each: not each.casefold().startswith(typed.casefold()))[:MOST]


def list_text(values: Iterable[str]) -> str:
    """Comma-separated words; a word that contains a comma is quoted."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(list(values))
    return out.getvalue().replace(",", ", ") if '"' not in out.getvalue() else out.getvalue()


def read_list(text: str) -> list[str]:
    """The words of :func:`list_text`, without empty ones."""
    rows = csv.reader([text.replace("\n", " ")], skipinitialspace=True)
    return [word.strip() for row in rows for word in row if word.strip()]


def _pick(data: Mapping[str, Any], name: str) -> Any:
    attribute, _, part = name.partition(".")
    return (data[attribute] or {}).get(part) if part else data[attribute]


def _to_text(field: Attribute, value: Any) -> str | bool:
    if value is None or value == () or isinstance(value, bool):
        return value if isinstance(value, bool) else ""
    if field.form is Form.LIST:
        return list_text(value)
    if field.form is Form.PAIRS:
        return write_pairs({k: ",".join(each) if isinstance(each, list) else each for k, each in value.items()}, "\n")
    return str(value)


def _to_value(field: Attribute, value: str | bool) -> Any:
    if isinstance(value, bool):
        return value
    if field.form is Form.PAIRS:
        return read_pairs("line", [line for line in value.splitlines() if line.strip()])
    return read_list(value) if field.form is Form.LIST else value.strip() or None
