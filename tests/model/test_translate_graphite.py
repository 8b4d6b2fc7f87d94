"""Carbon's files become policies: the examples of Graphite's documentation, files as people have them, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.rollups.cascade import parse_levels
from cratedb_retention.model.translation import Translation, Wanted, write_policies
from cratedb_retention.model.translation.graphite import parse_retentions, translate_graphite

# What Carbon comes with.
DEFAULT = r"""
# Carbon's internal metrics.
[carbon]
pattern = ^carbon\.
retentions = 60:90d

[default_1min_for_1day]
pattern = .*
retentions = 60s:1d
"""
# From "Configuring Carbon".
DOCUMENTED = r"""
[garbage_collection]
 pattern = garbageCollections$
 retentions = 10s:14d

[apache_busyWorkers]
 pattern = ^servers\.www.*\.workers\.busyWorkers$
 retentions = 15s:7d,1m:21d,15m:5y
"""
AGGREGATION = r"""
[min]
pattern = \.min$
xFilesFactor = 0.1
aggregationMethod = min

[max]
pattern = \.(max|upper)$
xFilesFactor = 0.1
aggregationMethod = max

[sum]
pattern = \.count$
xFilesFactor = 0
aggregationMethod = sum

[default_average]
pattern = .*
xFilesFactor = 0.5
aggregationMethod = average
"""


def translate(schemas: str, aggregation: str | None = None, **wanted: Any) -> Translation:
    """A translation of files that are named as usual."""
    return translate_graphite(
        schemas, aggregation, Wanted(**wanted), ("storage-schemas.conf", "storage-aggregation.conf")
    )


def policies(translation: Translation) -> list[dict[str, Any]]:
    """The policies as the file has them, without descriptions; `apply` can read them."""
    text = write_policies(translation, "Title")
    found = yaml.safe_load(text)["policies"]
    assert len(parse_policies(text, "policies.yaml")) == len(found)
    for policy in found:
        assert policy.pop("description").startswith("Graphite [")
    return list(found)


def one(retentions: str, pattern: str = "^one$", **wanted: Any) -> dict[str, Any]:
    """The policy of a section."""
    found = policies(translate(f"[one]\npattern = {pattern}\nretentions = {retentions}\n", **wanted))
    assert len(found) == 1
    return found[0]


def test_what_carbon_comes_with() -> None:
    """Without coarser archives nothing is downsampled. The last section would delete what the first one keeps."""
    found = translate(DEFAULT)
    assert policies(found) == [
        {"strategy": "delete", "table_name": "carbon_*", "retention_period": "90d"},
        {"strategy": "delete", "table_name": "*", "retention_period": "1d", "enabled": False},
    ]
    assert [text for text in found.all_warnings if "disabled, since it also matches tables of [carbon]" in text]


def test_what_graphite_documents() -> None:
    """The first archive is the raw rows, the others are levels."""
    assert policies(translate(DOCUMENTED)) == [
        {"strategy": "delete", "table_name": "*garbageCollections", "retention_period": "14d"},
        {
            "strategy": "downsample",
            "table_name": "servers_www*_workers_busyWorkers",
            "retention_period": "7d",
            "levels": "1m:21d,15m:5y",
        },
    ]
    assert translate(DOCUMENTED).all_warnings == ()


@pytest.mark.parametrize(
    ("retentions", "raw", "levels"),
    [
        ("10s:6h,1m:7d,10m:5y", "6h", "1m:7d,10m:5y"),
        ("60:1440", "1d", None),
        ("60:1440,900:8,3600:24", "1d", "15m:1d,1h:1d"),
        ("10m:5y, 1m:7d ,10s:6h", "6h", "1m:7d,10m:5y"),
        ("1sec:1hour,1min:2weeks,1day:10years", "1h", "1m:14d,1d:10y"),
        ("1s:1h,60s:2d,300s:7d,15m:25w,12h:5y", "1h", "1m:2d,5m:7d,15m:175d,12h:5y"),
        ("30:86400,60:86400,300:25920,900:52512", "30d", "1m:60d,5m:90d,15m:547d"),
        ("60s:1d,7d:1y", "7d", "1w:1y"),
        ("60s:1d,86400:1825 # old", "1d", "1d:1825d"),
    ],
)
def test_retentions(retentions: str, raw: str, levels: str | None) -> None:
    """Each form that Carbon reads; weeks are units of the calendar."""
    found = one(retentions)
    assert (found["retention_period"], found.get("levels")) == (raw, levels)
    if levels:
        parse_levels(levels)


@pytest.mark.parametrize(
    ("retentions", "complaint"),
    [
        ("10s", "section [one], 10s: '' is not a length of time"),
        ("10x:1d", "section [one], 10x:1d: '10x' is not a length of time"),
        ("1M:1d", "'1M' is not a length of time"),
        ("0s:1d", "keeps no points"),
        ("1d:1h", "keeps no points"),
        ("10s:1d:2", "'1d:2' is not a length of time"),
        ("-10s:1d", "'-10s' is not a length of time"),
        (",", "section [one]: has no retentions"),
        (
            "10s:6h,7m:1y",
            "section [one], 7m:1y: 7m does not divide a day, and is not a calendar unit. --round makes it 5m",
        ),
        ("10s:6h,36h:1y", "section [one], 36h:1y: 1d12h does not divide a day"),
        ("10s:6h,10m:7d,15m:1y", "section [one], 15m:1y: 10m does not divide 15m. --round omits it"),
        ("10s:6h,1w:1y,30d:5y", "30d does not divide a day, and is not a calendar unit"),
    ],
)
def test_bad_retentions(retentions: str, complaint: str) -> None:
    """One line names the section and the archive."""
    with pytest.raises(InvalidInput) as caught:
        one(retentions)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "storage-schemas.conf: has no section"),
        ("# nothing\n", "storage-schemas.conf: has no section"),
        ("pattern = .*\n[a]\n", "storage-schemas.conf, line 1: a setting before the first section"),
        ("[a]\n\nnonsense\n", "storage-schemas.conf, line 3: neither a section nor a setting"),
    ],
)
def test_bad_files(text: str, complaint: str) -> None:
    """One line names the file and the line."""
    with pytest.raises(InvalidInput) as caught:
        translate(text)
    assert complaint in str(caught.value)


def test_incomplete_sections_are_skipped() -> None:
    """Carbon skips them too."""
    found = translate("[a]\npattern = .*\n[b]\nretentions = 1m:1d\n[c]\nPattern: ^c$\nRetentions: 1m:1d\n")
    assert [policy["table_name"] for policy in policies(found)] == ["c"]
    assert found.warnings == (
        "section [a] has no retentions, and is skipped",
        "section [b] has no pattern, and is skipped",
    )


def test_rounding() -> None:
    """With --round there is a policy, with a warning that names the archive."""
    found = translate("[a]\npattern = ^a$\nretentions = 10s:6h,7m:1y,36h:5y\n", rounding=True)
    assert policies(found)[0]["levels"] == "5m:1y,1d:5y"
    assert (
        "section [a], 7m:1y: 7m does not divide a day, and is not a calendar unit; it became 5m" in found.all_warnings
    )


def test_a_pattern_that_is_none() -> None:
    """The user fills in the table; what comes later could be about the same one."""
    found = translate("[a]\npattern = ^a\\d+$\nretentions = 1m:1d\n[b]\npattern = ^b$\nretentions = 1m:1d\n")
    first, second = policies(found)
    assert first["table_name"] == "FILL_IN_THE_TABLE"
    assert second["enabled"] is False
    assert r"section [a]: the pattern ^a\d+$ is not a table pattern; fill in the table's name" in found.all_warnings


def test_alternatives_are_policies() -> None:
    """Each alternative of a pattern has a policy."""
    found = translate("[a]\npattern = ^(collectd|telegraf)\\.\nretentions = 1m:1d,1h:1y\n")
    assert [(policy["table_name"], policy["levels"]) for policy in policies(found)] == [
        ("collectd_*", "1h:1y"),
        ("telegraf_*", "1h:1y"),
    ]


def test_a_table_of_its_own() -> None:
    """A section that is chosen can have a table and a schema, and the sections before it don't matter then."""
    found = translate(DEFAULT, sections=("default_1min_for_1day",), table_name="metrics", table_schema="doc")
    assert policies(found) == [
        {"strategy": "delete", "table_schema": "doc", "table_name": "metrics", "retention_period": "1d"}
    ]


def test_what_an_earlier_section_has() -> None:
    """A section that is chosen alone is disabled as well if an earlier one matches some of its tables first."""
    [policy] = policies(translate(DEFAULT, sections=("default_1min_for_1day",)))
    assert policy["enabled"] is False


def test_choosing_badly() -> None:
    """A section that there is not, and a table for several, are refused."""
    with pytest.raises(InvalidInput, match=r"section \[x\]: not in storage-schemas.conf. Available: carbon, default"):
        translate(DEFAULT, sections=("x",))
    with pytest.raises(InvalidInput, match=r"2 sections cannot have one table\. Choose one with --section"):
        translate(DEFAULT, table_name="metrics")


def test_aggregates() -> None:
    """What is for all names of a section is kept of all metrics; what is for some is said."""
    found = translate("[a]\npattern = ^a$\nretentions = 10s:1d,1m:1y\n", AGGREGATION)
    assert policies(found)[0]["aggregates"] == {"*": ["avg"]}
    assert "xFilesFactor (0.1, 0, 0.5) has no counterpart" in write_policies(found, "Title")
    assert found.all_warnings == (
        r"aggregation section [min] applies to names that match \.min$; add min: [min] to the aggregates of policies "
        "whose tables have such columns",
        r"aggregation section [max] applies to names that match \.(max|upper)$; add max: [max], upper: [max] to the "
        "aggregates of policies whose tables have such columns",
        r"aggregation section [sum] applies to names that match \.count$; add count: [sum] to the aggregates of "
        "policies whose tables have such columns",
    )


@pytest.mark.parametrize(
    ("rules", "aggregates", "warning"),
    [
        ("[x]\npattern = ^a\\.count$\naggregationMethod = last", ["last"], ""),
        ("[x]\npattern = \\.count$\naggregationMethod = sum", ["sum"], ""),
        ("[x]\npattern = \\.(sum|count)$\naggregationMethod = sum", ["sum"], ""),
        ("[x]\npattern = .*", ["avg"], ""),
        ("[x]\npattern = ^b", ["avg"], "applies to names that match ^b; add [avg] to the aggregates"),
        ("[x]\npattern = .*\naggregationMethod = avg_zero", ["sum", "count"], "counts missing values as 0"),
        ("[x]\npattern = .*\naggregationMethod = absmax", ["min", "max"], "the greater one of abs(min)"),
        ("[x]\npattern = .*\naggregationMethod = max\n[y]\npattern = \\.count$", ["max"], ""),
        ("[x]\npattern = .*\n[y]\npattern = ^b", ["avg"], ""),
    ],
)
def test_rules_of_aggregation(rules: str, aggregates: list[str], warning: str) -> None:
    """The first rule that fits wins; what has no exact counterpart is said."""
    found = translate("[a]\npattern = ^a\\.count$\nretentions = 10s:1d,1m:1y\n", rules)
    assert policies(found)[0]["aggregates"] == {"*": aggregates}
    assert bool(found.warnings) == bool(warning)
    assert warning in "".join(found.warnings)


def test_an_unknown_aggregation() -> None:
    """A method that Graphite does not have is refused."""
    with pytest.raises(InvalidInput, match=r"section \[x\], aggregationMethod 'median': unknown"):
        translate(DEFAULT, "[x]\npattern = .*\naggregationMethod = median")


units = st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)])
parts = st.builds(
    lambda count, unit, points: (f"{count}{unit[0]}:{points}", count * unit[1], points),
    st.integers(1, 400),
    units,
    st.integers(1, 100_000),
)


@given(st.lists(parts, min_size=1, max_size=5))
def test_each_cascade_survives_the_round_trip(found: list[tuple[str, int, int]]) -> None:
    """Whatever Carbon could have, the levels can be read, and the whole time is covered."""
    policy = one(",".join(text for text, _, _ in found), rounding=True)
    levels = parse_levels(policy.get("levels", ""))
    periods = [parse_duration(policy["retention_period"]), *(level.retention_period for level in levels)]
    assert max(period.approximate_seconds() for period in periods) >= max(s * n for _, s, n in found)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but our own error ever comes of a text."""
    for read in (lambda: parse_retentions(text, "here"), lambda: translate(text), lambda: translate(DEFAULT, text)):
        try:
            read()
        except InvalidInput as error:
            assert str(error)
