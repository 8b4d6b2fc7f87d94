"""What only the tests of exactness need."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def make_ranges_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs make ranges of sealed windows however few there are."""
    monkeypatch.setattr("cratedb_retention.execution.rollups.rolling.MOST_SMALL", 0)
