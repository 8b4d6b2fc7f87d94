"""
Identifiers as people name them: one that somebody chose as a whole; of one that was made up the beginning is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from cratedb_retention.errors import InvalidInput, NotFound

# Shorter beginnings are mistyped too easily.
SHORTEST = 6
_MADE_UP = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){4}[0-9a-f]{8}|[0-9a-f]{16}")
T = TypeVar("T")


def is_made_up(identifier: str) -> bool:
    """Whether an identifier looks like those that the toolkit makes up."""
    return _MADE_UP.fullmatch(identifier) is not None


def begins(identifier: str, beginning: str) -> bool:
    """Whether a text is an identifier as a whole, or enough of its beginning."""
    return identifier == beginning or (len(beginning) >= SHORTEST and identifier.startswith(beginning))


def pick(
    thing: str,
    identifier: str,
    known: Mapping[str, T],
    remedy: str,
    missing: str = "does not exist",
    whole: bool = False,
) -> T:
    """
    What an identifier means.

    :param thing: What it is of, for errors: ``policy``.
    :param known: What there is, by identifier.
    :param remedy: Where the identifiers are to be seen.
    :param missing: What is wrong if there is none.
    :param whole: Whether its beginning is never enough, since something would be lost by a mistake.
    :raises NotFound: if there is none.
    :raises InvalidInput: if nothing was given, or it is the beginning of several.
    """
    if not identifier:
        raise InvalidInput(thing, "no identifier", remedy)
    if identifier in known:
        return known[identifier]
    begun = [key for key in known if key.startswith(identifier)]
    found = [key for key in begun if is_made_up(key) and begins(key, identifier) and not whole]
    if len(found) > 1:
        raise InvalidInput(f"{thing} {identifier}", f"fits {len(found)}", "write more of the identifier")
    if not found:
        remedy = f"write the whole identifier; {remedy}" if begun else remedy
        raise NotFound(f"{thing} {identifier}", missing, remedy)
    return known[found[0]]
