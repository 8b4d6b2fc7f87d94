"""
Lifecycles: the stages that the data of a table passes through as it ages, by its policies; and its rollups.

A stage begins at an age, counted from the end of the data as retention periods are. What delays it, such as a legal
hold, is not part of a lifecycle: that depends on the data, and a plan shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby

from cratedb_retention.model.catalog import Capabilities, TableName, Value
from cratedb_retention.model.duration import FOREVER, Duration
from cratedb_retention.model.policies.patterns import folded, is_pattern, pattern_within
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.cascade import Level
from cratedb_retention.model.words import write_pairs


class Temperature(StrEnum):
    """Where data is, and what it costs to keep it there."""

    HOT = "hot"  # In its table, as it was written.
    WARM = "warm"  # In its table, compacted or on other nodes.
    COLD = "cold"  # In an archive.
    GONE = "gone"  # Nowhere, except for its rollups.


_REMOVED = (Temperature.COLD, Temperature.GONE)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a lifecycle."""

    temperature: Temperature
    since: Duration  # The age of the data at which it begins.
    until: Duration = FOREVER  # The age at which the next one begins; forever: there is none.
    budget: str | None = None  # The size above which the next one begins earlier: ``500GB (at least 7d)``.
    # How the data is kept: ``compress, merge``, ``storage=cold``, the repository; or for how long it is recoverable.
    how: str | None = None
    policy_ids: tuple[str, ...] = ()  # The policies that begin it.

    def __str__(self) -> str:
        how = f" ({self.how})" if self.how else ""
        if self.temperature is Temperature.GONE:
            return f"{self.temperature}{how}"
        if self.budget is None:
            return f"{self.temperature}{how} {_until(self.until)}"
        age = "" if self.until.forever else f"{self.until} or "
        return f"{self.temperature}{how} until {age}{self.budget}"


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """The lifecycle of the data of a table, or of those of its rows that policies select."""

    table: TableName  # Or the pattern of a policy.
    where: Mapping[str, Value]  # Only data with these values; empty: all.
    stages: tuple[Stage, ...]  # By age.
    rollups: tuple[Level, ...] = ()  # Finest first.

    @property
    def line(self) -> str:
        """``hot until 30d -> warm (merge) until 1y -> cold (vault) until 7y -> gone; rollups: 1h until 2y``."""
        rollups = ", ".join(f"{level.interval} {_until(level.retention_period)}" for level in self.rollups)
        return " -> ".join(map(str, self.stages)) + (f"; rollups: {rollups}" if rollups else "")


def find_lifecycles(
    policies: Iterable[Policy], own: Capabilities | None = None, table: TableName | None = None
) -> list[Lifecycle]:
    """
    The lifecycles by the enabled policies: one for each table or pattern that they name, and each of its filters. A
    policy counts for each of these tables and filters that its own pattern and filter surely contain.

    :param own: The database, for its default schema and the case of names; None: unknown, as for a policy file.
    :param table: Only the lifecycles of this table or pattern.
    """
    default = own.default_schema if own else ""
    named = [(TableName(each.table_schema or default, each.table_name), each) for each in policies if each.enabled]
    asked = [name for name, _ in named] if table is None else [TableName(table.schema or default, table.name)]
    fold: Callable[[TableName], TableName] = folded if own and own.folds_case else lambda name: name
    rules = _Rules((fold(name), policy) for name, policy in named)
    names = {fold(name): name for name in reversed(asked)}
    return [
        Lifecycle(
            table=names[name],
            where=where,
            stages=tuple(_stages(group)),
            rollups=next((policy.levels for policy in group if policy.levels), ()),
        )
        for name in sorted(names)
        for where, group in _by_filter(rules.on(name))
    ]


class _Rules:
    """Finds the policies on a table or pattern."""

    def __init__(self, named: Iterable[tuple[TableName, Policy]]) -> None:
        self._exact: dict[TableName, list[Policy]] = defaultdict(list)
        self._patterns: list[tuple[TableName, Policy]] = []
        for name, policy in named:
            if is_pattern("".join(name)):
                self._patterns.append((name, policy))
            else:
                self._exact[name].append(policy)

    def on(self, name: TableName) -> list[Policy]:
        """A level of a cascade has a retention period of its own, and no patterns apply to it."""
        levels = list(self._as_level(name))
        return [*levels, *self._exact.get(name, ()), *(() if levels else self._broader(name))]

    def _broader(self, name: TableName) -> Iterator[Policy]:
        for pattern, policy in self._patterns:
            if pattern_within(name.schema, pattern.schema) and pattern_within(name.name, pattern.name):
                yield policy

    def _as_level(self, name: TableName) -> Iterator[Policy]:
        source, _, interval = name.name.removesuffix("_sketch").rpartition("_")
        of = TableName(name.schema, source)
        for policy in () if is_pattern(source) else (*self._exact.get(of, ()), *self._broader(of)):
            for level in (level for level in policy.levels if str(level.interval) == interval):
                yield policy.for_level(level.retention_period).model_copy(update={"levels": ()})


def _by_filter(policies: Sequence[Policy]) -> list[tuple[Mapping[str, Value], list[Policy]]]:
    """Each filter, with the policies on all of the data that it selects."""
    known: dict[tuple[str, ...], dict[tuple[Value, ...], list[Policy]]] = {}
    for policy in policies:
        columns = tuple(sorted(policy.where))
        values = tuple(policy.where[column] for column in columns)
        known.setdefault(columns, {}).setdefault(values, []).append(policy)
    filters = [same[0].where for by_values in known.values() for same in by_values.values()]
    return [
        (
            where,
            [
                policy
                for columns, by_values in known.items()
                if where.keys() >= set(columns)
                for policy in by_values.get(tuple(where[column] for column in columns), ())
            ],
        )
        for where in sorted(filters, key=lambda where: (len(where), write_pairs(where)))
    ]


def _stages(policies: Sequence[Policy]) -> Iterator[Stage]:
    stages = [Stage(temperature=Temperature.HOT, since=Duration()), *_changes(policies)]
    removing, budget = next((n for n, each in enumerate(stages) if each.temperature in _REMOVED), 0), _budget(policies)
    for number, (stage, following) in enumerate(zip(stages, [*stages[1:], None], strict=True), start=1):
        until = following.since if following else FOREVER
        sized = budget if number == removing else None
        # By a budget alone, data leaves its table at no certain age.
        if _length(stage.since) < _length(until) or sized or (number > 1 and number - 1 == removing and budget):
            yield replace(stage, until=until, budget=sized)


def _budget(policies: Sequence[Policy]) -> str | None:
    """The maximum size by which data leaves its table; of several, that of the policy that removes it first."""
    return next((policy.budget for policy in _removing(policies) if policy.budget), None)


def _acting(policies: Iterable[Policy]) -> list[Policy]:
    """
    The policies that do something with data as it ages, or as there is too much of it, by age. Of those that delete at
    the same age, the recoverable one takes the data.
    """
    acting = [policy for policy in policies if not policy.retention_period.forever or policy.max_size is not None]
    return sorted(acting, key=lambda p: (_length(p.retention_period), p.recoverable is None, p.id or ""))


def _removing(policies: Iterable[Policy]) -> list[Policy]:
    """Those that remove data from its table; no policy deletes what another one archives."""
    removing = [policy for policy in _acting(policies) if policy.strategy.traits.removes]
    return [policy for policy in removing if policy.strategy.traits.archives] or removing


def _changes(policies: Sequence[Policy]) -> Iterator[Stage]:
    """The stages after the first one, each of which begins at an age."""
    acting = _acting(policies)
    last = next(iter(_removing(policies)), None)
    end = _length(last.retention_period if last else FOREVER)
    staying = [p for p in acting if not p.strategy.traits.removes and _length(p.retention_period) < end]
    for _, group in groupby(staying, lambda policy: _length(policy.retention_period)):
        same = list(group)
        yield Stage(
            temperature=Temperature.WARM,
            since=same[0].retention_period,
            how="; ".join(policy.destination or "" for policy in same),
            policy_ids=_ids(*same),
        )
    if last is None:
        return
    archives = last.strategy.traits.archives
    yield Stage(
        temperature=Temperature.COLD if archives else Temperature.GONE,
        since=last.retention_period,
        how=last.destination if archives else last.recovery,
        policy_ids=_ids(last),
    )
    # Of several policies that archive data, that with the longest period decides.
    keepers = [policy for policy in policies if policy.strategy.traits.archives]
    keeper = max(keepers, key=lambda policy: _length(policy.archive_period), default=last)
    if archives and not keeper.archive_period.forever:
        yield Stage(temperature=Temperature.GONE, since=keeper.archive_period, policy_ids=_ids(keeper))


def _ids(*policies: Policy) -> tuple[str, ...]:
    """Their identifiers; new policies of a file have none."""
    return tuple(policy.id for policy in policies if policy.id)


def _length(age: Duration) -> float:
    return age.approximate_seconds()


def _until(age: Duration) -> str:
    return "forever" if age.forever else f"until {age}"
