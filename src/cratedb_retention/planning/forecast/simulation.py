"""
Runs the planner day by day on a simulated database.

Plans are made only on days on which something can be due. Tables are simulated independently. If only one policy
concerns a table, the verdict on its data depends on nothing but its age; of a maximum size, also on how much there is.
So one plan at the end of the forecast says what happens to all of it, and the policy's limits of each day say when.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cratedb_retention.model.archive import SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.forecast import Event, Part, Rate, Series
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.rollup import CreateRollup
from cratedb_retention.model.size import Size
from cratedb_retention.model.step import Kind
from cratedb_retention.model.time import EVER, to_ms
from cratedb_retention.planning.forecast.alike import describe_tables, renamed
from cratedb_retention.planning.forecast.growth import combined
from cratedb_retention.planning.forecast.present import Present, Start
from cratedb_retention.planning.forecast.tables import Account, GrowingTable
from cratedb_retention.planning.forecast.world import ArchiveKey, FindDay, Journal, World, always, archive_due
from cratedb_retention.planning.schedule import Timetable

# Tables in one plan.
_TOGETHER = 100
_NEVER, _ALWAYS = float("inf"), float("-inf")
# Others belong to an interrupted run, which the next one completes.
_STAGES = (SnapshotStage.ARCHIVED, SnapshotStage.SUPERSEDED, SnapshotStage.RESTORED)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    times: Sequence[int]
    series: tuple[Series, ...]
    events: tuple[Event, ...]
    notes: tuple[str, ...]  # What it does not take into account.


def simulate(present: Present) -> Outcome:
    """Simulate a run on each day from tomorrow on."""
    return Simulation(present).run()


class Calendar:
    """The days of a forecast: when each policy runs, and what is expired then."""

    def __init__(self, now: dt.datetime, days: int) -> None:
        self.cutoffs = [now + dt.timedelta(days=day) for day in range(days + 1)]
        self.times = [to_ms(cutoff) for cutoff in self.cutoffs]
        self._timetable = Timetable()
        self._runs: dict[tuple[str, str], list[int]] = {}
        self._limits: dict[tuple[object, ...], tuple[list[int], list[int]]] = {}

    @property
    def last(self) -> int:
        return len(self.times) - 1

    def runs(self, policy: Policy) -> Sequence[int]:
        """The days on which a policy runs: those with a slot of its schedule, else all but the first."""
        if not policy.schedule:
            return range(1, len(self.times))
        key = policy.schedule, policy.time_zone
        if key not in self._runs:
            slots = [self._timetable.newest(*key, cutoff) for cutoff in self.cutoffs]
            days = range(1, len(slots))
            self._runs[key] = [day for day in days if (slot := slots[day]) is not None and slot > self.cutoffs[day - 1]]
        return self._runs[key]

    def limits(self, policy: Policy, archive: bool = False) -> tuple[list[int], list[int]]:
        """The days on which a policy runs and expires data, and the expiry limit of each (ms, UTC)."""
        limit_of: Callable[[dt.datetime], int | None] = policy.archive_limit if archive else policy.limit
        period: Duration | None = policy.archive_period if archive else policy.retention_period
        if archive and policy.recoverable is not None:  # These end at an instant, whatever the age of their data is.
            limit_of, period = to_ms, None
        key = period, policy.time_zone, policy.cutoff_by, policy.schedule
        if key not in self._limits:
            known = [(day, limit) for day in self.runs(policy) if (limit := limit_of(self.cutoffs[day])) is not None]
            self._limits[key] = [day for day, _ in known], [limit for _, limit in known]
        return self._limits[key]

    def days_of(self, policy: Policy, archive: bool) -> FindDay:
        """Finds the first day on which a policy runs and finds data expired."""
        days, limits = self.limits(policy, archive)

        def find_day(end: int | None, after: int) -> int | None:
            place = bisect_left(limits, end) if end is not None else 0
            place = max(place, bisect_right(days, after)) if after else place
            return days[place] if place < len(days) else None

        return find_day


class Simulation:
    def __init__(self, present: Present) -> None:
        self._present, days = present, present.days
        self._calendar = Calendar(present.facts.cutoff, days)
        self._start = Start(present, self._calendar.times)
        self._journal = Journal(days)
        self._archived: defaultdict[ArchiveKey, Account] = defaultdict(lambda: Account(days))
        self._exceeded: dict[tuple[str | None, TableName], str] = {}  # Budgets that a run does not meet.
        self._records: dict[TableName, list[SnapshotRecord]] = defaultdict(list)
        for record in present.archives:
            if record.stage in _STAGES:
                archived = record.archived
                self._records[archived.table].append(record)
                account = self._archived[archived.table, archived.repository]
                account.add(0, archived.rows or 0, archived.size or 0, 1)
        self._special = self._find_special()

    def run(self) -> Outcome:
        leaping: dict[TableName, Policy] = {}
        policies, leaders = self._policies(), dict[Hashable, tuple[TableName, World]]()
        for source, names in self._present.groups.items():
            own = policies[source]
            if not own:
                for name in names:
                    self._start.tables[name].grow_at_once()
            elif self._leaps(names, own):
                leaping[source] = own[0]
            else:
                world, alike = self._world(names, own), self._describe(source, names, own)
                if alike is not None and alike in leaders:
                    self._follow(*leaders[alike], source, world)
                    self._end(world)
                else:
                    self._walk(world, own)
                    self._end(world)
                    # Others may have partitions that this one does not have if it is not written to each day.
                    if alike is not None and all(table.is_steady for table in world.tables.values()):
                        leaders[alike] = source, world
        for some in _chunks(list(leaping)):
            self._leap({name: leaping[name] for name in some})
        for record in (record for records in self._records.values() for record in records):
            self._note_left(record)
        series = sorted(self._series(), key=lambda each: (each.table, each.part is Part.ARCHIVE, each.repository))
        notes = (*self._start.gaps, *self._exceeded.values())
        return Outcome(times=self._calendar.times, series=tuple(series), events=tuple(self._journal), notes=notes)

    def _policies(self) -> dict[TableName, list[Policy]]:
        """The policies that concern each group, by its source."""
        by_id = {policy.id: policy for policy in self._start.planning.enabled}
        found: dict[TableName, list[Policy]] = {}
        for source, names in self._present.groups.items():
            ids = [target.policy.id for name in names for target in self._start.targets[name]]
            ids += [blocked.policy_id for name in names for blocked in self._start.undecided[name]]
            found[source] = [by_id[each] for each in dict.fromkeys(ids) if each in by_id]
        return found

    def _leaps(self, names: Sequence[TableName], policies: Sequence[Policy]) -> bool:
        """Whether the verdict on data depends on nothing but its age and, of a maximum size, on how much there is."""
        name, policy, targets = names[0], policies[0], self._start.targets[names[0]]
        alone = len(names) == 1 and len(policies) == 1 and len(targets) == 1 and not self._start.undecided[name]
        traits = policy.strategy.traits
        simple = traits.removes and not traits.rolls_up and policy.expected_max is None
        return alone and simple and (policy.max_size is None or self._goes_in_order(self._start.tables[name], policy))

    def _goes_in_order(self, table: GrowingTable, policy: Policy) -> bool:
        """Whether a maximum size takes one partition after the other, by age, and nothing keeps one of them back."""
        parts = table.parts.values()
        times = [table.time_of(partition.values) for partition in parts]
        distinct = len({time.end for time in times if time is not None}) == len(parts)
        single = len(table.grids) == 1 and len(table.growths) == 1 and distinct and not policy.shares_budget
        known = table.per_row is not None and all(each.size for each in parts)
        free = not any(each.missing_shards or each.read_only for each in parts)
        return single and known and free and table.name not in self._start.planning.table_holds

    def _world(self, names: Iterable[TableName], policies: Sequence[Policy]) -> World:
        names = list(names)
        return World(
            facts=self._present.facts,
            growing=[self._start.tables[name] for name in names],
            policies=policies,
            records=[record for name in names for record in self._records[name]],
            archived=self._archived,
            journal=self._journal,
            varied=self._present.varied,
            make_level=self._start.make_level,
        )

    def _leap(self, policies: Mapping[TableName, Policy]) -> None:
        """Plan once, at the end, and again as long as archives end that this made; given the policy of each table."""
        last, calendar = self._calendar.last, self._calendar
        world = self._world(policies, list({policy.id: policy for policy in policies.values()}.values()))
        within: dict[TableName, FindDay] = {}
        for name, policy in policies.items():
            table, most = world.tables[name], policy.max_size
            arrived = table.arrived() if most else ()
            table.grow_at_once(sized=most is not None)
            if most:
                within[name] = self._days_within(table, policy, most, arrived)

        def days_of(policy: Policy, table: TableName, archive: bool) -> FindDay:
            return within[table] if table in within and not archive else calendar.days_of(policy, archive)

        again = True
        while again:
            removed = [world.apply(task, last, days_of) for task in world.plan(calendar.cutoffs[last]).tasks]
            again = any(removed) and any(policy.archives for policy in world.policies)
        self._end(world)

    def _end(self, world: World) -> None:
        """Note the archives that are there at the end."""
        for name in world.tables:
            self._records.pop(name, None)
        for record in world.archives.values():
            self._note_left(record)

    def _note_left(self, record: SnapshotRecord) -> None:
        archived = record.archived
        if archived.start is not None:
            self._archived[archived.table, archived.repository].note_left(archived.start)

    def _days_within(self, table: GrowingTable, policy: Policy, most: Size, arrived: Sequence[float]) -> FindDay:
        """
        Finds the day on which a partition expires by its age, or because there is more than a maximum size: the oldest
        go first, and none that is younger than the floor.

        :param arrived: The bytes that have arrived until each day.
        """
        ages, floors = (dict(zip(*self._calendar.limits(each), strict=True)) for each in (policy, policy.over_budget))
        times = ((table.time_of(values), partition.size) for values, partition in table.parts.items())
        oldest_first = sorted((time.end, size or 0) for time, size in times if time is not None)
        days, gone, first = dict[int | None, int](), 0, 0
        for day in self._calendar.runs(policy):
            expired, floor = ages.get(day, EVER.start), floors.get(day, EVER.start)
            while first < len(oldest_first):
                end, size = oldest_first[first]
                if end > expired and (end > floor or arrived[day] - gone <= most.bytes):
                    break
                days[end], gone, first = day, gone + size, first + 1
            if (left := round(arrived[day] - gone)) > most.bytes:
                why = Why.BUDGET_EXCEEDED(size=most.show(left), tables=1, budget=most, floor=policy.min_retention)
                self._note_exceeded(policy.id, table.name, day, why)
        return lambda end, after: days.get(end)

    def _note_exceeded(self, policy_id: str | None, table: TableName, day: int, why: Reason) -> None:
        note = f"{table}: on {self._calendar.cutoffs[day].date()}, {why}"
        self._exceeded.setdefault((policy_id, table), note)

    def _walk(self, world: World, policies: Sequence[Policy]) -> None:
        """Plan on each day on which something can be due."""
        times, runs = self._calendar.times, {policy.id: frozenset(self._calendar.runs(policy)) for policy in policies}
        # The instant from which a run of each policy may find something due.
        waiting: dict[str | None, float] = dict.fromkeys(runs, _ALWAYS)
        sized = [policy for policy in policies if policy.max_size is not None]
        aging = {each.id for each in policies if each.strategy.traits.rolls_up or not each.retention_period.forever}
        for day in range(1, len(times)):
            grown = [table.grow(day, day) for table in list(world.tables.values())]
            running = frozenset(each for each, days in runs.items() if day in days)
            # A partition that appears is never due before those that are known.
            new = running & aging if any(grown) else frozenset()
            due = any(waiting[each] <= times[day] or (waiting[each] == _NEVER and each in new) for each in running)
            if not due and not any(policy.id in running and world.may_exceed(policy) for policy in sized):
                continue
            plan = world.plan(self._calendar.cutoffs[day], running)
            for task in plan.tasks:
                world.apply(task, day)
            for each in (each for each in plan.blocked if each.why.why is Why.BUDGET_EXCEEDED):
                self._note_exceeded(each.policy_id, each.table, day, each.why)
            waiting |= {each: self._due_from(each, plan, world) for each in running}

    def _due_from(self, policy_id: str | None, plan: Plan, world: World) -> float:
        """The instant from which a policy may find something due, after a plan was carried out."""
        policy = next(policy for policy in world.policies if policy.id == policy_id)
        targets = [target for name in world.tables for target in self._start.targets[name]]
        # What was not done at once may be done by the next run: windows that are whole then, and claims of others. Rows
        # expire each day; levels are rolled up when partitions need it.
        worked = any(task.kind not in (Kind.ROLL_UP, Kind.OTHER) for task in plan.tasks)
        waits = policy.strategy.traits.rolls_up and any(each.pieces for each in plan.blocked)
        if worked or waits or any(target.by_rows for target in targets):
            return _ALWAYS
        due = [each.next_due for each in plan.up_to_date if each.policy_id == policy_id]
        if policy.archives:
            due += [archive_due(record, policy) for record in world.archives.values()]
        return min((each for each in due if each is not None), default=_NEVER)

    def _find_special(self) -> frozenset[TableName]:
        """Tables of which more is known than partitions and levels: holds, archives, and what runs left."""
        facts, start = self._present.facts, self._start
        found = {name for name, known in (*self._records.items(), *start.undecided.items()) if known}
        left = {*(name for name, _ in facts.frozen), *(name for name, _, _ in facts.restored)}
        return frozenset({*found, *left, *start.planning.table_holds})

    def _describe(self, source: TableName, names: Sequence[TableName], policies: Sequence[Policy]) -> Hashable | None:
        """What tables that follow each other have in common; None: this one is simulated on its own."""
        targets = [target for name in names for target in self._start.targets[name]]
        inexact = any(target.by_rows or not target.grids for target in targets)
        if inexact or not self._special.isdisjoint(names) or any(p.expected_max or p.max_size for p in policies):
            return None
        about = describe_tables(source, [self._start.tables[name] for name in names], self._present.facts.ledger)
        ids = tuple(policy.id for policy in policies)
        return None if about is None else (ids, source.schema, self._present.varied.get(source), about)

    def _follow(self, leader: TableName, led: World, source: TableName, world: World) -> None:
        """Let tables have the fate of others that are alike."""
        begin = min((day for day, _, step in led.script if isinstance(step, CreateRollup)), default=0)
        for table in list(world.tables.values()):
            table.grow(1, begin)
        ahead = False
        for day, task, step in led.script:
            if not ahead and (day > begin or not isinstance(step, CreateRollup)):
                for table in world.tables.values():
                    table.grow_at_once(begin + 1)
                ahead = True
            known = set(world.tables)
            world.perform(task, renamed(step, leader, source), day, always(day))
            for name in world.tables.keys() - known if ahead else ():
                world.tables[name].grow_at_once(day + 1)
        if not ahead:
            for table in world.tables.values():
                table.grow_at_once(begin + 1)

    def _series(self) -> Iterator[Series]:
        tables, times = self._start.tables, self._calendar.times
        for table in tables.values():
            yield table.series(times, combined(table.growths.values()).rate)
        unsized = {
            (one.archived.table, one.archived.repository) for one in self._present.archives if one.archived.size is None
        }
        for (name, repository), account in self._archived.items():
            sized = (name, repository) not in unsized and (name not in tables or tables[name].per_row is not None)
            about: dict[str, Any] = {"part": Part.ARCHIVE, "table": name, "source": name, "repository": repository}
            rate = Rate(why="what runs archive")
            yield account.series(times, sized=sized, sharded=False, rate=rate, **about)


def _chunks(names: Sequence[TableName]) -> Iterator[list[TableName]]:
    rest = iter(names)
    while some := list(islice(rest, _TOGETHER)):
        yield some
