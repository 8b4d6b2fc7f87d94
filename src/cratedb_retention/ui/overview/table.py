"""The overview: what is kept where and for how long, and what happens next; what fails or is blocked comes first."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

from nicegui import ui

from cratedb_retention.execution.overview.lines import STATES, TableLine
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.words import plural, write_value
from cratedb_retention.planning.overview.survey import Ungoverned
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Glance, Guest
from cratedb_retention.ui.columns import Bit, Cell, Column, Number, counted, sized, state
from cratedb_retention.ui.links import Query, link, new_policy, policy
from cratedb_retention.ui.overview.spans import due_words, next_words
from cratedb_retention.ui.parts import note
from cratedb_retention.ui.tables import section, table

# What each state means, for newcomers.
MEANINGS = {
    "failing": "the last run failed",
    "needs-attention": "blocked until a person acts",
    "blocked": "due, but must not happen now",
    "due": "the next run has something to do",
    "up-to-date": "nothing is due",
    "disabled": "no policy is enabled",
}
_SUGGEST = "No enabled policy governs these tables, so they grow. `cratedb-retention suggest` writes policies for them."
# Number of policies that are shown before their state is known.
_AT_FIRST = 50


async def show(guest: Guest, query: Query) -> None:
    """Fill the page: at once with what was known last, or with the policies alone, and then with what is."""
    mark = await guest.ask(lambda scoped: scoped.mark())
    area = ui.element("div").classes("content")
    limit = str(guest.access.limit)
    glance = guest.glances.fresh(limit, mark)
    if glance is None:
        with area:
            await _meanwhile(guest, limit)
        # A look keeps a processor busy, which the browser needs until it shows what it has.
        await ui.context.client.connected()
        glance = await guest.glances.look(limit, mark, lambda: guest.ask(lambda s: s.overview()))
    with area.clear():
        _show(guest, glance)


async def _meanwhile(guest: Guest, limit: str) -> None:
    known = guest.glances.find(limit)
    if known is not None:
        note(f"As of {words.exact(known.taken)} (UTC); a new look is being taken.")
        _show(guest, known)
        return
    stored, _ = await guest.ask(lambda scoped: scoped.policies(Selection()))
    if stored:
        note(f"Looking at what {plural(len(stored), 'policy', 'policies')} would do …")
        columns = (
            Column[Policy]("Table", lambda each: each.target),
            Column[Policy]("Policies", lambda each: _kept_by(each, each.retention_period)),
        )
        table(columns, [item.policy for item in stored[:_AT_FIRST]], "Policies", per_page=_AT_FIRST)


def _show(guest: Guest, glance: Glance) -> None:
    if glance.lines:
        _show_tables(guest, glance.lines)
    else:
        note("There are no policies yet. Until there is one, everything is kept.")
        if guest.may(Role.EDITOR):
            link("Create the first policy", new_policy())
    columns: Sequence[Column[Ungoverned]] = (
        Column("Table", _ungoverned),
        counted("Partitions", lambda each: each.partitions or None),
        counted("Rows", lambda each: each.rows),
        sized(lambda each: each.size),
        Number("Growth per day", lambda each: str(each.growth), lambda each: each.growth.size or each.growth.rows),
        Column("Oldest data", lambda each: words.moment(each.oldest)),
    )
    section("Without a policy", glance.ungoverned, columns, said=_SUGGEST)


def _show_tables(guest: Guest, lines: Sequence[TableLine]) -> None:
    counts = Counter(line.state for line in lines)
    with ui.element("ul").classes("summary").props('aria-label="States"'):
        for name in STATES:
            if counts[name]:
                with ui.element("li"):
                    ui.label(state(name).text).classes(state(name).tone)
                    ui.label(f"{plural(counts[name], 'table')}: {MEANINGS[name]}")
    now = guest.context.retention.clock.now()
    columns: Sequence[Column[TableLine]] = (
        Column("State", lambda line: state(line.state, MEANINGS[line.state]), lambda line: STATES.index(line.state)),
        Column("Table", _table),
        Column("Policies", lambda line: [_kept_by(each.policy, each.retention_period, "block") for each in line.lines]),
        Column("Oldest data", lambda line: words.moment(line.oldest)),
        Column("Newest data", lambda line: words.moment(line.newest)),
        counted("Rows", lambda line: line.first.rows),
        sized(lambda line: line.first.size),
        Number(
            "Due now", lambda line: due_words(line.lines), lambda line: sum(each.due_partitions for each in line.lines)
        ),
        Column(
            "Next run",
            lambda line: _next(line.next_run, now),
            lambda line: line.next_run.isoformat() if line.next_run else "~",
        ),
    )
    wanted = ui.input("Search").props("clearable dense outlined type=search").classes("search")
    wanted.bind_value_to(table(columns, lines, "Tables"), "filter", forward=lambda text: text or "")


def _table(line: TableLine) -> Cell:
    first = line.first
    href = links.table(first.table) if first.table else ""
    bits = [Bit(text=line.title, href=href), *(Bit(text=reason, tone="reason") for reason in line.why[:1])]
    more = line.why[1:]
    return [*bits, *([Bit(text=f"and {len(more):,} more", tone="muted", hint="\n".join(more))] if more else [])]


def _ungoverned(found: Ungoverned) -> Cell:
    partly = [Bit(text="its other partitions have policies", tone="muted")] if found.partly else []
    disabled = [Bit(text="disabled policy", href=policy(identifier), tone="muted") for identifier in found.disabled]
    reason = [Bit(text=found.reason, tone="reason")] if found.reason else []
    return [Bit(text=str(found.table)), *partly, *disabled, *reason]


def _next(time: dt.datetime | None, now: dt.datetime) -> Cell:
    if time is None:
        return ""
    return Bit(text=next_words(time, now), hint=words.exact(time))


def _kept_by(which: Policy, period: Duration, tone: str = "") -> Bit:
    """``delete after 30d``, and whose data; the period is the policy's, or that of one of its levels."""
    where = "".join(f", {key}={write_value(value)}" for key, value in which.where.items())
    downsampled = which.strategy.traits.rolls_up
    sized = which.max_size is not None and period == which.retention_period  # Levels have no maximum size.
    length, when = (which.kept, which.when) if sized else (period, f"after {period}")
    kept = "kept forever" if period.forever and not sized else f"kept for {length}" if downsampled else ""
    what = f"downsample, {kept}" if downsampled else kept or f"{which.strategy} {when}"
    return Bit(text=f"{what}{where}{'' if which.enabled else ' (disabled)'}", href=policy(which.id), tone=tone)
