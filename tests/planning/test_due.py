"""Due slots: each slot once, what was missed once, nothing before its time."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.model.duration import Duration
from cratedb_retention.model.schedule import Done, Misfire, Scheduled, delay
from cratedb_retention.planning.schedule import Timetable, due_slots, newest_slot, next_times, wrong_slots

HOURLY = Scheduled(policy_id="p", schedule="0 * * * *")
SKIPPING = replace(HOURLY, misfire=Misfire.SKIP, grace=Duration(seconds=600))


def at(text: str) -> dt.datetime:
    """An instant on a day in June 2024."""
    return dt.datetime.fromisoformat(f"2024-06-{text}+00:00")


@pytest.mark.parametrize(
    ("item", "done", "now", "slot"),
    [
        pytest.param(HOURLY, Done(), "01T10:05", "01T10:00", id="never run"),
        pytest.param(HOURLY, Done(at("01T10:00")), "01T10:59", None, id="done"),
        pytest.param(HOURLY, Done(at("01T10:00")), "01T11:00", "01T11:00", id="the very instant"),
        pytest.param(HOURLY, Done(at("01T10:00")), "03T11:30", "03T11:00", id="missed ones are one"),
        pytest.param(HOURLY, Done(at("01T10:00")), "01T09:58", None, id="clock set back"),
        pytest.param(replace(HOURLY, since=at("01T10:01")), Done(), "01T10:30", None, id="older than the policy"),
        pytest.param(replace(HOURLY, since=at("01T10:00")), Done(), "01T10:30", "01T10:00", id="since the slot"),
        pytest.param(SKIPPING, Done(at("01T08:00")), "01T10:10", "01T10:00", id="within the grace"),
        pytest.param(SKIPPING, Done(at("01T08:00")), "01T10:11", None, id="too late"),
        pytest.param(SKIPPING, Done(at("01T08:00"), at("01T10:00")), "01T10:30", "01T10:00", id="begun, so completed"),
        pytest.param(SKIPPING, Done(at("01T08:00"), at("01T09:00")), "01T10:30", None, id="begun is another one"),
        pytest.param(replace(HOURLY, schedule="0 0 29 2 *", since=at("01T00:00")), Done(), "02T00:00", None, id="rare"),
    ],
)
def test_what_is_due(item: Scheduled, done: Done, now: str, slot: str | None) -> None:
    """One policy at one instant."""
    expected = {} if slot is None else {"p": at(slot)}
    assert due_slots([item], {"p": done}, at(now)) == expected


def test_each_has_its_own_time_zone() -> None:
    """The same schedule in two time zones has different slots, whoever is asked first."""
    daily = replace(HOURLY, schedule="0 3 * * *")
    items = [replace(daily, policy_id=zone, time_zone=zone) for zone in ("Asia/Kathmandu", "UTC", "Europe/Vienna")]
    slots = {"Asia/Kathmandu": at("09T21:15"), "UTC": at("10T03:00"), "Europe/Vienna": at("10T01:00")}
    for order in (items, items[::-1]):
        assert due_slots(order, {}, at("10T12:00")) == slots


def test_what_is_remembered_ends_at_the_next_slot() -> None:
    """At the very instant of a slot it is the newest, whatever was asked before."""
    timetable = Timetable()
    assert newest_slot(HOURLY, at("01T10:05"), timetable) == at("01T10:00")
    assert newest_slot(HOURLY, at("01T11:00"), timetable) == at("01T11:00")


def test_jitter_delays() -> None:
    """Until its delay is over, the slot before it is the newest."""
    item = replace(HOURLY, jitter=Duration(seconds=1800))
    slot = at("01T10:00")
    begin = slot + delay("p", slot, item.jitter)
    assert begin > slot
    assert newest_slot(item, begin - dt.timedelta(milliseconds=1)) == at("01T09:00")
    assert newest_slot(item, begin) == slot


def test_jitter_is_not_lateness() -> None:
    """A run that begins when its delay is over is in time, however short the grace; after both it is too late."""
    item = replace(SKIPPING, jitter=Duration(seconds=10_800), schedule="0 0 * * *")
    slot = at("02T00:00")
    begin, grace = slot + delay("p", slot, item.jitter), dt.timedelta(minutes=10)
    assert begin - slot > grace
    for now in (begin, begin + grace):
        assert due_slots([item], {}, now) == {"p": slot}
    assert due_slots([item], {}, begin + grace + dt.timedelta(milliseconds=1)) == {}


def test_a_slot_in_the_future_is_put_right() -> None:
    """Where a clock was ahead by more than an hour, the newest slot counts as done; a little ahead is waited for."""
    now = at("01T10:30")
    for done in (at("20T00:00"), at("01T11:31")):
        assert wrong_slots([HOURLY], {"p": Done(done)}, now) == {"p": at("01T10:00")}
    assert wrong_slots([HOURLY], {"p": Done(at("01T11:30"))}, now) == {}
    assert due_slots([HOURLY], {"p": Done(at("01T10:00"))}, at("01T11:00")) == {"p": at("01T11:00")}


STEPS = st.lists(st.integers(0, 40_000), min_size=1, max_size=40)
ITEMS = st.builds(
    Scheduled,
    policy_id=st.sampled_from("abc"),
    schedule=st.sampled_from(["0 * * * *", "*/15 * * * *", "30 2 * * *", "0 0 * * 1"]),
    time_zone=st.sampled_from(["UTC", "Europe/Vienna", "America/New_York"]),
    jitter=st.none() | st.builds(Duration, seconds=st.integers(1, 7200)),
)


@given(ITEMS, STEPS)
def test_each_slot_is_due_once_and_in_order(item: Scheduled, steps: list[int]) -> None:
    """Whenever one looks: what is due is done, is never due again, and afterwards nothing is due at that instant."""
    now, done, seen, timetable = dt.datetime(2024, 3, 29, tzinfo=dt.UTC), Done(), [], Timetable()
    for seconds in steps:
        now += dt.timedelta(seconds=seconds)
        due = due_slots([item], {item.policy_id: done}, now, timetable)
        assert due == due_slots([item], {item.policy_id: done}, now), "what is remembered changes nothing"
        if due:
            slot = due[item.policy_id]
            assert slot + delay(item.policy_id, slot, item.jitter) <= now
            seen.append(slot)
            done = Done(slot)
        assert due_slots([item], {item.policy_id: done}, now, timetable) == {}
        assert done.done == newest_slot(item, now), "nothing that was missed is forgotten"
    assert seen == sorted(set(seen))


@given(ITEMS, STEPS, st.integers(0, 40))
def test_nobody_waits_after_a_wrong_clock(item: Scheduled, steps: list[int], wrong: int) -> None:
    """A clock that jumps ahead once and comes back costs no slot that comes after it."""
    now, done = dt.datetime(2024, 10, 25, tzinfo=dt.UTC), Done()
    for number, seconds in enumerate(steps):
        now += dt.timedelta(seconds=seconds)
        shown = now + dt.timedelta(days=1000) if number == wrong else now
        known = {item.policy_id: done}
        done = Done(wrong_slots([item], known, shown).get(item.policy_id, done.done))
        due = due_slots([item], {item.policy_id: done}, shown)
        done = Done(due.get(item.policy_id, done.done))
    done = Done(wrong_slots([item], {item.policy_id: done}, now).get(item.policy_id, done.done))
    for _ in range(2):
        now += dt.timedelta(days=8)
        assert item.policy_id in due_slots([item], {item.policy_id: done}, now)
        done = Done(newest_slot(item, now))


@pytest.mark.parametrize(
    ("item", "done", "now", "expected"),
    [
        pytest.param(HOURLY, Done(), "01T10:05", "01T10:00", id="due"),
        pytest.param(HOURLY, Done(at("01T10:00")), "01T10:05", "01T11:00", id="done"),
        pytest.param(replace(HOURLY, since=at("01T10:01")), Done(), "01T10:30", "01T11:00", id="older than the policy"),
        pytest.param(SKIPPING, Done(at("01T08:00")), "01T10:11", "01T11:00", id="too late"),
    ],
)
def test_next_times(item: Scheduled, done: Done, now: str, expected: str) -> None:
    """What is due has a time that is past; else it is that of the next slot."""
    assert next_times([item], {"p": done}, at(now)) == {"p": at(expected)}


@given(ITEMS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_due_exactly_at_its_next_time(item: Scheduled, start: int, since: int) -> None:
    """A policy that waits is due at the time that is told, and not a moment earlier."""
    now = at("01T00:00") + dt.timedelta(seconds=start)
    item = replace(item, since=at("01T00:00") + dt.timedelta(seconds=min(since, start)))
    done = {item.policy_id: Done(newest_slot(item, now))}
    time = next_times([item], done, now)[item.policy_id]
    assert time > now
    assert due_slots([item], done, time)
    assert not due_slots([item], done, time - dt.timedelta(milliseconds=1))
