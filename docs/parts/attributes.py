"""The attributes of a policy, from the model of policies."""

from __future__ import annotations

from cratedb_retention.model.policies.attributes import Attribute
from cratedb_retention.model.policies.policy import ATTRIBUTES
from parts.markdown import table


def attributes() -> str:
    """A table of the attributes of a policy."""
    rows = []
    for name, attribute in ATTRIBUTES.items():
        rows.append((f"`{name}`", attribute.description, _default(attribute)))
        rows += [(f"`{name}.{key}`", part.description, "") for key, part in attribute.parts.items()]
    return table(("Attribute", "Meaning", "Default"), rows)


def _default(attribute: Attribute) -> str:
    if attribute.required:
        return "required"
    if attribute.default in (None, (), {}):
        return ""
    flags = {True: "yes", False: "no"}
    return flags[attribute.default] if isinstance(attribute.default, bool) else f"`{attribute.default}`"
