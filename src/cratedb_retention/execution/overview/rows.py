"""
The overview as data: a row for each table of users, what needs attention by its cause, and what the next run does.

Pure: made from a plan, the state of its tables, and the other tables of the database. The caller passes what a user may
see. The toolkit's own tables have no row, and the levels of a cascade are in that of its source.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from cratedb_retention.execution.overview.lines import STATES, Bar, Line, TableLine, reasons_of, state_of
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.overview import State
from cratedb_retention.model.plan.effect import Amount, amount, summary
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import find_tables, folded
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import TimeRange, from_ms
from cratedb_retention.model.words import write_pairs
from cratedb_retention.planning.overview.limits import Unlimited
from cratedb_retention.planning.overview.survey import Survey, Ungoverned
from cratedb_retention.planning.policies import Finding

NO_POLICY, WARNING = "no-policy", "warning"
# The states of rows, in the order of display.
ROW_STATES = (*STATES[: STATES.index("up-to-date")], NO_POLICY, *STATES[STATES.index("up-to-date") :])


class Place(NamedTuple):
    """Where data of a table is: in the table itself, in a level, or in archives."""

    title: str  # ``data``, ``1h``, ``archive``
    table: TableName
    time: TimeRange | None  # of all of its data; None: unknown
    state: State  # of the data that nothing happens to


class RowLane(NamedTuple):
    """A place with what happens to its data."""

    title: str
    time: TimeRange | None
    state: State
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A table of users; or what a policy is for, if no table matches it."""

    title: str
    table: TableName | None
    state: str = NO_POLICY  # the worst of its policies
    why: tuple[str, ...] = ()  # why it fails or is blocked
    lines: tuple[Line, ...] = ()  # its policies, on the table and on its levels
    places: tuple[Place, ...] = ()
    ungoverned: Ungoverned | None = None  # the part of it that no policy governs
    where: str = ""  # the filter of its policies, once they are apart: ``tenant=acme``
    rows: int | None = None
    size: int | None = None
    next_run: dt.datetime | None = None

    @property
    def states(self) -> frozenset[str]:
        """All states by which it is found."""
        return frozenset({self.state, *([NO_POLICY] if self.ungoverned else [])})

    @property
    def lanes(self) -> list[RowLane]:
        """The places of its data, with what its policies do there."""
        return [
            RowLane(title, time, kind, tuple(bar for bar in self._bars(table) if _is_there(bar, kind)))
            for title, table, time, kind in self.places
        ]

    def _bars(self, table: TableName) -> Iterator[Bar]:
        return (bar for line in self.lines if line.table == table for bar in line.bars)

    @property
    def limits(self) -> list[tuple[int, str]]:
        """The expiry limits of its enabled policies, each with its policy in words; latest first."""
        raw = (line for line in self.lines if line.level is None and line.limit is not None)
        found = {(line.limit, f"{line.policy.strategy} {line.policy.when}") for line in raw}
        return sorted(((limit, words) for limit, words in found if limit is not None), reverse=True)

    def divided(self) -> list[Row]:
        """The row for each filter of its policies: for each tenant of a shared table."""
        groups: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            groups[write_pairs(line.policy.where)].append(line)
        if not groups or set(groups) == {""}:
            return [self]
        # The size is that of the whole table.
        alone = replace(self, rows=None, size=None)
        return [replace((alone if where else self).under(own), where=where) for where, own in groups.items()]

    def under(self, lines: Sequence[Line]) -> Row:
        """The row under some policies."""
        times = [line.next_run for line in lines if line.next_run is not None]
        state = state_of(lines) if lines else NO_POLICY
        return replace(self, lines=tuple(lines), state=state, why=reasons_of(lines), next_run=min(times, default=None))


def _is_there(bar: Bar, place: State) -> bool:
    """Whether a bar is about archives, in the place of these, or about a table."""
    return (bar[0] is State.END) is (place is State.ARCHIVED)


class Item(NamedTuple):
    """What a cause is about. None: nothing of the kind."""

    text: str
    table: TableName | None = None
    policy_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What needs attention for one reason."""

    state: str  # ``failing``, ``needs-attention`` or ``warning``
    code: str  # of the reason
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """The next run by a schedule, with what it would do now."""

    time: dt.datetime  # aware; in the past: it is due
    policies: tuple[str, ...]  # identifiers
    summary: str  # in a sentence
    freed: Amount  # what it removes from tables


@dataclass(frozen=True, kw_only=True)
class Overview:
    rows: tuple[Row, ...]
    lines: tuple[Line, ...]  # all policies, on each of their tables
    causes: tuple[Cause, ...]
    next_run: NextRun | None  # None: no policy has a schedule
    unscheduled: tuple[str, ...]  # the policies without a schedule that have something to do
    now: int  # the cutoff of the plan (ms, UTC)
    notes: tuple[Finding, ...] = ()  # what may be intended: policies that match no data, and empty partitions
    unlimited: tuple[Unlimited, ...] = ()  # policies without a limit


def make_overview(
    prepared: Prepared, tables: Sequence[TableLine], survey: Survey, archived: Mapping[TableName, TimeRange]
) -> Overview:
    """
    :param tables: The state of the tables of a plan.
    :param survey: What is beside its policies.
    :param archived: The time range of archives.
    """
    plan, lines = prepared.plan, [line for table in tables for line in table.lines]
    scheduled = {line.policy.id for line in lines if line.next_run is not None}
    by_hand = dict.fromkeys(task.policy_id for task in plan.tasks if task.policy_id not in scheduled)
    return Overview(
        lines=tuple(lines),
        rows=tuple(_rows(prepared, tables, {each.table: each for each in survey.ungoverned}, archived)),
        causes=tuple(find_causes(lines, plan)),
        next_run=_next_run(lines, plan),
        unscheduled=tuple(filter(None, by_hand)),
        now=plan.cutoff,
        notes=survey.notes,
        unlimited=survey.unlimited,
    )


def _rows(
    prepared: Prepared,
    tables: Iterable[TableLine],
    ungoverned: Mapping[TableName, Ungoverned],
    archived: Mapping[TableName, TimeRange],
) -> list[Row]:
    facts, found, spans = prepared.facts, dict[TableName | str, list[Line]](), dict[TableName, TimeRange]()
    same: Callable[[TableName], TableName] = folded if facts.catalog.capabilities.folds_case else lambda name: name
    own = same(TableName(facts.own_schema, "")).schema
    users = {name for name in facts.catalog.tables if same(name).schema != own and name not in facts.catalog.rollups}
    matching = partial(find_tables, tables=users, database=facts.catalog.capabilities)
    for table in tables:
        for line in table.lines:
            for key in _rows_of(line, matching):
                if isinstance(key, str) or same(key).schema != own:
                    found.setdefault(key, []).append(line)
        if table.first.table and table.oldest is not None and table.newest is not None:
            spans[table.first.table] = TimeRange(table.oldest, table.newest)
    made = [_row(key, lines, spans, archived, ungoverned) for key, lines in found.items()]
    made += [_row(key, [], spans, archived, ungoverned) for key in ungoverned if key not in found]
    return sorted(made, key=lambda row: (ROW_STATES.index(row.state), row.title))


def _rows_of(line: Line, matching: Callable[[str | None, str], list[TableName]]) -> list[TableName] | list[str]:
    """The tables in whose rows a policy is; what it is for if no table matches, unless it is disabled."""
    if line.level is not None:
        return [line.level.source]
    if line.table is not None:
        return [line.table]
    return matching(line.policy.table_schema, line.policy.table_name) or ([line.title] if line.policy.enabled else [])


def _row(
    key: TableName | str,
    lines: Sequence[Line],
    spans: Mapping[TableName, TimeRange],
    archived: Mapping[TableName, TimeRange],
    ungoverned: Mapping[TableName, Ungoverned],
) -> Row:
    if isinstance(key, str):
        return Row(title=key, table=None).under(lines)
    free, of_table = ungoverned.get(key), next((line for line in lines if line.table == key), None)
    if free and not lines and free.oldest is not None and free.newest is not None:
        spans = {key: TimeRange(free.oldest, free.newest)}
    row = Row(
        title=str(key),
        table=key,
        places=tuple(_places(key, lines, spans, archived)),
        ungoverned=free,
        rows=of_table.rows if of_table else free.rows if free else None,
        size=of_table.size if of_table else free.size if free else None,
    )
    return row.under(lines)


def _places(
    table: TableName,
    lines: Iterable[Line],
    spans: Mapping[TableName, TimeRange],
    archived: Mapping[TableName, TimeRange],
) -> Iterator[Place]:
    yield Place("data", table, spans.get(table), State.UP_TO_DATE)
    levels = {line.level.table: line.level.interval for line in lines if line.level is not None}
    for name, interval in sorted(levels.items(), key=lambda item: item[1].approximate_seconds):
        yield Place(str(interval), name, spans.get(name), State.COMPUTED)
    if table in archived:
        yield Place("archive", table, archived[table], State.ARCHIVED)


def find_causes(lines: Iterable[Line], plan: Plan) -> list[Cause]:
    """What needs attention, by state and code of the reason; the most frequent first."""
    found: dict[tuple[str, str], dict[Item, None]] = defaultdict(dict)
    failing: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.failure is not None:
            failing[line.failure.policy_id].append(line)
    for policy_id, own in failing.items():
        run, tables = own[0].failure, {line.table for line in own if line.level is None}
        if run is not None:
            table = tables.pop() if len(tables) == 1 else None
            item = Item(run.error or "the last run failed", table, policy_id, run.run_id)
            found["failing", run.reason or "failed"][item] = None
    for each in plan.needs_attention:
        found["needs-attention", each.code][Item(each.reason, each.table, each.policy_id)] = None
    for why in plan.warnings:
        found[WARNING, why.code][_warning(why)] = None
    order = ("failing", "needs-attention", WARNING)
    causes = [Cause(state=state, code=code, items=tuple(items)) for (state, code), items in found.items()]
    return sorted(causes, key=lambda cause: (order.index(cause.state), -len(cause.items), cause.code))


def _warning(why: Reason) -> Item:
    table, policy = why.values.get("table"), why.values.get("expiring") if why.why is Why.ALL_EXPIRED else None
    return Item(str(why), table if isinstance(table, TableName) else None, policy)


def _next_run(lines: Iterable[Line], plan: Plan) -> NextRun | None:
    times = {line.policy.id or "": line.next_run for line in lines if line.next_run is not None}
    if not times:
        return None
    time = min(times.values())
    # All that are due run together.
    chosen = {policy_id for policy_id, own in times.items() if own <= max(time, from_ms(plan.cutoff))}
    some = replace(plan, tasks=tuple(task for task in plan.tasks if task.policy_id in chosen))
    freed = amount(task for task in some.tasks if task.kind in (Kind.DELETE, Kind.ARCHIVE))
    return NextRun(time=time, policies=tuple(sorted(chosen)), summary=summary(some), freed=freed)
