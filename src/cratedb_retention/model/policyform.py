"""
A policy as the fields of a form: each attribute is text, or yes or no; and what was written in them as a policy again.

What was not touched stays exactly what it was, also where text can't tell 5 from "5", or a comma from a comma.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.pairs import read_pairs, write_pairs
from cratedb_retention.model.policy import ExpectedMax, Policy, Strategy, find_mistakes, parse_strategy, strategies_of

Values = dict[str, str | bool]

LISTS = ("tags", "dimensions", "metrics", "exclude", "counters")
PAIRS = ("where", "aggregates")
LIMITS = tuple(f"expected_max.{name}" for name in ExpectedMax.model_fields)
# In the order of the model. ``expected_max`` has a field for each of its parts.
FIELDS = tuple(part for name in Policy.model_fields for part in (LIMITS if name == "expected_max" else (name,)))


def attribute_of(field: str) -> str:
    """The attribute that a field is a part of."""
    return field.partition(".")[0]


def hint_of(field: str) -> str:
    """What a field is for, in the words of the model."""
    model = ExpectedMax if field in LIMITS else Policy
    text = model.model_fields[field.rpartition(".")[2]].description or ""
    for strategy in Strategy:
        text = text.removeprefix(f"`{strategy}`: ")
    text = text.removeprefix("`schedule`: ").replace("`", "")
    return text[:1].upper() + text[1:]


def fields_for(strategy: str) -> frozenset[str]:
    """
    The fields that a strategy has a use for.

    :param strategy: If there is no such strategy, those that all have.
    """
    try:
        known = {parse_strategy(strategy)}
    except InvalidInput:
        known = set(Strategy)
    return frozenset(field for field in FIELDS if known <= set(strategies_of(attribute_of(field))))


def to_values(policy: Policy | None) -> Values:
    """
    The fields of a policy.

    :param policy: None: what a new one begins with.
    """
    if policy is None:
        return {**dict.fromkeys(FIELDS, ""), "strategy": str(Strategy.DELETE), **_defaults()}
    data = policy.model_dump(mode="json")
    return {field: _to_text(field, data) for field in FIELDS}


def to_attributes(values: Mapping[str, str | bool], base: Policy | None = None) -> dict[str, Any]:
    """
    What was written, as plain values for :func:`make_policy`. What the strategy has no use for is left out.

    :param base: The policy that the form was filled with: fields that say what it says stay what they are.
    :raises InvalidInput: if pairs are not of the form ``key=value``.
    """
    shown = fields_for(str(values["strategy"]))
    before = to_values(base) if base else {}
    present = base.model_dump(mode="json") if base else {}
    found: dict[str, Any] = {}
    for field in (field for field in FIELDS if field in shown):
        value = values[field]
        kept = base is not None and value == before[field]
        meant = _pick(present, field) if kept else _to_value(field, value)
        if meant is not None and field in LIMITS:
            found.setdefault("expected_max", {})[field.partition(".")[2]] = meant
        elif meant is not None:
            found[field] = meant
    return found


def find_mistakes_in(values: Mapping[str, str | bool], base: Policy | None = None) -> dict[str, str]:
    """
    What is wrong, by field; ``""``: with the policy as a whole. A mistake that names empty fields is theirs.

    :param base: See :func:`to_attributes`.
    """
    mistakes: dict[str, str] = {}
    for field in fields_for(str(values["strategy"])).intersection(PAIRS):
        try:
            _to_value(field, values[field])
        except InvalidInput as error:
            mistakes[field] = f"{error.thing} {error.reason}; {error.remedy}".rstrip("; ")
    if mistakes:
        return mistakes
    for name, reason in find_mistakes(to_attributes(values, base)).items():
        said = "must not be empty" if reason == "missing" else reason
        mistakes.update(dict.fromkeys(_concerned(name, reason, values), said))
    return mistakes


def left_out(policy: Policy, strategy: str) -> list[str]:
    """The fields that say something, and that a strategy has no use for."""
    values, shown = to_values(policy), fields_for(strategy)
    plain = _defaults()
    return [field for field in FIELDS if field not in shown and values[field] not in ("", plain.get(field))]


def changes_of(before: Policy, after: Policy) -> dict[str, Any]:
    """The attributes that differ, as plain values; None: it says nothing any more."""
    old, new = (policy.model_dump(mode="json", exclude_defaults=True) for policy in (before, after))
    return {name: new.get(name) for name in Policy.model_fields if name != "id" and old.get(name) != new.get(name)}


def list_text(values: Iterable[str]) -> str:
    """Words with commas between them; one that has a comma itself is in quotes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(list(values))
    return out.getvalue().replace(",", ", ") if '"' not in out.getvalue() else out.getvalue()


def read_list(text: str) -> list[str]:
    """The words of :func:`list_text`, without empty ones."""
    rows = csv.reader([text.replace("\n", " ")], skipinitialspace=True)
    return [word.strip() for row in rows for word in row if word.strip()]


def _defaults() -> Values:
    """What a field says where nobody says anything."""
    given = make_default().model_dump(mode="json", exclude={"id", "strategy", "retention_period", "table_name"})
    return {name: value for name, value in given.items() if isinstance(value, str | bool)}


def make_default() -> Policy:
    """A policy that says only what it must."""
    return Policy(strategy=Strategy.DELETE, table_name="t", retention_period="forever")


def _concerned(name: str, reason: str, values: Mapping[str, str | bool]) -> list[str]:
    """The fields that a mistake is about."""
    if name in FIELDS:
        return [name]
    words = reason.replace(",", " ").replace(";", " ").split()
    if not name:
        named = [field for field in FIELDS if field in words]
        return [field for field in named if not values[field]] or named[:1] or [""]
    return [attribute_of(name)] if attribute_of(name) in FIELDS else [""]


def _pick(data: Mapping[str, Any], field: str) -> Any:
    attribute, _, part = field.partition(".")
    value = data[attribute]
    return (value or {}).get(part) if part else value


def _to_text(field: str, data: Mapping[str, Any]) -> str | bool:
    value = _pick(data, field)
    if value is None or isinstance(value, bool):
        return "" if value is None else value
    if field in LISTS:
        return list_text(value)
    if field in PAIRS:
        return write_pairs(
            {key: ",".join(each) if isinstance(each, list) else each for key, each in value.items()}, "\n"
        )
    return str(value)


def _to_value(field: str, value: str | bool) -> Any:
    """What was written, as a plain value; None: nothing."""
    if isinstance(value, bool):
        return value
    if field in PAIRS:
        pairs = read_pairs("line", [line for line in value.splitlines() if line.strip()])
        return {key: each or "" for key, each in pairs.items()} if field == "aggregates" else pairs
    if field in LISTS:
        return read_list(value)
    return value.strip() or None
