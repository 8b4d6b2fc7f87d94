"""The lifecycle of a table: what its policies together do with data as it ages, on any table that they name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.lifecycle import Lifecycle, Temperature, find_lifecycles
from cratedb_retention.model.policies.policy import Policy
from support.catalogs import CRATEDB, DUCKDB, policy

SIZED: dict[str, Any] = {"max_size": "1TB", "min_retention": "7d"}
WARM = policy("reallocate", "30d", id="warm", reallocation_attribute_value="warm")
DOWN = policy("downsample", "60d", levels="1h:90d,1d:forever")
WEEK = {"recoverable": "7d", "target_repository_name": "trash"}


def lines(*policies: Policy, **about: Any) -> list[str]:
    """Table, filter and line of each lifecycle."""
    found = find_lifecycles(policies, CRATEDB, **about)
    return [f"{each.table.name} {dict(each.where) or 'all'}: {each.line}" for each in found]


@pytest.mark.parametrize(
    ("policies", "line"),
    [
        ([policy("delete", "90d")], "hot until 90d -> gone"),
        ([policy("delete", "forever")], "hot forever"),
        # By age, by size, or both.
        ([policy("delete", "90d", **SIZED)], "hot until 90d or 1TB (at least 7d) -> gone"),
        ([policy("delete", "forever", **SIZED)], "hot until 1TB (at least 7d) -> gone"),
        ([policy("snapshot", "forever", **SIZED)], "hot until 1TB (at least 7d) -> cold (archive) forever"),
        (
            [policy("compact", "30d"), policy("delete", "90d", **SIZED)],
            "hot until 30d -> warm (merge) until 90d or 1TB (at least 7d) -> gone",
        ),
        (
            [policy("downsample", "60d", levels="1h:90d,1d:forever", **SIZED)],
            "hot until 60d or 1TB (at least 7d) -> gone; rollups: 1h until 90d, 1d forever",
        ),
        ([policy("delete", "90d"), policy("delete", "forever", **SIZED)], "hot until 90d or 1TB (at least 7d) -> gone"),
        ([policy("snapshot", "1y")], "hot until 1y -> cold (archive) forever"),
        ([policy("snapshot", "1y", archive_period="7y")], "hot until 1y -> cold (archive) until 7y -> gone"),
        ([policy("compact", "30d")], "hot until 30d -> warm (merge) forever"),
        ([policy("reallocate", "30d")], "hot until 30d -> warm (storage=cold) forever"),
        ([DOWN], "hot until 60d -> gone; rollups: 1h until 90d, 1d forever"),
        (
            [policy("downsample", "forever", levels="1h:forever")],
            "hot forever; rollups: 1h forever",
        ),
        (
            [policy("snapshot", "1y", archive_period="7y"), policy("compact", "30d", compress=True), DOWN],
            "hot until 30d -> warm (compress, merge) until 1y -> cold (archive) until 7y -> gone; "
            "rollups: 1h until 90d, 1d forever",
        ),
        # Nodes by age; and two changes at the same age.
        (
            [policy("reallocate", "90d"), WARM, policy("compact", "90d"), policy("delete", "1y")],
            "hot until 30d -> warm (storage=warm) until 90d -> warm (merge; storage=cold) until 1y -> gone",
        ),
        # The first one that deletes; not before another one archives, and then nothing else has an effect.
        ([policy("delete", "90d"), policy("delete", "30d")], "hot until 30d -> gone"),
        ([policy("delete", "90d"), DOWN], "hot until 60d -> gone; rollups: 1h until 90d, 1d forever"),
        ([policy("delete", "30d"), policy("snapshot", "90d")], "hot until 90d -> cold (archive) forever"),
        ([policy("delete", "30d"), policy("snapshot", "forever")], "hot until 30d -> gone"),
        ([policy("snapshot", "30d"), policy("compact", "30d")], "hot until 30d -> cold (archive) forever"),
        ([policy("delete", "30d"), policy("reallocate", "90d")], "hot until 30d -> gone"),
        # The longest period of archives counts, whichever policy archives.
        (
            [
                policy("snapshot", "30d", archive_period="1y"),
                policy("snapshot", "90d", archive_period="2y", target_repository_name="other"),
            ],
            "hot until 30d -> cold (archive) until 2y -> gone",
        ),
        (
            [policy("snapshot", "30d", archive_period="1y"), policy("snapshot", "forever")],
            "hot until 30d -> cold (archive) forever",
        ),
        # Deleted data may be recoverable for a while: that of the recoverable policy, if both are due at the same age.
        (
            [policy("delete", "90d", **WEEK), policy("delete", "90d", id="a")],
            "hot until 90d -> gone (recoverable for 7d)",
        ),
        ([policy("delete", "90d", **WEEK), policy("delete", "30d", id="a")], "hot until 30d -> gone"),
        (
            [policy("downsample", "60d", levels="1d:forever", **WEEK)],
            "hot until 60d -> gone (recoverable for 7d); rollups: 1d forever",
        ),
        # No stage is empty.
        ([policy("snapshot", "90d", archive_period="90d")], "hot until 90d -> gone"),
        ([policy("delete", "0d")], "gone"),
        ([policy("delete", "30d", enabled=False), policy("delete", "90d")], "hot until 90d -> gone"),
    ],
)
def test_line(policies: list[Policy], line: str) -> None:
    """All policies on the same data make one line, in whatever order they are."""
    for given in (policies, policies[::-1]):
        assert lines(*given) == [f"metrics all: {line}"]


def test_stages() -> None:
    """Each stage begins where the one before ends, and names the policies that begin it."""
    policies = [
        policy("compact", "30d", id="c"),
        policy("reallocate", "1mo", id="m"),
        policy("snapshot", "1y", id="s", archive_period="7y"),
        policy("snapshot", "2y", id="longer", archive_period="10y"),
        policy("delete", "3y", id="d"),
    ]
    [found] = find_lifecycles(policies)
    assert [(str(s.temperature), str(s.since), str(s.until), s.policy_ids) for s in found.stages] == [
        ("hot", "0d", "30d", ()),
        ("warm", "30d", "1mo", ("c",)),
        ("warm", "1mo", "1y", ("m",)),
        ("cold", "1y", "10y", ("s",)),
        ("gone", "10y", "forever", ("longer",)),
    ]
    assert {stage.temperature for stage in found.stages} == set(Temperature)


def test_parts_of_a_table() -> None:
    """Each filter has a line of its own, with the policies on all of its data."""
    policies = [
        policy("snapshot", "1y", id="all"),
        policy("compact", "30d", where={"tenant": "acme"}),
        policy("delete", "7d", where={"tenant": "acme", "kind": "debug"}, id="debug"),
        policy("delete", "30d", where={"kind": "debug"}, id="other"),
        policy("reallocate", "60d", where={"site": 7}),
        policy("compact", "90d", where={"site": "7"}, id="site"),
    ]
    assert lines(*policies) == [
        "metrics all: hot until 1y -> cold (archive) forever",
        "metrics {'kind': 'debug'}: hot until 1y -> cold (archive) forever",
        "metrics {'site': '7'}: hot until 60d -> warm (storage=cold) until 90d -> warm (merge) until 1y"
        " -> cold (archive) forever",
        "metrics {'tenant': 'acme'}: hot until 30d -> warm (merge) until 1y -> cold (archive) forever",
        "metrics {'tenant': 'acme', 'kind': 'debug'}: hot until 30d -> warm (merge) until 1y -> cold (archive) forever",
    ]
    without = [each for each in policies if each.id != "all"]
    assert lines(*without)[-1] == "metrics {'tenant': 'acme', 'kind': 'debug'}: hot until 7d -> gone"
    assert len(lines(policy("delete", where={"tenant": None}), policy("delete", where={"tenant": "NULL"}))) == 2


def test_patterns() -> None:
    """A pattern counts for the tables and narrower patterns that it contains, each of which has a line."""
    policies = [
        policy("delete", "1y", table_name="m*"),
        policy("compact", "30d", table_name="metrics"),
        policy("reallocate", "60d", table_name="met*"),
        policy("delete", "1d", table_name="*_x"),
        policy("delete", "1d", table_name="m*", table_schema="other"),
    ]
    assert lines(*policies) == [
        "*_x all: hot until 1d -> gone",
        "m* all: hot until 1y -> gone",
        "met* all: hot until 60d -> warm (storage=cold) until 1y -> gone",
        "metrics all: hot until 30d -> warm (merge) until 60d -> warm (storage=cold) until 1y -> gone",
        "m* all: hot until 1d -> gone",
    ]
    assert lines(*policies, table=TableName("", "m_x")) == ["m_x all: hot until 1d -> gone"]
    assert lines(*policies, table=TableName("other", "m_x")) == ["m_x all: hot until 1d -> gone"]
    assert lines(*policies, table=TableName("doc", "mem")) == ["mem all: hot until 1y -> gone"]
    assert lines(*policies, table=TableName("doc", "x")) == []


def test_rollups() -> None:
    """A level of a cascade lasts as long as the cascade states; patterns do not apply to it, policies by name do."""
    policies = [
        DOWN,
        policy("delete", "7d", table_name="metrics_*"),
        policy("compact", "30d", table_name="metrics_1d"),
    ]
    assert lines(*policies, table=TableName("", "metrics_1h")) == ["metrics_1h all: hot until 90d -> gone"]
    assert lines(*policies, table=TableName("", "metrics_1h_sketch")) == [
        "metrics_1h_sketch all: hot until 90d -> gone"
    ]
    assert "metrics_1d all: hot until 30d -> warm (merge) forever" in lines(*policies)
    recoverable = policy("downsample", "60d", levels="1h:90d", **WEEK)
    assert lines(recoverable, table=TableName("", "metrics_1h")) == ["metrics_1h all: hot until 90d -> gone"]
    assert lines(*policies, table=TableName("", "metrics_2h")) == ["metrics_2h all: hot until 7d -> gone"]
    assert lines(policy("downsample", table_name="m*", levels="1h:90d"), table=TableName("", "metrics_1h")) == [
        "metrics_1h all: hot until 90d -> gone"
    ]


def test_names() -> None:
    """Without a schema, a policy is about the default one; where case does not matter, one table has one line."""
    policies = [policy("delete", "30d", table_schema="doc"), policy("compact", "7d"), policy(table_name="METRICS")]
    assert len(lines(*policies)) == 2
    folding = replace(DUCKDB, folds_case=True)
    found = find_lifecycles(policies[1:], folding)
    assert [(str(each.table), each.line) for each in found] == [
        ("main.metrics", "hot until 7d -> warm (merge) until 30d -> gone")
    ]
    assert find_lifecycles(policies[1:], folding, TableName("MAIN", "Metrics"))[0].line == found[0].line


def test_policy_file() -> None:
    """A policy file has lifecycles without a database; policies without a schema are about tables without one."""
    text = """
    - {strategy: snapshot, table_name: a, retention_period: 1y, target_repository_name: vault, archive_period: 7y}
    - {strategy: compact, table_name: a*, retention_period: 30d, number_of_replicas: "0"}
    """
    found: list[Lifecycle] = find_lifecycles(parse_policies(text, "x"))
    assert [(str(each.table), each.line) for each in found] == [
        ("a", "hot until 30d -> warm (merge, 0 replicas) until 1y -> cold (vault) until 7y -> gone"),
        ("a*", "hot until 30d -> warm (merge, 0 replicas) forever"),
    ]
    assert [stage.policy_ids for stage in found[0].stages] == [(), (), (), ()]
    assert find_lifecycles([]) == []
