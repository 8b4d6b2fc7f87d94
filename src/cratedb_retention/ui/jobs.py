"""
The audit log: each change of a policy, each run, each step and hold; or one run as a whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from nicegui import ui

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.moment import read_moment
from cratedb_retention.model.story import Story, tell_run
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.store.journal import JournalFilter
from cratedb_retention.ui import words
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.job_view import event_words, show_rows
from cratedb_retention.ui.links import Query, address
from cratedb_retention.ui.parts import heading, link, note
from cratedb_retention.ui.querying import TAGS, Field, filter_form, read_tags

PATH = "/jobs"
LIMIT, MOST, FARTHEST = 50, 1_000, 100_000
_FIELDS = (
    Field(name="table", label="Table", hint="orders or doc.orders"),
    Field(name="policy", label="Policy", hint="its beginning"),
    TAGS,
    Field(name="event", label="Event", choices={str(event): event_words(event) for event in Event}),
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
    story = tell_run(rows) if query.get("run_id") and not wanted.offset else None
    if story is not None and not _narrowed(query):
        _show_story(story, older)
    elif rows:
        note("Newest first.")
        show_rows(rows, "Audit log")
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
    return JournalFilter(**{**vars(wanted), "limit": wanted.limit + 1})


def _narrowed(query: Query) -> bool:
    """Whether a run is looked at in parts only."""
    return any(query.get(field.name) for field in _FIELDS if field.name not in ("run_id", "limit"))


def _show_story(story: Story, cut: bool) -> None:
    heading(f"Run {short(story.run_id)}")
    with ui.element("div").classes("bar"):
        ui.label(story.outcome or "not over").classes(f"badge is-{story.outcome or 'running'}")
        ui.label(_when(story))
        if story.actor:
            ui.label(f"by {story.actor}").classes("muted")
    ui.label(_totals(story)).classes("summary")
    if cut:
        note("This run has more rows than are shown; its beginning is on older pages.")
    show_rows(story.rows, "Steps of this run, in order", of_a_run=True)


def _when(story: Story) -> str:
    began = f"began {words.exact(story.started)} UTC" if story.started else ""
    ended = f"ended {words.exact(story.ended)} UTC" if story.ended else ""
    return ", ".join(part for part in (began, ended) if part)


def _totals(story: Story) -> str:
    steps = [f"{count:,} {outcome or 'without an end'}" for outcome, count in sorted(story.counts.items())]
    all_steps = plural(sum(story.counts.values()), "step")
    said = [f"{all_steps}: {', '.join(steps)}" if steps else "no steps"]
    totals: Mapping[str, int] = story.totals
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
