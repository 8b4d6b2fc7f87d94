"""Suggested policies: what they keep, what they are made from, and that `apply` takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import Kind, Table, TableName
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.plan.measurements import ExpiredRows, Measurements, PartitionBounds, TableBounds
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.model.translation import Translation, write_policies
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.overview.suggest import TITLE, Suggesting, choose_period
from cratedb_retention.planning.overview.survey import find_user_tables
from support.catalogs import (
    DAILY,
    DUCKDB,
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
MONTHS = monthly("2024-01", "2024-02", "2024-03", "2024-04", "2024-05", "2024-06", "2024-07")
ROWS = table([TS, VALUE], rows=100)
NUMBER = column("day", Kind.NUMBER)


def suggest(
    *tables: Table, policies: tuple[Policy, ...] = (), first: str = "2024-01-01", last: str = "2024-07-01", **more: Any
) -> Translation:
    """Suggestions for tables; if rows have to be read, they are of this time, and seven are due."""
    known = catalog(*tables, capabilities=more.pop("capabilities", catalog().capabilities))
    facts = Facts(policies=policies, catalog=known, cutoff=NOW)
    wanted = {"period": None, "enabled": False, **more}
    suggesting = Suggesting(facts=facts, tables=find_user_tables(facts, known.tables), **wanted)
    span = ms(first), ms(last)
    asked = suggesting.probes()
    ages = Measurements(
        ranges={probe: span for probe in asked if isinstance(probe, TableBounds)},
        bounds={
            probe: {each.values: span for each in known.tables[probe.table].partitions}
            for probe in asked
            if isinstance(probe, PartitionBounds)
        },
    )
    drafts = suggesting.draft(ages)
    planning = drafts.plan()
    due = {probe: 7 for probe in planning.probes() if isinstance(probe, ExpiredRows)}
    limits = {probe.table: probe.before for probe in due}
    rows = {probe: 7 if limits[probe.table] > span[0] else 0 for probe in due}
    return drafts.write(replace(planning, measurements=ages | Measurements(rows=rows)).plan())


def read(found: Translation) -> list[Policy]:
    """The policies of the file, as `apply` reads them."""
    return parse_policies(write_policies(found, TITLE), "file")


def test_a_table_of_months() -> None:
    """The first common period that keeps everything, disabled, with a limit of what a month brings, and the reasons."""
    found = suggest(replace(MONTHS, size=700))
    (one,) = found.policies
    assert one.policy == {
        "strategy": "delete",
        "table_schema": "doc",
        "table_name": "metrics",
        "retention_period": "1y",
        "expected_max": {"partitions": 2},
        "enabled": False,
    }
    assert one.notes == (
        "doc.metrics: 7 partitions, 70 rows, 700 B; grows by 4 B a day",
        "Whole partitions expire, by ts. The oldest data is of 2024-01-01.",
        "All present data is kept: a run now would delete nothing.",
        "expected_max is twice the number of partitions that expire in a month; a run beyond it does nothing.",
    )
    assert "All of them are disabled" in found.notes[0]
    assert read(found) == [make_policy(**one.policy)]
    text = write_policies(found, TITLE)
    assert text.startswith(f"# {TITLE}\n# All of them are disabled")
    assert "\n# doc.metrics: 7 partitions" in text
    assert "\n- strategy: delete\n  table_schema: doc\n" in text


def test_suggestions_that_are_enabled() -> None:
    """If asked for, suggestions are enabled, and the file does not claim otherwise. How to undo them is in it."""
    found = suggest(MONTHS, enabled=True)
    [note] = found.notes
    assert "With `recoverable: 7d` and `target_repository_name: ...`" in note
    assert "With `max_size: 500GB` and `min_retention: 7d`" in note
    assert suggest(ROWS, enabled=True).notes == (), "single rows cannot be brought back"
    assert [each.enabled for each in read(found)] == [True]


def test_a_period_of_the_user() -> None:
    """With a period of the user, the reasons say what the first run would delete; there is no limit against it."""
    (one,) = suggest(MONTHS, period=parse_duration("30d")).policies
    assert (one.policy["retention_period"], "expected_max" in one.policy) == ("30d", False)
    assert "A run now would delete 5 partitions, 50 rows, 500 B." in one.notes
    (one,) = suggest(ROWS, period=parse_duration("30d")).policies
    assert "A run now would delete 7 rows." in one.notes
    (one,) = suggest(MONTHS, period=parse_duration("forever")).policies
    assert one.policy["retention_period"] == "forever"
    with pytest.raises(InvalidInput, match="keeps nothing"):
        suggest(MONTHS, period=Duration())


@pytest.mark.parametrize("strategy", ["delete", "compact"])
def test_tables_with_a_policy(strategy: str) -> None:
    """A table with a policy, also a disabled one, or one on a part of it, gets no suggestion."""
    for rule in (policy(strategy), policy(strategy, enabled=False), policy(strategy, where={"month": "2024-05-01"})):
        assert suggest(MONTHS, policies=(rule,)).policies == ()
    assert read(suggest(MONTHS, policies=(policy(strategy),))) == []


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (policy(retention="90d"), 2),
        (policy("snapshot", "90d"), 2),
        (policy(retention="90d", where={"month": "2024-05-01"}), 2),
        (policy(retention="90d", table_name="m*"), 62),
        # More is due now.
        (policy(retention="1d"), None),
        (policy(retention="90d", enabled=False), None),
        (policy(retention="90d", expected_max={"rows": 1}), None),
        (policy(retention="forever"), None),
        (policy("compact", "90d"), None),
        (policy("downsample", "90d"), None),
        (policy(retention="90d", table_name="rows"), None),
        (policy(retention="90d", table_name="rows", where={"value": 1}), None),
    ],
)
def test_limits_of_existing_policies(rule: Policy, limit: int | None) -> None:
    """A policy without a limit gets a comment with one that fits, if all of its tables have partitions of time."""
    tenants = table([TS, DAILY], ["day"], [part("2024-07-01")], name=TableName("doc", "m"))
    tables = [
        monthly("2024-04", "2024-05", "2024-06", "2024-07"),
        replace(ROWS, name=TableName("doc", "rows")),
        tenants,
    ]
    found = [note for note in suggest(*tables, policies=(rule,)).notes if "has no limit" in note]
    option = f"`cratedb-retention edit-policy --id={rule.id} --expected-max=partitions={limit}`"
    assert found == ([f"{rule.rule} has no limit; one that fits: {option}"] if limit else [])


def test_limits_of_many_policies() -> None:
    """Of thousands of policies without a limit, some get a comment, and the number of the others is given."""
    rules = tuple(policy(retention="1y", id=f"p{number}") for number in range(60))
    notes = suggest(MONTHS, policies=rules).notes
    assert len(notes) == 51
    assert notes[-1] == "10 more policies have no limit."


def test_rows() -> None:
    """In a table without partitions, rows expire, by the oldest of them."""
    (one,) = suggest(ROWS, first="2024-06-27").policies
    assert one.policy == {
        "strategy": "delete",
        "table_schema": "doc",
        "table_name": "metrics",
        "retention_period": "7d",
        "enabled": False,
    }
    assert one.notes[1:] == (
        "Rows expire, by ts. The oldest data is of 2024-06-27.",
        "All present data is kept: a run now would delete nothing.",
    )


@pytest.mark.parametrize(
    ("partitions", "most"),
    [
        ([part(None, "2024-07-01")], 62),
        ([part(each, day) for each in "abc" for day in ("2024-06-30", "2024-07-01")], 186),
    ],
)
def test_limits_of_many_partitions(partitions: list[Any], most: int) -> None:
    """The limit counts the days of a month, and all tenants of a day."""
    (one,) = suggest(table([TS, TENANT, DAILY], ["tenant", "day"], partitions)).policies
    assert one.policy["expected_max"] == {"partitions": most}


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ((1_719_000_000, 1_719_800_000), {"partition_column": "day", "time_unit": "s"}),
        ((1_719_000_000_000, 1_719_800_000_000), {"partition_column": "day"}),
        ((1, 2, 3), None),
        ((2024, 20240701), None),
        ((1_719_000_000, 1_900_000_000), None),
        ((None,), None),
    ],
)
def test_partitions_of_whole_numbers(values: tuple[int | None, ...], more: dict[str, str] | None) -> None:
    """The magnitude of whole numbers tells their unit; numbers that are no present time are not taken for one."""
    found = suggest(table([NUMBER, VALUE], ["day"], [part(value) for value in values]))
    if more is None:
        assert found.policies == ()
        assert "doc.metrics: no suggestion: the table has no timestamp column" in found.notes[0]
        return
    (one,) = found.policies
    assert {key: one.policy.get(key) for key in more} == more
    assert len(more) == len({"partition_column", "time_unit"} & one.policy.keys())
    assert read(found)[0].partition_column == "day"


@pytest.mark.parametrize(
    ("of", "more", "reason"),
    [
        (table([VALUE], rows=1), {}, "the table has no timestamp column"),
        (table([TS, column("changed")], rows=1), {}, "several columns could be the time column (changed, ts)"),
        (table([TS, MONTH], ["month"]), {}, "it has no rows with a time"),
        (replace(ROWS, closed=True), {}, "the table is closed"),
        (ROWS, {"first": "1970-01-01", "last": "1970-02-01"}, "appears to be from before 1980"),
        (ROWS, {"first": "2044-01-01", "last": "2044-02-01"}, "appears to be more than 10 years ahead"),
    ],
)
def test_tables_without_a_suggestion(of: Table, more: dict[str, Any], reason: str) -> None:
    """A table whose data has no known age is named with the reason, not with a policy that could not work."""
    found = suggest(of, **more)
    assert found.policies == ()
    assert any(note.startswith("doc.metrics: no suggestion: ") and reason in note for note in found.notes)
    assert read(found) == []


def test_partitions_without_a_time_are_a_warning() -> None:
    """What would need attention in each run is a warning beside the suggestion."""
    (one,) = suggest(table([TS, MONTH], ["month"], [part("2024-06-01"), part(None)])).policies
    assert len(one.warnings) == 1
    assert one.warnings[0].startswith("1 partition needs attention: its time range is unknown")


@pytest.mark.parametrize("name", ["x\n- strategy: delete", "#", "a: b", "'\"", "é\u2028x", "[x]"])
def test_names_stay_names(name: str) -> None:
    """No name of a table can end a comment, or become anything else in the file."""
    (found,) = read(suggest(replace(MONTHS, name=TableName("s\ny", name))))
    assert (found.table_schema, found.table_name) == ("s\ny", name)


def test_names_with_wildcards() -> None:
    """A policy with such a name would match other tables as well."""
    found = suggest(replace(MONTHS, name=TableName("main", "a*")), capabilities=DUCKDB)
    assert found.policies == ()
    assert "main.a*: no suggestion: its name contains a wildcard" in found.notes[0]


@pytest.mark.parametrize(
    ("oldest", "period"),
    [
        ("2024-07-02", "7d"),
        ("2030-01-01", "7d"),
        ("2024-06-25", "7d"),
        ("2024-06-24T23:59:59", "30d"),
        ("2023-07-02", "1y"),
        ("2014-07-02", "10y"),
        ("2014-07-01", "11y"),
        ("1990-01-01", "35y"),
        ("1000-01-01", "forever"),
    ],
)
def test_periods(oldest: str, period: str) -> None:
    """The period is the first of the common ones that keeps the oldest data, then whole years."""
    assert choose_period(ms(oldest), NOW) == parse_duration(period)
