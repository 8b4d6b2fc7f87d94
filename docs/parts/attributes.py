"""The attributes of a policy, from the model of policies."""

from __future__ import annotations

from typing import get_args

from pydantic.fields import FieldInfo

from cratedb_retention.model.policy import ExpectedMax, Policy
from parts.markdown import table


def attributes() -> str:
    """A table of the attributes of a policy."""
    rows = []
    for name, field in Policy.model_fields.items():
        rows.append((f"`{name}`", field.description or "", _default(field)))
        if ExpectedMax in get_args(field.annotation):
            rows += [(f"`{name}.{key}`", f.description or "", "") for key, f in ExpectedMax.model_fields.items()]
    return table(("Attribute", "Meaning", "Default"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default in (None, (), {}):
        return ""
    return "yes" if default is True else f"`{default}`"
