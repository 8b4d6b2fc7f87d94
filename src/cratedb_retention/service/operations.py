"""
What takes long and is no run: restores and verifications of snapshots, done in the background, watched, cancelled.

They are known to the process that does them, and told of until it ends; the audit log tells of each snapshot for good.
"""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from cratedb_retention.api import Retention
from cratedb_retention.errors import Conflict, NotFound
from cratedb_retention.execution.restoring import Restored, Verified
from cratedb_retention.service.background import Background, outcome_of

UNKNOWN_OPERATION = "GET /api/v1/journal tells of older ones"
Result = Restored | Verified
# Does it, and tells of each snapshot as soon as it is through with it.
Work = Callable[[Callable[[Result], None]], object]


@dataclass(frozen=True, kw_only=True)
class OperationState:
    """
    How far an operation is.

    :param kind: ``restore`` or ``verify``.
    :param state: ``running``, ``done``, ``failed`` or ``cancelled``.
    :param actor: Who started it, as the audit log says.
    :param total: How many snapshots it is about.
    :param results: What became of each so far.
    :param error: Why it ended early.
    """

    operation_id: str
    kind: str
    state: str
    actor: str
    started_at: dt.datetime
    total: int
    finished_at: dt.datetime | None = None
    results: tuple[Result, ...] = ()
    error: str | None = None


class _Cancelled(Exception):
    """Somebody asked for the end."""


class Operations:
    """
    The operations of this process.

    :param workers: At most so many at a time.
    """

    def __init__(self, workers: int = 2) -> None:
        self._background = Background[OperationState]("operation", workers)

    def start(self, retention: Retention, kind: str, total: int, work: Work) -> OperationState:
        """
        Begin, and come back at once.

        :raises Conflict: if too many go on.
        """
        key = str(uuid.uuid4())
        state = OperationState(
            operation_id=key,
            kind=kind,
            state="running",
            actor=retention.actor.name,
            started_at=retention.clock.now(),
            total=total,
        )
        self._background.start(key, kind, state, lambda stop: self._do(retention, key, work, stop))
        return state

    def all(self) -> list[OperationState]:
        """Those of late, newest first."""
        return list(reversed(self._background.all().values()))

    def find(self, key: str) -> OperationState:
        """
        One of them.

        :raises NotFound: if there is none.
        """
        state = self._background.find(key)
        if state is None:
            raise NotFound(f"operation {key}", "is not known here", UNKNOWN_OPERATION)
        return state

    def cancel(self, key: str) -> OperationState:
        """
        Let one end before its next snapshot.

        :raises NotFound: if there is none.
        :raises Conflict: if it is over.
        """
        state = self.find(key)
        if state.state != "running":
            raise Conflict(f"operation {key}", "is over already")
        self._background.stop(key)
        return state

    def wait(self) -> None:
        """Until nothing goes on."""
        self._background.wait()

    def close(self) -> None:
        """End each before its next snapshot."""
        self._background.close()

    def _do(self, retention: Retention, key: str, work: Work, stop: threading.Event) -> None:
        results: list[Result] = []

        def told(result: Result) -> None:
            results.append(result)
            state = self._background.change(key, lambda state: replace(state, results=tuple(results)))
            if stop.is_set() and state and len(results) < state.total:
                raise _Cancelled

        def all_went_well() -> bool:
            work(told)
            return not any(result.error for result in results)

        outcome, error = outcome_of(f"operation {key}", all_went_well, _Cancelled)
        now = retention.clock.now()
        self._background.change(key, lambda state: replace(state, state=outcome, error=error, finished_at=now))
