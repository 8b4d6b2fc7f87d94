"""Cascades: the role of each column, the tables of levels, and whether a rollup is worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Capabilities, Column, Kind, Table, TableName, TimeUnit
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Measurements, Varied, Variety
from cratedb_retention.model.rollups.cascade import parse_levels
from cratedb_retention.model.rollups.ledger import KnownRollup, Ledger, LedgerRow, Windows
from cratedb_retention.model.rollups.rollup import PARTITION, Rollup
from cratedb_retention.planning.policies import find_contradictions
from cratedb_retention.planning.rollups.cascades import (
    Cascade,
    choose_partition,
    find_cascades,
    require_smaller,
    variety_probe,
    why_large,
)
from cratedb_retention.planning.targets import Undecided, find_targets
from support.catalogs import CRATEDB, METRICS, MONTH, TENANT, TS, VALUE, at, catalog, column, part, policy, table
from support.planning import find_probes, make_plan

CUTOFF = at("2024-07-02")
PLAIN = table([TS, TENANT, VALUE], identity="b")
HOURS = TableName("doc", "metrics_1h")


def find(
    *tables: Table, ledger: Ledger | None = None, capabilities: Capabilities = CRATEDB, **attributes: Any
) -> tuple[list[Cascade], list[str]]:
    """The cascade on the first table, and why it is impossible."""
    known = catalog(*tables, capabilities=capabilities)
    rule = policy("downsample", "30d", **{"levels": "1h:90d", **attributes})
    targets, problems = find_targets([rule], known)
    assert problems == []
    cascades, blocked = find_cascades(targets, known, ledger or Ledger())
    return cascades, [each.reason for each in blocked]


def one(*tables: Table, **attributes: Any) -> Cascade:
    """The cascade on the first table."""
    [found], _ = find(*tables, **attributes)
    return found


ROLLUP = one(PLAIN).levels[0].rollup


def made(rollup: Rollup = ROLLUP, identity: str = "", windows: Sequence[LedgerRow] = ()) -> Ledger:
    """The ledger with a level that exists."""
    known = KnownRollup(rollup=rollup, identity=identity)
    return Ledger(rollups={HOURS: known}, windows={HOURS: Windows(windows)})


def level_table(rollup: Rollup = ROLLUP, **facts: Any) -> Table:
    """The level's own table."""
    return table([column(name) for name in [*rollup.columns, PARTITION]], name=HOURS, **facts)


OBJECT = [column("o", Kind.OTHER), column("o['a']", Kind.TEXT), column("o['b']['c']", Kind.NUMBER)]


@pytest.mark.parametrize(
    ("columns", "attributes", "dimensions", "metrics"),
    [
        ([], {}, ["tenant"], ["value"]),
        ([column("lower", Kind.TEXT, "lower(tenant)")], {}, ["tenant"], ["value"]),
        ([column("id", Kind.TEXT)], {"primary_key": ("id",)}, ["tenant"], ["value"]),
        ([column("id", Kind.NUMBER)], {"primary_key": ("ts", "id")}, ["tenant", "id"], ["value"]),
        ([column("id", Kind.NUMBER)], {"primary_key": ("ts", "id"), "metrics": ["id"]}, ["tenant"], ["id"]),
        (OBJECT, {"exclude": ["o"]}, ["tenant"], ["value"]),
        (OBJECT, {"exclude": ["o", "tenant"], "metrics": ["value"]}, [], ["value"]),
        (OBJECT[1:], {"dimensions": ["o"], "exclude": ["o['b']['c']"]}, ["o['a']"], ["value"]),
        (OBJECT[1:], {"dimensions": ["tenant"], "metrics": ["o"]}, ["tenant"], ["o['b']['c']"]),
    ],
    ids=[
        "plain",
        "generated",
        "key of a row",
        "key of a series",
        "measured key",
        "object",
        "two",
        "its field",
        "its numbers",
    ],
)
def test_roles(columns: list[Column], attributes: dict[str, Any], dimensions: list[str], metrics: list[str]) -> None:
    """Text and keys with the time are dimensions, numbers are metrics; what is generated or excluded is neither."""
    key = {"primary_key": attributes.get("primary_key", ())}
    rest = {name: value for name, value in attributes.items() if name not in key}
    rollup = one(table([TS, TENANT, VALUE, *columns], **key), **rest).levels[0].rollup
    assert [c.name for c in rollup.dimensions] == dimensions
    assert [metric.column.name for metric in rollup.metrics] == metrics


def test_counters_in_some_series() -> None:
    """
    A metric that is a counter by name, or has the aggregate by name, is one in all series, whatever a pattern of series
    says of others.
    """
    other, grows = column("other", Kind.NUMBER), column("grows", Kind.NUMBER)
    attributes: dict[str, Any] = {"counters": ["tenant=a*", "value"], "aggregates": {"grows": ["increase"]}}
    [level] = one(table([TS, TENANT, VALUE, other, grows]), **attributes).levels
    within = {metric.name: [series.pattern for series in metric.within] for metric in level.rollup.metrics}
    assert within == {"value": [], "other": ["a*"], "grows": []}


@pytest.mark.parametrize(
    ("now", "then", "same"), [("b", "b", True), ("b", "", True), ("", "", True), ("b", "a", False), ("", "a", False)]
)
def test_another_table_of_the_name(now: str, then: str, same: bool) -> None:
    """Rollups say nothing about a table that is not surely the one that they were made from."""
    cascades, reasons = find(replace(PLAIN, identity=now), ledger=made(identity=then))
    assert (bool(cascades), ["is not the table that its rollups were made from" in why for why in reasons]) == (
        same,
        [] if same else [True],
    )


@pytest.mark.parametrize(
    "was",
    [
        replace(ROLLUP, zone="Europe/Vienna"),
        replace(ROLLUP, time=column("created")),
        replace(ROLLUP, time=replace(TS, unit=TimeUnit.SECONDS)),
        replace(ROLLUP, source=TableName("doc", "other")),
    ],
    ids=["zone", "column", "unit", "source"],
)
def test_a_level_that_was_made_otherwise(was: Rollup) -> None:
    """A level goes on with the same time, unit, zone and source, or not at all."""
    assert find(PLAIN, ledger=made())[1] == []
    [reason] = find(PLAIN, ledger=made(was))[1]
    assert reason.startswith("doc.metrics_1h was made from ")


def test_names_of_levels() -> None:
    """A table with a level's name is written to and expires only if it is registered, and has its columns."""
    user = table([TS, column("row_count")], name=HOURS)
    for other, ledger in ((user, None), (user, made()), (level_table(), None)):
        assert find(PLAIN, other, ledger=ledger)[1] == ["doc.metrics_1h already exists and is not a rollup; rename it"]
    [level] = one(PLAIN, level_table(), ledger=made()).levels
    assert [(target.table.name, str(target.policy.retention_period)) for target in level.targets] == [(HOURS, "90d")]
    sketch = table([TS], name=TableName("doc", "metrics_1h_sketch"))
    [reason] = find(PLAIN, sketch, aggregates={"*": ["median"]})[1]
    assert reason.startswith("doc.metrics_1h_sketch already exists")


def test_hours_that_do_not_fit_the_zone() -> None:
    """Where days do not consist of whole hours, hours are partitioned in UTC; days are those of the zone."""
    for levels, zone in (("1h:90d", "UTC"), ("15m:90d", "Asia/Kathmandu"), ("1d:90d", "Asia/Kathmandu")):
        assert one(PLAIN, levels=levels, time_zone="Asia/Kathmandu").levels[0].rollup.zone == zone


def test_columns_of_a_level() -> None:
    """As many as the database allows, including those of former metrics in a table that exists."""
    most = len({*ROLLUP.columns, PARTITION})
    for limit, fits in ((most, True), (most - 1, False)):
        reasons = find(PLAIN, capabilities=replace(CRATEDB, most_columns=limit))[1]
        assert [f"would have {most} columns" in why for why in reasons] == ([] if fits else [True])
    there = level_table(most_columns=most)
    assert find(PLAIN, there, ledger=made())[1] == []
    wider = replace(there, columns={**there.columns, "former_min": VALUE})
    [reason] = find(PLAIN, wider, ledger=made())[1]
    assert "raise mapping.total_fields.limit" in reason


@pytest.mark.parametrize(
    ("varied", "reason"),
    [
        (Varied(rows=100, groups=90, values=(90,)), None),
        (Varied(rows=100, groups=91, values=(26,)), "would have 91 rows for the newest 100 rows"),
        (Varied(rows=100, groups=91, values=(25,)), None),
        (Varied(rows=99, groups=99, values=(99,)), None),
        (Varied(rows=100, groups=1, values=(1,), mixed=1), "1 row of doc.metrics differ from others"),
    ],
)
def test_a_rollup_is_smaller(varied: Varied, reason: str | None) -> None:
    """A level about as large as its source, or with merged series, is not created until a user decides."""
    cascade = one(PLAIN)
    probe = variety_probe(cascade, CUTOFF)
    assert probe is not None
    measured = Measurements(varieties={probe: varied})
    if reason is None:
        require_smaller(cascade, measured, CUTOFF)
    else:
        with pytest.raises(Undecided) as caught:
            require_smaller(cascade, measured, CUTOFF)
        assert reason in str(caught.value.why)
    assert variety_probe(one(PLAIN, dimensions=["tenant"]), CUTOFF) is None, "the user decided"
    assert variety_probe(one(PLAIN, level_table(), ledger=made()), CUTOFF) is None, "the level exists"


@pytest.mark.parametrize(
    ("rows", "groups", "attributes", "told"),
    [(100, 91, {}, True), (100, 90, {}, False), (99, 99, {}, False), (100, 91, {"dimensions": ["tenant"]}, False)],
)
def test_a_level_that_is_large(rows: int, groups: int, attributes: dict[str, Any], told: bool) -> None:
    """A level about as large as its source is reported, unless the user listed the dimensions."""
    known: dict[str, Any] = {"until": 10, "whole": True, "below": METRICS, "token": "t", "sealed": False}
    ledger = made(windows=[LedgerRow(start=0, end=10, rows=rows, groups=groups, **known)])
    reason = why_large(one(PLAIN, level_table(), ledger=ledger, **attributes), ledger)
    assert (reason is not None) is told


def test_policies_and_holds_on_a_level() -> None:
    """A level's table has its own retention period, which other policies may contradict, and holds of its own."""
    columns = [TS, *(column(name, Kind.NUMBER) for name in ROLLUP.columns if name != TS.name)]
    month = column(PARTITION, expression="date_trunc('month', ts)")
    found = catalog(PLAIN, table([*columns, month], [PARTITION], [part("2024-05-01")], HOURS))
    down = policy("downsample", "30d", levels="1h:90d")
    for period, contradicts in (("90d", False), ("91d", True)):
        later = policy("snapshot", period, table_name=HOURS.name)
        findings = find_contradictions([down, later], found, made())
        assert [finding.table for finding in findings] == [HOURS] * contradicts
    for period, first in (("7d", "delete after 7d"), ("91d", "downsample after 90d")):
        [finding] = find_contradictions([down, policy("delete", period, table_name=HOURS.name)], found, made())
        assert (finding.table, finding.why.code) == (HOURS, "taken-before")
        assert finding.message.startswith(first)
    hold = LegalHold(id="h", table_schema=HOURS.schema, table_name=HOURS.name)
    for each, warnings in ((down, []), (policy("downsample", "7d", levels="1h:20d"), ["all-expired"])):
        plan = make_plan([each], found, CUTOFF, ledger=made(), holds=[hold])
        assert (plan.legal_holds, [why.code for why in plan.warnings]) == ((hold,), warnings)


@pytest.mark.parametrize(("groups", "codes"), [(90, []), (91, ["not-smaller", "stalled"])])
def test_raw_rows_of_a_rollup_that_is_not_made(groups: int, codes: list[str]) -> None:
    """They stay, whichever policy would delete them."""
    down, delete = policy("downsample", "forever", levels="1h:forever"), policy("delete", "30d")
    known = catalog(table([TS, TENANT, VALUE, MONTH], ["month"], [part("2024-04-01"), part("2024-05-01")]))
    [probe] = [each for each in find_probes([down, delete], known, CUTOFF) if isinstance(each, Variety)]
    measured = Measurements(varieties={probe: Varied(rows=100, groups=groups, values=(26,))})
    plan = make_plan([down, delete], known, CUTOFF, measurements=measured)
    assert [each.why.code for each in plan.blocked] == codes
    assert any(step.expires for task in plan.tasks for step in task.steps) is (not codes)


@pytest.mark.parametrize(
    ("level", "partition"),
    [("1w:forever", None), ("1h:forever", "1mo"), ("1d:forever", "1y"), ("1w:1y", "1w"), ("1h:30d", "1w")],
)
def test_partitions_of_a_level(level: str, partition: str | None) -> None:
    """They are a small part of what is kept; of weeks that are kept forever there would be too many."""
    found = choose_partition(parse_levels(level)[0], "UTC")
    assert (found and str(found)) == partition
