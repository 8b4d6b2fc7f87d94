"""
Schedules of policies: cron expressions of five fields, or ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``,
``@yearly``.

The rules are those of Debian's cron and the library ``cronsim``. A schedule that names an hour runs once, also when
clocks are set back; when they are set forward, it runs right after the gap. With ``*`` as minute or hour, it follows
the elapsed time.
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
# No zone sets its clocks back by more. Within that time, a local time may mean two instants.
_LONGEST_SHIFT = dt.timedelta(hours=4)
_HOUR = Duration(seconds=3600)


class Misfire(Choice):
    """What happens after missed runs."""

    CATCH_UP = "catch-up", "Run once"
    SKIP = "skip", "Wait for the next slot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """The schedule of a policy, and its options."""

    policy_id: str
    schedule: str
    time_zone: str = "UTC"
    since: dt.datetime | None = None  # Slots before this aware instant do not count; None: all slots count.
    misfire: Misfire = Misfire.CATCH_UP
    grace: Duration = _HOUR  # With ``skip``, how late a run may start.
    jitter: Duration | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The progress of a policy's slots."""

    done: dt.datetime | None = None  # The last slot that was done.
    begun: dt.datetime | None = None  # The last slot that was started.


def parse_schedule(value: object) -> str:
    """Normalize a schedule; raises InvalidInput if it is not a cron expression, or matches no day."""
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
        raise InvalidInput(f"schedule {text!r}", "matches no day", "check day and month") from None
    return text


def parse_jitter(value: object) -> Duration:
    """Read a jitter; raises InvalidInput if it is not a duration, or longer than a day."""
    jitter = parse_duration(value)
    if jitter.forever or jitter.months or jitter.seconds > 86_400:
        raise InvalidInput(f"jitter {jitter}", "longer than a day", "write it like 10m")
    return jitter


def newest(schedule: str, zone: str, now: dt.datetime) -> dt.datetime | None:
    """
    The last slot at or before an aware instant, in UTC; None if there is none within fifty years. The search starts a
    few hours later, since local times occur twice when clocks are set back.
    """
    return next((slot for slot in _slots(schedule, zone, now, reverse=True) if slot <= now), None)


def following(schedule: str, zone: str, now: dt.datetime) -> dt.datetime | None:
    """The first slot after an aware instant, in UTC; None if there is none within fifty years."""
    return next((slot for slot in _slots(schedule, zone, now) if slot > now), None)


def _slots(schedule: str, zone: str, now: dt.datetime, reverse: bool = False) -> Iterator[dt.datetime]:
    expression = NICKNAMES.get(schedule, schedule)
    if any(field.startswith("*") for field in expression.split()[:2]):
        # These follow the elapsed time; a search backwards starts at the next full second.
        begin = now.replace(microsecond=0) + dt.timedelta(seconds=1) if reverse else now
    else:  # Schedules that name an hour have rules of their own for daylight saving time, as in cronsim.
        begin = now + _LONGEST_SHIFT if reverse else now - _LONGEST_SHIFT
    found = CronSim(expression, begin.astimezone(zoneinfo.ZoneInfo(zone)), reverse=reverse)
    return (slot.astimezone(dt.UTC) for slot in found)


def delay(policy_id: str, slot: dt.datetime, jitter: Duration | None) -> dt.timedelta:
    """The delay of a policy after a slot: pseudo-random, the same for each call, less than the jitter."""
    if not jitter or not jitter.seconds:
        return dt.timedelta()
    digest = hashlib.sha256(f"{policy_id} {slot.astimezone(dt.UTC).isoformat()}".encode()).digest()
    return dt.timedelta(milliseconds=int.from_bytes(digest[:8]) % (jitter.seconds * 1000))
