"""
Metadata of a policy's attributes. Each field is annotated with an `Attribute`, from which options, forms, JSON schema,
documentation, columns and validation are derived.
"""

from __future__ import annotations

import enum
import types
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.policies.strategies import Strategy


class Group(enum.StrEnum):
    """Sections of a form, in order."""

    TABLES = "Which data"
    LIFE = "What happens, and when"
    SCHEDULE = "Schedule and tags"
    MORE = "Limits and more"  # Rarely needed.


class Form(enum.StrEnum):
    """The syntax of an attribute, which follows from its type."""

    TEXT = "text"
    FLAG = "flag"
    CHOICE = "choice"  # One of the values of an enum.
    LIST = "list"  # Comma-separated words.
    PAIRS = "pairs"  # Keys with values: ``tenant=acme``.
    PARTS = "parts"  # Nested attributes.


@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """Existing names that a form can suggest."""

    default_schema: str = ""  # What an empty schema means.
    tables: tuple[TableName, ...] = ()
    columns: tuple[Column, ...] = ()  # Of the chosen tables, without duplicates.
    repositories: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # Custom attributes of nodes, with values.
    tags: tuple[str, ...] = ()
    matches: tuple[TableName, ...] = ()  # The tables that the chosen name or pattern matches.
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # Of some columns, as `where` writes them.
    unsupported: Mapping[str, str] = field(default_factory=dict)  # Strategies that the database lacks, with the reason.


Offer = Callable[[Suggestions, Mapping[str, Any]], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """
    An attribute: the annotation of the field, completed by :func:`attributes_of`.

    :param beside: Other attributes that it depends on, each with the required value; an empty value means any.
    :param offer: Makes suggestions from existing names and the other fields; None: the examples are suggested.
    """

    text: str = ""  # Its description, names and values in backticks.
    group: Group = Group.MORE  # Its section of a form.
    label: str = ""  # Its label in a form; empty: its name in words.
    strategies: tuple[Strategy, ...] = tuple(Strategy)  # The strategies that use it.
    beside: Mapping[str, str] = field(default_factory=dict)
    metavar: str = ""  # Placeholder of its value in the help of a command; empty: its values, or ``TEXT``.
    examples: tuple[str | int, ...] = ()
    offer: Offer | None = None
    flag: str = ""  # The option of a flag, if it is not ``--name/--no-name``.
    may_be_empty: bool = False  # Whether an empty text is a value.
    # Derived from the field.
    name: str = ""
    form: Form = Form.TEXT
    values: dict[str, str] = field(default_factory=dict)  # Of a choice, with their labels.
    default: Any = None
    required: bool = False
    parts: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def called(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()

    @property
    def description(self) -> str:
        """Its text, after the strategies or the attribute that it depends on: ``snapshot``, or ``schedule``."""
        some = self.strategies if len(self.strategies) < len(Strategy) else list(self.beside)[:1]
        if not some:
            return self.text
        return f"{', '.join(f'`{each}`' for each in some)}: {self.text[:1].lower()}{self.text[1:]}"

    @property
    def option(self) -> str:
        name = self.name.replace("_", "-")
        return (self.flag or f"--{name}/--no-{name}") if self.form is Form.FLAG else f"--{name}"

    @property
    def choices(self) -> dict[str, str]:
        """The values of a choice with their labels; empty if the attribute is optional without a default."""
        return {} if self.default is None and not self.required else self.values

    def offered(self, found: Suggestions, given: Mapping[str, Any]) -> list[str]:
        return list(self.offer(found, given) if self.offer else self.values or map(str, self.examples))


def attributes_of(model: type[BaseModel]) -> dict[str, Attribute]:
    """The attributes of a model by name, in the order of its fields, each of which is annotated with one."""
    found = {}
    for name, info in model.model_fields.items():
        given = next(each for each in info.metadata if isinstance(each, Attribute))
        plain = _plain(info.annotation)
        form = _form(plain)
        found[name] = replace(
            given,
            name=name,
            form=form,
            metavar=given.metavar or ("DURATION" if plain is Duration else ""),
            values={str(each): getattr(each, "label", str(each)) for each in plain} if form is Form.CHOICE else {},
            default=None if info.is_required() else info.get_default(call_default_factory=True),
            required=info.is_required(),
            parts=attributes_of(plain) if form is Form.PARTS else {},
        )
    return found


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return _plain(next(each for each in get_args(annotation) if each is not type(None)))
    return annotation


def _form(plain: Any) -> Form:
    kind = plain if isinstance(plain, type) else object
    if issubclass(kind, enum.StrEnum):
        return Form.CHOICE
    if issubclass(kind, BaseModel):
        return Form.PARTS
    if get_origin(plain) is dict:
        return Form.PAIRS
    return Form.FLAG if plain is bool else Form.LIST if plain == tuple[str, ...] else Form.TEXT


def columns(fits: Callable[[Column], bool] = lambda column: True) -> Offer:
    """Suggest columns of the chosen tables."""
    return lambda found, given: (column.name for column in found.columns if fits(column))


@cache
def time_zones() -> list[str]:
    return sorted(zoneinfo.available_timezones())
