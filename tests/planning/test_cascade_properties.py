"""Laws 1, 3, 4, 5 and 7 of cascades, on years of made-up writing and running without a database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.ledger import (
    Ledger,
    LedgerRow,
    Sized,
    Windows,
    choose_ranges,
    choose_stretches,
    make_range,
)
from cratedb_retention.model.rollups.rollup import level_table
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.rollups.coverage import find_expired
from support.catalogs import METRICS, policy
from support.planning import make_plan
from support.simulation import DAY, HOUR, SimulatedDatabase
from support.tiers import examples

START = dt.datetime(2023, 11, 20, tzinfo=dt.UTC)
CASCADES = st.sampled_from(
    [
        ("2d", "1h:30d,1d:forever"),
        ("7d", "1h:10d,1d:60d,1mo:forever"),
        ("2d", "6h:20d,1w:forever"),
        ("40d", "1d:90d,1mo:2y,1y:forever"),
        ("7d", "1h:forever"),
        ("forever", "1h:forever,1d:forever"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """
    What happens between two runs.

    :param hours: How much time goes by.
    :param writes: For each row when it is of, in hours before now, and of which tenant.
    :param kill_at: Before which instant the run is killed, and begun again.
    :param meanwhile: In a run that is not killed, before which instant somebody writes a row, and of when it is.
    """

    hours: int
    writes: tuple[tuple[int, str], ...]
    kill_at: int | None
    meanwhile: tuple[int, int] | None = None


def turn_with(age: st.SearchStrategy[int], hours: st.SearchStrategy[int], most: int) -> st.SearchStrategy[Turn]:
    """A turn of so many hours, with at most so many writes of such ages in hours."""
    writes = st.lists(st.tuples(age, st.sampled_from("ab")), max_size=most).map(tuple)
    instants = st.integers(1, 8)
    return st.builds(
        Turn,
        hours=hours,
        writes=writes,
        kill_at=st.none() | instants,
        meanwhile=st.none() | st.tuples(instants, age),
    )


def turns_with(age: st.SearchStrategy[int]) -> st.SearchStrategy[list[Turn]]:
    """Some turns, with rows of such ages in hours."""
    return st.lists(turn_with(age, st.integers(1, 72) | st.integers(1, 40 * 24), 6), min_size=1, max_size=8)


def take(turn: Turn, database: SimulatedDatabase, now: dt.datetime) -> dt.datetime:
    """Let time go by, write, and run. What time it is then."""
    now += dt.timedelta(hours=turn.hours)
    for age, tenant in turn.writes:
        database.write(to_ms(now) - age * HOUR, 3, tenant)
    if turn.kill_at is not None:
        database.run(now, turn.kill_at)
    elif turn.meanwhile is not None:
        at, age = turn.meanwhile

        def write(number: int) -> None:
            if number == at:
                database.write(to_ms(now) - age * HOUR)

        database.run(now, meanwhile=write)
    database.run(now)
    return now


TURNS = turns_with(st.integers(0, 48) | st.integers(0, 90 * 24))
# In time for raw rows that are kept for four days.
IN_TIME = turns_with(st.integers(0, 72))


@settings(max_examples=examples(14, long=400))
@given(
    CASCADES,
    st.sampled_from(["hour", "day", "month", ""]),
    st.booleans(),
    st.sampled_from(["UTC", "Europe/Vienna"]),
    TURNS,
    st.booleans(),
)
# One row comes late to a partition of a level, whose other rows are in the level above.
@example(
    ("7d", "1h:10d,1d:60d,1mo:forever"),
    "hour",
    False,
    "UTC",
    [
        Turn(hours=861, writes=((22, "a"), (526, "a")), kill_at=None),
        Turn(hours=42, writes=(), kill_at=None),
        Turn(hours=389, writes=(), kill_at=None),
        Turn(hours=484, writes=(), kill_at=None, meanwhile=(1, 961)),
    ],
    False,
)
def test_no_row_is_lost(
    cascade: tuple[str, str], unit: str, tenants: bool, zone: str, turns: list[Turn], budget: bool
) -> None:
    """
    Whatever is written when, wherever runs are killed, and whether raw rows expire by their size as well: each row is
    in the raw table or in one level, as the view shows them, and nothing is left to do after some runs.
    """
    raw, levels = cascade[0], cascade[1].replace("6h", "6h" if zone == "UTC" else "1h")
    sized = {"max_size": 100, "min_retention": "1d"} if budget and unit else {}
    rule = policy("downsample", raw, levels=levels, time_zone=zone, **sized)
    database = SimulatedDatabase(policies=[rule], unit=unit, tenants=tenants and bool(unit))
    now = START
    for turn in turns:
        now = take(turn, database, now)
        # One row that is late makes all of its partition seem to be, so that some may be seen as late and in the view.
        assert database.shown() <= database.written <= database.seen()
    for _ in range(3):
        database.run(now)
    assert database.plan(now).tasks == ()


# Windows that are longer than what expires at once, in rows that are kept for two days.
SHORT = st.sampled_from(
    ["6h:4d,1w:forever", "1h:3d,1mo:forever", "1d:forever", "1w:forever", "1h:4d,1d:9d,1mo:forever"]
)
DAILY = st.lists(turn_with(st.integers(0, 47), st.integers(6, 30), 1), min_size=20, max_size=50)


@settings(max_examples=examples(14, long=400))
@given(SHORT, st.sampled_from(["hour", "day", "month", ""]), st.booleans(), DAILY)
def test_no_row_in_time_is_late(levels: str, unit: str, tenants: bool, turns: list[Turn]) -> None:
    """What is written before its time is over for raw rows gets into each level, whatever was sealed around it."""
    database = SimulatedDatabase(
        policies=[policy("downsample", "2d", levels=levels)], unit=unit, tenants=tenants and bool(unit)
    )
    now = START
    for turn in turns:
        now = take(turn, database, now)
        assert database.shown() == database.written


@settings(max_examples=examples(14, long=400))
@given(
    st.permutations(["1h:10d,1d:forever", "1d:forever", "1h:20d,6h:60d,1d:forever", "6h:60d,1d:forever"]),
    IN_TIME,
    IN_TIME,
)
def test_a_level_comes_or_goes(cascades: list[str], before: list[Turn], after: list[Turn]) -> None:
    """A level that is added or removed between runs loses no row that another table does not hold."""
    database, now = SimulatedDatabase(policies=[policy("downsample", "4d", levels=cascades[0])]), START
    for levels, turns in ((cascades[0], before), (cascades[1], after)):
        database.policies = [policy("downsample", "4d", levels=levels)]
        for turn in turns:
            now = take(turn, database, now)
            database.run(now)
            # A level that is new below a sealed one may hold rows that this one has too.
            assert database.seen() >= database.written


def packed(windows: Mapping[int, LedgerRow], forgotten: Collection[int] = ()) -> Windows:
    """The same windows as ranges, some of which have forgotten what their windows were computed from."""
    ranges: dict[int, list[LedgerRow]] = {}
    stored: list[LedgerRow] = []
    rows = [windows[start] for start in sorted(windows)]
    for bare, some in groupby(rows, lambda row: row.start in forgotten):
        known = list(some)
        groups = choose_stretches(known) if bare else choose_ranges(Sized(row, 10) for row in known)
        found = {group[0].start: group for group in groups}
        within = {row.start for group in found.values() for row in group[1:]}
        stored += [make_range(found.get(row.start, [row])) for row in known if row.start not in within]
        ranges |= {s: [row._replace(token="", rows=0, groups=0) for row in g] if bare else g for s, g in found.items()}
    return Windows(stored, lambda row: ranges[row.start])


@dataclass(kw_only=True)
class PackedDatabase(SimulatedDatabase):
    """A database that makes each plan with ranges as well as with single windows, and forgets what has expired."""

    ranges: int = 0
    forgotten: dict[TableName, set[int]] = field(default_factory=dict)

    def plan(self, cutoff: dt.datetime) -> Plan:
        """The plan, which is the same in both cases."""
        plan, ledger = super().plan(cutoff), self.ledger
        known = {table: packed(windows, self.forgotten.get(table, ())) for table, windows in ledger.windows.items()}
        self.ranges = max(self.ranges, *(row.windows for windows in known.values() for row in windows.stored), 0)
        facts = self.facts(cutoff)
        assert make_plan(self.policies, ledger=Ledger(ledger.rollups, known), **facts) == plan
        self._forget(Facts(policies=self.policies, **facts))
        return plan

    def _forget(self, facts: Facts) -> None:
        for table, level in self.known.items():
            expired = find_expired(facts, level)
            gone = [row for row in self.ledger.of(table).values() if row.sealed and expired and expired.has(row)]
            for group in choose_stretches(gone):
                if len(group) > 1:
                    self.forgotten.setdefault(table, set()).update(row.start for row in group)


# Raw rows, levels, and the levels from some time on.
CHANGED = st.sampled_from(
    [
        ("2d", "1h:5d,1d:forever", "1h:5d,1d:forever"),
        ("4d", "1h:10d,1d:40d,1mo:forever", "1h:10d,1mo:forever"),
        ("4d", "1d:forever", "1h:20d,1d:forever"),
        ("2d", "1h:10d,1d:forever", "1h:10d,6h:30d,1d:forever"),
        ("2d", "6h:20d,1w:forever", "1h:4d,6h:20d,1w:forever"),
        ("2d", "1h:4d,6h:8d,1d:20d", "1h:4d,1d:20d"),
        ("2d", "6h:4d,1d:20d", "1h:4d,6h:8d,1d:20d"),
    ]
)


@settings(max_examples=examples(14, long=400))
@given(CHANGED, st.sampled_from(["hour", "day", "month", ""]), st.booleans(), TURNS, TURNS)
def test_ranges_make_no_difference(
    cascade: tuple[str, str, str], unit: str, tenants: bool, before: list[Turn], after: list[Turn]
) -> None:
    """
    Whatever is written when, and whatever levels come or go: plans are the same if sealed windows are ranges, and if
    what has expired of them is forgotten.
    """
    raw, *cascades = cascade
    database, now = PackedDatabase(policies=[], unit=unit, tenants=tenants and bool(unit)), START
    for levels, turns in zip(cascades, (before, after), strict=True):
        database.policies = [policy("downsample", raw, levels=levels)]
        for turn in turns:
            now = take(turn, database, now)


@dataclass(kw_only=True)
class RestingDatabase(SimulatedDatabase):
    """A database that records cascades at rest, and makes each plan without these records as well."""

    rested: int = 0

    def plan(self, cutoff: dt.datetime) -> Plan:
        """The plan, which is the same in both cases."""
        facts = self.facts(cutoff)
        judged = {table: replace(one, rest=None) for table, one in self.known.items()}
        planning, full = (
            Planning(policies=self.policies, ledger=replace(self.ledger, rollups=known), **facts)
            for known in (self.known, judged)
        )
        plan, other = planning.plan(), full.plan()
        assert replace(plan, up_to_date=()) == replace(other, up_to_date=())
        assert sorted(map(str, plan.up_to_date)) == sorted(map(str, other.up_to_date))
        self.rested += len(planning.at_rest or ())
        noted = {table: replace(self.known[table], rest=rest) for table, rest in planning.rests.items()}
        self.known = {**self.known, **noted}
        return plan


@settings(max_examples=examples(14, long=400))
@given(CHANGED, st.sampled_from(["hour", "day", "month"]), st.booleans(), TURNS, TURNS, st.integers(0, 100))
def test_rest_makes_no_difference(
    cascade: tuple[str, str, str], unit: str, tenants: bool, before: list[Turn], after: list[Turn], idle: int
) -> None:
    """Whatever is written when, and however time goes by: plans are the same if cascades at rest are not judged."""
    raw, *cascades = cascade
    database, now = RestingDatabase(policies=[], unit=unit, tenants=tenants), START
    for levels, turns in zip(cascades, (before, after), strict=True):
        database.policies = [policy("downsample", raw, levels=levels)]
        for turn in turns:
            now = take(turn, database, now)
            database.plan(now + dt.timedelta(hours=idle))


def test_rest_until_something_is_due() -> None:
    """A cascade is judged when it changes, when a bucket is complete or a partition expires, and once a day."""
    database = RestingDatabase(policies=[policy("downsample", "4d", levels="1h:30d,1d:forever")])
    database.write(to_ms(START) - 26 * HOUR)

    def rests(**later: float) -> bool:
        before = database.rested
        database.plan(START + dt.timedelta(**later))
        return database.rested > before

    for _ in range(2):
        database.run(START)
    assert rests(hours=0) and rests(hours=23)
    assert not rests(days=1)
    assert not rests(hours=23), "it was judged later"
    assert rests(hours=30)
    database.write(to_ms(START) - 26 * HOUR)
    assert not rests(hours=30)
    database.run(START + dt.timedelta(hours=30))
    database.plan(START + dt.timedelta(hours=30))
    assert rests(hours=30)
    assert database.plan(START + dt.timedelta(days=4)).tasks


def test_no_rest_with_a_budget() -> None:
    """What is too much goes as soon as it is older than the floor, though nothing was written since."""
    rule = policy("downsample", "30d", levels="1h:60d,1d:forever", max_size=20, min_retention="2d")
    database = RestingDatabase(policies=[rule])
    database.write(to_ms(START) - 26 * HOUR, 3)
    for _ in range(3):
        database.run(START + dt.timedelta(hours=2))
    assert database.plan(START + dt.timedelta(hours=23)).tasks == ()
    assert database.plan(START + dt.timedelta(hours=25)).tasks
    assert not database.rested


def test_ranges_are_long() -> None:
    """A year of sealed days is a few rows."""
    database = PackedDatabase(policies=[policy("downsample", "7d", levels="1h:400d,1d:forever")])
    for day in range(360):
        database.write(to_ms(START + dt.timedelta(days=day)))
    database.run(START + dt.timedelta(days=370))
    plan = database.plan(START + dt.timedelta(days=370))
    assert plan.tasks == () and database.ranges >= 180


def test_what_is_expired_is_one_range() -> None:
    """Of hours that are kept for two weeks, all days before are one range, in which late rows are late."""
    database = PackedDatabase(policies=[policy("downsample", "7d", levels="1h:14d,1d:forever")])
    for day in range(100):
        database.write(to_ms(START + dt.timedelta(days=day)))
    for day in (100, 101, 102):
        database.run(START + dt.timedelta(days=day))
    hours = level_table(METRICS, parse_interval("1h"))
    assert len(database.forgotten[hours]) >= 80
    database.write(to_ms(START) + 50 * DAY)
    assert [each.why.code for each in database.plan(START + dt.timedelta(days=102)).blocked] == ["late-kept"]


def test_held_rows_stay_known() -> None:
    """Rows of one tenant that a legal hold kept go when it is released, though their level has expired long since."""
    database = PackedDatabase(policies=[policy("downsample", "7d", levels="1h:14d,1d:60d")], tenants=True)
    for day in range(40):
        for tenant in "ab":
            database.write(to_ms(START + dt.timedelta(days=day)), 1, tenant)
    held = LegalHold(id="h", table_schema=METRICS.schema, table_name=METRICS.name, where={"tenant": "a"})
    database.holds = [held]
    for day in range(40, 50):
        database.run(START + dt.timedelta(days=day))
    assert sum(tenant == "a" for tenant, _ in database.raw) == 40 == len(database.raw)
    database.holds = []
    for day in range(50, 55):
        database.run(START + dt.timedelta(days=day))
    assert not database.raw
