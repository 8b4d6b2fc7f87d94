"""
Runs that go on, and the audit log, which tells of all that ever happened.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from cratedb_retention.api.connection import Part
from cratedb_retention.model.audit import Event
from cratedb_retention.model.runs import RunState
from cratedb_retention.store.audit import Entry, JournalFilter, RunOfPolicy


class Runs(Part):
    """The runs that go on now, on whatever machine."""

    def live(self) -> list[RunState]:
        """The runs that go on now and last longer than a second, oldest first; some may be of dead processes."""
        return self._store.jobs.live()

    def of_policies(self, since: dt.datetime) -> list[RunOfPolicy]:
        """What each run since an aware instant did for each policy, oldest first."""
        return self._store.journal.runs_of_policies(since)

    def forget_old(self) -> None:
        """Forget runs that ended long ago; the audit log still tells of them."""
        self._store.jobs.forget_old()

    def cancel(self, identifier: str) -> RunState:
        """
        Ask a run to end before its next step.

        :param identifier: Its identifier; of a generated one, six characters are enough.
        :raises NotFound: if no such run goes on.
        """
        store, actor = self._store, self._connection.actor
        job = store.jobs.find(identifier)
        if store.jobs.request_cancel(job, f"{actor.name}@{actor.host}"):
            store.journal.write(Entry(event=Event.CANCEL_REQUESTED, run_id=job.run_id, message=f"run {job.run_id}"))
        return job


class Audit(Part):
    """The audit log."""

    def read(self, wanted: JournalFilter | None = None) -> list[Mapping[str, Any]]:
        """Rows of the audit log, newest first."""
        return self._store.journal.read(wanted or JournalFilter())

    def mark(self) -> str:
        """What changes as soon as anybody does something that the audit log tells of."""
        return self._store.journal.mark()
