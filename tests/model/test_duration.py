"""Durations: every spelling that is accepted, what is refused, and how they are reckoned."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import FOREVER, Duration, parse_duration
from cratedb_retention.model.time import from_ms
from support.catalogs import at

VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")
MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS: dict[str, tuple[str, Duration]] = {
    "second": ("s sec secs second seconds", Duration(seconds=1)),
    "minute": ("m min mins minute minutes", Duration(seconds=MINUTE)),
    "hour": ("h hr hrs hour hours", Duration(seconds=HOUR)),
    "day": ("d day days", Duration(seconds=DAY)),
    "week": ("w wk wks week weeks", Duration(seconds=7 * DAY)),
    "month": ("mo mon mons month months", Duration(months=1)),
    "year": ("y yr yrs year years", Duration(months=12)),
}

durations = st.builds(Duration, st.integers(0, 12 * 9999), st.integers(0, 9999 * 31_556_952)) | st.just(FOREVER)
fixed = st.integers(0, 1000 * DAY).map(lambda seconds: Duration(seconds=seconds))
calendar = st.integers(0, 600).map(lambda months: Duration(months=months))
instants = st.integers(0, 4_102_444_800_000).map(from_ms)
zones = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu"]).map(zoneinfo.ZoneInfo)


@pytest.mark.parametrize(("spelling", "one"), [(name, one) for names, one in UNITS.values() for name in names.split()])
def test_every_spelling_of_a_unit(spelling: str, one: Duration) -> None:
    """Each spelling means its unit, with or without a blank, in any case of letters, but for M alone."""
    three = Duration(one.months * 3, one.seconds * 3)
    if spelling == "m":
        assert parse_duration("3m") == parse_duration(" 3 m ") == three
        return
    for text in (f"3{spelling}", f"3 {spelling}", f" 3 {spelling.title()} ", f"3{spelling.upper()}"):
        assert parse_duration(text) == three


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (90, Duration(seconds=90 * DAY)),
        (0, Duration()),
        ("90", Duration(seconds=90 * DAY)),
        ("0d", Duration()),
        ("1y6mo", Duration(months=18)),
        ("1d 12h", Duration(seconds=36 * HOUR)),
        ("1 day, 12 hours", Duration(seconds=36 * HOUR)),
        ("1d1d", Duration(seconds=2 * DAY)),
        ("P1Y", Duration(months=12)),
        ("p1y2m3w4dt5h6m7s", Duration(months=14, seconds=25 * DAY + 5 * HOUR + 6 * MINUTE + 7)),
        ("P1M", Duration(months=1)),
        ("PT1M", Duration(seconds=MINUTE)),
        ("PT36H", Duration(seconds=36 * HOUR)),
        ("forever", FOREVER),
        (" Forever ", FOREVER),
        ("000000000000000000000000000090d", Duration(seconds=90 * DAY)),
        (Duration(months=2), Duration(months=2)),
        ("9999y", Duration(months=12 * 9999)),
    ],
)
def test_accepted(value: object, expected: Duration) -> None:
    """Compound forms, ISO 8601, plain numbers (days), leading zeros and `forever` are understood."""
    assert parse_duration(value) == expected


REFUSED: list[object] = [
    *("", " ", "d", "-1", "-90d", "+90d", "1.5h", "90.0", "1,5d", "90 d x", "d90", "90dd", "P", "PT", "P1D2M"),
    *(
        "P1.5D",
        "P-1D",
        "-P1D",
        "\u0669\u0660d",
        "\uff19\uff10d",
        "²d",
        "90\x00d",
        "1e3",
        "0x10",
        "for ever",
        "never",
        "1 fortnight",
    ),
    *(None, True, False, 1.0, -1, [90], {"days": 90}, b"90d", dt.timedelta(days=90)),
]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_refused(value: object) -> None:
    """What is no duration is refused in words that show how to write one."""
    with pytest.raises(InvalidInput, match="90d, 36h"):
        parse_duration(value)


@pytest.mark.parametrize("text", ["6M", "6 M", "1y6M", "6M 3d"])
def test_capital_m(text: str) -> None:
    """M alone could mean minutes or months, and the wrong one would be a catastrophe; it is refused."""
    with pytest.raises(InvalidInput, match=r"M could mean minutes or months\. Write min or mo"):
        parse_duration(text)


@pytest.mark.parametrize(
    "value",
    [
        "10000y",
        "119989mo",
        "3660000d",
        "9" * 30,
        "9" * 5000,
        "9" * 5000 + "d",
        "P" + "9" * 5000 + "Y",
        10**20,
        10**5000,
    ],
    ids=lambda value: str(value)[:12] if isinstance(value, str) else "int",
)
def test_too_long(value: object) -> None:
    """What is longer than any calendar is refused, however many digits it has."""
    with pytest.raises(InvalidInput, match=r"longer than 9999 years\. Write forever"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (Duration(), "0d"),
        (FOREVER, "forever"),
        (Duration(seconds=90 * DAY), "90d"),
        (Duration(seconds=36 * HOUR), "1d12h"),
        (Duration(months=18), "1y6mo"),
        (Duration(months=1, seconds=1), "1mo1s"),
    ],
)
def test_written(duration: Duration, text: str) -> None:
    """A duration is written in its shortest form; weeks as days."""
    assert str(duration) == text


@given(durations)
def test_round_trip(duration: Duration) -> None:
    """What is written is read as the same duration."""
    assert parse_duration(str(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "instant", "zone", "expected"),
    [
        ("1mo", "2023-03-31", "UTC", "2023-02-28T23:59:59.999"),
        ("1mo", "2024-03-31", "UTC", "2024-02-29T23:59:59.999"),
        ("1mo", "2024-01-15T10:30", "UTC", "2023-12-15T10:30"),
        ("1y", "2024-02-29", "UTC", "2023-02-28T23:59:59.999"),
        ("4y", "2024-02-29", "UTC", "2020-02-29"),
        ("13mo", "2024-01-31", "UTC", "2022-12-31"),
        ("1mo1d", "2024-03-31", "UTC", "2024-02-28T23:59:59.999"),
        ("30d", "2024-07-02", "UTC", "2024-06-02"),
        # Clocks in Vienna went forward on 31 March 2024, and back on 27 October 2024.
        ("1mo", "2024-04-15", "Europe/Vienna", "2024-03-15"),
        ("1mo", "2024-11-15", "Europe/Vienna", "2024-10-15"),
        ("1mo", "2024-04-30T02:30", "Europe/Vienna", "2024-03-30T02:30"),
        ("6mo", "2024-07-01", "Europe/Vienna", "2024-01-01"),
        # The hour that did not exist is read with the offset before it: 01:30Z.
        ("2mo", "2024-05-31T02:30", "Europe/Vienna", "2024-03-31T02:30+01:00"),
        # Fixed units are fixed, whatever the clocks do.
        ("1d", "2024-04-01", "Europe/Vienna", "2024-03-30T23:00"),
        ("24h", "2024-10-28", "Europe/Vienna", "2024-10-27T01:00+02:00"),
    ],
)
def test_before(duration: str, instant: str, zone: str, expected: str) -> None:
    """Months and years are calendar units in the zone, short months and DST included; the rest is fixed."""
    found = parse_duration(duration).before(at(instant, zone), zoneinfo.ZoneInfo(zone))
    assert found == at(expected, zone).astimezone(dt.UTC)
    assert found is not None
    assert found.tzinfo is dt.UTC


def test_zone_matters() -> None:
    """The same instant less a month is another one in another zone: in Vienna it is already March."""
    instant = at("2024-02-29T23:30")
    month = Duration(months=1)
    assert month.before(instant) == at("2024-01-29T23:30")
    assert month.before(instant, VIENNA) == at("2024-02-01T00:30", "Europe/Vienna")


@pytest.mark.parametrize("duration", [FOREVER, Duration(months=12 * 3000), Duration(seconds=3000 * 366 * DAY)])
def test_before_the_calendar(duration: Duration) -> None:
    """Nothing is before the year 1: forever, and what is as good as that, has no limit."""
    assert duration.before(at("2024-01-01")) is None


@pytest.mark.parametrize("duration", [FOREVER, Duration(months=12 * 9000), Duration(seconds=9000 * 366 * DAY)])
def test_after_the_calendar(duration: Duration) -> None:
    """Nothing is after the year 9999 either."""
    assert duration.after(at("2024-01-01")) is None


@given(fixed, instants, instants)
def test_fixed_is_monotonic(duration: Duration, one: dt.datetime, other: dt.datetime) -> None:
    """A later cutoff never has an earlier limit."""
    limits = [duration.before(instant) for instant in sorted((one, other))]
    assert limits[0] is not None and limits[1] is not None
    assert limits[0] <= limits[1]


@given(calendar, instants, instants, zones)
@example(Duration(months=1), at("2023-03-28T23:00"), at("2023-03-29T01:00"), zoneinfo.ZoneInfo("UTC"))
def test_calendar_is_monotonic(
    duration: Duration, one: dt.datetime, other: dt.datetime, zone: zoneinfo.ZoneInfo
) -> None:
    """With months too, a later cutoff never has an earlier limit, but for the hour in which clocks change."""
    limits = [duration.before(instant, zone) for instant in sorted((one, other))]
    assert limits[0] is not None and limits[1] is not None
    assert limits[0] <= limits[1] + dt.timedelta(hours=1)


@given(calendar, instants)
@example(Duration(months=1), at("2023-01-31T12:00"))
def test_due_is_when_the_limit_passes(duration: Duration, instant: dt.datetime) -> None:
    """What is said to be kept until an instant is expired at that instant, and not a day before."""
    due = duration.after(instant)
    assert due is not None
    at_due, before = duration.before(due), duration.before(due - dt.timedelta(days=1))
    assert at_due is not None and before is not None
    assert before < instant <= at_due or duration.months == 0


@given(fixed, instants)
def test_before_undoes_after(duration: Duration, instant: dt.datetime) -> None:
    """For fixed units, before and after are each other's inverse."""
    after, before = duration.after(instant), duration.before(instant)
    assert after is not None and before is not None
    assert duration.before(after) == duration.after(before) == instant


@given(calendar, instants, zones)
def test_kept_at_least_as_long(duration: Duration, cutoff: dt.datetime, zone: zoneinfo.ZoneInfo) -> None:
    """With months too, what a cutoff expires is by then at least as old as the duration says, but for a DST hour."""
    limit = duration.before(cutoff, zone)
    assert limit is not None
    due = duration.after(limit, zone)
    assert due is not None and due <= cutoff + dt.timedelta(hours=1)


def test_approximate_length() -> None:
    """Durations of different kinds can be compared; forever is the longest."""
    texts = ["0d", "1h", "1d", "30d", "1mo", "31d", "1y", "366d", "9999y", "forever"]
    lengths = [parse_duration(text).approximate_seconds() for text in texts]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == len(lengths)
