"""Identifiers: what somebody chose is named as a whole, what was made up by its beginning, and never what is lost."""

from __future__ import annotations

import pytest

from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.model.words import pick

UUID, TOKEN = "2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6", "2af93f0011223344"
KNOWN = {key: key for key in ("jobs-log", "abcdef", "abcdef-2", UUID, TOKEN, "c0ffee" + "0" * 26)}


@pytest.mark.parametrize(
    ("identifier", "found"),
    [("jobs-log", "jobs-log"), ("abcdef", "abcdef"), ("2af93f2", UUID), ("2af93f0", TOKEN), (UUID, UUID),
     ("c0ffee", "c0ffee" + "0" * 26)],
)  # fmt: skip
def test_found(identifier: str, found: str) -> None:
    """As a whole, or six characters of one that was made up."""
    assert pick("policy", identifier, KNOWN, "look") == found


@pytest.mark.parametrize("identifier", ["j", "jobs-lo", "abcdef-", "2af93", "c0ffe", "c0ffeeX", "JOBS-LOG", UUID + "0"])
def test_not_found(identifier: str) -> None:
    """Too little, or too much."""
    with pytest.raises(NotFound, match=f"policy {identifier}: does not exist"):
        pick("policy", identifier, KNOWN, "look")


@pytest.mark.parametrize("whole", [True, False])
def test_one(whole: bool) -> None:
    """Nothing, or the beginning of several."""
    with pytest.raises(InvalidInput, match="no identifier"):
        pick("policy", "", KNOWN, "look", whole=whole)
    with pytest.raises(NotFound if whole else InvalidInput, match=r"rite the whole|ambiguous, 2 match"):
        pick("policy", "2af93f", KNOWN, "look", whole=whole)


def test_whole() -> None:
    """Where something would be lost, no beginning is enough."""
    assert pick("hold", UUID, KNOWN, "look", whole=True) == UUID
    with pytest.raises(NotFound, match="Write the whole identifier; look"):
        pick("hold", UUID[:-1], KNOWN, "look", whole=True)
