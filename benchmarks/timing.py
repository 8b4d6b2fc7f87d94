"""
Taking the time: by turns, so that whatever else the machine does meets all that is compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import NamedTuple


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# The memory of a process counts as that of its children until they run their program, so there is one in between.
_CHILD = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
_WORK = """
import sys, time
with prepared(*sys.argv[1:]) as work:
    began, started = time.perf_counter(), time.process_time()
    work()
    print(time.perf_counter() - began, time.process_time() - started)
"""


class Usage(NamedTuple):
    """The seconds that some work took, those of the processor, and the most megabytes of the process that did it."""

    seconds: float
    spent: float
    megabytes: float


def usage(script: str, *arguments: object) -> tuple[float, float]:
    """The processor seconds of some work, and the most megabytes of the process that does it: see :func:`apart`."""
    return apart(script, *arguments)[1:]


def apart(script: str, *arguments: object) -> Usage:
    """
    What some work takes in a process of its own.

    :param script: Defines ``prepared``, a context manager that gives the work.
    """
    command = [sys.executable, "-c", _CHILD, script + _WORK, *map(str, arguments)]
    *_, taken, spent, memory = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return Usage(float(taken), float(spent), float(memory))


def by_turns(repeat: int, ways: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """
    Measure several ways by turns, A B B A A B, after a turn that does not count: what is done first pays for caches and
    compilers that are still cold, and what is done second for what the first has left.

    :param ways: Each does something and returns the seconds that count, without what had to be prepared.
    :return: The median of each.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for turn in range(repeat + 1):
        for name in order:
            spent = ways[name]()
            if turn:
                taken[name].append(spent)
        order.reverse()
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_megabytes(work: Callable[[], object]) -> float:
    """How much memory some work needs beyond what is there already; that takes longer, so it is not timed."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = work()  # Held until the peak is read.
        _, peak = tracemalloc.get_traced_memory()
        del result
        return (peak - before) / 1e6
    finally:
        tracemalloc.stop()
