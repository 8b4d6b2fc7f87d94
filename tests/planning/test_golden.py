"""One rich plan as text, compared with what was found right once; ``UPDATE_GOLDEN=1`` writes it anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from cratedb_retention.model.catalog import Capabilities, Kind, Table, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Bounds, ExpiredRows, Measurements, PartitionBounds, Probe
from cratedb_retention.model.plan.plan import Blocked, Plan
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.time import show
from support.catalogs import (
    CRATEDB,
    DAILY,
    DAY,
    DUCKDB,
    MONTH,
    TENANT,
    TS,
    VALUE,
    WEEK,
    at,
    catalog,
    column,
    monthly,
    ms,
    part,
    policy,
    table,
)  # fmt: skip
from support.golden import check_golden
from support.planning import find_probes, make_plan

GOLDEN = Path(__file__).parent / "golden"
CUTOFF = at("2024-07-02T12:00")
LABEL = column("label", Kind.TEXT, "date_format('%Y-%m', ts)")
LOCAL = column("local", expression="date_trunc('month', 'Europe/Vienna', ts)")


def name(text: str) -> TableName:
    """A table of the schema ``doc``."""
    return TableName("doc", text)


def tenants() -> Table:
    """Tenants by month, some of it held, sick, closed or without a time."""
    partitions = [
        *(part(tenant, f"2024-0{month}-01") for tenant in ("acme", "bolt", None) for month in (4, 5, 6)),
        part("acme", "2024-03-01", missing_shards=1),
        part("bolt", "2024-03-01", closed=True, rows=None),
        part("acme", None),
    ]
    return table([TS, TENANT, VALUE, MONTH], ["tenant", "month"], partitions, name("tenants"))


TABLES = [
    monthly("2024-04", "2024-05", "2024-06", "2024-07"),
    monthly("2024-04", "2024-05", "2024-06", name=name("archived")),
    monthly("2024-04", "2024-05", "2024-06", name=name("both")),
    monthly("2024-05", name=name("stopped")),
    monthly("2024-05", "2030-01", name=name("clock")),
    tenants(),
    table([TS, WEEK], ["week"], [part("2024-05-13"), part("2024-05-27")], name("weekly")),
    table([TS, LOCAL], ["local"], [part("2024-04-30T22:00"), part("2024-05-31T22:00")], name("local")),
    table([TS, DAILY], ["day"], [part(ms("2021-01-01") + i * DAY) for i in range(1260)], name("daily")),
    table([TS, LABEL], ["label"], [part("April"), part("May", closed=True, rows=None), part("June")], name("labels")),
    table([TS, TENANT], name=name("rows"), rows=100),
    table([TS, column("other")], name=name("ambiguous")),
]  # fmt: skip
POLICIES = [
    policy(id="01-metrics"),
    policy("snapshot", id="02-archived", table_name="archived", expected_max={"partitions": 5}),
    policy("snapshot", "60d", id="03-later", table_name="both"),
    policy("delete", "30d", id="04-too-early", table_name="both"),
    policy("reallocate", "1mo", id="05-move", table_name="both"),
    policy("delete", "2d", id="06-stopped", table_name="stopped"),
    policy("delete", "forever", id="07-clock", table_name="clock"),
    policy("delete", "1mo", id="08-acme", table_name="tenants", where={"tenant": "acme"}),
    policy("delete", "60d", id="09-nobody", table_name="tenants", where={"tenant": None}),
    policy("snapshot", "P1M", id="10-bolt", table_name="tenants", where={"tenant": "bolt"}),
    policy("delete", "36h", id="11-weekly", table_name="week*"),
    policy("delete", "1mo", id="12-local", table_name="local", time_zone="Europe/Vienna"),
    policy("delete", "90d", id="13-daily", table_name="daily"),
    policy("delete", "30d", id="14-labels", table_name="labels"),
    policy("delete", "7d", id="15-rows", table_name="rows"),
    policy("delete", "7d", id="16-limit", table_name="daily", expected_max={"partitions": 10}),
    policy("delete", "7d", id="17-ambiguous", table_name="ambiguous"),
    policy("delete", "7d", id="18-gone", table_name="gone"),
    policy("snapshot", "7d", id="19-repository", table_name="weekly", target_repository_name="nowhere"),
    policy("reallocate", "7d", id="20-no-node", table_name="clock", reallocation_attribute_value="frozen"),
    policy("delete", "1d", id="21-disabled", table_name="*", enabled=False),
]
HOLDS = [
    LegalHold(
        id="h1-case-7",
        table_schema="doc",
        table_name="tenants",
        where={"tenant": "acme"},
        start=ms("2024-04-15"),
        end=ms("2024-04-16"),
        reason="case 7",
    ),
    LegalHold(id="h2-rows", table_schema="doc", table_name="rows", where={"tenant": "acme"}),
]
BOUNDS: Bounds = {("April",): (ms("2024-04-02"), ms("2024-04-30")), ("June",): (ms("2024-06-01"), ms("2024-06-30"))}


def answers(probes: list[Probe]) -> Measurements:
    """What the rows say."""
    bounds = {probe: BOUNDS for probe in probes if isinstance(probe, PartitionBounds)}
    return Measurements(bounds=bounds, rows={probe: 42 for probe in probes if isinstance(probe, ExpiredRows)})


def plan_on(capabilities: Capabilities) -> Plan:
    """The same data and the same policies, on one of the databases."""
    found = catalog(*TABLES, capabilities=dataclasses.replace(capabilities, default_schema="doc"))
    frozen: list[tuple[TableName, tuple[Value, ...]]] = [(name("metrics"), (ms("2024-07-01"),))]
    frozen = frozen if capabilities.freezes else []
    probes = find_probes(POLICIES, found, CUTOFF, HOLDS)
    return make_plan(POLICIES, found, CUTOFF, holds=HOLDS, measurements=answers(probes), frozen=frozen)


def lines(plan: Plan, policies: list[Policy]) -> Iterator[str]:
    """A plan as text: every task with its steps, what is blocked, what is up to date, and the warnings."""
    yield f"cutoff {show(plan.cutoff)}, {len(policies)} policies"
    for task in plan.tasks:
        yield f"\ntask of {task.policy_id}: {task.table}, {task.rows} rows, {task.size} bytes, {task.reason}"
        yield from (f"    {step.describe()}" for step in task.steps)
    yield ""
    yield from (_hold(hold) for hold in plan.blocked)
    yield ""
    for kept in plan.up_to_date:
        yield f"up to date for {kept.policy_id}: {kept.partitions} of {kept.table}, next due {show(kept.next_due)}"
    yield ""
    yield from (f"warning: {warning}" for warning in plan.warnings)


def _hold(hold: Blocked) -> str:
    kind = "NEEDS ATTENTION" if hold.needs_attention else "blocked"
    names = f": {'; '.join(hold.partitions)}" if hold.partitions else ""
    return f"{kind} of {hold.policy_id}: {hold.count} of {hold.table}, {hold.reason}{names}"


@pytest.mark.parametrize("capabilities", [CRATEDB, DUCKDB], ids=["cratedb", "duckdb"])
def test_plan(capabilities: Capabilities) -> None:
    """The whole of a plan, in words, is what somebody once read and found right."""
    text = "\n".join(lines(plan_on(capabilities), POLICIES)) + "\n"
    check_golden(GOLDEN / f"{capabilities.product.lower()}.txt", text)


def test_comparison_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that differs fails with the difference; a file that is not there fails, too."""
    monkeypatch.delenv("UPDATE_GOLDEN", raising=False)
    (tmp_path / "x.txt").write_text("one\n")
    check_golden(tmp_path / "x.txt", "one\n")
    with pytest.raises(AssertionError, match=r"(?s)-one\n\+two.*UPDATE_GOLDEN=1"):
        check_golden(tmp_path / "x.txt", "two\n")
    with pytest.raises(AssertionError, match=r"\+two"):
        check_golden(tmp_path / "gone.txt", "two\n")


@pytest.mark.parametrize("ci", ["true", "1", "True"])
def test_no_update_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    """In CI the files can't be made to fit; elsewhere the switch writes them."""
    path = tmp_path / "x.txt"
    monkeypatch.setenv("UPDATE_GOLDEN", "1")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(AssertionError, match="no place in CI"):
        check_golden(path, "one\n")
    assert not path.exists()
    monkeypatch.delenv("CI")
    check_golden(path, "one\n")
    assert path.read_text() == "one\n"
