"""Legal holds on partitions: what they cover stays, under every strategy."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.holds import HoldKind, LegalHold
from support.catalogs import (
    DUCKDB,
    MONTH,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    monthly,
    ms,
    part,
    policy,
    reasons,
    table,
    touched,
)  # fmt: skip
from support.planning import make_plan

CUTOFF = at("2024-07-02")
PARTITIONS = [part(tenant, f"2024-0{month}-01") for month in (4, 5) for tenant in ("a", "b")]
FOUND = catalog(table([TS, TENANT, VALUE, MONTH], ["tenant", "month"], PARTITIONS))
ALL = "a4 a5 b4 b5"


def names(values: list[tuple[Value, ...]]) -> str:
    """Partitions in short: tenant and month."""
    return " ".join(sorted(f"{tenant}{4 if month == ms('2024-04-01') else 5}" for tenant, month in set(values)))


@pytest.mark.parametrize(
    ("hold", "free"),
    [
        (LegalHold(id="h", table_schema="doc", table_name="metrics"), ""),
        (LegalHold(id="h", table_schema="*", table_name="metr*"), ""),
        (LegalHold(id="h", table_schema="", table_name="metrics"), ""),
        (LegalHold(id="h", table_schema="iot", table_name="metrics"), ALL),
        (LegalHold(id="h", table_schema="doc", table_name="metrics_*"), ALL),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"tenant": "a"}), "b4 b5"),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"tenant": "c"}), ALL),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"tenant": None}), ALL),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"month": "2024-04-01"}), "a5 b5"),
        (
            LegalHold(id="h", table_schema="doc", table_name="metrics", where={"tenant": "a", "month": "2024-04-01"}),
            "a5 b4 b5",
        ),
        # Any partition may hold such rows.
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"value": 7}), ""),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"value": 7, "tenant": "a"}), "b4 b5"),
        # Nobody knows what it means: everything stays.
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"gone": 7}), ""),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", where={"value": "seven"}), ""),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-05-01")), "a4 b4"),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", end=ms("2024-05-01")), "a5 b5"),
        (
            LegalHold(
                id="h",
                table_schema="doc",
                table_name="metrics",
                start=ms("2024-04-30T23:59:59.999"),
                end=ms("2024-05-01"),
            ),
            "a5 b5",
        ),
        (
            LegalHold(
                id="h", table_schema="doc", table_name="metrics", start=ms("2024-05-01") - 1, end=ms("2024-05-01") + 1
            ),
            "",
        ),
        (
            LegalHold(
                id="h",
                table_schema="doc",
                table_name="metrics",
                where={"tenant": "a"},
                start=ms("2024-05-31T23:59:59.999"),
            ),
            "a4 b4 b5",
        ),
        (LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2024-06-01")), ALL),
    ],
)
@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_covered_stays(strategy: str, hold: LegalHold, free: str) -> None:
    """A hold by table, values, time or all of these keeps whole partitions in which any row may be under it."""
    plan = make_plan([policy(strategy)], FOUND, CUTOFF, holds=[hold])
    assert names(touched(plan, object)) == free
    assert sum(found.count for found in plan.blocked) == len(ALL.split()) - len(free.split())
    assert plan.needs_attention == ()


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (
            LegalHold(id="0123456789", table_schema="doc", table_name="metrics", reason="case 7"),
            "legal hold 01234567 (case 7)",
        ),
        (
            LegalHold(id="0123456789", table_schema="doc", table_name="metrics", kind=HoldKind.RESTORED),
            "hold 01234567; protected until",
        ),
    ],
)
def test_words(hold: LegalHold, words: str) -> None:
    """The reason names the hold, so that somebody can release it."""
    assert words in reasons(make_plan([policy()], FOUND, CUTOFF, holds=[hold]))


def test_some_partitions_by_name() -> None:
    """A hold of many partitions names the first few and counts them all."""
    many = [part(f"t{i:02}", "2024-04-01") for i in range(20)]
    found = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], many))
    [hold] = make_plan(
        [policy()], found, CUTOFF, holds=[LegalHold(id="h", table_schema="doc", table_name="metrics")]
    ).blocked
    assert hold.count == 20
    assert hold.partitions == tuple(f"tenant=t{i:02}, month=2024-04-01" for i in range(5))


def test_without_a_schema() -> None:
    """A hold that names no schema is on the database's own default one."""
    found = catalog(monthly("2024-04", name=TableName("main", "metrics")), capabilities=DUCKDB)
    assert make_plan([policy()], found, CUTOFF).tasks
    assert (
        make_plan([policy()], found, CUTOFF, holds=[LegalHold(id="h", table_schema="", table_name="metrics")]).tasks
        == ()
    )


def test_order_of_holds_does_not_matter() -> None:
    """Several holds on one partition are said in the same words, however they are listed."""
    holds = [
        LegalHold(id="h1", table_schema="doc", table_name="metrics"),
        LegalHold(id="h2", table_schema="doc", table_name="*"),
    ]
    plans = [make_plan([policy()], FOUND, CUTOFF, holds=order) for order in (holds, holds[::-1])]
    assert repr(plans[0]) == repr(plans[1])


@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_missing_shards_are_held(strategy: str) -> None:
    """A partition of which something is missing is neither dropped nor archived nor moved; others are."""
    sick = [part("a", "2024-04-01", missing_shards=1), part("b", "2024-04-01")]
    plan = make_plan([policy(strategy)], catalog(table([TS, TENANT, MONTH], ["tenant", "month"], sick)), CUTOFF)
    assert names(touched(plan, object)) == "b4"
    [hold] = plan.needs_attention
    assert hold.reason == "1 missing shard; bring the lost nodes back"
    assert hold.partitions == ("tenant=a, month=2024-04-01",)


@pytest.mark.parametrize("retention", ["30d", "10y", "forever"])
@pytest.mark.parametrize("strategy", ["delete", "snapshot", "reallocate", "compact"])
def test_holds_in_force_are_in_the_plan(strategy: str, retention: str) -> None:
    """A plan names the holds on its tables, be anything under them due or not; those of other tables it leaves out."""
    holds = [
        LegalHold(id="h1", table_schema="doc", table_name="metr*"),
        LegalHold(id="h2", table_schema="doc", table_name="other"),
        LegalHold(id="h3", table_schema="doc", table_name="metrics", start=0),
    ]
    plan = make_plan([policy(strategy, retention)], FOUND, CUTOFF, holds=holds)
    assert [hold.id for hold in plan.legal_holds] == ["h1", "h3"]
    assert make_plan([policy(strategy)], FOUND, CUTOFF, holds=holds, chosen=lambda each: False).legal_holds == ()


def test_a_hold_on_what_is_blocked() -> None:
    """Where a table is blocked as a whole, its holds are named all the same."""
    old = catalog(table([TS, VALUE, MONTH], ["month"], [part("1970-01-01")]))
    plan = make_plan([policy()], old, CUTOFF, holds=[LegalHold(id="h1", table_schema="doc", table_name="metrics")])
    assert (len(plan.needs_attention), [hold.id for hold in plan.legal_holds]) == (1, ["h1"])
