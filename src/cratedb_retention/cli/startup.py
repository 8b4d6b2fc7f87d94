"""
What happens before any command: settings are read, where there are any, the log is set up, and memory is looked after.

Where there is neither a file nor a variable, nothing of the settings is imported, so that commands stay quick.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.model.redact import JsonFormatter, RedactingFormatter

if TYPE_CHECKING:
    from cratedb_retention.service.settings import Loaded

_PREFIX, _URI_FILE = "CRATEDB_RETENTION_", "CRATEDB_URI_FILE"
_PLACES = ("/etc/cratedb-retention/config.toml", "cratedb-retention/config.toml")
# How many more objects there are before Python looks for cycles among them.
_MANY = 50_000


def collect_seldom() -> None:
    """
    Look for cyclic garbage less often than Python does by itself.

    A plan for 100,000 partitions makes some hundred thousand objects that stay; looking through all of them again and
    again took 40 % of its time.
    """
    gc.set_threshold(_MANY, 20, 20)


def configure(
    ctx: click.Context,
    commands: Iterable[str],
    config: str | None,
    log_level: str | None,
    log_format: str | None,
    sql: bool = False,
) -> None:
    """
    Read the settings, and let commands take from them what no option and no variable says.

    :param commands: The names of all commands.
    :param sql: Whether each statement that is sent is logged.
    :raises InvalidInput: if a setting is not valid.
    """
    logging.getLogger("cratedb_retention.sql").setLevel(logging.INFO if sql else logging.WARNING)
    if not (config or log_level or log_format or _may_be_configured(os.environ)):
        _log(logging.WARNING, RedactingFormatter())
        return
    from cratedb_retention.service.settings import LogFormat, load

    loaded = load(os.environ, config, {"log.level": log_level, "log.format": log_format})
    log = loaded.settings.log
    _log(getattr(logging, log.level.upper()), JsonFormatter() if log.format is LogFormat.JSON else RedactingFormatter())
    ctx.obj = loaded
    ctx.default_map = _defaults(loaded, commands)


def _may_be_configured(environment: Mapping[str, str]) -> bool:
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", ""), ".config")  # noqa: PTH118
    places = (_PLACES[0], os.path.join(home, _PLACES[1]))  # noqa: PTH118 - pathlib takes longer to import
    named = any(key.startswith(_PREFIX) or key == _URI_FILE for key in environment)
    return named or any(map(os.path.exists, places))


def _defaults(loaded: Loaded, commands: Iterable[str]) -> dict[str, Any]:
    """What commands take for their defaults: what is set, and not what is the default anyway."""
    settings, given = loaded.settings, loaded.sources
    database = {"dburi": settings.database.uri, "schema": settings.database.schema_}
    common = {key: value for key, value in database.items() if value is not None}
    if "database.schema" not in given:
        common.pop("schema", None)
    own: dict[str, Any] = {name: dict(common) for name in commands}
    for section in ("service", "http"):
        values = getattr(settings, section).model_dump(mode="json")
        own["serve"] |= {key: value for key, value in values.items() if f"{section}.{key}" in given}
    own["run"] |= {key: value for key, value in own["serve"].items() if key == "lease"}
    return own


def _log(level: int, formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
    # It warns of each attempt to connect; that the last one failed is our own error.
    logging.getLogger("urllib3").setLevel(logging.NOTSET if level <= logging.INFO else logging.ERROR)
    # They tell of each look, and of each start.
    for name in ("apscheduler", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.NOTSET if level <= logging.DEBUG else logging.WARNING)
