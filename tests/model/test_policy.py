"""Policies: every attribute, what is refused and in which words, and the way to plain values and back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import FOREVER, Duration
from cratedb_retention.model.policies.policy import (
    ExpectedMax,
    Policy,
    change_policy,
    make_policy,
    read_policy,
)
from cratedb_retention.model.policies.strategies import Strategy, parse_strategy
from support.catalogs import at, ms

CASCADE: dict[str, Any] = {
    "levels": "1m:1y,1h:forever",
    "dimensions": ["host"],
    "metrics": ["x", "y"],
    "exclude": ["z"],
    "aggregates": {"*": ["min", "max"], "y": ["percentiles"]},
    "counters": ["y"],
    "late": "drop",
    "deletions": "follow",
}
BUDGET = {"max_size": "500GB", "min_retention": "7d", "max_size_per": "policy"}
COMPACT = {"compress": True, "merge": True, "read_only": True, "number_of_replicas": "0-1"}
FULL: dict[str, Any] = {
    "strategy": "reallocate",
    "table_schema": "iot",
    "table_name": "metrics_*",
    "retention_period": "3 months",
    "cutoff_by": "day",
    "time_zone": "Europe/Vienna",
    "schedule": "0 3 * * MON",
    "misfire": "skip",
    "misfire_grace": "2h",
    "jitter": "10m",
    "undated": "keep",
    "partition_column": "month",
    "time_column": "ts",
    "time_unit": "ms",
    "where": {"tenant": "acme", "site": 7, "level": 1.5, "active": True, "gone": None},
    "tags": ["b", "a"],
    "reallocation_attribute_name": "storage",
    "reallocation_attribute_value": "cold",
    "expected_max": {"partitions": 10, "rows": 1000, "percent": 12.5},
    "enabled": False,
    "name": "Cold metrics",
    "description": "Ask ops before you change this.",
    "id": "p1",
}


def delete(**attributes: Any) -> Policy:
    """A policy with the least that one needs, and more."""
    return make_policy(**{"strategy": "delete", "table_name": "metrics", "retention_period": "30d", **attributes})


def test_every_attribute() -> None:
    """Each attribute arrives with its own type."""
    policy = make_policy(**FULL)
    others = {"recoverable", "target_repository_name", "archive_period", "verify", "freeze", *BUDGET, *COMPACT}
    assert set(FULL) | set(CASCADE) | others == set(Policy.model_fields)
    assert policy.strategy is Strategy.REALLOCATE
    assert policy.retention_period == Duration(months=3)
    assert policy.zone.key == "Europe/Vienna"
    assert policy.tags == ("a", "b")
    assert policy.expected_max == ExpectedMax(partitions=10, rows=1000, percent=12.5)
    assert policy.where == {"tenant": "acme", "site": "7", "level": "1.5", "active": "true", "gone": None}
    assert policy.target == "iot.metrics_* where tenant=acme, site=7, level=1.5, active=true, gone=NULL"


def test_words_of_a_budget() -> None:
    """When data expires, and how long it is kept, by its age, its size, or both."""
    sized = {"max_size": "500 gb", "min_retention": "7d"}
    found = delete(**sized)
    assert (found.rule, found.kept) == (
        "delete metrics after 30d or above 500GB (at least 7d)",
        "30d or 500GB (at least 7d)",
    )
    assert found.to_dict()["max_size"] == "500GB"
    found = delete(**sized, retention_period="forever", table_name="m_*")
    assert (found.when, found.kept) == ("above 500GB per table (at least 7d)", "500GB per table (at least 7d)")
    assert delete(**sized, table_name="m_*", max_size_per="policy").budget == "500GB (at least 7d)"
    assert (delete().when, delete().kept, delete().budget) == ("after 30d", "30d", "")


@pytest.mark.parametrize(
    ("attributes", "title", "in_table"),
    [
        ({}, "metrics: delete after 30d", "delete after 30d"),
        (
            {"strategy": "snapshot", "target_repository_name": "r", "where": {"tenant": "acme", "site": None}},
            "metrics, tenant acme, site NULL: archive after 30d",
            "archive after 30d, tenant acme, site NULL",
        ),
        ({"table_schema": "iot", "retention_period": "forever"}, "iot.metrics: keep forever", "keep forever"),
        (
            {"retention_period": "forever", "max_size": "1GB", "min_retention": "7d"},
            "metrics: delete above 1GB (at least 7d)",
            "delete above 1GB (at least 7d)",
        ),
        (
            {"strategy": "downsample", "levels": "1h:60d,1d:forever"},
            "metrics: downsample to 1h, 1d, raw rows for 30d",
            "downsample to 1h, 1d, raw rows for 30d",
        ),
        (
            {"strategy": "downsample", "levels": "1d:forever", "retention_period": "forever"},
            "metrics: downsample to 1d, raw rows forever",
            "downsample to 1d, raw rows forever",
        ),
        ({"strategy": "compact"}, "metrics: compact after 30d", "compact after 30d"),
        ({"name": "  Old metrics "}, "Old metrics", "Old metrics"),
    ],
)
def test_title(attributes: dict[str, Any], title: str, in_table: str) -> None:
    """A policy is called by its name; without one, by what it does, after how long, and to which data."""
    policy = delete(**attributes)
    assert (policy.title, policy.title_in_table) == (title, in_table)
    assert policy.mentions(title)


def test_defaults() -> None:
    """What is left out has its documented default."""
    policy = delete()
    assert (policy.time_zone, policy.enabled, policy.tags, policy.where) == ("UTC", True, (), {})
    assert (policy.table_schema, policy.time_column, policy.partition_column) == (None, None, None)
    assert policy.expected_max is None
    assert policy.target == "metrics"


def test_frozen() -> None:
    """A policy can't be changed after it was checked."""
    with pytest.raises(ValidationError):
        delete().retention_period = FOREVER  # type: ignore[misc]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"strategy": "shred"},
            "attribute strategy: strategy 'shred': unknown. Use one of: delete, reallocate, snapshot",
        ),
        ({"strategy": None}, "attribute strategy: strategy None: unknown"),
        ({"schedule": "3 o'clock"}, 'attribute schedule: schedule "3 o\'clock": not a cron expression'),
        ({"misfire": "run"}, "attribute misfire: must be 'catch-up' or 'skip'"),
        ({"jitter": "2d"}, "attribute jitter: jitter 2d: longer than a day"),
        ({"name": " "}, "attribute name: must not be empty"),
        ({"name": "two\nlines"}, "attribute name: has invalid characters"),
        ({"name": "x" * 121}, "attribute name"),
        ({"table_name": ""}, "attribute table_name"),
        ({"table_name": None}, "attribute table_name"),
        ({"table_name": 7}, "attribute table_name"),
        ({"table_name": "a\x00b"}, "attribute table_name"),
        ({"table_name": "x" * 256}, "attribute table_name"),
        ({"table_schema": ""}, "attribute table_schema"),
        ({"retention_period": None}, "attribute retention_period: duration None: not a duration"),
        ({"retention_period": True}, "attribute retention_period: duration True: not a duration"),
        ({"retention_period": -1}, "attribute retention_period: duration '-1': not a duration"),
        ({"retention_period": 1.5}, "attribute retention_period: duration 1.5: not a duration"),
        ({"retention_period": "soon"}, "attribute retention_period: duration 'soon': not a duration"),
        ({"time_zone": "Vienna"}, "attribute time_zone: time zone 'Vienna': unknown. Write an IANA name"),
        ({"time_zone": None}, "attribute time_zone"),
        ({"partition_column": ""}, "attribute partition_column"),
        ({"time_column": 3}, "attribute time_column"),
        ({"where": "tenant=acme"}, "attribute where"),
        ({"where": {"tenant": ["a", "b"]}}, "attribute where.tenant"),
        ({"tags": 7}, "attribute tags"),
        ({"tags": [True]}, "attribute tags: a tag must be text"),
        ({"tags": [1.5]}, "attribute tags: a tag must be text"),
        ({"tags": ["a,b"]}, "attribute tags: a tag must be text without commas, and not empty"),
        ({"tags": ["a", " "]}, "attribute tags: a tag must be text without commas, and not empty"),
        ({"tags": ""}, "attribute tags: a tag must be text without commas, and not empty"),
        ({"tags": {"a": 1}}, "attribute tags"),
        ({"reallocation_attribute_name": "a b"}, "attribute reallocation_attribute_name"),
        ({"reallocation_attribute_name": '"; DROP'}, "attribute reallocation_attribute_name"),
        ({"expected_max": 10}, "attribute expected_max"),
        ({"expected_max": {"partitions": -1}}, "attribute expected_max.partitions"),
        ({"expected_max": {"rows": "many"}}, "attribute expected_max.rows"),
        ({"expected_max": {"percent": 101}}, "attribute expected_max.percent"),
        ({"expected_max": {"partition": 1}}, "attribute expected_max.partition: unknown"),
        ({"enabled": "perhaps"}, "attribute enabled"),
        ({"description": 7}, "attribute description"),
        ({"id": ""}, "attribute id"),
        ({"retention": "30d"}, "attribute retention: unknown. Did you mean retention_period?"),
        ({"table": "metrics"}, "attribute table: unknown. Did you mean table_name?"),
        ({"timezone": "UTC"}, "attribute timezone: unknown. Did you mean time_zone?"),
        ({"xyzzy": 1}, "attribute xyzzy: unknown. Available: strategy, table_schema, table_name"),
        ({"strategy": "reallocate"}, "policy: reallocate needs reallocation_attribute_name and"),
        ({"strategy": "reallocate", "reallocation_attribute_name": "storage"}, "policy: reallocate needs"),
        ({"strategy": "reallocate", "reallocation_attribute_value": "cold"}, "policy: reallocate needs"),
        ({"strategy": "compact", "merge": False}, "policy: compact needs one of compress, merge, read_only and number"),
        (
            {"strategy": "compact", "compress": True, "merge": False},
            "policy: compress needs merge: only merged segments",
        ),
        ({"strategy": "compact", "number_of_replicas": "few"}, "attribute number_of_replicas: has invalid characters"),
        ({"compress": True}, "attribute compress: does not apply to delete; remove it, or use compact"),
        ({"strategy": "snapshot"}, "policy: snapshot needs target_repository_name"),
        ({"levels": "1h:1d"}, "attribute levels: does not apply to delete; remove it, or use downsample"),
        ({"dimensions": "a"}, "attribute dimensions: does not apply to delete"),
        ({"metrics": ["a"]}, "attribute metrics: does not apply to delete"),
        ({"exclude": ["a"]}, "attribute exclude: does not apply to delete"),
        ({"aggregates": {"*": "min"}}, "attribute aggregates: does not apply to delete"),
        ({"counters": ["a"]}, "attribute counters: does not apply to delete"),
        ({"late": "drop"}, "attribute late: does not apply to delete"),
        ({"target_repository_name": "a"}, "attribute target_repository_name: does not apply to delete"),
        ({"verify": "metadata"}, "attribute verify: does not apply to delete"),
        (
            {"strategy": "snapshot", "target_repository_name": "a", "verify": "never"},
            "attribute verify: must be 'restore' or 'metadata'",
        ),
        ({"reallocation_attribute_name": "a"}, "attribute reallocation_attribute_name: does not apply to delete"),
        ({"reallocation_attribute_value": "a"}, "attribute reallocation_attribute_value: does not apply to delete"),
        ({"retention_period": 0}, "attribute retention_period: 0d keeps nothing"),
        ({"retention_period": "0 months"}, "attribute retention_period: 0d keeps nothing"),
        ({"retention_period": "PT0S"}, "attribute retention_period: 0d keeps nothing"),
        ({"max_size": "1GB"}, "policy: max_size needs min_retention"),
        ({"max_size": "much", "min_retention": "7d"}, "attribute max_size: size 'much': not a number of bytes. Write"),
        ({"max_size": "1GB", "min_retention": 0}, "attribute min_retention: 0d keeps nothing"),
        ({"max_size": "1GB", "min_retention": "30d"}, "policy: min_retention (30d) must be shorter than retention_per"),
        ({"max_size": "1GB", "min_retention": "1mo"}, "policy: min_retention (1mo) must be shorter than retention_per"),
        (
            {"max_size": "1GB", "min_retention": "forever", "retention_period": "forever"},
            "policy: min_retention (forever) must be shorter",
        ),
        ({"min_retention": "7d"}, "policy: min_retention has no use without max_size"),
        ({"max_size_per": "policy"}, "policy: max_size_per has no use without max_size"),
        (
            {"max_size": "1GB", "strategy": "compact"},
            "attribute max_size: does not apply to compact; remove it, or use snapshot or delete or downsample",
        ),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_refused(attributes: dict[str, Any], message: str) -> None:
    """A wrong attribute is named, with the reason, in one line; a mistyped name gets a suggestion."""
    with pytest.raises(InvalidInput) as caught:
        delete(**attributes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["strategy", "table_name", "retention_period"])
def test_missing(name: str) -> None:
    """Nobody can leave out what a policy is about."""
    attributes = {"strategy": "delete", "table_name": "metrics", "retention_period": "30d"}
    del attributes[name]
    with pytest.raises(InvalidInput, match=f"attribute {name}: missing"):
        make_policy(**attributes)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [(None, ()), ("b, a", ("a", "b")), ({"x"}, ("x",)), (["a", "a"], ("a",)), ((1, 2), ("1", "2")), ([], ())],
)
def test_tags(tags: Any, expected: tuple[str, ...]) -> None:
    """Tags come as a list or as text with commas, and are kept in order, each once."""
    assert delete(tags=tags).tags == expected


def test_names_of_a_cascade() -> None:
    """A column that is named twice counts once; aggregates may be written in any case."""
    found = {"dimensions": ["host", "host"], "metrics": "x, x", "aggregates": {"*": " Min,MAX"}, "levels": "1h:1y"}
    cascade = make_policy(strategy="downsample", table_name="m", retention_period="30d", **found)
    assert (cascade.dimensions, cascade.metrics) == (("host",), ("x",))
    assert cascade.aggregates == {"*": ("min", "max")}


@pytest.mark.parametrize(("text", "strategy"), [("DELETE", Strategy.DELETE), (" Snapshot ", Strategy.SNAPSHOT)])
def test_strategy_in_any_case(text: str, strategy: Strategy) -> None:
    """A strategy's name may be written in any case."""
    assert parse_strategy(text) is strategy


@pytest.mark.parametrize(
    ("retention", "zone", "cutoff", "limit"),
    [
        ("30d", "UTC", "2024-07-02T12:00", "2024-06-02T12:00"),
        ("1mo", "UTC", "2024-03-31", "2024-02-29T23:59:59.999"),
        ("1mo", "Europe/Vienna", "2024-03-31T22:00", "2024-02-29T23:00"),
        ("1mo", "America/New_York", "2024-03-01T01:00", "2024-01-30T01:00"),
        ("1s", "UTC", "2024-07-02T12:00:01.000999", "2024-07-02T12:00"),
    ],
)
def test_limit(retention: str, zone: str, cutoff: str, limit: str) -> None:
    """The limit is to the instant, in the policy's time zone, rounded down to the millisecond."""
    assert delete(retention_period=retention, time_zone=zone).limit(at(cutoff)) == ms(limit)


@pytest.mark.parametrize("retention", ["forever", "9999y"])
def test_no_limit(retention: str) -> None:
    """Kept forever, or longer than there is a calendar: nothing ever expires."""
    assert delete(retention_period=retention).limit(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) is None


names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
policies = st.builds(
    Policy,
    strategy=st.just(Strategy.REALLOCATE),
    table_schema=st.none() | names,
    table_name=names,
    retention_period=st.builds(Duration, st.integers(0, 1000), st.integers(1, 10**9)) | st.just(FOREVER),
    time_zone=st.sampled_from(["UTC", "Europe/Vienna"]),
    partition_column=st.none() | names,
    time_column=st.none() | names,
    where=st.dictionaries(st.text(), scalars, max_size=3),
    tags=st.lists(st.sampled_from(["a", "b", "c d"])),
    reallocation_attribute_name=st.just("storage"),
    reallocation_attribute_value=names,
    expected_max=st.none() | st.builds(ExpectedMax, rows=st.none() | st.integers(0)),
    enabled=st.booleans(),
    description=st.none() | st.text(),
    id=st.none() | names,
)


@given(policies)
def test_round_trip(policy: Policy) -> None:
    """A policy as plain values makes the same policy again, and the strategy comes first."""
    values = policy.to_dict()
    assert make_policy(**values) == policy
    assert next(iter(values)) == "strategy"


def test_cascade_round_trip() -> None:
    """The same with all that a cascade says."""
    cascade = make_policy(strategy="downsample", table_name="m", retention_period="30d", **CASCADE)
    assert make_policy(**cascade.to_dict()) == cascade


STORED: dict[str, Any] = {"strategy": "delete", "table_name": "m", "retention_period": "0d", "late": "drop"}


def test_stored_earlier() -> None:
    """What was accepted when it was stored stays valid; what the strategy has no use for is passed over."""
    found = read_policy({**STORED, "levels": "1h:1d", "target_repository_name": "cold"}, stored=[*STORED, *CASCADE,
        "target_repository_name"])  # fmt: skip
    assert found.to_dict() == {"strategy": "delete", "table_name": "m", "retention_period": "0d"}
    with pytest.raises(InvalidInput, match="attribute levels: does not apply to delete"):
        read_policy({**STORED, "levels": "1h:1d"}, stored=STORED)


def test_another_strategy() -> None:
    """With another strategy a policy loses what only the former one has a use for; nothing else can be given."""
    before = make_policy(strategy="snapshot", table_name="m", retention_period="30d", target_repository_name="cold")
    after = change_policy(before, {"strategy": "delete"})
    assert after.to_dict() == {"strategy": "delete", "table_name": "m", "retention_period": "30d"}
    for name, value in (("target_repository_name", "cold"), ("levels", "1h:1d")):
        with pytest.raises(InvalidInput, match=f"attribute {name}: does not apply to delete"):
            change_policy(before, {"strategy": "delete", name: value})
    with pytest.raises(InvalidInput, match="reallocate needs"):
        change_policy(before, {"strategy": "reallocate"})
    tenant = change_policy(after, {"where": {"tenant": "acme"}})
    with pytest.raises(InvalidInput, match="downsample applies to whole tables; remove where"):
        change_policy(tenant, {"strategy": "downsample", "levels": "1h:forever"})


def test_a_stored_period_of_nothing() -> None:
    """A policy that keeps nothing can be disabled, but not given that period again."""
    stored = read_policy(STORED, stored=STORED)
    assert change_policy(stored, {"enabled": False}).enabled is False
    with pytest.raises(InvalidInput, match="0d keeps nothing"):
        change_policy(stored, {"retention_period": "0h"})


def test_to_dict_is_short() -> None:
    """Plain values leave out what says nothing."""
    assert delete().to_dict() == {"strategy": "delete", "table_name": "metrics", "retention_period": "30d"}


def test_json_schema() -> None:
    """The schema for editors names, describes and restricts every attribute."""
    schema = Policy.model_json_schema()
    properties = schema["properties"]
    assert set(properties) == set(Policy.model_fields)
    assert sorted(schema["required"]) == ["retention_period", "strategy", "table_name"]
    assert schema["additionalProperties"] is False
    assert properties["strategy"]["enum"] == ["delete", "reallocate", "snapshot", "downsample", "compact"]
    assert properties["retention_period"]["type"] == ["string", "integer"]
    assert properties["time_zone"]["default"] == "UTC"
    assert schema["$defs"]["ExpectedMax"]["additionalProperties"] is False
    assert [name for name, value in properties.items() if not value.get("description")] == []


@pytest.mark.parametrize(
    ("zone", "cutoff", "limit"),
    [
        ("UTC", "2024-07-02T17:30", "2024-07-01"),
        ("UTC", "2024-07-02", "2024-07-01"),
        ("UTC", "2024-07-02T23:59:59.999", "2024-07-01"),
        ("Europe/Vienna", "2024-07-02T21:59", "2024-06-30T22:00"),
        ("Europe/Vienna", "2024-07-02T22:00", "2024-07-01T22:00"),
        # The clocks go back on this day: it began 25 hours ago.
        ("Europe/Vienna", "2024-10-27T22:59", "2024-10-25T22:00"),
        # A day that has no midnight begins at one o'clock.
        ("Africa/Cairo", "2024-04-26T12:00", "2024-04-24T22:00"),
        # A day that has two midnights begins at the first one.
        ("America/Havana", "2024-11-03T12:00", "2024-11-02T04:00"),
    ],
)
def test_whole_days(zone: str, cutoff: str, limit: str) -> None:
    """By days, the cutoff is the start of its day in the time zone; data is due at the first cutoff beyond it."""
    policy = delete(retention_period="1d", cutoff_by="day", time_zone=zone)
    assert policy.limit(at(cutoff)) == ms(limit)
    due = policy.due(at(limit))
    assert due is not None
    assert due <= at(cutoff)
    assert policy.limit(due) == ms(limit)
    later = policy.due(at(limit) + dt.timedelta(milliseconds=1))
    assert later is not None
    assert later > at(cutoff)


@pytest.mark.parametrize("period", [30, "30", " 30 "])
def test_plain_numbers_are_whole_days(period: object) -> None:
    """As cratedb-toolkit counts them, unless something else is said; levels count to the instant."""
    assert delete(retention_period=period).to_dict()["cutoff_by"] == "day"
    assert "cutoff_by" not in delete(retention_period=period, cutoff_by="instant").to_dict()
    assert "cutoff_by" not in delete(retention_period="30d").to_dict()
    cascade = make_policy(strategy="Downsample", table_name="t", retention_period=period, levels="1h:1y")
    assert "cutoff_by" not in cascade.to_dict()
    assert "cutoff_by" not in change_policy(delete(), {"description": "a"}).to_dict()
    assert change_policy(delete(), {"retention_period": period}).to_dict()["cutoff_by"] == "day"
