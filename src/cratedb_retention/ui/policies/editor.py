"""
The page of a policy, ``/policies/{id}``, and of a new one: a form beside what the next run would do with the policy.

For those who may change it, the page is a function of the draft in its form: each request sends all of it, also while
one types, and gets the whole form with the effect. The process remembers nothing, and what would be refused when the
draft is saved is said before. Others see what the policy says and does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from cratedb_retention import __version__
from cratedb_retention.errors import Conflict, Forbidden, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.execution.plan.preview import Preview
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.effect import summary as effect_of
from cratedb_retention.model.policies.attributes import Group, Suggestions
from cratedb_retention.model.policies.file import dump_policies
from cratedb_retention.model.policies.form import FIELDS, left_out, to_values
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import ATTRIBUTES, Difference, Policy, changes_of, differences
from cratedb_retention.model.schedule import following, parse_schedule
from cratedb_retention.model.time import parse_time_zone
from cratedb_retention.model.words import short
from cratedb_retention.service.access import Scope
from cratedb_retention.service.http.problems import public
from cratedb_retention.store.audit import JournalFilter
from cratedb_retention.store.policies import StoredPolicy
from cratedb_retention.ui import audit, links
from cratedb_retention.ui.access import Guest, answer, raw_path, respond
from cratedb_retention.ui.columns import Column, state
from cratedb_retention.ui.forecast import what_if
from cratedb_retention.ui.links import PREFIX, Query, address
from cratedb_retention.ui.overview.spans import about, next_words, summary
from cratedb_retention.ui.plan import Lists, Review, what_is_blocked
from cratedb_retention.ui.policies.draft import VIEWS, Draft, begin, read_draft, write_base
from cratedb_retention.ui.policies.effect import details, digest, headline
from cratedb_retention.ui.policies.fields import Fields, summary_of
from cratedb_retention.ui.policies.life import draw
from cratedb_retention.ui.web import lanes, layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
_LIST = "/policies"
_NEW, _PATH = f"{PREFIX}{_LIST}/new", f"{PREFIX}{_LIST}/{{rest:path}}"
_CHANGES = frozenset({Event.POLICY_CREATED, Event.POLICY_CHANGED, Event.POLICY_DELETED})
_TIMES, _HISTORY = 3, 10  # Next runs, and changes, that are shown.
_SCHEDULE = ("schedule", "time_zone", "jitter", "enabled")


@ROUTER.get(_NEW)
def create(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _new(request, guest, scoped))


@ROUTER.post(_NEW)
async def created(request: Request) -> Response:
    form = await request.form()
    return await asyncio.to_thread(respond, request, lambda guest, scoped: _new(request, guest, scoped, form))


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _one(request, guest, scoped))


@ROUTER.post(_PATH)
async def change(request: Request) -> Response:
    """Show or save the draft in a form. That it came from a page of this service, the gate has checked."""
    form = await request.form()
    return await asyncio.to_thread(respond, request, lambda guest, scoped: _one(request, guest, scoped, form))


def _new(request: Request, guest: Guest, scoped: Scope, form: FormData | None = None) -> Response:
    query = Query(request.query_params)
    if not guest.may(Role.EDITOR):
        raise Forbidden(
            "a new policy", f"your token has the role {guest.access.role}", f"ask for the role {Role.EDITOR}"
        )
    editor = Editor(request=request, guest=guest, scoped=scoped, stored=None)
    table, period = query.get("table", ""), query.get("period", "")
    if form is not None:
        return editor.respond(form, read_draft(form, table=table, period=period, names=editor.names))
    copied = scoped.policy(query["copy"]).policy if query.get("copy") else None
    base = copied.model_copy(update={"id": None}) if copied else None
    return editor.show(begin(base, table, period))


def _one(request: Request, guest: Guest, scoped: Scope, form: FormData | None = None) -> Response:
    identifier = unquote(raw_path(request.scope).removeprefix(f"{PREFIX}{_LIST}/"))
    found, damaged = scoped.policies(Selection(policy_id=identifier))
    if damaged and not found:
        reason = f"the stored row is not a valid policy: {damaged[0].reason}"
        raise InvalidInput(f"policy {identifier}", reason, "delete it in the list of policies, and create it again")
    if not found:
        reason = "does not exist, or is not visible to you; it may have been deleted"
        raise NotFound(f"policy {identifier}", reason, "see the list of policies")
    if not guest.may(Role.EDITOR):
        if form is not None:
            guest.access.require(Role.EDITOR)
        return _readable(request, guest, scoped, found[0])
    editor = Editor(request=request, guest=guest, scoped=scoped, stored=found[0])
    if form is not None:
        return editor.respond(form, read_draft(form, identifier))
    return editor.show(begin(found[0].policy, version=found[0].version))


@dataclass(frozen=True, kw_only=True)
class Editor:
    """A request for a page with a form; without a stored policy, of a new one."""

    request: Request
    guest: Guest
    scoped: Scope
    stored: StoredPolicy | None

    @property
    def names(self) -> bool:
        """Whether an identifier can be chosen."""
        return self.stored is None and not self.guest.access.limited

    def respond(self, form: FormData, draft: Draft) -> Response:
        """The response to a form: saving leads to the page of the policy; all else shows the draft."""
        if form.get("do") != "save":
            return self.show(draft, ahead=form.get("do") == "foresee")
        given = {name: str(form.get(name, "")) for name in ("shown", "confirm")}
        return answer(lambda: self._save(draft, given), lambda error: self.show(draft, error))

    def _save(self, draft: Draft, given: dict[str, str]) -> str:
        """Save a draft; returns where that leads. What it removes must have been shown, and confirmed."""
        policy, stored = draft.policy, self.stored
        changes = changes_of(draft.base or policy, policy)
        if stored and not changes:
            raise InvalidInput("this policy", "there is nothing to save", "change it first")
        found = self._preview(policy)
        if found.losses:
            if given["shown"] != digest(found):
                raise Conflict("the effect", "is not the one that was shown", "check it again")
            parts.require_word(given, _word(policy))
        if stored is None:
            return f"{links.policy(self.scoped.create(policy).id)}?saved=1"
        saved = self.scoped.change(stored.id, changes, draft.version)
        return f"{links.policy(saved.id)}?saved={saved.version}"

    def _is_outdated(self, draft: Draft) -> bool:
        """Whether another user has changed the policy since the form was loaded."""
        return self.stored is not None and self.stored.version != draft.version

    def _preview(self, policy: Policy) -> Preview:
        """What the next run would do; the identifier of a new policy could stand for the one that has it."""
        return self.scoped.preview(policy if self.stored else policy.model_copy(update={"id": None}))

    # The page

    def show(self, draft: Draft, error: RetentionError | None = None, ahead: bool = False) -> Response:
        """The page with a draft, why it was not saved, and perhaps with the forecast for it."""
        values = draft.values
        schema, name = str(values["table_schema"]), str(values["table_name"])
        columns = [column.strip() for column, _ in draft.rows("where")]
        found = self.scoped.suggestions(schema, name, [column for column in columns if column])
        policy: Policy | None = None
        refused: RetentionError | None = None
        effect: Preview | None = None
        try:
            policy = draft.policy
            if self.stored is None:
                self.scoped.make(policy)
            effect = self._preview(policy)
        except RetentionError as problem:
            if policy is not None:
                refused = public(problem, self.guest.may(Role.ADMIN))
                effect = self._preview(policy) if isinstance(problem, Conflict) else None
        title = self.stored.policy.title if self.stored else "New policy"
        return layout.page(
            self.request,
            title,
            lanes.patterns(),
            self._top(title),
            self._form(draft, found, _Outcome(policy=policy, effect=effect, refused=refused, error=error), ahead),
            _history(self.scoped, self.stored) if self.stored else None,
            el("script", src=f"{PREFIX}/static/editor.js?{__version__}", defer=True),
            who=self.guest.who,
            here=_LIST,
            status=error.http_status if error else HTTPStatus.OK,
        )

    def _top(self, title: str) -> Markup:
        stored = self.stored
        actions = _links(self.guest, self.scoped, stored.policy) if stored else None
        return _top(title, stored.policy if stored else None, el("div", actions, class_="actions"))

    def _form(self, draft: Draft, found: Suggestions, outcome: _Outcome, ahead: bool) -> Markup:
        query = self.request.url.query if self.stored is None else ""
        path = raw_path(self.request.scope) + (f"?{query}" if query else "")
        saved = self.request.query_params.get("saved") == str(self.stored.version) if self.stored else False
        kept = {
            "base": write_base(draft.base),
            "version": str(draft.version) if draft.version else "",
            "left": draft.view,
        }
        discard = el("button", "Discard them", type="button", class_="link", data_discard=True)
        return el(
            "form",
            # Enter in a field does this.
            el("button", "Refresh", type="submit", name="do", value="preview", hidden=True),
            parts.hidden(kept),
            self._saved() if saved and not draft.dirty else None,
            # Scripts show it.
            el("p", "Your unsaved changes are back. ", discard, class_="done", hidden=True, id="restored"),
            self._outdated(draft),
            el(
                "div",
                self._written(draft, found, outcome),
                el("div", self._ahead(outcome, ahead), id="ahead"),
                class_="written",
            ),
            el("aside", self._impact(draft, found, outcome, path), class_="impact", aria_label="Effect", id="impact"),
            method="post",
            action=path,
            class_="draft",
            novalidate=True,  # A field that is wrong must not keep the others from being read.
            data_draft=path,
            data_dirty=draft.dirty,
        )

    def _saved(self) -> Markup | None:
        """That it is saved, and what comes next."""
        if self.stored is None:
            return None
        plan = el("a", "See the plan", href=address("/plan", {"policy": self.stored.id}))
        then = plan if self.stored.policy.enabled else el("span", "Runs skip it until you enable it.")
        return el("p", el("span", "Saved."), " ", then, class_="done", role="status")

    @staticmethod
    def _notices(path: str) -> Iterator[Markup]:
        """What scripts show: that the service does not answer, or not yet; beside Save, which stays in view."""
        login = el("a", "Log in again", href=f"{links.LOGIN}?{_query(to=path)}")
        lost = "The service did not answer, or your session is over. What you wrote is kept in this browser. "
        yield el("p", lost, login, class_="error", role="alert", hidden=True, id="lost")
        waiting = "The service has not answered yet. What you wrote is kept in this browser."
        yield el("p", waiting, class_="running", role="status", hidden=True, id="waiting")

    def _outdated(self, draft: Draft) -> Markup | None:
        """What another user changed meanwhile, beside what is in the form."""
        if not self._is_outdated(draft) or self.stored is None:
            return None
        try:
            mine = draft.policy
        except InvalidInput:
            mine = draft.base or self.stored.policy
        states = [policy.model_dump(mode="json") for policy in (draft.base or mine, self.stored.policy, mine)]
        columns: Sequence[Column[Difference]] = (
            Column("Field", lambda each: ATTRIBUTES[each.attribute].called),
            Column("When you began", lambda each: each.words[0]),
            Column("Now, by another user", lambda each: each.words[1]),
            Column("As you wrote it", lambda each: each.words[2]),
        )
        title, caption = "Another user has changed this policy in the meantime", "What differs"
        rows = parts.table(columns, differences(*states), caption)
        load = el("a", "Load the present policy", href=links.policy(self.stored.id), class_="button", data_discard=True)
        told = parts.note("It cannot be saved over that change. Loading the present policy discards your changes.")
        return el(
            "section", el("h2", title), rows, told, load, class_="why is-blocked stack", role="alert", id="conflict"
        )

    # What is written

    def _written(self, draft: Draft, found: Suggestions, outcome: _Outcome) -> Iterator[Markup]:
        buttons = (
            el("button", title, type="submit", name="view", value=view, aria_pressed=str(view == draft.view).lower())
            for view, title in VIEWS.items()
        )
        yield el("div", buttons, class_="tabs", role="group", aria_label="The policy as")
        views = {"form": self._fields(draft, found, outcome), "yaml": _yaml(draft), "command": _command(draft)}
        for view, content in views.items():
            yield el("div", content, id=f"view-{view}", class_="stack", hidden=view != draft.view)

    def _fields(self, draft: Draft, found: Suggestions, outcome: _Outcome) -> Iterator[Child]:
        fields = Fields(draft=draft, found=found, names=self.names, everywhere=outcome.error is not None)
        general = draft.mistakes.get("")
        yield el("p", general, class_="mistake", role="alert") if general else None
        yield fields.section(Group.TABLES, fields.table())
        unused = left_out(draft.base, str(draft.values["strategy"])) if draft.base else []
        dropped = ", ".join(field.called for field in unused)
        told = f"This strategy has no use for: {dropped}. It is cleared when you save." if dropped else ""
        yield fields.section(Group.LIFE, fields.strategies(), parts.note(told) if told else None, self._life(outcome))
        yield fields.section(Group.SCHEDULE, self._times(draft))
        yield fields.section(Group.MORE)

    def _life(self, outcome: _Outcome) -> Markup | None:
        """The life of the data, with this policy and the others."""
        policy = outcome.policy
        if policy is None or isinstance(outcome.refused, Forbidden):
            return None
        drawn = policy.model_copy(update={"enabled": True})
        known = self.scoped.lifecycles(TableName(policy.table_schema or "", policy.table_name), drawn)
        return next((draw(each) for each in known if each.where == policy.where), None)

    def _times(self, draft: Draft) -> Markup:
        stored, values = self.stored, draft.values
        known = to_values(stored.policy) if stored else {}
        if stored and all(values[name] == known[name] for name in _SCHEDULE):
            listing = self.scoped.listing(Selection(policy_id=stored.id))
            return _next_runs(values, listing.now, listing.times.get(stored.id))
        return _next_runs(values, self.scoped.now)

    # What it does

    def _impact(self, draft: Draft, found: Suggestions, outcome: _Outcome, path: str) -> Iterator[Markup]:
        effect, policy = outcome.effect, outcome.policy
        changed = _changed(draft, policy)
        # What is saved already needs no word.
        losing = bool(effect and effect.losses) and (self.stored is None or bool(changed))
        verdict: list[Child] = [el("h2", "Impact preview")]
        if outcome.error is not None and outcome.refused is None:
            verdict.append(parts.problem(outcome.error))
        if outcome.refused is not None:
            verdict.append(_refusal(outcome.refused, effect))
        if effect is not None:
            verdict.append(el("div", headline(effect), class_="headline"))
        elif policy is None:
            verdict.append(el("p", _incomplete(draft), class_="lead"))
        refused = outcome.refused is not None or self._is_outdated(draft)
        ends = (
            self._confirmation(effect) if effect and losing and not refused else None,
            el(
                "div",
                el(
                    "button",
                    "Save" if self.stored else "Create policy",
                    type="submit",
                    name="do",
                    value="save",
                    class_="danger" if losing and not refused else "primary",
                    disabled=refused,
                ),
                el("button", "Refresh", type="submit", name="do", value="preview"),
                el("a", "Cancel", href=links.policies()),
                class_="ends",
            ),
        )
        told = changed or (parts.note("Nothing is changed yet.") if self.stored and policy else None)
        content = (el("div", verdict, aria_live="polite"), self._notices(path), told, ends)
        yield el("div", content, class_="card verdict", id="verdict")
        if effect is not None:
            yield el("div", self._picture(effect, found), details(effect), class_="card more-effect", id="more-effect")

    def _ahead(self, outcome: _Outcome, asked: bool) -> Markup | None:
        """How much data there will be, with and without the draft; on request, since that takes longer."""
        if outcome.policy is None or outcome.effect is None:
            return None
        if not asked:
            show = el("button", "Forecast the next year with this draft", type="submit", name="do", value="foresee")
            return el("p", show)
        try:
            return what_if.section(self.scoped, [outcome.policy])
        except RetentionError as error:
            return parts.problem(public(error, self.guest.may(Role.ADMIN)))

    @staticmethod
    def _confirmation(effect: Preview) -> Iterator[Markup]:
        """The field that confirms what is shown; another effect has another field, so that its text is gone."""
        shown = digest(effect)
        yield el("input", type="hidden", name="shown", value=shown, id=f"s-{shown}")
        yield el("div", parts.confirmation(_word(effect.policy), focus=False), id=f"c-{shown}", data_typed=True)

    def _picture(self, effect: Preview, found: Suggestions) -> Markup | None:
        """The table over time, with what the next run would do to it."""
        if len(found.matches) != 1:
            return None
        try:
            timeline = self.scoped.previewed(effect.if_enabled or effect, found.matches[0])
        except RetentionError:
            return None
        whole = lanes.window(timeline)
        return None if whole is None else lanes.picture(timeline, whole, None, about, summary, bare=True)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of a draft."""

    policy: Policy | None  # None: it is none.
    effect: Preview | None
    refused: RetentionError | None  # Why it could not be saved.
    error: RetentionError | None  # Why it was not saved.


def _query(**values: str) -> str:
    return address("", values).partition("?")[2]


def _word(policy: Policy) -> str:
    """What confirms that data is removed: the name of the table, without blanks around it."""
    return " ".join(policy.table_name.split()) or "save"


def _top(title: str, policy: Policy | None, actions: Markup) -> Markup:
    crumbs = el("nav", el("a", "Policies", href=links.policies()), class_="crumbs", aria_label="Breadcrumb")
    chip = parts.bit(state("enabled" if policy.enabled else "disabled")) if policy else None
    identifier = el("span", policy.id, class_="mono muted") if policy else None
    titled = el("div", el("h1", title, id="title"), chip, identifier, class_="titled")
    return el("div", el("div", crumbs, titled), actions, class_="top")


def _links(guest: Guest, scoped: Scope, policy: Policy) -> Iterator[Markup]:
    """Where there is more about a policy, and what can be done."""
    identifier, schema = policy.id or "", policy.table_schema or scoped.visibility.default_schema
    if not is_pattern(policy.table):
        yield parts.action("Table", links.table(TableName(schema, policy.table_name)))
    label = "Run now …" if guest.may(Role.OPERATOR) else "Preview the next run"
    yield parts.action(label, address("/plan", {"policy": identifier}))
    yield parts.action("History", links.activity(policy=identifier))
    if guest.may(Role.EDITOR):
        yield parts.action("Copy", links.new_policy(identifier))


def _incomplete(draft: Draft) -> str:
    """What is missing, or wrong, before there is an effect."""
    if draft.error is not None:
        return "The YAML is not a policy yet."
    called = {"table_schema": "Table", "table_name": "Table"}
    found = {True: list[str](), False: list[str]()}
    for name in draft.mistakes:
        if name:
            found[draft.values[name] == ""].append(called.get(name, FIELDS[name].called))
    texts = (("Fill in", found[True]), ("Correct", found[False]))
    said = "; ".join(f"{verb}: {', '.join(dict.fromkeys(names))}" for verb, names in texts if names)
    return f"{said}. Then the effect is shown here." if said else "This is not a policy yet."


def _refusal(refused: RetentionError, effect: Preview | None) -> Markup:
    """Why a draft cannot be saved, with links to the policies that are in the way."""
    twins = [each for ids in (effect.conflicts.values() if effect else ()) for each in ids if each]
    found = dict.fromkeys(twins) if isinstance(refused, Conflict) else {}
    ways = [el("a", f"Open policy {short(each)}", href=links.policy(each)) for each in found]
    told = RetentionError(f"cannot be saved: {refused.thing}", refused.reason, "" if ways else refused.remedy)
    return el("div", parts.problem(told), [el("p", way) for way in ways], class_="stack", id="refused")


def _changed(draft: Draft, policy: Policy | None) -> Markup | None:
    """What saving would change."""
    if not draft.identifier or draft.base is None or policy is None:
        return None
    found = [each for each in differences(draft.base.to_dict(), policy.to_dict()) if each.attribute != "id"]
    if not found:
        return None
    lines = (
        el(
            "li",
            el("b", ATTRIBUTES[each.attribute].called),
            " ",
            el("del", each.words[0]),
            " → ",
            el("ins", each.words[1]),
        )
        for each in found
    )
    return el("ul", lines, class_="changes", aria_label="Changes")


def _yaml(draft: Draft) -> Iterator[Child]:
    yield parts.problem(draft.error) if draft.error is not None else None
    area = el("textarea", draft.yaml, name="yaml", rows=24, spellcheck="false", class_="mono", id="i-yaml")
    yield el(
        "label",
        el("span", "The policy as a file, as apply reads it; it can be changed here, too"),
        area,
        class_="field wide",
    )


def _command(draft: Draft) -> Markup:
    try:
        text = draft.command
    except InvalidInput:
        return parts.note("This is not a policy yet.")
    return el("pre", text, class_="mono card") if text else parts.note("Nothing is changed yet.")


def _next_runs(values: dict[str, str | bool], now: dt.datetime, first: dt.datetime | None = None) -> Markup:
    """When a policy runs next, by what is written; ``first``: what is known of a stored one."""
    if not values["enabled"]:
        return parts.note("Runs skip this policy while it is disabled.")
    if not str(values["schedule"]).strip():
        return parts.note("Manual only: it runs when a user starts it.")
    try:
        schedule, zone = parse_schedule(values["schedule"]), parse_time_zone(str(values["time_zone"])).key
    except InvalidInput:
        return parts.note("The next runs are shown once the schedule is valid.")
    times = list(islice(_slots(schedule, zone, max(filter(None, (first, now)))), _TIMES))
    found = list(dict.fromkeys([*([first] if first else []), *times]))[:_TIMES]
    if not found:
        return parts.note("No run in the next fifty years.")
    rest = [(", then " if number else "; then ", _moment(time)) for number, time in enumerate(found[1:])]
    jitter = str(values["jitter"]).strip()
    late = f", each up to {jitter} later" if jitter else ""
    return el(
        "p", f"Next run {next_words(found[0], now)}: ", _moment(found[0]), rest, f"{late}.", class_="note", id="times"
    )


def _moment(time: dt.datetime) -> Child:
    return f"{time.astimezone(dt.UTC):%a} ", parts.moment(time)


def _slots(schedule: str, zone: str, now: dt.datetime) -> Iterator[dt.datetime]:
    slot = following(schedule, zone, now)
    while slot is not None:
        yield slot
        slot = following(schedule, zone, slot)


# For those who may not change it.


def _readable(request: Request, guest: Guest, scoped: Scope, stored: StoredPolicy) -> Response:
    """A policy in words, with the life of its data, its effect and its history."""
    policy, title = stored.policy, stored.policy.title
    listing = scoped.listing(Selection(policy_id=stored.id))
    known = scoped.lifecycles(TableName(policy.table_schema or "", policy.table_name))
    life = next((draw(each) for each in known if each.where == policy.where), None)
    facts = parts.facts((called, el("span", text, class_="many")) for called, text in summary_of(to_values(policy)))
    times = _next_runs(to_values(policy), listing.now, listing.times.get(stored.id))
    table = TableName(policy.table_schema or guest.context.retention.default_schema, policy.table_name)
    plan = scoped.prepare(Selection(policy_id=stored.id), about=None if is_pattern(policy.table) else table)
    lists = Lists(links.policy(stored.id), request.query_params)
    file = el(
        "details", el("summary", "The policy as YAML"), el("pre", dump_policies([policy]), class_="mono"), class_="card"
    )
    content = (
        el("div", lanes.patterns(), life, facts, times, class_="card stack"),
        parts.section("Effect", el("p", effect_of(plan.plan), class_="lead"), list(what_is_blocked(plan, lists))),
        Review(plan).section("run", lists, acts=False),
        _history(scoped, stored),
        file,
    )
    top = _top(title, policy, el("div", _links(guest, scoped, policy), class_="actions"))
    panel = el("div", content, id="panel")
    return layout.page(request, title, top, panel, who=guest.who, here=_LIST)


def _history(scoped: Scope, stored: StoredPolicy) -> Markup:
    """The last changes of a policy."""
    rows = scoped.journal(JournalFilter(policies=frozenset({stored.id}), events=_CHANGES, limit=_HISTORY))
    columns = [column for column in audit.ENTRIES if column.label in ("Time", "Event", "By")]
    none = parts.note("No changes are recorded.")
    caption = "Changes, newest first"
    shown = parts.table(columns, rows, caption, below=audit.details) if rows else none
    runs = el("p", el("a", "Runs of this policy", href=links.runs(policy=stored.id)))
    return el("section", el("h2", "History"), shown, runs, id="history", class_="stack")
