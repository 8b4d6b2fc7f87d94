"""
Stored policies. Each change is in the journal with before, after, who and when; concurrent changes are told apart by
the policy's version.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict, InvalidInput, NotFound
from cratedb_retention.model.policy import Policy
from cratedb_retention.store.codec import policy_to_row, row_to_policy
from cratedb_retention.store.journal import Entry, Event, Journal


@dataclass(frozen=True)
class StoredPolicy:
    """A policy and the version that a change of it must name."""

    policy: Policy
    version: int


@dataclass(frozen=True)
class Damaged:
    """A row of the policy table that is no valid policy."""

    id: str
    target: str
    reason: str
    enabled: bool


class PolicyStore:
    """Reads and changes policies."""

    def __init__(self, database: Database, table: sa.Table, journal: Journal, clock: Clock, actor: Actor) -> None:
        self._database, self._table, self._journal = database, table, journal
        self._clock, self._actor = clock, actor

    def all(self, refresh: bool = True) -> tuple[list[StoredPolicy], list[Damaged]]:
        """
        All policies in the order of their tables, and the rows that are none.

        :param refresh: Whether what others wrote may not be visible yet.
        """
        if refresh:
            self._database.refresh(self._table)
        c = self._table.c
        rows = self._database.query(sa.select(self._table).order_by(c.table_schema, c.table_name, c.strategy, c.id))
        policies, damaged = [], []
        for row in rows:
            try:
                policies.append(StoredPolicy(row_to_policy(row), row["version"]))
            except (InvalidInput, ValueError) as error:
                target = f"{row['table_schema'] or ''}.{row['table_name']}"
                damaged.append(Damaged(row["id"], target, str(error), row["enabled"] is not False))
        return policies, damaged

    def get(self, identifier: str) -> StoredPolicy:
        """
        The policy with this identifier, or with the only one that begins so.

        :raises NotFound: if there is none.
        :raises InvalidInput: if there are several.
        """
        if not identifier:
            raise InvalidInput("policy", "no identifier", "`cratedb-retention list-policies` shows them")
        policies, _ = self.all()
        found = [stored for stored in policies if stored.policy.id == identifier] or [
            stored for stored in policies if (stored.policy.id or "").startswith(identifier)
        ]
        if not found:
            raise NotFound(f"policy {identifier}", "does not exist", "`cratedb-retention list-policies` shows them")
        if len(found) > 1:
            raise InvalidInput(f"policy {identifier}", f"fits {len(found)} policies", "write more of the identifier")
        return found[0]

    def create(self, policy: Policy) -> Policy:
        """
        Store a new policy; it gets an identifier if it has none.

        :raises Conflict: if the identifier is taken, or a policy of the same kind covers the same data already.
        """
        policy = policy if policy.id else policy.model_copy(update={"id": str(uuid.uuid4())})
        same = next((s.policy for s in self.all()[0] if identity(s.policy) == identity(policy)), None)
        if same is not None:
            raise Conflict(
                f"policy for {policy.target}",
                f"policy {same.id} does {same.strategy} there already, after {same.retention_period}",
                f"change it: `cratedb-retention edit-policy --id {same.id}`",
            )
        row = policy_to_row(policy, 1, self._clock.now(), self._actor.name)
        try:
            self._database.execute(sa.insert(self._table).values(**row))
        except Conflict:
            raise Conflict(f"policy {policy.id}", "the identifier is taken", "choose another one") from None
        self._database.refresh(self._table)
        self._write(Event.POLICY_CREATED, None, policy)
        return policy

    def update(self, policy: Policy, version: int) -> Policy:
        """
        Replace a stored policy.

        :param version: The version that the change is based on.
        :raises Conflict: if somebody else changed it since.
        :raises NotFound: if it is gone.
        """
        before = self._lock(policy.id or "", version)
        row = policy_to_row(policy, version + 1, self._clock.now(), self._actor.name)
        changes = {key: value for key, value in row.items() if key != "id"}
        self._conditionally(
            policy.id or "", before, lambda where: sa.update(self._table).where(*where).values(**changes)
        )
        self._write(Event.POLICY_CHANGED, row_to_policy(_own(before)), policy)
        return policy

    def delete(self, identifier: str, version: int) -> None:
        """
        Delete a policy.

        :raises Conflict: if somebody else changed it since.
        :raises NotFound: if it is gone.
        """
        before = self._lock(identifier, version)
        self._conditionally(identifier, before, lambda where: sa.delete(self._table).where(*where))
        self._write(Event.POLICY_DELETED, row_to_policy(_own(before)), None)

    def version_of(self, identifier: str) -> int | None:
        """The version of a policy that is enabled; None if it is not, or gone."""
        c = self._table.c
        rows = self._database.rows(sa.select(c.version, c.enabled).where(c.id == identifier))
        return rows[0][0] if rows and rows[0][1] is not False else None

    def _lock(self, identifier: str, version: int) -> Mapping[str, Any]:
        """The row as it is now, with the system's own version columns where the database has such."""
        extra: list[sa.ColumnClause[Any]] = [sa.column(name) for name in self._database.row_version]
        rows = self._database.query(sa.select(self._table, *extra).where(self._table.c.id == identifier))
        if not rows:
            raise NotFound(f"policy {identifier}", "does not exist any more")
        if rows[0]["version"] != version:
            raise self._changed(identifier, rows[0]["changed_by"])
        return rows[0]

    def _conditionally(
        self, identifier: str, before: Mapping[str, Any], make: Callable[[list[Any]], sa.Executable]
    ) -> None:
        """Change the row if it still is what it was. CrateDB knows optimistic concurrency by its own columns only."""
        names = self._database.row_version
        unchanged = [sa.column(name) == before[name] for name in names] or [self._table.c.version == before["version"]]
        if self._database.execute(make([self._table.c.id == identifier, *unchanged])) != 1:
            raise self._changed(identifier, None)
        self._database.refresh(self._table)

    def _changed(self, identifier: str, by: str | None) -> Conflict:
        who = by or "somebody else"
        return Conflict(f"policy {identifier}", f"{who} changed it in the meantime", "look at it again, then repeat")

    def _write(self, event: Event, before: Policy | None, after: Policy | None) -> None:
        policy = after or before
        if policy is None:
            return
        self._journal.write(
            Entry(
                event,
                table_schema=policy.table_schema,
                table_name=policy.table_name,
                policy_id=policy.id,
                strategy=str(policy.strategy),
                tags=policy.tags,
                message=f"{policy.strategy} {policy.target} after {policy.retention_period}",
                before=_as_json(before),
                after=_as_json(after),
            )
        )


def identity(policy: Policy) -> tuple[object, ...]:
    """What makes two policies the same rule, whatever their periods: strategy, data, and where it goes."""
    return (
        policy.strategy,
        policy.table_schema,
        policy.table_name,
        json.dumps(policy.where, sort_keys=True),
        policy.reallocation_attribute_name,
        policy.reallocation_attribute_value,
        policy.target_repository_name,
    )


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith("_")}


def _as_json(policy: Policy | None) -> str | None:
    return None if policy is None else json.dumps(policy.to_dict(), ensure_ascii=False)
