"""
The overview, the first page: what needs attention and why, the last and the next run, what runs now, and a dense row
for each table with its data by age. State, search, order and groups stand in the address.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cratedb_retention.execution.overview.lines import Line
from cratedb_retention.execution.overview.rows import NO_POLICY, ROW_STATES, Cause, Item, Overview, Row
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.effect import total
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.time import from_ms
from cratedb_retention.model.words import capitalized, plural, readable, short, show_size, write_pairs
from cratedb_retention.planning.overview.limits import Unlimited
from cratedb_retention.planning.overview.survey import Ungoverned
from cratedb_retention.planning.policies import Finding
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, Number, Picture, counted, ends, sized, some_of, state
from cratedb_retention.ui.links import PREFIX, Query, address
from cratedb_retention.ui.overview import first
from cratedb_retention.ui.overview.spans import MEANINGS, due_words, next_words
from cratedb_retention.ui.web import lanes, layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
REFRESH = 30  # Seconds between two requests of an open page.
_LISTED, _POLICIES, _CHOSEN, _NOTED, _LIMITED = 4, 3, 20, 10, 20
_GROUPS = {"": "none", "schema": "schema", "tenant": "tenant"}
# Reasons that the plan explains, and reasons that legal holds do.
_IN_PLAN = frozenset(
    why.code
    for why in (
        Why.TOO_MANY_PARTITIONS,
        Why.TOO_MANY_ROWS,
        Why.UNKNOWN_ROWS,
        Why.TOO_MUCH,
        Why.UNKNOWN_SHARE,
        Why.ALL_EXPIRED,
    )
)
_ON_HOLD = frozenset(why.code for why in (Why.LEGAL_HOLD, Why.EARLIER_HOLD, Why.HELD_WINDOWS))
_AND = "."  # Between states in the address.
_MOMENT = dt.timedelta(minutes=1)
_LATE = dt.datetime.max.replace(tzinfo=dt.UTC)


@ROUTER.get(f"{PREFIX}/")
def show(request: Request) -> Response:
    def page(guest: Guest, scoped: Scope) -> Response:
        found = guest.glances.of(scoped)
        front = _Front(guest, scoped, found, Query(request.query_params))
        return layout.page(request, "Overview", *front.content(), who=guest.who, here="/", refresh=REFRESH)

    return respond(request, page)


class _Order(NamedTuple):
    """What rows can be sorted by."""

    column: str
    key: Callable[[Row], Any]
    ascending: bool = False


def _due(row: Row) -> tuple[int, int]:
    return -sum(line.due_partitions for line in row.lines), -sum(line.due_rows or 0 for line in row.lines)


_ORDERS: Mapping[str, _Order] = {
    "name": _Order("Table", lambda row: row.title, ascending=True),
    "rows": _Order("Rows", lambda row: -(row.rows or 0)),
    "size": _Order("Size", lambda row: -(row.size or 0)),
    "due": _Order("Due now", _due),
    "next": _Order("Next run", lambda row: row.next_run or _LATE, ascending=True),
}


class _Front:
    """One request for the page, with the choices that stand in the address."""

    def __init__(self, guest: Guest, scoped: Scope, found: Overview, query: Query) -> None:
        self._guest, self._scoped, self._found, self._query = guest, scoped, found, query
        self._now = scoped.now
        self._states = [each for each in query.get("state", "").split(_AND) if each in ROW_STATES]
        self._group = query.get("group", "") if query.get("group") in _GROUPS else ""
        self._sort = query.get("sort", "") if query.get("sort") in _ORDERS else ""
        self._text = query.get("q", "").strip()
        self._first = links.read_first(query)
        self._is_first = first.is_first(found)
        # Those that the search finds, whatever their state.
        searched = (row for row in found.rows if self._matches(row))
        self._rows = [part for row in searched for part in (row.divided() if self._group == "tenant" else [row])]

    def content(self) -> Iterator[Child]:
        new = parts.action("New policy", links.new_policy(), "primary") if self._guest.may(Role.EDITOR) else None
        yield el("div", el("h1", "Overview", id="title"), el("div", new, class_="actions"), class_="top")
        taken = el("p", "As of ", parts.moment(from_ms(self._found.now)), ".", class_="note")
        live = (
            first.guide(self._guest, self._found) if self._is_first else None,
            self._tiles(),
            self._causes(),
            self._tables(),
            self._notes(),
            taken,
        )
        yield el("div", live, id="panel", data_live=REFRESH)

    def _to(self, **changes: str) -> str:
        """The address of this page with changed choices; from its first row on."""
        chosen = {"q": self._text, "state": _AND.join(self._states), "group": self._group, "sort": self._sort}
        return address("/", {**chosen, **changes})

    def _matches(self, row: Row) -> bool:
        """Whether a row contains all words of the search."""
        if not self._text:
            return True
        policies = (f"{_kept(line)} {_about(line)}" for line in row.lines)
        text = " ".join([row.title, *row.why, *policies]).casefold()
        return all(word in text for word in self._text.casefold().split())

    # What happens

    def _tiles(self) -> Markup:
        return parts.tiles(self._next(), self._last(), self._running(), self._free())

    def _next(self) -> Markup:
        """The next run, and what it frees."""
        run = self._found.next_run
        if run is None:
            return parts.tile("Next run", "Not scheduled", self._by_hand())
        freed, rows = show_size(run.freed.size or None), run.freed.known_rows
        freed = freed or (plural(rows, "row") if rows else "")
        many = plural(len(run.policies), "policy", "policies")
        said = (parts.moment(run.time), f" · {many}", f" · frees {freed}" if freed else "")
        preview = el("a", "Preview", href=self._plan(run.policies), title=run.summary)
        late = self._now - run.time >= _MOMENT
        when = f"due {words.ago(run.time, self._now)}" if late else next_words(run.time, self._now)
        return parts.tile("Next run", capitalized(when), said, preview, self._by_hand())

    def _by_hand(self) -> Child:
        """Policies without a schedule that have something to do."""
        ids = self._found.unscheduled
        if not ids:
            return None
        run = "Run now …" if self._guest.may(Role.OPERATOR) else "Preview"
        said = f"{plural(len(ids), 'policy', 'policies')} without a schedule: due now. "
        return el("span", said, el("a", run, href=self._plan(ids)))

    @staticmethod
    def _plan(policies: Sequence[str]) -> str:
        """The plan of some policies; of all where an address would be too long."""
        chosen = policies if len(policies) <= _CHOSEN else ()
        return address("/plan", Query([("policy", identifier) for identifier in chosen]))

    def _last(self) -> Markup:
        row = self._scoped.last_run()
        if row is None:
            return parts.tile("Last run", "None yet")
        counts = [plural(row[f"{noun}s"], noun) for noun in ("row", "partition") if row.get(f"{noun}s")]
        size = show_size(row.get("bytes") or None)
        said = (parts.moment(row["time"]), *(f" · {text}" for text in (*counts, size) if text))
        link = _run_link(row["run_id"], "What it did") if row["run_id"] else None
        return parts.tile("Last run", parts.bit(state(row["outcome"] or "done")), said, link)

    def _running(self) -> Markup:
        found = self._guest.running
        if not found:
            return parts.tile("Running now", "Nothing")
        said = []
        for run in found[:_LISTED]:
            bar = el("progress", value=round(run.share, 3), max=1, aria_label=f"Progress of run {short(run.run_id)}")
            said.append(el("span", _run_link(run.run_id), f" {run.doing or 'about to start'}", bar, class_="line"))
        return parts.tile("Running now", plural(len(found), "run"), said)

    def _free(self) -> Markup:
        """Tables that no policy governs."""
        free = [row.ungoverned for row in self._found.rows if row.ungoverned]
        if not free:
            return parts.tile("Without a policy", "No table")
        size, rows = total(each.size for each in free), total(each.rows for each in free)
        many = show_size(size) or ("" if rows is None else plural(rows, "row"))
        growth = show_size(sum(each.growth.size or 0 for each in free) or None)
        said = " · ".join(filter(None, (many, f"grows {growth} a day" if growth else "")))
        order = "size" if size else "rows"
        link = el("a", "Show them", href=self._to(state=NO_POLICY, sort=order, group="", q=""), data_swap=True)
        suggest = el("a", "Suggest policies …", href=first.suggestions()) if first.may_suggest(self._guest) else None
        return parts.tile("Without a policy", plural(len(free), "table"), said, link, suggest)

    # What needs attention

    def _causes(self) -> Markup | None:
        causes = self._found.causes
        if not causes:
            return parts.note("Nothing needs attention.", "calm") if self._found.rows else None
        shown = el("div", map(self._cause, causes), class_="causes")
        return parts.section("Needs attention", shown, identifier="attention")

    def _cause(self, cause: Cause) -> Markup:
        """What is wrong for one reason, where, and what can be done."""
        texts = {item.text for item in cause.items}
        shared = texts.pop() if len(texts) == 1 else ""
        shown = [self._item(item, "" if shared else item.text) for item in cause.items[:_LISTED]]
        left = len(cause.items) - _LISTED
        if left > 0:
            href = self._to(state=cause.state) if cause.state in ROW_STATES else address("/plan", {})
            shown.append(el("li", el("a", f"and {left:,} more", href=href)))
        tone = cause.state if cause.state in ROW_STATES else "blocked"
        badge = parts.bit(Bit(text=cause.state.replace("-", " "), tone=f"badge is-{tone}"))
        title = el("h3", capitalized(cause.code.replace("-", " ")))
        said = el("p", readable(capitalized(shared)), class_="many") if shared else None
        about = el("div", el("div", badge, title, class_="titled"), said, el("ul", shown))
        return el("article", about, el("div", self._actions(cause), class_="actions"), class_=f"why cause is-{tone}")

    def _item(self, item: Item, text: str) -> Markup:
        table = _table_link(item.table) if item.table else None
        identifier = item.policy_id
        policy = el("a", self._title(item), href=links.policy(identifier)) if identifier else None
        run = _run_link(item.run_id) if item.run_id else None
        told = el("span", readable(text)) if text else None
        return el("li", ((each, " ") for each in (table, policy, run) if each), told)

    def _title(self, item: Item) -> str:
        known = next((line.policy for line in self._found.lines if line.policy.id == item.policy_id), None)
        if known is None:
            return f"policy {short(item.policy_id)}"
        return known.title_in_table if item.table else known.title

    def _actions(self, cause: Cause) -> Iterator[Markup]:
        """What can be done about a cause: about all of it where that is possible."""
        policies = list(dict.fromkeys(item.policy_id for item in cause.items if item.policy_id))
        first, operator = cause.items[0], self._guest.may(Role.OPERATOR)
        if cause.state == "failing":
            if first.run_id:
                yield parts.action("Why it failed", links.run(first.run_id))
            if operator and policies:
                yield parts.action("Run again …", self._plan(policies))
            return
        if first.table and cause.code == Why.OTHER_SOURCE.code and self._guest.may(Role.EDITOR):
            yield parts.action("Accept the table …", f"{links.table(first.table)}#accept")
        if policies and cause.code in _IN_PLAN:
            yield parts.action("Preview", self._plan(policies))
        if len(policies) == 1:
            label = "Edit policy" if self._guest.may(Role.EDITOR) else "Show policy"
            yield parts.action(label, links.policy(policies[0]))
        if not policies and first.table:
            yield parts.action("Show table", links.table(first.table))

    def _notes(self) -> Markup | None:
        """What may be intended: policies that match no data, empty partitions, and policies without a limit."""
        found, unlimited, title = self._found.notes, self._found.unlimited, "Worth a look"
        if not found and not unlimited:
            return None
        noted = parts.first_rows(_NOTES, found, title, _NOTED) if found else None
        if not unlimited:
            return parts.section(title, noted)
        limits = parts.first_rows(_LIMITS, unlimited, "Policies without a limit", _LIMITED)
        count = el("summary", plural(len(unlimited), "policy", "policies"), " without a limit for one run")
        folded = el("details", count, limits, class_="folded")
        return parts.section(title, noted, folded)

    # Tables

    def _tables(self) -> Markup:
        if not self._found.rows:
            return parts.section("Tables", parts.note("No tables."))
        chosen = [row for row in self._rows if not self._states or row.states.intersection(self._states)]
        if self._sort:
            chosen.sort(key=_ORDERS[self._sort].key)
        elif self._is_first:
            chosen.sort(key=first.growth)
        if self._group:
            chosen.sort(key=self._group_of)
        shown, ways = parts.part(chosen, self._first, lambda at: self._to(first=str(at)))
        groups: dict[str, list[Row]] = {}
        for row in shown:
            groups.setdefault(self._group_of(row), []).append(row)
        ages = lanes.Ages.of(self._found.now, (at for row in shown for at in _instants(row)))
        tables = [(el("h3", name) if name else None, self._table(name, rows, ages)) for name, rows in groups.items()]
        none = None if shown else parts.note("No table matches.")
        return parts.section(
            "Tables",
            el("div", self._chips(), self._search(), class_="finder"),
            lanes.patterns(),
            none,
            el("div", tables, class_="dense"),
            ways,
        )

    def _group_of(self, row: Row) -> str:
        if self._group == "schema":
            return row.table.schema if row.table else "no such table"
        return (row.where or "all data") if self._group == "tenant" else ""

    def _chips(self) -> Markup:
        """States as filters; choosing one again removes it."""
        counts = Counter(each for row in self._rows for each in row.states)
        shown = [name for name in ROW_STATES if counts[name] or name in self._states]
        every = parts.Chip(label="All", count=len(self._rows), href=self._to(state=""), chosen=not self._states)
        found = (
            parts.Chip(
                label=parts.bit(state(name, MEANINGS[name])),
                count=counts[name],
                href=self._to(state=_AND.join(parts.toggled(self._states, name))),
                chosen=name in self._states,
            )
            for name in shown
        )
        return parts.chips([every, *found], "States")

    def _search(self) -> Markup:
        return el(
            "form",
            parts.hidden({"state": _AND.join(self._states), "sort": self._sort}),
            parts.field("q", "Search", self._text, "table, policy, tag"),
            parts.select("group", "Group by", _GROUPS, self._group),
            el("button", "Filter", type="submit"),
            el("a", "Clear", href=address("/", {}), data_swap=True) if self._query else None,
            method="get",
            action=f"{PREFIX}/",
            class_="filters",
            role="search",
            aria_label="Filters",
        )

    def _table(self, group: str, rows: Sequence[Row], ages: lanes.Ages) -> Markup:
        columns: Sequence[Column[Row]] = (
            Column("Table", _name),
            Column("State", lambda row: state(row.state, _reasons(row) or MEANINGS[row.state])),
            Picture("Data by age", self._by_age(ages)),
            Column("Policies", self._policies),
            counted("Rows", lambda row: row.rows),
            sized(lambda row: row.size),
            Number("Due now", self._due),
            Column("Next run", self._next_run),
        )

        def head(column: Column[Row]) -> tuple[Child, str | None]:
            if isinstance(column, Picture):
                return (el("span", column.label, class_="spoken"), lanes.age_axis(ages)), None
            name = next((name for name, order in _ORDERS.items() if order.column == column.label), "")
            if not name:
                return column.label, None
            on = name == self._sort
            order = ("ascending" if _ORDERS[name].ascending else "descending") if on else None
            return el("a", column.label, href=self._to(sort="" if on else name), data_swap=True), order

        return parts.table(columns, rows, f"Tables, {group}" if group else "Tables", head=head)

    def _by_age(self, ages: lanes.Ages) -> Callable[[Row], Cell]:
        def drawn(row: Row) -> Cell:
            return lanes.small(ages, row.lanes, [at for at, _ in row.limits], _told(row, self._found.now))

        return drawn

    def _due(self, row: Row) -> Cell:
        """What the next run takes, which leads to the plan of these policies alone."""
        due = (line.policy.id or "" for line in row.lines if line.due_partitions or line.due_rows)
        hint = "Run now …" if self._guest.may(Role.OPERATOR) else "Preview"
        return Bit(text=due_words(row.lines), href=self._plan(list(dict.fromkeys(due))), hint=hint)

    def _next_run(self, row: Row) -> Cell:
        if row.next_run is None:
            return ""
        return Bit(text=next_words(row.next_run, self._now), hint=f"{words.exact(row.next_run)} UTC", tone="date")

    def _policies(self, row: Row) -> Cell:
        """What the policies of a table do with it, each a link; what grows without one."""
        lines: dict[str | None, Line] = {}
        for line in sorted(row.lines, key=lambda line: line.level is not None):
            lines.setdefault(line.policy.id, line)
        kept, left = list(lines.values())[:_POLICIES], len(lines) - _POLICIES
        found = [Bit(text=_kept(line), href=links.policy(line.policy.id), hint=_about(line)) for line in kept]
        if left > 0 and row.table:
            found.append(Bit(text=f"and {left:,} more", href=links.table(row.table, tab="policies")))
        return found + (list(self._ungoverned(row.ungoverned, lines)) if row.ungoverned else [])

    def _ungoverned(self, free: Ungoverned, known: Collection[str | None]) -> Iterator[Bit]:
        if free.partly:
            yield Bit(text=f"{plural(free.partitions, 'partition')} without a policy", tone="muted")
        if any(free.growth):
            yield Bit(text=f"grows {free.growth} a day", tone="muted")
        for identifier in free.disabled:
            if identifier not in known:
                yield Bit(text="disabled policy", href=links.policy(identifier))
        if free.reason:
            yield Bit(text="age unknown", tone="muted", hint=free.reason)
        if self._guest.may(Role.EDITOR):
            yield Bit(text="Add policy", href=first.new_policy(free, self._found.now))


def _run_link(run_id: str, text: str = "") -> Markup:
    return el("a", text or f"run {short(run_id)}", href=links.run(run_id))


def _table_link(table: TableName) -> Markup:
    """A table, as a link to its page unless it is a pattern."""
    return el("span", str(table)) if is_pattern(str(table)) else el("a", str(table), href=links.table(table))


def _reasons(row: Row) -> str:
    return readable("\n".join(some_of(row.why)))


def _name(row: Row) -> Cell:
    """The table, its levels, and the first reason why it fails or is blocked."""
    href = links.table(row.table) if row.table and not is_pattern(row.title) else ""
    bits = [Bit(text=row.title, href=href, tone="whole", hint=row.title)]
    if row.where:
        bits.append(Bit(text=row.where, tone="muted"))
    levels = {line.level.table: line.level for line in row.lines if line.level}
    for level in sorted(levels.values(), key=lambda level: level.interval.approximate_seconds):
        bits.append(
            Bit(text=str(level.interval), href=links.table(level.table), tone="tag", hint=f"Rollup {level.table}")
        )
    more = f" (and {len(row.why) - 1:,} more)" if len(row.why) > 1 else ""
    for reason in row.why[:1]:
        text = readable(f"{reason}{more}")
        bits.append(Bit(text=text, href=_explanation(row), tone="reason", hint=_reasons(row)))
    return bits


def _explanation(row: Row) -> str:
    """Where there is more about why a table fails or is blocked: the run, or its legal holds; empty: only here."""
    failures = [line.failure.run_id for line in row.lines if line.failure]
    if failures:
        return links.run(failures[0])
    on_hold = any(each.code in _ON_HOLD for line in row.lines for each in line.blocked)
    return links.table(row.table, tab="holds") if on_hold and row.table else ""


def _kept(line: Line) -> str:
    """Its name, or ``delete after 30d`` and whose data; the period is the policy's, or that of one of its levels."""
    policy, period = line.policy, line.retention_period
    if policy.name:
        return f"{policy.name}{'' if policy.enabled else ' (disabled)'}"
    where = f", {write_pairs(policy.where)}" if policy.where else ""
    downsampled = policy.strategy.traits.rolls_up
    sized = policy.max_size is not None and line.level is None  # Levels have no maximum size.
    length, when = (policy.kept, policy.when) if sized else (period, f"after {period}")
    kept = "kept forever" if period.forever and not sized else f"kept for {length}" if downsampled else ""
    what = f"downsample, {kept}" if downsampled else kept or f"{policy.strategy} {when}"
    return f"{what}{where}{'' if policy.enabled else ' (disabled)'}"


def _about(line: Line) -> str:
    policy = line.policy
    rule = policy.rule if policy.name else None
    return "\n".join(filter(None, (f"Policy {policy.id}", rule, policy.description, " ".join(policy.tags))))


def _instants(row: Row) -> Iterator[int]:
    """The instants that the axis of ages has to show."""
    yield from (lane.time.start for lane in row.lanes if lane.time)
    yield from (limit for limit, _ in row.limits)


def _told(row: Row, now: int) -> str:
    """The data of a table by age, a line for each place and limit; partitions may end in the future, data does not."""
    said = []
    for lane in row.lanes:
        whole = " ".join(ends(lane.time)) if lane.time else "time unknown"
        if lane.time and lane.time.contains(now):
            whole = f"{words.moment(lane.time.start)} to now"
        said.append(f"{lane.title}: {whole}")
        said += [f"{bar.words}: {' '.join(ends(time & lane.time if lane.time else time))}" for bar, time in lane.bars]
    said += [f"{policy}: before {words.moment(limit)}" for limit, policy in row.limits]
    return "\n".join([row.title, *said])


def _noted_table(found: Finding) -> Cell:
    name = str(found.table)
    return Bit(text=name, href="" if is_pattern(name) else links.table(found.table))


_NOTES: Sequence[Column[Finding]] = (
    Column("Table", _noted_table),
    Column("Policy", lambda found: [Bit(text=short(each), href=links.policy(each)) for each in found.policies]),
    Column("What", lambda found: capitalized(found.message)),
)
_LIMITS: Sequence[Column[Unlimited]] = (
    Column("Policy", lambda found: Bit(text=found.policy.title, href=links.policy(found.policy.id))),
    counted("Maximum partitions that fit", lambda found: found.partitions),
)
