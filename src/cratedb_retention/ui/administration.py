"""
Administration, for admins: whether policies run, leases and notifications; access tokens; sessions of the pages; and
settings, without secrets.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention import __version__
from cratedb_retention.errors import NotFound, RetentionError
from cratedb_retention.model.access import Role, parse_role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, readable, short
from cratedb_retention.service.access import Scope
from cratedb_retention.service.health import Health
from cratedb_retention.service.settings import Settings, shown_settings, variable
from cratedb_retention.store.access import AccessToken, Listed, session_id
from cratedb_retention.store.notifications import Notice, NoticeState
from cratedb_retention.store.runs import Lease
from cratedb_retention.ui import links
from cratedb_retention.ui.access import COOKIE, Guest, answer, chosen_action, read_texts, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, counted, state
from cratedb_retention.ui.links import PREFIX, TAGS, Query, address
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = links.ADMINISTRATION[1]
_PATH = f"{PREFIX}{PATH}"
# A policy that is due for longer than this, or than some polls of the schedulers, is run by no service.
_LATE, _POLLS = dt.timedelta(minutes=1), 3
_DONE = {
    "revoked": "The token is revoked. Its sessions are over.",
    "ended": "The session is over.",
}
# What is said of a notification, and the state whose colours it has.
_NOTICES: Mapping[NoticeState, tuple[str, str]] = {
    NoticeState.WAITING: ("not yet", "disabled"),
    NoticeState.DUE: ("being sent", "running"),
    NoticeState.TOLD: ("sent", "needs-attention"),
    NoticeState.OVER: ("its end is being sent", "running"),
}


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """
    A request by an admin.

    :param given: What stood in a form that was refused.
    """

    guest: Guest
    scoped: Scope
    query: Query
    session: str  # What identifies the user's own session.
    given: Mapping[str, str]

    def get(self, name: str) -> str:
        return self.query.get(name, "")

    @property
    def tab(self) -> str:
        return self.get("tab") if self.get("tab") in VIEWS else "health"


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _page(request, _visit(request, guest, scoped)))


@ROUTER.post(_PATH)
async def act(request: Request) -> Response:
    """Do what a form says. That it came from a page of this service, the gate has checked."""
    given = read_texts(await request.form())

    def work(guest: Guest, scoped: Scope) -> Response:
        visit = _visit(request, guest, scoped, given)
        if given.get("do") == "create":
            return _create(request, visit)
        return answer(
            lambda: _to(visit.tab, done=chosen_action(_ACTIONS, given)(visit)),
            lambda error: _page(request, visit, parts.problem(error), error.http_status),
        )

    return await asyncio.to_thread(respond, request, work)


def _visit(request: Request, guest: Guest, scoped: Scope, given: Mapping[str, str] | None = None) -> _Visit:
    scoped.access.require(Role.ADMIN)
    own, query = session_id(request.cookies.get(COOKIE, "")), Query(request.query_params)
    return _Visit(guest=guest, scoped=scoped, query=query, session=own, given=given or {})


def _to(tab: str, **more: str) -> str:
    return address(PATH, {"tab": tab, **more})


def _page(request: Request, visit: _Visit, said: Child = None, status: int = HTTPStatus.OK) -> Response:
    """The page; with what a form did, or what was wrong with it."""
    title, view = VIEWS[visit.tab]
    done = _DONE.get(visit.get("done"))
    notice = el("p", done, class_="done", role="status") if done and said is None else said
    items = [parts.Tab(name=name, title=title, href=_to(name)) for name, (title, _) in VIEWS.items()]
    content = (
        el("div", el("h1", "Administration"), class_="top"),
        parts.tabs(items, visit.tab, "Views of the administration"),
        el("div", notice, view(visit), id="panel"),
    )
    return layout.page(
        request, f"Administration \u00b7 {title}", *content, who=visit.guest.who, here=PATH, status=status
    )


# Health


def _health(visit: _Visit) -> Iterator[Child]:
    health, settings = visit.scoped.health(), visit.guest.context.settings
    troubles = list(_troubles(health, settings))
    calm = el("p", "All schedules are kept, and all policies can be read.", class_="calm")
    yield (
        el("div", el("ul", (el("li", each) for each in troubles)), class_="why is-needs-attention")
        if troubles
        else calm
    )
    next_run = health.next_run
    yield parts.facts(
        (
            ("Version", __version__),
            ("Python", platform.python_version()),
            (health.product, ", ".join(health.releases)),
            ("Address", el("span", visit.guest.who.address, class_="mono")),
            ("Schema of its own tables", health.own_schema),
            ("Policies with a schedule", f"{health.scheduled:,}"),
            ("Next run", ("due now" if next_run <= health.now else parts.moment(next_run)) if next_run else ""),
            ("Notifications by", ", ".join(_channels(settings)) or "no channel"),
        )
    )
    none = parts.note("No run holds a policy.")
    rows = parts.first_rows(_leases(health), health.leases, "Leases in force") if health.leases else none
    yield parts.section("Leases", rows)
    none = parts.note("No policy fails, or is blocked for long.")
    notices = parts.first_rows(_TOLD, health.notices, "Notifications") if health.notices else none
    yield parts.section("Notifications", notices)


def _troubles(health: Health, settings: Settings) -> Iterator[Child]:
    late = max(_LATE, _POLLS * dt.timedelta(seconds=settings.service.interval))
    waiting = {policy: since for policy, since in health.waiting.items() if health.now - since > late}
    if waiting:
        first = min(waiting, key=lambda policy: waiting[policy])
        yield (
            f"No service runs {plural(len(waiting), 'due policy', 'due policies')}, the first of them since ",
            parts.moment(waiting[first]),
            ". Check that ",
            el("code", "cratedb-retention serve"),
            " runs on this database, and its log. ",
            el("a", "Show the first one", href=links.policy(first)),
        )
    if health.damaged:
        found = plural(health.damaged, "policy", "policies")
        yield f"{found} in the database cannot be read. ", el("a", "Show all policies", href=address("/policies", {}))


def _channels(settings: Settings) -> Iterator[str]:
    notify = settings.notify
    if notify.webhook:
        yield "webhook"
    if notify.channels:
        yield plural(len(notify.channels), "chat or mail service")
    if notify.command:
        yield "program"


def _leases(health: Health) -> Sequence[Column[Lease]]:
    return (
        Column("Policy", lambda lease: _policy(lease.policy_id)),
        Column("Run", lambda lease: links.run_bit(lease.run_id or "")),
        Column("Holder", lambda lease: Bit(text=lease.holder or "", tone="mono")),
        Column("Taken", lambda lease: _moment(lease.taken_at)),
        Column("Ends unless renewed", lambda lease: _moment(lease.expires_at)),
        counted("Fencing token", lambda lease: lease.fence),
    )


def _policy(identifier: str) -> Bit:
    return Bit(text=short(identifier), href=links.policy(identifier), hint=identifier)


def _moment(value: dt.datetime | None) -> Cell:
    return Bit(text=parts.moment(value)) if value else ""


def _sent(notice: Notice) -> Bit:
    text, tone = _NOTICES[notice.state]
    return Bit(text=text, tone=f"badge is-{tone}")


_TOLD: Sequence[Column[Notice]] = (
    Column("Sent", _sent),
    Column("Of", lambda notice: state(notice.kind)),
    Column("Policy", lambda notice: _policy(notice.policy_id)),
    Column("Since", lambda notice: _moment(notice.since)),
    Column("Reason", lambda notice: Bit(text=readable(notice.reason or ""), tone="many")),
)


# Tokens


def _tokens(visit: _Visit) -> Iterator[Child]:
    now, tokens = visit.scoped.now, visit.scoped.tokens.tokens()
    valid = [token for token in tokens if token.is_valid(now)]
    every = bool(visit.get("all"))

    def condition(token: AccessToken) -> Bit:
        if token.is_valid(now):
            return Bit(text="in force", tone="badge is-enabled")
        return Bit(text="revoked" if token.revoked_at else "expired", tone="badge is-disabled")

    def actions(token: AccessToken) -> Child:
        return el("a", "Revoke \u2026", href=_to("tokens", token=token.id)) if token.is_valid(now) else None

    columns: Sequence[Column[AccessToken]] = (
        Column("Name", lambda token: Bit(text=token.name, hint=token.id, tone="whole")),
        Column("Role", lambda token: str(token.role)),
        Column("Scope", lambda token: str(token.limit) or "everything"),
        Column("State", condition),
        Column("Created", lambda token: _moment(token.created_at)),
        Column("By", lambda token: token.created_by.partition(" (token")[0]),
        Column("Expires", lambda token: _moment(token.expires_at) or "never"),
        Column("Identifier", lambda token: Bit(text=token.id, tone="mono")),
    )
    shown = tokens if every else valid
    none = parts.note("No access tokens.")
    hidden = len(tokens) - len(valid)
    more = el("a", f"Show {hidden:,} expired or revoked", href=_to("tokens", all="yes"), data_swap=True)
    rows = parts.table(columns, shown, "Access tokens", actions) if shown else none
    yield parts.section("Access tokens", rows, more if hidden and not every else None)
    chosen = next((token for token in valid if token.id == visit.get("token")), None)
    if chosen:
        effect = (
            f"{chosen.name} ({chosen.role}) is invalid at once, in the HTTP API and on pages. This cannot be undone."
        )
        content = (el("p", effect), parts.hidden({"token": chosen.id}))
        form = parts.form("revoke", *content, action="Revoke the token", tone="danger", back=_to("tokens"), focus=True)
        yield parts.section("Revoke this token?", form, identifier="revoke")
    yield _creation(visit)


def _creation(visit: _Visit) -> Markup:
    given = visit.given if visit.given.get("do") == "create" else {}
    form = parts.form(
        "create",
        parts.note("Its secret is shown once, since only a digest of it is stored."),
        parts.field("name", "Name", given.get("name", ""), "operations"),
        parts.select("role", "Role", {str(role): str(role) for role in Role}, given.get("role", str(Role.VIEWER))),
        parts.field("tags", "Scope (tags)", given.get("tags", ""), TAGS.hint),
        parts.field("expires", "Expires (UTC)", given.get("expires", ""), "never"),
        action="Create the token",
        tone="primary",
    )
    return parts.section("Create a token", form, identifier="create")


def _create(request: Request, visit: _Visit) -> Response:
    """Create a token, and show its secret; there is no address for it."""
    given = visit.given
    expires = given.get("expires", "").strip()
    try:
        token, text = visit.scoped.tokens.create(
            given.get("name", "").strip(),
            parse_role(given.get("role", "")),
            parse_tag_filter(TAGS.values(given.get("tags", ""))),
            parse_instant(expires) if expires else None,
        )
    except RetentionError as error:
        if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return _page(request, visit, parts.problem(error), error.http_status)
    secret = el("p", el("code", text, id="secret", class_="mono"))
    done = el("p", f"The token {token.name} is created. Copy it now, as it cannot be shown again:")
    said = el("div", done, secret, class_="done stack", role="status")
    return _page(request, replace(visit, given={}), said)


def _revoke(visit: _Visit) -> str:
    visit.scoped.tokens.revoke(visit.given.get("token", ""))
    return "revoked"


# Sessions


def _sessions(visit: _Visit) -> Iterator[Child]:
    tokens = {token.id: token for token in visit.scoped.tokens.tokens()}
    sessions = visit.scoped.sessions.all()

    def name(listed: Listed) -> Cell:
        user, token = listed.session.identity, tokens.get(listed.session.token_id)
        text = user.name if user else token.name if token else listed.session.token_id
        hint = user.subject if user else listed.session.token_id
        mine = [Bit(text="this session", tone="tag")] if listed.id == visit.session else []
        return [Bit(text=text, hint=hint, tone="whole"), *mine]

    def by(listed: Listed) -> str:
        user, token = listed.session.identity, tokens.get(listed.session.token_id)
        return f"groups {', '.join(user.groups)}" if user else f"token, {token.role}" if token else "token"

    def end(listed: Listed) -> Child:
        fields = parts.hidden({"do": "end", "session": listed.id})
        return el("form", fields, el("button", "End", type="submit", class_="link"), method="post")

    columns: Sequence[Column[Listed]] = (
        Column("User", name),
        Column("By", by),
        Column("Log-in", lambda listed: _moment(listed.begun_at)),
        Column("Last use, to five minutes", lambda listed: _moment(listed.used_at)),
    )
    none = parts.note("No sessions: no user is logged in, or no log-in is required.")
    yield parts.section("Sessions", parts.table(columns, sessions, "Sessions", end) if sessions else none)


def _end(visit: _Visit) -> str:
    identifier = visit.given.get("session", "")
    if not identifier:
        raise NotFound("session", "is over", "load the page again")
    visit.scoped.sessions.end_other(identifier)
    return "ended"


# Settings


def _settings(visit: _Visit) -> Iterator[Child]:
    usual = dict(shown_settings(Settings()))
    shown = list(shown_settings(visit.guest.context.settings))
    columns: Sequence[Column[tuple[str, Any]]] = (
        Column("Setting", lambda item: Bit(text=item[0], tone="whole")),
        Column("Value", lambda item: Bit(text=_text(item[1]), tone="many")),
        Column("From", lambda item: Bit(text="default", tone="muted") if item[1] == usual[item[0]] else "set"),
        Column("Environment variable", lambda item: Bit(text=variable(item[0]), tone="mono")),
    )
    config = el("code", "cratedb-retention config")
    about = el(
        "p", "Of the service that answered, without secrets. ", config, " says where each is from.", class_="note"
    )
    yield parts.section("Settings", about, parts.table(columns, shown, "Settings"))


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


_ACTIONS: Mapping[str, Callable[[_Visit], str]] = {"revoke": _revoke, "end": _end}
VIEWS: Mapping[str, tuple[str, Callable[[_Visit], Iterator[Child]]]] = {
    "health": ("Health", _health),
    "tokens": ("Tokens", _tokens),
    "sessions": ("Sessions", _sessions),
    "settings": ("Settings", _settings),
}
