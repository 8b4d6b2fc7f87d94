"""The way to the first policy: how to begin, as long as there is none, and which period keeps all data of a table."""

from __future__ import annotations

from cratedb_retention.execution.overview.rows import Overview, Row
from cratedb_retention.model.access import Role
from cratedb_retention.model.time import from_ms
from cratedb_retention.planning.overview.suggest import choose_period
from cratedb_retention.planning.overview.survey import Ungoverned
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Markup, el

_NONE, _NONE_OF_TENANT = "There are no policies yet: everything is kept.", "There are no policies with your tags yet."
_STEPS = (
    "Choose a table below. Those that grow most come first, and “Add policy” fills in a retention period that keeps "
    "all present data.",
    "Beside the form, see the life of the data and what the next run would do. Change the period, and save the policy, "
    "disabled at first if you like.",
    "See the plan. Nothing is removed before a run.",
)


def is_first(found: Overview) -> bool:
    """Whether there is no policy yet but those on the toolkit's own tables."""
    return not any(row.lines for row in found.rows) and all(line.table for line in found.lines)


def guide(guest: Guest, found: Overview) -> Markup:
    """How to begin."""
    none = _NONE_OF_TENANT if guest.access.limited else _NONE
    if not guest.may(Role.EDITOR):
        return parts.section("First policy", parts.note(f"{none} Users with the role editor create policies."))
    if not found.rows:
        return parts.section("First policy", parts.note(none))
    steps = el("ol", (el("li", step) for step in _STEPS), class_="steps")
    suggest = parts.action("Suggest policies …", suggestions()) if may_suggest(guest) else None
    content = el("div", el("p", none), steps, el("div", suggest, class_="actions"), class_="card stack")
    return parts.section("First policy in three steps", content, identifier="first")


def growth(row: Row) -> tuple[int, int, int]:
    """Sorts the tables that grow most before others."""
    free = row.ungoverned
    return (-(free.growth.size or 0), -(free.growth.rows or 0), -(row.rows or 0)) if free else (0, 0, 0)


def may_suggest(guest: Guest) -> bool:
    """Whether policies are suggested to a user: not to tenants, who see only some tables."""
    return guest.may(Role.EDITOR) and not guest.access.limited


def suggestions() -> str:
    """The page with suggested policies for all tables without one, as a file to import."""
    return links.policy_file(suggest="yes")


def new_policy(free: Ungoverned, now: int) -> str:
    """The page of a new policy for a table, which expires none of its present data."""
    period = None if free.oldest is None else choose_period(free.oldest, from_ms(now))
    return links.new_policy(table=free.table, period="" if period is None or period.forever else str(period))
