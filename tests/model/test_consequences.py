"""What it means to delete, disable or enable a policy."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.model.consequences import of_deleting, of_disabling, of_enabling
from cratedb_retention.model.policy import Strategy, make_policy

NOW = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
MORE: dict[str, dict[str, str]] = {
    "delete": {},
    "reallocate": {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"},
    "snapshot": {"target_repository_name": "vault"},
    "downsample": {"levels": "1h:90d,1d:forever"},
}


def _policy(strategy: str, period: str = "30d", **more: Any) -> Any:
    return make_policy(strategy=strategy, table_name="visits", retention_period=period, **MORE[strategy], **more)


@pytest.mark.parametrize(
    ("strategy", "more", "expected"),
    [
        ("delete", {}, ["deletes all data of visits from before 2024-06-02", "only by hand"]),
        ("delete", {"schedule": "@daily"}, ["schedule (@daily)"]),
        ("delete", {"period": "forever"}, ["nothing is taken away"]),
        ("reallocate", {}, ["moves data", "storage=cold", "No row is lost"]),
        ("snapshot", {}, ["archives data", "in vault", "drops it"]),
        ("downsample", {}, ["rolls visits up (1h:90d, 1d:forever)", "deletes raw data"]),
    ],
)
def test_enabling(strategy: str, more: dict[str, str], expected: list[str]) -> None:
    """The next run is told with the instant that it takes."""
    said = of_enabling(_policy(strategy, **more), NOW)
    assert all(each in said for each in expected), said


@pytest.mark.parametrize("strategy", list(Strategy))
def test_going(strategy: str) -> None:
    """Deleting touches no row; both say what is no longer done."""
    policy = _policy(strategy)
    assert "no row is touched" in of_deleting(policy)
    assert "no longer" in of_deleting(policy)
    assert "no longer" in of_disabling(policy)
