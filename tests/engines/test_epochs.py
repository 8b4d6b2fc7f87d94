"""
Time columns that are whole numbers, seconds or milliseconds since 1970: on both engines, for all strategies. What
counts in another unit than it is read in is blocked, and never expires by a guess.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.overview.lines import overview, table_lines
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import RollUp
from cratedb_retention.model.words import moment
from support.databases import TIME, Database
from support.tiers import DECIDED, others_on_duckdb

TICKS = {"s": 1, "ms": 1000}
# With 30 days at 2 July, the limit is 2 June.
LIMIT = 1_717_286_400
DAY = 86_400
UNITS = pytest.mark.parametrize("unit", ["s", "ms"])
SECONDS_DO = pytest.mark.parametrize("unit", ["s", *others_on_duckdb("ms")])


def fill(db: Database, name: str, seconds: list[int], ticks: int, **more: object) -> None:
    """A row for each instant, which is its name ``n``, too."""
    db.insert(name, [{"ts": second * ticks, "n": str(second), **more} for second in seconds])


def instant(seconds: int) -> dt.datetime:
    """As an aware ``datetime``."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def blocked(db: Database) -> str:
    """What a plan that does nothing says about problems; a run changes nothing either."""
    plan = db.tool.plan()
    assert plan.tasks == ()
    assert not db.run().ok
    assert db.tool.check()
    return "\n".join(hold.reason for hold in plan.needs_attention)


@UNITS
@pytest.mark.parametrize("kind", ["BIGINT", "INTEGER"])
def test_rows(db: Database, unit: str, kind: str) -> None:
    """Rows before the limit go, the row of the limit stays; INTEGER holds seconds."""
    if (kind, unit) == ("INTEGER", "ms"):
        pytest.skip("INTEGER is too small for milliseconds")
    db.create("events", {"ts": kind, "n": "TEXT"})
    fill(db, "events", [LIMIT - 1, LIMIT, LIMIT + DAY], TICKS[unit])
    db.policy("delete", "events", "30d", time_column="ts", time_unit=unit)
    assert db.tool.check() == []
    assert db.run().ok
    assert db.left("events") == [str(LIMIT), str(LIMIT + DAY)]


@UNITS
def test_limit_within_a_second(db: Database, unit: str) -> None:
    """A limit between two seconds takes the one before, and not the one after."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT"})
    fill(db, "events", [LIMIT, LIMIT + 1], TICKS[unit])
    db.policy("delete", "events", "30d", time_column="ts", time_unit=unit)
    db.time.set("2024-07-02T00:00:00.500+00:00")
    assert db.run().ok
    assert db.left("events") == [str(LIMIT + 1)]


@UNITS
def test_partitions_tell_the_unit(db: Database, unit: str) -> None:
    """Where a partition column is computed from the number, its expression says what that counts."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "day": db.epoch_day(unit)}, by=["day"])
    fill(db, "events", [LIMIT - DAY, LIMIT - 1, LIMIT, LIMIT + 1], TICKS[unit])
    db.policy("delete", "events", "30d")
    assert db.tool.check() == []
    report = db.run()
    assert (report.partitions, report.ok) == (1, True)
    assert db.left("events") == [str(LIMIT), str(LIMIT + 1)]


@SECONDS_DO
def test_rows_in_partitions(db: Database, unit: str) -> None:
    """A filter on another column deletes rows, also where a partition column is computed from the number."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "kind": "TEXT", "day": db.epoch_day(unit)}, by=["day"])
    fill(db, "events", [LIMIT - 1, LIMIT], TICKS[unit], kind="a")
    fill(db, "events", [LIMIT - 2], TICKS[unit], kind="b")
    db.policy("delete", "events", "30d", where={"kind": "a"})
    assert db.run().ok
    assert db.left("events") == [str(LIMIT - 2), str(LIMIT)]


@SECONDS_DO
def test_partitions_by_their_rows(db: Database, unit: str) -> None:
    """Of a partition column that says nothing, the rows do; one young row keeps the partition."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "part": "INTEGER"}, by=["part"])
    fill(db, "events", [LIMIT - DAY, LIMIT - 1], TICKS[unit], part=1)
    fill(db, "events", [LIMIT - DAY - 1, LIMIT], TICKS[unit], part=2)
    db.policy("delete", "events", "30d", time_column="ts", time_unit=unit, partition_column="part")
    report = db.run()
    assert (report.partitions, report.ok) == (1, True)
    assert db.left("events") == [str(LIMIT - DAY - 1), str(LIMIT)]


@UNITS
def test_partition_column_is_the_time(db: Database, unit: str) -> None:
    """A partition column of whole numbers can be the time itself."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT"}, by=["ts"])
    fill(db, "events", [LIMIT - DAY, LIMIT], TICKS[unit])
    db.policy("delete", "events", "30d", partition_column="ts", time_unit=unit)
    report = db.run()
    assert (report.partitions, report.ok) == (1, True)
    assert db.left("events") == [str(LIMIT)]


@SECONDS_DO
def test_archive_and_restore(db: Database, unit: str) -> None:
    """Partitions are archived, dropped and restored by a range of time."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "day": db.epoch_day(unit)}, by=["day"])
    fill(db, "events", [LIMIT - 3 * DAY, LIMIT - DAY, LIMIT], TICKS[unit])
    db.policy("snapshot", "events", "30d", time_column="ts", time_unit=unit)
    assert db.run().ok
    assert db.left("events") == [str(LIMIT)]
    db.tool.restore(RestoreRequest(table_name="events", table_schema=db.schema, start=instant(LIMIT - 2 * DAY)))
    assert db.left("events") == [str(LIMIT - DAY), str(LIMIT)]


@SECONDS_DO
@pytest.mark.parametrize("partitioned", [True, False])
def test_hold(db: Database, unit: str, partitioned: bool) -> None:
    """A legal hold on a range of time keeps what lies in it."""
    columns = {"ts": "BIGINT", "n": "TEXT"} | ({"day": db.epoch_day(unit)} if partitioned else {})
    db.create("events", columns, by=["day"] if partitioned else [])
    fill(db, "events", [LIMIT - 3 * DAY, LIMIT - 2 * DAY, LIMIT - DAY], TICKS[unit])
    db.policy("delete", "events", "30d", time_column="ts", time_unit=unit)
    db.tool.hold("events", db.schema, start=instant(LIMIT - 2 * DAY), end=instant(LIMIT - DAY))
    assert db.run().ok
    assert db.left("events") == [str(LIMIT - 2 * DAY)]


@SECONDS_DO
@DECIDED
def test_late_rows_between_two_levels(db: Database, unit: str) -> None:
    """A level's own time is no count: which days changed is known after a run that ended between two levels, too."""
    db.create("load", {"ts": "BIGINT", "v": "DOUBLE PRECISION"})
    first, last = LIMIT + 29 * DAY, LIMIT + 31 * DAY
    db.insert("load", [{"ts": at * TICKS[unit], "v": 1.0} for at in range(first, last, 7200)])
    db.policy("downsample", "load", "40d", levels="1h:60d,1d:forever", time_column="ts", time_unit=unit)
    db.time.set(instant(last).isoformat())
    assert db.run().ok
    db.insert("load", [{"ts": first * TICKS[unit] + 1, "v": 1.0}])
    prepared = db.tool.prepare()
    finer = replace(prepared, plan=replace(prepared.plan, tasks=prepared.plan.tasks[:1]))
    assert db.tool.run(finer).ok
    (step,) = (step for task in db.tool.plan().tasks for step in task.steps if isinstance(step, RollUp))
    assert step.rollup.table.name == "load_1d"
    assert [(window.since, window.until) for window in step.windows] == [(first * 1000, (first + DAY) * 1000)]
    assert db.run().ok
    for level in ("load_1h", "load_1d"):
        db.refresh(level)
        assert int(db.rows(f"SELECT sum(row_count) FROM {db.q(level)}")[0][0]) == 25
    assert db.tool.plan().tasks == ()


@UNITS
@pytest.mark.parametrize("partitioned", [True, *others_on_duckdb(False)])
@pytest.mark.some(2)
def test_downsample(db: Database, unit: str, partitioned: bool) -> None:
    """Levels are the same as of timestamps, `fetch` and the view read all of them, and raw rows expire."""
    columns = {"ts": "BIGINT", "host": "TEXT", "v": "DOUBLE PRECISION"}
    columns |= {"day": db.epoch_day(unit)} if partitioned else {}
    db.create("load", columns, by=["day"] if partitioned else [])
    first, last = LIMIT - 2 * DAY, LIMIT + 2 * DAY
    instants = range(first, last, 1800)
    db.insert("load", [{"ts": at * TICKS[unit], "host": "a", "v": float(i)} for i, at in enumerate(instants)])
    more = {"counters": ["v"]} if unit == "s" else {"aggregates": {"v": ["min", "max", "avg", "percentiles"]}}
    db.policy("downsample", "load", "30d", levels="1h:60d,1d:forever", time_column="ts", time_unit=unit, **more)
    assert db.run().ok
    assert db.run().ok
    gone = 96 if partitioned else 48  # Rows without partitions go by whole windows, which are months here.
    assert db.count("load") == len(instants) - gone
    assert db.count("load_1h") == len(instants) // 2
    assert db.tool.verify_rollups("load", db.schema) == []
    metric = "v:increase" if unit == "s" else "v:max"
    whole = (instant(first), instant(last), parse_interval("1d"))
    answer = db.tool.fetch(
        FetchRequest(
            table_name="load", table_schema=db.schema, start=whole[0], end=whole[1], step=whole[2], metrics=(metric,)
        )
    )
    expected = [47.0, 48.0, 48.0, 48.0] if unit == "s" else [47.0, 95.0, 143.0, 191.0]
    assert [row[1] for row in answer.rows] == expected
    hours = (instant(last - DAY), instant(last - DAY + 7200), parse_interval("30m"))
    fine = db.tool.fetch(
        FetchRequest(
            table_name="load",
            table_schema=db.schema,
            start=hours[0],
            end=hours[1],
            step=hours[2],
            metrics=(metric, "row_count"),
        )
    )
    assert [row[1:3] for row in fine.rows] == [(1.0 if unit == "s" else 144.0 + i, 1) for i in range(4)]
    seen = db.rows(f"SELECT count(*), min(ts), max(ts) FROM {db.q('load_all')}")[0]
    assert seen[0] == len(instants) - gone + gone // 2
    assert [at.timestamp() if hasattr(at, "timestamp") else at / 1000 for at in seen[1:]] == [first, last - 1800]


def test_seconds_in_partitions_of_milliseconds(db: Database) -> None:
    """Partitions that take seconds for milliseconds lie in 1970: blocked, until the unit is named."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "day": db.epoch_day("ms")}, by=["day"])
    fill(db, "events", [LIMIT - 400 * DAY, LIMIT - DAY, LIMIT + 29 * DAY], 1)
    policy = db.policy("delete", "events", "30d")
    assert "set time_unit to s" in blocked(db)
    assert db.count("events") == 3
    db.tool.edit_policy(policy.id or "", {"time_unit": "s"})
    assert db.run().ok
    assert db.count("events") == 3, "all are in the partition of 1970-01-19 or -20, with a young row"
    db.time.set("2124-07-02T00:00:00+00:00")
    assert db.run().ok
    assert db.count("events") == 0


def test_some_seconds_among_milliseconds(db: Database) -> None:
    """What was written in seconds by mistake is blocked, and the rest expires; naming the unit is the user's word."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "day": db.epoch_day("ms")}, by=["day"])
    fill(db, "events", [LIMIT - DAY, LIMIT], 1000)
    fill(db, "events", [LIMIT + 29 * DAY], 1)
    policy = db.policy("delete", "events", "30d")
    assert not db.run().ok
    assert db.left("events") == sorted([str(LIMIT), str(LIMIT + 29 * DAY)])
    db.tool.edit_policy(policy.id or "", {"time_unit": "ms"})
    assert db.run().ok
    assert db.left("events") == [str(LIMIT)]


@pytest.mark.parametrize(
    ("ticks", "unit", "said"),
    [
        (1, "ms", "set time_unit to s"),
        *others_on_duckdb(
            (1000, "s", "set time_unit to ms"),
            (1_000_000, "ms", "microseconds or nanoseconds"),
            (1_000_000_000, "ms", "microseconds or nanoseconds"),
            (1_000_000_000, "s", "set time_unit to ms"),
        ),
    ],
)
@pytest.mark.parametrize("strategy", ["delete", "downsample"])
@pytest.mark.some(5)
def test_wrong_unit(db: Database, ticks: int, unit: str, said: str, strategy: str) -> None:
    """Data that was written in another unit than the policy says is blocked, and all commands go on."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "v": "DOUBLE PRECISION"})
    fill(db, "events", [LIMIT - DAY, LIMIT, LIMIT + 29 * DAY], ticks)
    levels = {"levels": "1h:60d"} if strategy == "downsample" else {}
    db.policy(strategy, "events", "30d", time_column="ts", time_unit=unit, **levels)
    assert said in blocked(db)
    assert db.count("events") == 3
    assert len(overview(db.tool.prepare())) == 1


def test_microseconds_in_partitions(db: Database) -> None:
    """Partitions that take microseconds for milliseconds lie after the year 50,000, and no command fails for that."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "day": db.epoch_day("ms")}, by=["day"])
    fill(db, "events", [LIMIT - DAY, LIMIT], 1_000_000)
    db.policy("delete", "events", "30d")
    assert "microseconds or nanoseconds" in blocked(db)
    prepared = db.tool.prepare()
    lines = table_lines(prepared, lambda probes: prepared.facts.measurements, [], {}, {})
    assert [moment(line.oldest)[-3:] for line in lines] == [" ms"]
    assert db.count("events") == 2


def test_seconds_in_a_timestamp(db: Database) -> None:
    """A timestamp, too, may hold what was meant as seconds."""
    db.create("events", {"ts": TIME, "n": "TEXT"})
    db.fill("events", ["1970-01-20T20:00:00+00:00", "1970-01-20T21:00:00+00:00"])
    db.policy("delete", "events", "30d")
    assert "before 1980" in blocked(db)
    assert db.count("events") == 2


def test_one_plausible_row_is_enough(db: Database) -> None:
    """A table with a plausible row has old ones that expire, as devices without a clock write them."""
    db.create("events", {"ts": "BIGINT", "n": "TEXT"})
    fill(db, "events", [0, LIMIT], 1)
    db.policy("delete", "events", "30d", time_column="ts", time_unit="s")
    assert db.run().ok
    assert db.left("events") == [str(LIMIT)]


@pytest.mark.parametrize(
    ("kind", "attributes", "said"),
    [
        ("TEXT", {"time_column": "ts", "time_unit": "s"}, "not a whole number"),
        *others_on_duckdb(
            ("BIGINT", {"time_column": "ts"}, "set time_unit"),
            ("BIGINT", {"time_unit": "s"}, "set time_column"),
            ("DOUBLE PRECISION", {"time_column": "ts", "time_unit": "s"}, "not a whole number"),
            (TIME, {"time_column": "ts", "time_unit": "s"}, "remove it"),
        ),
    ],
)
def test_refused(db: Database, kind: str, attributes: dict[str, str], said: str) -> None:
    """What can't be is a problem that `check` says."""
    db.create("events", {"ts": kind, "n": "TEXT"})
    db.policy("delete", "events", "30d", **attributes)
    assert said in blocked(db)


@pytest.mark.parametrize("unit", ["us", "ns", "minutes"])
def test_other_units(db: Database, unit: str) -> None:
    """Other units are refused at once."""
    with pytest.raises(InvalidInput, match=r"[Uu]se s or ms"):
        db.policy("delete", "events", "30d", time_column="ts", time_unit=unit)


def test_computed_in_another_way(db: Database) -> None:
    """Of a partition column that is computed from a number in an unknown way, nothing is guessed."""
    expression = (
        "date_trunc('day', ts * 60000)" if db.product == "CrateDB" else "date_trunc('day', epoch_ms(ts * 60000))"
    )
    kind = (
        f"{'TIMESTAMP WITH TIME ZONE' if db.product == 'CrateDB' else 'TIMESTAMP'} GENERATED ALWAYS AS ({expression})"
    )
    db.create("events", {"ts": "BIGINT", "n": "TEXT", "day": kind}, by=["day"])
    db.insert("events", [{"ts": LIMIT // 60 - 1, "n": "old"}])
    db.policy("delete", "events", "30d")
    assert "whose unit is unknown" in blocked(db)
