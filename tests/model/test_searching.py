"""Policies are found by what people type."""

from __future__ import annotations

import pytest

from cratedb_retention.model.policies.policy import make_policy

POLICY = make_policy(
    strategy="delete",
    table_schema="shop",
    table_name="Visits",
    retention_period="90d",
    where={"tenant": "acme"},
    tags=["web", "eu"],
    description="What visitors looked at",
    id="v1",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("  ", True),
        ("visits", True),
        ("shop.vis", True),
        ("LOOKED web", True),
        ("tenant=acme", True),
        ("90d delete", True),
        ("v1", True),
        ("web orders", False),
        ("us", False),
        (".*", False),
    ],
)
def test_matches(text: str, expected: bool) -> None:
    """Each word must occur, in whatever case and order."""
    assert POLICY.mentions(text) is expected
