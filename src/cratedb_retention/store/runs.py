"""
Leases: who runs which policy (law 8), and which slot of its schedule was last done. Jobs: what runs now, how far it is,
and who asked for its end.

A lease changes only if it still is what was read. When it ends is reckoned by the database's clock, which is read in
the same statement as the rows, so that the clocks of machines may differ.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import is_of_this_process
from cratedb_retention.errors import Conflict
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.schedule import Done
from cratedb_retention.model.words import pick
from cratedb_retention.store.rows import Instant, Records, cut, same

# More identifiers than this are not listed in a condition; all rows are read then.
_LISTED = 500
_NOW = sa.type_coerce(sa.func.current_timestamp(), Instant)
KEPT = dt.timedelta(days=7)
_WRITTEN_ONCE = ("run_id", "actor", "host", "started_at", "cancel_by", "cancel_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The lease of a policy as it was read, or written."""

    policy_id: str
    holder: str | None = None
    run_id: str | None = None
    slot: dt.datetime | None = None
    fence: int = 0
    taken_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    done_slot: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    outcome: str | None = None
    succeeded_at: dt.datetime | None = None
    version: int = 0
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
        """One that nobody ever took is free."""
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
        time: dt.datetime
        if self._clock.shared:
            time = self._clock.now()
        else:
            time = rows[0]["database_time"] if rows else self._database.rows(sa.select(_NOW))[0][0]
        leases = (Lease(**{column.name: row[column.name] for column in c}, stamp=self._stamp(row)) for row in rows)
        return Leases(time, {lease.policy_id: self._alive(lease, time) for lease in leases}, asked)

    def _alive(self, lease: Lease, now: dt.datetime) -> Lease:
        """Where one process alone can have the database open, and it is this one, what others hold is over."""
        if not self._database.exclusive or lease.is_free(now) or is_of_this_process(lease.holder or ""):
            return lease
        return replace(lease, expires_at=now)

    def put_right(self, leases: Leases, slots: Mapping[str, dt.datetime | None]) -> None:
        """Note another slot as the last one that was done, where a clock was wrong."""
        self.change((leases.of(policy), {"done_slot": slot}) for policy, slot in slots.items())

    def change(self, leases: Iterable[tuple[Lease, Mapping[str, Any]]]) -> dict[str, Lease]:
        """
        Change rows that still are what was read, all in one or two statements.

        :param leases: Leases with their stamps, and new values.
        :return: Those that were changed.
        """
        wanted = [(old, replace(old, **values, version=old.version + 1, stamp=None)) for old, values in leases]
        new = [new for old, new in wanted if old.stamp is None and old.version == 0]
        known = [(old, new) for old, new in wanted if old.stamp is not None]
        return {
            **self._execute(new, sa.insert(self._table), list(map(self._row, new))),
            **self._execute([new for _, new in known], *self._update(known)),
        }

    def _update(self, pairs: Sequence[tuple[Lease, Lease]]) -> tuple[sa.Update, list[dict[str, Any]]]:
        """A statement, and the values of its parameters for each lease."""
        c, versions = self._table.c, self._versions
        values = {column.name: sa.bindparam(f"new_{column.name}", type_=column.type) for column in c}
        del values["policy_id"]
        unchanged = [sa.column(name, sa.BigInteger) == sa.bindparam(f"was_{name}") for name in versions]
        statement = (
            sa.update(self._table).where(c.policy_id == sa.bindparam("new_policy_id"), *unchanged).values(values)
        )
        return statement, [
            {f"new_{name}": value for name, value in self._row(new).items()}
            | {f"was_{name}": value for name, value in zip(versions, old.stamp or (), strict=True)}
            for old, new in pairs
        ]

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

    def _row(self, lease: Lease) -> dict[str, Any]:
        return same(lease, self._table.c.keys())


class JobStore(Records):
    """Writes and reads the state of runs: one row for each that lasts longer than a second."""

    def begin(self, job: RunState) -> None:
        """Write a run down for the first time, and forget those that ended long ago."""
        self._add(_row(job))
        self.forget_old()

    def update(self, job: RunState) -> str | None:
        """Write how far a run is. Returns who asked for its end, if anybody did."""
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
        return [_job(row) for row in self._read(c.finished_at.is_(None), order=(c.started_at, c.run_id))]

    def find(self, identifier: str) -> RunState:
        """
        The run with this identifier, or with the only one that begins so, if that is six characters or more.

        :raises NotFound: if there is none, or it has ended.
        :raises InvalidInput: if there are several.
        """
        remedy = "`cratedb-retention status` shows those that last longer than a second"
        return pick("run", identifier, {job.run_id: job for job in self.live()}, remedy, "is not running")

    def request_cancel(self, job: RunState, by: str) -> bool:
        """Ask a run to end before its next step. Returns whether nobody asked before."""
        c = self._table.c
        where = (c.run_id == job.run_id, c.cancel_by.is_(None))
        return self._change(*where, cancel_by=by, cancel_at=self._clock.now()) == 1


def _row(job: RunState) -> dict[str, Any]:
    doing = None if job.doing is None else cut(job.doing)
    return {**job.row(), "policies": list(job.policies), "tags": list(job.tags), "doing": doing}


def _job(row: Mapping[str, Any]) -> RunState:
    lists = {name: tuple(row[name] or ()) for name in ("policies", "tags")}
    return RunState(**{**row, **lists}, steps_done=max(0, row["step"] - 1))
