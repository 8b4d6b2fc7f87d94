"""
The plan: what a run would do now, and why; and the run itself, of exactly the plan that is shown (law 10).
"""

from __future__ import annotations

import datetime as dt

from nicegui import ui

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.preparing import Prepared, Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.effect import group_tasks, names, removing, summary
from cratedb_retention.model.plan import Plan
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import parse_instant
from cratedb_retention.ui.agreeing import confirmed
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query, address
from cratedb_retention.ui.parts import button, link, note
from cratedb_retention.ui.plan_view import show_plan
from cratedb_retention.ui.progress import Progress
from cratedb_retention.ui.querying import STRATEGY, TAGS, Field, filter_form, read_selection

PATH = "/plan"
# So many statements are shown of a plan.
_STATEMENTS = 500
_FIELDS = (
    TAGS,
    STRATEGY,
    Field(name="policy", label="Policy", hint="its identifier"),
    Field(name="cutoff", label="Cutoff (UTC)", hint="now"),
)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    access = await guest.ask(lambda scoped: scoped.access)
    filter_form(PATH, _FIELDS, query, "Show the plan")
    progress = Progress(guest, access.role)
    selection, cutoff = read_query(query, guest.context.retention.clock.now())
    prepared = await guest.ask(lambda scoped: scoped.prepare(selection, cutoff))
    with ui.element("div").classes("bar"):
        if access.role.includes(Role.OPERATOR) and prepared.plan.tasks:
            _offer_run(guest, prepared, progress)
        link("Plan again", address(PATH, query))
    details = bool(query.get("details"))
    if not details and len(group_tasks(prepared.plan.tasks)) < len(prepared.plan.tasks):
        link("Show each task", address(PATH, Query([*query.multi_items(), ("details", "yes")])))
    show_plan(prepared.plan, prepared.policies, details)
    if prepared.plan.tasks and access.role.includes(Role.OPERATOR) and not access.limited:
        _offer_statements(guest, prepared.plan)


def read_query(query: Query, now: dt.datetime) -> tuple[Selection, dt.datetime | None]:
    """
    Which policies a page is about, and the cutoff; None: now.

    :param query: ``tags``, ``strategy``, ``policy`` and ``cutoff`` of the page's address.
    :param now: The present (aware).
    :raises InvalidInput: if one of them can't be read, or the cutoff lies in the future.
    """
    cutoff = parse_instant(query["cutoff"]) if query.get("cutoff") else None
    if cutoff is not None and cutoff > now:
        reason = "lies in the future, so data would expire before its time"
        raise InvalidInput(f"cutoff {query['cutoff']}", reason, "choose an earlier one")
    return read_selection(query), cutoff


def _offer_run(guest: Guest, prepared: Prepared, progress: Progress) -> None:
    async def run() -> None:
        if not await _agree(prepared.plan):
            return
        state = await guest.ask(lambda scoped: scoped.start_run(guest.context.runs, prepared))
        pressed.set_visibility(False)
        told.set_visibility(True)
        await progress.follow(state)

    pressed = button("Run now", run, icon="play_arrow")
    told = note("This plan was handed to a run; plan again to see what is due after it.")
    told.set_visibility(False)


async def _agree(plan: Plan) -> bool:
    """Ask before data goes; what only moves or adds up data needs no question."""
    gone = removing(plan)
    if not gone:
        return True
    tables = sorted({table for effect in gone for table in effect.tables})
    word = tables[0].name if len(tables) == 1 else "run"
    return await confirmed("Run this plan now?", effect_of(plan), word, "Run now")


def effect_of(plan: Plan) -> str:
    """What a run would take away for good, in sentences, one a line."""
    said = {
        Kind.DELETE: "Deleted for good: data of",
        Kind.ARCHIVE: "Archived, and then dropped from the table: partitions of",
    }
    return "\n".join([summary(plan), *(f"{said[each.kind]} {names(each.tables)}." for each in removing(plan))])


def _offer_statements(guest: Guest, plan: Plan) -> None:
    async def load() -> None:
        found = await guest.ask(lambda scoped: scoped.statements(plan))
        asked.set_visibility(False)
        with box:
            _show_statements(plan, found)

    with ui.element("div") as box:
        asked = button("Show the statements (SQL)", load).props("outline")


def _show_statements(plan: Plan, found: list[list[str]]) -> None:
    left = _STATEMENTS
    for task, statements in zip(plan.tasks, found, strict=True):
        if left <= 0:
            note("More statements are what `cratedb-retention plan --sql` shows.")
            return
        with ui.element("div").classes("statements").props("tabindex=0 role=region").props('aria-label="Statements"'):
            ui.label(str(task.table)).classes("muted")
            for statement in statements[:left]:
                ui.label(f"{statement};").classes("mono many")
        left -= len(statements)
