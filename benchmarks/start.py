"""
Starting: whole processes, as a person or a cron job starts them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.line import NO_GOAL, Goal, Line
from benchmarks.surroundings import Surroundings
from benchmarks.timing import by_turns, seconds

COMMAND = str(Path(sys.executable).parent / "cratedb-retention")
QUICK = Goal(seconds=0.15)
WAYS = {
    "cratedb-retention --help": [COMMAND, "--help"],
    "cratedb-retention --version": [COMMAND, "--version"],
    "importing CrateDB's driver": [sys.executable, "-c", "import cratedb_retention.engine.cratedb.engine"],
    "importing DuckDB's driver": [sys.executable, "-c", "import cratedb_retention.engine.duckdb.engine, duckdb"],
    "import click": [sys.executable, "-c", "import click"],
}


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Start processes."""
    ways = {what: _process(command) for what, command in WAYS.items()}
    by_turns(1, ways)  # Python compiles what it imports for the first time.
    taken = by_turns(surroundings.repeat(9), ways)
    best = taken.pop("import click")
    for what, ours in taken.items():
        yield Line(
            what=what, ours=ours, best=best, goal=QUICK if "--" in what else NO_GOAL, note="by hand: import click"
        )


def _process(command: list[str]) -> Callable[[], float]:
    return lambda: seconds(lambda: subprocess.run(command, check=True, capture_output=True))
