"""``demo``: the toolkit's main job from start to end, on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cratedb_retention.cli.output import say, write_table
from cratedb_retention.cli.planview import write_plan
from cratedb_retention.model.words import show_size

if TYPE_CHECKING:
    from cratedb_retention.api import Retention

FOLDER = "cratedb-retention-demo"


@click.command("demo")
@click.argument("dburi", envvar="CRATEDB_URI", required=False)
@click.option("--repository", help="CrateDB: an existing repository, where the server allows no new one.")
def command(dburi: str | None, repository: str | None) -> None:
    """
    See it work on real data: 336,776 flights and 26,115 hours of weather of New York in 2013. Policies, plan, run,
    what is left, what was archived, verified and restored, and a year's weather in days and months. Uses an embedded
    file in the folder cratedb-retention-demo, or the schema retention_demo of the CrateDB that is named.

    \b
    Examples:
      cratedb-retention demo
      cratedb-retention demo crate://localhost:4200/
    """
    from cratedb_retention.api import Retention
    from cratedb_retention.demo import tour
    from cratedb_retention.demo.data import TABLES, data_file

    for table in TABLES:
        data_file(table)
    if not dburi:
        Path(FOLDER).mkdir(exist_ok=True)
        dburi = f"duckdb:///{FOLDER}/demo.duckdb"
    with Retention(dburi, tour.OWN_SCHEMA, create=True) as retention:
        _load(retention)
        name = tour.prepare_repository(retention, repository)
        _decide(retention, name)
        _run(retention)
        _restore(retention)
        _resolutions(retention)
        _farewell(retention)


def _heading(text: str, command: str | None = None) -> None:
    say("")
    say(text, "bold")
    if command:
        say(f"$ cratedb-retention {command}", "cyan")


def _load(retention: Retention) -> None:
    from cratedb_retention.demo import tour
    from cratedb_retention.demo.data import TABLES

    _heading("1. Real data: what flew from New York in 2013, and the weather")
    say(f"$ export CRATEDB_URI='{retention.address.safe}' CRATEDB_EXT_SCHEMA={tour.OWN_SCHEMA}", "cyan")
    say("$ cratedb-retention setup", "cyan")
    tour.begin(retention)
    for table in TABLES:
        say(f"loaded {tour.load(retention, table):,} rows into {tour.SCHEMA}.{table}, partitioned by month")


def _decide(retention: Retention, repository: str) -> None:
    from cratedb_retention.demo import tour

    options = f"--table-schema={tour.SCHEMA} --tags={tour.TAG}"
    _heading(
        "2. Three policies: flights are deleted after 90 days, weather is archived after 6 months, and rolled up",
        f"create-policy --strategy=delete --table-name=flights --retention-period=90d {options}",
    )
    say(
        f"$ cratedb-retention create-policy --strategy=snapshot --table-name=weather --retention-period='6 months' "
        f"--target-repository-name={repository} {options}",
        "cyan",
    )
    say(
        f"$ cratedb-retention create-policy --strategy=downsample --table-name=weather --retention-period='6 months' "
        f"--levels={tour.LEVELS} {options}",
        "cyan",
    )
    tour.create_policies(retention, repository)


def _run(retention: Retention) -> None:
    from cratedb_retention.cli.progress import observer
    from cratedb_retention.demo import tour

    _heading("3. The plan, as of New Year 2014", f"plan --tags={tour.TAG} --cutoff-day={tour.CUTOFF:%Y-%m-%d}")
    before = tour.total(retention)
    prepared = retention.prepare(tour.CUTOFF, tour.CHOSEN)
    write_plan(prepared, retention, "table", sql=False)
    _heading("4. The run does what the plan says", f"run --tags={tour.TAG} --cutoff-day={tour.CUTOFF:%Y-%m-%d}")
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
    from cratedb_retention.demo import tour
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.model.words import show_partition

    mine = RestoreRequest(table_schema=tour.SCHEMA)
    _heading("5. What was archived, read back and compared", "verify-snapshots --table-name=weather")
    rows = [
        (
            v.record.archived.name,
            show_partition(v.record.archived.columns, v.record.archived.values),
            v.record.archived.rows,
            show_size(v.record.size),
            v.error or v.found,
        )
        for v in retention.archive.verify(mine)
    ]
    write_table(("snapshot", "partition", "rows", "size", "verified"), rows, ("rows", "size"))
    _heading(
        "6. February comes back, and stays until it is released",
        "restore --table-name=weather --from=2013-02-01 --to=2013-03-01",
    )
    name, count = tour.restore_one(retention)
    say(f"restored {count:,} rows from {name}")
    write_plan(retention.prepare(tour.CUTOFF, tour.CHOSEN), retention, "table", sql=False)


def _resolutions(retention: Retention) -> None:
    from dataclasses import replace

    from cratedb_retention.cli.plot import draw
    from cratedb_retention.demo import tour

    common = f"--table-schema={tour.SCHEMA} --table-name=weather --from=2013-01-01 --to=2014-01-01"
    names = {"1h": "hours", "1d": "days", "1mo": "months"}
    totals = []
    _heading("7. A year of weather at three resolutions: hours as far as they are kept, days, and months")
    for step, name in names.items():
        say(f"$ cratedb-retention fetch {common} --step={step} --metric=temp --plot", "cyan")
        fetched = tour.temperatures(retention, step)
        chosen = [fetched.columns.index(column) for column in (fetched.columns[0], "temp_avg", "level")]
        rows = tuple(tuple(row[i] for i in chosen) for row in fetched.rows)
        draw(replace(fetched, columns=tuple(fetched.columns[i] for i in chosen), rows=rows), "weather")
        totals.append(tour.counted(fetched))
        say(f"{len(fetched.rows):,} {name} stand for {totals[-1]:,} hourly rows")
    say(f"Each resolution stands for the same rows: {_verdict(len(set(totals)) == 1)}")


def _farewell(retention: Retention) -> None:
    _heading("Now it is yours. Each change and each step is in the audit log:", "jobs")
