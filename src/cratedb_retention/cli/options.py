"""Options that several commands share, with the names of cratedb-toolkit."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

import click

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.former import present
from cratedb_retention.model.policies.strategies import Strategy, parse_strategy
from cratedb_retention.model.runs import LEASE_MEANING, LEASE_SECONDS, LONGEST_LEASE, SHORTEST_LEASE

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from cratedb_retention.api import Retention
    from cratedb_retention.execution.plan.preparing import Prepared, Selection
    from cratedb_retention.model.policies.policy import Policy

F = TypeVar("F", bound=Callable[..., Any])


class _Text(click.types.StringParamType):
    """Text that is not empty: an empty variable in a script must not select everything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        return text if text.strip() else self.fail("must not be empty", param, ctx)


TEXT = _Text()


class Values(click.Choice[str]):
    """The values of an enumeration; a former name of one is accepted, with a warning."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__(tuple(map(str, values)))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        now = present(value)
        if now != value and now in self.choices:
            name = param.opts[0] if param else ""
            click.echo(f"Warning: {name}={value} is deprecated; use {name}={now}", err=True)
            value = now
        return str(super().convert(value, param, ctx))


def one_of(*values: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completion for an option with these values, which validates them itself."""
    return lambda ctx, param, incomplete: [value for value in values if value.startswith(incomplete)]


def combine(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    """Apply decorators, the first one outermost."""
    return lambda function: functools.reduce(lambda decorated, each: each(decorated), reversed(decorators), function)


def gathered(name: str, make: Callable[..., object], *added: Callable[[Any], Any]) -> Callable[[F], F]:
    """Add options. Their values are passed to ``make`` by name, and its result to the command as ``name``."""
    parameters = inspect.signature(make).parameters

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            return function(**{name: make(**{each: given.pop(each) for each in parameters})}, **given)

        return cast(F, combine(*added)(command))

    return decorate


@dataclass(frozen=True)
class Database:
    """The database of a command, as given by the user."""

    dburi: str | None
    schema: str
    wait: float | None  # Seconds.

    @contextmanager
    def open(self, create: bool = False, read_only: bool = False) -> Iterator[Retention]:
        """Open it; a DuckDB file can have several readers. Raises InvalidInput without address."""
        from cratedb_retention.api import Retention

        if not self.dburi:
            remedy = "give it as the last argument or in CRATEDB_URI, such as crate://localhost:4200/"
            raise InvalidInput("database address", "missing", remedy)
        loaded = click.get_current_context().obj
        with Retention(
            self.dburi,
            self.schema,
            create=create,
            read_only=read_only,
            wait=self.wait or 0.0,
            catalog=loaded.settings.iceberg.catalog if loaded else None,
        ) as retention:
            yield retention


database = gathered(
    "database",
    Database,
    click.argument("dburi", envvar="CRATEDB_URI", required=False),
    click.option(
        "--schema",
        type=TEXT,
        envvar="CRATEDB_EXT_SCHEMA",
        default="ext",
        show_default=True,
        help="Schema of the toolkit's own tables.",
    ),
    click.option(
        "--wait",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="Maximum time to wait while another process has the DuckDB file open, in seconds. [default: 0]",
    ),
)


def connected(read_only: bool = False) -> Callable[[F], F]:
    """Add the options of :data:`database`, and pass the open database to the command as ``retention``."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*, database: Database, **others: Any) -> Any:
            with database.open(read_only=read_only) as retention:
                return function(retention=retention, **others)

        return database(cast(F, command))

    return decorate


output_format = click.option(
    "--format", "form", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="Format."
)
tags = click.option(
    "--tags",
    multiple=True,
    metavar="A,B,not:C",
    help="Only policies that have all of these tags; `not:` excludes a tag. Repeat the option for alternatives.",
)
lease = click.option(
    "--lease",
    type=click.FloatRange(SHORTEST_LEASE, LONGEST_LEASE),
    default=LEASE_SECONDS,
    show_default=True,
    help=LEASE_MEANING,
)


def settings(section: type[BaseModel], *names: str) -> Callable[[F], F]:
    """Options for all or some settings of a section, with their names, limits, defaults and descriptions."""
    return combine(*(_setting(name, section.model_fields[name]) for name in names or section.model_fields))


def _setting(name: str, field: FieldInfo) -> Callable[[Any], Any]:
    option, default, kind = f"--{name.replace('_', '-')}", field.default, field.annotation
    if kind is bool:
        return click.option(option, is_flag=True, help=field.description)
    limits = {key: getattr(each, key) for each in field.metadata for key in ("ge", "le") if hasattr(each, key)}
    shape: Any = click.STRING
    if kind in (int, float):
        shape = (click.IntRange if kind is int else click.FloatRange)(limits.get("ge"), limits.get("le"))
    elif isinstance(default, StrEnum):
        shape, default = click.Choice([str(value) for value in type(default)]), str(default)
    return click.option(option, type=shape, default=default, show_default=default is not None, help=field.description)


def policy_id(required: bool = False) -> Callable[[F], F]:
    text = "Identifier of the policy; the first six characters of a generated one suffice."
    return click.option("--identifier", "--id", "id", type=TEXT, required=required, help=text)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The policies that a command selects, as given by the user."""

    strategy: str | None
    tags: tuple[str, ...]
    policy_id: str | None

    def read(self, retention: Retention) -> Selection:
        """The selection for the library. Raises InvalidInput or NotFound for an unknown strategy or policy."""
        from cratedb_retention.execution.plan.preparing import Selection
        from cratedb_retention.model.policies.tags import parse_tag_filter

        strategy = parse_strategy(self.strategy) if self.strategy else None
        found = retention.policies.get(self.policy_id).policy.id if self.policy_id else None
        return Selection(strategy=strategy, tags=parse_tag_filter(self.tags), policy_id=found)


_selection = (
    click.option(
        "--strategy",
        type=TEXT,
        shell_complete=one_of(*Strategy),
        help=f"Only policies with this strategy: {', '.join(Strategy)}.",
    ),
    tags,
    click.option("--policy", "policy_id", type=TEXT, help="Only the policy with this identifier."),
)
selection = gathered("chosen", Chosen, *_selection)


@dataclass(frozen=True, kw_only=True)
class Asked(Chosen):
    """A selection and a cutoff. Raises InvalidInput if the cutoff is invalid or given twice."""

    cutoff: str | None
    cutoff_day: str | None
    allow_future_cutoff: bool

    def __post_init__(self) -> None:
        _ = self.moment

    @property
    def moment(self) -> dt.datetime | None:
        """The cutoff; None: now."""
        from cratedb_retention.model.time import parse_day, parse_instant

        if self.cutoff and self.cutoff_day:
            raise InvalidInput("--cutoff and --cutoff-day", "cannot be combined", "omit one of them")
        return parse_day(self.cutoff_day) if self.cutoff_day else parse_instant(self.cutoff) if self.cutoff else None

    def prepare(self, retention: Retention, accepted: bool = False) -> Prepared:
        """The plan; ``accepted``: what is unusual or exceeds a limit is not blocked."""
        chosen = replace(self.read(retention), accepted=accepted)
        return retention.prepare(self.moment, chosen, allow_future=self.allow_future_cutoff)


asked = gathered(
    "asked",
    Asked,
    *_selection,
    click.option(
        "--cutoff", type=TEXT, metavar="INSTANT", help="Cutoff, such as 2024-06-01T12:00:00+02:00. [default: now]"
    ),
    click.option(
        "--cutoff-day", type=TEXT, metavar="DAY", help="Cutoff at the start of this day in UTC, such as 2024-06-01."
    ),
    click.option("--allow-future-cutoff", is_flag=True, help="Allow a cutoff in the future."),
)
raw_table = combine(
    click.option("--table-name", type=TEXT, required=True, help="Table with the raw rows."),
    click.option("--table-schema", type=TEXT, help="Schema of the table. [default: the database's]"),
)


def read_policies(file: TextIO) -> list[Policy]:
    """The policies of a file that is open; raises InvalidInput if it is not a policy file."""
    from cratedb_retention.model.policies.file import parse_policies

    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise InvalidInput(file.name, f"not UTF-8 text ({error.reason})") from None
    return parse_policies(text, file.name)
