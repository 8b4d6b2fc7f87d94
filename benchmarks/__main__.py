"""
Measures, and prints a table. Ends with 0 whatever it measured: how fast something is depends on the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks import (
    archived,
    archiving,
    backfill,
    bulk,
    expiring,
    files,
    forecasting,
    history,
    packages,
    pages,
    planning,
    preparing,
    reads,
    rollups,
    rows,
    server_rows,
    start,
    undo,
)
from benchmarks.line import Line
from benchmarks.surroundings import Missing, Surroundings
from cratedb_retention.cli.main import prepare_process

MEASUREMENTS: dict[str, Callable[[Surroundings], Iterator[Line]]] = {
    "start": start.measure,
    "planning": planning.measure,
    "history": history.measure,
    "forecast": forecasting.measure,
    "rows": rows.measure,
    "server-rows": server_rows.measure,
    "prepare": preparing.measure,
    "expire": expiring.measure,
    "archive": archiving.measure,
    "files": files.measure,
    "undo": undo.measure,
    "archived": archived.measure,
    "rollups": rollups.measure,
    "backfill": backfill.measure,
    "bulk": bulk.measure,
    "reads": reads.measure,
    "pages": pages.measure,
    "packages": packages.measure,
}
# Where no terminal says how wide it is.
WIDTH = 180


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how long things take.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="how often, instead of what each one proposes")
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="how many rows `bulk`, `files` and `rollups` have, instead of what they propose",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown or (options.repeat is not None and options.repeat < 1):
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--repeat must be at least 1")
    console, lines = Console(width=None if sys.stdout.isatty() else WIDTH), list[Line]()
    started = time.monotonic()
    prepare_process()  # As the command does.
    with Surroundings(options.repeat, options.rows) as surroundings:
        missing = [name for name in options.names or MEASUREMENTS if not _measure(name, surroundings, lines, console)]
    console.print(_table(lines))
    console.print(f"Medians, taken by turns, in {time.monotonic() - started:.0f} seconds.")
    if missing:
        console.print(
            f"[bold red]NOT MEASURED, or only in part: {', '.join(missing)}.[/] What is missing stands above."
        )


def _measure(name: str, surroundings: Surroundings, lines: list[Line], console: Console) -> bool:
    """Collect lines; what goes wrong is shown, and the others go on."""
    try:
        with console.status(f"measuring: {name}"):
            for line in MEASUREMENTS[name](surroundings):
                lines.append(line)
                console.print(f"[dim]{line.what}: {_seconds(line.ours)}[/]")
    except Missing as missing:
        console.print(f"[bold red]{name}: {missing}[/]")
        return False
    except Exception:
        console.print_exception()
        return False
    return True


def _table(lines: Iterable[Line]) -> Table:
    table = Table("what", title="How long it takes", show_lines=True)
    for heading in ("ours", "by hand", "ratio", "statements", "memory"):
        table.add_column(heading, justify="right")
    for heading in ("goal", "met", "note"):
        table.add_column(heading)
    for line in lines:
        met = {None: "", True: "[green]yes[/]", False: "[bold red]NO[/]"}[line.met]
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        sent = "" if line.statements is None else str(line.statements)
        best = "" if line.best is None else _seconds(line.best)
        memory = "" if line.megabytes is None else f"{line.megabytes:.0f} MB"
        table.add_row(line.what, _seconds(line.ours), best, ratio, sent, memory, str(line.goal), met, line.note)
    return table


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


if __name__ == "__main__":
    main()
