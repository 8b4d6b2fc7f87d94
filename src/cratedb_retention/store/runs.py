"""
Leases: the holder of each policy (law 8), and the slot that was last done. Results: the last run of each policy. Jobs:
present runs, their progress, and requests to cancel them.

A lease changes only if it is as it was read. Its end is measured by the database's clock, which is read in the same
statement as the rows, so that the clocks of machines may differ.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import sqlalchemy as sa

from cratedb_retention.clock import is_of_this_process
from cratedb_retention.errors import Conflict
from cratedb_retention.model.audit import OUTCOMES, Event, Outcome
from cratedb_retention.model.former import present
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.schedule import Done
from cratedb_retention.store.rows import LISTED, Instant, Records, cut, same

_NOW = sa.type_coerce(sa.func.current_timestamp(), Instant)
KEPT = dt.timedelta(days=7)
_WRITTEN_ONCE = ("run_id", "actor", "host", "started_at", "cancel_by", "cancel_at")
_LISTS = ("policies", "tags")
_HOLDER = "The lease holder, as `user@host:process:random`; NULL: none."
_SLOT = "The slot of its schedule that it was last taken for; NULL: by hand."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The lease of a policy as it was read or written: the columns of the table."""

    policy_id: Annotated[str, "The policy."]
    holder: Annotated[str | None, _HOLDER] = None
    run_id: Annotated[str | None, "The run that took it last."] = None
    slot: Annotated[dt.datetime | None, _SLOT] = None
    fence: Annotated[int, "The fencing token: grows each time the lease is taken."] = 0
    taken_at: Annotated[dt.datetime | None, "When it was taken."] = None
    expires_at: Annotated[dt.datetime | None, "When it ends unless it is renewed, by the database's clock."] = None
    done_slot: Annotated[dt.datetime | None, "The last slot of its schedule that was done."] = None
    finished_at: Annotated[dt.datetime | None, "When its last run ended."] = None
    outcome: Annotated[str | None, f"The outcome of that run: {OUTCOMES}."] = None
    succeeded_at: Annotated[dt.datetime | None, "When its last successful run ended."] = None
    version: Annotated[int, "Grows with each change of the row."] = 0
    stamp: tuple[int, ...] | None = None  # See :class:`Records`; None: unknown since the last write

    def is_free(self, now: dt.datetime) -> bool:
        """Whether it has no holder at an instant of the database's clock."""
        return self.holder is None or self.expires_at is None or self.expires_at <= now


@dataclass(frozen=True)
class Leases:
    """Leases, and the time by which they end."""

    now: dt.datetime  # By the database's clock
    by_policy: Mapping[str, Lease]
    asked: float  # When the query began, in seconds by the local monotonic clock

    @property
    def slots(self) -> dict[str, Done]:
        """The slots of each policy that was ever run."""
        return {key: self.done(key) for key in self.by_policy}

    def done(self, policy_id: str) -> Done:
        """The slots of a policy."""
        lease = self.of(policy_id)
        return Done(lease.done_slot, lease.slot)

    def of(self, policy_id: str) -> Lease:
        """The lease of a policy; one that was never taken is free."""
        return self.by_policy.get(policy_id) or Lease(policy_id=policy_id)


class LeaseStore(Records):
    def read(self, policies: Collection[str] | None = None, refresh: bool = True) -> Leases:
        """The leases of some policies, or all. A single one is always up to date without a refresh."""
        c, asked = self._table.c, self._clock.uptime()
        statement = sa.select(self._table, *map(sa.column, self._database.row_version), _NOW.label("database_time"))
        if policies is not None and len(policies) == 1:
            # Unlike `IN`, this sees the last write.
            statement, refresh = statement.where(c.policy_id == next(iter(policies))), False
        elif policies is not None and len(policies) <= LISTED:
            statement = statement.where(c.policy_id.in_(sorted(policies)))
        if refresh:
            self._visible()
        rows = self._database.query(statement)
        if self._clock.shared:
            now = self._clock.now()
        else:
            now = rows[0]["database_time"] if rows else self._database.rows(sa.select(_NOW))[0][0]
        told = ({**row, "outcome": present(row["outcome"]), "stamp": self._stamp(row)} for row in rows)
        leases = (Lease(**{name: row[name] for name in (*c.keys(), "stamp")}) for row in told)
        return Leases(now, {lease.policy_id: self._alive(lease, now) for lease in leases}, asked)

    def _alive(self, lease: Lease, now: dt.datetime) -> Lease:
        """If only one process can have the database open, and it is this one, leases of other processes have ended."""
        if not self._database.exclusive or lease.is_free(now) or is_of_this_process(lease.holder or ""):
            return lease
        return replace(lease, expires_at=now)

    def change(self, leases: Iterable[tuple[Lease, Mapping[str, Any]]]) -> dict[str, Lease]:
        """Change rows that are as they were read, in one or two statements; returns the changed ones."""
        wanted = [(old, replace(old, **values, version=old.version + 1, stamp=None)) for old, values in leases]
        new = [new for old, new in wanted if old.stamp is None and old.version == 0]
        known = [(old, new) for old, new in wanted if old.stamp is not None]
        c, versions = self._table.c, self._versions
        values = {column.name: sa.bindparam(f"new_{column.name}", type_=column.type) for column in c}
        del values["policy_id"]
        unchanged = [sa.column(name, sa.BigInteger) == sa.bindparam(f"was_{name}") for name in versions]
        update = sa.update(self._table).where(c.policy_id == sa.bindparam("new_policy_id"), *unchanged).values(values)
        changes = [
            {f"new_{name}": value for name, value in same(new, c.keys()).items()}
            | {f"was_{name}": value for name, value in zip(versions, old.stamp or (), strict=True)}
            for old, new in known
        ]
        return {
            **self._execute(new, sa.insert(self._table), [same(lease, c.keys()) for lease in new]),
            **self._execute([new for _, new in known], update, changes),
        }

    def _execute(self, leases: Sequence[Lease], statement: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Lease]:
        versions = self._database.row_version
        try:
            if len(rows) == 1 and versions:  # A single row returns its new stamp at once.
                returning = statement.returning(*map(sa.literal_column, versions))
                found = self._database.transact(lambda c: list(c.execute(returning, rows[0]).all()), returning)
                return {leases[0].policy_id: replace(leases[0], stamp=tuple(found[0]))} if found else {}
            counts = self._database.execute_each(statement, rows)
        except Conflict:
            return {}
        return {
            lease.policy_id: lease if versions else replace(lease, stamp=(lease.version,))
            for lease, count in zip(leases, counts, strict=True)
            if count == 1
        }


@dataclass(frozen=True, kw_only=True)
class RunOfPolicy:
    """The result of the last run of a policy: the columns of the table."""

    policy_id: Annotated[str, "The policy."]
    run_id: Annotated[str, "The run."]
    ended_at: Annotated[dt.datetime, "When it ended."]
    blocked: Annotated[int, "Number of tables and reasons that are blocked as intended."] = 0
    needs_attention: Annotated[int, "Number of tables and reasons that are blocked until a person acts."] = 0
    failed: Annotated[int, "Number of failed steps, and of failed updates of an Iceberg catalog."] = 0
    error: Annotated[str | None, "Why a step failed, or else why an action is blocked."] = None
    reason: Annotated[str | None, "The code of `error`."] = None
    subjects: Annotated[str | None, "Policies, holds and lease holders that `error` mentions, as JSON."] = None

    def plus(self, event: str, outcome: str | None, why: Mapping[str, str | None]) -> RunOfPolicy:
        """
        With one more entry about the policy in the audit log; a failure is a better error than a blocked action.

        :param why: Its columns ``error``, ``reason`` and ``subjects``.
        """
        blocked = outcome if event == Event.BLOCKED else None
        failed = event in (Event.STEP_FINISHED, Event.CATALOG_UPDATED) and outcome == Outcome.FAILED
        is_better = why["error"] is not None and (self.error is None or (failed and not self.failed))
        changed: Any = why if is_better else {}
        return replace(
            self,
            blocked=self.blocked + (blocked == Outcome.BLOCKED),
            needs_attention=self.needs_attention + (blocked == Outcome.NEEDS_ATTENTION),
            failed=self.failed + failed,
            **changed,
        )


class ResultStore(Records):
    """The last run of each policy, which is kept so that it need not be searched for in the audit log."""

    def since(self, since: dt.datetime) -> list[RunOfPolicy]:
        """The last run of each policy, if it ended at or after an aware instant; in the order of their ends."""
        c = self._table.c
        rows = self._read(c.ended_at >= since, order=(c.ended_at, c.policy_id))
        return [RunOfPolicy(**row) for row in rows]

    def keep(self, results: Collection[RunOfPolicy]) -> None:
        """Replace the last runs of policies."""
        if results:
            self._upsert(*(same(result, self._table.c.keys()) for result in results))


class JobStore(Records):
    """Writes and reads the state of runs: one row for each that lasts longer than a second."""

    def begin(self, job: RunState) -> None:
        """Add the row of a run, and delete those of old runs."""
        self._add(_row(job))
        self.forget_old()

    def update(self, job: RunState) -> str | None:
        """Write the progress of a run. Returns the user who cancelled it, if any."""
        c = self._table.c
        values = {name: value for name, value in _row(job).items() if name not in _WRITTEN_ONCE}
        statement = sa.update(self._table).where(c.run_id == job.run_id).values(**values).returning(c.cancel_by)
        rows = self._database.rows(statement)
        return rows[0][0] if rows else None

    def forget_old(self) -> None:
        """Delete runs without a heartbeat for a week."""
        self._remove(self._table.c.heartbeat_at < self._clock.now() - KEPT)

    def live(self) -> list[RunState]:
        """The runs that have not ended, oldest first, including those of dead processes."""
        c = self._table.c
        return [
            RunState(**{**row, **{name: tuple(row[name] or ()) for name in _LISTS}}, steps_done=max(0, row["step"] - 1))
            for row in self._read(c.finished_at.is_(None), order=(c.started_at, c.run_id))
        ]

    def request_cancel(self, job: RunState, by: str) -> bool:
        """Request that a run ends before its next step. Returns whether this is the first request."""
        c = self._table.c
        where = (c.run_id == job.run_id, c.cancel_by.is_(None))
        return self._change(*where, cancel_by=by, cancel_at=self._clock.now()) == 1


def _row(job: RunState) -> dict[str, Any]:
    doing = None if job.doing is None else cut(job.doing)
    return {**job.row(), **{name: list(getattr(job, name)) for name in _LISTS}, "doing": doing}
