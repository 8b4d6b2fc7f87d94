"""
The archive: the snapshots that the toolkit made and their condition, and what can be done with chosen ones: verifying,
restoring and deleting them, after a preview of exactly that. Filters, order and choice stand in the address.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.errors import Forbidden, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preview import WORST_FIRST, ArchiveLine
from cratedb_retention.model.access import Role
from cratedb_retention.model.archive import SnapshotPlace
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.patterns import parse_table
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.service.runs import OperationState
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, answer, chosen_action, read_texts, respond
from cratedb_retention.ui.archive.columns import COLUMNS, DELETABLE, RESTORABLE
from cratedb_retention.ui.archive.operations import Deletion, Restoration, fingerprint, listing, recent_operations
from cratedb_retention.ui.columns import Column, in_order, state
from cratedb_retention.ui.links import PREFIX, TAGS, Query, address, read_tags
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/archive"
_PATH = f"{PREFIX}{PATH}"
MOST = 1_000  # Snapshots that are read, sorted and chosen at once.
_KEPT = ("table", "repository", "from", "to", "state", "sort", "after")
# What is said once the form of this name was accepted.
DONE = {
    "verify": "The verification has started.",
    "restore": "The restore has started.",
    "delete": "The deletion has started.",
    "cancel": "The operation ends before its next snapshot.",
}


@ROUTER.get(_PATH)
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: _show(request, _Visit(guest, scoped, Query(request.query_params))))


@ROUTER.post(_PATH)
async def act(request: Request) -> Response:
    """Do what a form says. That it came from a page of this service, the gate has checked."""
    given = read_texts(await request.form())

    def work(guest: Guest, scoped: Scope) -> Response:
        visit = _Visit(guest, scoped, Query(request.query_params))

        def start() -> str:
            if given.get("do") == "cancel":
                scoped.cancel(guest.context.operations, given.get("operation", ""))
                return visit.to(done="cancel")
            form = chosen_action(_FORMS, given)
            scoped.access.require(form.role)
            form.start(visit, given)
            return visit.to(done=given["do"])

        return answer(start, lambda error: _show(request, visit, error))

    return await asyncio.to_thread(respond, request, work)


def read_request(query: Query) -> RestoreRequest:
    """Which snapshots the page is about; raises InvalidInput if something can't be read."""
    given = {name: query.get(name, "").strip() for name in _KEPT}
    table = parse_table(given["table"], default_schema="") if given["table"] else TableName("", "")
    first, last = (parse_instant(given[name]) if given[name] else None for name in ("from", "to"))
    return RestoreRequest(
        table_schema=table.schema or None,
        table_name=table.name or None,
        start=first,
        end=last,
        repository=given["repository"] or None,
        tags=read_tags(query),
        after=_read_place(given["after"]),
    )


def write_place(place: SnapshotPlace) -> str:
    """A place in the list of all snapshots for an address."""
    return json.dumps(place, ensure_ascii=False, separators=(",", ":"))


def _read_place(text: str) -> SnapshotPlace | None:
    if not text:
        return None
    wrong = InvalidInput("after", "is not valid", "use the links above the list")
    kinds: tuple[Any, ...] = (str, str, int | None, str, str)
    try:
        found = SnapshotPlace(*json.loads(text))
    except (ValueError, TypeError, RecursionError):
        raise wrong from None
    if not all(map(isinstance, found, kinds)) or abs(found.start or 0) >= 2**63:
        raise wrong
    return found


class _Visit:
    """A request for the page."""

    def __init__(self, guest: Guest, scoped: Scope, query: Query) -> None:
        self.guest, self.scoped, self.query = guest, scoped, query

    def get(self, name: str) -> str:
        return self.query.get(name, "").strip()

    @property
    def kept(self) -> dict[str, str]:
        """The filters and the order."""
        return {**{name: self.get(name) for name in _KEPT}, "tags": TAGS.text(self.query)}

    def to(self, **changes: str) -> str:
        """The list with the same filters, and changes."""
        return address(PATH, {**self.kept, **changes})

    @cached_property
    def request(self) -> RestoreRequest:
        return read_request(self.query)

    @cached_property
    def _found(self) -> Sequence[ArchiveLine]:
        return self.scoped.snapshots(self.request, MOST + 1)

    @property
    def others(self) -> Iterator[tuple[str, str]]:
        """Labels and addresses of other parts, if there are more snapshots than are read at once."""
        if self.get("after"):
            yield f"First {MOST:,}", self.to(after="")
        if len(self._found) > MOST:
            yield f"Next {MOST:,}", self.to(after=write_place(self._found[MOST - 1].record.place))

    @cached_property
    def lines(self) -> Sequence[ArchiveLine]:
        """The snapshots that match, in any condition; those that cannot be relied on come first."""
        return in_order(COLUMNS, self._found[:MOST], self.get("sort") or "state")

    @cached_property
    def matching(self) -> Sequence[ArchiveLine]:
        return [line for line in self.lines if self.get("state") in ("", line.condition)]

    @cached_property
    def first(self) -> int:
        """The place of the first row that is shown."""
        return links.read_first(self.query)

    @property
    def chosen(self) -> Sequence[ArchiveLine]:
        """The snapshots that the address names, or all that match if it asks for all."""
        if self.get("all"):
            return self.matching
        picked = frozenset(self.query.getlist("pick"))
        return [line for line in self.lines if _pick(line) in picked]

    @property
    def exactly(self) -> RestoreRequest:
        """Exactly these, whatever is archived meanwhile; raises InvalidInput without any."""
        keys = frozenset(line.record.key for line in self.chosen)
        if not keys:
            raise InvalidInput("snapshots", "none is chosen", "choose some, or all that match")
        return RestoreRequest(chosen=keys)

    @property
    def into(self) -> TableName | None:
        """The table to restore into; None: its own."""
        return parse_table(self.get("into")) if self.get("into") else None

    @property
    def restoration(self) -> Restoration:
        request = replace(self.exactly, into=self.into)
        return Restoration(request, self.scoped.restorable(request))

    @property
    def deletion(self) -> Deletion:
        return Deletion(self.scoped.deletable(self.exactly))


def _pick(line: ArchiveLine) -> str:
    """How an address names a snapshot: names are long, and an address has many of them."""
    return fingerprint([line.record.key])[:16]


def _show(request: Request, visit: _Visit, error: RetentionError | None = None) -> Response:
    """The page; with what was wrong with a form that was sent."""
    operations = visit.scoped.jobs(visit.guest.context.operations)
    seconds = parts.live(any(each.finished_at is None for each in operations))
    top = el("div", el("h1", "Archive"), class_="top")
    panel = el("div", parts.problem(error) if error else None, _content(visit, operations, error), id="panel")
    status, who = error.http_status if error else HTTPStatus.OK, visit.guest.who
    return layout.page(request, "Archive", top, panel, who=who, here=PATH, status=status, refresh=seconds or 0)


def _content(visit: _Visit, operations: Sequence[OperationState], error: RetentionError | None) -> Iterator[Child]:
    """What would be done with the chosen snapshots, in place of the list."""
    form = _FORMS.get(visit.get("act"))
    if form and visit.guest.may(form.role):
        try:
            yield form.show(visit)
            return
        except (InvalidInput, Forbidden, NotFound) as mistake:
            yield parts.problem(mistake) if error is None else None
            if visit.get("into"):  # It can be corrected there.
                yield _into_form(visit)
                return
    yield _filters(visit)
    try:
        lines = visit.lines
    except InvalidInput as mistake:
        yield parts.problem(mistake)
        return
    done = DONE.get(visit.get("done"))
    yield el("p", done, class_="done", role="status") if done and not error else None
    goes_on = parts.live(any(each.finished_at is None for each in operations))
    if done or goes_on:
        elsewhere = ("Another service does it. ", el("a", "Activity", href=links.activity()), " shows what it did.")
        told = recent_operations(operations, visit.guest.may(Role.OPERATOR)) or el("p", elsewhere, class_="note")
        yield el("div", told, id="operations", data_live=goes_on, data_with="list")
    yield el("div", _list(visit, lines), id="list", class_="stack")


def _filters(visit: _Visit) -> Markup:
    def field(name: str, label: str, hint: str = "") -> Markup:
        return parts.field(name, label, visit.get(name), hint)

    return parts.filters(
        address(PATH, {}),
        address(PATH, {}),
        parts.hidden({name: visit.get(name) for name in ("state", "sort")}),
        field("table", "Table", "orders or doc.o*"),
        field("from", "From (UTC)", "2024-01-01"),
        field("to", "Before (UTC)", "2024-07-01"),
        more=parts.more_filters(
            field("repository", "Repository", "whole name"),
            parts.field("tags", TAGS.label, TAGS.text(visit.query), TAGS.hint),
            opened=bool(visit.get("repository") or TAGS.text(visit.query)),
        ),
    )


def _list(visit: _Visit, lines: Sequence[ArchiveLine]) -> Iterator[Child]:
    if not lines:
        none = "No snapshots yet. Policies with the strategy snapshot archive partitions before they drop them."
        yield parts.note("No snapshots match." if any(visit.kept.values()) else none)
        return
    repositories = {line.record.archived.repository for line in lines}
    yield el("p", _summary(lines), class_="lead")
    if others := [(" ", el("a", label, href=href, data_swap=True)) for label, href in visit.others]:
        most = f"At most {MOST:,} are shown, sorted and chosen together, by table and time."
        yield el("p", most, others, class_="note")
    yield _conditions(visit, lines)
    shown, ways = parts.part(visit.matching, visit.first, lambda at: visit.to(first=str(at)))
    columns = [each for each in COLUMNS if each.label != "Repository" or len(repositories) > 1]
    operator = visit.guest.may(Role.OPERATOR)
    choose = Column[ArchiveLine]("Choose", lambda line: parts.choice("pick", _pick(line), f"Choose {_name(line)}"))
    sorts = parts.sorter(visit.get("sort"), lambda by: visit.to(sort=by))

    def restore(line: ArchiveLine) -> Child:
        href = visit.to(act="restore", pick=_pick(line))
        return el("a", "Restore …", href=href, aria_label=f"Restore {_name(line)}")

    rows = parts.table(
        [choose, *columns] if operator else columns,
        shown,
        "Snapshots",
        actions=restore if operator else None,
        head=lambda column: (parts.choices("pick"), None) if column is choose else sorts(column),
    )
    if operator and shown:
        buttons = (
            el("button", f"{form.verb} …", type="submit", name="act", value=name)
            for name, form in _FORMS.items()
            if visit.guest.may(form.role)
        )
        given = (parts.hidden(visit.kept), parts.chooser("snapshots", len(visit.matching), *buttons))
        rows = el("form", given, rows, method="get", action=address(PATH, {}), class_="stack", data_load=True)
    yield rows if shown else parts.note("No snapshots match.")
    yield ways


def _conditions(visit: _Visit, lines: Sequence[ArchiveLine]) -> Markup | None:
    """Conditions as filters, if there are several."""
    counts, asked = Counter(line.condition for line in lines), visit.get("state")
    if len(counts) < 2 and not asked:
        return None
    found = [
        parts.Chip(label=parts.bit(state(name)), count=counts[name], href=visit.to(state=name), chosen=asked == name)
        for name in WORST_FIRST
        if counts[name] or asked == name
    ]
    every = parts.Chip(label="All", count=len(lines), href=visit.to(state=""), chosen=not asked)
    return parts.chips([every, *found], "States")


# What is done with chosen snapshots


def _again(visit: _Visit) -> list[Markup]:
    """The fields of a form that say which snapshots are meant, and what is asked."""
    picks = [("pick", each) for each in visit.query.getlist("pick")]
    more = parts.hidden({**visit.kept, "act": visit.get("act"), "all": visit.get("all")})
    return [*more, *(el("input", type="hidden", name=name, value=value) for name, value in picks)]


def _into_form(visit: _Visit) -> Markup:
    """Where to restore, which is shown before anything is done."""
    hint = "empty: their own, or schema.table"
    return el(
        "form",
        _again(visit),
        parts.field("into", "Into another table", visit.get("into"), hint, tone="long"),
        el("button", "Preview", type="submit"),
        method="get",
        action=address(PATH, {}),
        class_="filters",
        data_load=True,
    )


def _lost(visit: _Visit) -> Child:
    missing = 0 if visit.get("all") else len(set(visit.query.getlist("pick"))) - len(visit.chosen)
    return parts.note(f"{plural(missing, 'chosen snapshot')} no longer in the list.") if missing > 0 else None


def _verify_form(visit: _Visit) -> Markup:
    records = [line.record for line in visit.chosen]
    many = plural(len(visit.exactly.chosen or ()), "snapshot")
    size = show_size(sum(record.archived.size or 0 for record in records))
    tables = plural(len({record.archived.table for record in records}), "table")
    said = f"{many} of {tables} ({size}) would be read back and compared with what was archived. No data is changed."
    form = parts.form("verify", el("p", said), _lost(visit), action=f"Verify {many}", tone="primary", back=visit.to())
    return parts.section(f"Verify {many}", form, identifier="verify")


def _restore_form(visit: _Visit) -> Markup:
    restoration, many = visit.restoration, plural(len(visit.chosen), "snapshot")
    return restoration.section(
        RESTORABLE,
        "restore",
        "Restore",
        visit.to(),
        _lost(visit),
        _into_form(visit),
        title=f"Restore {many}",
        asked=len(visit.chosen),
    )


def _delete_form(visit: _Visit) -> Markup:
    deletion = visit.deletion
    title = f"Delete {plural(len(deletion.found), 'snapshot')}"
    rows = listing(DELETABLE, deletion.listed, "What would be deleted")
    said = (el("p", deletion.words), _lost(visit))
    if not deletion.going:
        return parts.section(title, said, el("a", "Back", href=visit.to()), rows)
    form = parts.form(
        "delete",
        said,
        parts.hidden({"shown": deletion.digest}),
        parts.confirmation("delete"),
        action=f"Delete {plural(len(deletion.going), 'snapshot')}",
        tone="danger",
        back=visit.to(),
    )
    return parts.section(title, form, rows, identifier="delete")


def _verify(visit: _Visit, given: Mapping[str, str]) -> None:
    visit.scoped.start_verify(visit.guest.context.operations, visit.exactly)


def _restore(visit: _Visit, given: Mapping[str, str]) -> None:
    visit.restoration.start(visit.scoped, visit.guest.context.operations, given.get("shown", ""))


def _delete(visit: _Visit, given: Mapping[str, str]) -> None:
    visit.deletion.start(visit.scoped, visit.guest.context.operations, given)


class _Form(NamedTuple):
    """What is done with chosen snapshots, who may do it, and what shows it before."""

    role: Role
    verb: str
    show: Callable[[_Visit], Markup]
    start: Callable[[_Visit, Mapping[str, str]], None]


_FORMS: Mapping[str, _Form] = {
    "verify": _Form(Role.OPERATOR, "Verify", _verify_form, _verify),
    "restore": _Form(Role.OPERATOR, "Restore", _restore_form, _restore),
    "delete": _Form(Role.EDITOR, "Delete", _delete_form, _delete),
}


def _name(line: ArchiveLine) -> str:
    return f"{line.record.archived.table} {line.record.archived.partition}"


def _summary(lines: Sequence[ArchiveLine]) -> str:
    tables = plural(len({line.record.archived.table for line in lines}), "table")
    repositories = sorted({line.record.archived.repository for line in lines})
    wrong = sum(line.condition != "complete" for line in lines)
    size = show_size(sum(line.record.archived.size or 0 for line in lines))
    where = f" in {repositories[0]}" if len(repositories) == 1 else ""
    text = f"{plural(len(lines), 'snapshot')} of {tables}{where}, {size}"
    return f"{text}; {wrong:,} cannot be relied on." if wrong else f"{text}; all are complete."
