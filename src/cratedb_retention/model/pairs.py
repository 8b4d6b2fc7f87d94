"""
``KEY=VALUE`` pairs as people write them.
"""

from __future__ import annotations

from collections.abc import Sequence

from cratedb_retention.errors import InvalidInput


def read_pairs(option: str, values: Sequence[str], example: str = "tenant=acme") -> dict[str, str | None]:
    """
    Read ``KEY=VALUE`` pairs; the value ``NULL`` means NULL.

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
        pairs[key] = None if value == "NULL" else value
    return pairs
