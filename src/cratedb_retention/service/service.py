"""
The service as settings say: APScheduler lets the scheduler look again and again, until it is stopped; beside it are
the HTTP API, with pages, and notifications.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from apscheduler.schedulers.background import BackgroundScheduler

from cratedb_retention.api import Retention
from cratedb_retention.errors import not_installed
from cratedb_retention.execution.events import (
    Held,
    LeftOut,
    Observer,
    RunEndedEarly,
    RunEvent,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TakenOver,
    TaskSkipped,
    Tone,
    lines_of,
    summary,
)
from cratedb_retention.service.notifications import Notifications, Notifier, make_channels
from cratedb_retention.service.scheduler import Scheduler
from cratedb_retention.service.settings import Listening, ServiceSettings, Settings, listening

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cratedb_retention.service.http.context import Context

logger = logging.getLogger(__name__)
_MAINTENANCE_HOURS = 6
_LEVELS = {Tone.NOTICE: logging.WARNING, Tone.BAD: logging.ERROR}
# Adds pages to the application of the HTTP API.
Mount = Callable[["FastAPI", "Context"], None]


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
        settings: ServiceSettings,
        beside: Sequence[Beside] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.settings, self._retention, self._beside = settings, retention, tuple(beside)
        self.scheduler = Scheduler(retention, settings.run_options(), settings.workers, (log_event, *observers))
        self._clockwork: BackgroundScheduler | None = None

    def start(self) -> None:
        """
        Begin.

        :raises NotFound: if the toolkit's tables are not there, with the remedy.
        """
        self._retention.require()
        # A tick that comes late does the work of those that were missed; two never overlap.
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        clockwork = BackgroundScheduler(timezone="UTC", job_defaults=defaults)
        now = self._retention.clock.now()
        clockwork.add_job(self.scheduler.tick, "interval", seconds=self.settings.interval, next_run_time=now)
        clockwork.add_job(self.scheduler.maintain, "interval", hours=_MAINTENANCE_HOURS, next_run_time=now)
        for part in self._beside:
            part.start()
        clockwork.start()
        self._clockwork = clockwork
        logger.info("looking for what is due every %g seconds", self.settings.interval)

    def stop(self) -> bool:
        """
        Start nothing any more, and wait for the runs that go on to end before their next step.

        :return: Whether all have ended in time.
        """
        if self._clockwork is not None:
            self._clockwork.shutdown(wait=False)
            self._clockwork = None
        logger.info("stopping")
        ended = self.scheduler.stop(self.settings.patience)
        for part in reversed(self._beside):
            part.stop()
        return ended


def log_event(event: RunEvent) -> None:
    """Log what a run does, in a line for each run and each failure."""
    prefix = ""
    match event:
        case RunStarted(run_id=run_id):
            prefix = f"run {run_id}: "
        case RunFinished(report=report):
            prefix = f"run {report.run_id}: "
        case RunEndedEarly(report=report):
            logger.info("run %s: %s, before it ended early", report.run_id, summary(report))
            return
        case TakenOver() | StepFailed() | TaskSkipped():
            pass
        case Held() | LeftOut() | StepStarted() | StepProgressed() | StepFinished():
            return
    for text, tone in lines_of(event):
        deferred = isinstance(event, StepFailed) and event.deferred  # Nothing is wrong then.
        logger.log(logging.INFO if deferred else _LEVELS.get(tone, logging.INFO), "%s%s", prefix, text)


def make_service(
    retention: Retention,
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    mount: Mount | None = None,
) -> Service:
    """
    The service that settings describe.

    :param environment: What programs that are told of events get of it.
    :param mount: Adds the pages; None: there are none.
    :raises InvalidInput: if settings do not fit together, or the HTTP API is not installed.
    """
    notify, where = settings.notify, listening(settings.http)
    beside: list[Beside] = [_http(retention, settings, where, mount)] if where else []
    channels = make_channels(notify, os.environ if environment is None else environment)
    if not channels:
        return Service(retention, settings.service, beside)
    notifications = Notifications(Notifier(retention.sibling(), channels, notify.held_longer_than), notify.interval)
    return Service(retention, settings.service, [*beside, notifications], [notifications.observe])


def _http(retention: Retention, settings: Settings, where: Listening, mount: Mount | None) -> Beside:
    try:
        from cratedb_retention.service.http.app import make_app
        from cratedb_retention.service.http.context import Context, Limits
        from cratedb_retention.service.http.server import HttpServer
        from cratedb_retention.service.metrics import RetentionCollector, text_of
    except ImportError as error:
        raise not_installed("the HTTP API", "is not installed", "http", error) from None
    from cratedb_retention.service.runs import Runs

    http, runs = settings.http, Runs(options=settings.service.run_options())
    collector = RetentionCollector(retention.sibling())
    context = Context(
        retention=retention.sibling(),
        authenticate=where.authenticate,
        hosts=where.hosts,
        limits=Limits(body=http.max_body, rate=http.rate, burst=http.burst),
        runs=runs,
        metrics=(lambda: text_of(collector)) if http.metrics else None,
    )
    app = make_app(context)
    if mount is not None:
        mount(app, context)
    return HttpServer(app, where.host, where.port, runs, context.operations)
