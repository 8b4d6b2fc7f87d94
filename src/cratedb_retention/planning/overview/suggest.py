"""
Suggestions: a policy that deletes for each table without a policy, from what is there: its partitions, the unit of its
times, and the age of its data. Each suggestion has its reasons as comments.

By default, a suggested policy keeps all present data, is disabled, and limits what one run may take.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Kind, TableName, TimeUnit
from cratedb_retention.model.duration import FOREVER, Duration, parse_duration
from cratedb_retention.model.plan.effect import amount
from cratedb_retention.model.plan.measurements import Measurements, Probe, TableBounds
from cratedb_retention.model.plan.plan import Blocked, Plan, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.model.time import DAY_MS, UTC, to_ms
from cratedb_retention.model.translation import Translated, Translation
from cratedb_retention.model.words import moment, plural
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.overview.limits import expected_partitions, find_unlimited
from cratedb_retention.planning.overview.survey import UserTable, apply_delete, describe, find_growth, find_oldest
from cratedb_retention.planning.pieces import PieceIndex
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.targets import Target

TITLE = "Suggested by cratedb-retention: a policy for each table without one."
_DISABLED = (
    "All of them are disabled, and do nothing. Check each retention period, and remove `enabled: false`. Then see "
    "`cratedb-retention apply -f FILE --dry-run`, and after `apply` the effect: `cratedb-retention plan`."
)
_OF_PARTITIONS = (
    "With `recoverable: 7d` and `target_repository_name: ...`, a repository for what is deleted, `undo` brings back "
    "whole partitions for a week. With `max_size: 500GB` and `min_retention: 7d`, the oldest partitions also expire if "
    "a table is larger than that; `cratedb-retention forecast --capacity=2TB` shows when disks of that size are full."
)
# Retention periods that are suggested: the first one that keeps all data.
PERIODS = (
    *map(parse_duration, ("7d", "30d", "90d", "180d", "1y", "2y", "3y", "5y", "7y", "10y")),
    *(Duration(months=12 * years) for years in range(11, 100)),
    FOREVER,
)
# Whole numbers are taken for a time if the greatest one lies between 1980 and this time after now.
_FIRST, _AHEAD = to_ms(dt.datetime(1980, 1, 1, tzinfo=UTC)), 366 * DAY_MS
_LISTED = 50  # Maximum number of policies for which limits are suggested.


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A suggested policy, with what it was made from."""

    of: UserTable
    target: Target  # With the policy, whose identifier is its number.
    oldest: int  # The time of the oldest data (ms, UTC).

    @property
    def policy(self) -> Policy:
        return self.target.policy


@dataclass(frozen=True, kw_only=True)
class Suggesting:
    """What suggestions are made from, but for the age of data."""

    facts: Facts
    tables: Iterable[UserTable]  # All tables of users.
    period: Duration | None  # The retention period of all suggestions; None: one that keeps all data of the table.
    enabled: bool

    def __post_init__(self) -> None:
        if self.period is not None:  # Reject an invalid one, rather than each policy with it.
            make_policy(strategy="delete", table_name="any", retention_period=str(self.period))

    @cached_property
    def _without_policy(self) -> list[UserTable]:
        now = to_ms(self.facts.cutoff)
        return [_with_numbers(each, now) for each in self.tables if not each.policies]

    def probes(self) -> list[Probe]:
        """The questions about rows that the ages of data depend on."""
        targets = [each.target for each in self._without_policy]
        probes = [_age_probe(target) for target in targets if target is not None]
        return list(dict.fromkeys(probe for probe in probes if probe is not None))

    def draft(self, ages: Measurements) -> Drafts:
        """Draft the policies, given the answers."""
        drafts, notes = list[Draft](), list[str]()
        for each in self._without_policy:
            found = self._draft(each, ages, str(len(drafts)))
            if isinstance(found, Draft):
                drafts.append(found)
            else:
                notes.append(_no_suggestion(each.table.name, found))
        general = [] if self.enabled else [_DISABLED]
        general += [_OF_PARTITIONS] if any(not draft.target.by_rows for draft in drafts) else []
        notes += _limits(self.facts)
        return Drafts(facts=self.facts, ages=ages, drafts=drafts, general=general, notes=notes)

    def _draft(self, of: UserTable, ages: Measurements, number: str) -> Draft | Reason | InvalidInput | str:
        """A draft for a table; or the reason why there is none."""
        target, name = of.found, of.table.name
        if not isinstance(target, Target):
            return target
        if is_pattern(name.schema + name.name):
            return "its name contains a wildcard, so a policy would match other tables as well"
        probe = _age_probe(target)
        if probe is not None and probe in ages.failed:
            return ages.failed[probe]
        oldest = _find_age(target, ages)
        if oldest is None:
            return "it has no rows with a time, so their age is unknown"
        try:
            policy = make_policy(id=number, **self._attributes(of, target, oldest))
        except InvalidInput as error:
            return error
        return Draft(of=of, target=replace(target, policy=policy), oldest=oldest)

    def _attributes(self, of: UserTable, target: Target, oldest: int) -> dict[str, Any]:
        name, said = of.table.name, target.policy
        most = None if self.period else expected_partitions(of.pieces(of.table.partitions))
        attributes = {
            "strategy": "delete",
            "table_schema": name.schema,
            "table_name": name.name,
            "retention_period": str(self.period or choose_period(oldest, self.facts.cutoff)),
            "partition_column": said.partition_column,
            "time_unit": said.time_unit,
            "expected_max": {"partitions": most} if most else None,
            "enabled": None if self.enabled else False,
        }
        return {key: value for key, value in attributes.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Drafts:
    """Suggested policies, of which the effect is not known yet."""

    facts: Facts
    ages: Measurements
    drafts: Sequence[Draft]
    general: Sequence[str]  # Comments on all suggestions.
    notes: Sequence[str]  # Why tables have no suggestion, and limits of existing policies.

    def plan(self) -> Planning:
        """What the first run would do if they were enabled."""
        targets = [draft.target for draft in self.drafts]
        return Planning(
            policies=[target.policy.model_copy(update={"enabled": True}) for target in targets],
            catalog=replace(self.facts.catalog, tables={target.table.name: target.table for target in targets}),
            cutoff=self.facts.cutoff,
            holds=self.facts.holds,
            measurements=self.ages,
            found=(targets, ()),
        )

    def write(self, plan: Plan) -> Translation:
        """The policies as plain values, with their reasons. One that could not be carried out is only a note."""
        tasks: dict[TableName, list[Task]] = defaultdict(list)
        blocked: dict[TableName, list[Blocked]] = defaultdict(list)
        for task in plan.tasks:
            tasks[task.table].append(task)
        for each in plan.needs_attention:
            blocked[each.table].append(each)
        policies, notes = list[Translated](), list(self.notes)
        for draft in self.drafts:
            name = draft.of.table.name
            whole = next((each for each in blocked[name] if not each.count), None)
            if whole is None:
                policies.append(self._translate(draft, tasks[name], blocked[name]))
            else:
                notes.append(_no_suggestion(name, whole.reason))
        return Translation(tuple(policies), (*(self.general if policies else ()), *notes))

    def _translate(self, draft: Draft, tasks: Sequence[Task], blocked: Sequence[Blocked]) -> Translated:
        attributes = draft.policy.to_dict()
        del attributes["id"]
        warnings = tuple(f"{plural(each.count, 'partition')} needs attention: {each.reason}" for each in blocked)
        return Translated(attributes, tuple(self._reasons(draft, tasks)), warnings)

    def _reasons(self, draft: Draft, tasks: Sequence[Task]) -> Iterator[str]:
        table = draft.of.table
        growth = str(find_growth(draft.of.pieces(table.partitions), to_ms(self.facts.cutoff)))
        there = describe(partitions=len(table.partitions), rows=table.rows, size=table.size)
        yield f"{table.name}: {there}" + (f"; grows by {growth} a day" if growth else "")
        yield f"{_expiring(draft.target)} The oldest data is of {moment(draft.oldest)}."
        first = amount(tasks)
        if first.tasks:
            due = describe(partitions=first.partitions, rows=first.rows, size=first.size) or "rows"
            yield f"A run now would delete {due}."
        else:
            yield "All present data is kept: a run now would delete nothing."
        if draft.policy.expected_max:
            yield "expected_max is twice the number of partitions that expire in a month; a run beyond it does nothing."


def _no_suggestion(table: TableName, why: object) -> str:
    return f"{table}: no suggestion: {why}"


def _with_numbers(of: UserTable, now: int) -> UserTable:
    """A table without timestamps whose only time is a partition column of whole numbers, by their magnitude."""
    if of.target or of.found != Why.NO_TIME_COLUMN():
        return of
    for position, column in enumerate(of.table.partition_columns):
        values = [partition.values[position] for partition in of.table.partitions]
        numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
        unit = _unit(max(numbers, default=0), now)
        if column.kind is Kind.NUMBER and column.expression is None and unit is not None:
            stated = None if unit is TimeUnit.MILLISECONDS else unit
            found = apply_delete(of.table, partition_column=column.name, time_unit=stated)
            if isinstance(found, Target):
                return replace(of, found=found)
    return of


def _unit(newest: int, now: int) -> TimeUnit | None:
    for unit, tick in ((TimeUnit.MILLISECONDS, 1), (TimeUnit.SECONDS, 1000)):
        if _FIRST <= newest * tick <= now + _AHEAD:
            return unit
    return None


def _age_probe(target: Target) -> Probe | None:
    """The question about the rows of a table that its age depends on; None if its definition gives it."""
    if target.by_rows and target.time_column is not None:
        return TableBounds(target.table.name, target.time_column, target.where)
    return target.bounds_probe


def _find_age(target: Target, ages: Measurements) -> int | None:
    probe = _age_probe(target)
    if isinstance(probe, TableBounds):
        return ages.ranges.get(probe, (None, None))[0]
    return find_oldest(PieceIndex(ages).of(target).known)


def choose_period(oldest: int, cutoff: dt.datetime) -> Duration:
    """The first of the common periods that keeps data of an instant (ms, UTC)."""
    limits = ((period, period.before(cutoff)) for period in PERIODS)
    return next(period for period, limit in limits if limit is None or to_ms(limit) <= oldest)


def _limits(facts: Facts) -> list[str]:
    """Comments on existing policies without a limit."""
    found = [f"{each.policy.rule} has no limit; one that fits: `{each.command}`" for each in find_unlimited(facts)]
    more = len(found) - _LISTED
    return found if more <= 0 else [*found[:_LISTED], f"{more:,} more policies have no limit."]


def _expiring(target: Target) -> str:
    """``Whole partitions expire, by ts.``"""
    time = target.time_column.name if target.time_column else ", ".join(column.name for column in target.columns)
    return f"{'Rows' if target.by_rows else 'Whole partitions'} expire, by {time}."
