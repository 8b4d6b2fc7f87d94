"""
All tables beside the policies on them: those that no policy governs, with their growth; data that is older than
expected; policies that match no data; empty partitions; and policies without a limit.

The toolkit's own tables and the levels of cascades are skipped, since their policies govern them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from cratedb_retention.model.catalog import Partition, Table, TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.plan.effect import amount, total
from cratedb_retention.model.plan.measurements import TableBounds
from cratedb_retention.model.plan.plan import Blocked, Plan, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import find_tables, folded
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import DAY_MS
from cratedb_retention.model.words import plural, show_partition, show_size, write_pairs
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.overview.limits import Unlimited
from cratedb_retention.planning.pieces import make_pieces
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.policies import Finding
from cratedb_retention.planning.targets import (
    FilterIndex,
    Target,
    find_by_policy,
    isolated,
    make_target,
    try_bind_where,
)

# Growth is measured over this time, or over this number of partitions if they are longer.
_RECENT, _LENGTHS = 28 * DAY_MS, 3
# A policy that deletes, and that might be on any table.
_DELETE = make_policy(id="any", strategy="delete", table_schema="*", table_name="*", retention_period="forever")
# The attributes by which a policy states the time of data.
_TIME = ("partition_column", "time_column", "time_unit")
_UNSTATED = (None, None, None)


class Growth(NamedTuple):
    """The mean growth of a table per day; None: unknown."""

    rows: int | None = None
    size: int | None = None  # Bytes.

    def __str__(self) -> str:
        """``120,000 rows, 35.0 MiB``; empty if unknown, or less than one of them."""
        return describe(rows=self.rows or None, size=self.size or None)


@dataclass(frozen=True, kw_only=True)
class Ungoverned:
    """A table, or some of its partitions, that no enabled policy governs. None: unknown."""

    table: TableName
    partitions: int  # Their number; 0: the table has none.
    partly: bool  # Whether policies govern its other partitions.
    rows: int | None
    size: int | None  # Bytes.
    growth: Growth  # Known if the table has partitions of time.
    oldest: int | None  # The start of its oldest partition with rows (ms, UTC); likewise the end of its newest.
    newest: int | None
    disabled: tuple[str, ...]  # Disabled policies on it.
    why_not: Reason | None  # Why the age of its data is unknown to a policy; None: it is known.

    @property
    def reason(self) -> str | None:
        return None if self.why_not is None else str(self.why_not)

    @property
    def code(self) -> str | None:
        return None if self.why_not is None else self.why_not.code


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a look at all tables found."""

    findings: tuple[Finding, ...] = ()  # What needs attention: data that is older than expected.
    notes: tuple[Finding, ...] = ()  # What may be intended: policies that match no data, and empty partitions.
    ungoverned: tuple[Ungoverned, ...] = ()  # The largest first.
    unlimited: tuple[Unlimited, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UserTable:
    """A table of users, with all policies that match it."""

    table: Table
    policies: tuple[Policy, ...]
    found: Target | Reason  # A policy that deletes, applied to it; or why none can be.

    @property
    def target(self) -> Target | None:
        return self.found if isinstance(self.found, Target) else None

    @property
    def enabled(self) -> list[Policy]:
        return [policy for policy in self.policies if policy.enabled]

    @property
    def free(self) -> tuple[Partition, ...]:
        """Its partitions that no enabled policy governs; in doubt, a policy governs a partition."""
        enabled = self.enabled
        if not all(policy.where for policy in enabled):
            return ()
        filters = [(policy, try_bind_where(self.table, policy.where) or ()) for policy in enabled]
        index = FilterIndex(self.table.partition_columns, filters)
        return tuple([each for each in self.table.partitions if not index.fitting(each.values)])

    def pieces(self, partitions: Iterable[Partition]) -> list[Piece]:
        """Some of its partitions, with the time ranges that its definition gives them."""
        grids = self.target.grids if self.target else ()
        return make_pieces(replace(self.table, partitions=tuple(partitions)), grids, {})


def describe(*, partitions: int = 0, rows: int | None = None, size: int | None = None) -> str:
    """``12 partitions, 120,000 rows, 35.0 MiB``, without what is unknown."""
    parts = ["" if rows is None else plural(rows, "row"), show_size(size)]
    return ", ".join(filter(None, [plural(partitions, "partition") if partitions else "", *parts]))


def find_user_tables(facts: Facts, tables: Mapping[TableName, Table]) -> list[UserTable]:
    """The tables of users among all tables of a database, by name."""
    database = facts.catalog.capabilities
    same = folded if database.folds_case else lambda name: name
    own = same(TableName(facts.own_schema, "")).schema
    names = [name for name in sorted(tables) if same(name).schema != own and name not in facts.catalog.rollups]
    theirs = {name: tables[name] for name in names}
    on: dict[TableName, list[Policy]] = defaultdict(list)
    for policy in facts.policies:
        for name in find_tables(policy.table_schema, policy.table_name, theirs, database):
            on[name].append(policy)
    return [
        UserTable(table=table, policies=tuple(on[name]), found=_find_target(table, on[name]))
        for name, table in theirs.items()
    ]


def _find_target(table: Table, policies: Iterable[Policy]) -> Target | Reason:
    """By what the policies on the table state of its time, or else by its definition alone."""
    stated, reasons = [tuple([getattr(policy, name) for name in _TIME]) for policy in policies], list[Reason]()
    for each in dict.fromkeys([*stated, _UNSTATED]):
        found = apply_delete(table, **dict(zip(_TIME, each, strict=True)))
        if isinstance(found, Target):
            return found
        reasons.append(found)
    return reasons[-1]


def apply_delete(table: Table, **attributes: object) -> Target | Reason:
    """Apply a policy that deletes, with some attributes, to a table; or the reason why that is impossible."""
    policy, found, undecided = _DELETE.model_copy(update=attributes), list[Target](), list[Blocked]()
    with isolated(policy.id, table.name, undecided):
        found.append(make_target(policy, table))
    return found[0] if found else undecided[0].why


def find_ungoverned(tables: Iterable[UserTable], now: int) -> list[Ungoverned]:
    """The tables, and the partitions of tables, that no enabled policy governs; the largest first."""
    found = []
    for each in tables:
        table, free, partly = each.table, each.free, bool(each.enabled)
        if partly and not free:
            continue
        pieces = each.pieces(free)
        one = Ungoverned(
            table=table.name,
            partitions=len(free),
            partly=partly,
            rows=total(partition.rows for partition in free) if partly else table.rows,
            size=total(partition.size for partition in free) if partly else table.size,
            growth=find_growth(pieces, now),
            oldest=find_oldest(pieces),
            newest=max(
                (piece.end for piece in pieces if piece.end is not None and piece.partition.rows != 0), default=None
            ),
            disabled=tuple([policy.id or "" for policy in each.policies if not policy.enabled]),
            why_not=each.found if isinstance(each.found, Reason) else None,
        )
        found.append(one)
    return sorted(found, key=lambda one: (-(one.size or 0), -(one.rows or 0), one.table))


def find_oldest(pieces: Iterable[Piece]) -> int | None:
    """The start (ms, UTC) of the oldest partition that may have rows; None: unknown."""
    return min((piece.start for piece in pieces if piece.start is not None and piece.partition.rows != 0), default=None)


def find_growth(pieces: Iterable[Piece], now: int) -> Growth:
    """
    The mean growth per day, by the partitions of the recent past whose time range the table's definition gives. The
    first time range of a table does not count, since its data may have begun within it.
    """
    past = [
        (piece.time, piece.partition)
        for piece in pieces
        if piece.exact and piece.time is not None and piece.time.start < now
    ]
    if not past:
        return Growth()
    first, longest = min(time.start for time, _ in past), max(time.end - time.start for time, _ in past)
    since = now - max(_RECENT, _LENGTHS * longest)
    if all(time.end <= since for time, _ in past):  # Nothing arrived recently.
        partition = past[-1][1]
        return Growth(*(None if known is None else 0 for known in (partition.rows, partition.size)))
    recent = [(time, partition) for time, partition in past if time.start >= since and time.start != first]
    if not any(time.end <= now for time, _ in recent):
        return Growth()
    lasted = now - min(time.start for time, _ in recent)

    def per_day(amounts: Iterable[int | None]) -> int | None:
        of_all = total(amounts)
        return None if of_all is None else round(of_all * DAY_MS / lasted)

    return Growth(
        rows=per_day(partition.rows for _, partition in recent),
        size=per_day(partition.size for _, partition in recent),
    )


def plan_older(facts: Facts, tables: Iterable[UserTable], period: Duration) -> Planning:
    """A plan that deletes all data older than a period: by its rules, that data is older. It is never executed."""
    older = {"retention_period": period}
    targets = [
        replace(target, policy=target.policy.model_copy(update=older))
        for each in tables
        if (target := each.target) is not None
    ]
    catalog = replace(facts.catalog, tables={target.table.name: target.table for target in targets})
    policy = _DELETE.model_copy(update=older)
    return Planning(policies=[policy], catalog=catalog, cutoff=facts.cutoff, holds=facts.holds, found=(targets, ()))


def find_older(tables: Iterable[UserTable], plan: Plan, period: Duration) -> Iterator[Finding]:
    """Tables with data that is older than a period, by the plan that would delete it, and what would fit."""
    tasks: dict[TableName, list[Task]] = defaultdict(list)
    for task in plan.tasks:
        tasks[task.table].append(task)
    for each in tables:
        older = amount(tasks.get(each.table.name, ()))
        if older.tasks and older.rows != 0:
            text = describe(partitions=older.partitions, rows=older.rows, size=older.size) or "rows"
            remover = _first_remover(each.enabled)
            policies = (remover.id or "",) if remover else ()
            yield Finding(each.table.name, policies, _why_older(text, period, remover))


def _first_remover(policies: Iterable[Policy]) -> Policy | None:
    """The policy that removes all data of a table, and does so first."""
    removers = (policy for policy in policies if policy.strategy.traits.removes and not policy.where)
    return min(removers, key=lambda policy: policy.retention_period.approximate_seconds(), default=None)


def _why_older(text: str, period: Duration, remover: Policy | None) -> Reason:
    if remover is None:
        return Why.OLDER_UNGOVERNED(amount=text, period=period)
    longer = remover.retention_period.approximate_seconds() > period.approximate_seconds()
    return (Why.OLDER_KEPT if longer else Why.OLDER_DUE)(amount=text, period=period, remover=remover)


def find_unmatched(facts: Facts, chosen: Callable[[Policy], bool]) -> Iterator[Finding]:
    """Policies whose filter matches no data of any of their tables."""
    wanted = [policy for policy in facts.policies if policy.enabled and policy.where and chosen(policy)]
    for identifier, of_policy in find_by_policy(wanted, facts.catalog).items():
        if all(_matches_nothing(target, facts) for target in of_policy):
            policy, default = of_policy[0].policy, facts.catalog.capabilities.default_schema
            named = TableName(policy.table_schema or default, policy.table_name)
            yield Finding(named, (identifier,), Why.NO_DATA_MATCHES(where=write_pairs(policy.where)))


def _matches_nothing(target: Target, facts: Facts) -> bool:
    """Whether a table has data, but surely none that matches the filter."""
    if not target.by_rows:
        return bool(target.table.partitions) and not len(facts.pieces.of(target))
    if target.time_column is None or not target.table.rows:
        return False
    probe = TableBounds(target.table.name, target.time_column, target.where)
    return facts.measurements.ranges.get(probe) == (None, None)


def find_empty(tables: Iterable[UserTable], now: int) -> Iterator[Finding]:
    """Tables with empty partitions, except those that receive data now: new rows are visible only after a while."""
    for each in tables:
        empty = [
            partition for partition in each.table.partitions if partition.rows == 0 and not partition.missing_shards
        ]
        past = [piece.partition for piece in each.pieces(empty) if piece.end is None or piece.end <= now]
        if past:
            columns, name = each.table.partition_columns, each.table.name
            examples = "; ".join(show_partition(columns, partition.values) for partition in past[:5])
            yield Finding(name, (), Why.EMPTY_PARTITIONS(table=name, count=len(past), partitions=examples))
