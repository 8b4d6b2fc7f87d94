"""
Puts the service together as settings say: the scheduler, the HTTP API, notifications.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cratedb_retention.api import Retention
from cratedb_retention.errors import not_installed
from cratedb_retention.execution.running import Terms
from cratedb_retention.service.listening import Listening, listening
from cratedb_retention.service.notifying import Notifications, Notifier, make_tellers
from cratedb_retention.service.service import Beside, Service, ServiceOptions
from cratedb_retention.service.settings import NotifySettings, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cratedb_retention.service.http.context import Context


# Adds pages to the application of the HTTP API.
Mount = Callable[["FastAPI", "Context"], None]


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
    own = settings.service
    options = ServiceOptions(interval=own.interval, ttl=own.lease, workers=own.workers, patience=own.patience)
    where = listening(settings.http)
    beside: list[Beside] = [_http(retention, settings, where, mount)] if where else []
    notifications = _notifications(retention, settings.notify, os.environ if environment is None else environment)
    if notifications is None:
        return Service(retention, options, beside)
    return Service(retention, options, [*beside, notifications], [notifications.observe])


def _notifications(
    retention: Retention, settings: NotifySettings, environment: Mapping[str, str]
) -> Notifications | None:
    tellers = make_tellers(settings.webhook, settings.webhook_secret, settings.command, settings.timeout, environment)
    if not tellers:
        return None
    return Notifications(Notifier(retention.sibling(), tellers, settings.held_longer_than), settings.interval)


def _http(retention: Retention, settings: Settings, where: Listening, mount: Mount | None) -> Beside:
    try:
        from cratedb_retention.service.http.app import make_app
        from cratedb_retention.service.http.context import Context, Limits
        from cratedb_retention.service.http.server import HttpServer
        from cratedb_retention.service.metrics import RetentionCollector, text_of
    except ImportError as error:
        raise not_installed("the HTTP API", "is not installed", "http", error) from None
    from cratedb_retention.service.runs import StoredRuns

    http, runs = settings.http, StoredRuns(terms=Terms(settings.service.lease))
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
