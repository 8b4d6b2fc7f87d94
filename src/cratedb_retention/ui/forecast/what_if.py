"""
What if: how much data there will be with the stored policies and with a draft, before anything is saved. It is a part
that other pages show beside a draft, and a page of its own for a policy file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.access import Role
from cratedb_retention.model.forecast import Difference, Forecast, Part, Series, differences, read_until
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.words import capitalized, plural, readable, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, read_texts, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, Number
from cratedb_retention.ui.forecast import curves
from cratedb_retention.ui.forecast.curves import Line
from cratedb_retention.ui.forecast.page import PATH, UNTIL, day, read_outlook
from cratedb_retention.ui.links import PREFIX
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
_PATH = f"{PREFIX}{PATH}/what-if"
_MOST = 30  # Differences that are shown.


def placeholder() -> Markup:
    """The part before there is anything to compare."""
    return _section(parts.note("How much data there will be with this draft is shown here."))


def section(
    scoped: Scope, draft: Sequence[Policy], *, without: Collection[str] = (), until: str = UNTIL, **asked: Any
) -> Markup:
    """
    The part about a draft.

    :param draft: Policies: instead of the stored ones that do the same, or in addition.
    :param without: Identifiers of stored policies that would be deleted.
    :param asked: Further arguments of :meth:`Scope.what_if`.
    """
    end = read_until(until, scoped.now)
    return _section(_content(*scoped.what_if(draft, until=end, without=without, **asked)))


@ROUTER.post(_PATH)
async def compare(request: Request) -> Response:
    """Compare a draft: the part alone, or for a form of the page itself, the page with it."""
    form = await request.form()

    def work(guest: Guest, scoped: Scope) -> Response:
        status = HTTPStatus.OK
        try:
            made = _asked(scoped, form)
        except RetentionError as error:
            if error.http_status in (HTTPStatus.UNAUTHORIZED, *range(500, 600)):
                raise
            status, made = HTTPStatus(error.http_status), _section(parts.problem(error))
        if form.get("page"):
            return _page(request, guest, made, {key: str(value) for key, value in form.items()}, status)
        return layout.answer(request, made, status)

    return await asyncio.to_thread(respond, request, work)


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _page(request, guest, placeholder(), {}))


def _asked(scoped: Scope, form: FormData) -> Markup:
    given = read_texts(form)
    text = given.get("policies", "").strip()
    without = [value for value in form.getlist("without") if isinstance(value, str) and value]
    if not text and not without:
        raise InvalidInput("draft", "is empty", "write a policy")
    draft = parse_policies(text, "the draft") if text else []
    outlook = read_outlook(given, scoped.now)
    found = scoped.what_if(draft, without=without, prune=given.get("prune") == "yes", **outlook)
    return _section(_content(*found))


def _page(
    request: Request, guest: Guest, part: Markup, given: Mapping[str, str], status: int = HTTPStatus.OK
) -> Response:
    crumbs = el("nav", el("a", "Forecast", href=links.forecast()), class_="crumbs", aria_label="Breadcrumb")
    top = el("div", el("div", crumbs, el("h1", "What if")), class_="top")
    content = _form(given) if guest.may(Role.EDITOR) else parts.note(f"This takes a token with the role {Role.EDITOR}.")
    panel = el("div", content, part, id="panel")
    return layout.page(request, "What if", top, panel, who=guest.who, here=PATH, status=status)


def _form(given: Mapping[str, str]) -> Markup:
    hint = "policies:\n- strategy: delete\n  table_name: metrics\n  retention_period: 90d"
    text = el(
        "textarea",
        given.get("policies", ""),
        name="policies",
        placeholder=hint,
        rows=10,
        spellcheck="false",
        class_="mono",
    )
    boxed = el("input", type="checkbox", name="prune", value="yes", checked=given.get("prune") == "yes")
    return el(
        "form",
        parts.hidden({"page": "yes", "do": "compare"}),
        el(
            "label",
            el("span", "Policies, as in a file: instead of the stored ones, or in addition"),
            text,
            class_="field wide",
        ),
        parts.field("until", "Until", given.get("until", ""), UNTIL),
        parts.field("price", "Price of tables", given.get("price", ""), "per GB and month"),
        parts.field("archive_price", "Price of archives", given.get("archive_price", ""), "per GB and month"),
        el("label", boxed, " As if all other policies were deleted", class_="field"),
        el("div", el("button", "Compare", type="submit", class_="primary"), class_="ends"),
        method="post",
        action=_PATH,
        class_="card form",
    )


def _section(*content: Child) -> Markup:
    return el("section", el("h2", "Compared with the stored policies"), *content, class_="card stack", id="what-if")


def _content(before: Forecast, after: Forecast) -> Iterator[Child]:
    found, end = differences(before, after), day(before.times[-1])
    if not found:
        yield parts.note(f"Nothing differs from the stored policies until {end}.")
        return
    sized = before.size is not None and after.size is not None
    scale, what = (curves.BYTES, "size") if sized else (curves.ROWS, "rows")
    now, then = (each.size if sized and each.size is not None else each.rows for each in (before, after))
    change = then[-1] - now[-1]
    sign = "-" if change < 0 else "+"
    said = f"On {end}: {scale.show(then[-1])} instead of {scale.show(now[-1])} ({sign}{scale.show(abs(change))})."
    yield el("p", capitalized(said), class_="lead")
    if before.cost is not None and after.cost is not None:
        cost = f"Cost until then: {after.cost:,.2f} instead of {before.cost:,.2f} ({after.cost - before.cost:+,.2f})."
        yield el("p", cost)
    yield curves.chart(
        before.times, _lines(now, then), scale, f"The {what} with the stored policies and with the draft. {said}"
    )
    yield from _detail(before.times, found)
    left = "{} more tables, levels and archives differ."
    yield parts.first_rows(_columns(sized), found, f"What differs on {end}", _MOST, left)
    remarks = dict.fromkeys((*before.remarks, *after.remarks))
    if remarks:
        yield el("ul", (el("li", readable(capitalized(text))) for text in remarks), class_="reasons")


def _lines(before: curves.Values, after: curves.Values) -> list[Line]:
    stored = Line(name="Stored policies", values=before, tone="rest", dashed=True)
    return [stored, Line(name="With the draft", values=after, tone="data", area=True)]


def _detail(times: Sequence[int], found: Sequence[Difference]) -> Iterator[Markup]:
    """For how many days there is data, if that differs for one table, or for one level of it."""
    differing = [
        each for each in found if each.about.part is not Part.ARCHIVE and _reach(each.before) != _reach(each.after)
    ]
    raw = [each for each in differing if each.about.part is Part.TABLE]
    for each in (raw or differing)[: 1 if len(raw) < 2 else 0]:
        title = f"Days of data in {each.about.title}"
        told = f"{title}, with the stored policies and with the draft"
        lines = _lines(_reach(each.before), _reach(each.after))
        yield el("h3", title)
        yield curves.chart(times, lines, curves.DAYS, told)


def _reach(series: Series | None) -> curves.Values:
    return series.reach if series else ()


def _columns(sized: bool) -> Sequence[Column[Difference]]:
    def amount(series: Series | None) -> int | None:
        if series is None:
            return 0
        return (series.size[-1] if series.size is not None else None) if sized else series.rows[-1]

    def show(value: int | None) -> str:
        return "unknown" if value is None else show_size(value) if sized else f"{value:,}"

    def change(each: Difference) -> str:
        values = [amount(series) for series in each.both]
        if values[0] is None or values[1] is None:
            return ""
        gap = values[1] - values[0]
        return f"{'-' if gap < 0 else '+'}{show(abs(gap))}" if gap else "0"

    def days(series: Series | None) -> str:
        return "" if series is None or series.reach[-1] is None else plural(series.reach[-1], "day")

    what = "Size" if sized else "Rows"
    return (
        Column("Table", _name),
        Number(f"{what}, stored", lambda each: show(amount(each.before))),
        Number(f"{what}, draft", lambda each: show(amount(each.after))),
        Number("Difference", change),
        Number("Days of data, stored", lambda each: days(each.before)),
        Number("Days of data, draft", lambda each: days(each.after)),
    )


def _name(each: Difference) -> Cell:
    about = each.about
    bits = [Bit(text=str(about.table), href=links.table(about.table), tone="whole", hint=str(about.table))]
    if about.part is not Part.TABLE:
        bits.append(Bit(text=str(about.part), tone="tag", hint=about.title))
    return bits
