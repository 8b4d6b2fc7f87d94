"""
The page of a table, ``/tables/{table}``: what it is and what can be done about it, its data over time as lanes, and
below them one of its views.

It is made on the server, completely for each request. All choices stand in the address, so that a page can be kept and
handed on, and any service on the database can answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from cratedb_retention.errors import RetentionError
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.overview import State
from cratedb_retention.model.time import TimeRange, to_ms
from cratedb_retention.model.words import capitalized, readable, short, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, answer, chosen_action, no_page, raw_path, read_texts, respond
from cratedb_retention.ui.columns import some_of, state
from cratedb_retention.ui.links import PREFIX, Query, address
from cratedb_retention.ui.overview.forms import ACTIONS, DONE
from cratedb_retention.ui.overview.spans import MEANINGS, about, due_words, next_words, notes, summary
from cratedb_retention.ui.overview.views import VIEWS
from cratedb_retention.ui.overview.visit import Visit
from cratedb_retention.ui.web import lanes, layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
_PATH = f"{PREFIX}/tables/{{rest:path}}"


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    path = raw_path(request.scope)
    name = links.read_table(path)
    if name is not None:
        return respond(request, lambda guest, scoped: _page(request, _visit(request, guest, scoped, name)))
    schema, _, former = path.removeprefix(f"{PREFIX}/tables/").partition("/")
    if schema and former:  # Where the page was before.
        there = links.table(TableName(unquote(schema), unquote(former)))
        return RedirectResponse(there, HTTPStatus.PERMANENT_REDIRECT)
    return respond(request, no_page)


@ROUTER.post(_PATH)
async def act(request: Request) -> Response:
    """Do what a form says. That it came from a page of this service, the gate has checked."""
    given = read_texts(await request.form())
    name = links.read_table(raw_path(request.scope))

    def work(guest: Guest, scoped: Scope) -> Response:
        return _act(request, _visit(request, guest, scoped, name), given) if name else no_page(guest, scoped)

    return await asyncio.to_thread(respond, request, work)


def _visit(request: Request, guest: Guest, scoped: Scope, name: TableName) -> Visit:
    return Visit(guest, scoped, name, Query(request.query_params))


def _act(request: Request, visit: Visit, given: dict[str, str]) -> Response:
    """Do what a form says, and show it; what is refused is shown with what was written."""

    def work() -> str:
        done = chosen_action(ACTIONS, given)(visit, given)
        return visit.to(_tab(visit), done=done, hold=given.get("hold", ""))

    def show(error: RetentionError) -> Response:
        visit.given = given
        return _page(request, visit, error)

    return answer(work, show)


def _tab(visit: Visit) -> str:
    return visit.get("tab") if visit.get("tab") in VIEWS else "data"


def _page(request: Request, visit: Visit, error: RetentionError | None = None) -> Response:
    """The page; with what was wrong with a form that was sent."""
    title, view = VIEWS[_tab(visit)]
    done = DONE.get(visit.get("done"))
    panel = (
        el("p", done, class_="done", role="status") if done and not error else None,
        parts.problem(error) if error else None,
        view(visit),
    )
    content = (_top(visit), _facts(visit), _trouble(visit), _picture(visit), _tabs(visit), el("div", panel, id="panel"))
    status = error.http_status if error else HTTPStatus.OK
    named = f"{visit.name} · {title}"
    return layout.page(request, named, *content, who=visit.guest.who, here="/", status=status)


def _top(visit: Visit) -> Markup:
    known = visit.line.state if visit.line else "due" if visit.timeline.changes else "up-to-date"
    chip = parts.bit(state(known, MEANINGS[known])) if visit.line or visit.timeline.cutoffs else None
    title = el("h1", el("span", f"{visit.name.schema}.", class_="schema"), visit.name.name, id="title")
    crumbs = el("nav", el("a", "Overview", href=f"{PREFIX}/"), class_="crumbs", aria_label="Breadcrumb")
    actions = el("div", _actions(visit), class_="actions")
    return el("div", el("div", crumbs, el("div", title, chip, class_="titled")), actions, class_="top")


def _actions(visit: Visit) -> Iterator[Markup]:
    enabled = list(dict.fromkeys(each.policy_id for each in visit.timeline.cutoffs if each.enabled))
    operator = visit.may(Role.OPERATOR)
    if enabled:
        href = address("/plan", Query([("policy", identifier) for identifier in enabled]))
        yield parts.action("Run now …" if operator else "Preview the next run", href)
    if operator:
        yield parts.action("Place hold …", f"{visit.to('holds')}#place")
        yield parts.action("Restore …", visit.to("archive"))
    yield parts.action("Forecast", links.forecast(visit.name))
    yield parts.action("Explore", address("/explore", {"table": str(visit.name), **visit.ends()}))
    if visit.may(Role.EDITOR):
        yield parts.action("New policy", links.new_policy(table=visit.name), "primary")


def _facts(visit: Visit) -> Markup | None:
    line, source = visit.line, visit.timeline.source
    pairs: list[tuple[str, Child]] = [
        ("Rollup of", el("a", str(source), href=links.table(source)) if source else None),
    ]
    if line is not None:
        pairs += [
            ("Rows", words.count(line.first.rows)),
            ("Size", show_size(line.first.size)),
            ("Data", _known_time(visit)),
            ("Due now", due_words(line.lines)),
            ("Next run", next_words(line.next_run, visit.now) if line.next_run else ""),
        ]
    return parts.facts(pairs)


def _known_time(visit: Visit) -> str:
    """From which day to which day there are rows; not later than today, as the end of a partition may be."""
    line, now = visit.line, to_ms(visit.now)
    if line is None or line.oldest is None or line.newest is None:
        return ""
    last = line.newest - 1 if line.oldest > now else min(line.newest - 1, now)
    return f"{words.moment(line.oldest)[:10]} to {words.moment(last)[:10]}"


def _trouble(visit: Visit) -> Iterator[Markup]:
    """Why the table fails or is blocked; and what runs now."""
    line = visit.line
    if line and line.why:
        runs = el("a", "Show the runs", href=visit.to("runs", outcome="failed")) if line.state == "failing" else None
        reasons = el("ul", (el("li", readable(capitalized(why))) for why in some_of(line.why)))
        yield el("div", reasons, runs, class_=f"why is-{line.state}")
    for run in visit.guest.running:
        if run.table_name == str(visit.name):
            link = el("a", f"run {short(run.run_id)}", href=links.run(run.run_id))
            yield el("p", f"Running now: {run.doing or 'about to start'}, ", link, class_="running", role="status")


def _picture(visit: Visit) -> Markup:
    found, whole = visit.timeline, lanes.window(visit.timeline)
    noted = [parts.note(text) for text in found.notes]
    if whole is None:
        nothing = parts.note("There is no picture, since the time of this table's data is unknown.")
        said = [parts.note(text) for lane in found.lanes for text in notes(lane)]
        return el("section", noted, nothing, said, class_="card picture", aria_label="Data over time")
    time, zoomed = whole, bool(visit.chosen and visit.get("zoom"))
    if visit.chosen and zoomed:
        start, end = visit.chosen.ends
        asked = TimeRange(whole.start if start is None else start, whole.end if end is None else end)
        time = whole if asked.empty else asked
    drawn = lanes.picture(found, time, None if zoomed else visit.chosen, about, summary)
    controls = _time_form(visit, whole, time if zoomed else None)
    return el("section", noted, drawn, _legend(visit), controls, class_="card picture", aria_label="Data over time")


def _legend(visit: Visit) -> Markup:
    present = {span.state for lane in visit.timeline.lanes for span in lane.spans}
    items = [el("li", lanes.swatch(f"{each}"), each.words) for each in State if each in present]
    if visit.timeline.gone:
        items.append(el("li", lanes.swatch("gone"), "expired, and kept nowhere"))
    return el("ul", items, class_="legend", aria_label="Colours and patterns")


def _time_form(visit: Visit, whole: TimeRange, zoomed: TimeRange | None) -> Markup:
    """The time range, chosen by typing or by dragging over the lanes; and what can be done with it."""
    buttons = [
        el("button", "Zoom in", name="zoom", value="1", type="submit"),
        el("button", "Data", name="tab", value="data", type="submit"),
        el("button", "Archive", name="tab", value="archive", type="submit"),
    ]
    if visit.may(Role.OPERATOR):
        buttons.append(el("button", "Place hold …", name="tab", value="holds", type="submit"))
    return el(
        "form",
        parts.hidden({"tab": _tab(visit)}),
        parts.field("from", "From (UTC)", visit.get("from"), words.moment(whole.start)[:10]),
        parts.field("until", "Until (UTC)", visit.get("until"), words.moment(whole.end)[:10]),
        el("div", buttons, class_="joined"),
        el("div", (el("a", text, href=href, data_swap=True) for text, href in _quick(visit, zoomed)), class_="quick"),
        parts.problem(visit.mistake) if visit.mistake else None,
        method="get",
        action=links.table(visit.name),
        class_="stretch",
        role="search",
        aria_label="Time range",
    )


def _quick(visit: Visit, zoomed: TimeRange | None) -> Sequence[tuple[str, str]]:
    """Time ranges near at hand, with their names."""
    found: list[tuple[str, str]] = []
    if changing := lanes.changing(visit.timeline):
        found.append(("Next run's changes", visit.zoom(changing)))
    if zoomed:
        half = max((zoomed.end - zoomed.start) // 2, 1)
        moves = (("Earlier", -half, -half), ("Later", half, half), ("Zoom out", -half, half))
        found += [(text, visit.zoom(TimeRange(zoomed.start + first, zoomed.end + last))) for text, first, last in moves]
    if visit.get("from") or visit.get("until"):
        found.append(("Everything", visit.zoom(None)))
    return found


def _tabs(visit: Visit) -> Markup:
    policies = {each.policy_id for each in visit.timeline.cutoffs}
    counts = {"policies": len(policies), "holds": len(visit.timeline.holds)}
    items = [
        parts.Tab(name=name, title=title, href=visit.to(name), count=counts.get(name, 0))
        for name, (title, _) in VIEWS.items()
    ]
    return parts.tabs(items, _tab(visit), "Views of this table")
