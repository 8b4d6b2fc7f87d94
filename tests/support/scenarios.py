"""
Scenarios for properties of planning: a table of tenants and months, policies, holds and a cutoff, all made up.

What a partition covers and what a policy lets go is worked out here once more, in another way than planning does.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from cratedb_retention.model.catalog import Catalog, Kind, Partition, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.measurements import Measurements, PartitionBounds
from cratedb_retention.model.plan import MovePartitions, Plan, ThawPartitions
from cratedb_retention.model.policy import Policy
from cratedb_retention.planning.planner import find_probes, make_plan
from support.catalogs import (
    DAY,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    column,
    dropped,
    policy,
    table,
    touched,
)

LABEL = column("label", Kind.TEXT, "date_format('%Y-%m', ts)")
TENANTS: tuple[Value, ...] = ("a", "b", None)
MONTHS = [(2023 + i // 12, i % 12 + 1) for i in range(18)]
COLD = (("storage", "cold"),)
Values = tuple[Value, ...]


@dataclass(frozen=True)
class Scenario:
    """
    What planning is given, and what is true about it.

    :param intervals: Start and end (ms) of each partition whose time is known.
    :param by_rows: Whether only the rows tell a partition's time.
    """

    partitions: tuple[Partition, ...]
    intervals: dict[Values, tuple[int, int]]
    by_rows: bool
    policies: tuple[Policy, ...]
    holds: tuple[LegalHold, ...]
    cutoff: dt.datetime

    @property
    def catalog(self) -> Catalog:
        """The catalog with the table."""
        time = LABEL if self.by_rows else MONTH
        return catalog(table([TS, TENANT, VALUE, time], ["tenant", time.name], self.partitions))

    def plan(self) -> Plan:
        """The plan, with the rows' answers and a note of what is frozen."""
        probes = find_probes(self.policies, self.catalog, self.cutoff, self.holds)
        bounds = {v: (start, end - 1) for v, (start, end) in self.intervals.items()}
        return make_plan(
            self.policies,
            self.catalog,
            self.cutoff,
            holds=self.holds,
            measurements=Measurements({probe: bounds for probe in probes if isinstance(probe, PartitionBounds)}),
            frozen=[(METRICS, partition.values) for partition in self.partitions if partition.frozen],
        )

    def after(self, plan: Plan) -> Scenario:
        """The same after the plan was executed."""
        gone, moved, thawed = set(dropped(plan)), touched(plan, MovePartitions), touched(plan, ThawPartitions)
        left = [partition for partition in self.partitions if partition.values not in gone]
        left = [replace(p, requires=COLD, nodes=frozenset({"cold-1"})) if p.values in moved else p for p in left]
        return replace(self, partitions=tuple(replace(p, frozen=p.frozen and p.values not in thawed) for p in left))


def limit_of(rule: Policy, cutoff: dt.datetime) -> float:
    """Before which instant (ms) data is expired, for whole days or whole months in UTC."""
    period, now = rule.retention_period, cutoff.timestamp() * 1000
    if period.forever:
        return float("-inf")
    if not period.months:
        return now - period.seconds * 1000
    month = cutoff.year * 12 + cutoff.month - 1 - period.months
    days = calendar.monthrange(month // 12, month % 12 + 1)[1]
    then = cutoff.replace(year=month // 12, month=month % 12 + 1, day=min(cutoff.day, days))
    return then.timestamp() * 1000


def fits(rule: Policy, values: Values) -> bool:
    """Whether a partition is a policy's business."""
    return "tenant" not in rule.where or rule.where["tenant"] == values[0]


def held_by(holds: Iterable[LegalHold], values: Values, interval: tuple[int, int]) -> bool:
    """Whether any instant and tenant of a partition is under a hold."""
    start, end = interval
    return any(
        ("tenant" not in hold.where or hold.where["tenant"] == values[0])
        and range(max(start, hold.start or 0), min(end, end if hold.end is None else hold.end))
        for hold in holds
    )


def _interval(month: tuple[int, int]) -> tuple[int, int]:
    year, number = month
    start = calendar.timegm((year, number, 1, 0, 0, 0))
    return start * 1000, start * 1000 + calendar.monthrange(year, number)[1] * DAY


# Most of it is well, most policies are about everything: else hardly anything would ever happen.
_FACTS: list[dict[str, Any]] = [
    *({"token": token} for token in ("", "t1", "t2", "t3")),
    {"missing_shards": 1},
    {"frozen": True},
    {"requires": COLD, "nodes": frozenset({"cold-1"})},
    {"requires": COLD, "nodes": frozenset({"hot-1"})},
]


@st.composite
def _partitions(draw: st.DrawFn, by_rows: bool) -> tuple[list[Partition], dict[Values, tuple[int, int]]]:
    keys = st.tuples(st.sampled_from(TENANTS), st.sampled_from([*MONTHS, None]))
    partitions: list[Partition] = []
    intervals: dict[Values, tuple[int, int]] = {}
    for tenant, month in draw(st.lists(keys, min_size=1, max_size=20, unique=True)):
        name: Value = None
        if month:
            name = "{}-{:02}".format(*month) if by_rows else _interval(month)[0]
            intervals[tenant, name] = _interval(month)
        partitions.append(Partition((tenant, name), rows=1, size=1, **draw(st.sampled_from(_FACTS))))
    return partitions, intervals


_Where = dict[str, Value]
_wheres = st.sampled_from([*([_Where()] * 4), *(_Where(tenant=tenant) for tenant in TENANTS)])
_periods = st.sampled_from(["0d", "30d", "45d", "90d", "1mo", "3mo", "1y", "forever"])


@st.composite
def policies(draw: st.DrawFn, periods: st.SearchStrategy[str] = _periods) -> list[Policy]:
    """Up to four policies with names of their own."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        options: dict[str, Any] = {"where": draw(_wheres), "enabled": draw(st.integers(0, 5)) > 0}
        if draw(st.integers(0, 3)) == 0:
            options["expected_max"] = {"partitions": draw(st.integers(0, 3))}
        strategy = draw(st.sampled_from(["delete", "delete", "snapshot", "reallocate"]))
        found.append(policy(strategy, draw(periods), id=f"p{number}", **options))
    return found


_edges = st.sampled_from(MONTHS).flatmap(
    lambda month: st.sampled_from([-1, 0, 1]).map(lambda shift: _interval(month)[0] + shift)
)
_hold = st.builds(
    LegalHold,
    id=st.uuids().map(str),
    table_schema=st.sampled_from(["", "doc", "*"]),
    table_name=st.sampled_from(["metrics", "m*"]),
    where=_wheres,
    start=_edges | st.none(),
    end=_edges | st.none(),
)
cutoffs = st.one_of(
    st.sampled_from(MONTHS).map(lambda month: dt.datetime(month[0] + 1, month[1], 1, tzinfo=dt.UTC)),
    st.integers(0, 600 * DAY).map(lambda ms: at("2023-09-01") + dt.timedelta(milliseconds=ms)),
)


@st.composite
def scenarios(
    draw: st.DrawFn, rules: st.SearchStrategy[list[Policy]] | None = None, holds: tuple[int, int] = (0, 1)
) -> Scenario:
    """A scenario with these policies, or any, and so many holds."""
    by_rows = draw(st.booleans())
    partitions, intervals = draw(_partitions(by_rows))
    found = draw(policies() if rules is None else rules)
    held = draw(st.lists(_hold, min_size=holds[0], max_size=holds[1], unique_by=lambda hold: hold.id))
    return Scenario(tuple(partitions), intervals, by_rows, tuple(found), tuple(held), draw(cutoffs))
