"""
The list of policies: a dense row for each, found by state, words, tags and strategy, and what can be done about one,
some, or all that match. All choices stand in the address.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.execution.overview.lines import STATES, Line, reasons_of, state_of
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.words import capitalized, plural, readable, short, write_pairs
from cratedb_retention.service.access import Scope
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, answer, read_texts, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, in_order, some_of, state
from cratedb_retention.ui.links import PREFIX, STRATEGY, TAGS, Query, address, read_selection, tag_bit
from cratedb_retention.ui.overview.spans import MEANINGS, next_words
from cratedb_retention.ui.policies import bulk
from cratedb_retention.ui.policies.bulk import Item, key
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = "/policies"
FILE = f"{PREFIX}/policies.yaml"
_DAMAGED, _UNKNOWN = "damaged", "enabled"
_STATES = (_DAMAGED, *STATES, _UNKNOWN)
_SAID = {
    **MEANINGS,
    _DAMAGED: "the stored row is not a valid policy",
    "due": "its next run has something to do",
    "disabled": "runs skip it",
    _UNKNOWN: "runs carry it out",
}
_GROUPS = {"": "none", "table": "table", "schema": "schema", "tenant": "tenant", "strategy": "strategy"}
_AND = "."  # Between states in the address.
_BOXES = "Choose"  # The column with boxes.


@ROUTER.get(f"{PREFIX}{PATH}")
def show(request: Request) -> Response:
    return respond(request, lambda guest, scoped: PolicyList(request, guest, scoped).page())


@ROUTER.post(f"{PREFIX}{PATH}")
async def act(request: Request) -> Response:
    """Do what a form says. That it came from a page of this service, the gate has checked."""
    form = await request.form()
    return await asyncio.to_thread(respond, request, lambda guest, scoped: PolicyList(request, guest, scoped).act(form))


@ROUTER.get(FILE)
def export(request: Request) -> Response:
    """The policies that the list with the same filters shows, as a file."""
    return respond(request, lambda guest, scoped: bulk.write(PolicyList(request, guest, scoped).matching))


class _Row(NamedTuple):
    """A policy, or a row that is not a valid one, with what is known of its present state."""

    item: Item
    lines: Sequence[Line]

    @property
    def policy(self) -> Policy | None:
        return self.item.policy if isinstance(self.item, StoredPolicy) else None

    @property
    def title(self) -> str:
        return self.policy.title if self.policy else f"damaged {short(self.item.id)}"

    @property
    def state(self) -> str:
        if self.policy is None:
            return _DAMAGED
        if not self.policy.enabled:
            return "disabled"
        return state_of(self.lines) if self.lines else _UNKNOWN

    @property
    def why(self) -> Sequence[str]:
        if isinstance(self.item, Damaged):
            return [self.item.reason]
        found = reasons_of(self.lines) if self.state in ("failing", "needs-attention", "blocked") else ()
        return list(map(readable, found))

    @property
    def next_run(self) -> dt.datetime | None:
        return self.lines[0].next_run if self.lines else None

    @property
    def order(self) -> tuple[int, str]:
        return _STATES.index(self.state), self.title.casefold()


class PolicyList:
    """One request for the list, with the choices that stand in the address."""

    def __init__(self, request: Request, guest: Guest, scoped: Scope) -> None:
        self._request, self._guest, self._scoped = request, guest, scoped
        self._query = query = Query(request.query_params)
        self._now = scoped.now
        self._states = [each for each in query.get("state", "").split(_AND) if each in _STATES]
        self._group = query.get("group", "") if query.get("group") in _GROUPS else ""
        self._sort = query.get("sort", "")
        self._text = query.get("q", "").strip()
        self._first = links.read_first(query)

    # What is found

    @cached_property
    def _searched(self) -> list[_Row]:
        """Those that the filters find, whatever their state; raises InvalidInput if a filter means nothing."""
        stored, damaged = self._scoped.policies(read_selection(self._query), self._text)
        found = self._guest.glances.of(self._scoped)
        lines: dict[str | None, list[Line]] = defaultdict(list)
        for line in found.lines:
            lines[line.policy.id].append(line)
        items: list[Item] = [*damaged, *stored]
        return [_Row(item, lines[item.id]) for item in items]

    @cached_property
    def _rows(self) -> list[_Row]:
        """Those of the chosen states as well, in order."""
        found = sorted(self._searched, key=lambda row: row.order)
        if self._states:
            found = [row for row in found if row.state in self._states]
        found = in_order(self._columns, found, self._sort)
        found.sort(key=lambda row: row.policy is not None)  # What is not a valid policy comes first.
        if self._group:
            found.sort(key=self._group_of)
        return found

    @property
    def matching(self) -> list[Item]:
        return [row.item for row in self._rows]

    def _to(self, **changes: str) -> str:
        """The address of this page with changed choices; from its first row on."""
        chosen = {"q": self._text, "state": _AND.join(self._states), "group": self._group, "sort": self._sort}
        strategy = {"strategy": self._query.get("strategy", "")}
        tags = [("tags", text) for text in self._query.getlist("tags")]
        return address(PATH, Query([*{**chosen, **strategy, **changes}.items(), *tags]))

    # What is done

    def act(self, form: FormData) -> Response:
        """Do what a form asks for; what has to be confirmed, or filled in, is asked first."""
        given = read_texts(form)
        if one := given.get("one"):  # A button of a row, whatever is selected.
            name, _, chosen = one.partition(":")
            given, form = {"do": name}, FormData([("chosen", chosen)])
        question: Markup | None = None

        def work() -> str | Response:
            nonlocal question
            deed = bulk.find(given)
            self._guest.access.require(deed.role)
            choice = bulk.read_chosen(self._scoped, form, given, lambda: self.matching, self._to())
            if deed.respond is not None:
                return deed.respond(choice)
            asked = deed.question(choice)
            question = asked.markup if asked else None
            if asked and not given.get("sure"):
                return self.page(question=question)
            if asked and asked.word:
                parts.require_word(given, asked.word)
            return self._to(done=f"{given['do']}.{deed.do(choice)}")

        return answer(work, lambda error: self._again().page(error, question))

    def _again(self) -> PolicyList:
        """The list as it is now: another user may have changed policies meanwhile."""
        return PolicyList(self._request, self._guest, self._guest.scoped())

    # What is shown

    def page(self, error: RetentionError | None = None, question: Markup | None = None) -> Response:
        """The page; with what was wrong with a form that was sent, and with a question."""
        done = bulk.said(self._query.get("done", ""))
        panel = (
            el("p", done, class_="done", role="status") if done and not error else None,
            parts.problem(error) if error else None,
            question,
            self._filters(),
            self._list(),
        )
        content = (self._top(), el("div", panel, id="panel"))
        status = error.http_status if error else HTTPStatus.OK
        return layout.page(self._request, "Policies", *content, who=self._guest.who, here=PATH, status=status)

    def _top(self) -> Markup:
        editor = self._guest.may(Role.EDITOR)
        query = self._to().partition("?")[2]
        actions = (
            parts.action("Export (YAML)", f"{FILE}?{query}" if query else FILE),
            parts.action("Import …", links.policy_file()) if editor else None,
            parts.action("New policy", links.new_policy(), "primary") if editor else None,
        )
        # It depends on the filters, so it is exchanged with the list.
        return el("div", el("h1", "Policies"), el("div", actions, class_="actions"), class_="top", id="state")

    def _filters(self) -> Markup:
        return parts.filters(
            links.policies(),
            links.policies(),
            parts.hidden({"state": _AND.join(self._states), "sort": self._sort}),
            parts.field("q", "Search", self._text, "name, table, description, …"),
            parts.field("tags", TAGS.label, TAGS.text(self._query), TAGS.hint),
            parts.select(
                "strategy", STRATEGY.label, {"": "any", **(STRATEGY.choices or {})}, self._query.get("strategy", "")
            ),
            parts.select("group", "Group by", _GROUPS, self._group),
        )

    def _list(self) -> Iterator[Child]:
        try:
            rows = self._rows
        except InvalidInput as error:
            yield parts.problem(error)
            return
        if not self._searched:
            filtered = self._text or self._query.get("strategy") or self._query.get("tags")
            begin = el("a", "The overview shows how to begin", href=address("/", {}))
            none = el("p", "There are no policies yet: everything is kept. ", begin, ".", class_="note")
            yield parts.note("No policy matches.") if filtered else none
            return
        yield self._chips()
        of = plural(len(rows), "policy", "policies")
        shown, ways = parts.part(rows, self._first, lambda at: self._to(first=str(at)), of)
        if not shown:
            yield parts.note("No policy matches.")
            return
        groups: dict[str, list[_Row]] = {}
        for row in shown:
            groups.setdefault(self._group_of(row), []).append(row)
        tables = [(el("h2", name) if name else None, self._table(name, some)) for name, some in groups.items()]
        dense = el("div", tables, class_="dense listed")
        if self._guest.may(Role.OPERATOR):
            dense = self._chooser(dense)
        yield dense
        yield ways

    def _chooser(self, rows: Markup) -> Markup:
        """The rows with boxes, and what can be done with those that are chosen."""
        matching = parts.digest(map(key, self.matching))
        # The first button is the one that the Enter key presses.
        buttons = (
            el(
                "button",
                deed.label,
                name="do",
                value=name,
                type="submit",
                class_=deed.tone or None,
                data_load=deed.respond is not None,  # It may be a file.
            )
            for name, deed in bulk.DEEDS.items()
            if self._guest.may(deed.role)
        )
        bar = parts.chooser("policies", len(self._rows), *buttons)
        return el("form", parts.hidden({"matching": matching}), bar, rows, method="post", class_="stack")

    def _chips(self) -> Markup:
        counts = Counter(row.state for row in self._searched)
        every = parts.Chip(label="All", count=len(self._searched), href=self._to(state=""), chosen=not self._states)
        found = (
            parts.Chip(
                label=parts.bit(state(name, _SAID[name])),
                count=counts[name],
                href=self._to(state=_AND.join(parts.toggled(self._states, name))),
                chosen=name in self._states,
            )
            for name in _STATES
            if counts[name] or name in self._states
        )
        return parts.chips([every, *found], "States")

    def _group_of(self, row: _Row) -> str:
        if not self._group:
            return ""
        if row.policy is None:
            return _DAMAGED
        found = {
            "table": row.policy.table,
            "schema": row.policy.table_schema or self._scoped.visibility.default_schema,
            "tenant": write_pairs(row.policy.where) or "all data",
            "strategy": str(row.policy.strategy),
        }
        return found[self._group]

    @property
    def _columns(self) -> Sequence[Column[_Row]]:
        return (
            Column("Policy", _name, lambda row: row.title.casefold()),
            Column(
                "State",
                lambda row: state(row.state, "\n".join(some_of(row.why)) or _SAID[row.state]),
                lambda row: _STATES.index(row.state),
            ),
            Column("Table", self._table_of, lambda row: _target(row.item)),
            Column("Kept for", _periods, _kept),
            Column("Next run", self._next_run, lambda row: row.next_run.timestamp() if row.next_run else None),
            Column("Tags", lambda row: [tag_bit(each) for each in row.policy.tags] if row.policy else ""),
        )

    def _table(self, group: str, rows: Sequence[_Row]) -> Markup:
        acts = self._guest.may(Role.OPERATOR)
        boxes = (Column[_Row](_BOXES, _box),) if acts else ()
        sorter = parts.sorter(self._sort, lambda name: self._to(sort=name))

        def head(column: Column[_Row]) -> tuple[Child, str | None]:
            return (parts.choices("chosen"), None) if column.label == _BOXES else sorter(column)

        caption = f"Policies, {group}" if group else "Policies"
        return parts.table((*boxes, *self._columns), rows, caption, self._actions if acts else None, head)

    def _next_run(self, row: _Row) -> Cell:
        policy = row.policy
        if policy is None:
            return ""
        if not policy.schedule:
            return Bit(text="by hand", tone="muted")
        zone = f"{policy.schedule}, time zone {policy.time_zone}"
        if row.next_run is None:
            return Bit(text=policy.schedule, tone="muted", hint=zone)
        hint = f"{words.exact(row.next_run)} UTC\n{zone}"
        return [
            Bit(text=next_words(row.next_run, self._now), tone="date", hint=hint),
            Bit(text=policy.schedule, tone="muted", hint=zone),
        ]

    def _actions(self, row: _Row) -> list[Child]:
        """What can be done about one policy at once."""
        policy, found = row.policy, list[Child]()
        if policy is not None and policy.enabled:
            href, hint = address("/plan", {"policy": row.item.id}), f"Run “{row.title}” now, after a preview"
            found.append(el("a", "Run now …", href=href, title=hint))
        if policy is not None and self._guest.may(Role.EDITOR):
            name, label = ("disable", "Disable") if policy.enabled else ("enable", "Enable")
            told = {"type": "submit", "class_": "link", "title": f"{label} “{row.title}”"}
            found.append(el("button", label, name="one", value=f"{name}:{key(row.item)}", **told))
        return found

    def _table_of(self, row: _Row) -> Cell:
        """The table, which leads to its page unless it is a pattern."""
        policy, text = row.policy, _target(row.item)
        if policy is None or is_pattern(text):
            where = write_pairs(policy.where) if policy else ""
            return [Bit(text=text, hint=text), Bit(text=where, tone="muted")]
        name = TableName(policy.table_schema or self._scoped.visibility.default_schema, policy.table_name)
        return [Bit(text=text, href=links.table(name), hint=text), Bit(text=write_pairs(policy.where), tone="muted")]


def _box(row: _Row) -> Bit:
    return Bit(text=parts.choice("chosen", key(row.item), f"Choose {row.title}"))


def _kept(row: _Row) -> float | None:
    period = row.policy.retention_period.approximate_seconds() if row.policy else 0
    return period if period < math.inf else None


def _target(item: Item) -> str:
    """The table or pattern, with its schema if that is given."""
    return item.policy.table if isinstance(item, StoredPolicy) else ".".join(filter(None, item.target))


def _name(row: _Row) -> Cell:
    """The policy, and why it fails or is blocked, or else what its description says."""
    policy, identifier = row.policy, row.item.id
    about = "\n".join(filter(None, (policy.rule, policy.description))) if policy else ""
    hint = "\n".join(filter(None, (row.title, about, f"Policy {identifier}")))
    name = Bit(text=row.title, href=links.policy(identifier) if policy else "", tone="whole", hint=hint)
    failure = next((line.failure for line in row.lines if line.failure), None)
    for reason in row.why[:1]:
        more = f" (and {len(row.why) - 1:,} more)" if len(row.why) > 1 else ""
        href = links.run(failure.run_id) if failure else ""
        return [
            name,
            Bit(text=f"{capitalized(reason)}{more}", href=href, tone="reason", hint="\n".join(some_of(row.why))),
        ]
    description = policy.description if policy else ""
    return [name, Bit(text=description, tone="reason", hint=description)] if description else name


def _periods(row: _Row) -> Cell:
    policy = row.policy
    if policy is None:
        return ""
    levels = [f"rollup {level.interval}: {level.retention_period}" for level in policy.levels]
    return Bit(text=policy.kept, tone="date", hint="\n".join([*levels, policy.recovery or ""]).strip())
