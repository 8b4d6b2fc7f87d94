"""
Many policies at once: stored as rows, since creating them one by one looks at all others each time. And what runs left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention import Retention
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.store.policies import policy_to_row


def store_policies(retention: Retention, policies: Sequence[dict[str, Any]]) -> None:
    """Replace all stored policies of a database."""
    database, table = retention.engine.database, retention.store.tables.policy
    database.refresh(table)  # What `setup` has just stored is to be found.
    made = [make_policy(id=f"p{number:05}", **attributes) for number, attributes in enumerate(policies)]
    database.execute(sa.delete(table))
    database.refresh(table)
    rows = [policy_to_row(policy, 1, retention.clock.now(), "bench") for policy in made]
    database.execute(sa.insert(table), rows)
    database.refresh(table)


def forget_runs(retention: Retention) -> None:
    """Make the next run the first one: it is unusual that all is due once more as soon as a run has expired it."""
    database, tables = retention.engine.database, retention.store.tables
    for table in (tables.journal, tables.result, tables.lease):
        database.execute(sa.delete(table))
        database.refresh(table)


def statements(retention: Retention) -> int:
    """How many statements were sent so far."""
    return retention.engine.database.statements
