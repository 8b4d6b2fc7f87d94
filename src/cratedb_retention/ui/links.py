"""
Where pages are: the only place that puts their addresses together.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

PREFIX = "/ui"
# What stands behind the question mark; a name may be there several times.
Query = QueryParams


def address(path: str, values: Query | Mapping[str, str]) -> str:
    """The address of a page of ours with filters; empty ones are left out."""
    pairs = values.multi_items() if isinstance(values, Query) else values.items()
    query = urlencode([(name, value) for name, value in pairs if value])
    return f"{PREFIX}{path}" + (f"?{query}" if query else "")


def policy(identifier: str) -> str:
    """The editor of a policy."""
    return f"{PREFIX}/policies/{quote(identifier, safe='')}"


def new_policy(copied: str = "") -> str:
    """The editor of a policy that is not there yet, perhaps like another one."""
    return address("/policies/new", {"copy": copied})


def tagged(tag: str) -> str:
    """The list of policies with a tag."""
    return address("/policies", {"tags": tag})


def archived(table: str) -> str:
    """The archive of a table."""
    return address("/archive", {"table": table})


def timeline(schema: str, name: str) -> str:
    """The timeline of a table."""
    return f"{PREFIX}/tables/{quote(schema, safe='')}/{quote(name, safe='')}"
