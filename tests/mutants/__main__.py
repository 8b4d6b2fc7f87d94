"""
``make mutants``, or ``PYTHONPATH=tests python -m mutants``: prints which faults no test notices; exit code 1 if any.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from mutants.faults import Fault, choose, read_faults
from mutants.promises import PROMISES
from mutants.running import BAD, NOT_JUDGED, NOTICED, TIMEOUT, Bench, Verdict
from support.cratedb import cratedb_home, memory_directory, one_node

_LIMIT = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge what was asked for."""
    options = _parser().parse_args(arguments)
    faults = choose(read_faults(), options.faults, options.breaks)
    if not faults:
        print("no such fault; --list shows them", file=sys.stderr)
        return 2
    if options.list:
        for fault in faults:
            print(f"{fault.breaks:22} {fault.id:50} {fault.promise}")
        return 0
    started = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-", dir=memory_directory())))
        able = _start_cratedb(stack, faults)
        chosen = [fault for fault in faults if fault.needs in able]
        bench = Bench(directory, options.jobs, options.limit)
        verdicts = bench.judge(chosen, _tell)
        if options.control:
            verdicts = _control(bench, verdicts)
    verdicts += [
        Verdict(fault=fault, outcome=NOT_JUDGED, why=f"needs a {fault.needs}")
        for fault in faults
        if fault.needs not in able
    ]
    _show(verdicts)
    print(f"{len(verdicts)} faults, {time.monotonic() - started:.0f} seconds")
    return 1 if any(verdict.outcome in BAD for verdict in verdicts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mutants", description="Which faults do the tests not notice?")
    parser.add_argument("faults", nargs="*", help="only faults with these names; * and ? are wildcards")
    parser.add_argument("--breaks", action="append", default=[], help="only of this law or rule, as 'law 1', 'access*'")
    parser.add_argument("--list", action="store_true", help="list faults and end")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time (default: 2)")
    parser.add_argument("--limit", type=float, default=_LIMIT, help="seconds for the tests of a fault (default: 600)")
    parser.add_argument(
        "--no-control", dest="control", action="store_false", help="do not run the tests that noticed without a fault"
    )
    return parser


def _start_cratedb(stack: ExitStack, faults: Iterable[Fault]) -> set[str]:
    """One server for all that need one; clusters are started by the tests. What faults may need here."""
    able = {"", *(["cluster"] if cratedb_home() else [])}
    if any(fault.needs == "cratedb" for fault in faults):
        server = stack.enter_context(one_node())
        if server is not None:
            os.environ.update(CRATEDB_URI=server.uri, CRATEDB_REPO_ROOT=str(server.repo_root))
            able.add("cratedb")
    return able


def _control(bench: Bench, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """A test that fails anyway would notice everything."""
    started = time.monotonic()
    found = bench.control(verdicts)
    print(f"{time.monotonic() - started:5.0f} s  the tests that noticed, without any fault", flush=True)
    return found


def _tell(verdict: Verdict) -> None:
    print(f"{verdict.seconds:5.0f} s  {verdict.outcome:9} {verdict.fault.id}: {verdict.why}", flush=True)


def _show(verdicts: Sequence[Verdict]) -> None:
    """A table by what faults break, then what has to be looked at."""
    counts = Counter((verdict.fault.breaks, verdict.outcome) for verdict in verdicts)
    print(f"\n{'':24}{'faults':>7}{'noticed':>9}{'other':>7}")
    for promise in PROMISES:
        of = {outcome: count for (breaks, outcome), count in counts.items() if breaks == promise}
        good = of.get(NOTICED, 0) + of.get(TIMEOUT, 0)
        if of:
            print(f"{promise:24}{sum(of.values()):7}{good:9}{sum(of.values()) - good or '':>7}")
    for verdict in verdicts:
        if verdict.outcome != NOTICED:
            print(f"!! {verdict.outcome}: {verdict.fault.id} ({verdict.fault.breaks}): {verdict.why}")
    print()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # What tests started ends, and the copies go.
    sys.exit(main())
