"""The plan: what a run would do now, and why; and the run itself, of exactly the plan that is shown (law 10)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from nicegui import ui

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.execution.plan.preparing import Prepared, Selection
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.holds import LegalHold, hold_scope
from cratedb_retention.model.plan.effect import TaskGroup, group_tasks, names, removing, summary
from cratedb_retention.model.plan.plan import Blocked, Plan, UpToDate
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.time import show as show_time
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.columns import Bit, Column, counted, sized, state
from cratedb_retention.ui.links import (
    STRATEGY,
    TAGS,
    Field,
    Query,
    address,
    filter_form,
    link,
    read_selection,
    table_bit,
)
from cratedb_retention.ui.parts import agreed, bar, button, heading, hidden_note, note, show_error
from cratedb_retention.ui.tables import section

PATH = "/plan"
_STATEMENTS = 500  # That are shown of a plan.
_FIELDS = (
    TAGS,
    STRATEGY,
    Field(name="policy", label="Policy", hint="its identifier", several=True),
    Field(name="cutoff", label="Cutoff (UTC)", hint="now"),
)
BUSY, IDLE = 1.0, 15.0  # Seconds between looks at runs: while something runs, and while nothing does.
PATIENT, LONGEST = 5, 40  # Looks at nothing, after which the page looks rarely; after the latter, no more.


async def show(guest: Guest, query: Query) -> None:
    filter_form(PATH, _FIELDS, query, "Show the plan")
    progress = Progress(guest)
    prepared = await guest.ask(lambda scoped: scoped.prepare(*read_query(query, guest.context.retention.clock.now())))
    plan, details = prepared.plan, bool(query.get("details"))
    acts = bool(plan.tasks) and guest.may(Role.OPERATOR)
    with bar():
        if acts:
            _offer_run(guest, prepared, progress)
        link("Plan again", address(PATH, query))
    groups = group_tasks(plan.tasks)
    if not details and len(groups) < len(plan.tasks):
        link("Show each task", address(PATH, Query([*query.multi_items(), ("details", "yes")])))
    _show_plan(prepared, [TaskGroup((task,)) for task in plan.tasks] if details else groups)
    if acts and not guest.access.limited:
        _offer_statements(guest, plan)


def read_query(query: Query, now: dt.datetime) -> tuple[Selection, dt.datetime | None]:
    """Which policies a page is about, and the cutoff; None: now. InvalidInput if the cutoff lies in the future."""
    cutoff = parse_instant(query["cutoff"]) if query.get("cutoff") else None
    if cutoff is not None and cutoff > now:
        reason = "lies in the future, so data would expire before its time"
        raise InvalidInput(f"cutoff {query['cutoff']}", reason, "choose an earlier one")
    return read_selection(query), cutoff


def _offer_run(guest: Guest, prepared: Prepared, progress: Progress) -> None:
    plan, gone = prepared.plan, removing(prepared.plan)
    tables = {table for effect in gone for table in effect.tables}
    archived = "Archived, and then dropped from the table: partitions of"
    ended = "Archives deleted for good, of data of"
    said = {Kind.DELETE: "Deleted for good: data of", Kind.ARCHIVE: archived, Kind.END_ARCHIVE: ended}
    effect = "\n".join([summary(plan), *(f"{said[each.first.kind]} {names(each.tables)}." for each in gone)])
    word = next(iter(tables)).name if len(tables) == 1 else "run"

    async def run() -> None:
        # What only moves or adds up data needs no question.
        if not gone or await agreed("Run this plan now?", effect, "Run now", word):
            state = await guest.ask(lambda scoped: scoped.start_run(guest.context.runs, prepared))
            pressed.set_visibility(False)
            told.set_text("This plan was handed to a run; plan again to see what is due after it.")
            await progress.follow(state)

    pressed = button("Run now", run, icon="play_arrow")
    told = hidden_note()


def _offer_statements(guest: Guest, plan: Plan) -> None:
    async def load() -> None:
        found = await guest.ask(lambda scoped: scoped.statements(plan))
        asked.set_visibility(False)
        left = _STATEMENTS
        with box:
            for task, statements in zip(plan.tasks, found, strict=True):
                if left <= 0:
                    note("More statements are what `cratedb-retention plan --sql` shows.")
                    return
                with ui.element("div").classes("statements").props('tabindex=0 role=region aria-label="Statements"'):
                    ui.label(str(task.table)).classes("muted")
                    for statement in statements[:left]:
                        ui.label(f"{statement};").classes("mono many")
                left -= len(statements)

    with ui.element("div") as box:
        asked = button("Show the statements (SQL)", load).props("outline")


def _show_plan(prepared: Prepared, groups: Sequence[TaskGroup]) -> None:
    plan, policies = prepared.plan, prepared.policies
    ui.label(summary(plan)).classes("summary")
    ui.label(f"Cutoff: {show_time(plan.cutoff)}. What is older than this by more than its retention period is expired.")
    for warning in plan.warnings:
        with ui.element("div").classes("warning").props("role=note"):
            ui.label(f"Warning: {warning}")
    section("Needs attention: blocked until you act", plan.needs_attention, BLOCKED, "holds")
    blocked = [each for each in plan.blocked if not each.needs_attention]
    section("Blocked: due, but must not happen now", blocked, BLOCKED, "holds")
    section("What would be done", groups, task_columns(policies), "tasks", nothing="Nothing is due.")
    covers: Sequence[Column[LegalHold]] = (
        Column("Hold", lambda hold: hold.id),
        Column("Kind", lambda hold: str(hold.kind)),
        Column("Covers", hold_scope),
        Column("Reason", lambda hold: hold.reason),
    )
    section("Legal holds in force", plan.legal_holds, covers)
    later = sorted(plan.up_to_date, key=lambda each: (each.next_due is None, each.next_due or 0, each.table))
    columns: Sequence[Column[UpToDate]] = (
        Column("Table", lambda each: table_bit(each.table)),
        Column("Policy", lambda each: policy_bit(each.policy_id, policies)),
        counted("Partitions that stay", lambda each: each.partitions),
        Column(
            "More is due", lambda each: show_time(each.next_due) if each.next_due else "", lambda each: each.next_due
        ),
    )
    due = "" if plan.next_due is None else f"More is due on {show_time(plan.next_due)}."
    section("Up to date", later, columns, said=due)


def policy_bit(policy_id: str | None, policies: Mapping[str, Policy]) -> Bit:
    """A policy as a link to its page; what has none tidies up after an interrupted run."""
    if policy_id is None:
        return Bit(text="tidy up", tone="muted")
    policy = policies.get(policy_id)
    text = f"{policy.strategy} {short(policy_id)}" if policy else short(policy_id)
    return Bit(text=text, href=links.policy(policy_id), hint=policy_id)


def task_columns(policies: Mapping[str, Policy]) -> Sequence[Column[TaskGroup]]:
    """The columns of a table of tasks; one that is not like others is shown with its steps in full."""

    def what(group: TaskGroup) -> str:
        alone = len(group.tasks) == 1
        return "\n".join(step.describe() for step in group.first.steps) if alone else group.what

    def stretch(start: int | None, end: int | None) -> str:
        if end is None:
            return "" if start is None else f"from {show_time(start)}"
        return f"before {show_time(end)}" if start is None else f"{show_time(start)} to {show_time(end)}"

    return (
        Column("Table", lambda group: table_bit(group.first.table)),
        Column("Policy", lambda group: policy_bit(group.first.policy_id, policies)),
        Column("What", lambda group: Bit(text=what(group), tone="many")),
        Column("Why", lambda group: group.why),
        counted("Partitions", lambda group: group.amount.partitions or None),
        counted("Rows", lambda group: group.amount.rows),
        sized(lambda group: group.amount.size),
        Column("Oldest to newest", lambda group: Bit(text=stretch(group.amount.start, group.amount.end), tone="date")),
    )


BLOCKED: Sequence[Column[Blocked]] = (
    Column("State", lambda each: state("needs-attention" if each.needs_attention else "blocked")),
    Column("Table", lambda each: table_bit(each.table)),
    Column("Policy", lambda each: policy_bit(each.policy_id, {}) if each.policy_id else ""),
    Column("Why", lambda each: each.reason),
    Column("What", lambda each: Bit(text=each.concerned, tone="many")),
)


class Progress:
    """The runs that go on: looked at each second while something runs, less and less often while nothing does."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._cards: dict[str, RunCard] = {}
        self._idle = 0
        self._box = ui.element("section").classes("runs").props('aria-label="Runs"')
        self._asleep = hidden_note()
        self._timer = ui.timer(BUSY, self.look)

    async def follow(self, state: RunState) -> None:
        self._show(state)
        self._idle = 0
        self._asleep.set_text("")
        self._timer.interval = BUSY
        self._timer.activate()
        await self.look()

    async def look(self) -> None:
        """Look once how far runs are: one statement about them."""
        watched = list(self._cards.items())  # A run that begins meanwhile is not in the answer.
        try:
            states = await self._guest.ask(lambda scoped: scoped.jobs(self._guest.context.runs))
            known, now = {run.run_id: run for run in states}, self._guest.context.retention.clock.now()
            running = [run.run_id for run in states if run.finished_at is None and not run.is_silent(now)]
            for run_id in running:
                self._show(known[run_id])
            for run_id, card in watched:
                if run_id not in running and not card.over:
                    await card.end(known.get(run_id))
        except RetentionError as error:
            self._timer.deactivate()
            with self._box:
                show_error(error)
            return
        self._idle = 0 if running else self._idle + 1
        self._timer.interval = BUSY if self._idle < PATIENT else IDLE
        if self._idle > LONGEST:
            self._timer.deactivate()
            self._asleep.set_text("Nothing has run for a while. Load this page again to see runs that began since.")

    def _show(self, state: RunState) -> None:
        if state.run_id not in self._cards:
            with self._box:
                self._cards[state.run_id] = RunCard(self._guest, state)
        self._cards[state.run_id].update(state)


class RunCard:
    """A run on a page; operators may cancel it."""

    def __init__(self, guest: Guest, state: RunState) -> None:
        self._guest, self._run_id, self.over, self._cancelled = guest, state.run_id, False, False
        self._name = f"Run {short(state.run_id)}"
        with ui.element("article").classes("card run").props(f'aria-label="{self._name}"'):
            with bar():
                self._badge = ui.label("running").classes("badge is-running")
                heading(self._name)
                note(f"by {state.actor}, since {words.exact(state.started_at)} UTC", "muted")
            self._doing = ui.label().classes("many")
            self._bar = ui.linear_progress(0, show_value=False, size="10px").props('aria-label="Steps done"')
            self._told = ui.label().classes("muted")
            self._result = ui.element("div").classes("result").props("role=status")
            self._cancel = button("Cancel this run", self._ask, "negative")
            self._cancel.set_visibility(guest.may(Role.OPERATOR))

    def update(self, state: RunState) -> None:
        if not self.over:
            self._doing.set_text(f"Now: {state.doing}" if state.doing else "It is about to begin.")
            self._bar.set_value(state.share)
            rows, size = state.removed
            said = (
                f"{state.steps_done:,} of {plural(state.steps, 'step')} done",
                f"of this step {state.units}" if state.units else "",
                plural(rows, "row"),
                show_size(size or None),
                f"may end at {words.exact(state.expected_end)} UTC" if state.expected_end else "",
                f"ends before its next step, as {state.cancel_by} asked" if state.cancel_by else "",
            )
            self._told.set_text(_joined(*said))
            if state.cancel_by:
                self._cancel.set_visibility(False)

    async def end(self, run: RunState | None) -> None:
        """Show how it ended, by the audit log and, if it ran here, this process."""
        self.over = True
        row, troubles, more = await self._guest.ask(lambda scoped: scoped.run_end(self._run_id))
        outcome = row.get("outcome") or (run.phase if run else "") or "over"
        if self._cancelled and outcome == Outcome.INTERRUPTED:
            outcome = "cancelled"  # Cancelled before it was in the database.
        shown = state(outcome)
        self._badge.set_text(shown.text).classes(replace=shown.tone)
        for each in (self._doing, self._bar, self._cancel):
            each.set_visibility(False)
        counts = (plural(row[f"{noun}s"], noun) for noun in ("row", "partition") if row.get(f"{noun}s"))
        self._told.set_text(_joined(row.get("message"), *counts, show_size(row.get("bytes") or None)))
        with self._result:
            error = row.get("error") or (run.error if run else None)
            if error:
                _show_trouble("The run ended early", str(error), "")
            for row in troubles:
                where = f"{row['table_schema']}.{row['table_name']}: " if row["table_name"] else ""
                what = f"{where}{row['message'] or row['event']}"
                _show_trouble(what, str(row["error"] or ""), row["outcome"] or "")
            if more:
                note("There is more of this in the audit log.", "muted")
            link("What this run did, in the audit log", address("/jobs", {"run_id": self._run_id}))

    async def _ask(self) -> None:
        effect = "The step that it is at is finished; no other one begins. The next run goes on with the rest."
        if await agreed(f"Cancel {self._name.lower()}?", effect, "Cancel the run", back="Back"):
            runs = self._guest.context.runs
            await self._guest.ask(lambda scoped: scoped.cancel(runs, self._run_id))
            self._cancelled = True
            ui.notify(f"{self._name} ends before its next step.")


def _joined(*said: str | None) -> str:
    return " · ".join(filter(None, said))


def _show_trouble(what: str, error: str, outcome: str) -> None:
    with ui.element("div").classes("warning" if outcome == Outcome.DEFERRED else "error"):
        ui.label(f"{state(outcome).text}: {what}" if outcome else what).classes("what")
        ui.label(error).classes("many")
