"""What the pages say of time, and of data as it ages, is what the program does."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from cratedb_retention import make_policy
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.lifecycle import find_lifecycles
from cratedb_retention.model.time import from_ms
from support.markdown import ROOT, blocks

PAGE = (ROOT / "docs" / "explanation" / "time-and-cutoff.md").read_text(encoding="utf-8")
INSTANT = r"(\d{4}-\d\d-\d\d \d\d:\d\d)"
EXAMPLES = re.findall(rf"^\| [^|]+ \| `(\w+)` \| {INSTANT} \| {INSTANT} \|", PAGE, re.MULTILINE)


def test_there_are_examples() -> None:
    """The table of examples is found."""
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize(("period", "cutoff", "limit"), EXAMPLES)
def test_limits(period: str, cutoff: str, limit: str) -> None:
    """The limit of each example is the one that a policy has at this cutoff."""
    policy = make_policy(strategy="delete", table_name="x", retention_period=period)
    found = policy.limit(dt.datetime.fromisoformat(cutoff).replace(tzinfo=dt.UTC))
    assert found is not None
    assert from_ms(found) == dt.datetime.fromisoformat(limit).replace(tzinfo=dt.UTC)


def test_the_shorter_month() -> None:
    """Three months before 31 May is the end of 28 February, or the 29th."""
    policy = make_policy(strategy="delete", table_name="x", retention_period="3mo")
    for year, day in ((2023, 28), (2024, 29)):
        found = policy.limit(dt.datetime(year, 5, 31, 12, tzinfo=dt.UTC))
        assert found is not None
        assert from_ms(found).date() == dt.date(year, 2, day)


def test_lifecycles() -> None:
    """The lines on the page about policies are those of its examples, with and without an end of the archive."""
    found = blocks((ROOT / "docs" / "reference" / "policies.md").read_text(encoding="utf-8"))
    examples = [block.text for block in found if block.language == "yaml" and "raw_metrics" in block.text]
    cascade = next(text for text in examples if "downsample" in text)
    tiers = next(text for text in examples if "reallocate" in text)
    ending = tiers.replace("  target_repository_name", "  archive_period: 7y\n  target_repository_name")
    first, second, third = (find_lifecycles(parse_policies(text, "x"))[0].line for text in (tiers, cascade, ending))
    assert f"{first}\n{second}\n" in [block.text for block in found]
    assert third == first.removesuffix("forever") + "until 7y -> gone"
