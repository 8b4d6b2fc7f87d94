"""
Activity: the audit log, with each change of a policy, each run and step, and what is blocked. That something started is
only shown on request, since its end tells more.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.audit import STARTED, Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.plan.reasons import Sort, read_subjects
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import Difference, differences
from cratedb_retention.model.policies.strategies import find_member
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, readable, short
from cratedb_retention.service.access import Scope
from cratedb_retention.store.audit import JournalFilter, Place, place_after
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, Number, counted, sized, state
from cratedb_retention.ui.links import PREFIX, TAGS, Query, address, read_tags, table_bit
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/activity"
LIMIT, MOST = 50, 1_000
Row = Mapping[str, Any]
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_EVENTS: dict[str, str] = {
    Event.SLOT_STARTED: "Scheduled run began",
    Event.SLOT_FINISHED: "Scheduled run ended",
    Event.RUN_STARTED: "Run began",
}
# What is about holds, and about archives.
_HOLDS = frozenset({Event.HOLD_PLACED, Event.HOLD_RELEASED})
_ARCHIVED = frozenset({Event.VERIFIED, Event.RESTORED, Event.SNAPSHOT_DELETED, Event.ADOPTED})
_BAD = frozenset({Outcome.FAILED, Outcome.NEEDS_ATTENTION})


@ROUTER.get(f"{PREFIX}{PATH}")
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _page(request, guest, scoped))


@ROUTER.get(f"{PREFIX}/jobs")
def former(request: Request) -> Response:
    """Where the audit log and the page of a run were before."""
    query = Query(request.query_params)
    run_id = query.get("run_id", "")
    return RedirectResponse(links.run(run_id) if run_id else address(PATH, query), HTTPStatus.PERMANENT_REDIRECT)


def _page(request: Request, guest: Guest, scoped: Scope) -> Response:
    query = Query(request.query_params)
    top = el("div", el("h1", "Activity"), class_="top")
    panel = el("div", _form(query), _list(scoped, query), id="panel")
    return layout.page(request, "Activity", top, panel, who=guest.who, here=PATH)


def _form(query: Query) -> Markup:
    events = {"": "any", **{str(event): event_words(event) for event in Event}}
    outcomes = {"": "any", **{str(outcome): str(outcome) for outcome in Outcome}}
    limits = {"": str(LIMIT), **{str(number): str(number) for number in (20, 200, MOST)}}

    def field(name: str, label: str, hint: str = "") -> Markup:
        return parts.field(name, label, query.get(name, ""), hint)

    return parts.filters(
        links.activity(),
        links.activity(),
        field("table", "Table", "orders or doc.orders"),
        parts.select("event", "Event", events, query.get("event", "")),
        parts.select("outcome", "Outcome", outcomes, query.get("outcome", "")),
        field("since", "Since (UTC)", "2024-07-01 or -7d"),
        more=parts.more_filters(
            field("until", "Before (UTC)", "2024-07-02 or -1d"),
            field("policy", "Policy", "beginning of its identifier"),
            parts.field("tags", TAGS.label, TAGS.text(query), TAGS.hint),
            field("actor", "By", "whole name"),
            field("run_id", "Run", "beginning of its identifier"),
            parts.select("limit", "Rows", limits, query.get("limit", "")),
            opened=any(query.get(name) for name in ("until", "policy", "tags", "actor", "run_id", "limit")),
        ),
    )


def _list(scoped: Scope, query: Query) -> Iterator[Child]:
    try:
        wanted = read_query(query, scoped.now)
    except InvalidInput as error:
        yield parts.problem(error)
        return
    # One more than is shown tells whether there are older ones.
    found = scoped.journal(replace(wanted, limit=wanted.limit + 1))
    rows, older = found[: wanted.limit], len(found) > wanted.limit
    kept = [(name, value) for name, value in query.multi_items() if name != "after"]
    ways = [("Newest", address(PATH, Query(kept)) if wanted.after else "")]
    if older:
        place = write_place(place_after(rows, wanted.after))
        ways.append(("Older", address(PATH, Query([*kept, ("after", place)]))))
    none = parts.note("No matching entries in the audit log.")
    yield parts.table(ENTRIES, rows, "Audit log, newest first", below=details) if rows else none
    yield parts.pager(ways)


def read_query(query: Query, now: dt.datetime) -> JournalFilter:
    """
    Which rows a page is about, by the query of its address.

    :param now: What ``-7d`` counts from (aware).
    :raises InvalidInput: if something can't be read.
    """
    names = ("table", "policy", "event", "outcome", "actor", "run_id", "since", "until")
    given = {name: query.get(name, "").strip() or None for name in names}
    event, outcome, since, until = (given[name] for name in ("event", "outcome", "since", "until"))
    return JournalFilter(
        policy_id=given["policy"],
        run_id=given["run_id"],
        outcome=outcome and find_member(Outcome, "outcome", outcome),
        event=event and find_member(Event, "event", event),
        without=frozenset() if event else STARTED,
        since=read_moment(since, now) if since else None,
        until=read_moment(until, now) if until else None,
        tags=read_tags(query),
        limit=_read_limit(query.get("limit") or str(LIMIT)),
        after=_read_place(query.get("after") or ""),
        table=given["table"],
        actor=given["actor"],
    )


def _read_limit(text: str) -> int:
    if not (_NUMBER.fullmatch(text) and 1 <= int(text) <= MOST):
        raise InvalidInput(f"limit {text!r}", "is not valid", f"write a number from 1 to {MOST:,}")
    return int(text)


def write_place(place: Place) -> str:
    return f"{place.time.isoformat()},{place.seen}"


def _read_place(text: str) -> Place | None:
    time, _, seen = text.partition(",")
    if text and not _NUMBER.fullmatch(seen):
        raise InvalidInput(f"after {text!r}", "is not valid", "use the link Older")
    return Place(parse_instant(time), int(seen)) if text else None


def event_words(event: str) -> str:
    return _EVENTS.get(event, event.replace("-", " ").capitalize())


def took(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds >= 7200:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def table_of(row: Row) -> TableName | None:
    """The table of a row; None if there is none, or only a pattern."""
    schema, name = row["table_schema"], row["table_name"]
    return TableName(schema, name) if schema and name and not is_pattern(f"{schema}.{name}") else None


def _table(row: Row) -> Cell:
    table = table_of(row)
    return table_bit(table) if table else ".".join(filter(None, (row["table_schema"], row["table_name"])))


def policy_of(row: Row) -> Bit:
    """The policy, with its strategy, which is part of the row."""
    policy_id = row["policy_id"]
    text = " ".join(filter(None, (row["strategy"], short(policy_id)))) if policy_id else ""
    return Bit(text=text, href=links.policy(policy_id), hint=f"Policy {policy_id}", tone="whole")


def actor_bit(actor: str | None, host: str | None, href: str) -> Bit:
    """Who did it, which leads to more of that; empty if that is not to be seen."""
    hint = f"{actor} on {host}" if host else actor or ""
    return Bit(text=(actor or "").partition(" (token")[0], href=href, hint=hint)


def _actor(row: Row) -> Bit:
    return actor_bit(row["actor"], row["host"], links.activity(actor=row["actor"] or ""))


def details(row: Row) -> Markup | None:
    """Below an entry: what happened, its reason in full, red where one must act, and what changed."""
    said = [each for bit in _what(row) if (each := parts.bit(bit))]
    what = el("p", ((each, " ") for each in said), class_="muted") if said else None
    reason = readable(row["error"] or "")
    error = el("p", reason, class_="bad many" if row["outcome"] in _BAD else "many") if reason else None
    changes = _changes(row)
    return el("div", what, error, changes, class_="reasons") if what or error or changes else None


def subjects(row: Row) -> Iterator[Bit]:
    """Links to the policies and holds that the reason of an entry mentions, unless the user may not see them."""
    table = table_of(row)
    for subject in sorted(read_subjects(row["subjects"]), key=lambda each: (each.sort.value, each.name)):
        name, hint = short(subject.name), subject.name
        if subject.sort is Sort.POLICY and subject.name != row["policy_id"]:
            yield Bit(text=f"Policy {name}", href=links.policy(subject.name), hint=hint)
        elif subject.sort is Sort.HOLD and table:
            yield Bit(text=f"Hold {name}", href=links.table(table, tab="holds"), hint=hint)


def _what(row: Row) -> list[Bit]:
    """What happened, and where there is more about it."""
    table, found = table_of(row), [Bit(text=readable(row["message"] or ""))]
    if table and (row["event"] in _ARCHIVED or "snapshot" in (row["operation"] or "")):
        found.append(Bit(text="Archive", href=links.table(table, tab="archive")))
    if row["event"] in _HOLDS:
        found.append(Bit(text="Holds", href=links.table(table, tab="holds") if table else address("/holds", {})))
    return [*found, *subjects(row)]


def _changes(row: Row) -> Markup | None:
    """What changed in a policy; all of one that is new or gone is folded."""
    before, after = (json.loads(row[name]) if row[name] else None for name in ("before", "after"))
    found = differences(before, after)
    if not found:
        return None
    lines = el("ul", map(_change, found), class_="changes")
    return lines if before and after else el("details", el("summary", plural(len(found), "attribute")), lines)


def _change(each: Difference) -> Markup:
    old, new = (None if value is None else text for value, text in zip(each.values, each.words, strict=True))
    ends = (el("del", old) if old else None, " → " if old and new else None, el("ins", new) if new else None)
    return el("li", el("b", each.attribute), " ", ends)


ENTRIES: Sequence[Column[Row]] = (
    Column("Time", lambda row: parts.moment(row["time"])),
    Column("Event", lambda row: Bit(text=event_words(row["event"]), tone="whole")),
    Column("Outcome", lambda row: state(row["outcome"]) if row["outcome"] else ""),
    Column("Table", _table),
    Column("Policy", policy_of),
    counted("Rows", lambda row: row["rows"]),
    sized(lambda row: row["bytes"] or None),
    Number("Duration", lambda row: took(row["duration_ms"])),
    Column("By", _actor),
    Column("Run", lambda row: links.run_bit(row["run_id"])),
)
