"""
Where pages are: the only place that puts their addresses together.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

PREFIX = "/ui"


def address(path: str, values: Mapping[str, str]) -> str:
    """The address of a page of ours with filters; empty ones are left out."""
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{PREFIX}{path}" + (f"?{query}" if query else "")


def policy(identifier: str) -> str:
    """The editor of a policy."""
    return f"{PREFIX}/policies/{quote(identifier, safe='')}"


def new_policy(copied: str = "") -> str:
    """The editor of a policy that is not there yet, perhaps like another one."""
    return address("/policies/new", {"copy": copied})


def timeline(schema: str, name: str) -> str:
    """The timeline of a table."""
    return f"{PREFIX}/tables/{quote(schema, safe='')}/{quote(name, safe='')}"
