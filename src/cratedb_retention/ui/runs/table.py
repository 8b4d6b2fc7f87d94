"""The list of runs: those that go on first, then the latest. Filters and the place in the list are in the address."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import OF_RUNS, Outcome
from cratedb_retention.model.duration import read_moment
from cratedb_retention.model.policies.strategies import find_member
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, readable
from cratedb_retention.service.access import Scope
from cratedb_retention.store.audit import JournalFilter, RunPlace
from cratedb_retention.ui import audit, links
from cratedb_retention.ui.access import Guest, respond
from cratedb_retention.ui.archive.operations import recent_operations
from cratedb_retention.ui.audit import Row, actor_bit, took
from cratedb_retention.ui.columns import Bit, Cell, Column, counted, sized, whole
from cratedb_retention.ui.links import PREFIX, Query, address, read_tags, table_bit
from cratedb_retention.ui.runs.run import ENDS, RUNNING, TROUBLES, Run, read_runs, state_bit
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/runs"
RUNS = 25  # That are shown at once.
_MOST = 500  # Failures of all of them that are read.
_REASONS = 3  # Of one of them that are shown.
_OVER = (Outcome.DONE, Outcome.FAILED, Outcome.NEEDS_ATTENTION, Outcome.CANCELLED, Outcome.INTERRUPTED)


@ROUTER.get(f"{PREFIX}{PATH}")
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _page(request, guest, scoped))


def _page(request: Request, guest: Guest, scoped: Scope) -> Response:
    query = Query(request.query_params)
    top = el("div", el("h1", "Runs"), el("div", _plan_link(guest), class_="actions"), class_="top")
    operations = scoped.jobs(guest.context.operations)
    seconds = parts.live(bool(guest.running) or any(each.finished_at is None for each in operations))
    recent = recent_operations(operations, guest.may(Role.OPERATOR))
    others = parts.section("Restores, verifications and deletions", recent) if recent else None
    listed = el("div", _listed(guest, scoped, query), others, id="list", class_="stack", data_live=seconds)
    panel = el("div", _list_filters(query), listed, id="panel")
    return layout.page(request, "Runs", top, panel, who=guest.who, here=PATH, refresh=seconds or 0)


def _plan_link(guest: Guest) -> Markup:
    return parts.action("Run now …" if guest.may(Role.OPERATOR) else "Preview the next run", address("/plan", {}))


def _list_filters(query: Query) -> Markup:
    outcomes = {"": "any", RUNNING: RUNNING, **{str(each): each.replace("-", " ") for each in _OVER}}
    return parts.filters(
        links.runs(),
        links.runs(),
        parts.select("outcome", "State", outcomes, query.get("outcome", "")),
        parts.field("table", "Table", query.get("table", ""), "orders or doc.orders"),
        parts.field("since", "Since (UTC)", query.get("since", ""), "2024-07-01 or -7d"),
        more=parts.more_filters(
            parts.field("until", "Before (UTC)", query.get("until", ""), "2024-07-02 or -1d"),
            parts.field("policy", "Policy", query.get("policy", ""), "beginning of its identifier"),
            parts.field("tags", links.TAGS.label, links.TAGS.text(query), links.TAGS.hint),
            parts.field("actor", "By", query.get("actor", ""), "whole name"),
            opened=any(query.get(name) for name in ("until", "policy", "tags", "actor")),
        ),
    )


def read_filter(query: Query, now: dt.datetime, limited: bool) -> JournalFilter:
    """
    Which entries of the audit log tell of the runs that a list is about. Without a filter by what runs did, those of
    their ends suffice, which a caller with a scope does not see of runs of others.

    :raises InvalidInput: if something can't be read.
    """
    names = ("outcome", "table", "policy", "actor", "since", "until")
    given = {name: query.get(name, "").strip() or None for name in names}
    outcome, since, until, tags = given["outcome"], given["since"], given["until"], read_tags(query)
    by_steps = limited or bool(given["table"] or given["policy"] or tags)
    return JournalFilter(
        events=OF_RUNS if by_steps else ENDS,
        outcome=find_member(Outcome, "outcome", outcome) if outcome and outcome != RUNNING else None,
        table=given["table"],
        policy_id=given["policy"],
        tags=tags,
        actor=given["actor"],
        since=read_moment(since, now) if since else None,
        until=read_moment(until, now) if until else None,
        limit=RUNS + 1,
    )


def read_behind(text: str) -> RunPlace | None:
    """A place in the list, as the address has it; raises InvalidInput if it is none."""
    time, _, run_id = text.partition(",")
    if text and not run_id:
        raise InvalidInput(f"after {text!r}", "is not valid", "use the link Older")
    return RunPlace(parse_instant(time), run_id) if text else None


def _listed(guest: Guest, scoped: Scope, query: Query) -> Iterator[Child]:
    try:
        wanted = read_filter(query, scoped.now, guest.access.limited)
        behind = read_behind(query.get("after", ""))
    except InvalidInput as error:
        yield parts.problem(error)
        return
    # What goes on stands first, and nowhere else; where runs are chosen by what they did, the audit log says which.
    going = [job.run_id for job in guest.running]
    chosen = any(query.get(name) for name in ("table", "policy", "tags", "since", "until"))
    first = [job.run_id for job in guest.running if query.get("actor") in ("", None, job.actor)]
    first = [] if behind or chosen or query.get("outcome") not in (None, "", RUNNING) else first
    places = [] if query.get("outcome") == RUNNING else scoped.runs(wanted, behind)
    shown = places[:RUNS]
    listed = [place.run_id for place in shown if chosen or place.run_id not in going]
    runs = read_runs(guest, scoped, [*first, *listed], _MOST)
    kept = [(name, value) for name, value in query.multi_items() if name != "after"]
    ways = [("Newest", address(PATH, Query(kept)) if behind else "")]
    if len(places) > RUNS:
        place = f"{shown[-1].last.isoformat()},{shown[-1].run_id}"
        ways.append(("Older", address(PATH, Query([*kept, ("after", place)]))))
    none = parts.note("No matching runs.")
    yield parts.table(_columns(runs), runs, "Runs, latest first", below=_reasons) if runs else none
    yield parts.pager(ways)


def _columns(runs: Sequence[Run]) -> Sequence[Column[Run]]:
    longest = max((run.milliseconds or 0 for run in runs), default=0)
    return (
        Column("State", state_bit),
        Column("Run", lambda run: links.run_bit(run.run_id)),
        Column("Started", lambda run: parts.moment(run.began) if run.began else ""),
        Column("Duration", lambda run: _duration(run, longest)),
        Column("Trigger", lambda run: whole(run.trigger)),
        Column("By", lambda run: actor_bit(*run.actor, links.runs(actor=run.actor[0] or ""))),
        Column("Tables", _tables),
        Column("Steps", lambda run: run.steps),
        counted("Rows", lambda run: (run.totals.rows or None) if run.totals else None),
        sized(lambda run: (run.totals.bytes or None) if run.totals else None),
    )


def _duration(run: Run, longest: int) -> Cell:
    lasted = run.milliseconds
    if lasted is None:
        return ""
    bar = parts.strip(0.0, lasted / longest if longest else 0.0, run.state)
    return [Bit(text=took(lasted), tone="date"), Bit(text=bar)]


def _tables(run: Run) -> Cell:
    totals = run.totals
    if totals is None or not totals.tables:
        return ""
    if totals.table is not None:
        return table_bit(totals.table)
    return Bit(text=plural(totals.tables, "table"), href=links.run(run.run_id), tone="whole")


def _reasons(run: Run) -> Markup | None:
    """Why it ended early, and what failed or needs attention: each reason once, in full, with the first table."""
    rows: dict[str, Row] = {}
    for row in run.troubles:
        rows.setdefault(row["error"] or row["message"], row)
    found = [el("li", error, class_="bad many") for error in run.errors]
    for reason, row in list(rows.items())[:_REASONS]:
        table = audit.table_of(row)
        said = el("span", readable(reason or ""), class_="bad many")
        found.append(el("li", parts.bit(table_bit(table)) if table else None, " ", said))
    more = sum(run.totals.outcomes[each] for each in TROUBLES) - min(len(rows), _REASONS) if run.totals else 0
    if more > 0:
        found.append(el("li", el("a", f"{more:,} more", href=links.run(run.run_id))))
    return el("ul", found, class_="reasons") if found else None
