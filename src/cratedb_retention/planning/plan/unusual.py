"""
Finds what is unusual about a plan, by comparison with earlier runs. It is blocked until a person accepts it.

What became due since the last run is explained by the elapsed time, or for a maximum size by the data that arrived,
however much that is. Anything else was due by then, if the policy was the same, and that run would have removed it.
So a retention period was shortened, a filter was lost, a pattern matches more tables, or the times of the data changed.
Time without runs and data may be an error of the clock, and explains little.

Only large removals are compared, so that earlier runs are rarely read: those of a considerable share of a table. They
are unusual if one of the latest runs removed far less. The first run of a policy cannot be compared.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from cratedb_retention.model.archive import Archived
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.effect import REMOVING, total
from cratedb_retention.model.plan.measurements import ExpiredRows, TableBounds
from cratedb_retention.model.plan.plan import DeleteRows, DeleteSnapshot, Plan, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.rollup import SealWindows, Window
from cratedb_retention.model.runs import Past, Removed
from cratedb_retention.model.step import Kind, Piece
from cratedb_retention.model.time import DAY_MS, from_ms, to_ms
from cratedb_retention.model.words import plural
from cratedb_retention.planning.archive import hold_on
from cratedb_retention.planning.facts import Facts, PartitionKey
from cratedb_retention.planning.holds import holds_by_table
from cratedb_retention.planning.plan.budget import Budgets
from cratedb_retention.planning.plan.strategies import Context
from cratedb_retention.planning.targets import FilterIndex, Target

# The policy, the table, and whether it is about archives of the table.
Removal = tuple[str, TableName, bool]
# What is compared: more than this share of the data that a policy covers, and more than this number of rows; more than
# that number of partitions or archives, if their rows are unknown.
_SHARE, _FEW, _FEW_PARTITIONS = 0.1, 30, 3
# How many times as much as one of the latest runs is unusual.
_TIMES = 3
# The clock is questioned if more than this share is due only after this time without runs and data.
_MOST, _PAUSE = 1 / 3, dt.timedelta(days=2)


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A large removal."""

    policy: Policy  # Of a level, with its retention period.
    table: TableName
    target: Target | None  # None for archives.
    tasks: Sequence[Task]
    due: Removed
    share: float  # Of the data that the policy covers on this table; 1 if unknown.
    newest: int  # Up to when this data may be (ms, UTC); 0 if unknown.

    @property
    def removal(self) -> Removal:
        return self.policy.id or "", self.table, self.target is None

    def words(self, amount: Removed) -> str:
        """An amount of it as text: ``45 partitions with 1,080 rows``."""
        rows = "" if amount.rows is None else plural(amount.rows, "row")
        noun = "archive" if self.target is None else "partition"
        parts = "" if self.target is not None and self.target.by_rows else plural(amount.partitions, noun)
        return " with ".join(filter(None, (parts, rows)))

    def share_of(self, part: Removed) -> float:
        """The share of the data that a part of it is."""
        known = None not in (part.rows, self.due.rows)
        number, of = (each.number if known else each.partitions for each in (part, self.due))
        return self.share * number / max(1, of)

    def is_unusual(self, past: Past, part: Removed | None = None) -> bool:
        """
        Whether it is large, and far more than one of the latest runs removed.

        :param part: Only this part of it.
        """
        amount = part or self.due
        few = _FEW_PARTITIONS if amount.rows is None else _FEW
        if amount.number <= few or self.share_of(amount) <= _SHARE:
            return False
        if not past.is_long:
            return True
        if amount.rows is not None and all(each.rows is not None for each in past.removed):
            return amount.number > _TIMES * min(each.number for each in past.removed)
        return amount.partitions > _TIMES * min(each.partitions for each in past.removed)

    def confirmed(self, past: Past, newest: int, cutoff: dt.datetime) -> dt.datetime | None:
        """
        The last instant that a run or data confirms (aware); None if the clock is not in question.

        :param newest: The time of the newest data of all tables (ms, UTC), see `find_newest`.
        """
        known = max(past.time, from_ms(newest), from_ms(self.newest))
        return known if self.share > _MOST and cutoff - known >= _PAUSE else None

    def probes(self, past: Past, newest: int, cutoff: dt.datetime) -> Iterator[ExpiredRows]:
        """What else has to be read from rows for the comparison."""
        earlier = filter(None, [past.cutoff, self.confirmed(past, newest, cutoff)])
        yield from filter(None, map(self.probe_at, earlier))

    def probe_at(self, cutoff: dt.datetime) -> ExpiredRows | None:
        """The probe for the rows that were expired at an earlier cutoff; None if the plan tells it."""
        step, limit = self.tasks[0].steps[-1], self.policy.limit(cutoff)
        if not isinstance(step, DeleteRows) or step.since is not None or limit is None:
            return None
        return ExpiredRows(
            table=step.table,
            time_column=step.time_column,
            before=min(limit, step.before),
            where=step.where,
            spared=step.spared,
        )


def find_suspects(plan: Plan, facts: Facts, targets: Iterable[Target]) -> list[Suspect]:
    """
    The removals of a plan that are large enough to be compared with earlier runs.

    :param targets: All targets of the plan, among them levels.
    """
    removing: dict[Removal, list[Task]] = defaultdict(list)
    for task in plan.tasks:
        if task.policy_id is not None and task.kind in REMOVING:
            removing[task.policy_id, task.table, task.kind is Kind.END_ARCHIVE].append(task)
    amounts = {
        removal: Removed(partitions=sum(task.partitions for task in tasks), rows=total(task.rows for task in tasks))
        for removal, tasks in removing.items()
    }
    large = {
        removal: due for removal, due in amounts.items() if due.number > (_FEW_PARTITIONS if due.rows is None else _FEW)
    }
    policies = {policy.id: policy for policy in facts.policies} if large else {}
    on = {(target.policy.id, target.table.name): target for target in targets} if large else {}
    found = []
    for (policy_id, table, of_archives), due in large.items():
        target = None if of_archives else on.get((policy_id, table))
        if target is None and not of_archives:
            continue
        policy, tasks = target.policy if target else policies[policy_id], removing[policy_id, table, of_archives]
        share = _share(due, target, facts) if target else _share_of_archives(due, policy, table, facts)
        if share > _SHARE:
            newest = _newest(target, facts)[1] if target else 0
            about: dict[str, Any] = {"policy": policy, "table": table, "target": target, "tasks": tasks}
            found.append(Suspect(**about, due=due, share=share, newest=newest))
    return found


def _share_of_archives(due: Removed, policy: Policy, table: TableName, facts: Facts) -> float:
    rows = facts.archived_rows.get((policy.id or "", table))
    return due.rows / rows if rows and due.rows is not None else 1.0


def _share(due: Removed, target: Target, facts: Facts) -> float:
    if target.by_rows:
        whole = None if target.where else target.table.rows
        return min(1.0, due.rows / whole) if whole and due.rows is not None else 1.0
    pieces = facts.pieces.of(target)
    rows = total(piece.partition.rows for piece in (*pieces.known, *pieces.unknown))
    return due.rows / rows if rows and due.rows is not None else due.partitions / len(pieces)


def find_newest(facts: Facts, targets: Iterable[Target]) -> int:
    """A time up to which some table has data for sure (ms, UTC)."""
    return max((_newest(target, facts)[0] for target in targets), default=0)


def _newest(target: Target, facts: Facts) -> tuple[int, int]:
    """The earliest and the latest time of the newest data of a table; data of the future tells nothing."""
    now = to_ms(facts.cutoff)
    if target.by_rows:
        times = facts.measurements.ranges
        known = target.time_column and times.get(TableBounds(target.table.name, target.time_column, target.where))
        newest = (known[1] if known else None) or 0
        return (newest, newest) if newest <= now + DAY_MS else (0, 0)
    filled = (
        (piece.start or 0, piece.end or 0) for piece in facts.pieces.of(target).known if piece.partition.rows != 0
    )
    start, end = max((each for each in filled if each[0] <= now), default=(0, 0))
    return start, min(end, now)


def find_unusual(
    suspects: Iterable[Suspect],
    pasts: Mapping[Removal, Past],
    facts: Facts,
    targets: Collection[Target],
    counted: Mapping[ExpiredRows, int],
    released: Iterable[LegalHold] = (),
) -> dict[Removal, Reason]:
    """
    The large removals that earlier runs do not explain, with the comparison.

    :param pasts: What is known of earlier runs; of a removal without them, this is the first.
    :param targets: All targets of the plan: their data shows whether the clock is right.
    :param counted: The answers to the probes of suspects.
    :param released: Legal holds that were released since: what they protected is due now.
    """
    found: dict[Removal, Reason] = {}
    earlier, holds, newest = _Earlier(facts, targets, counted), list(released), find_newest(facts, targets)
    for suspect in suspects:
        past = pasts.get(suspect.removal)
        if past is None or not suspect.is_unusual(past):
            continue
        early, confirmed = earlier.due(suspect, past.cutoff, holds), suspect.confirmed(past, newest, facts.cutoff)
        due, share = suspect.words(suspect.due), 100 * suspect.share
        if suspect.is_unusual(past, early):
            words, last, usual = suspect.words(early), to_ms(past.cutoff), _usual(suspect, past)
            found[suspect.removal] = Why.FAR_MORE(due=due, share=share, early=words, last=last, usual=usual)
        elif confirmed and suspect.share - suspect.share_of(earlier.due(suspect, confirmed)) > _MOST:
            last, now = to_ms(confirmed), to_ms(facts.cutoff)
            found[suspect.removal] = Why.CLOCK_AHEAD(due=due, share=share, last=last, cutoff=now)
    return found


def _usual(suspect: Suspect, past: Past) -> str:
    """The least that one of the latest runs removed, as text."""
    if not past.removed:
        return "no earlier run removed any"
    least = suspect.words(min(past.removed, key=lambda each: each.number))
    return f"one of the last runs removed only {least}"


class _Earlier:
    """What was due at earlier cutoffs already, by the present policies."""

    def __init__(self, facts: Facts, targets: Iterable[Target], counted: Mapping[ExpiredRows, int]) -> None:
        self._facts, self._targets, self._counted = facts, list(targets), counted
        self._over: dict[tuple[str | None, dt.datetime], set[PartitionKey]] = {}

    def due(self, suspect: Suspect, cutoff: dt.datetime, released: Sequence[LegalHold] = ()) -> Removed:
        """What of a removal was due at an earlier cutoff, and was under none of the legal holds released since."""
        target, facts = suspect.target, self._facts
        if target is None:
            ended = (archived for task in suspect.tasks for archived in self._ended(task, suspect.policy, cutoff))
            archives = [each for each in ended if not hold_on(each, released, facts.catalog.capabilities)]
            return Removed(partitions=len(archives), rows=total(each.rows for each in archives))
        holds = holds_by_table(released, facts.catalog).get(target.table.name, [])
        if target.by_rows:
            return Removed(partitions=0, rows=0 if holds else self._rows(suspect, cutoff))
        index = FilterIndex(target.columns, [(hold, hold.where or ()) for hold in holds])
        pieces = [
            piece
            for task in suspect.tasks
            for piece in self._pieces(task, target, cutoff)
            if not any(h.hold.overlaps(piece.start, piece.end) for h in index.fitting(piece.partition.values))
        ]
        return Removed(partitions=len(pieces), rows=total(piece.partition.rows for piece in pieces))

    def _ended(self, task: Task, policy: Policy, cutoff: dt.datetime) -> Iterator[Archived]:
        """The archives whose period was over."""
        until = {record.key: record.recoverable_until for record in self._facts.archives}
        for archived in (step.archived for step in task.steps if isinstance(step, DeleteSnapshot)):
            end, limit = archived.end, policy.archive_limit(cutoff)
            if (recoverable := until.get((archived.repository, archived.name))) is not None:
                end, limit = to_ms(recoverable), to_ms(cutoff)
            if end is not None and limit is not None and end <= limit:
                yield archived

    def _rows(self, suspect: Suspect, cutoff: dt.datetime) -> int:
        """The rows that were expired; in windows, as if these had equally many."""
        limit, probe, found = suspect.policy.limit(cutoff), suspect.probe_at(cutoff), 0
        if limit is None:
            return 0
        if probe is not None:
            return self._counted.get(probe, suspect.due.number)
        for task in suspect.tasks:
            windows = _windows(task)
            found += (task.rows or 0) * sum(window.end <= limit for window in windows) // max(1, len(windows))
        return found

    def _pieces(self, task: Task, target: Target, cutoff: dt.datetime) -> Iterator[Piece]:
        """The partitions that were due, and so were the windows that they are rolled up in."""
        over = self._over_budget(target.policy, cutoff) if task.why.why is Why.OVER_BUDGET else None
        limit = target.policy.limit(cutoff) if over is None else to_ms(cutoff)
        later = [window for window in _windows(task) if limit is not None and window.end > limit]
        for piece in task.steps[-1].about:
            start, end = piece.start, piece.end
            if end is None or limit is None or end > limit:
                continue
            if over is not None and (target.table.name, piece.partition.values) not in over:
                continue
            if not any(window.start < end and (start is None or start < window.end) for window in later):
                yield piece

    def _over_budget(self, policy: Policy, cutoff: dt.datetime) -> set[PartitionKey]:
        """The partitions that were too much for the maximum size of a policy, without those that may have grown."""
        if (policy.id, cutoff) not in self._over:
            own = {target.table.name for target in self._targets if target.policy.id == policy.id}
            # Levels have no maximum size.
            raw = (each for each in self._targets if each.policy.id != policy.id or each.policy.max_size is not None)
            then = [self._as_of(target, to_ms(cutoff)) for target in raw if target.table.name in own]
            facts = {each.name: getattr(self._facts, each.name) for each in fields(Facts)}
            budgets = Budgets(Context(**{**facts, "cutoff": cutoff}), then, lambda each: each.id == policy.id)
            self._over[policy.id, cutoff] = {
                (target.table.name, piece.partition.values)
                for target in then
                if (budget := budgets.of(target)) is not None
                for piece in budget.expired.get(target.table.name, ())
            }
        return self._over[policy.id, cutoff]

    def _as_of(self, target: Target, last: int) -> Target:
        """A target without the partitions that end later."""
        pieces = self._facts.pieces.of(replace(target, where=()))
        there = tuple([each.partition for each in (*pieces.known, *pieces.unknown) if (each.end or 0) <= last])
        return replace(target, table=replace(target.table, partitions=there))


def _windows(task: Task) -> list[Window]:
    return [window for step in task.steps if isinstance(step, SealWindows) for window in step.windows]
