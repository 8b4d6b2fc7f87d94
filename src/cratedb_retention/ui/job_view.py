"""
Rows of the audit log: a line in a table, and all that a row says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.words import short, show_size
from cratedb_retention.ui import links, words
from cratedb_retention.ui.difference import show_difference
from cratedb_retention.ui.links import address
from cratedb_retention.ui.parts import Bit, Cell, Column, heading, link, row_slot, state, table

_COLUMNS = (
    Column("time", "Time (UTC)"),
    Column("event", "Event"),
    Column("outcome", "Outcome"),
    Column("table", "Table"),
    Column("policy", "Policy"),
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
    Column("took", "Took", right=True),
    Column("who", "Who and where"),
    Column("more", "More"),
)
# Within a run it is always the same who did it.
_OF_A_RUN = tuple(Column("what", "What") if column.name == "who" else column for column in _COLUMNS)
# In the last column.
_BUTTON = """
<button v-if="col.name === 'more'" type="button" class="plain" @click="$parent.$emit('details', props.row._)"
  :aria-label="'Details of ' + props.row.event + ', ' + props.row.time">{{ props.row.more }}</button>
"""
_LABELS = {
    "time": "Time (UTC)",
    "table_schema": "Schema",
    "table_name": "Table",
    "policy_id": "Policy",
    "duration_ms": "Took",
    "bytes": "Size",
    "run_id": "Run",
    "actor": "Who",
    "host": "Where",
    "slot": "Slot (UTC)",
    "cutoff": "Cutoff (UTC)",
}
_OWN = ("before", "after", "error")
_EVENTS: dict[str, str] = {
    Event.SLOT_STARTED: "Scheduled run began",
    Event.SLOT_FINISHED: "Scheduled run ended",
    Event.RUN_STARTED: "Run began",
}


def event_words(event: str) -> str:
    """What happened, in words: ``Policy changed``."""
    return _EVENTS.get(event, event.replace("-", " ").capitalize())


def show_rows(rows: Sequence[Mapping[str, Any]], caption: str, of_a_run: bool = False) -> None:
    """
    Show rows in the order given; each opens its details.

    :param of_a_run: Whether all are of one run, so that what was done is told instead of who did it.
    """

    def details(event: GenericEventArguments) -> None:
        if isinstance(event.args, int) and 0 <= event.args < len(rows):
            show_details(rows[event.args])

    order = [{"rows": row["rows"], "size": row["bytes"], "took": row["duration_ms"]} for row in rows]
    made = table(
        _OF_A_RUN if of_a_run else _COLUMNS, [_line(row) for row in rows], caption, order, per_page=len(rows) or 1
    )
    made.add_slot("body", row_slot(instead=_BUTTON))
    made.classes("journal")
    made.on("details", details)


def _line(row: Mapping[str, Any]) -> dict[str, Cell]:
    return {
        "time": words.exact(row["time"]),
        "event": event_words(row["event"]),
        "outcome": state(row["outcome"], row["error"] or "") if row["outcome"] else "",
        "table": table_words(row),
        "policy": policy_bit(row["policy_id"]),
        "rows": words.count(row["rows"]),
        "size": show_size(row["bytes"]) if row["bytes"] else "",
        "took": took(row["duration_ms"]),
        "who": who(row),
        "what": row["message"] or "",
        "more": "Details",
    }


def table_words(row: Mapping[str, Any]) -> str:
    """The table that a row is about, with its schema; empty if it is about none."""
    return ".".join(part for part in (row["table_schema"], row["table_name"]) if part)


def policy_bit(policy_id: str | None) -> Bit:
    """A policy as a link to its page."""
    if not policy_id:
        return Bit(text="")
    return Bit(text=short(policy_id), href=links.policy(policy_id), hint=policy_id)


def who(row: Mapping[str, Any]) -> Sequence[Bit]:
    """Who did it, as a link to all that they did, and where; nothing if that is not to be seen."""
    actor, host = row["actor"], row["host"]
    found = (
        [Bit(text=actor.partition(" (token")[0], href=address("/jobs", {"actor": actor}), hint=actor)] if actor else []
    )
    return [*found, *([Bit(text=f"on {host}", tone="muted")] if host else [])]


def took(milliseconds: int | None) -> str:
    """How long something took: ``12 ms``, ``3.4 s``, ``5 min``."""
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def show_details(row: Mapping[str, Any]) -> None:
    """All that a row says, in a dialog."""
    with ui.dialog().props('aria-label="Details"') as dialog, ui.card().classes("question details"):
        with ui.element("div").classes("bar"):
            heading(event_words(row["event"]))
            if row["outcome"]:
                ui.label(row["outcome"]).classes(f"badge is-{row['outcome']}")
        if row["error"]:
            bad = row["outcome"] in (Outcome.FAILED, Outcome.PROBLEM)
            with ui.element("div").classes("error" if bad else "warning"):
                ui.label(row["error"]).classes("many")
        if row["before"] or row["after"]:
            show_difference(_policy(row["before"]), _policy(row["after"]))
        _columns(row)
        with ui.row().classes("buttons"):
            if row["run_id"]:
                link("The whole run", address("/jobs", {"run_id": row["run_id"]}))
            ui.button("Close", on_click=dialog.close).props("no-caps flat autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _policy(text: str | None) -> Mapping[str, Any] | None:
    return json.loads(text) if text else None


def _columns(row: Mapping[str, Any]) -> None:
    with ui.element("dl").classes("facts"):
        for name, value in row.items():
            if value is not None and value != "" and name not in _OWN:
                with ui.element("dt"):
                    ui.label(_LABELS.get(name, name.capitalize()))
                with ui.element("dd"):
                    ui.label(_value(name, value)).classes("many")


def _value(name: str, value: Any) -> str:
    match name:
        case "duration_ms":
            return took(value)
        case "bytes":
            return show_size(value)
        case "event":
            return event_words(value)
        case _:
            pass
    if hasattr(value, "isoformat"):
        return words.exact(value)
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
