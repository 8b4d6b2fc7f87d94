"""The toolkit's main job from start to end, on real data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cratedb_retention import demo as tour
from cratedb_retention.api import Retention
from cratedb_retention.cli.output import say, write_table
from cratedb_retention.cli.plot import draw
from cratedb_retention.cli.runs import observer, write_plan
from cratedb_retention.demo import CHOSEN, CUTOFF, LEVELS, OWN_SCHEMA, SCHEMA, TABLES, TAG, data_file
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.words import show_partition, show_size

FOLDER = "cratedb-retention-demo"


def show_demo(dburi: str | None, repository: str | None) -> None:
    for table in TABLES:
        data_file(table)
    if not dburi:
        Path(FOLDER).mkdir(exist_ok=True)
        dburi = f"duckdb:///{FOLDER}/demo.duckdb"
    with Retention(dburi, OWN_SCHEMA, create=True) as retention:
        _prepare(retention, repository)
        _run(retention)
        _restore(retention)
        _show_resolutions(retention)
        _heading("Now it is yours. Each change and each step is in the audit log:", "jobs")


def _heading(text: str, *commands: str) -> None:
    say("")
    say(text, "bold")
    for command in commands:
        say(f"$ cratedb-retention {command}", "cyan")


def _prepare(retention: Retention, repository: str | None) -> None:
    _heading("1. Real data: what flew from New York in 2013, and the weather")
    say(f"$ export CRATEDB_URI='{retention.address.safe}' CRATEDB_EXT_SCHEMA={OWN_SCHEMA}", "cyan")
    say("$ cratedb-retention setup", "cyan")
    tour.begin(retention)
    for table in TABLES:
        say(f"loaded {tour.load(retention, table):,} rows into {SCHEMA}.{table}, partitioned by month")
    repository = tour.prepare_repository(retention, repository)
    options = f"--table-schema={SCHEMA} --tags={TAG}"
    weather = "--table-name=weather --retention-period='6 months'"
    _heading(
        "2. Three policies: flights are deleted after 90 days, weather is archived after 6 months, and rolled up",
        f"create-policy --strategy=delete --table-name=flights --retention-period=90d {options}",
        f"create-policy --strategy=snapshot {weather} --target-repository-name={repository} {options}",
        f"create-policy --strategy=downsample {weather} --levels={LEVELS} {options}",
    )
    tour.create_policies(retention, repository)


def _run(retention: Retention) -> None:
    chosen = f"--tags={TAG} --cutoff-day={CUTOFF:%Y-%m-%d}"
    _heading("3. The plan, as of New Year 2014", f"plan {chosen}")
    before = tour.total(retention)
    prepared = retention.prepare(CUTOFF, CHOSEN)
    write_plan(prepared, retention, "table", sql=False)
    _heading("4. The run does what the plan says", f"run {chosen}")
    with observer(quiet=False) as observe:
        report = retention.run(prepared, observers=[observe])
    after = tour.total(retention)
    say(f"{before:,} rows before, {report.rows:,} gone, {after:,} left: {_verdict(before - report.rows == after)}")
    for table in ("flights", "weather"):
        left = tour.months(retention, table)
        say(f"{table}: {left[0][0]} to {left[-1][0]}, {sum(count for _, count in left):,} rows")


def _verdict(right: bool) -> str:
    return "it adds up" if right else "IT DOES NOT ADD UP"


def _restore(retention: Retention) -> None:
    _heading("5. What was archived, read back and compared", "verify-snapshots --table-name=weather")
    rows = [
        (a.name, show_partition(a.columns, a.values), a.rows, show_size(v.record.size), v.error or v.found)
        for v in retention.archive.verify(RestoreRequest(table_schema=SCHEMA))
        for a in (v.record.archived,)
    ]
    write_table(("snapshot", "partition", "rows", "size", "verified"), rows)
    command = "restore --table-name=weather --from=2013-02-01 --to=2013-03-01"
    _heading("6. February comes back, and stays until it is released", command)
    name, count = tour.restore_one(retention)
    say(f"restored {count:,} rows from {name}")
    write_plan(retention.prepare(CUTOFF, CHOSEN), retention, "table", sql=False)


def _show_resolutions(retention: Retention) -> None:
    common = f"--table-schema={SCHEMA} --table-name=weather --from=2013-01-01 --to=2014-01-01"
    totals = []
    _heading("7. A year of weather at three resolutions: hours as far as they are kept, days, and months")
    for step, name in {"1h": "hours", "1d": "days", "1mo": "months"}.items():
        say(f"$ cratedb-retention fetch {common} --step={step} --metric=temp --plot", "cyan")
        fetched = tour.temperatures(retention, step)
        chosen = [fetched.columns.index(column) for column in (fetched.columns[0], "temp_avg", "level")]
        rows = tuple(tuple(row[i] for i in chosen) for row in fetched.rows)
        draw(replace(fetched, columns=tuple(fetched.columns[i] for i in chosen), rows=rows), "weather")
        totals.append(tour.counted(fetched))
        say(f"{len(fetched.rows):,} {name} stand for {totals[-1]:,} hourly rows")
    say(f"Each resolution stands for the same rows: {_verdict(len(set(totals)) == 1)}")
