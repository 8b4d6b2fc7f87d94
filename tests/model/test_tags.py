"""Tags and their filter: commas mean and, repetition means or."""

from __future__ import annotations

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.tags import TagFilter, parse_tag_filter, split_tags


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
    ],
)
def test_filter(values: list[str], tags: list[str], fits: bool) -> None:
    """`a,b` wants both, a repeated filter either, none at all everything."""
    assert parse_tag_filter(values).fits(tags) is fits


@pytest.mark.parametrize("value", ["", " ", ",", "a,", ",a", "a,,b", "a, ,b"])
def test_empty_tag_refused(value: str) -> None:
    """An empty tag is refused: a filter without tags would choose every policy."""
    with pytest.raises(InvalidInput, match="an empty tag"):
        parse_tag_filter(["ok", value])


def test_split() -> None:
    """Blanks around tags do not count, blanks within do."""
    assert split_tags(" a b , c") == ["a b", "c"]


def test_in_words() -> None:
    """A filter says what it wants, and whether it wants anything."""
    assert str(parse_tag_filter(["b,a", "c"])) == "a+b or c"
    assert parse_tag_filter(["a"])
    assert not TagFilter()
