"""
All settings, with the same names in a file (``[http]``, ``listen = ...``) and in the environment
(``CRATEDB_RETENTION_HTTP_LISTEN``). ``docs/reference/configuration.md`` is generated from this module.

Precedence: option, environment, file, default. The source of each value is recorded.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.address import DatabaseAddress, redact
from cratedb_retention.model.former import SETTINGS
from cratedb_retention.model.policies.values import DurationField
from cratedb_retention.model.runs import LEASE_MEANING, LEASE_SECONDS, LONGEST_LEASE, SHORTEST_LEASE

PREFIX = "CRATEDB_RETENTION_"
CONFIG = f"{PREFIX}CONFIG"
MASKED = "********"
Switch = StrEnum("Switch", ["AUTO", "ON", "OFF"])
LogLevel = StrEnum("LogLevel", ["DEBUG", "INFO", "WARNING", "ERROR"])
LogFormat = StrEnum("LogFormat", ["TEXT", "JSON"])
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Period = Annotated[DurationField | None, BeforeValidator(lambda value: None if value == "" else value)]


def _list(split: Callable[[str], list[str]]) -> BeforeValidator:
    return BeforeValidator(lambda value: split(value) if isinstance(value, str) else value)


Names = Annotated[tuple[str, ...], _list(lambda text: [part.strip() for part in text.split(",")])]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class DatabaseSettings(_Section):
    uri: str | None = Field(None, description="Address of the database.")
    schema_: str = Field("ext", alias="schema", description="Schema of the toolkit's own tables.")


class LogSettings(_Section):
    level: LogLevel = Field(LogLevel.WARNING, description="Log level: `debug`, `info`, `warning` or `error`.")
    format: LogFormat = Field(LogFormat.TEXT, description="Log format: `text`, or `json` with one object per line.")


class ServiceSettings(_Section):
    interval: float = Field(10, ge=0.1, le=86_400, description="Scheduler polling interval, in seconds.")
    lease: float = Field(LEASE_SECONDS, ge=SHORTEST_LEASE, le=LONGEST_LEASE, description=LEASE_MEANING)
    workers: int = Field(2, ge=1, le=64, description="Maximum number of concurrent runs.")
    patience: float = Field(30, ge=0, description="Grace period for running jobs on shutdown, in seconds.")


class HttpSettings(_Section):
    listen: str | None = Field(
        None, description="Address and port of the HTTP API, such as `127.0.0.1:8080`; empty: no HTTP API."
    )
    tokens: Switch = Field(
        Switch.AUTO,
        description="Require access tokens: `on`, `off`, or `auto`: only if the service listens beyond localhost.",
    )
    open_to_all: bool = Field(False, description="Permit `tokens = off` beyond localhost: any caller may do anything.")
    hosts: Names = Field(
        (), description="Host names that requests may use. Empty: any, or only localhost if the service listens there."
    )
    max_body: int = Field(1024 * 1024, ge=1024, le=1024**3, description="Maximum size of a request body, in bytes.")
    rate: float = Field(20.0, gt=0, description="Maximum rate per token or address, in requests per second.")
    burst: int = Field(100, ge=1, description="Maximum number of requests in a burst, after a pause.")
    queries: int = Field(2, ge=1, le=64, description="Maximum number of concurrent queries of archives by SQL.")
    query_timeout: Seconds = Field(30.0, description="Time limit of such a query, in seconds.")
    query_size: int = Field(
        64 * 1024 * 1024, ge=1024, le=16 * 1024**3, description="Maximum size of the answer to such a query, in bytes."
    )
    metrics: bool = Field(True, description="Serve `/metrics`.")
    pages: Switch = Field(
        Switch.AUTO, description="Serve the pages at `/ui`: `on`, `off`, or `auto`: if they are installed."
    )


class NotifySettings(_Section):
    webhook: str | None = Field(None, description="URL to which each event is sent as JSON, by POST.")
    webhook_secret: str | None = Field(None, description="Key that signs each event: HMAC-SHA256 of time and body.")
    channels: Annotated[tuple[str, ...], _list(str.split)] = Field(
        (), description="Addresses of chat, mail and other services, as Apprise URLs; requires the extra `chat`."
    )
    command: Annotated[tuple[str, ...], _list(shlex.split)] = Field(
        (), description="Program and arguments; it reads each event as JSON from its standard input."
    )
    timeout: Seconds = Field(10.0, description="Timeout of each attempt, in seconds.")
    blocked_longer_than: Period = Field(None, description="Notify if blocked for longer, such as `2d`; empty: never.")
    interval: Seconds = Field(60.0, description="Polling interval, in seconds; each run also triggers a check.")


class OidcSettings(_Section):
    issuer: str | None = Field(
        None,
        description="Address of a provider of OpenID Connect, by which users log in to the pages, such as "
        "`https://login.example.org/realms/acme`; empty: only access tokens. Requires the extra `oidc`.",
    )
    client_id: str | None = Field(None, description="Identifier of this service at the provider.")
    client_secret: str | None = Field(None, description="Its secret; empty: a public client.")
    grants: Annotated[tuple[str, ...], _list(shlex.split)] = Field(
        (),
        description="Which groups may do what: `GROUP=ROLE`, or `GROUP=ROLE:TAGS` for policies with these tags only. "
        "Users without any cannot log in.",
    )
    scopes: Annotated[tuple[str, ...], _list(str.split)] = Field(
        ("openid", "profile"), description="Scopes to ask for; many providers have one for groups."
    )
    groups_claim: str = Field("groups", description="Claim with the groups of a user.")
    name_claim: str = Field("preferred_username", description="Claim with the name of a user, for the audit log.")
    redirect_uri: str | None = Field(
        None,
        description="Where the provider sends users back, as registered there, such as "
        "`https://retention.example.org/ui/login/callback`; empty: at the address that the browser asked for.",
    )


class IcebergSettings(_Section):
    catalog: str | None = Field(
        None,
        description="Name of the Iceberg catalog that follows the archives; pyiceberg's configuration describes it.",
    )


class Settings(_Section):
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    oidc: OidcSettings = Field(default_factory=OidcSettings)
    iceberg: IcebergSettings = Field(default_factory=IcebergSettings)


# Never shown. Each can be read from a file, which the setting NAME_file names.
SECRETS = frozenset(
    {"database.uri", "notify.webhook", "notify.webhook_secret", "notify.channels", "oidc.client_secret"}
)
# Names that are older than the settings.
_OTHER_NAMES = {"database.uri": "CRATEDB_URI", "database.schema": "CRATEDB_EXT_SCHEMA"}
_SECTIONS: Mapping[str, type[_Section]] = {
    name: field.annotation for name, field in Settings.model_fields.items() if isinstance(field.annotation, type)
}
_FILE = "_file"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Given(NamedTuple):
    value: Any
    source: str


class Loaded(NamedTuple):
    settings: Settings
    sources: Mapping[str, str]  # sources of values other than defaults, by setting: ``http.listen``
    file: Path | None = None
    former: tuple[str, ...] = ()  # Warnings: settings that were given by their former names


def names() -> list[str]:
    """The names of all settings, such as ``http.listen``."""
    return [
        f"{section}.{field.alias or name}"
        for section, model in _SECTIONS.items()
        for name, field in model.model_fields.items()
    ]


def variable(name: str) -> str:
    return _OTHER_NAMES.get(name) or PREFIX + name.replace(".", "_").upper()


def load(environment: Mapping[str, str], path: str | None, options: Mapping[str, Any] | None = None) -> Loaded:
    """
    Load all settings from the file ``path``, the environment, and ``options`` by setting; None: not given. Raises
    InvalidInput, which names file and line, variable, or option.
    """
    named = path or environment.get(CONFIG)
    home = environment.get("XDG_CONFIG_HOME") or (f"{environment['HOME']}/.config" if "HOME" in environment else None)
    places = [Path(directory, "cratedb-retention", "config.toml") for directory in (home, "/etc") if directory]
    file = Path(named) if named else next((place for place in places if place.is_file()), None)
    said = {key: Given(value, "option") for key, value in (options or {}).items() if value is not None}
    layers = (_from_file(file) if file else {}, _from_environment(environment), said)
    given, former = dict[str, Given](), list[str]()
    for layer in layers:
        found = ((layer[old].source, old, new) for old, new in SETTINGS.items() if old in layer)
        former += (f"{source}: {old} is deprecated; use {new}" for source, old, new in found)
        given |= _with_contents({SETTINGS.get(name, name): each for name, each in layer.items()})
    return Loaded(_validate(given), {name: each.source for name, each in given.items()}, file, tuple(former))


def _from_file(path: Path) -> dict[str, Given]:
    text, given = _read(path, f"configuration file {path}"), {}
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"configuration file {path}", f"not valid TOML: {error}") from None
    for section, values in found.items():
        if section not in _SECTIONS or not isinstance(values, dict):
            thing = f"{path}, line {_line(text, section, None)}, {section}"
            raise InvalidInput(thing, "unknown section", _close(section, _SECTIONS, "sections are"))
        for key, value in values.items():
            name, source = f"{section}.{key}", f"{path}, line {_line(text, section, key)}"
            if name not in {*names(), *SETTINGS} and name.removesuffix(_FILE) not in SECRETS:
                raise InvalidInput(f"{source}, {name}", "unknown setting", _close(name, names(), "settings are"))
            given[name] = Given(value, source)
    return given


def _line(text: str, section: str, key: str | None) -> int:
    """The line of a key, or of a section; 1 if they are written in another way."""
    inside, header = False, 1
    wanted = re.compile(rf"\s*[\"']?{re.escape(key or section)}[\"']?\s*[.=]")
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*\[\s*[\"']?([\w-]+)[\"']?\s*\]", line)
        if found:
            inside = found[1] == section
            header = number if inside else header
        elif (inside or key is None) and wanted.match(line):
            return number
    return header


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    known = {variable(name): name for name in (*names(), *SETTINGS)}
    known |= {f"{variable(name)}{_FILE.upper()}": f"{name}{_FILE}" for name in SECRETS}
    for key in environment:
        if key not in known and key.startswith(PREFIX) and key != CONFIG:
            raise InvalidInput(f"environment variable {key}", "unknown setting", _close(key, known, "settings are"))
    return {name: Given(environment[key], f"environment, {key}") for key, name in known.items() if key in environment}


def _with_contents(layer: Mapping[str, Given]) -> dict[str, Given]:
    """Read secrets from their files. A source must not give both a secret and its file."""
    found = dict(layer)
    for name in SECRETS & {key.removesuffix(_FILE) for key in layer if key.endswith(_FILE)}:
        file, source = found.pop(f"{name}{_FILE}")
        if name in found:
            raise InvalidInput(f"{source}, {name}{_FILE}", f"{name} is given as well", "omit one of them")
        text = _read(Path(str(file)), f"{source}, {name}{_FILE}")
        found[name] = Given(text.strip(), f"file {file} ({source})")
    return found


def _read(path: Path, thing: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Editors on Windows may write a byte order mark.
    except UnicodeDecodeError:
        raise InvalidInput(thing, "not UTF-8 text") from None
    except OSError as error:
        named = thing if str(path) in thing else f"{thing}, file {path}"
        raise InvalidInput(named, error.strerror or str(error), "name a readable file") from None


def _validate(given: Mapping[str, Given]) -> Settings:
    data: dict[str, dict[str, Any]] = {}
    for name, each in given.items():
        section, _, key = name.partition(".")
        data.setdefault(section, {})[key] = each.value
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"][:2]))
        reason = str(first["msg"]).removeprefix("Value error, ").replace("Input should be ", "must be ")
        raise InvalidInput(f"{given[name].source if name in given else 'settings'}, {name}", reason) from None


def _close(word: str, known: Iterable[str], all_of_them: str) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"{all_of_them}: {', '.join(sorted(known))}"


def shown_settings(settings: Settings) -> Iterator[tuple[str, Any]]:
    """The names and values of all settings. Secrets are redacted; in the database address, only the password."""
    for section, values in settings.model_dump(mode="json", by_alias=True).items():
        for key, value in values.items():
            yield f"{section}.{key}", _shown(f"{section}.{key}", value)


def _shown(name: str, value: Any) -> Any:
    if name not in SECRETS or not value:
        shown = [redact(str(part)) for part in value] if isinstance(value, list) else value
        return redact(shown) if isinstance(shown, str) else shown
    try:
        return DatabaseAddress.from_string(value).safe if name == "database.uri" else MASKED
    except InvalidInput:
        return MASKED


@dataclass(frozen=True, kw_only=True)
class Listening:
    host: str
    port: int
    authenticate: bool  # whether a token is required
    hosts: frozenset[str]  # the names that requests may use; empty: any


def listening(settings: HttpSettings) -> Listening | None:
    """Where to listen; None: no HTTP API. Raises InvalidInput if the address is invalid, or open by mistake."""
    if not settings.listen:
        return None
    host, colon, port = settings.listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        thing = f"http.listen {settings.listen!r}"
        raise InvalidInput(thing, "not an address and a port", "write it like 127.0.0.1:8080")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - an empty host means all interfaces
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host.lower() == "localhost"
    authenticate = settings.tokens is Switch.ON or (settings.tokens is Switch.AUTO and not local)
    if not authenticate and not local and not settings.open_to_all:
        reason, remedy = (
            "without access tokens, any caller could delete data",
            "set http.tokens to auto, or also set http.open_to_all",
        )
        raise InvalidInput(f"http.listen {settings.listen}", reason, remedy)
    hosts = frozenset(settings.hosts) or (_LOOPBACK if local else frozenset())
    return Listening(host=host, port=int(port), authenticate=authenticate, hosts=hosts)
