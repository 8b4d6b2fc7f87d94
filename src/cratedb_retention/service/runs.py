"""
Runs that were asked for while the service is up: started in the background, watched, and cancelled. Those of other
processes are seen as the database tells of them.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from cratedb_retention.api import Retention
from cratedb_retention.errors import Conflict, NotFound, RunEnded
from cratedb_retention.execution.events import Tracker
from cratedb_retention.execution.leasing import Session
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.runs import RunOptions, RunState
from cratedb_retention.service.background import Background, outcome_of

UNKNOWN = "GET /api/v1/journal?run_id= tells of older ones"


class Runs(Background[Tracker]):
    """
    Runs in this process, and those of others that the database tells of.

    :param workers: Maximum number of concurrent runs of this process; that no two do the same, their leases take care
        of.
    :param options: How long leases last.
    """

    def __init__(self, workers: int = 4, options: RunOptions | None = None) -> None:
        super().__init__("run", workers)
        self._options = options or RunOptions()

    def start(self, retention: Retention, prepared: Prepared) -> RunState:
        """
        Begin a run and come back at once.

        :param retention: Acts as whoever asked.
        :raises Conflict: if too many go on.
        """
        stop = threading.Event()
        options = replace(self._options, stop=stop)
        session = retention.schedule.session(options)
        run_id, tracker = session.leases.run_id, session.tracker
        tracker.plan(prepared.plan)
        state = tracker.state()
        self._begin(run_id, "run", tracker, stop, lambda: self._run(retention, prepared, session))
        return state

    def all(self, retention: Retention) -> list[RunState]:
        """The runs of late, newest first."""
        found = {state.run_id: state for state in retention.runs.live()}
        found |= {key: tracker.state() for key, tracker in self._known().items()}
        return sorted(found.values(), key=lambda state: state.started_at, reverse=True)

    def find(self, retention: Retention, run_id: str) -> RunState:
        """
        One of them.

        :raises NotFound: if there is none.
        """
        tracker = self._known().get(run_id)
        live = retention.runs.live() if tracker is None else ()
        state = tracker.state() if tracker else next((state for state in live if state.run_id == run_id), None)
        if state is None:
            raise NotFound(f"run {run_id}", "is not known here", UNKNOWN)
        return state

    def cancel(self, retention: Retention, run_id: str) -> RunState:
        """
        Let one end before its next step.

        :raises NotFound: if there is none.
        :raises Conflict: if it is over.
        """
        state = self.find(retention, run_id)
        if state.finished_at is not None:
            raise Conflict(f"run {run_id}", "is over", "there is nothing to cancel")
        try:
            retention.runs.cancel(run_id)
        except NotFound:  # It is too young to be in the database.
            self._stop(run_id)
        return state

    def _run(self, retention: Retention, prepared: Prepared, session: Session) -> None:
        what = f"run {session.leases.run_id}"
        session.tracker.finish(*outcome_of(what, lambda: retention.run(prepared, session=session).ok, RunEnded))
