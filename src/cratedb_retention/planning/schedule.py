"""
Determines which policies are due by their schedules. A slot is an instant that a schedule names; of several missed
slots, the newest stands for all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from cratedb_retention.model.schedule import Done, Misfire, Scheduled, delay, following, newest

# A completed slot lies further ahead than this only if a clock was wrong and has been set back since.
AHEAD = dt.timedelta(hours=1)
_REMEMBERED = 10_000


class Timetable:
    """Caches the slots before and after an instant, since the next instant mostly lies between the same two."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[dt.datetime | None, dt.datetime]] = {}

    def newest(self, schedule: str, time_zone: str, now: dt.datetime) -> dt.datetime | None:
        """The last slot at or before an aware instant, in UTC."""
        key = (schedule, time_zone)
        slot, until = self._known.get(key, (None, now))
        if slot is not None and slot <= now < until:
            return slot
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        slot = newest(schedule, time_zone, now)
        self._known[key] = (slot, following(schedule, time_zone, now) or now)
        return slot


def _begin(item: Scheduled, slot: dt.datetime) -> dt.datetime:
    return slot + delay(item.policy_id, slot, item.jitter)


def newest_slot(item: Scheduled, now: dt.datetime, timetable: Timetable | None = None) -> dt.datetime | None:
    """The last slot that has begun, including its delay."""
    slot = (timetable or Timetable()).newest(item.schedule, item.time_zone, now)
    while slot is not None and _begin(item, slot) > now:
        slot = newest(item.schedule, item.time_zone, slot - dt.timedelta(microseconds=1))
    return slot


def due_slots(
    scheduled: Iterable[Scheduled], done: Mapping[str, Done], now: dt.datetime, timetable: Timetable | None = None
) -> dict[str, dt.datetime]:
    """The slots of due policies; ``done`` may lack policies that never ran."""
    found, timetable = {}, timetable or Timetable()
    for item in scheduled:
        slot = newest_slot(item, now, timetable)
        if slot is not None and _is_due(item, slot, done.get(item.policy_id, Done()), now):
            found[item.policy_id] = slot
    return found


def _is_due(item: Scheduled, slot: dt.datetime, known: Done, now: dt.datetime) -> bool:
    if (item.since is not None and slot < item.since) or (known.done is not None and slot <= known.done):
        return False
    late, grace = now - _begin(item, slot), item.grace.approximate_seconds()
    # A slot that was begun is completed, however late.
    return item.misfire is not Misfire.SKIP or slot == known.begun or late.total_seconds() <= grace


def wrong_slots(
    scheduled: Iterable[Scheduled], done: Mapping[str, Done], now: dt.datetime, timetable: Timetable | None = None
) -> dict[str, dt.datetime | None]:
    """The slot to record instead, for policies whose last slot lies in the future since a clock was wrong."""
    return {
        item.policy_id: newest_slot(item, now, timetable)
        for item in scheduled
        if (last := done.get(item.policy_id, Done()).done) is not None and last > now + AHEAD
    }


def next_times(scheduled: Iterable[Scheduled], done: Mapping[str, Done], now: dt.datetime) -> dict[str, dt.datetime]:
    """When policies run next, including their delay; in the past if due. Policies without a next run are missing."""
    timetable, scheduled, found = Timetable(), list(scheduled), {}
    due = due_slots(scheduled, done, now, timetable)
    for item in scheduled:
        known, slot = done.get(item.policy_id, Done()), due.get(item.policy_id)
        slot = slot or _first_after(item, newest_slot(item, now, timetable) or now, known.done)
        if slot is not None:
            found[item.policy_id] = _begin(item, slot)
    return found


def overdue_since(item: Scheduled, known: Done, now: dt.datetime) -> dt.datetime | None:
    """When the oldest slot that has not run begins, including its delay; in the future if none is overdue."""
    unknown = known.done is None and item.since is None
    slot = newest(item.schedule, item.time_zone, now) if unknown else _first_after(item, known.done)
    return None if slot is None else _begin(item, slot)


def _first_after(item: Scheduled, *after: dt.datetime | None) -> dt.datetime | None:
    """The slot after all these instants that begins first; a slot may be delayed beyond the next one."""
    since = item.since and item.since - dt.timedelta(microseconds=1)
    slot = first = following(item.schedule, item.time_zone, max(filter(None, (*after, since))))
    while slot is not None and first is not None and slot < _begin(item, first):
        slot = following(item.schedule, item.time_zone, slot)
        first = min(first, slot, key=lambda each: _begin(item, each)) if slot is not None else first
    return first
