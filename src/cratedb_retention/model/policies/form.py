"""
A policy as the fields of a form: each attribute is text, or yes or no; and what was written in them as a policy again.

What was not touched stays exactly what it was, also where text can't tell 5 from "5", or a comma from a comma.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.attributes import Attribute, Form, Suggestions
from cratedb_retention.model.policies.policy import ATTRIBUTES, Policy, explain
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.words import read_pairs, write_pairs

Values = dict[str, str | bool]
# A browser need not be sent more suggestions for one field.
MOST = 100


def _fields(attribute: Attribute) -> Iterator[Attribute]:
    """The fields of an attribute: one, or one for each of its parts."""
    if attribute.form is not Form.PARTS:
        yield attribute
    for name, part in attribute.parts.items():
        own = {"group": attribute.group, "strategies": attribute.strategies, "label": part.called}
        yield replace(part, name=f"{attribute.name}.{name}", **own)  # type: ignore[arg-type]


# By name, in the order of the model.
FIELDS = {field.name: field for attribute in ATTRIBUTES.values() for field in _fields(attribute)}


def is_used(field: Attribute, strategy: str) -> bool:
    """Whether a strategy has a use for a field. If there is no such strategy, whether all have."""
    return len(field.strategies) == len(Strategy) or strategy in field.strategies


def is_shown(field: Attribute, values: Mapping[str, str | bool]) -> bool:
    """Whether a field means anything beside what the others say."""
    beside = all(values[name] == wanted if wanted else values[name] for name, wanted in field.beside.items())
    return beside and is_used(field, str(values["strategy"]))


def hint_of(field: Attribute) -> str:
    """What a field is for, and how it is written."""
    written = {Form.LIST: "With commas between them.", Form.PAIRS: f"One on each line, as {[*field.examples, ''][0]}."}
    return " ".join(filter(None, (field.text.replace("`", ""), written.get(field.form))))


def to_values(policy: Policy | None) -> Values:
    """The fields of a policy; of none: what a new one begins with."""
    if policy is None:
        plain = {name: _to_text(field, field.default) for name, field in FIELDS.items()}
        return plain | {"strategy": str(Strategy.DELETE)}
    data = policy.model_dump(mode="json")
    return {name: _to_text(field, _pick(data, name)) for name, field in FIELDS.items()}


def to_attributes(values: Mapping[str, str | bool], base: Policy | None = None) -> dict[str, Any]:
    """
    What was written, as plain values for :func:`make_policy`. What the strategy has no use for is left out.

    :param base: The policy that the form was filled with: fields that say what it says stay what they are.
    :raises InvalidInput: if pairs are not of the form ``key=value``.
    """
    before, present = (to_values(base), base.model_dump(mode="json")) if base else ({}, {})
    found: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if is_used(field, str(values["strategy"])):
            kept = values[name] == before.get(name)
            meant = _pick(present, name) if kept else _to_value(field, values[name])
            attribute, _, part = name.partition(".")
            if meant is not None:
                (found.setdefault(attribute, {}) if part else found)[part or attribute] = meant
    return found


def find_mistakes_in(values: Mapping[str, str | bool], base: Policy | None = None) -> dict[str, str]:
    """
    What is wrong, by field; ``""``: with the policy as a whole. A contradiction is a mistake of those of its attributes
    that say nothing, or else of the first. See :func:`to_attributes`.
    """
    mistakes: dict[str, str] = {}
    for name, field in FIELDS.items():
        if field.form is Form.PAIRS and is_used(field, str(values["strategy"])):
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
            said = "must not be empty" if each["type"] == "missing" else f"{reason} {remedy}".strip()
            named = list(each.get("ctx", {}).get("attributes", ())) or [".".join(map(str, each["loc"]))]
            for name in [name for name in named if not attributes.get(name)] or named[:1]:
                known = (field for field in (name, name.partition(".")[0]) if field in FIELDS)
                mistakes.setdefault(next(known, ""), said)
    return mistakes


def left_out(policy: Policy, strategy: str) -> list[Attribute]:
    """The fields that say something, and that a strategy has no use for."""
    values, plain = to_values(policy), to_values(None)
    return [f for name, f in FIELDS.items() if not is_used(f, strategy) and values[name] not in ("", plain[name])]


def offered(field: Attribute, values: Values, found: Suggestions) -> list[str]:
    """What can be chosen for a field: beginning with what is written, then containing it."""
    typed, known = str(values[field.name]), field.offered(found, values)
    if field.form is Form.PAIRS:  # With one more that is begun: the last line, or one that comes after it.
        lines = typed.splitlines()
        begun = "" if not lines or typed.endswith("\n") or "=" in lines[-1] else lines.pop()
        there = [line for line in lines if line.strip()]
        named = {line.partition("=")[0].strip() for line in there}
        free = (each for each in known if each not in named)
        return ["\n".join([*there, f"{each}="]) for each in _closest(free, begun.strip())]
    if field.form is Form.LIST:
        *before, last = ["", *typed.split(",")]
        chosen = read_list(",".join(before))
        return [list_text([*chosen, each]) for each in _closest((k for k in known if k not in chosen), last.strip())]
    return _closest(known, typed)


def _closest(known: Iterable[str], typed: str) -> list[str]:
    fits = [each for each in dict.fromkeys(known) if typed.casefold() in each.casefold()]
    return sorted(fits, key=lambda each: not each.casefold().startswith(typed.casefold()))[:MOST]


def list_text(values: Iterable[str]) -> str:
    """Words with commas between them; one that has a comma itself is in quotes."""
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
    """What was written, as a plain value; None: nothing."""
    if isinstance(value, bool):
        return value
    if field.form is Form.PAIRS:
        return read_pairs("line", [line for line in value.splitlines() if line.strip()])
    return read_list(value) if field.form is Form.LIST else value.strip() or None
