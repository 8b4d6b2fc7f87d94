"""
Cascades at rest. Where a run finds nothing due, it records that with a token of everything that this follows from: the
policy, the tables with the change tokens of their partitions, the view and the rollups. Until a partition expires or
another bucket is complete, and at most for a day, plans compare the token instead of judging each window.

Nothing is removed from a cascade at rest, so no law depends on it. Its windows are not read either.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cratedb_retention.model.catalog import Table, TableName
from cratedb_retention.model.plan.plan import Blocked, UpToDate
from cratedb_retention.model.rollups.ledger import Rest
from cratedb_retention.model.rollups.rollup import level_table, sketch_table, view_name
from cratedb_retention.model.time import DAY_MS, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.rollups.downsample import CascadePlan
from cratedb_retention.planning.targets import Target

# Milliseconds. Less is not worth recording.
_SHORTEST = 3_600_000


def tables_of(target: Target) -> list[TableName]:
    """The tables of a cascade: its source, and those of its levels."""
    source = target.table.name
    levels = [level_table(source, level.interval) for level in target.policy.levels]
    return [source, *levels, *map(sketch_table, levels)]


class Resting:
    """The cascades that may be at rest: those of which no other policy concerns a table."""

    def __init__(self, facts: Facts, targets: Sequence[Target], undecided: Iterable[Blocked]) -> None:
        self._facts, self._now = facts, to_ms(facts.cutoff)
        of_table = Counter(target.table.name for target in targets)
        others = {each.table for each in undecided} | {table for table, _ in facts.frozen}
        self.possible = {
            target.table.name: target
            for target in targets
            if target.policy.strategy.traits.rolls_up and target.grids and target.policy.levels
            if target.policy.max_size is None
            if sum(of_table[name] for name in tables_of(target)) == 1 and others.isdisjoint(tables_of(target))
        }
        self._policies: dict[str | None, str] = {}
        self._tokens: dict[TableName, str] = {}

    def find(self) -> Iterator[tuple[Target, Rest]]:
        """Those that are at rest."""
        for target in self.possible.values():
            known = self._facts.ledger.rollups.get(_finest(target))
            rest = known.rest if known else None
            if rest and rest.since <= self._now < rest.until and rest.token == self._token(target):
                yield target, rest

    def note(self, plan: CascadePlan, up_to_date: Sequence[UpToDate]) -> Iterator[tuple[TableName, Rest]]:
        """What to record of a cascade of which nothing is due."""
        target = plan.cascade.raw
        if target.table.name not in self.possible or any(state.by_rows for state in plan.levels):
            return
        instants = (*(each.next_due for each in up_to_date), *(state.complete_next() for state in plan.levels))
        until = min((instant for instant in instants if instant is not None), default=self._now + DAY_MS)
        until = min(until, self._now + DAY_MS)
        if until >= self._now + _SHORTEST:
            tables = tuple((each.table, each.partitions, each.next_due) for each in up_to_date)
            yield _finest(target), Rest(token=self._token(target), since=self._now, until=until, tables=tables)

    def _token(self, target: Target) -> str:
        source = target.table.name
        if source not in self._tokens:
            catalog, policy = self._facts.catalog, target.policy
            if policy.id not in self._policies:
                self._policies[policy.id] = policy.model_dump_json()
            tables = (_describe(catalog.tables[name]) for name in tables_of(target) if name in catalog.tables)
            view = (catalog.views or {}).get(view_name(source))
            rollups = sorted(
                (known.rollup.table, known.identity, known.changed) for known in self._facts.ledger.of_source(source)
            )
            text = "\0".join((self._policies[policy.id], *tables, repr(view), repr(rollups)))
            self._tokens[source] = hashlib.sha256(text.encode()).hexdigest()
        return self._tokens[source]


def _finest(target: Target) -> TableName:
    return level_table(target.table.name, target.policy.levels[0].interval)


def _describe(table: Table) -> str:
    about = (table.name, table.identity, table.partitioned_by, table.primary_key, table.most_columns)
    state = (table.missing_shards, table.closed, table.read_only, table.flaw)
    columns = [
        f"{c.name}\0{c.type}\0{c.kind}\0{c.expression}\0{c.grouping}\0{c.unit}\0{c.path}"
        for c in table.columns.values()
    ]
    partitions = [
        f"{p.values} {p.ident} {p.token} {p.rows} {p.missing_shards} {p.closed} {p.frozen} {p.read_only}"
        for p in table.partitions
    ]
    return "\0".join((repr(about), repr(state), *columns, *partitions))


def up_to_date(at_rest: Mapping[TableName, tuple[Target, Rest]], policies: Iterable[str | None]) -> Iterator[UpToDate]:
    """What a plan says of cascades at rest."""
    chosen = set(policies)
    for target, rest in at_rest.values():
        for table, partitions, due in rest.tables if target.policy.id in chosen else ():
            yield UpToDate(policy_id=target.policy.id or "", table=table, partitions=partitions, next_due=due)
