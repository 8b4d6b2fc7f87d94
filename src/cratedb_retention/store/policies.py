"""
Stored policies. The audit log records each change with its user and time, before and after. The policy's version
detects concurrent changes.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.errors import Conflict, InvalidInput, NotFound
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.policies.attributes import Form
from cratedb_retention.model.policies.policy import ATTRIBUTES, Policy, read_policy
from cratedb_retention.model.schedule import Misfire, Scheduled, parse_jitter, parse_schedule
from cratedb_retention.model.time import parse_time_zone
from cratedb_retention.model.words import pick
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.rows import LISTED, Records, same

BATCH = 200  # Policies in one INSERT.
_JSON = [each.name for each in ATTRIBUTES.values() if each.form in (Form.PAIRS, Form.PARTS)]
_OWN = ("version", "changed_at", "changed_by", "scheduled_at")
# What several policies of one strategy on the same data may differ in.
_DESTINATION = (
    "reallocation_attribute_name",
    "reallocation_attribute_value",
    "target_repository_name",
    "number_of_replicas",
    "read_only",
)
# A scheduler reads the same texts again and again.
_parse_schedule = functools.lru_cache(4096)(parse_schedule)
_parse_grace, _parse_jitter = functools.lru_cache(4096)(parse_duration), functools.lru_cache(4096)(parse_jitter)
_parse_zone = functools.lru_cache(4096)(lambda name: parse_time_zone(name).key)


@dataclass(frozen=True)
class StoredPolicy:
    """A policy and its version, which a change must name."""

    policy: Policy
    version: int

    @property
    def id(self) -> str:
        return self.policy.id or ""


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A row of the policy table that is not a valid policy, since it was written by SQL or migrated."""

    id: str
    target: TableName
    reason: str
    enabled: bool
    row: Mapping[str, Any]

    @property
    def version(self) -> int:
        return int(self.row["version"])

    def to_dict(self) -> dict[str, Any]:
        """The values of the row, and the error, as plain values for JSON and YAML."""
        return {**_values_of(self.row), "damaged": self.reason}


class PolicyStore(Records):
    def all(self, refresh: bool = True) -> tuple[list[StoredPolicy], list[Damaged]]:
        """All policies in the order of their tables, and the invalid rows."""
        return self._find(refresh=refresh)

    def _find(self, *where: sa.ColumnElement[bool], refresh: bool = True) -> tuple[list[StoredPolicy], list[Damaged]]:
        c = self._table.c
        policies, damaged = [], []
        for row in self._read(*where, order=(c.table_schema, c.table_name, c.strategy, c.id), refresh=refresh):
            try:
                policies.append(StoredPolicy(row_to_policy(row), row["version"]))
            except (InvalidInput, ValueError) as error:
                target, enabled = TableName(row["table_schema"] or "", row["table_name"]), row["enabled"] is not False
                damaged.append(Damaged(id=row["id"], target=target, reason=str(error), enabled=enabled, row=row))
        return policies, damaged

    def scheduled(self) -> list[Scheduled]:
        """Enabled policies with a schedule. Invalid rows are skipped; planning reports them."""
        c = self._table.c
        columns = (c.id, c.schedule, c.time_zone, c.misfire, c.misfire_grace, c.jitter, c.scheduled_at, c.changed_at)
        statement = sa.select(*columns).where(c.schedule.is_not(None), sa.func.coalesce(c.enabled, sa.true()))
        found = []
        for row in self._database.query(statement):
            grace, jitter = row["misfire_grace"], row["jitter"]
            with suppress(InvalidInput, ValueError):
                one = Scheduled(
                    policy_id=row["id"],
                    schedule=_parse_schedule(row["schedule"]),
                    time_zone=_parse_zone(row["time_zone"] or "UTC"),
                    since=row["scheduled_at"] or row["changed_at"],
                    misfire=Misfire(row["misfire"] or Misfire.CATCH_UP),
                    grace=Duration(seconds=3600) if grace is None else _parse_grace(grace),
                    jitter=None if jitter is None else _parse_jitter(jitter),
                )
                found.append(one)
        return found

    def get(self, identifier: str) -> StoredPolicy:
        """
        The policy with this identifier, or with its first six characters if it is generated. Raises NotFound if none
        exists, InvalidInput if several match or its row is not a valid policy.
        """
        found = self.find(identifier)
        if isinstance(found, Damaged):
            remedy = f"delete it (`cratedb-retention delete-policy --id {found.id}`) and create it again"
            raise InvalidInput(f"policy {found.id}", f"the stored policy is invalid: {found.reason}", remedy)
        return found

    def find(self, identifier: str) -> StoredPolicy | Damaged:
        """Like :meth:`get`, but returns an invalid row as well."""
        policies, damaged = self._find(self._table.c.id.startswith(identifier, autoescape=True, escape="\\"))
        rows: dict[str, StoredPolicy | Damaged] = {stored.id: stored for stored in policies}
        rows.update({row.id: row for row in damaged})
        return pick("policy", identifier, rows, "`cratedb-retention list-policies` lists them")

    def create(self, policy: Policy) -> Policy:
        """Store a new policy; see :meth:`create_all`."""
        return self.create_all([policy])[0]

    def create_all(self, policies: Iterable[Policy]) -> list[Policy]:
        """
        Store new policies in batches, and generate missing identifiers. Raises Conflict, and stores none, if an
        identifier is taken, or a policy of the same kind covers the same data already.
        """
        new = [p if p.id else p.model_copy(update={"id": str(uuid.uuid4())}) for p in policies]
        if new:
            self.check_new(new)
        for start in range(0, len(new), BATCH):
            some = new[start : start + BATCH]
            rows = [policy_to_row(policy, 1, self._clock.now(), self._actor.name) for policy in some]
            try:
                # From an INSERT of several rows, CrateDB may skip one whose identifier was taken in the meantime.
                taken = 0 <= self._add(*rows) < len(rows)
                self._visible()
            except Conflict:
                taken = True
            if taken:
                raise _taken(some)
            self._write(*(_entry(Event.POLICY_CREATED, policy, after=policy) for policy in some))
        return new

    def check_new(self, policies: Iterable[Policy]) -> None:
        """Check that new policies can be stored. Raises as :meth:`create_all`."""
        c, policies = self._table.c, list(policies)
        names = sorted({policy.table_name for policy in policies})
        ids = sorted({policy.id for policy in policies if policy.id})
        few = len(names) + len(ids) <= LISTED
        stored, damaged = self._find(*([sa.or_(c.table_name.in_(names), c.id.in_(ids))] if few else []))
        by_rule = {identity(item.policy): item.policy for item in stored}
        taken = {item.id for item in stored} | {row.id for row in damaged}
        for policy in policies:
            twin = by_rule.get(identity(policy))
            if twin is not None:
                raise Conflict(
                    f"policy for {policy.target}",
                    f"policy {twin.id} already has the strategy {twin.strategy} there, after {twin.retention_period}",
                    f"change it: `cratedb-retention edit-policy --id {twin.id}`",
                )
            if policy.id in taken:
                raise _taken([policy])
            by_rule[identity(policy)] = policy
            taken |= {policy.id} if policy.id else set()

    def update(self, policy: Policy, version: int) -> Policy:
        """
        Replace a stored policy, given the version that the change is based on. Raises Conflict if another user changed
        it since, NotFound if it does not exist any more.
        """
        before = self._lock(policy.id or "", version)
        old = row_to_policy(before)
        names = ("schedule", "time_zone", "jitter", "enabled")
        since = (before["scheduled_at"] or before["changed_at"]) if same(old, names) == same(policy, names) else None
        row = policy_to_row(policy, version + 1, self._clock.now(), self._actor.name, since)
        del row["id"]
        self._conditionally(before, functools.partial(self._change, **row))
        self._write(_entry(Event.POLICY_CHANGED, policy, before=old, after=policy))
        return policy

    def delete(self, stored: StoredPolicy | Damaged, version: int | None = None) -> None:
        """
        Delete a policy or an invalid row, based on its version or the given one; the audit log keeps its last state.
        Raises as :meth:`update`.
        """
        before = self._lock(stored.id, stored.version if version is None else version)
        self._conditionally(before, self._remove)
        if isinstance(stored, StoredPolicy):
            gone = row_to_policy(before)
            self._write(_entry(Event.POLICY_DELETED, gone, before=gone))
            return
        entry = Entry(
            event=Event.POLICY_DELETED,
            table_schema=before["table_schema"],
            table_name=before["table_name"],
            policy_id=stored.id,
            strategy=before["strategy"],
            message=f"not a valid policy: {stored.reason}",
            before=json.dumps(_values_of(before), ensure_ascii=False, default=str),
        )
        self._write(entry)

    def version_of(self, identifier: str) -> int | None:
        """The version of a policy; None if it is disabled or does not exist."""
        c = self._table.c
        rows = self._database.rows(sa.select(c.version, c.enabled).where(c.id == identifier))
        return rows[0][0] if rows and rows[0][1] is not False else None

    def require_version(self, identifier: str, version: int) -> None:
        """Raises as :meth:`update` unless this is the present version of a policy."""
        self._lock(identifier, version)

    def _lock(self, identifier: str, version: int) -> Mapping[str, Any]:
        rows = self._read(self._table.c.id == identifier, refresh=False, stamps=True)
        if not rows:
            raise NotFound(f"policy {identifier}", "does not exist any more")
        present = rows[0]["version"]
        if not 1 <= version <= present:
            raise Conflict(f"policy {identifier}", f"it has no version {version}, only {present}", "read it again")
        if present != version:
            raise _changed(identifier, rows[0]["changed_by"])
        return rows[0]

    def _conditionally(self, before: Mapping[str, Any], change: Callable[..., int]) -> None:
        if change(self._table.c.id == before["id"], *self._unchanged(self._stamp(before))) != 1:
            raise _changed(before["id"], None)
        self._visible()


def _changed(identifier: str, by: str | None) -> Conflict:
    who = by or "another user"
    return Conflict(
        f"policy {identifier}", f"{who} changed it in the meantime", "read it again, then repeat the change"
    )


def _taken(policies: Sequence[Policy]) -> Conflict:
    which = f"policy {policies[0].id}" if len(policies) == 1 else "policies"
    return Conflict(which, "the identifier is taken", "choose another one")


def _entry(event: Event, policy: Policy, **states: Policy) -> Entry:
    """A change of a policy as an entry, with its states ``before`` and ``after``."""
    plain: dict[str, Any] = {name: json.dumps(state.to_dict(), ensure_ascii=False) for name, state in states.items()}
    return Entry(
        event=event,
        table_schema=policy.table_schema,
        table_name=policy.table_name,
        policy_id=policy.id,
        strategy=str(policy.strategy),
        tags=policy.tags,
        message=policy.rule,
        **plain,
    )


def identity(policy: Policy) -> tuple[object, ...]:
    """Policies with the same identity are the same rule, whatever their periods: strategy, data and destination."""
    where, destination = json.dumps(policy.where, sort_keys=True), same(policy, _DESTINATION)
    if policy.recoverable is not None:  # Data that is deleted has no destination.
        destination["target_repository_name"] = None
    return policy.strategy, policy.table_schema, policy.table_name, where, *destination.values()


def policy_to_row(
    policy: Policy, version: int, now: dt.datetime, actor: str, scheduled_at: dt.datetime | None = None
) -> dict[str, Any]:
    """A policy as a row; objects become JSON. Without ``scheduled_at``, its schedule begins now."""
    row = policy.model_dump(mode="json")
    row |= {key: json.dumps(row[key], ensure_ascii=False) if row[key] else None for key in _JSON}
    return {**row, "version": version, "changed_at": now, "changed_by": actor, "scheduled_at": scheduled_at or now}


def row_to_policy(row: Mapping[str, Any]) -> Policy:
    """A row as a policy; InvalidInput or ValueError if it is not a valid policy."""
    values = ((key, value) for key, value in _values_of(row).items() if key not in _OWN)
    return _read_policy(tuple([(key, tuple(value) if isinstance(value, list) else value) for key, value in values]))


# Each plan and page reads all policies, and validating one takes far longer than comparing its row with earlier ones.
@functools.lru_cache(4096)
def _read_policy(values: tuple[tuple[str, Any], ...]) -> Policy:
    attributes: dict[str, Any] = {key: list(value) if isinstance(value, tuple) else value for key, value in values}
    attributes |= {key: json.loads(attributes[key]) for key in _JSON if isinstance(attributes.get(key), str)}
    return read_policy(attributes, stored=attributes)


def _values_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None and not key.startswith("_")}
