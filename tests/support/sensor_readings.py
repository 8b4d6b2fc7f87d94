"""
One reading a minute, for a week: what tests give to RRDtool, to Whisper and to the strategy `downsample`, and how they
ask this one for what it made of them.

A step is a minute, numbered from the start of the week. RRDtool takes a reading for the step that ends with it, so
intervals are (start, end] there; here they are [start, end), as in Whisper. So that a reading lies in the same interval
everywhere, the row for RRDtool's reading of 12:05:00 has the time 12:04:59.999.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from support.databases import NUMBER, TIME, Database

# Seconds since 1970: Monday, 24 June 2024, 00:00 UTC, and a week later. Each archive's intervals begin there.
STEP, HOUR, DAY = 60, 3600, 86_400
START = 1_719_187_200
STEPS = 7 * DAY // STEP
END = START + STEPS * STEP
TABLE = "readings"
# What RRDtool prints has eleven digits; sums are added in another order.
CLOSE = 1e-9

Values = dict[int, float | None]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """
    What a sensor said.

    :param step: The number of its minute; that before the first one is -1.
    :param gauge: None: unknown.
    :param counter: None: unknown.
    :param seconds: For how much of its minute it had been going on when it was read.
    """

    step: int
    gauge: float | None
    counter: int | None
    seconds: int = STEP

    @property
    def at(self) -> int:
        """When it was read, in seconds: as a rule at the end of its minute."""
        return START + self.step * STEP + self.seconds

    @property
    def known(self) -> bool:
        """Whether anything was read."""
        return self.gauge is not None or self.counter is not None

    @property
    def row(self) -> dict[str, Any]:
        """As a row of the table."""
        return {"ts": iso(self.at - 0.001), "gauge": self.gauge, "counter": self.counter}


def iso(seconds: float) -> str:
    """An instant as both databases read it."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")


def make_readings(seed: int, lost: float = 0, resets: float = 0) -> list[Reading]:
    """
    A gauge that wanders, with two digits after the point, and a counter; one more reading before the first step.

    :param lost: How likely a value is unknown, on every other day; some stretches of 45 minutes are so altogether.
    :param resets: How likely the counter is reset, on these days.
    """
    chance = random.Random(seed)
    outages = {chance.randrange(STEPS // 45) for _ in range(24)} if lost else set()
    gauge, counter, found = 20.0, 1_000_000, []
    for step in range(-1, STEPS):
        bad = step * STEP // DAY % 2 == 1 and step >= 0
        gauge = round(gauge + chance.gauss(0, 2), 2)
        reset = chance.random() < resets and bad
        counter = chance.randrange(5000) if reset else counter + chance.randrange(100_000)
        known = [not bad or (chance.random() >= lost and step // 45 not in outages) for _ in range(2)]
        found.append(Reading(step=step, gauge=gauge if known[0] else None, counter=counter if known[1] else None))
    return found


def downsample(db: Database, readings: Sequence[Reading], period: str, levels: str) -> None:
    """Write readings as time goes by, and let the toolkit do its work in between and at the end."""
    day = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    db.create(TABLE, {"ts": TIME, "gauge": NUMBER, "counter": "BIGINT", "day": day}, by=["day"])
    db.policy("downsample", TABLE, period, levels=levels, counters=["counter"])
    # In the middle of an hour, and of five minutes.
    middle = len(readings) * 4 // 7 - 17
    # A run may leave something for the next one to expire.
    for part, runs in ((readings[:middle], 1), (readings[middle:], 2)):
        db.insert(TABLE, [reading.row for reading in part if reading.known])
        db.time.set(iso(part[-1].at))
        for _ in range(runs):
            report = db.run(accepted=True)
            assert report.ok, [row["error"] for row in db.journal() if row["error"]]


def fetch(db: Database, step: str, start: int, *metrics: str) -> dict[str, Values]:
    """
    What `fetch` answers from an instant to the end of the week, by metric and start of the bucket.

    :param start: In seconds; from here on each bucket must be as fine as asked.
    """
    since, until = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (start, END))
    answer = db.tool.fetch(
        FetchRequest(
            table_name=TABLE, table_schema=db.schema, start=since, end=until, step=parse_interval(step), metrics=metrics
        )
    )
    assert answer.notes == []
    times = [at.timestamp() for at, *_ in answer.rows if isinstance(at, dt.datetime)]
    columns = list(zip(*answer.rows, strict=True))[1 : 1 + len(metrics)]
    return {
        metric: dict(zip(map(int, times), map(_number, column), strict=True))
        for metric, column in zip(metrics, columns, strict=True)
    }


def read_level(db: Database, level: str, what: str, where: str = "TRUE") -> Values:
    """What a level's table says in plain SQL, by start of the bucket, within the week."""
    db.refresh(f"{TABLE}_{level}")
    query = f"SELECT ts, {what} FROM {db.q(f'{TABLE}_{level}')} WHERE {where} AND ts >= '{iso(START)}'"
    return {_seconds(at): _number(value) for at, value in db.rows(query)}


def assert_same(theirs: Mapping[int, float | None], ours: Mapping[int, float | None], tolerance: float = CLOSE) -> None:
    """The same buckets have values, and the same ones. What has none may be missing or None."""
    left, right = ({at: value for at, value in side.items() if value is not None} for side in (theirs, ours))
    assert left.keys() == right.keys(), sorted(left.keys() ^ right.keys())
    apart = [(at, left[at], right[at]) for at in left if not math.isclose(left[at], right[at], rel_tol=tolerance)]
    assert not apart, apart


def times(values: Mapping[int, float | None], factor: float) -> Values:
    """All values multiplied: what a rate is over some seconds."""
    return {at: None if value is None else value * factor for at, value in values.items()}


def within(values: Mapping[int, float | None], seconds: int) -> dict[int, list[float]]:
    """The values of a finer archive that are known, by the start of the bucket that they lie in."""
    found: dict[int, list[float]] = {}
    for at, value in sorted(values.items()):
        if value is not None:
            found.setdefault(at - at % seconds, []).append(value)
    return found


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _seconds(value: Any) -> int:
    """DuckDB gives datetimes, CrateDB milliseconds."""
    return int(value.timestamp() if isinstance(value, dt.datetime) else value / 1000)
