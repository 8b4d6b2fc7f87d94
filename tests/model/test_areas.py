"""Whether one area lies within another: in doubt it does not, since that decides who may see what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.model.access import covering, make_area
from cratedb_retention.model.policies.patterns import matcher, pattern_within


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("acme_metrics", "acme_metrics", True),
        ("acme_metrics", "acme_*", True),
        ("acme_m*", "acme_*", True),
        ("acme_*", "acme_*", True),
        ("acme_?", "acme_*", True),
        ("acme_?", "acme_?", True),
        ("acme_", "acme_*", True),
        ("acme", "acme_*", False),
        ("*", "acme_*", False),
        ("acme*", "acme_*", False),
        ("acme_*", "acme_?", False),
        ("acme_*x", "acme_*", True),
        ("a*c", "*b*", False),
        ("globex_metrics", "acme_*", False),
        ("ACME_metrics", "acme_*", False),
        ("a.c", "a?c", True),
        ("x" * 200, "*x" * 30, True),
    ],
)
def test_patterns(inner: str, outer: str, within: bool) -> None:
    """A pattern lies within another if all that fits it fits the other; anything else does not."""
    assert pattern_within(inner, outer) is within


patterns = st.text(alphabet="ab*?", max_size=6)


@given(patterns, patterns, st.text(alphabet="ab", max_size=8))
def test_nothing_outside_is_taken_for_inside(inner: str, outer: str, name: str) -> None:
    """Whatever fits the inner pattern fits the outer one, if the answer is yes."""
    if pattern_within(inner, outer) and matcher(inner)(name):
        assert matcher(outer)(name)


def test_values() -> None:
    """Who has one tenant of a table has no other tenant, and not all of it; more values mean less data."""
    acme = make_area(None, "events", {"tenant": "acme"}, "doc")
    assert make_area("doc", "events", {"tenant": "acme", "site": 1}, "x").within(acme)
    assert not make_area("doc", "events", {}, "x").within(acme)
    assert not make_area("doc", "events", {"tenant": "globex"}, "x").within(acme)
    assert not make_area("doc", "events", {"tenant": None}, "x").within(acme)
    assert not make_area("other", "events", {"tenant": "acme"}, "x").within(acme)
    null = make_area(None, "events", {"tenant": None}, "doc")
    assert make_area(None, "events", {"tenant": None, "site": 1}, "doc").within(null)
    assert not any(make_area(None, "events", {"tenant": text}, "doc").within(null) for text in ("acme", "None"))
    assert str(acme) == "doc.events where tenant=acme"


def test_the_widest_cover_is_found() -> None:
    """Of several areas that cover something, the one with the fewest conditions tells most."""
    whole, part = make_area(None, "t*", {}, "doc"), make_area(None, "t", {"a": True}, "doc")
    assert covering(make_area(None, "t", {"a": "true"}, "doc"), [part, whole]) == whole
    assert covering(make_area(None, "u", {}, "doc"), [part, whole]) is None
