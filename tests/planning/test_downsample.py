"""What is due in a cascade: windows whose source changed, what waits for a finer level, the view, and what expires."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Partition, Table, TableName, View
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import DeleteRows, DropPartitions, Plan
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.rollups.rollup import CreateRollup, RebaseRollup, ReplaceView, RollUp
from cratedb_retention.model.time import show
from cratedb_retention.planning.plan.planner import Planning
from support.catalogs import DAILY, METRICS, MONTH, TS, VALUE, catalog, ms, part, policy, table
from support.planning import make_plan
from support.simulation import DAY, HOUR, SimulatedDatabase

HOURS, DAYS, ALL = (TableName("doc", f"metrics_{name}") for name in ("1h", "1d", "all"))
START = ms("2024-01-01")


def at(days: float) -> dt.datetime:
    """An instant, in days after the first row."""
    return dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=days)


def database(period: str = "30d", unit: str = "day", **attributes: Any) -> SimulatedDatabase:
    """A cascade of hours and days, with a row on each of two days."""
    rule = policy("downsample", period, **{"levels": "1h:90d,1d:forever", **attributes})
    db = SimulatedDatabase(policies=[rule], unit=unit)
    for day in (0, 1):
        db.write(START + day * DAY + 9 * HOUR)
    return db


def plan_on(
    db: SimulatedDatabase, change: Callable[[Table], Table] = lambda raw: raw, *more: Table, **views: Any
) -> Plan:
    """The plan after two and a half days, if the database reports something else."""
    known = db.catalog
    tables = {**known.tables, METRICS: change(known.tables[METRICS]), **{each.name: each for each in more}}
    return make_plan(
        db.policies,
        replace(known, tables=tables, **views),
        at(2.5),
        measurements=db.measure(at(2.5)),
        ledger=db.ledger,
    )


def computed(plan: Plan) -> list[tuple[str, str]]:
    """The windows that are computed, by level."""
    steps = [step for task in plan.tasks for step in task.steps if isinstance(step, RollUp)]
    return [(str(step.rollup.interval), show(window.start)) for step in steps for window in step.windows]


def steps_of(plan: Plan, kind: type) -> list[Any]:
    """The steps of a kind."""
    return [step for task in plan.tasks for step in task.steps if isinstance(step, kind)]


def first(**facts: Any) -> Callable[[Table], Table]:
    """A change of the first partition."""

    def change(raw: Table) -> Table:
        one, *others = raw.partitions
        changed: Partition = one._replace(**facts)
        return replace(raw, partitions=(changed, *others))

    return change


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"closed": True, "rows": None}, Why.PARTITION_CLOSED()),
        ({"missing_shards": 2}, Why.MISSING_SHARDS(count=2)),
    ],
)
def test_what_cannot_be_read(facts: dict[str, Any], reason: object) -> None:
    """A window waits for a partition that cannot be read, and so do the windows of coarser levels above it."""
    plan = plan_on(database(), first(**facts))
    assert computed(plan) == [("1h", "2024-01-02")]
    assert [(each.level, each.why, each.needs_attention) for each in plan.blocked] == [
        (HOURS, reason, True),
        (DAYS, Why.SOURCE_BLOCKED(), False),
    ]


@pytest.mark.parametrize(("rows", "due"), [(0, False), (None, True), (1, True)])
def test_empty_and_unknown(rows: int | None, due: bool) -> None:
    """An empty partition has nothing to compute; one whose rows are unknown may have."""
    assert (("1h", "2024-01-01") in computed(plan_on(database(), first(rows=rows)))) is due


def test_an_empty_partition_expires() -> None:
    """It is dropped without a rollup, since it has no row that would be in one."""
    plan = plan_on(database("1d"), first(rows=0))
    assert computed(plan) == [("1h", "2024-01-02"), ("1d", "2024-01-01")]
    assert [[show(piece.start) for piece in step.pieces] for step in steps_of(plan, DropPartitions)] == [["2024-01-01"]]


def test_an_empty_partition_that_came_late_expires() -> None:
    """After its window was sealed: it has no late rows that would have to be kept."""
    db = database("1d", levels="1h:forever")
    db.run(at(2.5))
    empty = Partition(values=(START,), ident="another", rows=0, token="v1")
    plan = plan_on(db, lambda raw: replace(raw, partitions=(empty, *raw.partitions)))
    assert [step.partitions for step in steps_of(plan, DropPartitions)] == [[(START,)]]
    assert plan.blocked == ()


@pytest.mark.parametrize("by", [["month", "day"], ["day", "month"]])
def test_windows_of_the_shortest_partitions(by: list[str]) -> None:
    """Where days and months partition a table, windows are days: no partition waits for the end of a month."""
    days = {"month": "2024-01-01", "day": "2024-01-02"}
    raw = table([TS, VALUE, MONTH, DAILY], by, [part(*(days[name] for name in by))])
    [step] = steps_of(make_plan([policy("downsample", "7d", levels="1h:90d")], catalog(raw), at(20)), RollUp)
    assert str(step.rollup.window) == "1d"


def test_change_tokens() -> None:
    """The tokens of raw rows are known when the plan is made; those of a level only after it was computed."""
    finer, coarser = steps_of(plan_on(database()), RollUp)
    assert (len(finer.tokens), coarser.tokens) == (2, ())


@pytest.mark.parametrize(
    ("more", "days"), [({}, ["2024-01-01"]), ({"counters": ["value"]}, ["2024-01-01", "2024-01-02"])]
)
def test_changed_windows(more: dict[str, Any], days: list[str]) -> None:
    """A window that was written to is computed again; with counters, those after it, too."""
    db = database("forever", levels="1h:forever", **more)
    db.run(at(2.5))
    assert computed(plan_on(db)) == []
    db.write(START + 10 * HOUR)
    assert computed(plan_on(db)) == [("1h", day) for day in days]


def test_raw_rows_wait_for_the_rest_of_their_window() -> None:
    """Of a window that was computed at noon, later rows are in no rollup yet: without disk space they stay."""
    db = database("1d", levels="1h:forever")
    db.write(START + 13 * HOUR)
    db.run(at(0.5))
    assert [row.whole for row in db.ledger.of(HOURS).stored] == [False]
    full = plan_on(db, lambda raw: raw, replace(db.catalog.tables[HOURS], read_only=True))
    assert (steps_of(full, RollUp), steps_of(full, DropPartitions)) == ([], [])
    assert Why.DISK_FULL() in [each.why for each in full.blocked]
    assert [len(step.pieces) for step in steps_of(plan_on(db), DropPartitions)] == [1]


def test_distributions_have_a_table() -> None:
    """A level whose table of distributions is missing is created again."""
    db = database(aggregates={"*": ["median"]})
    db.run(at(2.5))
    assert [step.rollup.table for step in steps_of(plan_on(db), CreateRollup)] == [HOURS, DAYS]
    sketches = [table([TS], name=TableName("doc", f"{name.name}_sketch")) for name in (HOURS, DAYS)]
    assert [each.why.code for each in plan_on(db, lambda raw: raw, *sketches).blocked] == ["no-rollup"], "a user's"


def test_the_view() -> None:
    """It is created, renewed if it is gone, and not replaced if a user created it."""
    db = database()
    assert [step.view for step in steps_of(plan_on(db), ReplaceView)] == [ALL]
    db.run(at(2.5))
    assert plan_on(db).tasks == ()
    assert [step.view for step in steps_of(plan_on(db, views={}), ReplaceView)] == [ALL]
    user = View(name=ALL, columns=("ts",), definition="SELECT 1")
    plan = plan_on(db, views={ALL: user})
    assert (plan.tasks, [each.why for each in plan.needs_attention]) == ((), [Why.VIEW_TAKEN(view=ALL)])


@pytest.mark.parametrize(("unit", "late"), [("day", "keep"), ("hour", "drop")])
def test_each_row_is_shown_once(unit: str, late: str) -> None:
    """From raw rows to hours and to days, whatever expires meanwhile; what comes too late stays if it is to be kept."""
    db, gone = database("2d", unit, levels="1h:4d,1d:forever", late=late), 0
    for day in range(2, 9):
        db.write(START + day * DAY + 9 * HOUR, rows=day)
        gone += len(steps_of(db.run(at(day + 0.6)), DropPartitions))
        assert db.seen() == db.written, day
    assert gone > 4
    db.write(START + 2 * DAY + 9 * HOUR)
    db.run(at(9))
    assert db.seen() == db.written - (late == "drop")


def test_reasons_of_deletions() -> None:
    """Whether all of the rows came too late, some of them, or none."""
    db = database("1d", "", levels="30m:forever", late="drop")

    def whys(days: float) -> list[Why]:
        return [task.why.why for task in db.run(at(days)).tasks if isinstance(task.steps[-1], DeleteRows)]

    assert whys(2.5) == [Why.OLDER_ROLLED_UP]
    db.write(START)
    assert whys(2.5) == [Why.OLDER_TOO_LATE]
    db.write(START)
    assert whys(3.5) == [Why.OLDER_SOME_TOO_LATE]


def test_buckets_that_are_dropped_are_sealed() -> None:
    """If raw rows were deleted by other means, late ones make no buckets again that have expired themselves."""
    db = database("10d", levels="1h:20d")
    db.run(at(2.5))
    db.raw.clear()
    assert [len(step.pieces) for step in steps_of(db.run(at(60)), DropPartitions)] == [2]
    db.write(START + 9 * HOUR)
    assert computed(db.plan(at(60))) == []


def test_levels_wait_for_rows_on_time() -> None:
    """Hours stay until no more rows can arrive for the month that they are in, whatever came of it so far."""
    db = database("7d", levels="1h:7d,1mo:forever")
    for days in (3, 32, 35):
        assert [step.table for step in steps_of(db.run(at(days)), DropPartitions)].count(HOURS) == 0, days
    db.write(START + 30 * DAY)
    for later in (39, 39.5):
        assert HOURS in [step.table for step in steps_of(db.run(at(later)), DropPartitions)], later
    assert db.shown() == db.written == 3


def test_where_counters_go_on() -> None:
    """The last value before a window is looked for in days as well, once hours have expired."""
    db = database("2d", levels="1h:4d,1d:forever", counters=["value"])
    for days in (2.5, 7):
        assert [step.older for step in steps_of(db.run(at(days)), RollUp) if step.rollup.table == HOURS] in ([], [()])
    db.write(START + 7 * DAY)
    [finest, _] = steps_of(db.plan(at(8.5)), RollUp)
    assert [(rollup.table, show(before)) for rollup, before in finest.older] == [(DAYS, "2024-01-03")]


@pytest.mark.parametrize(
    ("more", "others", "frozen", "rests"),
    [
        ({}, [], [], True),
        ({"max_size": "1TB", "min_retention": "1d"}, [], [], False),
        ({}, [policy("delete", where={"nosuch": "x"})], [], False),
        ({}, [policy("delete", "1y", table_name="metrics_1h")], [], False),
        ({}, [], [(HOURS, (START,))], False),
    ],
    ids=["alone", "size", "undecided", "level", "frozen"],
)
def test_at_rest(more: dict[str, Any], others: list[Any], frozen: list[Any], rests: bool) -> None:
    """If nothing is due, that is recorded; but not with a maximum size, other policies, or what a run left frozen."""
    db = database("forever", levels="1h:forever", **more)
    db.run(at(2.5))
    planning = Planning(policies=[*db.policies, *others], **db.facts(at(2.5)), ledger=db.ledger, frozen=frozen)
    planning.plan()
    assert (HOURS in planning.rests) is rests


def test_rows_around_a_hold() -> None:
    """Those before it and after it are deleted apart from each other, so that no step spans what is held."""
    db = database("1d", "", levels="30m:forever")
    db.write(START + 2 * DAY)
    db.holds = [LegalHold(id="h", table_schema="doc", table_name="metrics", start=START + DAY, end=START + 2 * DAY)]
    deletions = [(show(step.since), show(step.before)) for step in steps_of(db.run(at(4.5)), DeleteRows)]
    assert deletions == [("2024-01-01", "2024-01-02"), ("2024-01-03", "2024-01-04")]
    assert [show(hour) for _, hour in db.raw] == ["2024-01-02T09:00Z"]


def test_rows_that_came_since_are_not_deleted() -> None:
    """Without disk space they are in no rollup, though their window was computed as a whole before they came."""
    db, halves = database("1d", "", levels="30m:forever"), TableName("doc", "metrics_30m")
    db.run(at(1.5))
    db.write(START)
    full = plan_on(db, lambda raw: raw, replace(db.catalog.tables[halves], read_only=True))
    assert (steps_of(full, DeleteRows), len(steps_of(plan_on(db), DeleteRows))) == ([], 1)


def test_a_level_in_between() -> None:
    """Days that were computed from hours, of which the new level has none, are not computed from it again."""
    db = database("7d", levels="1h:30d,1d:forever")
    for days in (2.5, 20, 40):
        db.run(at(days))
    db.policies = [policy("downsample", "7d", levels="1h:30d,6h:60d,1d:forever")]
    db.write(START + 39 * DAY)
    steps = [(step.rollup.table, show(step.before)) for step in steps_of(db.run(at(40.5)), RebaseRollup)]
    assert steps == [(DAYS, "2024-02-05")]
    assert db.seen() == db.written


def test_partitions_that_must_never_be_frozen() -> None:
    """Of a table that is rolled up they stay, since a row could come between the last check and the drop."""
    db = database("30d", levels="1h:forever")
    db.run(at(2.5))
    db.policies.append(policy("delete", "1d", freeze="never"))
    plan = db.plan(at(4.5))
    assert (plan.tasks, [each.why for each in plan.needs_attention]) == ((), [Why.NEEDS_FREEZE()])


def test_late_for_one_window_alone() -> None:
    """A day of UTC has rows of two days of Vienna: late for the first, it still seals the second when it is dropped."""
    rule = policy("downsample", "2d", levels="1d:forever", time_zone="Europe/Vienna", late="drop")
    db = SimulatedDatabase(policies=[rule])
    for day in range(7):
        for hour in (9, 23):
            db.write(START + day * DAY + hour * HOUR)
    db.run(at(5.1))
    sealed = db.ledger.of(DAYS).sealed[-1].end
    assert show(sealed) == "2024-01-03T23:00Z"
    db.write(START + 2 * DAY + 9 * HOUR)
    [step] = steps_of(db.run(at(6.1)), DropPartitions)
    assert step.partitions == [(START + 2 * DAY,)]
    assert db.ledger.of(DAYS).is_sealed(sealed)


@pytest.mark.parametrize("unit", ["day", ""])
def test_a_run_of_another_policy_alone(unit: str) -> None:
    """It rolls nothing up, so that it deletes nothing that would have to be rolled up before."""
    db = database("30d", unit, levels="30m:forever")
    db.policies.append(policy("delete", "1d", id="other"))
    known = {**db.facts(at(4.5)), "ledger": db.ledger}
    plan = make_plan(db.policies, **known, chosen=lambda each: each.id == "other")
    assert (plan.tasks, {each.why.code for each in plan.blocked}) == ((), {"not-rolled-up-here"})
    assert {type(task.steps[-1]) for task in make_plan(db.policies, **known).tasks} & {DropPartitions, DeleteRows}
