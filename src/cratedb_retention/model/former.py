"""
Former names of states and outcomes: accepted, and shown beside the present ones, for one version. To end that, delete
this module and what uses it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

# Outcomes and events of the audit log, and kinds of notifications: rows keep what was written.
VALUES: Mapping[str | None, str] = {"held": "blocked", "problem": "needs-attention"}
METRICS = {"held": "blocked", "problems": "needs_attention"}
SETTINGS = {"notify.held_longer_than": "notify.blocked_longer_than"}
# Of the header that tells it over HTTP (RFC 9745): in seconds since 1970.
DEPRECATED_SINCE = "@1796083200"


def present(value: Any) -> Any:
    return VALUES.get(value, value)


def spellings(value: str) -> list[str]:
    """The present and the former spellings of a value, to find rows by."""
    return sorted({str(present(value)), *(str(old) for old, new in VALUES.items() if new == present(value))})


class Former:
    """A former name of an attribute."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, thing: Any, kind: type[Any]) -> Any:
        if thing is None:
            return self
        warnings.warn(f"a former name of {kind.__name__}.{self.name}", DeprecationWarning, stacklevel=2)
        return getattr(thing, self.name)
