"""``serve``: run what is due by schedules, until stopped."""

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

if TYPE_CHECKING:
    from cratedb_retention.service.assembling import Mount
    from cratedb_retention.service.settings import Settings

logger = logging.getLogger(__name__)


@click.command("serve")
@options.database
@click.option(
    "--interval", type=click.FloatRange(0.1), default=10, show_default=True, help="Seconds between two looks."
)
@options.lease
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="At most so many runs at once."
)
@click.option(
    "--patience", type=click.FloatRange(0), default=30, show_default=True, help="Seconds to wait for runs at the end."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Serve the HTTP API and the pages there, as 127.0.0.1:8080. [default: nowhere]",
)
@click.option(
    "--tokens",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Whether it asks for access tokens; auto: not where only this machine reaches it.",
)
@click.option("--open-to-all", is_flag=True, help="With --tokens=off: let everybody do everything, from anywhere.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    dburi: str | None,
    schema: str,
    interval: float,
    lease: float,
    workers: int,
    patience: float,
    **http: Any,
) -> None:
    """
    Run policies by their schedules, and serve the HTTP API and the pages, until stopped by SIGTERM or Ctrl-C. Any
    number of these may run on one database. What else can be set, `config` shows.

    Runs that go on then end before their next step, and another service, or the next start, goes on from there. A
    second signal ends the process at once.

    \b
    Examples:
      cratedb-retention serve crate://localhost:4200/
      cratedb-retention serve --interval=60 --workers=4
      cratedb-retention serve --listen=0.0.0.0:8080
    """
    from cratedb_retention.service.assembling import make_service
    from cratedb_retention.service.settings import Settings

    own = {"interval": interval, "lease": lease, "workers": workers, "patience": patience}
    given = (ctx.obj.settings if ctx.obj else Settings()).model_dump(by_alias=True)
    settings = Settings.model_validate({**given, "service": own, "http": {**given["http"], **http}})
    if not (ctx.obj and "log.level" in ctx.obj.sources):
        logging.getLogger("cratedb_retention").setLevel(min(logging.getLogger().level, logging.INFO))
    with options.open_retention(dburi, schema) as retention:
        service = make_service(retention, settings, mount=_pages(settings))
        stopped = _stopped_by_signals()
        service.start()
        stopped.wait()
        if not service.stop():
            raise RetentionError("serve", f"a run did not end within {patience:g} seconds", "another one takes it over")


def _pages(settings: Settings) -> Mount | None:
    """
    What adds the pages, if there shall be any.

    :raises InvalidInput: if they are wanted, and not installed.
    """
    if settings.http.pages == "off" or not settings.http.listen:
        return None
    try:
        from cratedb_retention.ui.mounting import mount
    except ImportError as error:
        missing = not_installed("http.pages", "they are not installed", "ui", error)
        if settings.http.pages == "auto" and isinstance(missing, InvalidInput):
            return None
        raise missing from None
    return mount


def _stopped_by_signals() -> threading.Event:
    """An event that the first signal sets; the second ends the process."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            os._exit(EXIT_FAILED)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped
