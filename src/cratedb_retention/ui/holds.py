"""
Legal holds: those in force, and forms that place and release them, which say first what that would mean. Search, order
and what is asked stand in the address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.errors import InvalidInput, NotFound, RetentionError
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import HoldKind, LegalHold, hold_scope, hold_values
from cratedb_retention.model.policies.patterns import is_pattern, parse_table
from cratedb_retention.model.policies.policy import mentions
from cratedb_retention.model.time import TimeRange, from_ms, parse_instant, to_ms
from cratedb_retention.model.words import capitalized, plural, read_pairs, readable, short
from cratedb_retention.service.access import More, Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, answer, chosen_action, read_texts, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, in_order, time_range, whole
from cratedb_retention.ui.links import PREFIX, Query, address, hold_bit, table_bit
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/holds"
_PATH = f"{PREFIX}{PATH}"
LONGEST_REASON = 1000
_KINDS = {HoldKind.LEGAL: "legal", HoldKind.RESTORED: "restored data"}
_NAMED, _OFFERED = 3, 500  # Tables of a pattern that are named, and those that are suggested.
_KEPT = ("q", "kind", "sort")


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _show(request, _Visit(guest, scoped, Query(request.query_params))))


@ROUTER.post(_PATH)
async def act(request: Request) -> Response:
    """Do what a form says. That it came from a page of this service, the gate has checked."""
    form = await request.form()
    given = read_texts(form)
    named = [value for value in form.getlist("hold") if isinstance(value, str)]

    def work(guest: Guest, scoped: Scope) -> Response:
        visit = _Visit(guest, scoped, Query(request.query_params), given, named)
        return answer(lambda: chosen_action(ACTIONS, given)(visit), lambda error: _show(request, visit.again(), error))

    return await asyncio.to_thread(respond, request, work)


def _read_table(text: str) -> TableName:
    if not text:
        raise InvalidInput("table", "no table is named", "name one, or use a pattern such as metrics_*")
    return parse_table(text, default_schema="")


def _read_instant(text: str) -> int | None:
    return to_ms(parse_instant(text)) if text else None


def _read_values(text: str) -> Mapping[str, str | None]:
    pairs = read_pairs("values", [line.strip() for line in text.splitlines() if line.strip()])
    empty = [column for column, value in pairs.items() if value == ""]
    if empty:  # It is most likely not written to its end, and such a hold would protect nothing.
        raise InvalidInput(", ".join(empty), "no value is written", "write tenant=acme, or tenant=NULL for SQL's NULL")
    return pairs


def _read_reason(text: str) -> str:
    if len(text) > LONGEST_REASON:
        raise InvalidInput("reason", f"longer than {LONGEST_REASON:,} characters", "write less")
    return text


# The fields of the form of a hold, and what reads them.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "table": _read_table,
    "from": _read_instant,
    "until": _read_instant,
    "where": _read_values,
    "reason": _read_reason,
}


def _read(given: Mapping[str, str], table: TableName | None) -> tuple[dict[str, Any], dict[str, InvalidInput]]:
    """What the fields of a form say, and what is wrong with them; see :func:`read_wish`."""
    values: dict[str, Any] = {"table": table} if table else {}
    mistakes: dict[str, InvalidInput] = {}
    for name in (name for name in _READERS if name not in values):
        text = given.get(name, "").strip()
        try:
            if "\x00" in text:
                raise InvalidInput(name, "is not text", "write it again")
            values[name] = _READERS[name](text)
        except InvalidInput as mistake:
            mistakes[name] = mistake
    start, end = values.get("from"), values.get("until")
    if start is not None and end is not None and start >= end:
        mistakes["until"] = InvalidInput("until", "is not after from", "swap the two, or leave one empty")
    return values, mistakes


def read_wish(given: Mapping[str, str], table: TableName | None = None, default_schema: str = "") -> LegalHold:
    """
    The hold that a form describes; raises the first of its mistakes, see :func:`find_mistakes`.

    :param given: ``table``, ``where`` (a pair in each line), ``from``, ``until``, ``reason``.
    :param table: Its table, if the form has no field for it.
    """
    values, mistakes = _read(given, table)
    for mistake in mistakes.values():
        raise mistake
    found: TableName = values["table"]
    return LegalHold(
        id="",
        table_schema=found.schema or default_schema,
        table_name=found.name,
        where=values["where"],
        start=values["from"],
        end=values["until"],
        reason=values["reason"],
    )


def find_mistakes(given: Mapping[str, str], table: TableName | None = None) -> dict[str, str]:
    """What is wrong with the fields of a form, by their names: all of it."""
    return {name: capitalized(str(mistake)) for name, mistake in _read(given, table)[1].items()}


def write_fields(value: Callable[[str], str], wrong: Mapping[str, str]) -> Iterator[Markup]:
    """The fields of a form of a hold but for its table, with what stands in them, and what is wrong with it."""

    def field(name: str, label: str, hint: str) -> Markup:
        return parts.field(name, label, value(name), hint, wrong=wrong.get(name, ""))

    def area(name: str, label: str, hint: str) -> Markup:
        return parts.area(name, label, value(name), hint, wrong.get(name, ""))

    yield field("from", "From (UTC)", "empty: all before")
    yield field("until", "Until (UTC)", "empty: without end")
    yield area("where", "Only with these values", "column=value, one in each line")
    yield area("reason", "Reason", "a case number, a name")


def place(scoped: Scope, wish: LegalHold) -> LegalHold:
    start, end = (None if at is None else from_ms(at) for at in (wish.start, wish.end))
    return scoped.place(wish.table_name, wish.table_schema or None, wish.where, start, end, wish.reason)


# Releasing, here and on the page of a table


def release_form(scoped: Scope, holds: Sequence[LegalHold], back: str) -> Markup:
    """What releasing holds would mean; if data would go, a word confirms it."""
    found = scoped.find_release(*(hold.id for hold in holds))
    alone = len(holds) == 1
    content = (
        el("p", _release_words(holds, found), class_="many"),
        [el("input", type="hidden", name="hold", value=hold.id) for hold in holds],
        None if found.same else parts.confirmation(_word(holds)),
    )
    action = "Release the hold" if alone else f"Release {len(holds):,} holds"
    tone = "primary" if found.same else "danger"
    title = "Release this hold?" if alone else f"Release {len(holds):,} holds?"
    form = parts.form("release", *content, action=action, tone=tone, back=back, focus=found.same)
    return parts.section(title, form, identifier="release")


def release(scoped: Scope, holds: Sequence[LegalHold], given: Mapping[str, str]) -> None:
    """Release them, after a word was typed if data would go."""
    scoped.access.require(Role.OPERATOR)
    if not scoped.find_release(*(hold.id for hold in holds)).same:
        parts.require_word(given, _word(holds))
    for hold in holds:
        scoped.release(hold.id)


def undo_form(identifiers: Iterable[str]) -> Markup:
    """A button that undoes the release of holds."""
    named = [el("input", type="hidden", name="hold", value=each) for each in identifiers]
    return el("form", parts.hidden({"do": "renew"}), named, el("button", "Undo", type="submit"), method="post")


def _word(holds: Sequence[LegalHold]) -> str:
    return holds[0].target if len(holds) == 1 else "release"


def _release_words(holds: Sequence[LegalHold], found: More) -> str:
    ended = [f"The hold on {_shown(hold_scope(hold))} ends." for hold in holds[:_NAMED]]
    if len(holds) > _NAMED:
        ended.append(f"And {len(holds) - _NAMED:,} more.")
    same, takes = "Nothing changes for the next run.", f"As things are, the next run would take {_many(found)} more."
    then = same if found.same else takes
    after = "From the next run on, policies may expire this data again. Until it starts, the release can be undone."
    return "\n".join([*ended, after, then])


def _many(found: More) -> str:
    counts = ((found.partitions, "partition"), (found.rows, "row"))
    return " with ".join(plural(count, noun) for count, noun in counts if count) or "data"


# The page


class _Visit:
    """
    A request for the page.

    :param given: What stood in a form that was sent, and the holds that it ``named``.
    """

    def __init__(
        self,
        guest: Guest,
        scoped: Scope,
        query: Query,
        given: Mapping[str, str] | None = None,
        named: Collection[str] = (),
    ) -> None:
        self.guest, self.scoped, self.query = guest, scoped, query
        self.given, self.named = given or {}, named

    def again(self) -> _Visit:
        """The same request, which reads the holds again."""
        return _Visit(self.guest, self.scoped, self.query, self.given, self.named)

    def get(self, name: str) -> str:
        return self.query.get(name, "").strip()

    def to(self, **changes: str) -> str:
        """The list with the same filters, and changes."""
        return address(PATH, {**{name: self.get(name) for name in _KEPT}, **changes})

    @property
    def acts(self) -> bool:
        return self.guest.may(Role.OPERATOR)

    @cached_property
    def holds(self) -> Sequence[LegalHold]:
        return self.scoped.holds()

    @cached_property
    def matching(self) -> Sequence[LegalHold]:
        kind = self.get("kind")
        found = [hold for hold in self.holds if kind in ("", hold.kind) and mentions(_texts(hold), self.get("q"))]
        return in_order(_LISTED, found, self.get("sort"))

    @property
    def chosen(self) -> Sequence[LegalHold]:
        """The holds that a form names, or the address; or all that match if it asks for all."""
        if self.get("all") and not self.named:
            return self.matching
        wanted = frozenset(self.named or self.query.getlist("hold"))
        return [hold for hold in self.holds if hold.id in wanted]

    @cached_property
    def first(self) -> int:
        """The place of the first row that is shown."""
        return links.read_first(self.query)

    def field(self, name: str) -> str:
        """What stands in a field of the form of a new hold."""
        return self.given.get(name, self.query.get(name, "")).strip()

    @property
    def wish(self) -> LegalHold:
        """The hold that this form describes."""
        return read_wish(self._fields, default_schema=self.guest.context.retention.default_schema)

    @property
    def mistakes(self) -> Mapping[str, str]:
        """What is wrong with the form, once it was sent."""
        sent = self.given.get("do") == "place" or self.get("place") == "preview"
        return find_mistakes(self._fields) if sent else {}

    @property
    def _fields(self) -> Mapping[str, str]:
        return {name: self.field(name) for name in _READERS}


def _texts(hold: LegalHold) -> tuple[str, ...]:
    return hold.id, hold_scope(hold), hold.reason, hold.placed_by


def _show(request: Request, visit: _Visit, error: RetentionError | None = None) -> Response:
    """The page; with what was wrong with a form that was sent."""
    offers = visit.acts and not visit.get("place")
    new = parts.action("Place hold …", visit.to(place="yes"), "primary") if offers else None
    top = el("div", el("h1", "Holds"), el("div", new, class_="actions"), class_="top")
    panel = el("div", parts.problem(error) if error else None, _content(visit, error), id="panel")
    status, who = error.http_status if error else HTTPStatus.OK, visit.guest.who
    return layout.page(request, "Holds", top, panel, who=who, here=PATH, status=status)


def _content(visit: _Visit, error: RetentionError | None) -> Iterator[Child]:
    """What is asked, in place of the list."""
    if visit.acts and (visit.get("place") or visit.given.get("do") == "place"):
        yield _place_form(visit, error)
        return
    if visit.acts and (visit.get("act") == "release" or visit.given.get("do") == "release"):
        if visit.chosen:
            yield release_form(visit.scoped, visit.chosen, visit.to())
            return
        none = InvalidInput("holds", "none is chosen", "choose some, or all that match")
        yield parts.problem(none) if error is None else None
    yield _done(visit) if error is None else None
    yield _filters(visit)
    yield el("div", _list(visit), id="list", class_="stack")


def _done(visit: _Visit) -> Markup | None:
    """What was done, and how to undo it."""
    done, named = visit.get("done"), visit.query.getlist("hold")
    if done == "place" and (hold := next((each for each in visit.holds if each.id in named), None)):
        tables = visit.scoped.held_tables([hold]).get(hold.id, [])
        nothing = f" No table matches {hold.target} at present; check the name."
        undo = el("a", "Undo …", href=visit.to(act="release", hold=hold.id))
        return el(
            "p", "The legal hold is in force.", None if tables else nothing, " ", undo, class_="done", role="status"
        )
    if done == "release":
        many = "The legal hold is released." if len(named) == 1 else f"{len(named):,} legal holds are released."
        return el("div", many, " ", undo_form(named) if visit.acts else None, class_="done", role="status")
    return el("p", "The legal hold is in force again.", class_="done", role="status") if done == "renew" else None


def _filters(visit: _Visit) -> Markup:
    kinds = {"": "any", **{str(kind): text for kind, text in _KINDS.items()}}
    return parts.filters(
        address(PATH, {}),
        address(PATH, {}),
        parts.hidden({"sort": visit.get("sort")}),
        parts.field("q", "Search", visit.get("q"), "table, reason, user"),
        parts.select("kind", "Kind", kinds, visit.get("kind")),
    )


def _list(visit: _Visit) -> Iterator[Child]:
    if not visit.holds:
        yield parts.note("No hold is in force: policies alone decide what stays.")
        return
    if not visit.matching:
        yield parts.note("No holds match.")
        return
    shown, ways = parts.part(visit.matching, visit.first, lambda at: visit.to(first=str(at)))
    tables = visit.scoped.held_tables(shown)
    choose = Column[LegalHold](
        "Choose", lambda hold: parts.choice("hold", hold.id, f"Choose the hold on {hold.target}")
    )
    columns = [
        replace(each, cell=lambda hold: _tables(hold, tables)) if each.label == "Table" else each for each in _LISTED
    ]
    sorts = parts.sorter(visit.get("sort"), lambda by: visit.to(sort=by))

    def actions(hold: LegalHold) -> Child:
        href = visit.to(act="release", hold=hold.id)
        return el("a", "Release …", href=href, aria_label=f"Release the hold on {hold.target}")

    rows = parts.table(
        [choose, *columns] if visit.acts else columns,
        shown,
        "Holds in force",
        actions=actions if visit.acts else None,
        head=lambda column: (parts.choices("hold"), None) if column is choose else sorts(column),
    )
    yield el("p", f"{plural(len(visit.matching), 'hold')} in force.", class_="lead")
    yield parts.note("What a hold covers is never expired, moved or archived, and archives of it are not deleted.")
    if visit.acts:
        kept = parts.hidden({name: visit.get(name) for name in _KEPT})
        button = el("button", "Release …", type="submit", name="act", value="release")
        bar = parts.chooser("holds", len(visit.matching), button)
        yield el("form", kept, bar, rows, method="get", action=address(PATH, {}), class_="stack", data_load=True)
    else:
        yield rows
    yield ways


def _place_form(visit: _Visit, error: RetentionError | None) -> Markup:
    """A new hold; on request with what it would mean."""
    offers, wrong = map(str, visit.scoped.suggestions().tables[:_OFFERED]), visit.mistakes
    preview = el("button", "Preview", type="submit", name="place", value="preview", formmethod="get")
    form = parts.form(
        "place",
        parts.note("Keep data for a case, an audit or an inquiry, whatever the policies say, until you release it."),
        parts.field(
            "table",
            "Table",
            visit.field("table"),
            "schema.table, or a pattern like doc.metrics_*",
            "wide",
            offers,
            True,
            wrong.get("table", ""),
        ),
        write_fields(visit.field, wrong),
        _meaning(visit) if visit.get("place") == "preview" and not error and not wrong else None,
        action="Place the hold",
        tone="primary",
        more=preview,
        back=visit.to(),
    )
    return parts.section("Place a hold", form, identifier="place")


def _meaning(visit: _Visit) -> Markup:
    """What the hold would cover, and keep from the next run."""
    wish = visit.wish
    found, tables = visit.scoped.find_placing(wish), visit.scoped.held_tables([wish]).get("", [])
    now = ", ".join(map(str, tables[:_NAMED])) + (f" and {len(tables) - _NAMED:,} more" if len(tables) > _NAMED else "")
    kept = "Nothing that it covers is due now." if found.same else f"The next run would take {_many(found)} less."
    said = (
        f"Covers {_shown(hold_scope(wish))}.",
        f"Tables now: {now}." if tables else f"No table matches {wish.target} at present; check the name.",
        kept,
    )
    return el("div", el("ul", (el("li", each) for each in said), class_="reasons"), role="status")


def _place(visit: _Visit) -> str:
    return visit.to(done="place", hold=place(visit.scoped, visit.wish).id)


def _release(visit: _Visit) -> str:
    if not visit.named or {hold.id for hold in visit.chosen} != set(visit.named):
        raise NotFound("hold", "is not in force", "load the page again")
    release(visit.scoped, visit.chosen, visit.given)
    return _done_with(visit, "release")


def _renew(visit: _Visit) -> str:
    for identifier in visit.named:
        visit.scoped.renew(identifier)
    return visit.to(done="renew")


def _done_with(visit: _Visit, done: str) -> str:
    kept = [(name, visit.get(name)) for name in _KEPT]
    return address(PATH, Query([*kept, ("done", done), *(("hold", each) for each in visit.named)]))


# What forms do, by their names; each returns where that is shown.
ACTIONS: Mapping[str, Callable[[_Visit], str]] = {"place": _place, "release": _release, "renew": _renew}


def _tables(hold: LegalHold, tables: Mapping[str, Sequence[TableName]]) -> Cell:
    """The tables that a hold covers at present."""
    found = tables.get(hold.id, [])
    name = [Bit(text=hold.target, tone="whole")] if is_pattern(hold.target) or not found else []
    more = [Bit(text=f"and {len(found) - _NAMED:,} more", tone="muted")] if len(found) > _NAMED else []
    none = [] if found else [Bit(text="no such table now", tone="badge is-nowhere")]
    return [*name, *map(table_bit, found[:_NAMED]), *more, *none]


def _shown(text: str) -> str:
    """Days as such: holds on restored partitions name the first instant."""
    return readable(text.replace("T00:00:00+00:00", ""))


def _actor(hold: LegalHold) -> Bit:
    return Bit(text=f"by {hold.placed_by.partition(' (token')[0]}", tone="muted", hint=hold.placed_by)


COLUMNS: Sequence[Column[LegalHold]] = (
    Column("Hold", lambda hold: hold_bit(hold.id, f"{hold.kind} hold {short(hold.id)}"), lambda hold: str(hold.kind)),
    Column(
        "Reason", lambda hold: Bit(text=hold.reason or "no reason was given", tone="many" if hold.reason else "muted")
    ),
    Column(
        "Time (UTC)",
        lambda hold: time_range(TimeRange.of(hold.start, hold.end)) or "all",
        lambda hold: hold.start,
    ),
    Column("Only where", lambda hold: _shown(hold_values(hold, ", "))),
    Column(
        "Placed",
        lambda hold: [whole(words.moment(hold.placed_at)), _actor(hold)],
        lambda hold: hold.placed_at,
    ),
)
_LISTED: Sequence[Column[LegalHold]] = (
    Column("Table", lambda hold: hold.target, lambda hold: hold.target),
    *COLUMNS,
)
