"""
Settings as they may be shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.redact import redact
from cratedb_retention.service.settings import SECRETS, Settings

MASKED = "********"


def shown_settings(settings: Settings) -> Iterator[tuple[str, Any]]:
    """The names and values of all settings, secrets masked; of the database's address only the password is one."""
    for section, values in settings.model_dump(mode="json", by_alias=True).items():
        for key, value in values.items():
            name = f"{section}.{key}"
            yield name, _shown(name, value)


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [redact(str(part)) for part in value]
    if name not in SECRETS or not value:
        return redact(value) if isinstance(value, str) else value
    if name != "database.uri":
        return MASKED
    try:
        return DatabaseAddress.from_string(value).safe
    except InvalidInput:
        return MASKED
