"""Regular expressions become table patterns where that is exact, and nothing where it is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cratedb_retention.model.policies.patterns import matcher
from cratedb_retention.model.translation.graphite import overlap, table_patterns


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"^carbon\.", ["carbon_*"]),
        (r".*", ["*"]),
        (r"", ["*"]),
        (r"^", ["*"]),
        (r"garbageCollections$", ["*garbageCollections"]),
        (r"^servers\.www.*\.workers\.busyWorkers$", ["servers_www*_workers_busyWorkers"]),
        (r"servers.*", ["*servers*"]),
        (r"^stats[.]timers[.].+$", ["stats_timers_?*"]),
        (r"^web.\.cpu", ["web?_cpu*"]),
        (r"^a.*?b$", ["a*b"]),
        (r"^(collectd|telegraf)\.", ["collectd_*", "telegraf_*"]),
        (r"^collectd\.|^telegraf\.", ["collectd_*", "telegraf_*"]),
        (r"^a\.(?:b|c\.d)\.(e|f)$", ["a_b_e", "a_b_f", "a_c_d_e", "a_c_d_f"]),
        (r"^x(a|)$", ["xa", "x"]),
        (r"^a\-b$", ["a-b"]),
    ],
)
def test_exact(regex: str, expected: list[str]) -> None:
    """Dots become underscores, what is not anchored may stand anywhere, alternatives are patterns of their own."""
    assert list(table_patterns(regex)) == expected


@pytest.mark.parametrize(
    "regex",
    [
        *(r"^a[0-9]\.", r"\d+", r"^a*$", r"^ab?$", r"^a+$", r"^a{2}$", r"(?!carbon)", r"(?i)cpu", r"^(a(b|c))$", r"^$"),
        *(r"^a\*b", r"^a$b", r"a^b", r"(a", r"a)", r"[", "^(a|b)*$", r"^\w", r"\\", r"a\$", "^(a|^b)", r".**", "é\n"),
        "|".join(f"^a{n}$" for n in range(60)),
    ],
)
def test_what_is_not_exact_is_nothing(regex: str) -> None:
    """A pattern that would fit more or fewer tables is none."""
    assert table_patterns(regex) == ()


names = st.text("abc._-", max_size=8)
pieces = st.sampled_from(
    ["a", "b", r"\.", ".", ".*", ".+", "_", "(a|b)", "(?:ab|c)", "[.]", r"\-", "x?", "b*", "[ab]", "|"]
)
regexes = st.builds(
    lambda start, body, end: start + "".join(body) + end,
    st.sampled_from(["", "^"]),
    st.lists(pieces, max_size=6),
    st.sampled_from(["", "$"]),
)
patterns = st.text("ab*?", max_size=7)


@given(regexes, names)
@example("^a$|b", "ba")
def test_the_same_names_fit(regex: str, name: str) -> None:
    """Without underscores, a name fits a translated pattern if and only if the expression finds it."""
    name = name.replace("_", "")
    found = table_patterns(regex.replace("_", "a"))
    if found:
        fits = any(matcher(pattern)(name.replace(".", "_")) for pattern in found)
        assert fits == (re.search(regex.replace("_", "a"), name) is not None)


@given(patterns, patterns, st.text("ab", max_size=7))
def test_overlap_of_what_fits_both(one: str, other: str, name: str) -> None:
    """Patterns that a name fits overlap."""
    if matcher(one)(name) and matcher(other)(name):
        assert overlap(one, other)
        assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        *(("a", "a", True), ("a", "b", False), ("*", "", True), ("a*", "*b", True), ("a*", "b*", False)),
        *(("a?c", "ab*", True), ("?", "", False), ("??", "*a", True), ("a*b", "a*c", False), ("", "", True)),
        ("a*" * 2000, "b", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    """It is told whether one name can fit two patterns."""
    assert overlap(one, other) is expected
