"""A policy as the fields of a form, and back: what was not touched stays, what is wrong stands by its field."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.model.policies.form import (
    FIELDS,
    Values,
    find_mistakes_in,
    hint_of,
    is_used,
    left_out,
    list_text,
    read_list,
    to_attributes,
    to_values,
)
from cratedb_retention.model.policies.policy import Policy, changes_of, make_policy
from cratedb_retention.model.policies.strategies import Strategy

PLAIN = {"strategy": "delete", "table_name": "t", "retention_period": "30d"}
STRANGE = "a,b \"c\" 'd' <b>{{7}}</b> = é"


def written(**more: str | bool) -> Values:
    """A new form, with some fields written into."""
    return {**to_values(None), "table_name": "t", "retention_period": "30d", **more}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"where": {"n": 5, "s": "5", "b": True, "x": None, "t": "NULL"}},
        {"where": {"line\nend": STRANGE, "a=b": 1.5}},
        {"tags": [STRANGE.replace(",", "")], "description": STRANGE, "id": STRANGE, "table_schema": " blank "},
        {"expected_max": {"rows": 5, "percent": 12.5}},
        {"enabled": False, "schedule": "@daily", "misfire": "skip", "misfire_grace": "2h", "jitter": "5m"},
        {"strategy": "snapshot", "target_repository_name": STRANGE},
        {
            "strategy": "downsample",
            "levels": "1h:60d,1d:forever",
            "dimensions": ["a,b", 'c"d'],
            "metrics": ["x", "y"],
            "aggregates": {"*": ["min", "max"], "a,b": ["avg"]},
            "late": "drop",
            "deletions": "follow",
        },
    ],
)
def test_untouched(more: dict[str, Any]) -> None:
    """A form that nobody wrote into says what the policy says."""
    policy = make_policy(**{**PLAIN, **more})
    assert make_policy(**to_attributes(to_values(policy), policy)) == policy
    assert find_mistakes_in(to_values(policy), policy) == {}
    assert changes_of(policy, policy) == {}


def test_written() -> None:
    """What was written is read as people write it."""
    values = written(
        where="tenant=acme\n\nregion=NULL\n",
        tags="b, a,, a",
        dimensions="x",
        description=" of the web ",
        **{"expected_max.rows": "10", "expected_max.percent": " 2.5 "},
    )
    policy = make_policy(**to_attributes(values))
    assert policy.where == {"tenant": "acme", "region": None}
    assert policy.tags == ("a", "b")
    assert policy.dimensions == ()  # Not one of this strategy's fields.
    assert policy.expected_max is not None
    assert (policy.expected_max.rows, policy.expected_max.percent) == (10, 2.5)
    assert (policy.id, policy.description) == (None, "of the web")
    assert read_list(' a b , "c, d", e\nf,,') == ["a b", "c, d", "e f"]
    told = make_policy(
        **{**PLAIN, "strategy": "downsample"}, levels="1h:60d", aggregates={"*": ["min", "max"], "a": ["avg"]}
    )
    assert to_values(told)["aggregates"] == "*=min,max\na=avg"


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({}, {}),
        ({"table_name": "", "retention_period": " "}, {"table_name", "retention_period"}),
        ({"retention_period": "30x", "schedule": "x", "tags": "not:a"}, {"retention_period", "schedule", "tags"}),
        ({"where": "tenant"}, {"where"}),
        ({"expected_max.rows": "many"}, {"expected_max.rows"}),
        ({"strategy": "snapshot"}, {"target_repository_name"}),
        (
            {"strategy": "reallocate", "reallocation_attribute_name": "storage"},
            {"reallocation_attribute_value"},
        ),
        ({"strategy": "downsample"}, {"levels"}),
        ({"strategy": "downsample", "levels": "1h:60d", "where": "tenant"}, {}),
        ({"strategy": "downsample", "levels": "1h:60d", "aggregates": "x=middle"}, {"aggregates"}),
        ({"strategy": "downsample", "levels": "1h:60d", "retention_period": "90d"}, {"levels"}),
        ({"strategy": "burn"}, {"strategy"}),
    ],
)
def test_mistakes(more: Values, wrong: set[str]) -> None:
    """Each mistake stands by the field that it is about."""
    found = find_mistakes_in(written(**more))
    assert set(found) == set(wrong)
    assert all(found.values())


def test_fields() -> None:
    """Each strategy has its own fields, and all have those that say what is kept how long; each has a hint."""
    own = {strategy: {name for name, field in FIELDS.items() if is_used(field, strategy)} for strategy in Strategy}
    assert "archive_period" in own[Strategy.SNAPSHOT] - own[Strategy.DELETE] - own[Strategy.DOWNSAMPLE]
    assert "recoverable" in own[Strategy.DELETE] & own[Strategy.DOWNSAMPLE] - own[Strategy.SNAPSHOT]
    assert own[Strategy.DOWNSAMPLE] - own[Strategy.DELETE] >= {"levels", "metrics", "late"}
    assert own[Strategy.DELETE] - own[Strategy.DOWNSAMPLE] == {"freeze", "where", "cutoff_by"}
    assert all("retention_period" in fields and "misfire" in fields for fields in own.values())
    assert all(hint_of(field) and "`" not in hint_of(field) for field in FIELDS.values())
    assert hint_of(FIELDS["levels"]).startswith("The rollups")
    assert "“Retention period” applies to the raw rows." in hint_of(FIELDS["levels"])
    assert "implies “Counts back from”: day." in hint_of(FIELDS["retention_period"])
    assert hint_of(FIELDS["tags"]).endswith("Comma-separated.")
    assert hint_of(FIELDS["expected_max.rows"]) == "Maximum number of rows per table and run."


def test_left_out() -> None:
    """What a policy says of another strategy is named before it is cleared."""
    policy = make_policy(**{**PLAIN, "strategy": "downsample"}, levels="1h:60d", late="keep", metrics=["x"])
    assert [field.name for field in left_out(policy, "delete")] == ["levels", "metrics"]
    assert left_out(policy, "downsample") == []


def test_changes() -> None:
    """Only what differs is changed; what says nothing any more is cleared, the identifier never."""
    before = make_policy(**PLAIN, id="one", tags=["a"], enabled=False, description="x")
    after = before.model_copy(update={"id": "two", "tags": ("b",), "enabled": True, "description": None})
    assert changes_of(before, after) == {"tags": ["b"], "enabled": None, "description": None}
    assert isinstance(before, Policy)


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b"], ["a,b", 'say "x"', "c"], [STRANGE]])
def test_lists(words: list[str]) -> None:
    """Words are told apart whatever is in them."""
    assert read_list(list_text(words)) == words
