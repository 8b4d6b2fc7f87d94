"""
What differs between two states of a policy: one line for each attribute, as pages show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """
    An attribute that is not what it was.

    :param before: Its value in words; None: it said nothing, which means the default.
    :param after: Likewise.
    """

    attribute: str
    before: str | None
    after: str | None


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Difference]:
    """
    What differs between two states of a policy, as ``Policy.to_dict`` and the audit log have them.

    An attribute that is None says as little as one that is missing.

    :param before: None: there was none.
    :param after: None: there is none any more.
    """
    old, new = before or {}, after or {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [Difference(name, _words(old.get(name)), _words(new.get(name))) for name in names]


def _words(value: object) -> str | None:
    """A value for people: a list without brackets, pairs as ``key=value``."""
    match value:
        case None:
            return None
        case str():
            return value
        case Mapping():
            return ", ".join(f"{key}={_inner(each)}" for key, each in value.items())
        case list() | tuple():
            return ", ".join(_inner(each) for each in value)
        case _:
            return _inner(value)


def _inner(value: object) -> str:
    if isinstance(value, str):
        return value
    return "NULL" if value is None else json.dumps(value, ensure_ascii=False, default=str)
