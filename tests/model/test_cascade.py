"""The levels of a cascade as people write them: which interval consists of which, and how long each is kept."""

from __future__ import annotations

import zoneinfo

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.rollups.cascade import Interval, check_zone, parse_levels
from cratedb_retention.model.time import show
from support.catalogs import ms


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1m:7d, 1h:90d,1d:forever", "1m:7d,1h:90d,1d:forever"),
        ("1h:7d,1d:7d", "1h:7d,1d:7d"),
        ("1h:1h,1d:1d", "1h:1h,1d:1d"),
        ("6h:4d,1w:1y", "6h:4d,1w:1y"),
        ("1d:90d,1mo:1y,1y:forever", "1d:90d,1mo:1y,1y:forever"),
        ("60 min:1d,24 hours:1y", "1h:1d,1d:1y"),
    ],
)
def test_levels(text: str, levels: str) -> None:
    """Finest first, each kept for one of its buckets at least, and as long as the finer one."""
    assert ",".join(map(str, parse_levels(text))) == levels


@pytest.mark.parametrize(
    "text",
    [
        "10m:1d,15m:2d",
        "1w:1y,1mo:forever",
        "1w:1y,1y:forever",
        "1mo:2y,1w:3y",
        "1d:2y,1h:3y",
        "1h:1d,1h:2d",
        "1h:2d,1d:1d",
        "1h:forever,1d:1y",
        "1d:23h",
        "7m:1d",
        "2d:1y",
        "0h:1y",
        "1h",
    ],
)
def test_levels_that_make_no_sense(text: str) -> None:
    """What does not consist of whole finer buckets, is there twice, or is kept for too short is refused."""
    with pytest.raises(InvalidInput):
        parse_levels(text)


@pytest.mark.parametrize(
    ("zone", "text", "fits"),
    [
        ("Europe/Vienna", "1h:30d,1d:1y", True),
        ("Asia/Kathmandu", "1h:30d,1d:1y", False),
        ("Asia/Kathmandu", "15m:30d,1d:1y", True),
        # Six hours behind UTC in winter, and five in summer.
        ("America/Chicago", "6h:30d,1w:1y", False),
        ("America/Chicago", "1h:30d,1w:1y", True),
    ],
)
def test_days_of_a_time_zone(zone: str, text: str, fits: bool) -> None:
    """Days consist of whole buckets of the finer level, in summer and in winter."""
    levels = parse_levels(text)
    if fits:
        check_zone(levels, zoneinfo.ZoneInfo(zone))
    else:
        with pytest.raises(InvalidInput, match=zone):
            check_zone(levels, zoneinfo.ZoneInfo(zone))


def test_raw_rows_as_long_as_the_first_level() -> None:
    """Raw rows are kept for as long as the first level, and no longer."""
    attributes = {"strategy": "downsample", "table_name": "t", "levels": "1h:7d,1d:1y"}
    assert make_policy(**attributes, retention_period="7d").levels
    with pytest.raises(InvalidInput):
        make_policy(**attributes, retention_period="169h")


def test_quarters() -> None:
    """They start with the year, and each has three months."""
    quarter = Interval.of_months(3)
    starts = [show(quarter.floor(ms(f"2024-{month:02}-15"))) for month in range(1, 13)]
    assert starts == [f"2024-{month:02}-01" for month in (1, 4, 7, 10) for _ in range(3)]
