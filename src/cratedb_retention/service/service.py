"""
The service: APScheduler lets the scheduler look again and again, until it is stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from apscheduler.schedulers.background import BackgroundScheduler

from cratedb_retention.api import Retention
from cratedb_retention.execution.events import (
    Observer,
    RunEndedEarly,
    RunEvent,
    RunFinished,
    RunStarted,
    StepFailed,
    TakenOver,
)
from cratedb_retention.execution.leasing import TTL_SECONDS
from cratedb_retention.execution.running import Terms
from cratedb_retention.model.words import plural
from cratedb_retention.service.scheduler import Scheduler

logger = logging.getLogger(__name__)
_MAINTENANCE_HOURS = 6


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """
    How the service goes about it; all times in seconds.

    :param interval: Between two looks at what is due.
    :param ttl: After so long without renewal another service may take a lease.
    :param workers: At most so many runs at a time.
    :param patience: How long runs that go on are waited for when the service stops.
    """

    interval: float = 10.0
    ttl: float = TTL_SECONDS
    workers: int = 2
    patience: float = 30.0


class Beside(Protocol):
    """Something that goes on beside the scheduler, such as the HTTP API."""

    def start(self) -> None:
        """Begin; what raises keeps the service from starting."""

    def stop(self) -> None:
        """End, and wait for it."""


class Service:
    """
    Runs what is due until it is stopped.

    :param beside: Is started before the scheduler, and stopped after it.
    :param observers: Are told what happens in runs.
    """

    def __init__(
        self,
        retention: Retention,
        options: ServiceOptions | None = None,
        beside: Sequence[Beside] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.options = options or ServiceOptions()
        self._retention = retention
        self.scheduler = Scheduler(
            retention, Terms(self.options.ttl), self.options.workers, observe=lambda: (log_event, *observers)
        )
        self._clockwork: BackgroundScheduler | None = None
        self._beside = tuple(beside)

    def start(self) -> None:
        """
        Begin.

        :raises NotFound: if the toolkit's tables are not there, with the remedy.
        """
        self._retention.store.require()
        # A tick that comes late does the work of those that were missed; two never overlap.
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        clockwork = BackgroundScheduler(timezone="UTC", job_defaults=defaults)
        now = self._retention.clock.now()
        clockwork.add_job(self.scheduler.tick, "interval", seconds=self.options.interval, next_run_time=now)
        clockwork.add_job(self.scheduler.maintain, "interval", hours=_MAINTENANCE_HOURS, next_run_time=now)
        for part in self._beside:
            part.start()
        clockwork.start()
        self._clockwork = clockwork
        logger.info("looking for what is due every %g seconds", self.options.interval)

    def stop(self) -> bool:
        """
        Start nothing any more, and wait for the runs that go on to end before their next step.

        :return: Whether all have ended in time.
        """
        if self._clockwork is not None:
            self._clockwork.shutdown(wait=False)
            self._clockwork = None
        logger.info("stopping")
        ended = self.scheduler.stop(self.options.patience)
        for part in reversed(self._beside):
            part.stop()
        return ended


def log_event(event: RunEvent) -> None:
    """Log what a run does, in a line for each run and each failure."""
    match event:
        case RunStarted(run_id=run_id, plan=plan):
            logger.info("run %s: %s", run_id, plural(len(plan.tasks), "task"))
        case TakenOver(policy_id=policy, holder=holder):
            logger.warning("policy %s was taken over from %s", policy, holder)
        case StepFailed(task=task, step=step, error=error, deferred=deferred):
            level = logging.INFO if deferred else logging.ERROR
            logger.log(level, "table %s: %s: %s", task.table, step.describe(), error)
        case RunFinished(report=report):
            logger.info("run %s: %d done, %d failed", report.run_id, report.done, report.failed)
        case RunEndedEarly(report=report):
            logger.info("run %s: %d done before it ended early", report.run_id, report.done)
        case _:
            pass
