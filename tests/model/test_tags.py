"""Tags and their filter: commas mean and, repetition means or."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter


@pytest.mark.parametrize(
    ("values", "tags", "fits"),
    [
        (["a"], ["a"], True),
        (["a"], ["a", "b"], True),
        (["a,b"], ["a", "b", "c"], True),
        (["a,b"], ["a"], False),
        (["a, b"], ["b", "a"], True),
        (["a", "b"], ["b"], True),
        (["a", "b"], ["c"], False),
        (["a,b", "c"], ["c"], True),
        (["a,b", "c"], ["a"], False),
        (["a"], [], False),
        (["a"], ["A"], False),
        ([], [], True),
        ([], ["a"], True),
        (["not:a"], ["a"], False),
        (["not:a"], ["b"], True),
        (["not:a"], [], True),
        (["a,not:b"], ["a"], True),
        (["a,not:b"], ["a", "b"], False),
        (["not:a,not:b"], ["b"], False),
        (["not: a"], ["a"], False),
        (["a,not:b", "b,not:a"], ["a", "b"], False),
        (["a,not:b", "b,not:a"], ["b"], True),
    ],
)
def test_filter(values: list[str], tags: list[str], fits: bool) -> None:
    """`a,b` wants both, a repeated filter either, none at all everything."""
    assert parse_tag_filter(values).fits(tags) is fits


@pytest.mark.parametrize("value", ["", " ", ",", "a,", ",a", "a,,b", "a, ,b", "not:", "a,not: "])
def test_empty_tag_refused(value: str) -> None:
    """An empty tag is refused: a filter without tags would choose every policy."""
    with pytest.raises(InvalidInput, match="an empty tag"):
        parse_tag_filter(["ok", value])


def test_many_alternatives() -> None:
    """A filter has at most a hundred alternatives; the same one twice counts once."""
    tags = [f"t{number}" for number in range(100)]
    assert len(parse_tag_filter([*tags, "t7"]).any_of) == 100
    with pytest.raises(InvalidInput, match="101 alternatives"):
        parse_tag_filter([*tags, "t100"])


def test_split() -> None:
    """Blanks around tags do not count, blanks within do."""
    assert parse_tag_filter([" a b , c"]).texts == ("a b,c",)


def test_in_words() -> None:
    """A filter says what it wants, and whether it wants anything."""
    assert str(parse_tag_filter(["b,a", "c"])) == "a+b or c"
    assert parse_tag_filter(["a"])
    assert not TagFilter()


def test_a_contradiction_is_refused() -> None:
    """A choice that nothing can fit is a mistake; one that would mean all policies by accident can't be written."""
    with pytest.raises(InvalidInput, match="the tag a is both required and excluded"):
        parse_tag_filter(["a,b,not:a"])


tag = st.sampled_from(["a", "b", "c", "d"])
groups = st.builds(
    lambda wanted, unwanted: [*sorted(wanted), *(f"not:{tag}" for tag in sorted(unwanted - wanted))],
    st.frozensets(tag),
    st.frozensets(tag),
).filter(bool)
filters = st.lists(groups.map(",".join), max_size=3)


@given(filters, filters, st.frozensets(tag))
def test_both(one: list[str], two: list[str], tags: frozenset[str]) -> None:
    """What `&` chooses is what both choose, and a filter can be written and read again."""
    first, second = parse_tag_filter(one), parse_tag_filter(two)
    both = first & second
    assert both.fits(tags) is (first.fits(tags) and second.fits(tags))
    assert parse_tag_filter(first.texts) == first


def test_exclusions_of_both() -> None:
    """What either of two combined filters excludes is excluded."""
    for one, two in (("a,not:b", "c"), ("a", "c,not:b")):
        both = parse_tag_filter([one]) & parse_tag_filter([two])
        assert (both.fits(["a", "c"]), both.fits(["a", "b", "c"])) == (True, False)


def test_no_tag_looks_like_an_exclusion() -> None:
    """A policy's own tag can't begin with `not:`, or nothing could choose it."""
    with pytest.raises(InvalidInput, match="a tag must not begin with not:"):
        make_policy(strategy="delete", table_name="t", retention_period="1d", tags=["not:a"])
