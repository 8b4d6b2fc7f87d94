"""
The page of a run, ``/ui/runs/{run_id}``: how it is or was, table by table, and what can be done about it: cancel it
while it goes on, retry what failed, and bring back what it deleted where its policies are recoverable.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from cratedb_retention.errors import Conflict, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import OF_RUNS, Event, Outcome
from cratedb_retention.model.words import plural, readable, short, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.store.audit import JournalFilter, RunTotals, place_after
from cratedb_retention.ui import audit, links
from cratedb_retention.ui.access import Guest, answer, chosen_action, read_texts, respond
from cratedb_retention.ui.archive.columns import RESTORABLE
from cratedb_retention.ui.archive.operations import Restoration, recent_operations
from cratedb_retention.ui.audit import Row, actor_bit, took
from cratedb_retention.ui.columns import Bit, Cell, Column, Number, counted, sized, state
from cratedb_retention.ui.links import PREFIX, Query, table_bit
from cratedb_retention.ui.plan import Lists, Review, chosen_tables, policy_bit, read_cutoff, what_is_blocked
from cratedb_retention.ui.runs.run import (
    NO_END,
    OF_TABLES,
    RUNNING,
    UNENDED,
    Run,
    counts,
    read_runs,
    state_bit,
    worst,
)
from cratedb_retention.ui.runs.table import PATH
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
_PATH = f"{PREFIX}{PATH}/{{run_id:path}}"
_MOST = 5_000  # Tables and policies with failures.
DONE = {
    "cancelling": "The run ends before its next step. The next run goes on with the rest.",
    "undoing": "The undo has started. Its progress is below.",
}


class Visit:
    """A request for the page of a run; raises NotFound if there is none that the user may see."""

    tables: Collection[str] | None = None  # Those that were chosen in a form; None: all.

    def __init__(self, guest: Guest, scoped: Scope, run_id: str, query: Query) -> None:
        self.guest, self.scoped, self.query = guest, scoped, query
        [self.run] = read_runs(guest, scoped, [run_id], parts.ROWS + 1)
        if self.run.totals is None and self.run.job is None:
            reason = "does not exist, or is not visible to you"
            raise NotFound(f"run {run_id}", reason, "if it has just started, load the page again in a second")

    def get(self, name: str) -> str:
        return self.query.get(name, "").strip()

    def to(self, tab: str = "", **more: str) -> str:
        return links.run(self.run.run_id, tab="" if tab == "tables" else tab, **more)

    @property
    def tab(self) -> str:
        return self.get("tab") if self.get("tab") in _VIEWS else "tables"

    @property
    def acts(self) -> bool:
        return self.guest.may(Role.OPERATOR)

    def entries(self, **more: Any) -> JournalFilter:
        return JournalFilter(run_ids=frozenset({self.run.run_id}), **more)

    @property
    def undo(self) -> RestoreRequest:
        return RestoreRequest.of_undo(self.run.run_id)

    @cached_property
    def failed(self) -> frozenset[str]:
        """The policies of what failed, for those who may run them again once it is over."""
        run = self.run
        if run.running or not self.acts or run.totals is None or not run.totals.outcomes[Outcome.FAILED]:
            return frozenset()
        wanted = self.entries(outcome=Outcome.FAILED, events=OF_TABLES, limit=_MOST)
        found = self.scoped.run_totals(wanted, by_table=True)
        return frozenset(each.policy_id for each in found if each.policy_id)

    def retry(self, cutoff: dt.datetime | None = None) -> Review:
        """What a run of these policies would do."""
        return Review(self.scoped.prepare(Selection(policy_ids=self.failed), cutoff))

    @cached_property
    def recoverable(self) -> bool:
        """Whether any of what it deleted can be brought back."""
        return self.acts and not self.run.running and bool(self.scoped.snapshots(self.undo, 1))

    @cached_property
    def first(self) -> int:
        """The place of the first table that is shown."""
        return links.read_first(self.query)


@ROUTER.get(_PATH)
def show(request: Request, run_id: str) -> Response:
    def work(guest: Guest, scoped: Scope) -> Response:
        query = Query(request.query_params)
        try:
            return _show(request, Visit(guest, scoped, run_id, query))
        except NotFound:
            found = scoped.runs(JournalFilter(run_id=run_id, events=OF_RUNS, limit=2)) if len(run_id) >= 6 else []
            if len(found) != 1 or found[0].run_id == run_id:
                raise
            return RedirectResponse(links.run(found[0].run_id), HTTPStatus.SEE_OTHER)

    return respond(request, work)


@ROUTER.post(_PATH)
async def act(request: Request, run_id: str) -> Response:
    """Do what a form says. That it came from a page of this service, the gate has checked."""
    form = await request.form()
    given = read_texts(form)

    def work(guest: Guest, scoped: Scope) -> Response:
        visit = Visit(guest, scoped, run_id, Query(request.query_params))
        visit.tables = chosen_tables(form)
        return _act(request, visit, given)

    return await asyncio.to_thread(respond, request, work)


def _act(request: Request, visit: Visit, given: Mapping[str, str]) -> Response:
    return answer(lambda: chosen_action(ACTIONS, given)(visit, given), lambda error: _show(request, visit, error))


def _cancel(visit: Visit, given: Mapping[str, str]) -> str:
    visit.scoped.cancel(visit.guest.context.runs, visit.run.run_id)
    return visit.to(done="cancelling")


def _retry(visit: Visit, given: Mapping[str, str]) -> str:
    visit.scoped.access.require(Role.OPERATOR)
    if not visit.failed:
        raise Conflict("retry", "nothing failed in this run", "run its policies from the plan")
    review = visit.retry(read_cutoff(given.get("cutoff", ""), visit.scoped.now))
    return links.run(review.start(visit.scoped, visit.guest.context.runs, given, visit.tables).run_id)


def _undo(visit: Visit, given: Mapping[str, str]) -> str:
    restoration = Restoration(visit.undo, visit.scoped.restorable(visit.undo))
    restoration.start(visit.scoped, visit.guest.context.operations, given.get("shown", ""))
    return visit.to(done="undoing")


# What forms do, by their names; each returns where that is shown.
ACTIONS: Mapping[str, Callable[[Visit, Mapping[str, str]], str]] = {
    "cancel": _cancel,
    "retry": _retry,
    "undo": _undo,
}


def _show(request: Request, visit: Visit, error: RetentionError | None = None) -> Response:
    """The page; with what was wrong with a form that was sent."""
    run, done = visit.run, visit.get("done")
    said = DONE.get(done) if run.running or done != "cancelling" else None
    operations = visit.scoped.jobs(visit.guest.context.operations) if done == "undoing" else []
    seconds = parts.live(run.may_go_on or any(each.finished_at is None for each in operations))
    upper = el(
        "div",
        _top(visit),
        el("p", said, class_="done", role="status") if said and not error else None,
        parts.problem(error) if error else None,
        _progress(run),
        _facts(run),
        _troubles(visit),
        id="state",
        class_="stack",
        data_live=seconds,
        data_with="panel" if visit.tab == "tables" else None,
    )
    tabs = [parts.Tab(name=name, title=title, href=visit.to(name)) for name, (title, _) in _VIEWS.items()]
    panel = el("div", _VIEWS[visit.tab][1](visit), id="panel")
    content = (upper, parts.tabs(tabs, visit.tab, "Views of this run"), panel)
    status = error.http_status if error else HTTPStatus.OK
    named = f"Run {short(run.run_id)}"
    who, refresh = visit.guest.who, seconds or 0
    return layout.page(request, named, *content, who=who, here=PATH, status=status, refresh=refresh)


def _top(visit: Visit) -> Markup:
    run = visit.run
    crumbs = el("nav", el("a", "Runs", href=links.runs()), class_="crumbs", aria_label="Breadcrumb")
    title = el("h1", f"Run {short(run.run_id)}", id="title", title=run.run_id)
    chip = parts.bit(state_bit(run))
    actions = el("div", _actions(visit), class_="actions")
    return el("div", el("div", crumbs, el("div", title, chip, class_="titled")), actions, class_="top")


def _actions(visit: Visit) -> Iterator[Child]:
    run = visit.run
    if run.running and visit.acts and not (run.job and run.job.cancel_by):
        button = el("button", "Cancel run", type="submit", id="cancel", title="It ends before its next step")
        yield el("form", parts.hidden({"do": "cancel"}), button, method="post")
    if visit.failed:
        yield parts.action("Retry what failed …", visit.to(retry="preview"), "primary")
    if visit.recoverable:
        yield parts.action("Undo …", visit.to(undo="preview"))
    yield parts.action("Activity", links.activity(run_id=run.run_id))


def _progress(run: Run) -> Markup | None:
    """What it does now, and how far it is."""
    job = run.job
    if not run.running or job is None:
        return None
    rows, size = job.removed
    told = (
        f"{job.steps_done:,} of {plural(job.steps, 'step')} done" if job.steps else "",
        f"of this step {job.units}" if job.units else "",
        plural(rows, "row") if rows else "",
        show_size(size or None),
        f"ends before its next step, as {job.cancel_by} asked" if job.cancel_by else "",
    )
    end = ("expected to end ", parts.moment(job.expected_end)) if job.expected_end else None
    return el(
        "div",
        el("p", f"Now: {job.doing}" if job.doing else "It is about to start.", class_="many"),
        el("progress", max=1, value=f"{job.share:.4f}", aria_label="Steps done"),
        el("p", " · ".join(filter(None, told)), " · " if end and any(told) else None, end, class_="note"),
        class_="running stack",
    )


def _facts(run: Run) -> Markup | None:
    began, ended, totals, begin = run.began, run.ended, run.totals, run.ends.get(Event.RUN_STARTED, {})
    actor = parts.bit(actor_bit(*run.actor, links.runs(actor=run.actor[0] or "")))
    cutoff = next((row["cutoff"] for row in run.ends.values() if row["cutoff"]), None)
    return parts.facts([
        ("Started", parts.moment(began) if began else None),
        ("Ended", parts.moment(ended) if ended and run.state not in (RUNNING, NO_END) else None),
        ("Duration", took(run.milliseconds)),
        ("Trigger", run.trigger),
        ("By", actor),
        ("Cutoff", parts.moment(cutoff) if cutoff else None),
        ("Plan", readable(begin.get("message") or "")),
        ("Steps", run.steps),
        ("Partitions", words.count(totals.partitions or None) if totals else ""),
        ("Rows", words.count(totals.rows or None) if totals else ""),
        ("Size", show_size(totals.bytes or None) if totals else ""),
    ])  # fmt: skip


def _troubles(visit: Visit) -> Markup | None:
    """Everything that failed or needs attention, in full; and why it ended early."""
    run = visit.run
    shown: list[Child] = [el("li", error, class_="many") for error in run.errors]
    if run.state == NO_END:
        shown.append(el("li", UNENDED, " ", _last_step(visit)))
    for row in run.troubles[-parts.ROWS :]:
        heads = (parts.bit(each) for each in _about(row))
        reason = el("p", readable(row["error"] or row["message"] or ""), class_="many")
        shown.append(el("li", el("p", ((each, " ") for each in heads)), reason))
    if len(run.troubles) > parts.ROWS:
        shown.append(el("li", el("a", "More of this", href=visit.to("entries", outcome=Outcome.FAILED))))
    if not shown:
        return None
    outcomes = {row["outcome"] for row in run.troubles}
    tone = Outcome.FAILED if Outcome.FAILED in outcomes else next(iter(outcomes), run.state)
    label = "Failed, or needs attention"
    return el("div", el("ul", shown), class_=f"why is-{tone}", role="region", aria_label=label)


def _last_step(visit: Visit) -> str:
    """The step that a run without an end was at."""
    rows = visit.scoped.journal(visit.entries(events=OF_TABLES, limit=1))
    return "".join(f"Its last step: {readable(row['message'])}" for row in rows if row["message"])


def _about(row: Row) -> Iterator[Bit]:
    """The outcome of a row, what it is about, and its message if its error stands below."""
    yield state(row["outcome"])
    table = audit.table_of(row)
    if table:
        yield table_bit(table)
    yield audit.policy_of(row)
    yield from audit.subjects(row)
    if row["error"]:
        yield Bit(text=readable(row["message"] or ""), tone="muted")


def _tables(visit: Visit) -> Iterator[Child]:
    """What it did, table by table, in the order of time; and how it is retried and undone."""
    run = visit.run
    if visit.failed and visit.get("retry"):
        review, lists = visit.retry(), Lists(links.run(run.run_id), visit.query)
        yield from what_is_blocked(review.prepared, lists)
        yield review.section("retry", lists, visit.to())
    if visit.recoverable and visit.get("undo"):
        restoration = Restoration(visit.undo, visit.scoped.restorable(visit.undo))
        yield restoration.section(RESTORABLE, "undo", "Bring back", visit.to())
    wanted = visit.entries(events=OF_TABLES, limit=parts.ROWS + 1, offset=visit.first)
    found = visit.scoped.run_totals(wanted, by_table=True)
    shown = found[: parts.ROWS]
    none = parts.note("Nothing yet." if run.running else "Nothing was due.")
    rows = parts.table(_table_columns(visit), shown, "What it did, by table") if shown else none
    more = len(found) > parts.ROWS
    ways = parts.pages(visit.first, len(shown), lambda at: visit.to(first=str(at)), more=more)
    yield parts.section("Tables", rows, ways)
    if visit.get("done") == "undoing":
        operations = visit.scoped.jobs(visit.guest.context.operations)
        yield parts.section("Operations", recent_operations(operations, visit.acts))


def _table_columns(visit: Visit) -> Sequence[Column[RunTotals]]:
    run = visit.run
    began, whole = run.began, (run.milliseconds or 0) / 1000
    policies = {item.id: item.policy for item in visit.scoped.policies(Selection())[0]}

    def outcome(totals: RunTotals) -> str:
        return worst(totals) or (RUNNING if run.running else NO_END)

    def when(totals: RunTotals) -> Cell:
        """A bar from its first step to its last one, within the time of the run; what is blocked has none."""
        if began is None or (worst(totals) and not totals.steps):
            return ""
        start, end = ((at - began).total_seconds() for at in (totals.began, totals.ended))
        label = f"From {took(max(round(start * 1000), 0))} to {took(max(round(end * 1000), 0))} after the start"
        shares = (start / whole, end / whole) if whole else (0.0, 1.0)
        return Bit(text=parts.strip(*shares, outcome(totals), label))

    def entries(totals: RunTotals) -> Cell:
        if totals.table is None:
            return ""
        more = {"table": str(totals.table), "policy": totals.policy_id or ""}
        return Bit(text="Entries", href=visit.to("entries", **more), hint=f"Entries about {totals.table}")

    return (
        Column("State", lambda each: state(outcome(each))),
        Column("Table", lambda each: table_bit(each.table) if each.table else ""),
        Column("Policy", lambda each: policy_bit(each.policy_id, policies)),
        Column("Steps", counts),
        counted("Partitions", lambda each: each.partitions or None),
        counted("Rows", lambda each: each.rows or None),
        sized(lambda each: each.bytes or None),
        Number("Duration", lambda each: took(each.duration_ms) if each.steps else ""),
        Column("When", when),
        Column("More", entries),
    )


def _entries(visit: Visit) -> Iterator[Child]:
    """Its entries in the audit log, latest first."""
    kept = {name: visit.get(name) for name in ("table", "policy", "outcome")}
    outcomes = {"": "any", **{str(outcome): outcome.replace("-", " ") for outcome in Outcome}}
    yield parts.filters(
        links.run(visit.run.run_id),
        visit.to("entries"),
        parts.hidden({"tab": "entries"}),
        parts.field("table", "Table", kept["table"], "orders or doc.orders"),
        parts.field("policy", "Policy", kept["policy"], "beginning of its identifier"),
        parts.select("outcome", "Outcome", outcomes, kept["outcome"]),
    )
    asked = {**kept, "after": visit.get("after"), "limit": str(parts.ROWS)}
    try:
        wanted = audit.read_query(Query({name: value for name, value in asked.items() if value}), visit.scoped.now)
    except InvalidInput as error:
        yield parts.problem(error)
        return
    rows = visit.scoped.journal(replace(wanted, run_ids=frozenset({visit.run.run_id})))
    ways = [("Newest", visit.to("entries", **kept) if wanted.after else "")]
    if len(rows) == parts.ROWS:
        place = audit.write_place(place_after(rows, wanted.after))
        ways.append(("Older", visit.to("entries", after=place, **kept)))
    none = parts.note("No matching entries.")
    columns = [column for column in audit.ENTRIES if column.label != "Run"]
    yield parts.table(columns, rows, "Entries of this run, newest first", below=audit.details) if rows else none
    yield parts.pager(ways)


_VIEWS: Mapping[str, tuple[str, Callable[[Visit], Iterator[Child]]]] = {
    "tables": ("Tables", _tables),
    "entries": ("Entries", _entries),
}
