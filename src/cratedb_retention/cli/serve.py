"""``serve``: run policies on their schedules, until stopped."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.errors import EXIT_FAILED, InvalidInput, RetentionError, not_installed
from cratedb_retention.service.settings import HttpSettings, ServiceSettings, Settings

if TYPE_CHECKING:
    from cratedb_retention.service.schedule import Mount

logger = logging.getLogger(__name__)
_NAMES = {"service": tuple(ServiceSettings.model_fields), "http": ("listen", "tokens", "open_to_all")}


@click.command("serve")
@options.database
@options.settings(ServiceSettings)
@options.settings(HttpSettings, *_NAMES["http"])
@click.pass_context
def serve(ctx: click.Context, /, database: options.Database, **given: Any) -> None:
    """
    Run policies on their schedules, and serve the HTTP API and the pages, until stopped by SIGTERM or Ctrl-C. Several
    services may use the same database. `config` lists all settings.

    When the service is stopped, active runs end before their next step. Another service, or the next start, continues
    from there. A second signal ends the process immediately.

    \b
    Examples:
      cratedb-retention serve crate://localhost:4200/
      cratedb-retention serve --interval=60 --workers=4
      cratedb-retention serve --listen=0.0.0.0:8080
    """
    from cratedb_retention.service.schedule import make_service

    values = (ctx.obj.settings if ctx.obj else Settings()).model_dump(by_alias=True)
    for section, names in _NAMES.items():
        values[section] |= {name: given[name] for name in names}
    settings = Settings.model_validate(values)
    if not (ctx.obj and "log.level" in ctx.obj.sources):
        logging.getLogger("cratedb_retention").setLevel(min(logging.getLogger().level, logging.INFO))
    with database.open() as retention:
        service = make_service(retention, settings, mount=_pages(settings))
        stopped = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            if stopped.is_set():  # The second signal ends the process.
                os._exit(EXIT_FAILED)
            stopped.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        service.start()
        stopped.wait()
        if not service.stop():
            within = f"a run did not end within {settings.service.patience:g} seconds"
            raise RetentionError("serve", within, "another run takes over its policies")


def _pages(settings: Settings) -> Mount | None:
    """The function that adds the pages; None if disabled. Raises InvalidInput if required but not installed."""
    if settings.http.pages == "off" or not settings.http.listen:
        return None
    try:
        from cratedb_retention.ui.frame import mount
    except ImportError as error:
        missing = not_installed("http.pages", "the pages are not installed", "ui", error)
        if settings.http.pages == "auto" and isinstance(missing, InvalidInput):
            return None
        raise missing from None
    return mount
