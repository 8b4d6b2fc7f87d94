"""
What takes long and is no run: restores and verifications of snapshots, done in the background, watched, cancelled.

They are known to the process that does them, and told of until it ends; the audit log tells of each snapshot for good.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from cratedb_retention.api import Retention
from cratedb_retention.errors import Conflict, NotFound, RetentionError
from cratedb_retention.execution.restoring import Restored, Verified

logger = logging.getLogger(__name__)
# Operations that are over and still told of.
REMEMBERED = 100
UNKNOWN_OPERATION = "GET /api/v1/journal tells of older ones"
Result = Restored | Verified
# Does it, and tells of each snapshot as soon as it is through with it.
Work = Callable[[Callable[[Result], None]], object]


@dataclass(frozen=True)
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
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="operation")
        self._lock = threading.Lock()
        self._states: dict[str, OperationState] = {}
        self._stops: dict[str, threading.Event] = {}
        self._futures: dict[str, Future[None]] = {}

    def start(self, retention: Retention, kind: str, total: int, work: Work) -> OperationState:
        """
        Begin, and come back at once.

        :raises Conflict: if too many go on.
        """
        key = str(uuid.uuid4())
        state = OperationState(key, kind, "running", retention.actor.name, retention.clock.now(), total)
        with self._lock:
            self._futures = {each: future for each, future in self._futures.items() if not future.done()}
            if len(self._futures) >= self._workers:
                raise Conflict(kind, f"{self._workers} operations are going on already", "wait for one, or cancel it")
            self._states[key], self._stops[key] = state, threading.Event()
            while len(self._states) > REMEMBERED:
                oldest = next(iter(self._states))
                self._states.pop(oldest)
                self._stops.pop(oldest)
            self._futures[key] = self._pool.submit(self._do, retention, key, work, self._stops[key])
        return state

    def all(self) -> list[OperationState]:
        """Those of late, newest first."""
        with self._lock:
            return list(reversed(self._states.values()))

    def find(self, key: str) -> OperationState:
        """
        One of them.

        :raises NotFound: if there is none.
        """
        with self._lock:
            state = self._states.get(key)
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
        with self._lock:
            self._stops[key].set()
        return state

    def wait(self) -> None:
        """Until nothing goes on."""
        for future in list(self._futures.values()):
            future.result()

    def close(self) -> None:
        """End each before its next snapshot."""
        with self._lock:
            for stop in self._stops.values():
                stop.set()
        self._pool.shutdown(wait=True)

    def _do(self, retention: Retention, key: str, work: Work, stop: threading.Event) -> None:
        def told(result: Result) -> None:
            with self._lock:
                self._states[key] = replace(self._states[key], results=(*self._states[key].results, result))
                last = len(self._states[key].results) >= self._states[key].total
            if stop.is_set() and not last:
                raise _Cancelled

        state, error = "failed", None
        try:
            work(told)
            state = "failed" if any(result.error for result in self.find(key).results) else "done"
        except _Cancelled:
            state = "cancelled"
        except RetentionError as found:
            error = str(found)
        except Exception:
            logger.exception("operation %s ended by a mistake in the program", key)
            error = "a mistake in the program; its log tells more"
        with self._lock:
            ended = replace(self._states[key], state=state, error=error, finished_at=retention.clock.now())
            self._states[key] = ended
