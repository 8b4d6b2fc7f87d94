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
    """How `serve` goes about it."""

    interval: Seconds = Field(10.0, description="Seconds between two looks at what is due.")
    lease: Seconds = Field(60.0, description="Seconds until another service takes over.")
    workers: int = Field(2, ge=1, le=64, description="At most so many runs at once.")
    patience: float = Field(30.0, ge=0, description="Seconds to wait for runs at the end.")


class HttpSettings(_Section):
    """The HTTP API and the pages of `serve`."""

    listen: str | None = Field(None, description="Address and port, as `127.0.0.1:8080`; empty: there is no HTTP.")
    tokens: Tokens = Field(
        Tokens.AUTO, description="Whether a token is needed: `on`, `off`, or `auto`: not on this machine alone."
    )
    open_to_all: bool = Field(
        False, description="Said together with `tokens = off`: everybody who reaches it may do everything."
    )
    hosts: tuple[str, ...] = Field(
        (), description="The names that it is called by. Empty: any; where only this machine reaches it, its own."
    )
    max_body: int = Field(1024 * 1024, ge=1024, le=1024**3, description="At most so many bytes in a request.")
    rate: float = Field(20.0, gt=0, description="Requests a second for each token, or address without one.")
    burst: int = Field(100, ge=1, description="So many at once, after a pause.")
    metrics: bool = Field(True, description="Whether there is `/metrics`.")
    pages: Pages = Field(
        Pages.AUTO, description="Whether there are pages at `/ui`: `on`, `off`, or `auto`: if they are installed."
    )


class NotifySettings(_Section):
    """Who is told of failures, of holds that last, and of recovery."""

    webhook: str | None = Field(None, description="An address that gets each event as JSON by POST.")
    webhook_secret: str | None = Field(None, description="Signs each event: HMAC-SHA256 of time and body.")
    command: tuple[str, ...] = Field((), description="A program with arguments, that gets each event as JSON.")
    timeout: Seconds = Field(10.0, description="Seconds until a try counts as failed.")
    held_longer_than: Period = Field(None, description="Tell of what is held for longer, as `2d`; empty: never.")
    interval: Seconds = Field(60.0, description="Seconds between two looks.")


class Settings(_Section):
    """All settings."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)


# What is never shown; each can be read from a file, whose name is then the setting NAME_file.
SECRETS = frozenset({"database.uri", "notify.webhook", "notify.webhook_secret"})
