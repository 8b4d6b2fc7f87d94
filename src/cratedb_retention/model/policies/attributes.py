"""
What is known of an attribute of a policy beside its type: it stands on the field, and options, forms, JSON schema,
documentation, table and validation follow from it.
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
    """Attributes that belong together in a form, in its order."""

    WHAT = "What happens"
    TABLES = "Which tables"
    PERIOD = "How long"
    SCHEDULE = "Schedule and tags"
    MORE = "Limits and more"  # Most people do without.


class Form(enum.StrEnum):
    """How an attribute is written, which follows from its type."""

    TEXT = "text"
    FLAG = "flag"
    CHOICE = "choice"  # One of the values of an enum.
    LIST = "list"  # Words with commas between them.
    PAIRS = "pairs"  # A word, and what belongs to it: ``tenant=acme``.
    PARTS = "parts"  # Attributes of its own.


@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """Names that exist."""

    default_schema: str = ""  # What an empty schema means.
    tables: tuple[TableName, ...] = ()
    columns: tuple[Column, ...] = ()  # Of the chosen tables, each once.
    repositories: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # Values of each attribute of nodes.
    tags: tuple[str, ...] = ()


Offer = Callable[[Suggestions, Mapping[str, Any]], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """
    An attribute: what the field says of it, and, from :func:`attributes_of`, what follows from its type.

    :param beside: Other attributes without which it means nothing, each with the value that it must have; empty: any.
    :param offer: What can be chosen for it, from what exists and what the other fields say; None: the examples.
    """

    text: str = ""  # What it is for, as a sentence, names and values in backticks; empty: the text below the field.
    group: Group = Group.MORE  # Its place in a form.
    label: str = ""  # What it is called there; empty: its name in words.
    strategies: tuple[Strategy, ...] = tuple(Strategy)  # Those that have a use for it.
    beside: Mapping[str, str] = field(default_factory=dict)
    metavar: str = ""  # What stands for its value in the help of a command; empty: its values, or ``TEXT``.
    examples: tuple[str | int, ...] = ()  # How it may be written.
    offer: Offer | None = None
    flag: str = ""  # The option of a flag, where it is not ``--name/--no-name``.
    may_be_empty: bool = False  # Whether an empty text is a value.
    # Filled in from the field.
    name: str = ""
    form: Form = Form.TEXT
    values: dict[str, str] = field(default_factory=dict)  # Of a choice, with what they are called.
    default: Any = None
    required: bool = False
    parts: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def called(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()

    @property
    def description(self) -> str:
        """What it is for, after what it is for alone: ``snapshot``, or ``schedule``."""
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
        """The values of a choice with what they are called; none if it can be left out as well."""
        return {} if self.default is None and not self.required else self.values

    def offered(self, found: Suggestions, said: Mapping[str, Any]) -> list[str]:
        return list(self.offer(found, said) if self.offer else self.values or map(str, self.examples))


def attributes_of(model: type[BaseModel]) -> dict[str, Attribute]:
    """The attributes of a model, each of whose fields is annotated with one, by name and in its order."""
    found = {}
    for name, info in model.model_fields.items():
        said = next(each for each in info.metadata if isinstance(each, Attribute))
        plain = _plain(info.annotation)
        form = _form(plain)
        found[name] = replace(
            said,
            name=name,
            form=form,
            metavar=said.metavar or ("DURATION" if plain is Duration else ""),
            text=said.text or " ".join((info.description or "").split()),
            values={str(each): getattr(each, "label", str(each)) for each in plain} if form is Form.CHOICE else {},
            default=None if info.is_required() else info.get_default(call_default_factory=True),
            required=info.is_required(),
            parts=attributes_of(plain) if form is Form.PARTS else {},
        )
    return found


def _plain(annotation: Any) -> Any:
    """A type without its annotations, and without None."""
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
    """Offer the columns of the chosen tables, or some of them."""
    return lambda found, said: (column.name for column in found.columns if fits(column))


@cache
def time_zones() -> list[str]:
    return sorted(zoneinfo.available_timezones())
