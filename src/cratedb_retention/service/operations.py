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
from cratedb_retention.clock import Clock
from cratedb_retention.errors import Conflict, NotFound
from cratedb_retention.execution.archive import Restored, Verified
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


class _Operation:
    """An operation that its own thread alone changes."""

    def __init__(self, state: OperationState) -> None:
        self.state, self.stop = state, threading.Event()

    def do(self, clock: Clock, work: Work) -> None:
        """Do it, and note what becomes of each snapshot."""

        def told(result: Result) -> None:
            self.state = replace(self.state, results=(*self.state.results, result))
            if self.stop.is_set() and len(self.state.results) < self.state.total:
                raise _Cancelled

        def all_went_well() -> bool:
            work(told)
            return not any(result.error for result in self.state.results)

        outcome, error = outcome_of(f"operation {self.state.operation_id}", all_went_well, _Cancelled)
        self.state = replace(self.state, state=outcome, error=error, finished_at=clock.now())


class Operations(Background[_Operation]):
    """
    The operations of this process.

    :param workers: Maximum number of concurrent operations.
    """

    def __init__(self, workers: int = 2) -> None:
        super().__init__("operation", workers)

    def start(self, retention: Retention, kind: str, total: int, work: Work) -> OperationState:
        """
        Begin, and come back at once.

        :raises Conflict: if too many go on.
        """
        key, clock = str(uuid.uuid4()), retention.clock
        state = OperationState(
            operation_id=key,
            kind=kind,
            state="running",
            actor=retention.actor.name,
            started_at=clock.now(),
            total=total,
        )
        operation = _Operation(state)
        self._begin(key, kind, operation, operation.stop, lambda: operation.do(clock, work))
        return state

    def all(self) -> list[OperationState]:
        """Those of late, newest first."""
        return [operation.state for operation in reversed(self._known().values())]

    def find(self, key: str) -> OperationState:
        """
        One of them.

        :raises NotFound: if there is none.
        """
        operation = self._known().get(key)
        if operation is None:
            raise NotFound(f"operation {key}", "is not known here", UNKNOWN_OPERATION)
        return operation.state

    def cancel(self, key: str) -> OperationState:
        """
        Let one end before its next snapshot.

        :raises NotFound: if there is none.
        :raises Conflict: if it is over.
        """
        state = self.find(key)
        if state.state != "running":
            raise Conflict(f"operation {key}", "is over already")
        self._stop(key)
        return state
