"""
The service: a scheduler, which polls for due slots, takes their leases and executes them as one run; the HTTP API with
the pages; and notifications. Several services may use the same database: leases decide which one runs a policy (law 8).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler

from cratedb_retention.api import Retention
from cratedb_retention.errors import ConnectionLost, RetentionError, RunEnded, not_installed
from cratedb_retention.execution.iceberg import Mirrored
from cratedb_retention.execution.runs import events
from cratedb_retention.execution.runs.events import Observer, RunEvent, Tone
from cratedb_retention.execution.runs.leasing import Session
from cratedb_retention.model.runs import Report, RunOptions
from cratedb_retention.planning.schedule import Timetable
from cratedb_retention.service.notifications import Notifications, make_channels
from cratedb_retention.service.runs import Runs
from cratedb_retention.service.settings import Listening, ServiceSettings, Settings, listening

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cratedb_retention.service.http.access import Context
    from cratedb_retention.service.http.app import HttpServer

logger = logging.getLogger(__name__)
_LEVELS = {Tone.NOTICE: logging.WARNING, Tone.BAD: logging.ERROR}
# Adds the pages to the application of the HTTP API.
Mount = Callable[["FastAPI", "Context"], None]


class Scheduler:
    """Polls for due slots and runs them. While all ``workers`` are busy, it leaves them to other services."""

    def __init__(
        self, retention: Retention, options: RunOptions | None = None, workers: int = 2, *observers: Observer
    ) -> None:
        self._retention, self._workers, self._observers = retention, workers, observers
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._options = replace(options or RunOptions(), stop=self._stop)
        self._timetable = Timetable()
        self._threads: list[threading.Thread] = []
        self._is_cut_off = False

    def tick(self) -> bool:
        """Poll once; return whether a run was started. If the database is unreachable, the next tick tries again."""
        try:
            started = self._begin()
        except ConnectionLost as error:
            logger.log(logging.DEBUG if self._is_cut_off else logging.WARNING, "cannot poll schedules: %s", error)
            self._is_cut_off = True
            return False
        except RetentionError as error:
            logger.error("cannot poll schedules: %s", error)
            return False
        if self._is_cut_off:
            logger.warning("the database responds again")
            self._is_cut_off = False
        return started

    def _begin(self) -> bool:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._stop.is_set() or len(self._threads) >= self._workers:
            return False
        schedule = self._retention.schedule
        session = schedule.take(schedule.find_due(self._timetable), self._options)
        if session is None:
            return False
        thread = threading.Thread(target=self._run, args=(session,), name=f"run {session.leases.run_id}", daemon=True)
        with self._lock:
            if not self._stop.is_set():
                self._threads.append(thread)
                thread.start()
                return True
        session.leases.release({})
        return False

    def _run(self, session: Session) -> None:
        try:
            self._retention.sibling().run(session=session, observers=self._observers)
        except RetentionError as error:
            level = logging.WARNING if isinstance(error, RunEnded) else logging.ERROR
            logger.log(level, "run %s: %s", session.leases.run_id, error)
        except Exception:
            logger.exception("run %s: this is a bug; please report it", session.leases.run_id)

    def maintain(self) -> None:
        try:
            self._retention.runs.forget_old()
        except RetentionError as error:
            logger.warning("cannot remove old runs: %s", error)

    def wait(self, patience: float | None = None) -> bool:
        """Wait for all runs, at most ``patience`` seconds; return whether all ended."""
        clock = self._retention.clock
        deadline = None if patience is None else clock.uptime() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(deadline - clock.uptime(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self, patience: float) -> bool:
        """Start no more runs, and let active ones end before their next step; return whether they did in time."""
        with self._lock:
            self._stop.set()
        return self.wait(patience)


class Service:
    """Runs due policies until stopped. The parts ``beside`` start before the scheduler, and stop after it."""

    def __init__(self, retention: Retention, settings: ServiceSettings, *beside: HttpServer | Notifications) -> None:
        self.settings, self._retention, self._beside = settings, retention, beside
        observers = [each.observe for each in beside if isinstance(each, Notifications)]
        self.scheduler = Scheduler(retention, RunOptions(lease=settings.lease), settings.workers, log_event, *observers)
        # A late tick replaces missed ones, and two never overlap.
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        self._clockwork = BackgroundScheduler(timezone="UTC", job_defaults=defaults)

    def start(self) -> None:
        """Start; raises :class:`NotFound` if the toolkit's tables do not exist."""
        self._retention.require()
        now, interval = self._retention.clock.now(), self.settings.interval
        self._clockwork.add_job(self.scheduler.tick, "interval", seconds=interval, next_run_time=now)
        self._clockwork.add_job(self.scheduler.maintain, "interval", hours=6, next_run_time=now)
        for part in self._beside:
            part.start()
        self._clockwork.start()
        logger.info("polling for due policies every %g seconds", interval)

    def stop(self) -> bool:
        """Start no more runs, and wait until active ones end before their next step; return whether all did."""
        if self._clockwork.running:
            self._clockwork.shutdown(wait=False)
        logger.info("stopping")
        ended = self.scheduler.stop(self.settings.patience)
        for part in reversed(self._beside):
            part.stop()
        return ended


def log_event(event: RunEvent) -> None:
    """Log the events of a run: a line for each run and each failure."""
    run, deferred = "", False
    match event:
        case events.ActionBlocked() | events.LeftOut() | events.StepStarted() | events.StepProgressed():
            return
        case events.StepFinished():
            return
        case events.RunEndedEarly(report=report):
            logger.info("run %s: %s, before it ended early", report.run_id, events.summary(report))
        case events.RunStarted(run_id=run_id) | events.RunFinished(report=Report(run_id=run_id)):
            run = f"run {run_id}: "
        case events.StepFailed():
            deferred = event.deferred  # Not a failure.
        case events.TakenOver() | events.TaskSkipped() | Mirrored():
            pass
    for text, tone in events.lines_of(event):
        logger.log(logging.INFO if deferred else _LEVELS.get(tone, logging.INFO), "%s%s", run, text)


def make_service(
    retention: Retention, settings: Settings, environment: Mapping[str, str] | None = None, mount: Mount | None = None
) -> Service:
    """The service for settings. Raises InvalidInput if they conflict, or the HTTP API is not installed."""
    notify, where = settings.notify, listening(settings.http)
    beside: list[HttpServer | Notifications] = [_http(retention, settings, where, mount)] if where else []
    channels = make_channels(notify, os.environ if environment is None else environment)
    if channels:
        beside.append(Notifications(retention.sibling(), channels, notify.blocked_longer_than, notify.interval))
    return Service(retention, settings.service, *beside)


def _http(retention: Retention, settings: Settings, where: Listening, mount: Mount | None) -> HttpServer:
    try:
        from cratedb_retention.service.http.access import Context
        from cratedb_retention.service.http.app import HttpServer, make_app
        from cratedb_retention.service.http.oidc import make_provider
        from cratedb_retention.service.metrics import RetentionCollector
    except ImportError as error:
        raise not_installed("the HTTP API", "is not installed", "http", error) from None

    http = settings.http
    context = Context(
        retention=retention.sibling(),
        provider=make_provider(settings.oidc, retention.clock),
        authenticate=where.authenticate,
        hosts=where.hosts,
        limits=http,
        settings=settings,
        runs=Runs(options=RunOptions(lease=settings.service.lease)),
        metrics=RetentionCollector(retention.sibling()).text if http.metrics else None,
    )
    app = make_app(context)
    if mount is not None:
        mount(app, context)
    return HttpServer(app, where.host, where.port, context.runs, context.operations)
