"""What rows of the audit log are about, and how that ended."""

from __future__ import annotations

from cratedb_retention.model.audit import Event, Outcome
from parts.markdown import table


def events() -> str:
    """A table of all events."""
    return table(("Event", "Meaning"), [(f"`{event}`", event.label) for event in Event])


def outcomes() -> str:
    """A table of all outcomes."""
    return table(("Outcome", "Meaning"), [(f"`{outcome}`", outcome.label) for outcome in Outcome])
