"""What rows of the audit log are about, and how that ended."""

from __future__ import annotations

from cratedb_retention.model.audit import EVENTS, OUTCOMES
from parts.markdown import table


def events() -> str:
    """A table of all events."""
    return table(("Event", "Meaning"), [(f"`{event}`", text) for event, text in EVENTS.items()])


def outcomes() -> str:
    """A table of all outcomes."""
    return table(("Outcome", "Meaning"), [(f"`{outcome}`", text) for outcome, text in OUTCOMES.items()])
