"""
The overview: what is kept where and for how long, and what happens next; what is held or failing comes first.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nicegui import ui

from cratedb_retention.execution.overview import STATES, Line, TableLine
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model import words
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.words import plural, show_size, write_value
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query, new_policy, policy, timeline
from cratedb_retention.ui.parts import Bit, Cell, Column, link, note, state, table

COLUMNS = (
    Column("state", "State"),
    Column("table", "Table"),
    Column("policies", "Policies"),
    Column("oldest", "Oldest data"),
    Column("newest", "Newest data"),
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
    Column("due", "Due now", right=True),
    Column("next", "Next run"),
)
# What each state means, for newcomers.
MEANINGS = {
    "failing": "the last run failed",
    "problem": "somebody has to do something",
    "held": "due, and waits for something",
    "due": "the next run has something to do",
    "kept": "nothing is due",
    "disabled": "no policy is enabled",
}


# So many are shown before it is known how they are.
_AT_FIRST = 50


async def show(guest: Guest, query: Query) -> None:
    """Fill the page: at once with what was known last, or with the policies alone, and then with what is."""
    access, mark = await guest.ask(lambda scoped: (scoped.access, scoped.mark()))
    area = ui.element("div").classes("content")
    limit = str(access.limit)
    glance = guest.glances.fresh(limit, mark)
    if glance is None:
        with area:
            await _meanwhile(guest, access)
        # A look keeps a processor busy, which the browser needs until it shows what it has.
        await ui.context.client.connected()
        glance = await guest.glances.look(limit, mark, lambda: guest.ask(lambda s: s.tables(Selection())))
        area.clear()
    with area:
        _show(guest, access, glance.lines)


async def _meanwhile(guest: Guest, access: Access) -> None:
    known = guest.glances.find(str(access.limit))
    if known is not None:
        note(f"As of {words.exact(known.taken)} (UTC); a new look is being taken.")
        _show(guest, access, known.lines)
        return
    stored, _ = await guest.ask(lambda scoped: scoped.policies(Selection()))
    if stored:
        note(f"Looking at what {plural(len(stored), 'policy', 'policies')} would do …")
        table(COLUMNS[1:3], [_at_first(item.policy) for item in stored[:_AT_FIRST]], "Policies", per_page=_AT_FIRST)


def _at_first(stored: Policy) -> dict[str, Cell]:
    what = _kept_by(stored, stored.retention_period)
    return {"table": stored.target, "policies": Bit(text=what, href=policy(stored.id or ""))}


def _show(guest: Guest, access: Access, lines: Sequence[TableLine]) -> None:
    if not lines:
        note("There are no policies yet. Until there is one, everything is kept.")
        if access.role.includes(Role.EDITOR):
            link("Create the first policy", new_policy())
        return
    _summary(lines)
    wanted = ui.input("Search").props("clearable dense outlined type=search").classes("search")
    made = table(COLUMNS, [_row(guest, line) for line in lines], "Tables", [_order(line) for line in lines])
    wanted.bind_value_to(made, "filter", forward=lambda text: text or "")


def _summary(lines: Sequence[TableLine]) -> None:
    counts = Counter(line.state for line in lines)
    with ui.element("ul").classes("summary").props('aria-label="States"'):
        for name in STATES:
            if counts[name]:
                with ui.element("li"):
                    ui.label(name).classes(f"badge is-{name}")
                    ui.label(f"{plural(counts[name], 'table')}: {MEANINGS[name]}")


def _row(guest: Guest, line: TableLine) -> dict[str, Cell]:
    now = guest.context.retention.clock.now()
    reasons = [Bit(text=reason, tone="reason") for reason in line.why[:1]]
    more = (
        [Bit(text=f"and {len(line.why) - 1:,} more", tone="muted", hint="\n".join(line.why[1:]))]
        if line.why[1:]
        else []
    )
    there = (
        Bit(text=line.title, href=timeline(*line.table))
        if line.rows is not None and line.table is not None
        else Bit(text=line.title)
    )
    return {
        "state": state(line.state, MEANINGS[line.state]),
        "table": [there, *reasons, *more],
        "policies": [_policy_bit(each) for each in line.lines],
        "oldest": words.moment(line.oldest),
        "newest": words.moment(line.newest),
        "rows": words.count(line.rows),
        "size": show_size(line.size),
        "due": _due(line.lines),
        "next": _next(line.next_run, now),
    }


def _next(time: dt.datetime | None, now: dt.datetime) -> Cell:
    if time is None:
        return ""
    return Bit(text="due now" if time <= now else words.ago(time, now), hint=words.exact(time))


def _policy_bit(line: Line) -> Bit:
    return Bit(text=_kept_by(line.policy, line.retention_period), href=policy(line.policy.id or ""), tone="block")


def _order(line: TableLine) -> dict[str, Any]:
    """What a click on a heading sorts by."""
    return {
        "state": STATES.index(line.state),
        "rows": -1 if line.rows is None else line.rows,
        "size": -1 if line.size is None else line.size,
        "due": sum(each.due_partitions for each in line.lines),
        "next": line.next_run.isoformat() if line.next_run else "~",
    }


def _kept_by(which: Policy, period: Duration) -> str:
    """
    ``delete after 30d``, and whose data.

    :param period: The policy's, or that of one of its levels.
    """
    where = "".join(f", {key}={write_value(value)}" for key, value in which.where.items())
    downsampled = which.strategy.traits.rolls_up
    kept = "kept forever" if period.forever else f"kept for {period}" if downsampled else ""
    what = f"downsample, {kept}" if downsampled else kept or f"{which.strategy} after {period}"
    return f"{what}{where}{'' if which.enabled else ' (disabled)'}"


def _due(lines: Sequence[Line]) -> str:
    partitions = sum(line.due_partitions for line in lines)
    if partitions:
        return plural(partitions, "partition")
    rows = sum(line.due_rows or 0 for line in lines)
    return plural(rows, "row") if rows else ""
