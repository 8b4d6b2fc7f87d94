"""
Leases: who runs which policy (law 8), and which slot of its schedule was last done. Jobs: what runs now, how far it is,
and who asked for its end.

A lease changes only if it still is what was read. When it ends is measured by the database's clock, which is read in
the same statement as the rows, so that the clocks of machines may differ.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import sqlalchemy as sa

from cratedb_retention.clock import is_of_this_process
from cratedb_retention.errors import Conflict
from cratedb_retention.model.audit import OUTCOMES
from cratedb_retention.model.former import present
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.schedule import Done
from cratedb_retention.store.rows import Instant, Records, cut, same

# More identifiers than this are not listed in a condition; all rows are read then.
_LISTED = 500
_NOW = sa.type_coerce(sa.func.current_timestamp(), Instant)
KEPT = dt.timedelta(days=7)
_WRITTEN_ONCE = ("run_id", "actor", "host", "started_at", "cancel_by", "cancel_at")
_LISTS = ("policies", "tags")
_HOLDER = "Who runs it, as `user@host:process:random`; NULL: nobody."
_SLOT = "The instant of its schedule that it was last taken for; NULL: by hand."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The lease of a policy as it was read, or written: the columns of its table."""

    policy_id: Annotated[str, "The policy."]
    holder: Annotated[str | None, _HOLDER] = None
    run_id: Annotated[str | None, "The run that it was last taken for."] = None
    slot: Annotated[dt.datetime | None, _SLOT] = None
    fence: Annotated[int, "Grows each time that it is taken."] = 0
    taken_at: Annotated[dt.datetime | None, "When it was taken."] = None
    expires_at: Annotated[dt.datetime | None, "When it ends unless it is renewed, by the clock of the database."] = None
    done_slot: Annotated[dt.datetime | None, "The last instant of its schedule that was done."] = None
    finished_at: Annotated[dt.datetime | None, "When it was last run to its end."] = None
    outcome: Annotated[str | None, f"How that ended: {OUTCOMES}."] = None
    succeeded_at: Annotated[dt.datetime | None, "When that last went well."] = None
    version: Annotated[int, "Grows with each change of the row."] = 0
    stamp: tuple[int, ...] | None = None  # See :class:`Records`; None: the database has not said so since we wrote

    def is_free(self, now: dt.datetime) -> bool:
        """Whether nobody holds it any more, at an instant of the database's clock."""
        return self.holder is None or self.expires_at is None or self.expires_at <= now


@dataclass(frozen=True)
class Leases:
    """Leases, and what time it is for them."""

    now: dt.datetime  # By the database's clock
    by_policy: Mapping[str, Lease]
    asked: float  # When we began to ask, in seconds by our own clock that is never set back

    @property
    def slots(self) -> dict[str, Done]:
        """What is known of the slots of each policy that was ever run."""
        return {key: Done(lease.done_slot, lease.slot) for key, lease in self.by_policy.items()}

    def of(self, policy_id: str) -> Lease:
        """A lease that was never taken is free."""
        return self.by_policy.get(policy_id) or Lease(policy_id=policy_id)


class LeaseStore(Records):
    def read(self, policies: Collection[str] | None = None, refresh: bool = True) -> Leases:
        """The leases of some policies, or all. One alone is always as it was written last, without a refresh."""
        c, asked = self._table.c, self._clock.uptime()
        statement = sa.select(self._table, *map(sa.column, self._database.row_version), _NOW.label("database_time"))
        if policies is not None and len(policies) == 1:
            # Unlike `IN`, this is answered by what was written last.
            statement, refresh = statement.where(c.policy_id == next(iter(policies))), False
        elif policies is not None and len(policies) <= _LISTED:
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
        """Where one process alone can have the database open, and it is this one, what others hold is over."""
        if not self._database.exclusive or lease.is_free(now) or is_of_this_process(lease.holder or ""):
            return lease
        return replace(lease, expires_at=now)

    def change(self, leases: Iterable[tuple[Lease, Mapping[str, Any]]]) -> dict[str, Lease]:
        """Change rows that still are what was read, in one or two statements; returns those that were changed."""
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
            if len(rows) == 1 and versions:  # One row alone tells its new stamp at once.
                telling = statement.returning(*map(sa.literal_column, versions))
                found = self._database.transact(lambda c: list(c.execute(telling, rows[0]).all()), telling)
                return {leases[0].policy_id: replace(leases[0], stamp=tuple(found[0]))} if found else {}
            counts = self._database.execute_each(statement, rows)
        except Conflict:
            return {}
        return {
            lease.policy_id: lease if versions else replace(lease, stamp=(lease.version,))
            for lease, count in zip(leases, counts, strict=True)
            if count == 1
        }


class JobStore(Records):
    """Writes and reads the state of runs: one row for each that lasts longer than a second."""

    def begin(self, job: RunState) -> None:
        """Write a run down for the first time, and forget those that ended long ago."""
        self._add(_row(job))
        self.forget_old()

    def update(self, job: RunState) -> str | None:
        """Write how far a run is. Returns who asked for its end, if a user did."""
        c = self._table.c
        values = {name: value for name, value in _row(job).items() if name not in _WRITTEN_ONCE}
        statement = sa.update(self._table).where(c.run_id == job.run_id).values(**values).returning(c.cancel_by)
        rows = self._database.rows(statement)
        return rows[0][0] if rows else None

    def forget_old(self) -> None:
        """Forget runs of which nothing was heard for a week."""
        self._remove(self._table.c.heartbeat_at < self._clock.now() - KEPT)

    def live(self) -> list[RunState]:
        """The runs that have not ended, oldest first; some may be of processes that are dead."""
        c = self._table.c
        return [
            RunState(**{**row, **{name: tuple(row[name] or ()) for name in _LISTS}}, steps_done=max(0, row["step"] - 1))
            for row in self._read(c.finished_at.is_(None), order=(c.started_at, c.run_id))
        ]

    def request_cancel(self, job: RunState, by: str) -> bool:
        """Ask a run to end before its next step. Returns whether it was the first request."""
        c = self._table.c
        where = (c.run_id == job.run_id, c.cancel_by.is_(None))
        return self._change(*where, cancel_by=by, cancel_at=self._clock.now()) == 1


def _row(job: RunState) -> dict[str, Any]:
    doing = None if job.doing is None else cut(job.doing)
    return {**job.row(), **{name: list(getattr(job, name)) for name in _LISTS}, "doing": doing}
