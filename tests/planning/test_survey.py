"""All tables beside the policies on them: what no policy governs, how it grows, and what is older than expected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Catalog, Kind, Partition, Table, TableName
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import ExpiredRows, Measurements, TableBounds
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.overview.survey import (
    Growth,
    Ungoverned,
    UserTable,
    find_empty,
    find_older,
    find_ungoverned,
    find_unmatched,
    find_user_tables,
    plan_older,
)
from cratedb_retention.planning.policies import Finding
from support.catalogs import (
    DAILY,
    DUCKDB,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    column,
    monthly,
    ms,
    part,
    policy,
    table,
)

NOW = at("2024-07-02")
OTHER = TableName("doc", "other")
SHARED = table([TS, TENANT, MONTH], ["tenant", "month"], [part(each, "2024-05-01") for each in ("a", "b", None)])
PLAIN = table([TS, TENANT, VALUE], rows=100)


def facts_of(known: Catalog, policies: Iterable[Policy] = (), **more: object) -> Facts:
    """What is known at the cutoff."""
    return Facts(policies=list(policies), catalog=known, cutoff=NOW, **more)  # type: ignore[arg-type]


def survey(known: Catalog, *policies: Policy) -> list[UserTable]:
    """The tables of users."""
    return find_user_tables(facts_of(known, policies), known.tables)


def ungoverned(known: Catalog, *policies: Policy) -> list[Ungoverned]:
    """What no policy governs."""
    return find_ungoverned(survey(known, *policies), to_ms(NOW))


@pytest.mark.parametrize(
    ("policies", "names"),
    [
        ([], ["doc.metrics", "doc.other"]),
        ([policy()], ["doc.other"]),
        ([policy("compact")], ["doc.other"]),
        ([policy(retention="forever")], ["doc.other"]),
        ([policy(table_name="*")], []),
        ([policy(table_schema="*", table_name="m*")], ["doc.other"]),
        ([policy(table_schema="elsewhere")], ["doc.metrics", "doc.other"]),
        ([policy(time_column="nothing")], ["doc.other"]),
        ([policy(where={"nothing": 1})], ["doc.other"]),
        ([policy(enabled=False)], ["doc.metrics", "doc.other"]),
    ],
)
def test_tables_without_a_policy(policies: list[Policy], names: list[str]) -> None:
    """A table is governed if an enabled policy matches it, whatever that does; one that cannot work is a mistake."""
    found = ungoverned(catalog(monthly("2024-05"), monthly("2024-05", name=OTHER)), *policies)
    assert [str(each.table) for each in found] == names
    disabled = [each.id for each in policies if not each.enabled]
    assert [list(each.disabled) for each in found if each.table == METRICS] == [disabled] * ("doc.metrics" in names)


def test_tables_of_the_toolkit_are_not_those_of_users() -> None:
    """Its own tables and the levels of cascades are skipped, although no policy names them."""
    own, level = TableName("ext", "jobs_log"), TableName("doc", "metrics_1h")
    known = catalog(*(monthly("2024-05", name=name) for name in (METRICS, own, level)))
    known = replace(known, rollups=frozenset({level}))
    for schema, folds, names in (("ext", False, [METRICS]), ("EXT", True, [METRICS]), ("EXT", False, [METRICS, own])):
        capabilities = replace(known.capabilities, folds_case=folds)
        facts = facts_of(replace(known, capabilities=capabilities), own_schema=schema)
        assert [each.table.name for each in find_user_tables(facts, known.tables)] == names


def test_partitions_without_a_policy() -> None:
    """If policies have filters, the partitions that none of them matches are listed, with their rows."""
    known = catalog(replace(SHARED, size=1000), capabilities=DUCKDB)
    of_a, of_b, of_null = (
        policy(id=f"p-{each}", where={"tenant": each}, table_schema="doc") for each in ("a", "b", None)
    )
    for policies, partitions in (((of_a,), 2), ((of_a, of_b), 1), ((of_null,), 2)):
        (found,) = ungoverned(known, *policies)
        assert (found.partitions, found.partly, found.rows, found.size) == (
            partitions,
            True,
            10 * partitions,
            100 * partitions,
        )
    assert ungoverned(known, of_a, of_b, of_null) == []
    assert ungoverned(known, of_a, policy(table_schema="doc")) == []
    # In doubt a policy governs a partition: it might be about some of its rows.
    assert ungoverned(known, policy(table_schema="doc", where={"ts": "2024-05-01"})) == []
    (found,) = ungoverned(known, of_a.model_copy(update={"enabled": False}))
    assert (found.partitions, found.partly, found.rows, found.size) == (3, False, 30, 1000)


def test_why_no_policy_could_apply() -> None:
    """A table whose data has no age says so; the largest table comes first."""
    place = table([VALUE], rows=5, name=TableName("doc", "places"))
    found = ungoverned(catalog(place, replace(PLAIN, size=1), table([TS], name=OTHER, rows=7)))
    assert [(each.table.name, each.rows, each.code) for each in found] == [
        ("metrics", 100, None),
        ("other", 7, None),
        ("places", 5, "no-time-column"),
    ]
    assert "no timestamp column" in str(found[-1].reason)
    assert [each.growth for each in found] == [Growth()] * 3


def days(*starts: str, **facts: int | None) -> list[Partition]:
    """Partitions of days."""
    return [part(start, **facts) for start in starts]


LAST_MONTH = [f"2024-06-{day:02d}" for day in range(1, 31)]


@pytest.mark.parametrize(
    ("partitions", "now", "growth"),
    [
        # 27.5 of 28 days, of which the last one is not over.
        (
            [*days(*LAST_MONTH, "2024-07-01"), part("2024-07-02", rows=5, size=50)],
            "2024-07-02T12:00",
            Growth(rows=10, size=100),
        ),
        ([part("2024-06-30", rows=1, size=1), *days("2024-07-01")], "2024-07-02", Growth(rows=10, size=100)),
        # A day without data counts.
        (days("2024-06-29", "2024-06-30"), "2024-07-02", Growth(rows=5, size=50)),
        # Data of the future does not.
        (days("2024-06-30", "2024-07-01", "2024-07-20"), "2024-07-02", Growth(rows=10, size=100)),
        ([], "2024-07-02", Growth()),
        (days("2024-07-01"), "2024-07-02", Growth()),
        (days("2024-07-01", "2024-07-02"), "2024-07-02T12:00", Growth()),
        (days("2023-01-01", "2023-01-02"), "2024-07-02", Growth(rows=0, size=0)),
        (days("2023-01-01", "2023-01-02", size=None), "2024-07-02", Growth(rows=0)),
        (days("2024-06-30", "2024-07-01", size=None), "2024-07-02", Growth(rows=10)),
        (days("2024-06-30", "2024-07-01", rows=None), "2024-07-02", Growth(size=100)),
        (days(*LAST_MONTH[:15], "2024-07-01"), "2024-07-02", Growth(rows=5, size=46)),
    ],
)
def test_growth(partitions: list[Partition], now: str, growth: Growth) -> None:
    """Growth is what the partitions of the last four weeks got per day, if whole ones are known."""
    known = catalog(table([TS, DAILY], ["day"], partitions))
    (found,) = find_ungoverned(survey(known), ms(now))
    assert found.growth == growth


def test_growth_of_long_partitions_and_tenants() -> None:
    """Months are measured over three of them, and the partitions of all tenants are added."""
    months = [part(f"2024-{month:02d}-01", rows=9200, size=92_000) for month in range(1, 7)]
    (found,) = ungoverned(catalog(table([TS, MONTH], ["month"], months)))
    assert found.growth == Growth(rows=300, size=3000)
    tenants = [part(each, day) for each in ("a", "b", "c") for day in ("2024-06-30", "2024-07-01")]
    (found,) = ungoverned(catalog(table([TS, TENANT, DAILY], ["tenant", "day"], tenants)))
    assert found.growth == Growth(rows=30, size=300)
    assert str(found.growth) == "30 rows, 300 B"
    assert (str(Growth()), str(Growth(rows=1))) == ("", "1 row")


def test_oldest_data() -> None:
    """The oldest data is in the first partition that has rows."""
    (found,) = ungoverned(
        catalog(table([TS, DAILY], ["day"], [part("2024-01-01", rows=0), part("2024-02-01"), part(None)]))
    )
    assert found.oldest == ms("2024-02-01")
    assert ungoverned(catalog(PLAIN))[0].oldest is None


def older(
    of: Table, *policies: Policy, period: str = "30d", holds: Iterable[LegalHold] = (), rows: int = 7
) -> list[Finding]:
    """The tables with older data; rows that are counted are ``rows``."""
    known, length = catalog(of), parse_duration(period)
    facts = facts_of(known, policies, holds=holds)
    tables = find_user_tables(facts, known.tables)
    planning = plan_older(facts, tables, length)
    counted = {probe: rows for probe in planning.probes() if isinstance(probe, ExpiredRows)}
    return list(find_older(tables, replace(planning, measurements=Measurements(rows=counted)).plan(), length))


MONTHS = monthly("2024-04", "2024-05", "2024-06", "2024-07")
FITS = "no policy removes all of it: a policy that deletes after 30d would fit"


@pytest.mark.parametrize(
    ("policies", "identifiers", "words"),
    [
        ([], (), FITS),
        ([policy(enabled=False)], (), FITS),
        ([policy("compact", "7d")], (), FITS),
        ([policy("reallocate", "7d")], (), FITS),
        ([policy(where={"month": "2024-05-01"})], (), FITS),
        ([policy(retention="31d")], ("delete-31d",), "delete after 31d (delete-3) keeps it longer"),
        ([policy(retention="forever")], ("delete-forever",), "keeps it longer: a retention period of 30d would fit"),
        ([policy("snapshot", "1y"), policy(retention="90d")], ("delete-90d",), "delete after 90d (delete-9) keeps it"),
        ([policy()], ("delete-30d",), "delete after 30d (delete-3) removes it in its next run, unless it is blocked"),
        ([policy("snapshot", "7d")], ("snapshot-7d",), "snapshot after 7d (snapshot) removes it in its next run"),
    ],
)
def test_data_that_is_older_than_expected(policies: list[Policy], identifiers: tuple[str, ...], words: str) -> None:
    """What a policy with this period would delete is older; the finding says which policy keeps it, and what fits."""
    (found,) = older(MONTHS, *policies)
    assert (found.table, found.policies) == (METRICS, identifiers)
    assert found.message.startswith("2 partitions, 20 rows, 200 B older than 30d; ")
    assert words in found.message


def test_what_is_not_older() -> None:
    """Data that is younger, under a legal hold, or that has no rows, is not older than expected."""
    assert older(MONTHS, period="91d") == []
    assert older(MONTHS, period="forever") == []
    assert older(MONTHS, holds=[LegalHold(id="h1", table_schema="doc", table_name="metrics")]) == []
    assert older(table([TS, MONTH], ["month"], [part("2024-01-01", rows=0, size=0)])) == []
    assert older(table([VALUE], rows=5)) == []
    assert older(PLAIN, rows=0) == []
    (found,) = older(PLAIN)
    assert found.message.startswith("7 rows older than 30d; ")


def test_policies_state_the_time_of_their_table() -> None:
    """If a table has several times, its age is that of the one that a policy on it names; otherwise it is unknown."""
    two = table([TS, column("changed")], rows=100)
    assert older(two) == []
    (found,) = older(two, policy(retention="1y", time_column="ts", enabled=False), policy("compact", time_column="ts"))
    assert "7 rows older than 30d" in found.message
    assert ungoverned(catalog(two))[0].code == "several-times"


def unmatched(known: Catalog, *policies: Policy, **more: object) -> list[Finding]:
    """Policies that match no data."""
    return list(find_unmatched(facts_of(known, policies, **more), lambda each: each.id != "other"))


def test_policies_that_match_nothing() -> None:
    """A filter that matches no partition of any table of its policy is noted; a table without data says nothing."""
    empty = table([TS, TENANT, MONTH], ["tenant", "month"], name=OTHER)
    known = catalog(SHARED, empty)
    (found,) = unmatched(known, policy(where={"tenant": "nobody", "month": "2024-05-01"}))
    assert (found.table, found.policies, found.why.code) == (METRICS, ("delete-30d",), "no-data-matches")
    assert "no data has tenant=nobody, month=2024-05-01; correct where" in found.message
    for tenant in ("a", None):
        assert unmatched(known, policy(where={"tenant": tenant})) == []
    others: list[dict[str, Any]] = [{"table_name": "other"}, {"enabled": False}, {"id": "other"}, {"where": {}}]
    for more in others:
        assert unmatched(known, policy(**{"where": {"tenant": "nobody"}, **more})) == []
    full = replace(SHARED, name=OTHER, partitions=(part("nobody", "2024-05-01"),))
    both = policy(table_name="*", where={"tenant": "nobody"})
    assert unmatched(catalog(SHARED, full), both) == []
    (found,) = unmatched(catalog(SHARED, replace(SHARED, name=OTHER)), both)
    assert found.table == TableName("doc", "*")


def test_filters_of_rows_that_match_nothing() -> None:
    """Of rows, a plan has read whether any match; if it has not, nothing is noted."""
    rule = policy(where={"value": 3})
    probe = TableBounds(METRICS, TS, ((VALUE, 3),))
    for ranges, count in (({probe: (None, None)}, 1), ({probe: (1, 2)}, 0), ({}, 0)):
        assert len(unmatched(catalog(PLAIN), rule, measurements=Measurements(ranges=ranges))) == count
    nothing = Measurements(ranges={probe: (None, None)})
    assert unmatched(catalog(table([TS, TENANT, VALUE], rows=0)), rule, measurements=nothing) == []


def test_empty_partitions() -> None:
    """Empty partitions are noted, except those of now, those whose rows are unknown, and those with missing shards."""
    parts = [
        part("2024-02-01", rows=0),
        part("2024-03-01"),
        part("2024-04-01", rows=None),
        part("2024-05-01", rows=0, missing_shards=1),
        part("2024-07-01", rows=0),
        part(None, rows=0),
    ]
    known = catalog(table([TS, MONTH], ["month"], parts), monthly("2024-01", name=OTHER))
    for policies in ((), (policy(),)):
        (found,) = find_empty(survey(known, *policies), to_ms(NOW))
        assert (found.table, found.why.code) == (METRICS, "empty-partitions")
        assert "2 partitions are empty, but have shards (month=2024-02-01; month=NULL)" in found.message


def test_a_table_of_numbers_only() -> None:
    """Whole numbers are no time by themselves."""
    numbers = table([column("day", Kind.NUMBER), VALUE], ["day"], [part(1_720_000_000)])
    assert ungoverned(catalog(numbers))[0].code == "no-time-column"
