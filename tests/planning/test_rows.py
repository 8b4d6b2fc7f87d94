"""Rows that expire one by one, where no partition tells the time."""

from __future__ import annotations

import pytest

from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import ExpiredRows, Measurements, Variety
from cratedb_retention.model.plan.plan import DeleteRows, Plan, Spared
from cratedb_retention.model.policies.policy import Policy
from support.catalogs import METRICS, MONTH, TENANT, TS, VALUE, at, catalog, ms, part, policy, reasons, table
from support.planning import find_probes, make_plan

CUTOFF = at("2024-07-02T12:00")
LIMIT = ms("2024-06-02T12:00")
PLAIN = catalog(table([TS, TENANT, VALUE], rows=100))
ON_TENANT = LegalHold(id="h1", table_schema="doc", table_name="metrics", where={"tenant": "acme"})
ON_MAY = LegalHold(id="h2", table_schema="doc", table_name="metrics", start=ms("2024-05-01"), end=ms("2024-06-01"))


def plan_of(*policies: Policy, holds: list[LegalHold] | None = None, count: int | None = 7) -> Plan:
    """A plan in which every question is answered with the same count."""
    probes = find_probes(policies, PLAIN, CUTOFF, holds or [])
    counted = {probe: count for probe in probes if isinstance(probe, ExpiredRows) and count is not None}
    return make_plan(policies, PLAIN, CUTOFF, holds=holds or [], measurements=Measurements(rows=counted))


def test_rows_expire_to_the_instant() -> None:
    """Rows before the limit go, to the instant."""
    plan = plan_of(policy())
    assert [step for task in plan.tasks for step in task.steps] == [
        DeleteRows(table=METRICS, time_column=TS, before=LIMIT, rows=7)
    ]
    assert (plan.tasks[0].rows, plan.tasks[0].partitions) == (7, 0)
    assert "2024-06-02T12:00Z" in plan.tasks[0].reason


@pytest.mark.parametrize(("count", "tasks"), [(0, 0), (1, 1), (None, 1)])
def test_nothing_to_do(count: int | None, tasks: int) -> None:
    """Where no row is expired there is nothing to do; where nobody counted, there may be."""
    plan = plan_of(policy(), count=count)
    assert len(plan.tasks) == tasks
    assert plan.blocked == ()


def test_forever_asks_nothing() -> None:
    """Rows that are kept forever are not even counted."""
    assert find_probes([policy(retention="forever")], PLAIN, CUTOFF) == []
    assert plan_of(policy(retention="forever")).tasks == ()


def test_filter() -> None:
    """A filter on any column goes along."""
    plan = plan_of(policy(where={"tenant": "acme", "value": None}))
    assert plan.tasks[0].steps == (
        DeleteRows(table=METRICS, time_column=TS, before=LIMIT, where=((TENANT, "acme"), (VALUE, None)), rows=7),
    )


def test_filter_through_partitions() -> None:
    """A filter that cuts through partitions makes rows expire, even where partitions tell the time."""
    found = catalog(table([TS, TENANT, MONTH], ["month"], [part("2024-01-01")]))
    plan = make_plan([policy(where={"tenant": "acme"})], found, CUTOFF)
    assert plan.tasks[0].steps == (DeleteRows(table=METRICS, time_column=TS, before=LIMIT, where=((TENANT, "acme"),)),)


def test_held_rows_are_spared() -> None:
    """Rows under a hold are named in the step, by value and by time, whatever the order of holds; others go."""
    expected = (
        Spared(hold_id="h1", where=((TENANT, "acme"),)),
        Spared(hold_id="h2", where=(), start=ON_MAY.start, end=ON_MAY.end),
    )
    for holds in ([ON_TENANT, ON_MAY], [ON_MAY, ON_TENANT]):
        plan = plan_of(policy(), holds=holds)
        assert plan.tasks[0].steps == (
            DeleteRows(table=METRICS, time_column=TS, before=LIMIT, spared=expected, rows=7),
        )


@pytest.mark.parametrize(
    "hold",
    [
        LegalHold(id="h3", table_schema="doc", table_name="metrics"),
        LegalHold(id="h3", table_schema="*", table_name="m*"),
        LegalHold(id="h3", table_schema="doc", table_name="metrics", where={"gone": 1}),
    ],
)
def test_whole_table_held(hold: LegalHold) -> None:
    """A hold on the whole table, or one whose filter nobody can work out, keeps every row, without counting them."""
    plan = plan_of(policy(), holds=[ON_TENANT, hold])
    assert plan.tasks == ()
    assert [(str(h.table), h.needs_attention) for h in plan.blocked] == [("doc.metrics", False)]
    assert "hold h3" in reasons(plan)
    assert find_probes([policy()], PLAIN, CUTOFF, [hold]) == []


@pytest.mark.parametrize(("start", "end"), [(5, 6), (5, None), (None, 6)])
def test_unreadable_filter_with_time_spares_that_time(start: int | None, end: int | None) -> None:
    """A hold with a filter that nobody can work out keeps all rows of its time, and no others."""
    hold = LegalHold(id="h4", table_schema="doc", table_name="metrics", where={"gone": 1}, start=start, end=end)
    [task] = plan_of(policy(), holds=[hold]).tasks
    assert task.steps == (
        DeleteRows(
            table=METRICS,
            time_column=TS,
            before=LIMIT,
            spared=(Spared(hold_id="h4", where=(), start=start, end=end),),
            rows=7,
        ),
    )


def test_missing_shards() -> None:
    """With shards missing nobody knows which rows there are: nothing is deleted."""
    plan = make_plan([policy()], catalog(table([TS], missing_shards=2)), CUTOFF)
    assert plan.tasks == ()
    assert plan.needs_attention[0].reason.startswith("2 missing shards")


@pytest.mark.parametrize("rule", [policy(), policy("downsample", "forever", levels="1h:forever")], ids=lambda p: p.id)
def test_rows_that_cannot_be_read(rule: Policy) -> None:
    """Whichever question to the rows has no answer: nothing is guessed, and the reason is given."""
    for probe in find_probes([rule], PLAIN, CUTOFF):
        plan = make_plan([rule], PLAIN, CUTOFF, measurements=Measurements(failed={probe: "no time"}))
        assert [task for task in plan.tasks if not isinstance(probe, Variety)] == []
        told = isinstance(probe, Variety) or "cannot read the rows of doc.metrics: no time" in reasons(plan)
        assert told, type(probe).__name__


def test_same_question_once() -> None:
    """Policies that ask the same of the same rows ask once."""
    probes = find_probes([policy(id="a"), policy(id="b"), policy(retention="60d")], PLAIN, CUTOFF)
    assert sorted(type(probe).__name__ for probe in probes) == ["ExpiredRows", "ExpiredRows", "TableBounds"]


@pytest.mark.parametrize(
    ("partitioned", "where", "held"),
    [(False, {"tenant": "acme"}, True), (False, {}, False), (True, {"tenant": "acme"}, True)],
)
def test_rows_of_a_downsampled_table_go_as_a_whole(partitioned: bool, where: dict[str, str], held: bool) -> None:
    """Some rows of a window are not deleted one by one: those that remain would be taken for late ones."""
    whole = table([TS, TENANT, VALUE, MONTH], ["month"], [part("2024-01-01")])
    found = catalog(whole) if partitioned else PLAIN
    plan = make_plan([policy("downsample", "forever", levels="1h:forever"), policy(where=where)], found, CUTOFF)
    blocked = [each for each in plan.needs_attention if "indistinguishable from late rows" in each.reason]
    assert len(blocked) == held


def test_rows_of_an_archived_table_are_held() -> None:
    """Rows are not deleted out of partitions that another policy archives as a whole."""
    found = catalog(table([TS, TENANT, MONTH], ["month"], [part("2024-01-01")]))
    plan = make_plan([policy(where={"tenant": "acme"}), policy("snapshot", "1y")], found, CUTOFF)
    assert plan.tasks == ()
    assert "policy snapshot-1y archives whole partitions" in plan.needs_attention[0].reason
