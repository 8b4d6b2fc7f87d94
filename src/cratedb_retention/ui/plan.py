"""
The plan: what a run would do now, and why; and the run itself, of exactly the plan that is shown, or of some of its
tables (law 10).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from http import HTTPStatus
from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from cratedb_retention.errors import Conflict, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.plan.preparing import Prepared, Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold, hold_scope
from cratedb_retention.model.plan.effect import TaskGroup, group_tasks, names, removing, summary
from cratedb_retention.model.plan.plan import Blocked, Plan, Task, UpToDate
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import TimeRange, from_ms, parse_instant
from cratedb_retention.model.words import moment, plural, readable, short
from cratedb_retention.service.access import Scope
from cratedb_retention.service.runs import Runs
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, answer, read_texts, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, counted, sized, some_of, state, time_range, whole
from cratedb_retention.ui.links import POLICY, PREFIX, STRATEGY, TAGS, Query, address, read_selection, table_bit
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/plan"
_PATH = f"{PREFIX}{PATH}"
_ACCEPT = "accept"  # In the address: what would be blocked as unusual is not.
_EVERY = "every"  # In a form: what is not shown is run as well.
_STATEMENTS = 500  # That are shown of a plan.
T = TypeVar("T")
# What cannot be undone comes first; with how it is called, and the state whose colours it has.
EFFECTS: Mapping[Kind, tuple[str, str]] = {
    Kind.DELETE: ("delete", "drop"),
    Kind.END_ARCHIVE: ("delete", "end"),
    Kind.ARCHIVE: ("archive and drop", "archive"),
    Kind.MOVE: ("move", "move"),
    Kind.COMPACT: ("compact", "compact"),
    Kind.ROLL_UP: ("roll up", "roll"),
    Kind.OTHER: ("do", "skipped"),
}


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _page(request, guest, scoped))


@ROUTER.post(_PATH)
async def act(request: Request) -> Response:
    """Run what a form shows. That it came from a page of this service, the gate has checked."""
    form = await request.form()
    given = read_texts(form)

    def work(guest: Guest, scoped: Scope) -> Response:
        def start() -> str:
            selection, _ = read_query(Query(request.query_params), scoped.now)
            review = Review(scoped.prepare(selection, read_cutoff(given.get("cutoff", ""), scoped.now)))
            return links.run(review.start(scoped, guest.context.runs, given, chosen_tables(form)).run_id)

        return answer(start, lambda error: _page(request, guest, scoped, error))

    return await asyncio.to_thread(respond, request, work)


def _page(request: Request, guest: Guest, scoped: Scope, error: RetentionError | None = None) -> Response:
    """The page; with what was wrong with a form that was sent."""
    query = Query(request.query_params)
    top = el("div", el("h1", "Plan"), class_="top")
    problem = parts.problem(error) if error else None
    panel = el("div", _form(query), problem, _plan(guest, scoped, query), id="panel")
    status = error.http_status if error else HTTPStatus.OK
    return layout.page(request, "Plan", top, panel, who=guest.who, here=PATH, status=status)


def _form(query: Query) -> Markup:
    strategies = {"": "any", **(STRATEGY.choices or {})}
    return parts.filters(
        address(PATH, {}),
        address(PATH, {}),
        parts.field("tags", TAGS.label, TAGS.text(query), TAGS.hint),
        parts.select("strategy", STRATEGY.label, strategies, query.get("strategy", "")),
        parts.field("policy", POLICY.label, POLICY.text(query), POLICY.hint),
        parts.field("cutoff", "Cutoff (UTC)", query.get("cutoff", ""), "now"),
    )


def _plan(guest: Guest, scoped: Scope, query: Query) -> Iterator[Child]:
    try:
        prepared = scoped.prepare(*read_query(query, scoped.now))
    except (InvalidInput, NotFound) as error:
        yield parts.problem(error)
        return
    plan, policies, lists = prepared.plan, prepared.policies, Lists(address(PATH, {}), query)
    operator = guest.may(Role.OPERATOR)
    cutoff = (
        "Cutoff: ",
        parts.moment(from_ms(plan.cutoff)),
        ". Data that is older by its retention period is expired.",
    )
    yield el("p", summary(plan), class_="lead")
    yield el("p", cutoff, class_="note")
    if plan.warnings:
        warnings = (el("li", readable(text)) for text in some_of(list(map(str, plan.warnings))))
        yield el("div", el("ul", warnings), class_="why is-blocked", role="note")
    yield from what_is_blocked(prepared, lists)
    if operator and any(each.why.acceptable for each in plan.needs_attention):
        there = address(PATH, Query([*query.multi_items(), (_ACCEPT, "yes")]))
        yield el("p", el("a", "Accept for one run", href=there, data_swap=True))
    if prepared.selection.accepted:
        yield parts.note("This plan accepts what is unusual or exceeds a limit, for one run that is started here.")
    yield Review(prepared).section("run", lists, acts=operator)
    if operator and not guest.access.limited and plan.tasks:
        yield _statements(scoped, plan, query)
    if plan.legal_holds:
        title, (holds, ways) = "Legal holds in force", lists.part("holds", plan.legal_holds)
        yield parts.section(title, parts.table(_HOLDS, holds, title), ways)
    later = sorted(plan.up_to_date, key=lambda each: (each.next_due is None, each.next_due or 0, each.table))
    if later:
        due = "" if plan.next_due is None else f"More is due on {moment(plan.next_due)} (UTC)."
        shown, ways = lists.part("later", later)
        table = parts.table(_later(policies), shown, "Up to date")
        yield parts.section("Up to date", parts.note(due) if due else None, table, ways)


@dataclass(frozen=True)
class Lists:
    """
    The lists of a page, which may be long: the query of its address says which part of each is shown.

    :param path: The address of the page without its query.
    """

    path: str
    query: Query

    def part(self, name: str, items: Sequence[T]) -> tuple[Sequence[T], Markup | None]:
        """The part of a list, which has this name in the address, and links to others."""
        first = links.read_first(self.query, name)
        first = first if first < len(items) else 0
        kept = [(key, value) for key, value in self.query.multi_items() if key not in (name, "done")]

        def to(at: int) -> str:
            return f"{self.path}?{Query([*kept, (name, str(at))])}"

        return parts.part(items, first, to)


def what_is_blocked(prepared: Prepared, lists: Lists) -> Iterator[Child]:
    """What is due and does not happen, and why; what needs attention comes first."""
    blocked = [each for each in prepared.plan.blocked if not each.needs_attention]
    for name, title, items in (
        ("attention", "Needs attention: blocked until you act", list(prepared.plan.needs_attention)),
        ("blocked", "Blocked: due, but must not happen now", blocked),
    ):
        if items:
            shown, ways = lists.part(name, items)
            yield parts.section(title, parts.table(blocked_columns(prepared.policies), shown, title), ways)


def _statements(scoped: Scope, plan: Plan, query: Query) -> Markup:
    """What would be sent to the database, on request."""
    if not query.get("sql"):
        there = address(PATH, Query([*query.multi_items(), ("sql", "yes")]))
        return el("p", el("a", "Show the statements (SQL)", href=there, data_swap=True))
    found, left, first = list[Child](), _STATEMENTS, plan.tasks[:_STATEMENTS]  # Each has at least one.
    for task, statements in zip(first, scoped.statements(replace(plan, tasks=first)), strict=True):
        shown = "\n".join(f"{statement};" for statement in statements[: max(left, 0)])
        left -= len(statements)
        if shown:
            found.append(el("p", str(task.table), class_="muted"))
            found.append(el("pre", shown, class_="mono"))
    if left < 0 or len(first) < len(plan.tasks):
        found.append(parts.note(f"And more: the first {_STATEMENTS:,} are shown."))
    return el("section", el("h2", "Statements"), found, class_="card", tabindex="0", aria_label="Statements")


def read_query(query: Query, now: dt.datetime) -> tuple[Selection, dt.datetime | None]:
    """Which policies a page is about, and the cutoff; None: now. InvalidInput if the cutoff lies in the future."""
    cutoff = parse_instant(query["cutoff"]) if query.get("cutoff") else None
    if cutoff is not None and cutoff > now:
        reason = "lies in the future, so data would expire before its time"
        raise InvalidInput(f"cutoff {query['cutoff']}", reason, "choose an earlier one")
    return replace(read_selection(query), accepted=bool(query.get(_ACCEPT))), cutoff


def in_words(plan: Plan, several: str = "run") -> tuple[str, str]:
    """
    What a run would do; and the word that confirms it: the name of the table, or the word for several tables; empty if
    it removes nothing.
    """
    gone = removing(plan)
    tables = {table for effect in gone for table in effect.tables}
    archived = "Archived, and then dropped from the table: partitions of"
    ended = "Archives deleted for good, of data of"
    said = {Kind.DELETE: "Deleted for good: data of", Kind.ARCHIVE: archived, Kind.END_ARCHIVE: ended}
    effect = "\n".join([summary(plan), *(f"{said[each.first.kind]} {names(each.tables)}." for each in gone)])
    word = next(iter(tables)).name if len(tables) == 1 else several
    return effect, word if gone else ""


@dataclass(frozen=True)
class OfTable:
    """What a plan does to a table."""

    table: TableName
    groups: Sequence[TaskGroup]

    @property
    def kinds(self) -> Mapping[Kind, TaskGroup]:
        """Its tasks by their effects, the one that cannot be undone first."""
        tasks = [task for group in self.groups for task in group.tasks]
        found = ((kind, tuple(task for task in tasks if task.kind is kind)) for kind in EFFECTS)
        return {kind: TaskGroup(some) for kind, some in found if some}

    @cached_property
    def all(self) -> TaskGroup:
        return TaskGroup(tuple(task for group in self.groups for task in group.tasks))

    @property
    def order(self) -> tuple[int, TableName]:
        return list(EFFECTS).index(next(iter(self.kinds))), self.table


def by_table(plan: Plan) -> list[OfTable]:
    """The tasks of each table, those first that cannot be undone."""
    tables: dict[TableName, list[TaskGroup]] = {}
    for group in group_tasks(plan.tasks):
        tables.setdefault(group.first.table, []).append(group)
    return sorted((OfTable(table, groups) for table, groups in tables.items()), key=lambda each: each.order)


def _effects(of: OfTable) -> list[Bit]:
    found = []
    for kind, group in of.kinds.items():
        verb, tone = EFFECTS[kind]
        amount = group.amount
        counts = {
            Kind.END_ARCHIVE: plural(amount.partitions, "archive"),
            Kind.ROLL_UP: plural(amount.windows, "window"),
            Kind.OTHER: plural(amount.tasks, "smaller task"),
        }
        rows = plural(amount.known_rows, "row") if amount.known_rows else "rows"
        what = counts.get(kind, plural(amount.partitions, "partition") if amount.partitions else rows)
        found.append(Bit(text=f"{verb} {what}", tone=f"badge is-{tone}"))
    return found


@dataclass(frozen=True)
class Review:
    """A plan on a page: what a run would do, in a form, and then exactly that (law 10)."""

    prepared: Prepared

    @property
    def digest(self) -> str:
        """It identifies what would be done, whichever service shows it or runs it."""

        def steps(task: Task) -> list[object]:
            return [(step.describe(), [piece.partition.values for piece in step.about]) for step in task.steps]

        tasks = [(task.policy_id, str(task.table), steps(task)) for task in self.prepared.plan.tasks]
        return hashlib.sha256(json.dumps(tasks, default=str).encode()).hexdigest()

    def section(self, do: str, lists: Lists, back: str = "", acts: bool = True) -> Markup:
        """
        What would be done, table by table, with boxes to choose some of several.

        :param lists: The part of the tables that is shown.
        :param back: Where a link Cancel leads; empty: the page is about nothing else.
        :param acts: Whether it can be run.
        """
        plan, tables, title = self.prepared.plan, by_table(self.prepared.plan), "What would be done"
        if not tables:
            return parts.section(title, parts.note("Nothing is due."), identifier=do)
        several = acts and len(tables) > 1
        columns: Sequence[Column[OfTable]] = (
            *((Column[OfTable]("Choose", _choice),) if several else ()),
            Column("Table", lambda of: table_bit(of.table)),
            Column("Effect", _effects),
            counted("Partitions", lambda of: of.all.amount.partitions or None),
            counted("Rows", lambda of: of.all.amount.rows),
            sized(lambda of: of.all.amount.size),
            Column("Time (UTC)", lambda of: _stretch(of.all)),
        )
        own = [column for column in task_columns(self.prepared.policies) if column.label != "Table"]

        def tasks(of: OfTable) -> Markup:
            count, rows = plural(len(of.all.tasks), "task"), parts.first_rows(own, of.groups, f"Tasks of {of.table}")
            return el("details", el("summary", count), rows)

        shown, ways = lists.part("tables", tables)
        rows = parts.table(columns, shown, title, below=tasks)
        if not acts:
            return parts.section(title, rows, ways, identifier=do)
        effect, word = in_words(plan)
        given = {"do": do, "cutoff": str(plan.cutoff), "shown": self.digest, "chosen": "yes" if several else ""}
        buttons = self._buttons(len(tables), len(shown), "danger" if word else "primary", focus=bool(back) and not word)
        ends = (list(buttons), el("a", "Cancel", href=back) if back else None)
        fields = (el("p", effect, class_="many"), parts.confirmation(word, focus=bool(back)) if word else None)
        card = el("div", fields, el("div", ends, class_="ends"), class_="card form")
        form = el("form", parts.hidden(given), rows, ways, card, method="post", class_="stack")
        return parts.section(title, form, identifier=do)

    def _buttons(self, tables: int, shown: int, tone: str, *, focus: bool) -> Iterator[Markup]:
        """Where not all tables are shown, the boxes say nothing about the others: these are run only if all are."""
        every = plural(len(self.prepared.plan.tasks), "task")
        if shown == tables:
            text = f"Run the chosen tables ({every} in all)" if tables > 1 else f"Run {every}"
            yield el("button", text, type="submit", class_=tone, autofocus=focus)
            return
        text = f"Run all {tables:,} tables ({every})"
        yield el("button", "Run the chosen tables of this page", type="submit", class_=tone, autofocus=focus)
        yield el("button", text, type="submit", class_=tone, name=_EVERY, value="yes")

    def start(self, scoped: Scope, runs: Runs, given: Mapping[str, str], tables: Collection[str] | None) -> RunState:
        """
        Run in the background what was shown; raises Conflict if it would be something else by now.

        :param tables: Only tasks of these; None: all.
        """
        scoped.access.require(Role.OPERATOR)
        if given.get("shown") != self.digest:
            raise Conflict("the plan", "has changed since it was shown", "check it again")
        plan = self.prepared.plan
        tasks = tuple(task for task in plan.tasks if tables is None or str(task.table) in tables)
        if not tasks:
            raise InvalidInput("plan", "no table is chosen", "choose at least one")
        chosen = replace(plan, tasks=tasks)
        if removing(chosen):
            parts.require_word(given, in_words(plan)[1])
        return scoped.start_run(runs, replace(self.prepared, plan=chosen))


def _choice(of: OfTable) -> Markup:
    return parts.choice("table", str(of.table), f"Run the tasks of {of.table}", checked=True)


def _stretch(group: TaskGroup) -> Cell:
    """What is known of the time range [start, end) of its data."""
    start, end = group.amount.start, group.amount.end
    if start is None and end is not None:
        return whole(f"before {moment(end)}")
    if end is None and start is not None:
        return whole(f"from {moment(start)}")
    return time_range(TimeRange.of(start, end))


def chosen_tables(form: FormData) -> Collection[str] | None:
    """The tables that a form has a box for and that were chosen; None: all, since it has no boxes, or asks for all."""
    if "chosen" not in form or _EVERY in form:
        return None
    return {value for value in form.getlist("table") if isinstance(value, str)}


def read_cutoff(text: str, now: dt.datetime) -> dt.datetime:
    """The cutoff of the plan in a form; raises InvalidInput if it is none, or lies in the future."""
    if not (text.isascii() and text.isdigit() and len(text) < 15) or from_ms(int(text)) > now:
        raise InvalidInput("cutoff", "is not valid", "load the page again")
    return from_ms(int(text))


def policy_bit(policy_id: str | None, policies: Mapping[str, Policy]) -> Bit:
    """A policy as a link to its page; what has none tidies up after an interrupted run."""
    if policy_id is None:
        return Bit(text="tidy up", tone="muted")
    policy = policies.get(policy_id)
    return Bit(text=policy.title_in_table if policy else short(policy_id), href=links.policy(policy_id), hint=policy_id)


def task_columns(policies: Mapping[str, Policy]) -> Sequence[Column[TaskGroup]]:
    """The columns of a table of tasks; one that is not like others is shown with its steps in full."""

    def what(group: TaskGroup) -> str:
        alone = len(group.tasks) == 1
        return readable("\n".join(step.describe() for step in group.first.steps) if alone else group.what)

    return (
        Column("Table", lambda group: table_bit(group.first.table)),
        Column("Policy", lambda group: policy_bit(group.first.policy_id, policies)),
        Column("What", lambda group: Bit(text=what(group), tone="many")),
        Column("Why", lambda group: readable(group.why)),
        counted("Partitions", lambda group: group.amount.partitions or None),
        counted("Rows", lambda group: group.amount.rows),
        sized(lambda group: group.amount.size),
        Column("Time (UTC)", _stretch),
    )


def blocked_columns(policies: Mapping[str, Policy]) -> Sequence[Column[Blocked]]:
    return (
        Column("State", lambda each: state("needs-attention" if each.needs_attention else "blocked")),
        Column("Table", lambda each: table_bit(each.table)),
        Column("Policy", lambda each: policy_bit(each.policy_id, policies) if each.policy_id else ""),
        Column("Why", lambda each: readable(each.reason)),
        Column("What", lambda each: Bit(text=readable(each.concerned), tone="many")),
    )


def _hold(hold: LegalHold) -> Cell:
    table, found = TableName(hold.table_schema or "", hold.table_name), links.hold_bit(hold.id)
    exact = table.schema and not is_pattern(str(table))
    return replace(found, href=links.table(table, tab="holds")) if exact else found


_HOLDS: Sequence[Column[LegalHold]] = (
    Column("Hold", _hold),
    Column("Kind", lambda hold: str(hold.kind)),
    Column("Covers", lambda hold: readable(hold_scope(hold))),
    Column("Reason", lambda hold: hold.reason),
)


def _later(policies: Mapping[str, Policy]) -> Sequence[Column[UpToDate]]:
    return (
        Column("Table", lambda each: table_bit(each.table)),
        Column("Policy", lambda each: policy_bit(each.policy_id, policies)),
        counted("Partitions that stay", lambda each: each.partitions),
        Column("More is due", lambda each: moment(each.next_due)),
    )
