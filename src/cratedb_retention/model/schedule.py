"""
Schedules: when a policy runs by itself. A cron expression of five fields, or ``@hourly``, ``@daily``, ``@weekly``,
``@monthly``, ``@yearly``.

The rules are those of Debian's cron and the library ``cronsim``: what names an hour happens once, also where clocks are
set back; where they are set forward it happens right after the gap. ``*`` as minute or hour follows the time that
passes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

from cronsim import CronSim, CronSimError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration, parse_duration
from cratedb_retention.model.words import Choice

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# No zone sets its clocks back by more; within that, what a clock shows does not tell which of two instants it is.
_LONGEST_SHIFT = dt.timedelta(hours=4)
_HOUR = Duration(seconds=3600)


class Misfire(Choice):
    """What becomes of runs that were missed, since nothing ran then."""

    CATCH_UP = "catch-up", "Catch up by one run"
    SKIP = "skip", "Skip it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """When a policy runs by itself."""

    policy_id: str
    schedule: str
    time_zone: str = "UTC"
    since: dt.datetime | None = None  # Slots before this aware instant are none of its; None: all slots are.
    misfire: Misfire = Misfire.CATCH_UP
    grace: Duration = _HOUR  # With ``skip``, how late a run may begin.
    jitter: Duration | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a policy's slots."""

    done: dt.datetime | None = None  # The last that was done.
    begun: dt.datetime | None = None  # The last that was begun.


def parse_schedule(value: object) -> str:
    """A schedule with single blanks, nicknames in lower case; raises InvalidInput if it is none, or no day fits it."""
    text = " ".join(str(value).split())
    if text.lower() in NICKNAMES:
        return text.lower()
    remedy = "write five fields like `0 3 * * *` (minute, hour, day, month, weekday), or @daily"
    if len(text.split()) != 5:
        raise InvalidInput(f"schedule {text!r}", "not a cron expression", remedy)
    try:
        next(CronSim(text, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)))
    except (CronSimError, ValueError) as error:
        raise InvalidInput(f"schedule {text!r}", f"not a cron expression ({str(error).lower()})", remedy) from None
    except StopIteration:
        raise InvalidInput(f"schedule {text!r}", "no day fits it", "look at day and month") from None
    return text


def parse_jitter(value: object) -> Duration:
    """Read by how much runs are spread; raises InvalidInput if it is no duration, or longer than a day."""
    jitter = parse_duration(value)
    if jitter.forever or jitter.months or jitter.seconds > 86_400:
        raise InvalidInput(f"jitter {jitter}", "longer than a day", "write it like 10m")
    return jitter


def newest(schedule: str, zone: str, now: dt.datetime) -> dt.datetime | None:
    """
    The last slot at or before an aware instant, in UTC; None if there is none within fifty years. Searched for from a
    few hours later, since where clocks are set back, what they show comes twice.
    """
    return next((slot for slot in _slots(schedule, zone, now, reverse=True) if slot <= now), None)


def following(schedule: str, zone: str, now: dt.datetime) -> dt.datetime | None:
    """The first slot after an aware instant, in UTC; None if there is none within fifty years."""
    return next((slot for slot in _slots(schedule, zone, now) if slot > now), None)


def _slots(schedule: str, zone: str, now: dt.datetime, reverse: bool = False) -> Iterator[dt.datetime]:
    expression = NICKNAMES.get(schedule, schedule)
    if any(field.startswith("*") for field in expression.split()[:2]):
        # Time passes evenly; a search backwards is for what lies before the next second.
        begin = now.replace(microsecond=0) + dt.timedelta(seconds=1) if reverse else now
    else:  # What names an hour has rules of its own for daylight saving time, as in cronsim.
        begin = now + _LONGEST_SHIFT if reverse else now - _LONGEST_SHIFT
    found = CronSim(expression, begin.astimezone(zoneinfo.ZoneInfo(zone)), reverse=reverse)
    return (slot.astimezone(dt.UTC) for slot in found)


def delay(policy_id: str, slot: dt.datetime, jitter: Duration | None) -> dt.timedelta:
    """How long after its slot a policy begins: always the same, less than the jitter, as good as random."""
    if not jitter or not jitter.seconds:
        return dt.timedelta()
    digest = hashlib.sha256(f"{policy_id} {slot.astimezone(dt.UTC).isoformat()}".encode()).digest()
    return dt.timedelta(milliseconds=int.from_bytes(digest[:8]) % (jitter.seconds * 1000))
