"""
Plans that earlier runs explain, and others that they do not: an ordinary year of many policies, simulated day by day,
in which nothing is unusual; and mistakes in the midst of it, which are.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import Catalog, Column, Table, TableName
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Bound, ExpiredRows, Measurements, Probe, TableBounds
from cratedb_retention.model.plan.plan import DeleteRows, Plan
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.runs import COMPARED, Past, Removed
from cratedb_retention.model.size import Size
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.plan.unusual import find_newest, find_suspects, find_unusual
from support.catalogs import DAILY, DAY, METRICS, MONTH, TENANT, TS, VALUE, WEEK, at, catalog, part, policy, table
from support.planning import make_plan
from support.simulation import SimulatedDatabase
from support.tiers import examples

# What tables are partitioned by, how long their data is kept, and of how many usual days there is room for the data.
KINDS = (
    (DAILY, "7d", 0),
    (DAILY, "forever", 40),
    (None, "14d", 0),
    (WEEK, "12w", 0),
    (MONTH, "6mo", 0),
    (DAILY, "30d", 0),
    (DAILY, "90d", 0),
    (None, "60d", 0),
    (MONTH, "forever", 120),
)
START = at("2024-01-01T03:00:00+00:00")
A_DAY = dt.timedelta(days=1)
YEAR = 365
QUICK = (len(KINDS), 120)  # Tables and days of a smaller world.


def start_of(day: int, column: Column | None) -> int:
    """The start (ms, UTC) of the partition with a day of the year."""
    moment = (START + day * A_DAY).replace(hour=0)
    if column == MONTH:
        moment = moment.replace(day=1)
    elif column == WEEK:
        moment -= moment.weekday() * A_DAY
    return to_ms(moment)


@dataclass
class Life:
    """
    A table, its policy, and what earlier runs removed from it.

    :param column: What it is partitioned by; None: rows expire one by one.
    :param every: Days between two runs.
    :param first: The day of the first run.
    :param until: The day after which nothing is written any more.
    :param rows: Its rows, by the start of partitions or days.
    """

    policy: Policy
    column: Column | None
    rate: int
    every: int = 1
    first: int = 0
    until: int = YEAR
    rows: Counter[int] = field(default_factory=Counter)
    removed: list[tuple[dt.datetime, Removed]] = field(default_factory=list)
    succeeded: dt.datetime | None = None

    @property
    def name(self) -> TableName:
        """The name of its table."""
        return TableName("doc", self.policy.table_name)

    def write(self, day: int, rows: int) -> None:
        """Rows of a day arrive."""
        self.rows[start_of(day, self.column)] += rows

    def table(self) -> Table:
        """As the catalog shows it."""
        if self.column is None:
            return table([TS, VALUE], name=self.name, rows=self.rows.total())
        parts = [part(start, rows=rows, size=rows) for start, rows in sorted(self.rows.items())]
        return table([TS, VALUE, self.column], [self.column.name], parts, self.name)

    def past(self) -> Past | None:
        """What is known of its runs."""
        latest = self.removed[: -COMPARED - 1 : -1]
        last = latest[0][0] if latest else self.succeeded
        return Past(cutoff=last, time=last, removed=tuple(removed for _, removed in latest)) if last else None

    def remove(self, plan: Plan, cutoff: dt.datetime) -> None:
        """What a plan removes is gone."""
        before, partitions = self.rows.total(), 0
        for step in (task.steps[-1] for task in plan.tasks if task.table == self.name):
            if isinstance(step, DeleteRows):
                gone = [start for start in self.rows if start < step.before]
            else:
                values = (piece.partition.values[0] for piece in step.about)
                gone = [start for start in values if isinstance(start, int)]
                partitions += len(gone)
            for start in gone:
                del self.rows[start]
        if before > self.rows.total():
            self.removed.append((cutoff, Removed(partitions=partitions, rows=before - self.rows.total())))
        self.succeeded = cutoff


class World:
    """Tables with policies that are run day by day; nothing is random but by the seed."""

    def __init__(self, number: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lives = [self._life(number) for number in range(number)]
        self.pause = range(60, 60 + self.chance.randrange(20, 40))
        self.held: dict[TableName, LegalHold] = {}
        self.released: list[tuple[dt.datetime, LegalHold]] = []
        self.compared = 0

    def _life(self, number: int) -> Life:
        chance, (column, period, room) = self.chance, KINDS[number % len(KINDS)]
        rate = chance.randrange(100, 10_000)
        budget = {"max_size": room * rate, "min_retention": "3d"} if room else {}
        life = Life(
            policy("delete", period, id=f"p{number}", table_name=f"t{number}", **budget),
            column,
            rate=rate,
            every=7 if number % 4 == 3 else 1,
            first=chance.randrange(YEAR // 2) if number % 5 == 4 else 0,
            until=chance.randrange(YEAR) if number % 6 == 5 else YEAR,
        )
        for day in range(-chance.choice([5, 100, 200]), 0):
            life.write(day, life.rate)
        return life

    def _write(self, day: int) -> None:
        chance = self.chance
        for life in (life for life in self.lives if day < life.until):
            usual = life.rate * (1 + 2 * day / YEAR) * chance.uniform(0.5, 1.5)  # It grows, and is not regular.
            life.write(day, round(usual * (20 if chance.random() < 0.01 else 1)))
            if chance.random() < 0.1:  # Some rows are late, for days that are expired as well.
                life.write(day - chance.randrange(400), life.rate // 50)

    def _hold(self, day: int) -> None:
        """Legal holds on what is old are placed and released."""
        for life in self.lives:
            if day % 50 == 0 and self.chance.random() < 0.2 and life.name not in self.held and life.column:
                end = start_of(day - 5, life.column)
                self.held[life.name] = LegalHold(
                    id=f"{life.name.name}-{day}", table_schema="doc", table_name=life.name.name, end=end
                )
            elif life.name in self.held and self.chance.random() < 0.02:
                self.released.append((START + day * A_DAY, self.held.pop(life.name)))

    def _measure(self, probes: Iterable[Probe]) -> Measurements:
        rows, ranges = dict[ExpiredRows, int](), dict[TableBounds, Bound]()
        known = {life.name: life.rows for life in self.lives}
        for probe in probes:
            if isinstance(probe, ExpiredRows):
                rows[probe] = sum(count for start, count in known[probe.table].items() if start < probe.before)
            elif isinstance(probe, TableBounds):
                times = known[probe.table]
                ranges[probe] = (min(times, default=None), max(times, default=None))
        return Measurements(rows=rows, ranges=ranges)

    def run(self, day: int, ahead: dt.timedelta = dt.timedelta(0)) -> dict[str, Reason]:
        """What is unusual in the run of a day, by policy; the rest is removed."""
        due = [life for life in self.lives if day >= life.first and day % life.every == 0 and day not in self.pause]
        cutoff, ids = START + day * A_DAY + ahead, {life.policy.id for life in due}
        planning = Planning(
            policies=[life.policy for life in self.lives],
            catalog=catalog(*(life.table() for life in self.lives)),
            cutoff=cutoff,
            holds=list(self.held.values()),
        )
        planning = replace(planning, measurements=self._measure(planning.probes()))
        plan = planning.plan(lambda policy: policy.id in ids)
        targets, by_name = planning.looked_at, {life.name: life for life in due}
        suspects = find_suspects(plan, planning, targets)
        pasts = {each.removal: past for each in suspects if (past := by_name[each.table].past())}
        known, newest = [each for each in suspects if each.removal in pasts], find_newest(planning, targets)
        probes = (probe for each in known for probe in each.probes(pasts[each.removal], newest, cutoff))
        first = min((past.time for past in pasts.values()), default=cutoff)
        released = [hold for time, hold in self.released if time >= first]
        found = find_unusual(suspects, pasts, planning, targets, self._measure(probes).rows, released)
        self.compared += len(pasts)
        stopped = {table for _, table, _ in found}
        for life in (life for life in due if life.name not in stopped):
            life.remove(plan, cutoff)
        return {policy_id: why for (policy_id, _, _), why in found.items()}

    def live(self, days: range) -> Iterator[tuple[int, str, Reason]]:
        """Some days, with what was unusual."""
        for day in days:
            self._write(day)
            self._hold(day)
            yield from ((day, policy_id, why) for policy_id, why in self.run(day).items())


@cache
def lived(number: int, days: int) -> tuple[World, list[tuple[int, str, Reason]]]:
    """A world after some days, and what was unusual."""
    world = World(number, seed=1)
    return world, list(world.live(range(days)))


@pytest.mark.slow("in the long tier, a year of 200 policies")
def test_an_ordinary_year() -> None:
    """
    Nothing is unusual in a year of policies that begin, pause and go on; of tables that grow, end, get bursts of rows
    and late ones; of maximum sizes; and of legal holds that are placed and released.
    """
    world, unusual = lived(examples(QUICK[0], 200), examples(QUICK[1], YEAR))
    assert unusual == []
    assert world.compared > 20
    assert all(life.removed for life in world.lives if life.first == 0 and life.until == YEAR and life.column == DAILY)


@pytest.mark.parametrize(
    ("concerns", "changes", "ahead", "code"),
    [
        (lambda rule: not rule.max_size, {"retention_period": parse_duration("1d")}, 0, "far-more"),
        (lambda rule: rule.max_size, {"max_size": Size(1000)}, 0, "far-more"),
        (lambda rule: not rule.max_size, {}, 3650, "clock-ahead"),
    ],
    ids=["period", "size", "clock"],
)
def test_a_mistake_in_such_a_year(
    concerns: Callable[[Policy], bool], changes: dict[str, Any], ahead: int, code: str
) -> None:
    """Whatever has happened before, it is noticed on each table that would lose much, and the day after it as well."""
    world, today = deepcopy(lived(*QUICK)[0]), QUICK[1]
    lives = [life for life in world.lives if life.until > today and life.name not in world.held and life.past()]
    lives = [life for life in lives if life.every == 1 and life.column != MONTH and concerns(life.policy)]
    for life in lives:
        life.policy = life.policy.model_copy(update=changes)
    for day in (today, today + 1):
        found = {policy_id: why.code for policy_id, why in world.run(day, ahead * A_DAY).items()}
        assert {life.policy.id: found.get(life.policy.id or "") for life in lives} == {
            life.policy.id: code for life in lives
        }
    assert lives


# Sixty days with a hundred rows each, of which a policy of five days would remove most.
NOW = at("2024-07-02T03:00:00+00:00")
DAYS = [part(to_ms(NOW.replace(hour=0)) - age * DAY, rows=100) for age in range(60, -1, -1)]
FOUND = catalog(table([TS, VALUE, DAILY], ["day"], DAYS))


def past(days: int, *removed: int, time: dt.datetime | None = None) -> Past:
    """The last run was some days ago; how many rows the latest ones removed, by whole partitions."""
    cutoff = NOW - days * A_DAY
    latest = tuple(Removed(partitions=rows // 100, rows=rows) for rows in removed)
    return Past(cutoff=cutoff, time=time or cutoff, removed=latest)


def judge(
    period: str,
    past: Past,
    *,
    now: dt.datetime = NOW,
    released: Iterable[LegalHold] = (),
    there: Catalog = FOUND,
    **more: Any,
) -> tuple[Reason | None, Plan]:
    """What is unusual about a policy of this period, and the plan with that."""
    rules = [policy("delete", period, id="p", **more)]
    planning = Planning(policies=rules, catalog=there, cutoff=now)
    plan = planning.plan()
    suspects = find_suspects(plan, planning, planning.looked_at)
    pasts = {each.removal: past for each in suspects}
    found = find_unusual(suspects, pasts, planning, planning.looked_at, {}, released)
    return next(iter(found.values()), None), make_plan(rules, there, now, unusual=found)


def test_the_comparison() -> None:
    """The reason says what is due, what the last run left, and what is usual; nothing of it is planned."""
    why, plan = judge("5d", past(1, 100, 200, 100))
    assert str(why).startswith(
        "55 partitions with 5,500 rows are due, 90.2 % of the data; of these, 54 partitions with 5,400 rows had "
        "expired before the last run of 2024-07-01T03:00Z, by the present policy, and stayed; one of the "
        "last runs removed only 1 partition with 100 rows; "
    )
    assert plan.tasks == ()
    assert ([each.count for each in plan.needs_attention], why.acceptable if why else None) == ([55], True)


@pytest.mark.parametrize(
    ("period", "past", "unusual"),
    [
        ("5d", past(60), False),  # What became due since is explained.
        ("5d", past(1), True),
        ("55d", past(1), False),  # A small share.
        ("5d", past(1, 1800, 9000, 2000), False),  # So much is usual.
        ("5d", past(1, 1799, 9000, 2000), True),
        ("5d", past(1, 9000, 9000), True),  # Two runs are too few to know.
    ],
)
def test_what_is_unusual(period: str, past: Past, unusual: bool) -> None:
    """It is more than the elapsed time explains, a large share, and far more than each of the latest runs removed."""
    assert (judge(period, past)[0] is not None) is unusual


@pytest.mark.parametrize(("size", "days", "unusual"), [(5100, 10, False), (5100, 1, True), (600, 10, True)])
def test_a_maximum_size(size: int, days: int, unusual: bool) -> None:
    """What goes since there is too much is explained by the data that arrived since the last run, and by no more."""
    why, plan = judge("forever", past(days), max_size=size, min_retention="1d")
    assert (why is not None and why.why is Why.FAR_MORE) is unusual
    assert (plan.tasks == ()) is unusual


def test_unknown_rows() -> None:
    """Where the rows of partitions are unknown, more than three partitions are many."""
    unknown = catalog(table([TS, VALUE, DAILY], ["day"], [each._replace(rows=None) for each in DAYS[-20:]]))
    assert [judge(period, past(1), there=unknown)[0] is not None for period in ("5d", "14d", "15d")] == [
        True,
        True,
        False,
    ]


def test_earlier_runs_with_unknown_rows() -> None:
    """Their partitions are compared, and the run that removed least counts."""
    few, many = (Removed(partitions=count, rows=None) for count in (1, 50))
    assert judge("5d", replace(past(1), removed=(many, few, many)))[0] is not None
    assert judge("5d", replace(past(1), removed=(many, many, many)))[0] is None


def test_rows_of_a_filter() -> None:
    """How many rows a filter covers is unknown, so what is due of them may be all, however large the table is."""
    rules, there = [policy("delete", "5d", id="p", where={"tenant": "a"})], catalog(table([TS, TENANT], rows=10**6))
    probes = Planning(policies=rules, catalog=there, cutoff=NOW).probes()
    measured = Measurements(rows={each: 500 for each in probes if isinstance(each, ExpiredRows)})
    planning = Planning(policies=rules, catalog=there, cutoff=NOW, measurements=measured)
    assert [each.share for each in find_suspects(planning.plan(), planning, planning.looked_at)] == [1]


def test_windows_that_are_over_since() -> None:
    """The days of a week that is rolled up as a whole become due together, at its end."""
    monday = at("2024-01-01T00:00:00+00:00")
    db = SimulatedDatabase(policies=[policy("downsample", "7d", id="p", levels="1w:forever")])
    for day in range(14):
        db.write(to_ms(monday + day * A_DAY), 20)
    now = monday + 14 * A_DAY
    planning = Planning(policies=db.policies, **db.facts(now), ledger=db.ledger)
    [suspect] = find_suspects(planning.plan(), planning, planning.looked_at)
    assert suspect.due == Removed(partitions=7, rows=140)
    last = {suspect.removal: Past(cutoff=now - A_DAY, time=now - A_DAY, removed=())}
    assert find_unusual([suspect], last, planning, planning.looked_at, {}) == {}


@pytest.mark.parametrize(("days", "unusual"), [(1, True), (25, False)])
def test_windows_of_rows(days: int, unusual: bool) -> None:
    """Where rows are deleted by windows, those whose windows had expired by the last run should be gone."""
    monday = at("2024-01-01T00:00:00+00:00")
    db = SimulatedDatabase(policies=[policy("downsample", "7d", id="p", levels="30m:forever")], unit="")
    for day in range(14):
        db.write(to_ms(monday + day * A_DAY), 20)
    now = monday + 30 * A_DAY
    planning = Planning(policies=db.policies, **db.facts(now), ledger=db.ledger)
    [suspect] = find_suspects(planning.plan(), planning, planning.looked_at)
    assert suspect.due.rows == 14 * 20
    last = {suspect.removal: Past(cutoff=now - days * A_DAY, time=now - A_DAY, removed=())}
    assert bool(find_unusual([suspect], last, planning, planning.looked_at, {})) is unusual


def archives(until: dt.datetime | None) -> list[SnapshotRecord]:
    """Archives of six months, of which the last has ended for two days; or what is recoverable until an instant."""
    starts = [to_ms(at(f"2023-0{month}-01T00:00:00+00:00")) for month in range(1, 8)]
    return [
        SnapshotRecord(
            archived=Archived(
                repository="archive",
                name=f"s{start}",
                table=METRICS,
                columns=(MONTH,),
                values=(start,),
                start=start,
                end=end - DAY,
                rows=10,
                size=100,
            ),
            stage=SnapshotStage.ARCHIVED,
            policy_id="p",
            recoverable_until=until,
            changed_at=NOW,
        )
        for start, end in pairwise(starts)
    ]


@pytest.mark.parametrize(
    ("until", "days", "released", "unusual"),
    [
        (None, 1, [], True),
        (None, 200, [], False),
        (None, 1, [LegalHold(id="h", table_schema="doc", table_name="metrics")], False),
        (NOW - 3 * A_DAY, 1, [], True),
        (NOW - 3 * A_DAY, 4, [], False),
    ],
)
def test_archives(until: dt.datetime | None, days: int, released: list[LegalHold], unusual: bool) -> None:
    """They ended before the last run, unless a hold kept them; what is recoverable ends by its own time."""
    rule = policy("delete", id="p", recoverable="7d", target_repository_name="archive")
    rules = [policy("snapshot", id="p", archive_period="1y") if until is None else rule]
    records = archives(until)
    planning = Planning(policies=rules, catalog=catalog(), cutoff=NOW, archives=records)
    [suspect] = find_suspects(planning.plan(), planning, planning.looked_at)
    found = find_unusual([suspect], {suspect.removal: past(days, time=NOW)}, planning, (), {}, released)
    assert bool(found) is unusual
    some = replace(planning, archived_rows={("p", METRICS): 600})
    assert find_suspects(some.plan(), some, some.looked_at) == [], "a small share of all archives"


def test_a_released_hold() -> None:
    """What a hold protected until after the last run is no surprise; what it did not protect is."""
    old = LegalHold(id="h", table_schema="doc", table_name="metrics")
    early = replace(old, end=to_ms(NOW - 50 * A_DAY))
    assert judge("5d", past(1), released=[old])[0] is None
    assert judge("5d", past(1), released=[early])[0] is not None
    assert judge("5d", past(1), released=[replace(old, table_name="other")])[0] is not None


@pytest.mark.parametrize(("ahead", "unusual"), [(1, False), (30, True), (3650, True)])
def test_the_clock(ahead: int, unusual: bool) -> None:
    """Time without runs and data explains little, unless the clock stands where it did at the last run."""
    now = NOW + ahead * A_DAY
    of_future = catalog(table([TS, VALUE, DAILY], ["day"], [*DAYS, part("2040-01-01")]))
    for there in (FOUND, of_future):
        why, _ = judge("60d", past(1), now=now, there=there)
        assert (why is not None and why.why is Why.CLOCK_AHEAD) is unusual
    assert judge("60d", past(1, time=now - A_DAY), now=now)[0] is None


def test_data_of_now_in_long_partitions() -> None:
    """The open month may have rows of today, so that the month that just expired is not ascribed to the clock."""
    now = at("2024-07-20T03:00:00+00:00")
    months = [part(f"2024-0{month}-01", rows={6: 1000, 7: 100}.get(month, 10)) for month in range(1, 8)]
    there = catalog(table([TS, VALUE, MONTH], ["month"], months))
    last = Past(cutoff=now - 30 * A_DAY, time=now - 30 * A_DAY, removed=())
    assert judge("18d", last, now=now, there=there)[0] is None
    without = catalog(table([TS, VALUE, MONTH], ["month"], months[:-1]))
    why, _ = judge("18d", last, now=now, there=without)
    assert why is not None and why.why is Why.CLOCK_AHEAD


def test_the_clock_explains_little() -> None:
    """What was due before the data ended, three days ago, does not depend on the clock."""
    assert judge("5d", past(60), now=NOW + 3 * A_DAY)[0] is None
