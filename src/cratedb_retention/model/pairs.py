"""
``KEY=VALUE`` pairs as people write them, and values as they are written.

``NULL`` is NULL. The text NULL stands in quotes, ``'NULL'``; a text that has these quotes itself gets another pair of
them. All other values are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from cratedb_retention.errors import InvalidInput

NULL = "NULL"
_QUOTES = r"""['"]"""
_QUOTED = re.compile(rf"{_QUOTES}*{NULL}{_QUOTES}*")


def read_value(text: str) -> str | None:
    """The value that a text stands for: NULL is None, and ``'NULL'`` the text NULL."""
    if text == NULL:
        return None
    return text[1:-1] if _is_quoted(text) else text


def write_value(value: object) -> str:
    """A value as :func:`read_value` reads it."""
    if value is None:
        return NULL
    text = plain_text(value)
    return f"'{text}'" if text == NULL or _is_quoted(text) else text


def _is_quoted(text: str) -> bool:
    """Whether it is NULL in quotes, however many pairs of them."""
    return text != NULL and text == text[::-1].replace(NULL[::-1], NULL) and _QUOTED.fullmatch(text) is not None


def plain_text(value: object) -> str:
    """A number or truth value as JSON and SQL write it; text as it is."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_pairs(pairs: Mapping[str, object] | Iterable[tuple[str, object]], separator: str = ", ") -> str:
    """Pairs for people: ``tenant=acme, site=NULL``."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return separator.join(f"{key}={write_value(value)}" for key, value in items)


def read_pairs(option: str, values: Sequence[str], example: str = "tenant=acme") -> dict[str, str | None]:
    """
    Read ``KEY=VALUE`` pairs, see :func:`read_value`.

    :param option: What they were given as, for errors.

    :raises InvalidInput: if one is not of that form, or a key is there twice.
    """
    pairs: dict[str, str | None] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InvalidInput(f"{option} {text!r}", "not of the form KEY=VALUE", f"write it like {example}")
        if key in pairs:
            raise InvalidInput(f"{option} {key}", "given twice")
        pairs[key] = read_value(value)
    return pairs
