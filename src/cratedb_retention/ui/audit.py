"""The audit log: each change of a policy, each run and step, and what is blocked; or one run as a whole."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nicegui import ui
from nicegui.events import GenericEventArguments

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import differences
from cratedb_retention.model.policies.strategies import find_member
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.store.audit import JournalFilter, Place, place_after
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.archive import offer_undo
from cratedb_retention.ui.columns import Bit, Cell, Column, Number, counted, sized, state
from cratedb_retention.ui.links import TAGS, Field, Query, address, filter_form, link, read_tags, table_bit
from cratedb_retention.ui.parts import bar, facts, heading, note, tag
from cratedb_retention.ui.tables import table

PATH = "/jobs"
LIMIT, MOST = 50, 1_000
Row = Mapping[str, Any]
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
# In the last column.
_BUTTON = """
<button v-if="col.label === 'More'" type="button" class="plain" @click="$parent.$emit('details', props.row._)"
  :aria-label="'Details of ' + props.row.named">{{ props.row[col.name] }}</button>
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
_STEPS = (Event.STEP_STARTED, Event.STEP_FINISHED)


def event_words(event: str) -> str:
    return _EVENTS.get(event, event.replace("-", " ").capitalize())


_FIELDS = (
    Field(name="table", label="Table", hint="orders or doc.orders"),
    Field(name="policy", label="Policy", hint="its beginning"),
    TAGS,
    Field(name="event", label="Event", choices={str(event): event_words(event) for event in Event}),
    Field(name="outcome", label="Outcome", choices={str(outcome): str(outcome) for outcome in Outcome}),
    Field(name="actor", label="Who", hint="name, in full"),
    Field(name="run_id", label="Run", hint="its beginning"),
    Field(name="since", label="Since (UTC)", hint="2024-07-01 or -7d"),
    Field(name="until", label="Until (UTC)", hint="2024-07-02 or -1d"),
    Field(name="limit", label="Rows", choices={str(n): str(n) for n in (20, 50, 200, MOST)}, unset="as usual"),
)


async def show(guest: Guest, query: Query) -> None:
    filter_form(PATH, _FIELDS, query, "Show")
    wanted = read_query(query, guest.context.retention.clock.now())
    # One more than is shown tells whether there are older ones.
    found = await guest.ask(lambda scoped: scoped.journal(replace(wanted, limit=wanted.limit + 1)))
    rows, older = found[: wanted.limit], len(found) > wanted.limit
    narrowed = wanted.after or any(query.get(each.name) for each in _FIELDS if each.name not in ("run_id", "limit"))
    run = summarize(rows) if query.get("run_id") and not narrowed else None
    if run is not None:
        _show_run(run, older)
        if guest.may(Role.OPERATOR):
            await offer_undo(guest, run.rows[0]["run_id"])
        _show_rows(run.rows, "Steps of this run, in order", of_a_run=True)
    elif rows:
        note("Newest first.")
        _show_rows(rows, "Audit log")
    else:
        note("No matching entries in the audit log.")
    kept = [(name, value) for name, value in query.multi_items() if name != "after"]
    with ui.element("nav").classes("bar").props('aria-label="Older and newest rows"'):
        if wanted.after:
            link("Newest", address(PATH, Query(kept)))
        if older:
            place = place_after(rows, wanted.after)
            link("Older", address(PATH, Query([*kept, ("after", f"{place.time.isoformat()},{place.seen}")])))


def read_query(query: Query, now: dt.datetime) -> JournalFilter:
    """
    Which rows a page is about, by the query of its address.

    :param now: What ``-7d`` counts from (aware).
    :raises InvalidInput: if something can't be read.
    """
    given = {field.name: query.get(field.name) or None for field in _FIELDS}
    event, outcome, since, until = (given[name] for name in ("event", "outcome", "since", "until"))
    return JournalFilter(
        policy_id=given["policy"],
        run_id=given["run_id"],
        outcome=outcome and find_member(Outcome, "outcome", outcome),
        event=event and find_member(Event, "event", event),
        since=read_moment(since, now) if since else None,
        until=read_moment(until, now) if until else None,
        tags=read_tags(query),
        limit=_read_limit(query.get("limit") or str(MOST if given["run_id"] else LIMIT)),
        after=_read_place(query.get("after") or ""),
        table=given["table"],
        actor=given["actor"],
    )


def _read_limit(text: str) -> int:
    if not (_NUMBER.fullmatch(text) and 1 <= int(text) <= MOST):
        raise InvalidInput(f"limit {text!r}", "is not valid", f"write a number from 1 to {MOST:,}")
    return int(text)


def _read_place(text: str) -> Place | None:
    time, _, seen = text.partition(",")
    if text and not _NUMBER.fullmatch(seen):
        raise InvalidInput(f"after {text!r}", "is not valid", "use the link Older")
    return Place(parse_instant(time), int(seen)) if text else None


class RunSummary(NamedTuple):
    """A run as the audit log tells of it."""

    rows: Sequence[Row]  # In order; a step that is over has one row, the one of its end.
    begin: Row  # Empty if it is not among the rows, as is the end.
    end: Row
    counts: Mapping[str, int]  # How many steps ended in which way; "" are those without an end.


def summarize(rows: Sequence[Row]) -> RunSummary | None:
    """Make one run of rows of the audit log, newest first; None if they are of no run, or of several."""
    runs = {row["run_id"] for row in rows}
    if len(runs) != 1 or None in runs:
        return None
    over = {row["step"] for row in rows if row["event"] == Event.STEP_FINISHED}
    told = [row for row in rows if row["event"] != Event.STEP_STARTED or row["step"] not in over]
    last: dict[str, Row] = {row["event"]: row for row in reversed(rows)}
    counts = Counter(row["outcome"] or "" for row in told if row["event"] in _STEPS)
    begin, end = (last.get(event, {}) for event in (Event.RUN_STARTED, Event.RUN_FINISHED))
    return RunSummary(sorted(told, key=_place), begin, end, counts)


def _place(row: Row) -> tuple[int, int, Any]:
    order = {Event.RUN_STARTED: 0, **dict.fromkeys(_STEPS, 2), Event.RUN_FINISHED: 4, Event.RESTORED: 5}
    before = 3 if row["event"] in (Event.SLOT_FINISHED, Event.CANCEL_REQUESTED) else 1
    return order.get(row["event"], before), row["step"] or 0, row["time"]


def _show_run(run: RunSummary, cut: bool) -> None:
    """What it was as a whole."""
    heading(f"Run {short(run.rows[0]['run_id'])}")
    outcome = run.end.get("outcome")
    with bar():
        ui.label(state(outcome or "not over").text).classes(state(outcome or "running").tone)
        times = (("began", run.begin), ("ended", run.end))
        ui.label(", ".join(f"{word} {words.exact(row['time'])} UTC" for word, row in times if row))
        if actor := next((row["actor"] for row in run.rows if row["actor"]), ""):
            note(f"by {actor}", "muted")
    steps = ", ".join(f"{count:,} {outcome or 'without an end'}" for outcome, count in sorted(run.counts.items()))
    said = [f"{plural(sum(run.counts.values()), 'step')}: {steps}" if steps else "no steps"]
    said += [plural(run.end.get(f"{name}s") or 0, name) for name in ("row", "partition")]
    note(" · ".join(filter(None, [*said, show_size(run.end.get("bytes") or None)])), "summary")
    if cut:
        note("This run has more rows than are shown; its beginning is on older pages.")


def _show_rows(rows: Sequence[Row], caption: str, of_a_run: bool = False) -> None:
    def details(event: GenericEventArguments) -> None:
        if isinstance(event.args, int) and 0 <= event.args < len(rows):
            _show_details(rows[event.args])

    columns: Sequence[Column[Row]] = (
        Column("Time (UTC)", lambda row: words.exact(row["time"])),
        Column("Event", lambda row: event_words(row["event"])),
        Column("Outcome", lambda row: state(row["outcome"], row["error"] or "") if row["outcome"] else ""),
        Column("Table", _table),
        Column("Policy", policy_of),
        counted("Rows", lambda row: row["rows"]),
        sized(lambda row: row["bytes"] or None),
        Number("Took", lambda row: took(row["duration_ms"]), lambda row: row["duration_ms"]),
        Column("What", lambda row: row["message"] or "") if of_a_run else Column("Who and where", _who),
        Column("More", lambda row: "Details"),
    )
    made = table(columns, rows, caption, per_page=len(rows) or 1, named=_named, instead=_BUTTON)
    made.classes("journal").on("details", details)


def _named(row: Row) -> str:
    return f"{event_words(row['event'])}, {words.exact(row['time'])}"


def _table(row: Row) -> Cell:
    """The table, which leads to its page unless it is a pattern."""
    schema, name = row["table_schema"], row["table_name"]
    text = ".".join(filter(None, (schema, name)))
    return table_bit(TableName(schema, name)) if schema and name and not is_pattern(text) else text


def policy_of(row: Row) -> Cell:
    policy_id = row["policy_id"]
    return Bit(text=short(policy_id), href=links.policy(policy_id), hint=policy_id) if policy_id else ""


def _who(row: Row) -> Cell:
    """Who did it, as a link to all that they did, and where; nothing if that is not to be seen."""
    actor, host = row["actor"], row["host"]
    who = Bit(text=actor.partition(" (token")[0], href=address(PATH, {"actor": actor}), hint=actor) if actor else None
    where = Bit(text=f"on {host}", tone="muted") if host else None
    return [bit for bit in (who, where) if bit]


def took(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


_SHOWN: dict[str, Callable[[Any], str]] = {"duration_ms": took, "bytes": show_size, "event": event_words}


def _show_details(row: Row) -> None:
    with ui.dialog().props('aria-label="Details"') as dialog, ui.card().classes("question details"):
        with bar():
            heading(event_words(row["event"]))
            if row["outcome"]:
                ui.label(state(row["outcome"]).text).classes(state(row["outcome"]).tone)
        if row["error"]:
            bad = row["outcome"] in (Outcome.FAILED, Outcome.NEEDS_ATTENTION)
            with ui.element("div").classes("error" if bad else "warning"):
                ui.label(row["error"]).classes("many")
        if row["before"] or row["after"]:
            _show_difference(*(json.loads(row[name]) if row[name] else None for name in ("before", "after")))
        told = ((name, value) for name, value in row.items() if value is not None and name not in _OWN)
        facts(((_LABELS.get(name, name.capitalize()), _value(name, value)) for name, value in told), "many")
        with ui.row().classes("buttons"):
            if row["run_id"]:
                link("The whole run", address(PATH, {"run_id": row["run_id"]}))
            ui.button("Close", on_click=dialog.close).props("no-caps flat autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _show_difference(before: Row | None, after: Row | None) -> None:
    """Which attributes of a policy differ, as a table; None: there was no policy, or there is none any more."""
    found = differences(before, after)
    if not found:
        note("No attribute differs.", "muted")
        return
    with ui.element("table").classes("difference").props('aria-label="What differs, before and after"'):
        with ui.element("thead"), ui.element("tr"):
            for head in ("Attribute", "Before", "After"):
                tag("th", head).props("scope=col")
        with ui.element("tbody"):
            for each in found:
                with ui.element("tr"):
                    tag("th", each.attribute).props("scope=row")
                    for name, value, text in zip(("Before", "After"), each.values, each.words, strict=True):
                        with ui.element("td").props(f"data-label={name}"):
                            ui.label(text).classes("muted" if value is None else "many")


def _value(name: str, value: Any) -> str:
    if name in _SHOWN:
        return _SHOWN[name](value)
    if isinstance(value, dt.datetime):
        return words.exact(value)
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
