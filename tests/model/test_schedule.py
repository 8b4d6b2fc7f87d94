"""Schedules: what is accepted, and when they happen, also where clocks are changed."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.schedule import delay, following, newest, parse_jitter, parse_schedule

ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana")
SCHEDULES = ("@hourly", "@daily", "@weekly", "30 2 * * *", "15 0 * * *", "*/20 * * * *", "0 2,3 * * *", "5 1 1 * 1")
INSTANTS = st.integers(0, 94_000_000).map(
    lambda seconds: dt.datetime(2023, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
)


def at(text: str) -> dt.datetime:
    """An instant."""
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("@Daily", "@daily"), (" 0  3 * * * ", "0 3 * * *"), ("*/5 9-17 * * MON-FRI", "*/5 9-17 * * MON-FRI")],
)
def test_what_is_a_schedule(given: str, kept: str) -> None:
    """Nicknames and five fields, however they are spaced."""
    assert parse_schedule(given) == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a cron expression"),
        ("@reboot", "not a cron expression"),
        ("0 3 * *", "not a cron expression"),
        ("0 0 3 * * *", "not a cron expression"),
        ("60 3 * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 29 2 MON#6", "bad day-of-week"),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    """Everything else is refused, with what is wrong about it."""
    with pytest.raises(InvalidInput, match=why):
        parse_schedule(text)


def test_jitter_is_shorter_than_a_day() -> None:
    """A month of jitter makes no sense; a day is the most."""
    assert parse_jitter("10m") == Duration(seconds=600)
    assert parse_jitter("24h") == Duration(seconds=86_400)
    for text in ("1mo", "forever", "25h"):
        with pytest.raises(InvalidInput, match="longer than a day"):
            parse_jitter(text)


def test_clocks_set_forward() -> None:
    """02:30 does not exist on the last Sunday of March in Vienna: it happens right after the gap, once."""
    slots = walk("30 2 * * *", "Europe/Vienna", "2024-03-30T00:00Z", 3)
    assert slots == ["2024-03-30T01:30", "2024-03-31T01:00", "2024-04-01T00:30"]


def test_clocks_set_back() -> None:
    """02:30 comes twice on the last Sunday of October in Vienna: it happens the first time only."""
    slots = walk("30 2 * * *", "Europe/Vienna", "2024-10-26T00:00Z", 3)
    assert slots == ["2024-10-26T00:30", "2024-10-27T00:30", "2024-10-28T01:30"]
    # What clocks show at these instants was shown before 02:30 already, and after it.
    assert newest("30 2 * * *", "Europe/Vienna", at("2024-10-27T00:29:59Z")) == at("2024-10-26T00:30Z")
    assert newest("30 2 * * *", "Europe/Vienna", at("2024-10-27T01:10Z")) == at("2024-10-27T00:30Z")


def test_intervals_follow_the_time_that_passes() -> None:
    """Every half hour happens every half hour, whatever clocks show."""
    slots = walk("*/30 * * * *", "Europe/Vienna", "2024-10-26T23:59Z", 6)
    assert slots == [f"2024-10-27T0{i // 2}:{'30' if i % 2 else '00'}" for i in range(6)]


def walk(schedule: str, zone: str, start: str, count: int) -> list[str]:
    """The first slots after an instant."""
    found, moment = [], at(start)
    for _ in range(count):
        following_slot = following(schedule, zone, moment)
        assert following_slot is not None
        moment = following_slot
        found.append(f"{moment:%Y-%m-%dT%H:%M}")
    return found


@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), INSTANTS)
def test_backwards_and_forwards_agree(schedule: str, zone: str, now: dt.datetime) -> None:
    """The newest slot is the last one that is met on the way from before it, and none lies between it and the next."""
    last, after = newest(schedule, zone, now), following(schedule, zone, now)
    assert last is not None
    assert after is not None
    assert last <= now < after
    moment = last - dt.timedelta(days=1)
    while (found := following(schedule, zone, moment)) and found <= now:
        moment = found
    assert moment == last
    assert newest(schedule, zone, after) == after
    assert newest(schedule, zone, after - dt.timedelta(microseconds=1)) == last


@given(st.sampled_from(ZONES), st.integers(2023, 2030))
def test_a_daily_schedule_happens_on_each_day_once(zone: str, year: int) -> None:
    """As many slots as days, each on a day of its own, whatever happens to clocks."""
    moment, days = dt.datetime(year, 1, 1, tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(dt.UTC), []
    moment -= dt.timedelta(seconds=1)
    for _ in range(365):
        found = following("30 2 * * *", zone, moment)
        assert found is not None
        moment = found
        days.append(moment.astimezone(zoneinfo.ZoneInfo(zone)).date())
    assert days == [dt.date(year, 1, 1) + dt.timedelta(days=i) for i in range(365)]


@given(st.text(), INSTANTS, st.integers(1, 86_400))
def test_jitter_is_the_same_for_all(policy: str, slot: dt.datetime, seconds: int) -> None:
    """The delay depends on policy and slot alone, in whatever zone it is written, and is within bounds."""
    jitter = Duration(seconds=seconds)
    found = delay(policy, slot, jitter)
    assert dt.timedelta() <= found < dt.timedelta(seconds=seconds)
    assert found == delay(policy, slot.astimezone(zoneinfo.ZoneInfo("Asia/Kolkata")), jitter)
    assert delay(policy, slot, None) == dt.timedelta()


def test_jitter_spreads() -> None:
    """Policies with the same schedule begin at different times."""
    delays = {delay(f"p{i}", at("2024-01-01T00:00Z"), Duration(seconds=600)) for i in range(100)}
    assert len(delays) > 90
    assert max(delays) - min(delays) > dt.timedelta(minutes=8)
