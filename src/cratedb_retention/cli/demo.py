"""The demo: shows commands, and executes them on real data through the library."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cratedb_retention import demo as data
from cratedb_retention.api import Retention
from cratedb_retention.cli.output import say, write_table
from cratedb_retention.cli.plot import draw
from cratedb_retention.cli.runs import observer, write_plan
from cratedb_retention.demo import SCHEMA, TABLES
from cratedb_retention.errors import NotFound, RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import UTC
from cratedb_retention.model.words import show_partition, show_size

FOLDER, OWN_SCHEMA, TAG = "cratedb-retention-demo", "retention_demo_ext", "demo"
LEVELS = "1d:2y,1mo:forever"
JANUARY, FEBRUARY, MARCH = (dt.datetime(2013, month, 1, tzinfo=UTC) for month in (1, 2, 3))
CUTOFF = dt.datetime(2014, 1, 1, tzinfo=UTC)
CHOSEN = Selection(tags=parse_tag_filter([TAG]))


def show_demo(dburi: str | None, repository: str | None) -> None:
    for table in TABLES:
        data.data_file(table)
    if not dburi:
        Path(FOLDER).mkdir(exist_ok=True)
        dburi = f"duckdb:///{FOLDER}/demo.duckdb"
    with Retention(dburi, OWN_SCHEMA, create=True) as retention:
        _load(retention)
        _create_policies(retention, data.prepare_repository(retention, repository))
        _run(retention)
        _restore(retention)
        _show_resolutions(retention)
        _heading("Try it yourself. Each change and each step is in the audit log:", "jobs")


def _heading(text: str, *commands: str) -> None:
    say("")
    say(text, "bold")
    for command in commands:
        say(f"$ cratedb-retention {command}", "cyan")


def _load(retention: Retention) -> None:
    """Load the tables, after removing policies, holds, archives and rollups of an earlier demo."""
    _heading("1. Real data: flights from New York in 2013, and the weather")
    say(f"$ export CRATEDB_URI='{retention.address.safe}' CRATEDB_EXT_SCHEMA={OWN_SCHEMA}", "cyan")
    say("$ cratedb-retention setup", "cyan")
    retention.setup(journal_policy=False)  # Three policies suffice.
    retention.policies.delete_tagged(CHOSEN.tags)
    for hold in retention.holds():
        retention.holds.release(hold.id)
    with suppress(NotFound):
        retention.archive.delete(RestoreRequest(table_schema=SCHEMA))
    with suppress(NotFound):
        retention.rollups.drop("weather", SCHEMA)
    for table in TABLES:
        say(f"loaded {data.load(retention, table):,} rows into {SCHEMA}.{table}, partitioned by month")


def _create_policies(retention: Retention, repository: str) -> None:
    options = f"--table-schema={SCHEMA} --tags={TAG}"
    weather = "--table-name=weather --retention-period='6 months'"
    _heading(
        "2. Three policies: delete flights after 90 days, archive weather after 6 months, and roll it up",
        f"create-policy --strategy=delete --table-name=flights --retention-period=90d {options}",
        f"create-policy --strategy=snapshot {weather} --target-repository-name={repository} {options}",
        f"create-policy --strategy=downsample {weather} --levels={LEVELS} {options}",
    )
    create, common = retention.policies.create, {"table_schema": SCHEMA, "tags": [TAG]}
    of_weather: dict[str, Any] = {**common, "table_name": "weather", "retention_period": "6 months"}
    why = "Delays are analyzed for a quarter."
    create(**common, strategy="delete", table_name="flights", retention_period="90d", description=why)
    why = "Old weather is archived."
    create(**of_weather, strategy="snapshot", target_repository_name=repository, description=why)
    why = "Daily weather is kept for two years, monthly weather forever."
    create(**of_weather, strategy="downsample", levels=LEVELS, description=why)


def _run(retention: Retention) -> None:
    chosen = f"--tags={TAG} --cutoff-day={CUTOFF:%Y-%m-%d}"
    _heading("3. The plan, as of New Year 2014", f"plan {chosen}")
    before = data.count_rows(retention)
    # Accepted, since an earlier demonstration may have removed the same data.
    prepared = retention.prepare(CUTOFF, replace(CHOSEN, accepted=True))
    write_plan(prepared, retention, "table", sql=False)
    _heading("4. The run executes the plan", f"run {chosen}")
    with observer(quiet=False) as observe:
        report = retention.run(prepared, observers=[observe])
    after = data.count_rows(retention)
    say(f"{before:,} rows before, {report.rows:,} removed, {after:,} left: {_verdict(before - report.rows == after)}")
    for table in ("flights", "weather"):
        left = data.months(retention, table)
        say(f"{table}: {left[0][0]} to {left[-1][0]}, {sum(count for _, count in left):,} rows")


def _verdict(right: bool) -> str:
    return "it adds up" if right else "IT DOES NOT ADD UP"


def _restore(retention: Retention) -> None:
    _heading("5. The archived partitions are read back and compared", "verify-snapshots --table-name=weather")
    rows = [
        (a.name, show_partition(a.columns, a.values), a.rows, show_size(a.size), v.error or v.found)
        for v in retention.archive.verify(RestoreRequest(table_schema=SCHEMA))
        for a in (v.record.archived,)
    ]
    write_table(("snapshot", "partition", "rows", "size", "verified"), rows)
    command = "restore --table-name=weather --from=2013-02-01 --to=2013-03-01"
    _heading("6. February is restored, and a hold keeps it until released", command)
    wanted = RestoreRequest(table_schema=SCHEMA, table_name="weather", start=FEBRUARY, end=MARCH)
    restored = retention.archive.restore(wanted)[0]
    if restored.error:
        raise RetentionError(f"snapshot {restored.record.archived.name}", restored.error)
    say(f"restored {restored.rows or 0:,} rows from {restored.record.archived.name}")
    write_plan(retention.prepare(CUTOFF, CHOSEN), retention, "table", sql=False)


def _show_resolutions(retention: Retention) -> None:
    common = f"--table-schema={SCHEMA} --table-name=weather --from=2013-01-01 --to=2014-01-01"
    totals = []
    _heading("7. A year of weather at three resolutions: the hours that are kept, days, and months")
    request = FetchRequest(
        table_name="weather",
        table_schema=SCHEMA,
        start=JANUARY,
        end=CUTOFF,
        metrics=("temp:min", "temp:avg", "temp:max", "row_count"),
    )
    for step, name in {"1h": "hours", "1d": "days", "1mo": "months"}.items():
        say(f"$ cratedb-retention fetch {common} --step={step} --metric=temp --plot", "cyan")
        fetched = retention.rollups.fetch(replace(request, step=parse_interval(step)))
        chosen = [fetched.columns.index(column) for column in (fetched.columns[0], "temp_avg", "level")]
        rows = tuple(tuple(row[i] for i in chosen) for row in fetched.rows)
        draw(replace(fetched, columns=tuple(fetched.columns[i] for i in chosen), rows=rows), "weather")
        counts = (row[fetched.columns.index("row_count")] for row in fetched.rows)
        totals.append(sum(int(str(count)) for count in counts if count is not None))
        say(f"{len(fetched.rows):,} {name} represent {totals[-1]:,} hourly rows")
    say(f"Each resolution represents the same rows: {_verdict(len(set(totals)) == 1)}")
