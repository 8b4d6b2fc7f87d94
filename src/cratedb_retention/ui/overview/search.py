"""
Search: tables, policies and pages by a part of their names, on a page of its own, which scripts show above any page
(Ctrl-K).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.policy import mentions
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, respond
from cratedb_retention.ui.links import MENU, PREFIX
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Markup, el

ROUTER = APIRouter(include_in_schema=False)
MOST = 8  # Of each kind that are shown.


class Found(NamedTuple):
    kind: str
    title: str
    href: str
    hint: str = ""


@ROUTER.get(layout.SEARCH)
def show(request: Request) -> Response:
    def page(guest: Guest, scoped: Scope) -> Response:
        text = request.query_params.get("q", "").strip()
        found = [each for kind in (_tables, _policies, _pages) for each in islice(kind(guest, scoped, text), MOST)]
        shown = el("ul", map(_line, found), class_="results") if found else parts.note("Nothing has this name.")
        form = parts.filters(
            layout.SEARCH, layout.SEARCH, parts.field("q", "Search", text, "table, policy, page", focus=True)
        )
        panel = el("div", form, el("div", shown, id="results"), id="panel")
        return layout.page(request, "Search", el("h1", "Search"), panel, who=guest.who)

    return respond(request, page)


def _line(found: Found) -> Markup:
    return el("li", el("a", found.title, el("small", found.kind), href=found.href, title=found.hint or None))


def _tables(guest: Guest, scoped: Scope, text: str) -> Iterator[Found]:
    """Tables with a page: those of a policy."""
    if not text:
        return
    for row in guest.glances.of(scoped).rows:
        if row.table and row.lines and mentions([row.title], text):
            yield Found("table", row.title, links.table(row.table))


def _policies(guest: Guest, scoped: Scope, text: str) -> Iterator[Found]:
    for item in scoped.policies(Selection(), text)[0] if text else ():
        yield Found("policy", item.policy.title, links.policy(item.id), item.policy.rule)


def _pages(guest: Guest, scoped: Scope, text: str) -> Iterator[Found]:
    editor: Sequence[tuple[str, str]] = (
        (("New policy", links.new_policy()), ("Import policies", links.policy_file())) if guest.may(Role.EDITOR) else ()
    )
    for title, href in (*((name, f"{PREFIX}{path}") for name, path in MENU), *editor):
        if mentions([title], text):
            yield Found("page", title, href)
