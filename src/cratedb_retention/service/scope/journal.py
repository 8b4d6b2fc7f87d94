"""
The audit log, and the runs that it tells of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cratedb_retention.errors import NotFound
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.access import Role, sees_row, shown_row
from cratedb_retention.model.runs import RunState
from cratedb_retention.service.runs import UNKNOWN, Runs
from cratedb_retention.service.scope.plans import Plans
from cratedb_retention.store.journal import Event, JournalFilter, Outcome

_OF_STEPS = (Event.STEP_FINISHED, Event.HELD)


@dataclass(frozen=True)
class RunEnd:
    """
    How a run ended.

    :param finished: The row of its end; None: there is none, as it never began, or ended in no order.
    :param troubles: Rows of what failed, is a problem, or was left to the next run, in order.
    :param more: Whether there is more of that.
    """

    finished: dict[str, Any] | None
    troubles: list[dict[str, Any]]
    more: bool = False

    @property
    def outcome(self) -> str:
        """How it ended in a word; empty if that is not known."""
        return str(self.finished["outcome"] or "") if self.finished else ""


class Journal(Plans):
    """The audit log and runs."""

    def journal(self, wanted: JournalFilter) -> list[dict[str, Any]]:
        """Rows of the audit log, newest first."""
        wanted = replace(wanted, about_tokens=wanted.about_tokens and self.access.role is Role.ADMIN)
        if self.access.limited:
            if wanted.actor is not None and wanted.actor not in self._actors:
                return []  # Which rows are left would tell who did them.
            wanted = replace(wanted, limited=self.access.limit, actors=self.realm.access.actors)
        rows = self.retention.store.journal.read(wanted)
        realm = self.realm
        holds = self._words_of_holds() if self.access.limited else []
        return [shown_row(realm, row, holds) for row in rows if sees_row(realm.access, row)]

    def mark(self) -> str:
        """What changes as soon as anybody does something that the audit log tells of."""
        return self.retention.store.journal.mark()

    def start_run(self, runs: Runs, prepared: Prepared) -> RunState:
        """
        Do what a plan of theirs says, in the background.

        :param prepared: What :meth:`prepare` returned, so that what is done is what was shown (law 10).
        :raises Conflict: if too many runs go on.
        """
        self.access.require(Role.OPERATOR)
        return runs.start(self.retention, prepared)

    def runs(self, runs: Runs) -> list[RunState]:
        """The runs of late that are theirs to see, newest first."""
        return [state for state in runs.all(self.retention) if self._sees_run(state)]

    def find_run(self, runs: Runs, run_id: str) -> RunState:
        """
        One of them.

        :raises NotFound: if they see none.
        """
        state = runs.find(self.retention, run_id)
        if not self._sees_run(state):
            raise NotFound(f"run {run_id}", "is not known here", UNKNOWN)
        return state

    def cancel_run(self, runs: Runs, run_id: str) -> RunState:
        """
        Let a run end before its next step.

        :raises NotFound: if they see none.
        :raises Conflict: if it is over.
        """
        self.access.require(Role.OPERATOR)
        self.find_run(runs, run_id)
        return runs.cancel(self.retention, run_id)

    def run_end(self, run_id: str, most: int = 50) -> RunEnd:
        """
        How a run ended, by the audit log.

        :param most: At most so many rows about what did not go well.
        """
        finished = self.journal(JournalFilter(run_id=run_id, event=Event.RUN_FINISHED, limit=1))
        bad = frozenset(map(str, (Outcome.FAILED, Outcome.DEFERRED, Outcome.PROBLEM)))
        rows = self.journal(JournalFilter(run_id=run_id, outcomes=bad, limit=most + 2))
        troubles = [row for row in reversed(rows) if row["event"] in _OF_STEPS]
        return RunEnd(finished[0] if finished else None, troubles[:most], len(troubles) > most)

    def _sees_run(self, state: RunState) -> bool:
        """A run of somebody without a limit is about everything; those of their like are about what is theirs."""
        return self._sees_actor(state.actor)

    def _sees_actor(self, actor: str) -> bool:
        return not self.access.limited or actor in self._actors
