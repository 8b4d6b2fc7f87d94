"""``fetch`` and ``verify-rollups``: formats, charts, and one line for each mistake."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import zoneinfo
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from cratedb_retention.api.archive import Rollups
from cratedb_retention.cli.query import _number, _times
from cratedb_retention.execution.rollups.levels import Difference
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest, Fill
from support.cascades import Source, chained, create, make_rows
from support.command import Command
from support.databases import TIME, DuckDatabase, DuckTemplate

pa = pytest.importorskip("pyarrow")
# DuckDB adds up in any order, so that the last digit of an average varies.
METRICS = ("--metric=temperature:max", "--metric=row_count")
RANGE = ("--table-name=weather", "--from=2024-03-31", "--to=2024-03-31T06:00")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[DuckTemplate, Cascade]:
    """A cascade on a DuckDB file."""
    holdings = {"raw": ("2024-03-31T04:00", None), "1h": ("2024-03-31", "2024-03-31T05:00"), "1d": (None, "2024-03-31")}
    made = []

    def fill(bench: DuckDatabase) -> None:
        bench.set_up()
        made.append(chained(create(bench, Source(rows=make_rows(36)), holdings)))

    return DuckTemplate(tmp_path_factory.mktemp("cascade"), fill), made[0]


@pytest.fixture
def command(filled: tuple[DuckTemplate, Cascade], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command on it."""
    template, cascade = filled
    bench = template.open()
    bench.close()
    monkeypatch.setattr(Rollups, "cascade", lambda *_, **__: cascade)
    return Command(bench.uri)


def test_table(command: Command) -> None:
    """A table for people: the zone in the head, each row with its level."""
    out = command.ok("fetch", *RANGE, "--step=1h")
    assert "ts (UTC)" in out
    lines = out.splitlines()
    assert "2024-03-31 00:00" in lines[3]
    assert " NULL " in command.ok("fetch", *RANGE, "--step=1h", "--by=outside")
    assert [line.split()[-1] for line in lines[3:9]] == ["1h", "1h", "1h", "1h", "1h", "raw"]


def test_formats_say_the_same(command: Command, tmp_path: Path) -> None:
    """JSON, YAML, CSV, Arrow and Parquet hold the same rows; a file's name says its format."""
    import pyarrow.parquet

    args = ("fetch", *RANGE, "--step=1h", "--by=station", "--by=outside", *METRICS)
    rows = command.data(*args)
    assert list(rows[0]) == ["ts", "station", "outside", "temperature_max", "row_count", "level"]
    assert rows[0]["ts"] == "2024-03-31T00:00:00+00:00"
    assert yaml.safe_load(command.ok(*args, "--format=yaml")) == rows
    text = list(csv.DictReader(io.StringIO(command.ok(*args, "--format=csv"))))
    assert [row["station"] or None for row in text] == [row["station"] for row in rows]
    for name in ("x.parquet", "x.arrow"):
        path = tmp_path / name
        assert command.ok(*args, f"--output={path}") == ""
        table = pyarrow.parquet.read_table(path) if name == "x.parquet" else pa.ipc.open_stream(path).read_all()
        found = table.to_pylist()
        assert [{**row, "ts": row["ts"].isoformat()} for row in found] == rows
        assert str(table.schema.field("ts").type) == "timestamp[ms, tz=UTC]"
    for name in ("x.JSON", "x.csv", "x.yml", "x.txt"):
        command.ok(*args, f"--output={tmp_path / name}")
    assert json.loads((tmp_path / "x.JSON").read_text()) == rows
    assert yaml.safe_load((tmp_path / "x.yml").read_text()) == rows
    for name in ("x.csv", "x.txt"):
        assert (tmp_path / name).read_text() == command.ok(*args, "--format=csv")


def test_notes(command: Command) -> None:
    """Where only longer buckets are left, a line beside the rows says so."""
    outcome = command(
        "fetch", "--table-name=weather", "--from=2024-03-30", "--to=2024-04-01", "--step=1h", "--format=csv"
    )
    assert outcome.code == 0
    assert outcome.err == "Note: 2024-03-30 to 2024-03-31: only 1d is left, so buckets are longer than 1h\n"


def test_nothing_is_there(command: Command) -> None:
    """A range without rows is no error."""
    out = command.ok("fetch", "--table-name=weather", "--from=2025-01-01", "--to=2025-01-02", "--step=1h")
    assert out == "no data in this time range\n"
    plotted = command.ok("fetch", "--table-name=weather", "--from=2025-01-01", "--to=2025-01-02", "--step=1h", "--plot")
    assert plotted == "no values to plot\n"
    assert (
        command.ok("fetch", "--table-name=weather", "--from=2025-01-01", "--to=2025-01-02", "--format=json") == "[]\n"
    )


def test_relative_times(command: Command) -> None:
    """How long before the end, as Graphite and Grafana have it."""
    more = ("--to=2024-03-31T06:00", "--step=1h", "--format=csv", *METRICS)
    one = command.ok("fetch", "--table-name=weather", "--from=-6h", *more)
    assert one == command.ok("fetch", "--table-name=weather", "--from=2024-03-31", *more)
    assert one == command.ok("fetch", "--table-name=weather", "--from=now-6h", *more)


def test_plot_in_a_pipe(command: Command) -> None:
    """Without a terminal a chart has no colours; lines differ by letters, and the title says where they are from."""
    out = command.ok("fetch", *RANGE, "--step=1h", "--by=outside", "--metric=temperature:max", "--plot")
    lines = out.splitlines()
    assert lines[0] == "weather, step 1h, from 1h, raw"
    assert "\x1b" not in out and "more series" not in out
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if line.startswith(("A ", "B ", "C "))] == [
        "A temperature_max False",
        "B temperature_max True",
        "C temperature_max NULL",
    ]
    nine = ("--by=outside", "--metric=temperature:max", "--metric=temperature:min", "--metric=row_count", "--plot")
    assert command.ok("fetch", *RANGE, "--step=1h", *nine).endswith("\nand 1 more series\n")


@pytest.mark.parametrize(
    ("args", "fill"),
    [
        ([], Fill.NONE),
        (["--plot"], Fill.NULL),
        (["--plot", "--fill=previous"], Fill.PREVIOUS),
    ],
)
def test_a_gap_is_a_gap_in_the_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, args: list[str], fill: Fill
) -> None:
    """A chart connects nothing over buckets without data, unless they are to be filled."""
    asked: list[FetchRequest] = []
    read = Rollups.fetch

    def fetch(self: Rollups, request: FetchRequest) -> Fetched:
        asked.append(request)
        return read(self, request)

    monkeypatch.setattr(Rollups, "fetch", fetch)
    command.ok("fetch", *RANGE, "--step=1h", "--metric=temperature:max", *args)
    assert [request.fill for request in asked] == [fill]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--metric=temp"], "metric 'temp': not found. Choose from: temperature, bytes, row_count"),
        (["--metric=temperature:foo"], "unknown aggregate 'foo'"),
        (["--by=foo"], "not a dimension of the cascade. Choose from: station, outside"),
        (["--where=foo=1"], "not a dimension of the cascade"),
        (["--where=outside=perhaps"], "outside is BOOLEAN, but 'perhaps' is neither true nor false"),
        (["--where=station"], "not of the form KEY=VALUE"),
        (["--to=2024-03-01"], "starts at 2024-03-31 and ends at 2024-03-01. Choose a later end"),
        (["--from=yesterday"], "not an ISO 8601 date and time"),
        (["--from=-forever"], "before the year 1"),
        (["--step=1s", "--from=2024-01-01"], "more than 100,000. Choose a longer one"),
        (["--step=7m"], "does not divide a day"),
        (["--points=0"], "0 is out of range. Choose 1 to 100,000"),
        (["--points=10", "--step=1h"], "cannot be combined"),
        (["--points=0", "--step=1h"], "cannot be combined"),
        (["--fill=foo"], "'foo' is not one of"),
        (["--format=foo"], "'foo' is not one of"),
        (["--output=/nowhere/x.csv"], "No such file or directory"),
        (["--plot", "--output=x.csv"], "cannot be combined"),
        (["--metric=bytes:p95"], "is left only at level 1h, which does not store it"),
    ],
)
def test_bad_input(command: Command, args: list[str], message: str) -> None:
    """Each mistake is one line that says what to do."""
    assert message.lower() in command.refused(2, "fetch", *RANGE, *args).lower()


def test_without_a_cascade(duck: DuckDatabase) -> None:
    """A table that is not there, or the toolkit's own, is not found; one without rollups is read as it is."""
    duck.create("plain", {"ts": TIME, "station": "TEXT", "x": "DOUBLE"})
    duck.insert("plain", [{"ts": f"2024-03-30T0{i}:30", "station": "a", "x": float(i)} for i in range(3)])
    duck.create("timeless", {"x": "DOUBLE"})
    duck.tool.close()
    duck.close()
    run = Command(duck.uri)
    assert run.refused(1, "fetch", "--table-name=weather").endswith("does not exist. Check its name and schema")
    assert "does not exist" in run.refused(
        1, "fetch", f"--table-schema={duck.tool.store.schema}", "--table-name=jobs_log"
    )
    assert "the age of its rows is unknown" in run.refused(
        2, "fetch", f"--table-schema={duck.schema}", "--table-name=timeless"
    )
    found = run.ok(
        "fetch",
        f"--table-schema={duck.schema}",
        "--table-name=plain",
        "--from=2024-03-30",
        "--to=2024-03-31",
        "--step=1d",
        "--format=csv",
    )
    assert found.splitlines() == ["ts,x_avg,level", "2024-03-30T00:00:00+00:00,1.0,raw"]


def test_verify_rollups(command: Command) -> None:
    """What is right is said to be; what differs ends with 1 and is named."""
    assert "verified" in command.ok("verify-rollups", "--table-name=weather")
    assert command.data("verify-rollups", "--table-name=weather") == []
    import duckdb

    with duckdb.connect((command.uri or "").removeprefix("duckdb:///")) as connection:
        connection.execute("UPDATE lab.weather_1h SET row_count = row_count + 1 WHERE ts = '2024-03-31T04:00:00Z'")
    outcome = command("verify-rollups", "--table-name=weather", "--format=json")
    assert outcome.code == 1
    (difference,) = json.loads(outcome.out)
    assert (difference["level"], difference["what"], difference["source"]) == ("1h", "row_count", "raw")
    assert difference["start"] == "2024-03-31T04:00:00+00:00"
    assert "1 level of weather differ" in outcome.err
    assert re.search("source: 1 (stale|wrong)", outcome.err)
    shown = command("verify-rollups", "--table-name=weather").out
    assert "row_count" in shown
    assert re.search("^1h: 1 (stale|wrong)$", shown, re.MULTILINE)


def test_what_the_next_run_computes_again(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is to wait for the next run only if all differences are stale."""
    one = Difference(level="1h", table="t", start=0, end=1, what="row_count", source="raw", expected=2, found=1)
    for states, counts in (([True], "1 stale"), ([True, False], "1 stale, 1 wrong")):
        found = [replace(one, stale=stale) for stale in states]
        monkeypatch.setattr(Rollups, "verify", lambda *_, differences=found: differences)
        outcome = command("verify-rollups", "--table-name=weather")
        assert (outcome.code, f"1h: {counts}\n" in outcome.out) == (1, True)
        assert ("he next run computes it again" in outcome.err) is all(states)


def test_the_hour_that_comes_twice() -> None:
    """Where clocks go back, the table tells the two hours apart by their offset; elsewhere there is none."""
    vienna = zoneinfo.ZoneInfo("Europe/Vienna")
    hours = [dt.datetime(2024, 10, 27, hour, tzinfo=dt.UTC).astimezone(vienna) for hour in range(3)]
    twice = ["2024-10-27 02:00 +0200", "2024-10-27 02:00 +0100", "2024-10-27 03:00 +0100"]
    assert _times(hours) == (twice, "Europe/Vienna")
    assert _times(hours[1:]) == (["2024-10-27 02:00", "2024-10-27 03:00"], "Europe/Vienna")


def test_times_and_numbers_are_as_short_as_possible() -> None:
    """Seconds only where one of the times has some, no time of day where all are midnight; a decimal has all digits."""
    day, second = dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.timedelta(seconds=1)
    assert _times([day, day + dt.timedelta(days=1)])[0] == ["2024-01-01", "2024-01-02"]
    assert _times([day, day + second])[0] == ["2024-01-01 00:00:00", "2024-01-01 00:00:01"]
    numbers = (Decimal("1234567.890"), 1234567.89, 0.123456789, 12.0, 0.00001234, None)
    assert [_number(number) for number in numbers] == ["1,234,567.890", "1,234,567.89", "0.123457", 12, "0.00", None]
