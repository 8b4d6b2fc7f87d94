"""Contradictions between policies: found two by two, each finding with both parties."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.planning.policies import find_contradictions
from support.catalogs import MONTH, TENANT, TS, catalog, monthly, part, policy, table

FOUND = catalog(table([TS, TENANT, MONTH], ["tenant", "month"], [part("a", "2024-01-01")]))
WEEK = {"recoverable": "7d", "target_repository_name": "trash"}
TOO_MUCH = {"max_size": "1GB", "min_retention": "7d"}
WARM_NODES = policy("reallocate", "30d", id="warm", reallocation_attribute_value="warm")


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (policy("delete", "30d"), policy("delete", "30d", id="d2"), "delete the same data; one of them is enough"),
        (
            policy("delete", "30d"),
            policy("delete", "90d"),
            "delete after 30d (delete-3) removes the data before delete",
        ),
        (policy("snapshot", "30d"), policy("delete", "90d"), "removes the data before delete after 90d"),
        (policy("delete", "30d"), policy("snapshot", "90d"), "would delete the data before snapshot after 90d"),
        (policy("delete", "forever", **TOO_MUCH), policy("snapshot", "90d"), "if there is too much data, delete"),
        (policy("delete", "1y", **TOO_MUCH), policy("snapshot", "90d"), "it before snapshot after 90d (snapshot)"),
        (policy("delete", "forever", **TOO_MUCH), policy("snapshot", "7d"), None),
        (policy("delete", "forever"), policy("snapshot", "90d", **TOO_MUCH), None),
        (
            policy("delete", "30d", **TOO_MUCH),
            policy("snapshot", "90d"),
            "would delete the data before snapshot after 90d",
        ),
        (policy("delete", "30d"), policy("reallocate", "90d"), "reallocate after 90d (realloca) comes too late"),
        (policy("delete", "30d"), policy("reallocate", "30d"), "reallocate after 30d (realloca) comes too late"),
        (policy("reallocate", "30d"), WARM_NODES, "move the same data to different nodes at the same time"),
        (policy("reallocate", "30d"), policy("reallocate", "30d", id="r2"), "has no effect"),
        (policy("reallocate", "30d"), policy("reallocate", "90d"), "reallocate after 90d (realloca) has no effect"),
        (policy("reallocate", "90d"), WARM_NODES, None),
        (policy("reallocate", "30d"), policy("reallocate", "90d", reallocation_attribute_name="rack"), None),
        (policy("reallocate", "30d", where={"tenant": "a"}), policy("reallocate", "90d"), None),
        (policy("reallocate", "30d"), policy("reallocate", "90d", where={"tenant": "a"}), "has no effect"),
        (policy("compact", "30d"), policy("compact", "90d"), "compact after 90d (compact-) has no effect"),
        (policy("compact", "30d", compress=True), policy("compact", "90d"), "has no effect"),
        (policy("compact", "30d", number_of_replicas="0"), policy("compact", "90d"), "has no effect"),
        (policy("compact", "30d"), policy("compact", "90d", compress=True), None),
        (policy("compact", "30d"), policy("compact", "90d", read_only=True), None),
        (policy("compact", "30d"), policy("compact", "90d", number_of_replicas="0"), None),
        (policy("compact", "30d", merge=False, read_only=True), policy("compact", "90d"), None),
        (policy("compact", "30d", where={"tenant": "a"}), policy("compact", "90d"), None),
        (policy("compact", "30d"), policy("reallocate", "90d"), None),
        (policy("snapshot", "30d"), policy("compact", "90d"), "compact after 90d (compact-) comes too late"),
        (policy("snapshot", "30d"), policy("reallocate", "90d"), "reallocate after 90d (realloca) comes too late"),
        (policy("compact", "30d"), policy("snapshot", "90d"), None),
        (policy("reallocate", "30d"), policy("delete", "90d"), None),
        (policy("delete", "30d"), policy("compact", "90d"), "compact after 90d (compact-) comes too late"),
        (policy("compact", "7d", read_only=True), policy("delete", "90d"), None),
        (policy("compact", "7d"), policy("delete", "90d", freeze="never"), None),
        (
            policy("compact", "7d", read_only=True),
            policy("delete", "90d", freeze="never"),
            "makes partitions read-only, so delete after 90d (delete-9) cannot delete rows in them",
        ),
        (policy("delete", "30d"), policy("snapshot", "forever"), None),
        (policy("delete", "30d"), policy("delete", "forever"), None),
        (policy("reallocate", "30d"), policy("snapshot", "90d"), None),
        (policy("delete", "30d"), policy("delete", "90d", enabled=False), None),
        (policy("delete", "30d"), policy("delete", "90d", table_name="other"), None),
        (policy("delete", "30d", where={"tenant": "a"}), policy("delete", "90d", where={"tenant": "b"}), None),
        (policy("delete", "30d", where={"tenant": "a"}), policy("delete", "90d", where={"tenant": None}), None),
        (policy("delete", "30d", where={"tenant": "a"}), policy("delete", "90d", where={"month": 0}), "removes"),
        (policy("delete", "30d", where={"tenant": "a"}), policy("delete", "90d"), None),
        (policy("delete", "90d", where={"tenant": "a"}), policy("delete", "30d"), "removes the data"),
        (policy("delete", "30d", where={"tenant": "a"}), policy("snapshot", "90d"), "would delete the data before"),
        (policy("snapshot", "30d", where={"tenant": "a"}), policy("delete", "90d"), None),
        (policy("snapshot", "30d", where={"tenant": "a"}), policy("snapshot", "90d"), None),
        (
            policy("delete", "30d"),
            policy("delete", "90d", **WEEK),
            "delete after 90d (delete-9) is recoverable to no effect",
        ),
        (
            policy("delete", "30d"),
            policy("downsample", "60d", **WEEK),
            "to no effect: delete after 30d (delete-3) has deleted",
        ),
        (
            policy("downsample", "30d"),
            policy("delete", "60d", **WEEK),
            "delete after 60d (delete-6) is recoverable to no effect",
        ),
        (policy("delete", "30d"), policy("delete", "30d", id="d2", **WEEK), "delete the same data"),
        (policy("delete", "30d", **WEEK), policy("delete", "90d"), "removes the data before delete after 90d"),
        (policy("delete", "30d", **WEEK), policy("delete", "90d", **WEEK), "removes the data before delete after 90d"),
        (policy("snapshot", "30d"), policy("delete", "90d", **WEEK), "removes the data before delete after 90d"),
        (policy("delete", "30d", **WEEK), policy("snapshot", "90d"), "would delete the data before snapshot after 90d"),
        (policy("delete", "30d", where={"tenant": "a"}), policy("delete", "90d", **WEEK), None),
        (
            policy("delete", "30d"),
            policy("delete", "90d", where={"tenant": "a"}, **WEEK),
            "is recoverable to no effect",
        ),
    ],
)
def test_pair(one: Policy, other: Policy, words: str | None) -> None:
    """Two policies that meet on the same data are compared, whichever is listed first."""
    for rules in ([one, other], [other, one]):
        found = find_contradictions(rules, FOUND)
        assert [str(finding.table) for finding in found] == ["doc.metrics"] * (words is not None)
        assert words is None or words in found[0].message
        assert words is None or set(found[0].policies) == {one.id, other.id}


def test_keeps_nothing() -> None:
    """A retention period of nothing is worth a look."""
    [finding] = find_contradictions([policy("delete", "0d")], FOUND)
    assert "keeps nothing" in finding.message


@pytest.mark.parametrize(
    ("kept", "archived", "words"),
    [
        ("90d", "90d", ["snapshot after 90d (snapshot) keeps archives for 90d: they end as soon as they are made"]),
        ("12mo", "1y", ["snapshot after 1y (snapshot) keeps archives for 1y: they end as soon as they are made"]),
        ("90d", "91d", []),
        ("90d", "forever", []),
        ("forever", "forever", []),
    ],
)
def test_archives_that_end_at_once(kept: str, archived: str, words: list[str]) -> None:
    """An archive has to be kept longer than the data is in its table."""
    found = find_contradictions([policy("snapshot", kept, archive_period=archived)], FOUND)
    assert [finding.message.partition(";")[0] for finding in found] == words


TENANT_YEAR = policy("snapshot", "30d", archive_period="1y", id="tenant", where={"tenant": "a"})


@pytest.mark.parametrize(
    ("other", "longer"),
    [
        (policy("snapshot", "90d", id="all"), True),
        (policy("snapshot", "forever", id="all"), True),
        (policy("snapshot", "90d", id="all", archive_period="7y"), True),
        (policy("snapshot", "90d", id="all", archive_period="1y"), False),
        (policy("snapshot", "90d", id="all", where={"tenant": "b"}), False),
        (policy("snapshot", "90d", id="all", enabled=False), False),
        (policy("delete", "90d", id="all"), False),
    ],
)
def test_archives_that_end_later(other: Policy, longer: bool) -> None:
    """Of several policies that archive the same data, the longest period counts, which one of them does not state."""
    for rules in ([TENANT_YEAR, other], [other, TENANT_YEAR]):
        found = find_contradictions(rules, FOUND)
        assert [finding.why.code for finding in found] == ["archives-longer"] * longer
        for finding in found:
            period = other.archive_period
            assert f"(all) keeps archives of the same data for {period}, longer than snapshot" in finding.message
            assert "(tenant); set the same archive_period" in finding.message


def test_by_table() -> None:
    """Patterns are compared where they meet."""
    names = [TableName("doc", name) for name in ("b", "a", "c")]
    rules = [policy(table_name="*"), policy("delete", "90d", table_name="a"), policy("delete", "60d", table_name="b")]
    found = find_contradictions(rules, catalog(*(monthly("2024-01", name=name) for name in names)))
    assert [str(finding.table) for finding in found] == ["doc.a", "doc.b"]


def test_archive_and_delete_at_once() -> None:
    """What is due for both at the same time is archived: the one that deletes comes too late, not too early."""
    for rules in ([policy(), policy("snapshot")], [policy("snapshot"), policy()]):
        [finding] = find_contradictions(rules, FOUND)
        assert finding.message.startswith("snapshot after 30d (snapshot) removes the data before delete after 30d")


DOWN = policy("downsample", "60d", levels="1h:90d,1d:forever")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (policy("delete", "7d"), None),
        (policy("delete", "90d"), None),
        (policy("snapshot", "7d"), None),
        (policy("snapshot", "60d"), None),
        (policy("snapshot", "forever"), None),
        (policy("snapshot", "61d"), "downsample after 60d (downsamp) would delete the data before snapshot after 61d"),
        (policy("snapshot", "3mo", where={"month": 0}), "would delete the data before snapshot after 3mo"),
        (policy("reallocate", "30d"), None),
        (policy("reallocate", "60d"), "reallocate after 60d (realloca) comes too late: downsample after 60d"),
        (policy("reallocate", "90d"), "reallocate after 90d (realloca) comes too late: downsample after 60d"),
        (policy("snapshot", "90d", enabled=False), None),
    ],
)
def test_beside_a_cascade(other: Policy, words: str | None) -> None:
    """One that deletes waits until raw rows are rolled up; archiving and moving have to come before they are gone."""
    for rules in ([DOWN, other], [other, DOWN]):
        found = find_contradictions(rules, catalog(monthly("2024-01")))
        assert [words in finding.message for finding in found if words] == [True] * (words is not None)
        assert len(found) == (words is not None)
    forever = policy("downsample", "forever", levels="1h:forever")
    assert find_contradictions([forever, other], catalog(monthly("2024-01"))) == []
