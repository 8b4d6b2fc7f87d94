"""The settings, from their model."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cratedb_retention.service.settings import Settings, variable
from parts.markdown import table


def settings() -> str:
    """A table of all settings."""
    rows = []
    for section, part in Settings.model_fields.items():
        model = part.annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            raise LookupError(section)
        for key, field in model.model_fields.items():
            name = f"{section}.{field.alias or key}"
            rows.append((f"`{name}`", field.description or "", _setting_default(field), f"`{variable(name)}`"))
    return table(("Setting", "Meaning", "Default", "Environment"), rows)


def _setting_default(field: FieldInfo) -> str:
    default = field.get_default()
    if default in (None, ()):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
