"""
Forecasts against truth: a program that the forecast does not know writes rows day by day, and the tool really runs. The
forecast was made before.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest.mock import patch

import pytest

from cratedb_retention.errors import InvalidInput, Unsupported
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Forecast, Part, Series, differences
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.time import parse_instant
from cratedb_retention.planning.forecast.simulation import Simulation
from cratedb_retention.planning.forecast.world import World
from support.databases import TIME, CrateDatabase, Database, DuckDatabase, DuckTemplate
from support.tiers import examples

NOW = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
PAST = 70
DAY = dt.timedelta(days=1)
# The rows of a day, by the number of days since now: hours have equally many of them.
Rate = Callable[[int], int]
UNITS = {unit: f"{TIME} GENERATED ALWAYS AS (date_trunc('{unit}', ts))" for unit in ("hour", "day", "week", "month")}


def steady(day: int) -> int:
    """As many rows each day."""
    return 48


def more(day: int) -> int:
    """Twice as many."""
    return 96


def weekly(day: int) -> int:
    """Fewer rows on weekends."""
    return 24 if day % 7 in (5, 6) else 72


def growing(day: int) -> int:
    """More rows each day."""
    return 24 * (100 + day)


def noisy(day: int) -> int:
    """Up to half more or fewer rows each day."""
    return 24 * random.Random(day).randint(5, 15)


# How each table is partitioned, and how it grows.
TABLES: Mapping[str, tuple[str, Rate]] = {
    "hourly": ("hour", steady),
    "daily": ("day", weekly),
    "more": ("day", growing),
    "weekly": ("week", steady),
    "monthly": ("month", steady),
    "archived": ("day", steady),
    "sensors": ("day", steady),
    "sensors_b": ("day", more),
    "plain": ("", weekly),
    "noisy": ("day", noisy),
}
POLICIES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("delete", "hourly", "3d", {}),
    ("delete", "daily", "30d", {}),
    ("delete", "more", "60d", {"time_zone": "Europe/Vienna"}),
    ("delete", "weekly", "20d", {"recoverable": "9d"}),
    ("delete", "monthly", "2mo", {"schedule": "0 0 * * *"}),
    ("snapshot", "archived", "7d", {"archive_period": "15d"}),
    ("downsample", "sensors*", "10d", {"levels": "1h:20d,1d:forever"}),
    ("delete", "plain", "40d", {}),
    # The sum of 30 such days strays from its mean by 15 % within a year, which is not to be foreseen.
    ("delete", "noisy", "60d", {}),
)

ARCHIVES = ("archive of archived", "archive of weekly")


def write(db: Database, table: str, days: range, rate: Rate) -> None:
    """Write the rows of some days, evenly over their hours."""
    each = " UNION ALL ".join(f"SELECT {day} AS day, {rate(day)} AS many" for day in days)
    db.sql(
        f"INSERT INTO {db.q(table)} (ts, value)"
        f" SELECT TIMESTAMP '{NOW:%Y-%m-%d}' + to_days(day) + to_seconds(i * (86400 // many)), i"
        f" FROM ({each}) AS d, range(many) AS r(i)"
    )


def fill(db: Database) -> None:
    """The tables, with some past, and their policies; a first run does what is due."""
    for name, (unit, rate) in TABLES.items():
        columns = {"ts": TIME, "value": "DOUBLE PRECISION"} | ({"part": UNITS[unit]} if unit else {})
        db.create(name, columns, by=["part"] if unit else [])
        write(db, name, range(-PAST, 0), rate)
    for strategy, name, period, more in POLICIES:
        db.policy(strategy, name, period, **more)
    db.time.set(NOW.isoformat())
    assert db.run().ok


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DuckTemplate:
    """A DuckDB file with the tables, filled once."""
    return DuckTemplate(tmp_path_factory.mktemp("forecast"), fill)


@pytest.fixture
def lab(template: DuckTemplate) -> Iterator[DuckDatabase]:
    """The tables as they are now."""
    bench = template.open()
    bench.time.set(NOW.isoformat())
    yield bench
    bench.close()


Found = dict[str, tuple[int, int | None, int | None]]


def tables_of(db: Database) -> Found:
    """The rows of each table, its partitions, if it has any, and for how many days there are rows."""
    found: Found = {}
    levels = {name: "rollup_partition" for raw in ("sensors", "sensors_b") for name in (f"{raw}_1h", f"{raw}_1d")}
    for name in (*TABLES, *levels):
        part = {"plain": None, **levels}.get(name, "part")
        counted, oldest = f"count(DISTINCT {part})" if part else "NULL", f"min({part or 'ts'})"
        ((rows, partitions, start),) = db.rows(f"SELECT count(*), {counted}, {oldest} FROM {db.q(name)}")
        days = None if start is None else -((start.replace(tzinfo=dt.UTC) - db.tool.clock.now()) // DAY)
        found[name] = rows, partitions, days
    archives = db.q("retention_snapshot", db.own_schema)
    archived = db.rows(f'SELECT table_name, sum("rows"), count(*) FROM {archives} GROUP BY 1')
    found.update(dict.fromkeys(ARCHIVES, (0, 0, None)))
    return {**found, **{f"archive of {name}": (int(rows), snapshots, None) for name, rows, snapshots in archived}}


def by_name(found: Forecast) -> dict[str, Series]:
    """The series by the name of their table."""
    return {f"{'archive of ' * (s.part is Part.ARCHIVE)}{s.table.name}": s for s in found.series}


def forecast(db: Database, days: int, now: dt.datetime = NOW, **more: Any) -> Forecast:
    """A forecast of some days."""
    return db.tool.forecast(now + days * DAY, **more)


@pytest.mark.long("make test compares the bytes of real growth, and days of plans in tests/planning")
@pytest.mark.timeout(3600)
@pytest.mark.slow("the tool runs once for each simulated day, on ten tables")
def test_regular_growth_is_foreseen_exactly(lab: DuckDatabase) -> None:
    """On each day, each table, level and archive has the rows, partitions and days of data that were foreseen."""
    ahead = examples(4, long=366)
    series, truth = by_name(forecast(lab, ahead)), [tables_of(lab)]
    for day in range(ahead):
        for name, (_, rate) in TABLES.items():
            write(lab, name, range(day, day + 1), rate)
        lab.time.set((NOW + (day + 1) * DAY).isoformat())
        assert lab.run().ok
        truth.append(tables_of(lab))
    for name in truth[0]:
        rows = [of[name][0] for of in truth]
        assert list(series[name].rows) == (pytest.approx(rows, rel=0.15) if name == "noisy" else rows), name
        partitions = [of[name][1] for of in truth]
        if None not in partitions:
            assert list(series[name].partitions) == partitions, name
        if not name.startswith("archive of"):
            assert list(series[name].reach) == [of[name][2] for of in truth], name


def test_alike_tables_are_planned_once(lab: DuckDatabase) -> None:
    """Of two cascades by one policy, one has the fate of the other; the forecast is the same as for each by itself."""
    planned: set[str] = set()
    make_plan = World.plan

    def plan(self: World, *arguments: Any) -> Plan:
        planned.update(name.name for name in self.tables if name.name in ("sensors", "sensors_b"))
        return make_plan(self, *arguments)

    with patch.object(World, "plan", plan):
        found = forecast(lab, 60)
        assert len(planned) == 1
        with patch.object(Simulation, "_describe", lambda *_: None):
            assert forecast(lab, 60) == found
        assert len(planned) == 2


def test_what_it_was_measured_from(lab: DuckDatabase) -> None:
    """It says which time range, and what it found."""
    series = by_name(forecast(lab, 10))
    assert series["daily"].rate.source == "28 days from 2024-06-03 to 2024-07-01"
    assert series["daily"].rate.has_rhythm
    assert series["monthly"].rate.source == "2 months from 2024-05-01 to 2024-07-01"
    assert series["more"].rate.trend == pytest.approx(24)
    assert series["plain"].rate.units == 35
    assert series["plain"].rate.daily == pytest.approx(72 * 5 / 7 + 24 * 2 / 7)
    assert series["sensors_1d"].rate.daily == 1


def test_policies_of_a_file_are_not_stored(lab: DuckDatabase) -> None:
    """A forecast with other policies: the table of one is kept longer, that of another is no longer governed."""
    before = lab.tool.policies()
    text = "policies:\n- {strategy: delete, table_schema: lab, table_name: daily, retention_period: 60d}\n"
    found = by_name(forecast(lab, 100, policies=parse_policies(text, "policies.yaml")))
    assert set(found) == {"daily", *ARCHIVES}
    assert found["daily"].partitions[-1] == 60
    assert lab.tool.policies() == before
    text = text.replace("delete", "downsample").replace("60d", "30d, levels: '1d:forever'")
    found = by_name(forecast(lab, 100, policies=parse_policies(text, "policies.yaml")))
    assert found["daily"].partitions[-1] == 30
    assert found["daily_1d"].rows[-1] - found["daily_1d"].rows[1] == 99
    assert lab.tool.policies() == before
    assert not lab.exists("daily_1d")


def test_chosen_policies(lab: DuckDatabase) -> None:
    """Only the tables of the chosen policies are shown, with their levels, and what is blocked there."""
    first = lab.tool.policies()[0].policy
    for name in (first.table_name, "elsewhere"):
        lab.policy("delete", name, "9y", where={"nosuch": "x"})
    found = forecast(lab, 5, selection=Selection(policy_id=first.id))
    assert len({series.source for series in found.series}) == 1
    assert [each.table.name for each in found.blocked] == [first.table_name]


def test_tables_without_a_policy_are_compared(lab: DuckDatabase) -> None:
    """Where only one of two sets of policies names a table, it grows under the other; and it is measured once."""
    file = "policies:\n- {{strategy: delete, table_schema: lab, table_name: {}, retention_period: {}}}\n"
    one, other = (parse_policies(file.format(*each), "x") for each in (("daily", "60d"), ("plain", "20d")))
    before, after = lab.tool.compare(NOW + 100 * DAY, other, one)
    tables = [{s.table.name: s for s in each.series if s.part is Part.TABLE} for each in (before, after)]
    assert [set(each) for each in tables] == [{"daily", "plain"}] * 2
    assert [each["daily"].partitions[-1] for each in tables] == [60, 30 + 100]
    assert [each["plain"].reach[-1] for each in tables] == [40 + 100, 20]
    found = {each.about.title: each for each in differences(before, after)}
    assert set(found) == {"lab.daily", "lab.plain"}
    others = [each.policy for each in lab.tool.policies() if not each.policy.strategy.traits.rolls_up]
    series = by_name(lab.tool.compare(NOW + 50 * DAY, others)[1])
    assert series["sensors"].partitions[-1] == 10 + 50
    assert len(set(series["sensors_1h"].rows)) == 1, "no policy rolls it up"


def test_one_table_of_many(lab: DuckDatabase) -> None:
    """With its levels and archives, as in a forecast of all tables."""
    whole = forecast(lab, 30)
    for name, levels in (("sensors", 2), ("weekly", 0)):
        found = forecast(lab, 30, table=TableName("lab", name))
        assert found.series == tuple(each for each in whole.series if each.source.name == name)
        assert len([each for each in found.series if each.part is Part.LEVEL]) == levels
        assert found.events == tuple(e for e in whole.events if e.table in {each.table for each in found.series})


def test_one_of_tables_with_one_size(duck: DuckDatabase) -> None:
    """Tables that share a maximum size are simulated together, and what becomes of the others is not shown."""
    for name in ("one", "other"):
        duck.create(name, {"ts": TIME, "value": "DOUBLE PRECISION", "part": UNITS["day"]}, by=["part"])
        write(duck, name, range(-9, 0), lambda day: 2)
    duck.policy("delete", "o*", "3d", max_size="1TB", min_retention="1d", max_size_per="policy")
    duck.time.set(NOW.isoformat())
    found = forecast(duck, 3, table=TableName("lab", "one"))
    assert {each.table.name for each in found.events} == {each.table.name for each in found.series} == {"one"}


def test_a_level_is_shown_with_its_table(duck: DuckDatabase) -> None:
    """Who asks for a rollup sees what it is made from as well."""
    duck.create("one", {"ts": TIME, "value": "DOUBLE PRECISION", "part": UNITS["day"]}, by=["part"])
    write(duck, "one", range(-9, 0), lambda day: 2)
    duck.policy("downsample", "one", "30d", levels="1d:forever")
    duck.time.set(NOW.isoformat())
    assert duck.run().ok
    found = forecast(duck, 3, table=TableName("lab", "one_1d"))
    assert [each.table.name for each in found.series] == ["one", "one_1d"]


def test_archives_under_policies_of_a_file(duck: DuckDatabase) -> None:
    """A policy of a file that does the same as a stored one ends its archives as well."""
    duck.create("one", {"ts": TIME, "value": "DOUBLE PRECISION", "part": UNITS["day"]}, by=["part"])
    write(duck, "one", range(-9, 0), lambda day: 2)
    stored = duck.policy("snapshot", "one", "3d", archive_period="6d")
    duck.time.set(NOW.isoformat())
    assert duck.run().ok
    there, then = (forecast(duck, 5, policies=rules) for rules in (None, [stored.model_copy(update={"id": None})]))
    rows = by_name(there)["archive of one"].rows
    assert by_name(then)["archive of one"].rows == rows
    assert rows[1] < rows[0]


def test_nothing_is_written(lab: DuckDatabase) -> None:
    """Neither the tables of the toolkit nor those of the user change."""
    before, journal = tables_of(lab), lab.journal()
    forecast(lab, 400)
    assert tables_of(lab) == before
    assert lab.journal() == journal


def test_impossible_requests(lab: DuckDatabase) -> None:
    """An end that is past, and a policy that DuckDB cannot have."""
    with pytest.raises(InvalidInput, match="not in the future"):
        lab.tool.forecast(parse_instant("2020-01-01"))
    text = "policies:\n- {strategy: compact, table_name: daily, retention_period: 60d}\n"
    with pytest.raises(Unsupported):
        forecast(lab, 5, policies=parse_policies(text, "policies.yaml"))


@pytest.mark.parametrize(("rate", "exact"), [(lambda day: 40_000, 0.05), (lambda day: 2_500 * noisy(day) // 15, 0.15)])
@pytest.mark.some(1)
@pytest.mark.slow("in the long tier, it writes the rows of a year")
def test_bytes_on_duckdb(duck: DuckDatabase, rate: Rate, exact: float) -> None:
    """Within 5 % of the blocks that the table has in the file, after ten days or a year; if growth is noisy, 15 %."""
    duck.create("large", {"ts": TIME, "value": "DOUBLE PRECISION", "part": UNITS["day"]}, by=["part"])
    duck.policy("delete", "large", "2y")

    def write_days(first: int, last: int) -> int:
        for day in range(first, last):
            start = (NOW + day * DAY).replace(tzinfo=None).isoformat()
            duck.sql(
                f"INSERT INTO {duck.q('large')} (ts, value)"
                f" SELECT TIMESTAMP '{start}' + INTERVAL (i * 2) SECOND, random() FROM range({rate(day)}) AS r(i)"
            )
        duck.sql("CHECKPOINT")
        blocks = "SELECT count(DISTINCT block_id) FROM pragma_storage_info('lab.large') WHERE persistent"
        ((count,),) = duck.rows(blocks)
        return int(count) * 262_144

    ahead, now = examples(10, 366), write_days(-examples(20, 56), 0)
    duck.time.set(NOW.isoformat())
    found = forecast(duck, ahead)
    file_size = next(duck.directory.parent.glob("*.duckdb")).stat().st_size
    (series,) = found.series
    assert series.size is not None
    assert series.size[0] == pytest.approx(now, rel=0.05)
    assert series.size[-1] == pytest.approx(write_days(0, ahead), rel=exact)
    assert series.shards is None
    # Beside the table, there are the toolkit's own tables in the file.
    assert found.other == file_size - series.size[0]
    assert found.capacity is not None
    assert found.full is None


@pytest.fixture
def metrics(crate: CrateDatabase) -> Iterator[CrateDatabase]:
    """A table on CrateDB with forty daily partitions of two shards each."""
    crate.sql(
        f"CREATE TABLE {crate.q('metrics')} (ts {TIME}, value DOUBLE PRECISION, day {UNITS['day']})"
        " CLUSTERED INTO 2 SHARDS PARTITIONED BY (day) WITH (number_of_replicas = 0)"
    )
    for day in range(-20, 0):
        write_crate(crate, day)
    crate.refresh("metrics")
    crate.time.set(NOW.isoformat())
    yield crate


def write_crate(crate: CrateDatabase, day: int) -> None:
    """Write the rows of a day."""
    start = int((NOW + day * DAY).timestamp() * 1000)
    crate.sql(
        f"INSERT INTO {crate.q('metrics')} (ts, value)"
        f" SELECT {start} + i * 60000, random() FROM generate_series(0, 1439) AS r(i)"
    )


def test_sizes_and_shards_on_cratedb(metrics: CrateDatabase) -> None:
    """Rows, partitions and shards are exact after ten days of real runs."""
    metrics.policy("delete", "metrics", "12d")
    assert metrics.run().ok
    found = forecast(metrics, 10, price=1.0)
    series = by_name(found)["metrics"]
    for day in range(10):
        write_crate(metrics, day)
        metrics.refresh("metrics")
    metrics.time.set((NOW + 10 * DAY).isoformat())
    assert metrics.run().ok
    query = "SELECT count(*), count(DISTINCT partition_ident) FROM sys.shards WHERE schema_name = ? AND primary"
    ((shards, partitions),) = metrics.rows(query, [metrics.schema])
    assert series.rows[-1] == metrics.count("metrics") == 12 * 1440
    assert (series.partitions[-1], partitions) == (12, 12)
    assert series.shards is not None
    assert (series.shards[-1], shards) == (24, 24)
    assert series.size is not None
    # CrateDB tells a size that is up to ten seconds old; how exact bytes are is tested on DuckDB.
    assert series.size[-1] > 0
    assert found.capacity is not None
    assert 0 < found.other < found.capacity
    assert found.cost is not None
    assert found.cost > 0
