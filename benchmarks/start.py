"""
Starting: whole processes, as a person or a cron job starts them; and a service that has nothing to do.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.line import NO_GOAL, Goal, Line
from benchmarks.server import EXT
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds
from cratedb_retention.api import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.service.schedule import Scheduler

COMMAND = str(Path(sys.executable).parent / "cratedb-retention")
QUICK = Goal(seconds=0.15)
WAYS = {
    "cratedb-retention --help": [COMMAND, "--help"],
    "cratedb-retention --version": [COMMAND, "--version"],
    "importing CrateDB's driver": [sys.executable, "-c", "import cratedb_retention.engine.cratedb.engine"],
    "importing DuckDB's driver": [sys.executable, "-c", "import cratedb_retention.engine.duckdb.engine, duckdb"],
    "import click": [sys.executable, "-c", "import click"],
}
SMALL = (["list-policies"], ["plan"], ["run", "--due"])
SMALL_GOAL = Goal(seconds=0.6, megabytes=100)
# In a process of its own, since the memory of a process counts as that of its children until they run their program.
USAGE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
SCHEDULED, INTERVAL = 1_000, 10  # Policies, and seconds between two ticks by default.
# A hundredth of a core, and no memory that grows: a few pages come and go.
IDLE_GOAL = Goal(seconds=INTERVAL / 100, megabytes=2)
# A day and more; on CrateDB fewer, since it does the work. Before that, caches are filled. What is old is removed every
# six hours.
TICKS, TICKS_ON_CRATEDB, WARM, EVERY = 10_000, 300, 200, 2160
AFTER_NEW_YEAR = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Start processes."""
    environment = _compiled(surroundings)
    ways = {what: _process(command, environment) for what, command in WAYS.items()}
    by_turns(1, ways)  # Python compiles what it imports for the first time.
    taken = by_turns(surroundings.repeat(9), ways)
    best = taken.pop("import click")
    for what, ours in taken.items():
        yield Line(
            what=what, ours=ours, best=best, goal=QUICK if "--" in what else NO_GOAL, note="by hand: import click"
        )
    yield from _on("DuckDB", f"duckdb:///{surroundings.directory() / 'small.duckdb'}", surroundings, environment)
    server = surroundings.server
    try:
        yield from _on("CrateDB", server.uri, surroundings, environment)
    finally:
        server.drop_schemas(EXT)


def _compiled(surroundings: Surroundings) -> dict[str, str]:
    """An environment in which Python keeps what it compiles, as an installed package is compiled."""
    others = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**others, "PYTHONPYCACHEPREFIX": str(surroundings.directory())}


def _process(command: list[str], environment: Mapping[str, str]) -> Callable[[], float]:
    return lambda: seconds(lambda: subprocess.run(command, check=True, capture_output=True, env=environment))


def _on(engine: str, uri: str, surroundings: Surroundings, environment: Mapping[str, str]) -> Iterator[Line]:
    """Small commands that have nothing to do, and an idle service."""
    with Retention(uri, EXT, create=True) as retention:
        retention.setup()
    for command in SMALL:
        used = [_usage([COMMAND, *command, "--schema", EXT, uri], environment) for _ in range(surroundings.repeat(9))]
        yield Line(
            what=f"{' '.join(command)}, nothing to do, {engine}",
            ours=statistics.median(spent for spent, _ in used),
            megabytes=max(memory for _, memory in used),
            goal=SMALL_GOAL,
            note="processor time",
        )
    yield _idle(engine, uri, TICKS if engine == "DuckDB" else TICKS_ON_CRATEDB)


def _usage(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """The processor time of a process, and its most memory in megabytes."""
    ways = [sys.executable, "-c", USAGE, *command]
    spent, memory = subprocess.run(ways, check=True, capture_output=True, text=True, env=environment).stdout.split()
    return float(spent), float(memory)


def _idle(engine: str, uri: str, ticks: int) -> Line:
    """A service whose policies are not due, with a clock that is set on by an interval for each tick."""
    policies = [
        make_policy(id=f"p{n}", strategy="delete", table_name=f"t{n}", retention_period="90d", schedule="@yearly")
        for n in range(SCHEDULED)
    ]
    now = AFTER_NEW_YEAR
    with Retention(uri, EXT, clock=Clock(now=lambda: now, sleep=lambda seconds: None, shared=True)) as retention:
        retention.policies.apply(policies)
        scheduler, before, started = Scheduler(retention), 0.0, 0.0
        for tick in range(WARM + ticks):
            if tick == WARM:
                before, started = _memory(), time.process_time()
            if scheduler.tick():
                raise RuntimeError("a policy was due")
            if tick % EVERY == 0:
                scheduler.maintain()
            now += dt.timedelta(seconds=INTERVAL)
        spent, grown = (time.process_time() - started) / ticks, _memory() - before
    return Line(
        what=f"a tick of an idle service, {SCHEDULED:,} scheduled policies, {engine}",
        ours=spent,
        megabytes=max(grown, 0),
        goal=IDLE_GOAL,
        note=f"processor time, every {INTERVAL} s; memory: more after {ticks:,} ticks",
    )


def _memory() -> float:
    """The present memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
