"""
What differs between states of a policy, attribute by attribute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """
    An attribute that is not the same in all states.

    :param values: Its plain value in each of them; None: it says nothing there, which means the default.
    """

    attribute: str
    values: tuple[Any, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The values for people: a list without brackets, pairs as ``key=value``."""
        return tuple("not set" if value is None else _words(value) for value in self.values)


def differences(*states: Mapping[str, Any] | None) -> list[Difference]:
    """
    What differs between states of a policy, as ``Policy.to_dict`` and the audit log have them.

    An attribute that is None says as little as one that is missing.

    :param states: In order of time; None: there was no policy, or there is none any more.
    """
    names = dict.fromkeys(name for state in states for name in state or ())
    found = [Difference(name, tuple((state or {}).get(name) for state in states)) for name in names]
    return [each for each in found if any(value != each.values[0] for value in each.values)]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_inner(each)}" for key, each in value.items())
    return ", ".join(map(_inner, value)) if isinstance(value, list | tuple) else _inner(value)


def _inner(value: object) -> str:
    if isinstance(value, str):
        return value
    return "NULL" if value is None else json.dumps(value, ensure_ascii=False, default=str)
