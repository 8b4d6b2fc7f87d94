"""
The audit log: each change of a policy, each run, each step and hold; or one run as a whole.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model import words
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.store.audit import JournalFilter
from cratedb_retention.ui import links
from cratedb_retention.ui.difference import show_difference
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query, address
from cratedb_retention.ui.parts import Bit, Cell, Column, heading, link, note, row_slot, state, table
from cratedb_retention.ui.querying import TAGS, Field, filter_form, read_tags

PATH = "/jobs"
LIMIT, MOST, FARTHEST = 50, 1_000, 100_000

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


def _event_words(event: str) -> str:
    """What happened, in words: ``Policy changed``."""
    return _EVENTS.get(event, event.replace("-", " ").capitalize())


_FIELDS = (
    Field(name="table", label="Table", hint="orders or doc.orders"),
    Field(name="policy", label="Policy", hint="its beginning"),
    TAGS,
    Field(name="event", label="Event", choices={str(event): _event_words(event) for event in Event}),
    Field(name="outcome", label="Outcome", choices={str(outcome): str(outcome) for outcome in Outcome}),
    Field(name="actor", label="Who", hint="name, in full"),
    Field(name="run_id", label="Run", hint="its beginning"),
    Field(name="since", label="Since (UTC)", hint="2024-07-01 or -7d"),
    Field(name="until", label="Until (UTC)", hint="2024-07-02 or -1d"),
    Field(
        name="limit", label="Rows", choices={str(count): str(count) for count in (20, 50, 200, MOST)}, unset="as usual"
    ),
)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    filter_form(PATH, _FIELDS, query, "Show")
    wanted = read_query(query, guest.context.retention.clock.now())
    # One more than is shown tells whether there are older ones.
    found = await guest.ask(lambda scoped: scoped.journal(_one_more(wanted)))
    rows, older = found[: wanted.limit], len(found) > wanted.limit
    run = summarize(rows) if query.get("run_id") and not wanted.offset else None
    if run is not None and not _narrowed(query):
        _show_run(run, older)
    elif rows:
        note("Newest first.")
        _show_rows(rows, "Audit log")
    else:
        note("Nothing in the audit log fits.")
    _pages(query, wanted, older)


def read_query(query: Query, now: dt.datetime) -> JournalFilter:
    """
    Which rows a page is about.

    :param query: As the form writes it into the page's address.
    :param now: What ``-7d`` counts from (aware).
    :raises InvalidInput: if something can't be read.
    """

    def text(name: str) -> str | None:
        return query.get(name) or None

    since, until = text("since"), text("until")
    return JournalFilter(
        policy_id=text("policy"),
        run_id=text("run_id"),
        outcome=_one_of(Outcome, text("outcome"), "outcome"),
        event=_one_of(Event, text("event"), "event"),
        since=read_moment(since, now) if since else None,
        until=read_moment(until, now) if until else None,
        tags=read_tags(query),
        limit=_number(query, "limit", MOST if text("run_id") else LIMIT, 1, MOST),
        offset=_number(query, "offset", 0, 0, FARTHEST),
        table=text("table"),
        actor=text("actor"),
    )


def _one_of(known: type[Event] | type[Outcome], text: str | None, what: str) -> str | None:
    names = [str(each) for each in known]
    if text is not None and text not in names:
        raise InvalidInput(f"{what} {text!r}", "unknown", f"use one of: {', '.join(names)}")
    return text


def _number(query: Query, name: str, usual: int, least: int, most: int) -> int:
    text = query.get(name) or str(usual)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidInput(f"{name} {text!r}", "is not valid", f"write a number from {least:,} to {most:,}")
    return int(text)


def _one_more(wanted: JournalFilter) -> JournalFilter:
    return replace(wanted, limit=wanted.limit + 1)


def _narrowed(query: Query) -> bool:
    """Whether a run is looked at in parts only."""
    return any(query.get(field.name) for field in _FIELDS if field.name not in ("run_id", "limit"))


def _show_run(run: RunSummary, cut: bool) -> None:
    heading(f"Run {short(run.run_id)}")
    with ui.element("div").classes("bar"):
        ui.label(run.outcome or "not over").classes(f"badge is-{run.outcome or 'running'}")
        ui.label(_when(run))
        if run.actor:
            ui.label(f"by {run.actor}").classes("muted")
    ui.label(_totals(run)).classes("summary")
    if cut:
        note("This run has more rows than are shown; its beginning is on older pages.")
    _show_rows(run.rows, "Steps of this run, in order", of_a_run=True)


def _when(run: RunSummary) -> str:
    began = f"began {words.exact(run.started)} UTC" if run.started else ""
    ended = f"ended {words.exact(run.ended)} UTC" if run.ended else ""
    return ", ".join(part for part in (began, ended) if part)


def _totals(run: RunSummary) -> str:
    steps = [f"{count:,} {outcome or 'without an end'}" for outcome, count in sorted(run.counts.items())]
    all_steps = plural(sum(run.counts.values()), "step")
    said = [f"{all_steps}: {', '.join(steps)}" if steps else "no steps"]
    totals: Mapping[str, int] = run.totals
    said += [plural(totals[name], noun) for name, noun in (("rows", "row"), ("partitions", "partition"))]
    return " · ".join([*said, *([show_size(totals["bytes"])] if totals["bytes"] else [])])


def _pages(query: Query, wanted: JournalFilter, older: bool) -> None:
    kept = [(name, value) for name, value in query.multi_items() if name != "offset"]
    steps: Sequence[tuple[str, int, bool]] = (
        ("Newer", max(0, wanted.offset - wanted.limit), wanted.offset > 0),
        ("Older", wanted.offset + wanted.limit, older and wanted.offset + wanted.limit <= FARTHEST),
    )
    with ui.element("nav").classes("bar").props('aria-label="Older and newer rows"'):
        for word, offset, there in steps:
            if there:
                link(word, address(PATH, Query([*kept, ("offset", str(offset or ""))])))


def _show_rows(rows: Sequence[Mapping[str, Any]], caption: str, of_a_run: bool = False) -> None:
    """
    Show rows in the order given; each opens its details.

    :param of_a_run: Whether all are of one run, so that what was done is told instead of who did it.
    """

    def details(event: GenericEventArguments) -> None:
        if isinstance(event.args, int) and 0 <= event.args < len(rows):
            _show_details(rows[event.args])

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
        "event": _event_words(row["event"]),
        "outcome": state(row["outcome"], row["error"] or "") if row["outcome"] else "",
        "table": _table_words(row),
        "policy": _policy_bit(row["policy_id"]),
        "rows": words.count(row["rows"]),
        "size": show_size(row["bytes"]) if row["bytes"] else "",
        "took": _took(row["duration_ms"]),
        "who": _who(row),
        "what": row["message"] or "",
        "more": "Details",
    }


def _table_words(row: Mapping[str, Any]) -> str:
    """The table that a row is about, with its schema; empty if it is about none."""
    return ".".join(part for part in (row["table_schema"], row["table_name"]) if part)


def _policy_bit(policy_id: str | None) -> Bit:
    """A policy as a link to its page."""
    if not policy_id:
        return Bit(text="")
    return Bit(text=short(policy_id), href=links.policy(policy_id), hint=policy_id)


def _who(row: Mapping[str, Any]) -> Sequence[Bit]:
    """Who did it, as a link to all that they did, and where; nothing if that is not to be seen."""
    actor, host = row["actor"], row["host"]
    found = (
        [Bit(text=actor.partition(" (token")[0], href=address("/jobs", {"actor": actor}), hint=actor)] if actor else []
    )
    return [*found, *([Bit(text=f"on {host}", tone="muted")] if host else [])]


def _took(milliseconds: int | None) -> str:
    """How long something took: ``12 ms``, ``3.4 s``, ``5 min``."""
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def _show_details(row: Mapping[str, Any]) -> None:
    """All that a row says, in a dialog."""
    with ui.dialog().props('aria-label="Details"') as dialog, ui.card().classes("question details"):
        with ui.element("div").classes("bar"):
            heading(_event_words(row["event"]))
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
            return _took(value)
        case "bytes":
            return show_size(value)
        case "event":
            return _event_words(value)
        case _:
            pass
    if hasattr(value, "isoformat"):
        return words.exact(value)
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """
    A run as the audit log tells of it: its steps in order, each once, with totals.

    :param actor: Who started it; empty if that is not to be seen.
    :param rows: What happened, oldest first; a step that is over has one row, the one of its end.
    :param started: When it began (aware), if that is among the rows; ``ended`` likewise.
    :param outcome: How it ended; empty while it goes on.
    :param counts: How many steps ended in which way; ``""`` are those without an end.
    :param totals: ``rows``, ``bytes`` and ``partitions`` that went or moved, as the end of the run says.
    """

    run_id: str
    actor: str
    rows: tuple[Mapping[str, Any], ...]
    started: dt.datetime | None
    ended: dt.datetime | None
    outcome: str
    counts: Mapping[str, int]
    totals: Mapping[str, int]


def summarize(rows: Sequence[Mapping[str, Any]]) -> RunSummary | None:
    """
    Make one run of rows of the audit log.

    :param rows: Newest first, as they are read.
    :return: None if they are of no run, or of several.
    """
    runs = {row["run_id"] for row in rows}
    if len(runs) != 1 or None in runs:
        return None
    over = {row["step"] for row in rows if row["event"] == Event.STEP_FINISHED}
    told = [row for row in rows if row["event"] != Event.STEP_STARTED or row["step"] not in over]
    begin = next((row for row in rows if row["event"] == Event.RUN_STARTED), None)
    end = next((row for row in rows if row["event"] == Event.RUN_FINISHED), None)
    return RunSummary(
        run_id=runs.pop(),
        actor=next((row["actor"] for row in rows if row["actor"]), ""),
        rows=tuple(sorted(told, key=_place)),
        started=begin["time"] if begin else None,
        ended=end["time"] if end else None,
        outcome=(end["outcome"] or "") if end else "",
        counts=Counter(
            row["outcome"] or "" for row in told if row["event"] in (Event.STEP_STARTED, Event.STEP_FINISHED)
        ),
        totals={name: end[name] or 0 if end else 0 for name in ("rows", "bytes", "partitions")},
    )


def _place(row: Mapping[str, Any]) -> tuple[int, int, Any]:
    """The beginning, what is held, the steps by their numbers, the end."""
    order = {Event.RUN_STARTED: 0, Event.STEP_STARTED: 2, Event.STEP_FINISHED: 2, Event.RUN_FINISHED: 4}
    before = 3 if row["event"] in (Event.SLOT_FINISHED, Event.CANCEL_REQUESTED) else 1
    return order.get(row["event"], before), row["step"] or 0, row["time"]
