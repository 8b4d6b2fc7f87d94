"""
What runs now, and how far it is: one row for each run that lasts longer than a second. Others ask here for its end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.model.identifiers import pick
from cratedb_retention.model.runs import RunState
from cratedb_retention.store.texts import cut

KEPT = dt.timedelta(days=7)


_WRITTEN_ONCE = ("run_id", "actor", "host", "started_at", "cancel_by", "cancel_at")


class JobStore:
    """Writes and reads the state of runs. It has no state of its own, so that several threads may use it."""

    def __init__(self, database: Database, table: sa.Table, clock: Clock) -> None:
        self._database, self._table, self._clock = database, table, clock

    def begin(self, job: RunState) -> None:
        """Write a run down for the first time, and forget those that ended long ago."""
        self._database.execute(sa.insert(self._table).values(**_row(job)))
        self.forget_old()

    def update(self, job: RunState) -> str | None:
        """
        Write how far a run is.

        :return: Who asked for its end, if anybody did.
        """
        c = self._table.c
        values = {name: value for name, value in _row(job).items() if name not in _WRITTEN_ONCE}
        statement = sa.update(self._table).where(c.run_id == job.run_id).values(**values).returning(c.cancel_by)
        rows = self._database.rows(statement)
        return rows[0][0] if rows else None

    def forget_old(self) -> None:
        """Forget runs of which nothing was heard for a week."""
        before = self._clock.now() - KEPT
        self._database.execute(sa.delete(self._table).where(self._table.c.heartbeat_at < before))

    def live(self) -> list[RunState]:
        """The runs that have not ended, oldest first; some may be of processes that are dead."""
        self._database.refresh(self._table)
        c = self._table.c
        statement = sa.select(self._table).where(c.finished_at.is_(None)).order_by(c.started_at, c.run_id)
        return [_job(row) for row in self._database.query(statement)]

    def find(self, identifier: str) -> RunState:
        """
        The run with this identifier, or with the only one that begins so, if that is six characters or more.

        :raises NotFound: if there is none, or it has ended.
        :raises InvalidInput: if there are several.
        """
        remedy = "`cratedb-retention status` shows those that last longer than a second"
        return pick("run", identifier, {job.run_id: job for job in self.live()}, remedy, "is not running")

    def request_cancel(self, job: RunState, by: str) -> bool:
        """
        Ask a run to end before its next step.

        :return: Whether it is new; somebody may have asked before.
        """
        c = self._table.c
        values = {"cancel_by": by, "cancel_at": self._clock.now()}
        where = (c.run_id == job.run_id, c.cancel_by.is_(None))
        return self._database.execute(sa.update(self._table).where(*where).values(**values)) == 1


def _row(job: RunState) -> dict[str, Any]:
    doing = None if job.doing is None else cut(job.doing)
    return {**job.row(), "policies": list(job.policies), "tags": list(job.tags), "doing": doing}


def _job(row: Mapping[str, Any]) -> RunState:
    lists = {name: tuple(row[name] or ()) for name in ("policies", "tags")}
    return RunState(**{**row, **lists}, steps_done=max(0, row["step"] - 1))
