"""
Looks again right before a task begins, since planning may be hours ago: was its policy changed, was a hold placed?
"""

from __future__ import annotations

from cratedb_retention.errors import PartitionChanged
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.patterns import find_tables
from cratedb_retention.model.plan import Task
from cratedb_retention.model.reasons import Why
from cratedb_retention.store.store import Store


class Guard:
    """
    Compares the database with what a plan rests on.

    :param prepared: The plan and its foundation.
    """

    def __init__(self, store: Store, prepared: Prepared) -> None:
        self._store, self._prepared = store, prepared

    def check(self, task: Task) -> None:
        """
        Make sure that a task may begin.

        :raises PartitionChanged: if the policy was changed, disabled or deleted, or a hold was placed on the table.
        """
        policy_id = task.policy_id
        version, holds = self._store.read_together(
            lambda: None if policy_id is None else self._store.policies.version_of(policy_id),
            # Not refreshed: whoever places a hold by the toolkit makes it visible as well.
            lambda: self._store.holds.active(refresh=False),
        )
        if policy_id is not None and version != self._prepared.versions.get(policy_id):
            thing = f"policy {policy_id}"
            raise PartitionChanged(thing, "was changed, disabled or deleted since the plan was made", "plan again")
        own = self._prepared.catalog.capabilities
        for hold in holds:
            if hold.id in self._prepared.holds:
                continue
            if find_tables(hold.table_schema or own.default_schema, hold.table_name, [task.table], own.folds_case):
                raise PartitionChanged(f"table {task.table}", Why.HOLD_PLACED(hold=hold), "plan again")
