"""
What becomes of each policy of cratedb-toolkit 0.1.1: what ran there runs here, and nothing else does.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.store.setup import take_over

NOW = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
TABLES = {
    ("doc", "raw"): {"day": "timestamp with time zone"},
    ("doc", "epochs"): {"day": "bigint"},
    ("doc", "texts"): {"month": "text"},
    ("doc", "two"): {"day": "timestamp with time zone", "tenant": "text"},
    ("doc", "whole"): {},
    ("doc", "Raw"): {"day": "timestamp with time zone"},
}


def old(**more: Any) -> dict[str, Any]:
    """A row of its table."""
    row = {"id": "a", "strategy": "delete", "table_schema": "doc", "table_name": "raw", "partition_column": "day"}
    return {**row, "retention_period": 7, "tags": None, "target_repository_name": None, **more}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"retention_period": 0},
        {"table_name": "epochs"},
        {"table_name": "two"},
        {"table_name": "not there"},
        {"table_name": "Raw"},
        {"tags": {"x": "true"}},
        {"strategy": "snapshot", "target_repository_name": "cold"},
    ],
)
def test_what_ran(more: dict[str, Any]) -> None:
    """It goes on as it was, by whole days."""
    found = take_over(old(**more), TABLES, NOW)
    assert found.enabled
    assert found.row["cutoff_by"] == "day"
    assert found.words.endswith(": unchanged")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"strategy": "DELETE"}, "it expects the strategy delete"),
        ({"table_schema": None}, "the policy has no schema"),
        ({"table_name": "ra*"}, "literally"),
        ({"table_schema": "do?"}, "literally"),
        ({"partition_column": "Day"}, "does not quote"),
        ({"partition_column": "tags['day']"}, "does not quote"),
        ({"table_name": "texts", "partition_column": "month"}, "neither a time nor a number"),
        ({"table_name": "whole"}, "not partitioned by day"),
        ({"table_name": "two", "strategy": "snapshot", "target_repository_name": "cold"}, "partitioned by day, tenant"),
        ({"table_name": "Raw", "strategy": "snapshot", "target_repository_name": "cold"}, "capital letters"),
    ],
)
def test_what_never_ran(more: dict[str, Any], reason: str) -> None:
    """It is kept, says why, and is disabled until a person enables it."""
    found = take_over(old(**more), TABLES, NOW)
    assert not found.enabled
    assert "cratedb-toolkit never ran it" in found.words
    assert reason in found.words
    assert reason in found.row["description"]


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "snapshot"},
        {"strategy": "reallocate"},
        {"strategy": "shrink"},
        {"table_name": None},
        {"retention_period": -1},
    ],
)
def test_what_is_not_valid(more: dict[str, Any]) -> None:
    """It is kept as it is, and disabled."""
    found = take_over(old(**more), TABLES, NOW)
    assert not found.enabled
    assert "disabled: " in found.words


@pytest.mark.parametrize("tag", ["a,b", "not:a", " "])
def test_tags_that_nobody_can_name(tag: str) -> None:
    """A policy does not stop for a tag that has no use; the others stay, and one without a value is none."""
    found = take_over(old(tags={tag: "true", "x": "true", "gone": None}), TABLES, NOW)
    assert found.enabled
    assert list(found.row["tags"]) == ["x"]
    assert f"tag {tag!r} is dropped" in found.words
