"""``forecast``: what it writes, as text with a chart, and for programs."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cratedb_retention.cli import forecast
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.forecast import Forecast, Part, Rate, Series
from cratedb_retention.model.time import DAY_MS, parse_instant, to_ms
from support.command import Command, Contents, FilledBy

# Thirty days until the last midnight, with 24 rows each; and a table of which there is only one day.
TABLES = """
    SET TimeZone = 'UTC';
    CREATE TABLE readings (ts TIMESTAMP, day TIMESTAMP GENERATED ALWAYS AS (date_trunc('day', ts)));
    INSERT INTO readings SELECT date_trunc('day', now()::TIMESTAMP) - INTERVAL (i) HOUR FROM range(1, 721) t(i);
    CREATE TABLE young (ts TIMESTAMP, day TIMESTAMP GENERATED ALWAYS AS (date_trunc('day', ts)));
    INSERT INTO young SELECT date_trunc('day', now()::TIMESTAMP) - INTERVAL (i) HOUR FROM range(1, 25) t(i);
"""
LARGE = """
    SET TimeZone = 'UTC';
    CREATE TABLE large (ts TIMESTAMP, v DOUBLE, day TIMESTAMP GENERATED ALWAYS AS (date_trunc('day', ts)));
    INSERT INTO large
        SELECT date_trunc('day', now()::TIMESTAMP) - INTERVAL (i % 720 + 1) HOUR, random() FROM range(400000) t(i);
"""


def fill(command: Command) -> None:
    """The tables and their policies."""
    with duckdb.connect(str(command.uri).removeprefix("duckdb:///")) as connection:
        connection.execute(TABLES)
    for name in ("readings", "young"):
        command.ok("create-policy", "--strategy=delete", f"--table-name={name}", "--retention-period=20d")


@pytest.fixture
def filled(filled_by: FilledBy) -> Command:
    """The command on these tables."""
    return filled_by(fill)


def test_as_text(filled: Command, contents: Contents) -> None:
    """A chart, a line for each table, what goes when, and what could not be measured; nothing is written."""
    before = contents()
    out = filled.ok("forecast", "--until=+90d")
    assert contents() == before
    assert out.startswith("Rows of all tables until ")
    (readings,) = [line for line in out.splitlines() if line.split()[:1] == ["main.readings"]]
    assert readings.split()[:3] == ["main.readings", "table", "720"]
    # Twenty days, and what there is of the present one.
    assert 480 <= int(readings.split()[3]) <= 504
    assert "28 days from " in readings
    assert readings.split()[4] == "720", "the greatest value"
    assert "unknown" in next(line for line in out.splitlines() if line.split()[:1] == ["main.young"])
    (gone,) = [line for line in out.splitlines() if " main.readings " in line and " delete " in line]
    assert gone.split()[-2] == "100"
    assert gone.split()[0] < gone.split()[1], "from when to when"
    assert "Note: main.young: no growth is assumed: too little to measure: 1 complete day, and 2 are needed" in out
    assert "Sizes are unknown, so it is unknown when the disks are full." in out


def test_on_a_narrow_terminal(filled: Command) -> None:
    """The chart is as wide as the terminal, and so are tables; sentences are wrapped by the terminal."""
    lines = filled.terminal(80, "forecast").splitlines()
    notes = next(i for i, line in enumerate(lines) if line.startswith("Note: "))
    assert max(len(line) for line in lines[:notes] if not line.startswith("Sizes are")) <= 80
    assert any("└" in line for line in lines)


def test_for_programs(filled: Command) -> None:
    """JSON and CSV have each day."""
    data = filled.data("forecast", "--until=+10d", "--price=1")
    assert len(data["times"]) == 11
    (readings,) = [series for series in data["series"] if series["table"] == "main.readings"]
    assert readings["partitions"] == [30, *[21] * 10]
    assert readings["growth"]["rows_per_day"] == 24
    assert (readings["bytes"], data["cost"], data["full_at"]) == (None, None, None)
    assert next(event["partitions"] for event in data["events"] if event["table"] == "main.readings") == 11
    rows = list(csv.DictReader(io.StringIO(filled.ok("forecast", "--until=+10d", "--format=csv"))))
    own = [row for row in rows if row["table"] == "main.readings"]
    assert [int(row["rows"]) for row in own] == readings["rows"]
    assert [row["date"][:13] for row in own] == [time[:13] for time in data["times"]]


def fill_large(command: Command) -> None:
    """A table that is large enough to tell its size, and its policy."""
    with duckdb.connect(str(command.uri).removeprefix("duckdb:///")) as connection:
        connection.execute(LARGE)
    command.ok("create-policy", "--strategy=delete", "--table-name=large", "--retention-period=20d")


def test_sizes_and_costs(filled_by: FilledBy, tmp_path: Path) -> None:
    """With a capacity and a price, it says when the disks are full, and what the data costs; a difference also."""
    large, file = filled_by(fill_large), tmp_path / "new.yaml"
    plain = large.data("forecast", "--until=+10d")
    assert (plain["cost"], plain["full_at"]) == (None, None)
    data = large.data("forecast", "--until=+10d", "--capacity=1MB", "--price=10000")
    assert data["full_at"] == data["times"][0]
    [series] = data["series"]
    rows = csv.DictReader(io.StringIO(large.ok("forecast", "--until=+10d", "--format=csv")))
    # A moment later, there is a little more of the present day.
    assert [int(row["bytes"]) for row in rows] == pytest.approx(series["bytes"], rel=1e-3)
    shown = large.ok("forecast", "--until=+10d")
    (sizes,) = re.findall(r"main\.large .* ([\d.]+) MiB +([\d.]+) MiB +[\d.]+ MiB", shown)
    assert [float(size) * 2**20 for size in sizes] == pytest.approx([series["bytes"][day] for day in (0, -1)], rel=0.03)
    file.write_text("policies:\n- {strategy: delete, table_name: large, retention_period: 5d}\n")
    out = large.ok("diff", "-f", str(file), "--until=+10d", "--price=10000")
    (said,) = re.findall(r"Cost: ([\d.]+) before, ([\d.]+) after: ([-+][\d.]+)\.", out)
    before, after, more = map(float, said)
    assert before == pytest.approx(data["cost"], abs=0.02)
    assert more == pytest.approx(after - before, abs=0.02) and after < before / 2


def test_some_policies(filled: Command) -> None:
    """A forecast of some policies is one of their tables."""
    [chosen] = [policy["id"] for policy in filled.data("list") if policy["table_name"] == "young"]
    data = filled.data("forecast", "--until=+10d", f"--policy={chosen}")
    assert [series["table"] for series in data["series"]] == ["main.young"]


def test_policies_of_a_file(filled: Command, tmp_path: Path, contents: Contents) -> None:
    """They replace the stored ones in the forecast only."""
    file, before = tmp_path / "policies.yaml", contents()
    file.write_text("policies:\n- {strategy: delete, table_name: readings, retention_period: 5d}\n")
    data = filled.data("forecast", "--until=+10d", "-f", str(file))
    assert [series["partitions"][-1] for series in data["series"]] == [6]
    assert contents() == before


def test_difference_between_policies(filled: Command, tmp_path: Path, contents: Contents) -> None:
    """How much data there will be under each, and how far it reaches back; what is the same is not shown."""
    file, before = tmp_path / "new.yaml", contents()
    policies = "policies:\n- {strategy: delete, table_name: readings, retention_period: PERIOD}\n"
    policies += "- {strategy: delete, table_name: young, retention_period: 20d}\n"
    file.write_text(policies.replace("PERIOD", "5d"))
    out = filled.ok("diff", "-f", str(file), "--until=+40d")
    (readings,) = [line for line in out.splitlines() if line.split()[:1] == ["main.readings"]]
    assert "-360" in readings.split()
    assert readings.split()[-4:] == ["21", "days", "6", "days"]
    assert "A stored policies" in out
    assert not [line for line in out.splitlines() if line.split()[:1] == ["main.young"]]
    data = filled.data("diff", "-f", str(file), "--until=+3d")
    assert next(series["partitions"][-1] for series in data["before"]["series"]) == 21
    assert next(series["partitions"][-1] for series in data["after"]["series"]) == 6
    assert "the same data until" in filled.ok("diff", "-f", str(file), "--base", str(file))
    assert contents() == before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--until=2020-01-01"], "end 2020-01-01: is not in the future. Choose a later one, such as +1y"),
        (["--until=+0d"], "is not in the future"),
        (["--until=+99y"], "is more than 10 years away. Choose an earlier one"),
        (["--until=then"], "instant 'then': not an ISO 8601 date and time"),
        (["--until="], "'--until': must not be empty"),
        (["--capacity=lots"], "--capacity 'lots': not a number of bytes. Write it like 2TB, 500GB or 1.5TiB"),
        (["--capacity=0"], "--capacity '0': not a number of bytes"),
        (["--capacity=-1TB"], "not a number of bytes"),
        (["--price=-1"], "'--price': -1.0 is not in the range x>=0"),
        (["--price=cheap"], "'cheap' is not a valid float"),
        (["--format=xml"], "'xml' is not one of"),
        (["-f", "/nowhere/policies.yaml"], "No such file"),
    ],
)
def test_wrong_input(filled: Command, options: list[str], complaint: str) -> None:
    """One line says what is wrong."""
    assert complaint in filled.refused(2, "forecast", *options)


def test_nothing_to_forecast(command: Command) -> None:
    """Without policies it says so."""
    assert "no tables to forecast" in command.ok("forecast")


@pytest.mark.parametrize(
    ("capacity", "other", "said"),
    [
        (900, 230, "900.0 GiB, of which other data takes 230.0 GiB; they are not full until 2024-07-04: at most 70 %."),
        (500, 0, "500.0 GiB; they are not full until 2024-07-04: at most 80 %."),
        (500, 200, "500.0 GiB, of which other data takes 200.0 GiB. They are full on 2024-07-03, in 2 days."),
        (300, 250, "300.0 GiB, of which other data takes 250.0 GiB. They are full already."),
        (50_000, 0, "48.8 TiB; they are not full until 2024-07-04: less than 1 %."),
    ],
)
def test_when_the_disks_are_full(capacity: int, other: int, said: str) -> None:
    """A sentence says when, with other data on them, or how full they become; others have sizes and costs."""
    name, sizes = TableName("doc", "metrics"), [size * 2**30 for size in (100, 200, 400, 300)]
    about: dict[str, Any] = {"part": Part.TABLE, "table": name, "source": name, "rate": Rate(), "shards": None}
    series = Series(**about, rows=[1] * 4, size=sizes, partitions=[0] * 4, reach=[None] * 4)
    archive = Series(
        **about | {"part": Part.ARCHIVE}, rows=[1] * 4, size=[2**30] * 3 + [2**31], partitions=[1] * 4, reach=[None] * 4
    )
    start = to_ms(parse_instant("2024-07-01"))
    found = Forecast(
        times=[start + day * DAY_MS for day in range(4)], series=(series, archive), events=(),
        capacity=capacity * 2**30, other=other * 2**30, price=0.1,
    )  # fmt: skip
    assert list(forecast._conclusions(found)) == [
        "Tables: 100.0 GiB now, 300.0 GiB on 2024-07-04; most on 2024-07-03: 400.0 GiB.",
        "Archives: 1.0 GiB now, 2.0 GiB on 2024-07-04.",
        f"The disks have {said}",
        "Cost: 2.47 until then; 10.74 a month now, 32.21 a month then.",
    ]


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (Rate(daily=1000.4, units=28, unit="day"), "1,000"),
        (Rate(daily=1000, trend=2, units=28, unit="day"), "1,000, +61 a month"),
        (
            Rate(daily=1000, trend=-0.5, units=28, unit="day", rhythm=(2, 2, 0.6, 0.6, 0.6, 0.6, 0.6)),
            "1,000, -15 a month, by weekday",
        ),
        (Rate(units=28, unit="day"), "0"),
        (Rate(why="not written any more"), None),
        (Rate(known=False), "unknown"),
    ],
)
def test_growth(rate: Rate, said: str | None) -> None:
    """Rows per day, whether they become more or fewer, and whether some days of the week have more."""
    name = TableName("doc", "metrics")
    series = Series(
        part=Part.TABLE, table=name, source=name, rate=rate, shards=None, rows=(), size=None, partitions=(), reach=()
    )
    assert forecast._growth(series) == said
