"""What no longer happens without a policy: said before one is deleted or disabled."""

from __future__ import annotations

import pytest

from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.model.policies.strategies import Strategy

MORE: dict[str, dict[str, str]] = {
    "delete": {},
    "reallocate": {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"},
    "snapshot": {"target_repository_name": "vault"},
    "downsample": {"levels": "1h:90d,1d:forever"},
    "compact": {},
}


def _policy(strategy: str) -> Policy:
    return make_policy(strategy=strategy, table_name="visits", retention_period="30d", **MORE[strategy])


@pytest.mark.parametrize("strategy", list(Strategy))
def test_without(strategy: str) -> None:
    """What no longer happens is said of the policy's own data."""
    ends = _policy(strategy).ends
    assert "no longer" in ends
    assert "visits" in ends
