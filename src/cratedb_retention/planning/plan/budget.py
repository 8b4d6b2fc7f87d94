"""
Budgets: which partitions expire because there is more data than the ``max_size`` of a policy, although their retention
period is not over.

The oldest go first, and no more than needed. What no run may remove counts and stays: data that is younger than
``min_retention``, under a legal hold, or of unknown age; more of the other data goes instead. Partitions that are
blocked for another reason count as going, since younger data must not go in their place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan.plan import Blocked, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.size import Size
from cratedb_retention.model.step import Piece
from cratedb_retention.planning.facts import PartitionKey
from cratedb_retention.planning.plan.strategies import Context
from cratedb_retention.planning.targets import FilterIndex, Target, Where


class Candidate(NamedTuple):
    """A partition that may be removed."""

    end: int
    size: int
    table: TableName
    piece: Piece


Values = tuple[Value, ...]  # Of a partition.
_END, _SIZE = itemgetter(0), itemgetter(1)


def find_least(candidates: Iterable[Candidate], excess: int) -> list[Candidate]:
    """
    The partitions that have to go until there are no excess bytes: the oldest, and as few as possible. Of those that
    end together, one that suffices goes, the smallest of these; if none does, the largest goes first.
    """
    found: list[Candidate] = []
    for _, together in groupby(sorted(candidates, key=_END), key=_END):
        left = sorted(together, key=_SIZE)
        while excess > 0 and left and left[-1].size > 0:
            chosen = left.pop(min(bisect_left(left, excess, key=_SIZE), len(left) - 1))
            excess -= chosen.size
            found.append(chosen)
        if excess <= 0:
            break
    return found


@dataclass(frozen=True, kw_only=True)
class Budget:
    """
    What a policy removes to stay within its maximum size.

    :param table: The table; None: all tables of the policy together.
    :param parts: The partitions that the policy concerns, by table.
    :param size: Bytes of those that do not expire by their age.
    :param expired: What expires by its size, by table, sorted by end.
    :param last: Of several tables, the newest of these partitions, with their places in the order of choice. They go
        after all others: should the run be killed before, the next one then chooses the same as this one (law 7).
    :param unsized: The number of partitions whose size is unknown; if there are any, nothing expires.
    """

    policy: Policy
    most: Size
    table: TableName | None
    parts: Mapping[TableName, Sequence[Piece]]
    size: int
    expired: Mapping[TableName, Sequence[Piece]]
    last: Mapping[PartitionKey, int]
    unsized: int

    def in_order(self, table: TableName, pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
        """Some of the expired pieces of a table, in the groups in which they go."""
        placed = [(self.last.get((table, piece.partition.values), -1), piece) for piece in pieces]
        first, rest = [piece for place, piece in placed if place < 0], [each for each in placed if each[0] >= 0]
        if first:
            yield first
        rest.sort(key=itemgetter(0))
        for _, group in groupby(enumerate(rest), key=lambda each: each[1][0] - each[0]):
            yield [piece for _, (_, piece) in group]

    def take_last(self, verdicts: Iterable[Task | Blocked]) -> list[tuple[int, Task]]:
        """The tasks that go after those of all tables, with their places."""
        tasks = [verdict for verdict in verdicts if isinstance(verdict, Task)] if self.last else []
        keys = ((task, task.steps[-1].about[:1]) for task in tasks)
        found = ((self.last.get((task.table, piece.partition.values)), task) for task, about in keys for piece in about)
        return [(place, task) for place, task in found if place is not None]

    def why(self, pieces: Sequence[Piece]) -> Reason:
        """Why some of the expired pieces, sorted by end, are due."""
        return Why.OVER_BUDGET(
            size=self.most.show(self.size),
            tables=len(self.parts),
            budget=self.most,
            end=pieces[-1].end,
            floor=self.policy.min_retention,
        )

    def why_exceeded(self, going: Mapping[TableName, Collection[Values]], product: str) -> Reason | None:
        """Why there is more than the maximum size once some partitions are gone; None if there is not."""
        if self.unsized:
            return Why.SIZES_UNKNOWN(product=product, count=self.unsized)
        parts = [(going.get(table, ()), pieces) for table, pieces in self.parts.items()]
        left = sum(p.partition.size or 0 for gone, pieces in parts for p in pieces if p.partition.values not in gone)
        if left <= self.most.bytes:
            return None
        return Why.BUDGET_EXCEEDED(
            size=self.most.show(left), tables=len(self.parts), budget=self.most, floor=self.policy.min_retention
        )


class Budgets:
    """The budgets of a plan, each computed once."""

    def __init__(self, context: Context, targets: Iterable[Target], chosen: Callable[[Policy], bool]) -> None:
        """
        :param targets: The policies on all tables.
        :param chosen: Whether a policy is part of the run.
        """
        self._context, self._chosen = context, chosen
        self._of_policy: dict[str | None, list[Target]] = defaultdict(list)
        self._on_table: dict[TableName, list[Target]] = defaultdict(list)
        targets = list(targets)
        for target in targets if any(target.policy.max_size for target in targets) else ():
            self._of_policy[target.policy.id].append(target)
            self._on_table[target.table.name].append(target)
        self._known: dict[tuple[str | None, TableName | None], Budget] = {}

    def of(self, target: Target) -> Budget | None:
        """The budget that concerns a target; None if its policy has none, or is not part of the run."""
        policy = target.policy
        if policy.max_size is None or not self._chosen(policy):
            return None
        table = None if policy.shares_budget else target.table.name
        if (policy.id, table) not in self._known:
            targets = [target] if table else self._of_policy[policy.id]
            self._known[policy.id, table] = self._make(policy, policy.max_size, table, targets)
        return self._known[policy.id, table]

    def __iter__(self) -> Iterator[Budget]:
        """The budgets that were asked for."""
        return (self._known[key] for key in sorted(self._known, key=str))

    def _make(self, policy: Policy, most: Size, table: TableName | None, targets: Sequence[Target]) -> Budget:
        parts, staying, sizes = dict[TableName, Sequence[Piece]](), list[tuple[Target, Piece]](), list[int | None]()
        for target in targets:
            pieces, expires = self._context.pieces.of(target), self._expiry(target)
            parts[target.table.name] = own = (*pieces.known, *pieces.unknown)
            if expires is not None:
                own = tuple([piece for piece in own if not expires(piece) or self._is_held(target, piece)])
            staying += [(target, piece) for piece in own]
            sizes += [piece.partition.size for piece in own]
        size, unsized = sum(each or 0 for each in sizes), sizes.count(None)
        chosen: list[Candidate] = []
        if size > most.bytes and not unsized:
            chosen = find_least(self._candidates(policy, staying), size - most.bytes)
        expired: dict[TableName, list[Piece]] = defaultdict(list)
        for each in chosen:
            expired[each.table].append(each.piece)
        newest = ((place, each) for place, each in enumerate(chosen) if table is None and each.end == chosen[-1].end)
        return Budget(
            policy=policy,
            most=most,
            table=table,
            parts=parts,
            size=size,
            expired=expired,
            last={(each.table, each.piece.partition.values): place for place, each in newest},
            unsized=unsized,
        )

    def _candidates(self, policy: Policy, staying: Iterable[tuple[Target, Piece]]) -> Iterator[Candidate]:
        """The partitions that are old enough, without those under a legal hold."""
        floor = policy.over_budget.limit(self._context.cutoff)
        for target, piece in staying:
            end = piece.end
            if end is not None and floor is not None and end <= floor and not self._is_held(target, piece):
                yield Candidate(end, piece.partition.size or 0, target.table.name, piece)

    def _is_held(self, target: Target, piece: Piece) -> bool:
        context = self._context
        return target.table.name in context.table_holds and context.hold_on(target, piece) is not None

    def _expiry(self, target: Target) -> Callable[[Piece], bool] | None:
        """
        Whether a piece expires anyway by the age that a policy states; None: none does. No policy deletes what another
        one archives.
        """
        cutoff, limits, archiving = self._context.cutoff, list[tuple[tuple[int, bool], Where]](), list[Where]()
        for each in self._on_table[target.table.name]:
            traits, limit = each.policy.strategy.traits, each.policy.limit(cutoff)
            if traits.removes and not each.by_rows and limit is not None and self._chosen(each.policy):
                limits.append(((limit, traits.archives), each.where))
            if traits.archives and each.policy.acts(cutoff):
                archiving.append(each.where)
        if not limits:
            return None
        removers = FilterIndex(target.columns, limits)
        archivers = FilterIndex(target.columns, [(True, where) for where in archiving])

        def expires(piece: Piece) -> bool:
            values, end = piece.partition.values, piece.end
            past = [archives for limit, archives in removers.fitting(values) if end is not None and end <= limit]
            return any(past) or (bool(past) and not archivers.fitting(values))

        return expires
