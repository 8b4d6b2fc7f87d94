"""
Work in the background of this process: begun, watched, told of for a while when it is over, and ended with the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from cratedb_retention.errors import Conflict, RetentionError

logger = logging.getLogger(__name__)
# What is over and still told of.
REMEMBERED = 100
Work = TypeVar("Work")


class Background(Generic[Work]):
    """
    Pieces of work that others may look at, for a while also when they are over.

    :param kind: What such a piece is called.
    :param workers: Maximum number of concurrent pieces.
    """

    def __init__(self, kind: str, workers: int) -> None:
        self._kind, self._workers = kind, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=kind)
        self._lock = threading.Lock()
        self._works: dict[str, tuple[Work, threading.Event]] = {}
        self._futures: dict[str, Future[None]] = {}

    def _begin(self, key: str, thing: str, work: Work, stop: threading.Event, do: Callable[[], None]) -> None:
        """
        Begin, and come back at once.

        :param thing: What is begun, for the error.
        :param stop: Is set to ask for its end.
        :raises Conflict: if too many go on.
        """
        with self._lock:
            self._futures = {each: future for each, future in self._futures.items() if not future.done()}
            if len(self._futures) >= self._workers:
                going_on = f"{self._workers} {self._kind}s are going on already"
                raise Conflict(thing, going_on, "wait for one, or cancel it")
            self._works[key] = work, stop
            while len(self._works) > REMEMBERED:
                self._works.pop(next(iter(self._works)))
            self._futures[key] = self._pool.submit(do)

    def _known(self) -> dict[str, Work]:
        """What is known, by key, oldest first."""
        with self._lock:
            return {key: work for key, (work, _) in self._works.items()}

    def _stop(self, key: str) -> None:
        """Ask one for its end."""
        with self._lock:
            if key in self._works:
                self._works[key][1].set()

    def wait(self) -> None:
        """Until nothing goes on."""
        for future in list(self._futures.values()):
            future.result()

    def close(self) -> None:
        """Ask all for their end, and wait for it."""
        with self._lock:
            for _, stop in self._works.values():
                stop.set()
        self._pool.shutdown(wait=True)


def outcome_of(what: str, work: Callable[[], bool], ended: type[Exception]) -> tuple[str, str | None]:
    """
    Do something in the background, where nobody hears an error.

    :param what: What it is, for the log.
    :param work: Does it, and tells whether all went well.
    :param ended: What it raises where it was asked for its end.
    :return: ``done``, ``failed`` or ``cancelled``, and why.
    """
    try:
        return ("done" if work() else "failed"), None
    except ended as error:
        return "cancelled", str(error) or None
    except RetentionError as error:
        return "failed", str(error)
    except Exception:
        logger.exception("%s ended by a mistake in the program", what)
        return "failed", "a mistake in the program; its log tells more"
