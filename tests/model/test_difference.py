"""What differs between two states of a policy."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.model.policies.policy import differences

OLD = {"strategy": "delete", "retention_period": "90d", "tags": ["acme", "web"], "where": {"tenant": "acme", "x": None}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, []),
        (OLD, OLD, []),
        (OLD, {**OLD, "schedule": None}, []),
        (OLD, {**OLD, "retention_period": "30d"}, [("retention_period", "90d", "30d")]),
        (OLD, {**OLD, "enabled": False}, [("enabled", None, "false")]),
        (OLD, {**OLD, "tags": []}, [("tags", "acme, web", "")]),
        ({"where": {"tenant": "acme", "x": None}}, None, [("where", "tenant=acme, x=NULL", None)]),
        (None, {"strategy": "delete"}, [("strategy", None, "delete")]),
        (
            {"expected_max": {"rows": 5}},
            {"expected_max": {"rows": 6, "percent": 1.5}},
            [("expected_max", "rows=5", "rows=6, percent=1.5")],
        ),
        (
            {"aggregates": {"*": ["min", "max"]}},
            {"aggregates": {}},
            [("aggregates", '*=["min", "max"]', "")],
        ),
    ],
)
def test_difference(
    before: dict[str, Any] | None, after: dict[str, Any] | None, expected: list[tuple[str, str | None, str | None]]
) -> None:
    """Only what differs, in the order of the attributes."""
    found = differences(before, after)
    words = [
        tuple(None if value is None else text for value, text in zip(d.values, d.words, strict=True)) for d in found
    ]
    assert [(d.attribute, *said) for d, said in zip(found, words, strict=True)] == expected


def test_three_states() -> None:
    """What somebody else wrote meanwhile is compared with both other states; a default is named as what it is."""
    (found,) = differences(OLD, {**OLD, "enabled": False}, OLD)
    assert (found.attribute, found.words) == ("enabled", ("not set", "false", "not set"))
