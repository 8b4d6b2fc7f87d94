"""What it means to delete or disable a policy."""

from __future__ import annotations

import pytest

from cratedb_retention.model.consequences import of_deleting, of_disabling
from cratedb_retention.model.policy import Policy, Strategy, make_policy

MORE: dict[str, dict[str, str]] = {
    "delete": {},
    "reallocate": {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"},
    "snapshot": {"target_repository_name": "vault"},
    "downsample": {"levels": "1h:90d,1d:forever"},
}


def _policy(strategy: str) -> Policy:
    return make_policy(strategy=strategy, table_name="visits", retention_period="30d", **MORE[strategy])


@pytest.mark.parametrize("strategy", list(Strategy))
def test_going(strategy: str) -> None:
    """Deleting touches no row; both say what is no longer done."""
    policy = _policy(strategy)
    assert "no row is touched" in of_deleting(policy)
    assert "no longer" in of_deleting(policy)
    assert "no longer" in of_disabling(policy)
