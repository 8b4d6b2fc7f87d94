"""
What is read of the toolkit's own tables after a year, beside the same after a day: entries of the audit log, runs,
metrics, and archives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.line import Goal, Line
from benchmarks.policies import store_policies
from benchmarks.server import DAY, EXT
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention import Retention
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.access import Access, Role
from cratedb_retention.service.access import Scope
from cratedb_retention.service.metrics import read_facts
from cratedb_retention.store.audit import JournalFilter

DAYS, POLICIES, RUNS, TABLES = 365, 1_000, 2, 100
OF_A_YEAR, OF_A_DAY = "of a year", "of a day"
GOAL = Goal(ratio=1.2, constant=0.02)
_ADMIN = Access(role=Role.ADMIN, actor="bench")


def _newest_runs(tool: Retention) -> object:
    places = tool.audit.runs(JournalFilter(event="run-finished", limit=RUNS))
    return tool.audit.run_totals(JournalFilter(run_ids=frozenset(place.run_id for place in places)))


READS: dict[str, Callable[[Retention], object]] = {
    "the newest 50 entries of the audit log": lambda tool: tool.audit.read(JournalFilter()),
    "the last run": lambda tool: tool.audit.read(JournalFilter(event="run-finished", limit=1)),
    f"the newest {RUNS} runs of {POLICIES:,} steps": _newest_runs,
    f"metrics of {POLICIES:,} policies": read_facts,
    "a page of 100 archives": lambda tool: Scope(tool, _ADMIN).snapshots(RestoreRequest(), 100),
}


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Read what a page, a command or a scrape needs."""
    directory = surroundings.directory()
    yield from _on(surroundings, "DuckDB", lambda days: (f"duckdb:///{directory / str(days)}.duckdb", EXT))
    server = surroundings.server
    try:
        yield from _on(surroundings, "CrateDB", lambda days: (server.uri, f"{EXT}_{days}"))
    finally:
        server.drop_schemas(*(f"{EXT}_{days}" for days in (1, DAYS)))


def _on(surroundings: Surroundings, engine: str, place: Callable[[int], tuple[str, str]]) -> Iterator[Line]:
    with Retention(*place(DAYS), create=True) as year, Retention(*place(1), create=True) as day:
        for retention, days in ((year, DAYS), (day, 1)):
            _fill(retention, days, engine)
        for what, read in READS.items():
            ways = {OF_A_YEAR: _timed(read, year), OF_A_DAY: _timed(read, day)}
            taken = by_turns(surroundings.repeat(9), ways)
            note = f"{DAYS * POLICIES * RUNS:,} entries, {DAYS * TABLES:,} archives; by hand: of one day"
            yield Line(what=f"{what}, {engine}", ours=taken[OF_A_YEAR], best=taken[OF_A_DAY], goal=GOAL, note=note)


def _timed(read: Callable[[Retention], object], retention: Retention) -> Callable[[], float]:
    return lambda: seconds(lambda: read(retention))


def _fill(retention: Retention, days: int, engine: str) -> None:
    """What runs of some days leave: the steps of each policy, the end of each run, and the archives of some tables."""
    retention.setup()
    policies = [{"strategy": "delete", "table_name": f"t{n}", "retention_period": "90d"} for n in range(POLICIES)]
    store_policies(retention, policies)
    now, store = round(retention.clock.now().timestamp() * 1000), retention.store

    def insert(table: str, each_day: int, columns: str, values: str) -> None:
        moment = f"{now} - g.i * {DAY // each_day}"
        time = f"make_timestamptz(({moment}) * 1000)" if engine == "DuckDB" else f"({moment})::TIMESTAMP WITH TIME ZONE"
        last = days * each_day
        rows = f"range({last}) g(i)" if engine == "DuckDB" else f"generate_series(0, {last - 1}) AS g(i)"
        into = f"INSERT INTO {store.schema}.{table} ({columns})"
        retention.engine.database.execute_text(f"{into} SELECT {time}, {values} FROM {rows}")

    policy, run = f"'p' || (10000 + g.i % {POLICIES})", f"'r' || (g.i - g.i % {POLICIES})"
    step = f"'step-finished', 'done', 'drop_partitions', {policy}, {run}, 5, 500"
    insert("jobs_log", POLICIES * RUNS, '"time", event, outcome, operation, policy_id, run_id, "rows", bytes', step)
    insert("jobs_log", RUNS, '"time", event, outcome, run_id', f"'run-finished', 'done', 'r' || (g.i * {POLICIES})")
    table = f"'t' || (g.i % {TABLES})"
    columns = '"start", name, repository, table_schema, table_name, "partition", state, changed_at'
    archive = f"{table} || '-' || g.i, 'cold', 'doc', {table}, '[]', 'archived', current_timestamp"
    insert("retention_snapshot", TABLES, columns, archive)
    retention.engine.database.refresh(*store.tables.metadata.sorted_tables)
