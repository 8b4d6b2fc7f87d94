"""
Where pages are: the only place that puts their addresses together; and filters that stand in them, so that they can be
kept and handed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from starlette.datastructures import QueryParams

from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.strategies import Strategy, parse_strategy
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import short
from cratedb_retention.ui.columns import Bit

PREFIX = "/ui"
LOGIN, LOGOUT = f"{PREFIX}/login", f"{PREFIX}/logout"
# The menu: names of pages, and where they are below the prefix.
MENU = (
    ("Overview", "/"),
    ("Policies", "/policies"),
    ("Plan", "/plan"),
    ("Forecast", "/forecast"),
    ("Runs", "/runs"),
    ("Activity", "/activity"),
    ("Archive", "/archive"),
    ("Holds", "/holds"),
    ("Explore", "/explore"),
)
ADMINISTRATION = ("Admin", "/administration")  # For those with this role.
# What stands behind the question mark; a name may be there several times.
Query = QueryParams
# Between the values of a field that can have several, which the address has one by one.
OR = " or "


def address(path: str, values: Query | Mapping[str, str]) -> str:
    """The address of a page of ours with filters; empty ones are omitted."""
    pairs = values.multi_items() if isinstance(values, Query) else values.items()
    query = urlencode([(name, value) for name, value in pairs if value])
    return f"{PREFIX}{path}" + (f"?{query}" if query else "")


def read_first(query: Query, name: str = "first") -> int:
    """The place of the first row of a list that an address shows; the list may have a name of its own in it."""
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def policy(identifier: str | None) -> str:
    return f"{PREFIX}/policies/{quote(identifier or '', safe='')}"


def new_policy(copied: str = "", table: TableName | None = None, period: str = "") -> str:
    """The page of a new policy: empty, a copy of one, or for a table, perhaps with a retention period."""
    return address("/policies/new", {"copy": copied, "table": str(table) if table else "", "period": period})


def policy_file(**query: str) -> str:
    """The page that imports policies, with choices."""
    return address("/policy-file", query)


def table(name: TableName, /, **query: str) -> str:
    """
    The page of a table, ``/tables/schema.name``, with choices. The first dot ends the schema, so another one within it
    is written in a way that browsers leave as it is.
    """
    schema = quote(name.schema, safe="").replace(".", "%2E")
    return address(f"/tables/{schema}.{quote(name.name, safe='')}", query)


def table_bit(name: TableName) -> Bit:
    """A table in a table: its name, which leads to its page."""
    return Bit(text=str(name), href=table(name))


def read_table(path: str) -> TableName | None:
    """The table of such an address, whose path is not decoded; None if it is none."""
    schema, _, name = path.removeprefix(f"{PREFIX}/tables/").partition(".")
    return TableName(unquote(schema), unquote(name)) if schema and name and "/" not in schema + name else None


def policies(**query: str) -> str:
    """The list of policies, with filters."""
    return address("/policies", query)


def tag_bit(text: str) -> Bit:
    """A tag in a table, which leads to all policies that have it."""
    return Bit(text=text, href=policies(tags=text), tone="tag", hint=f"All policies with the tag {text}")


def runs(**query: str) -> str:
    """The page of all runs, with filters."""
    return address("/runs", query)


def run(identifier: str, /, **query: str) -> str:
    """The page of a run, with choices."""
    return address(f"/runs/{quote(identifier, safe='')}", query)


def run_bit(identifier: str | None) -> Bit:
    """A run in a table: the beginning of its identifier, which leads to its page."""
    return Bit(text=short(identifier), href=run(identifier), hint=f"Run {identifier}") if identifier else Bit(text="")


def hold_bit(identifier: str, text: str = "") -> Bit:
    """A legal hold in a table: its name, which leads to it on the page of all of them."""
    return Bit(text=text or f"hold {short(identifier)}", href=address("/holds", {"q": identifier}), hint=identifier)


def forecast(table: TableName | None = None) -> str:
    """The page of forecasts, of one table or of all."""
    return address("/forecast", {"table": str(table) if table else ""})


def activity(**query: str) -> str:
    """The page of the audit log, with filters."""
    return address("/activity", query)


@dataclass(frozen=True, kw_only=True)
class Field:
    name: str  # In the address.
    label: str
    choices: Mapping[str, str] | None = None  # With how they are shown; None: it is written.
    hint: str = ""  # An example.
    unset: str = "any"  # What stands for no choice.
    several: bool = False  # Whether it can have several values.

    def text(self, given: Query) -> str:
        return OR.join(given.getlist(self.name)) if self.several else given.get(self.name, "")

    def values(self, text: str) -> list[str]:
        found = text.split(OR) if self.several else [text]
        return [value for value in map(str.strip, found) if value]


TAGS = Field(name="tags", label="Tags", hint="acme,web or acme,not:old", several=True)
POLICY = Field(name="policy", label="Policy", hint="its identifier", several=True)
STRATEGY = Field(name="strategy", label="Strategy", choices={str(strategy): str(strategy) for strategy in Strategy})


def read_tags(query: Query) -> TagFilter:
    """The filter by tags, as the HTTP API has it: ``a,b`` both, repeated either, ``not:c`` those without c."""
    return parse_tag_filter(TAGS.values(TAGS.text(query)))


def read_selection(query: Query) -> Selection:
    """Which policies are meant; raises InvalidInput if there is no such strategy, or the tags are no filter."""
    strategy = parse_strategy(query["strategy"]) if query.get("strategy") else None
    named = POLICY.values(POLICY.text(query))
    several = frozenset(named) if len(named) > 1 else None
    one = named[0] if len(named) == 1 else None
    return Selection(strategy=strategy, tags=read_tags(query), policy_id=one, policy_ids=several)
