"""
Where pages are: the only place that puts their addresses together.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

PREFIX = "/ui"


def policy(identifier: str) -> str:
    """The editor of a policy."""
    return f"{PREFIX}/policies/{quote(identifier, safe='')}"


def new_policy(copied: str = "") -> str:
    """The editor of a policy that is not there yet, perhaps like another one."""
    return f"{PREFIX}/policies/new" + (f"?{urlencode({'copy': copied})}" if copied else "")


def timeline(table: str) -> str:
    """The timeline of a table, named in full as ``schema.name``."""
    schema, _, name = table.partition(".")
    return f"{PREFIX}/tables/{quote(schema, safe='')}/{quote(name, safe='')}"
