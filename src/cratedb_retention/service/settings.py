"""
What can be set, in sections, with what each setting means: the same names in a file (``[http]``, ``listen = ...``) and
in the environment (``CRATEDB_RETENTION_HTTP_LISTEN``). ``docs/reference/configuration.md`` is made from this.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.runs import LEASE_MEANING, LEASE_SECONDS, LONGEST_LEASE, SHORTEST_LEASE, RunOptions

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Tokens(StrEnum):
    """Whether the HTTP API asks for an access token."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Pages(StrEnum):
    """Whether there are pages in the browser."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LogLevel(StrEnum):
    """What is logged: this and what weighs more."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a line of the log looks like."""

    TEXT = "text"
    JSON = "json"


def _duration(value: object) -> Duration | None:
    try:
        return None if value in (None, "") else parse_duration(value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


Period = Annotated[
    Duration | None,
    BeforeValidator(_duration),
    PlainSerializer(lambda value: None if value is None else str(value), return_type=str | None),
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class DatabaseSettings(_Section):
    """Where the database is."""

    uri: str | None = Field(None, description="The address of the database.")
    schema_: str = Field("ext", alias="schema", description="The schema of the toolkit's own tables.")


class LogSettings(_Section):
    """What is logged, and how. Passwords and tokens never are."""

    level: LogLevel = Field(LogLevel.WARNING, description="`debug`, `info`, `warning` or `error`.")
    format: LogFormat = Field(LogFormat.TEXT, description="`text`, or `json`: one object a line.")


class ServiceSettings(_Section):
    """How `serve` goes about it; the lease duration also is that of `run`."""

    interval: float = Field(10, ge=0.1, le=86_400, description="Scheduler polling interval, in seconds.")
    lease: float = Field(LEASE_SECONDS, ge=SHORTEST_LEASE, le=LONGEST_LEASE, description=LEASE_MEANING)
    workers: int = Field(2, ge=1, le=64, description="Maximum number of concurrent runs.")
    patience: float = Field(30, ge=0, description="Grace period for running jobs on shutdown, in seconds.")

    def run_options(self) -> RunOptions:
        """The options of every run that the service starts."""
        return RunOptions(lease=self.lease)


class HttpSettings(_Section):
    """The HTTP API and the pages of `serve`."""

    listen: str | None = Field(
        None,
        description="Address and port to listen on, as `127.0.0.1:8080`; empty: no HTTP API.",
    )
    tokens: Tokens = Field(
        Tokens.AUTO,
        description="Require access tokens: `on`, `off`, or `auto`: only if it listens beyond this machine.",
    )
    open_to_all: bool = Field(False, description="With `tokens = off`: let everybody who reaches it do everything.")
    hosts: tuple[str, ...] = Field(
        (), description="The host names that it is called by. Empty: any; where only this machine reaches it, its own."
    )
    max_body: int = Field(1024 * 1024, ge=1024, le=1024**3, description="Maximum size of a request, in bytes.")
    rate: float = Field(20.0, gt=0, description="Requests a second for each token, or address without one.")
    burst: int = Field(100, ge=1, description="Requests at once, after a pause.")
    metrics: bool = Field(True, description="Serve `/metrics`.")
    pages: Pages = Field(Pages.AUTO, description="Serve pages at `/ui`: `on`, `off`, or `auto`: if they are installed.")


class NotifySettings(_Section):
    """Notifications of failures, of what is blocked for long, and of recovery."""

    webhook: str | None = Field(None, description="Address that receives each event as JSON by POST.")
    webhook_secret: str | None = Field(None, description="Key that signs each event: HMAC-SHA256 of time and body.")
    command: tuple[str, ...] = Field((), description="Program with arguments that reads each event as JSON.")
    timeout: Seconds = Field(10.0, description="Timeout of each try, in seconds.")
    held_longer_than: Period = Field(None, description="Notify of what is blocked for longer, as `2d`; empty: never.")
    interval: Seconds = Field(60.0, description="Polling interval, in seconds; after a run it looks at once.")


class Settings(_Section):
    """All settings."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)


# What is never shown; each can be read from a file, whose name is then the setting NAME_file.
SECRETS = frozenset({"database.uri", "notify.webhook", "notify.webhook_secret"})
