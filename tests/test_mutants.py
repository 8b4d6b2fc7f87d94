"""
The bench of deliberate faults (`make mutants`) in itself: each fault still applies, and nothing promised lacks faults.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from mutants.faults import Fault, Misplaced, choose, read_faults
from mutants.promises import ACCESS, GUARDS, LAWS, PROMISES
from mutants.running import INVALID, NOTICED, SURVIVED, TIMEOUT, Bench, Verdict

PROJECT = Path(__file__).parents[1]
FAULTS = read_faults()


@cache
def read(path: Path | str) -> str:
    """A file of the project; empty if it does not exist."""
    file = PROJECT / path
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def exists(test: str) -> bool:
    """Whether there is such a test, or a file or folder of tests."""
    file, _, name = test.partition("::")
    return f"def {name.partition('[')[0]}(" in read(file) if name else (PROJECT / file).exists()


def test_faults_apply() -> None:
    """What a fault replaces is there once, and its tests exist. That the result is Python, `make mutants` sees."""
    assert {fault.id: found for fault in FAULTS if (found := read(fault.path).count(fault.was)) != 1} == {}
    assert {fault.id: fault.tests for fault in FAULTS if not fault.tests or not all(map(exists, fault.tests))} == {}
    assert [fault.id for fault in FAULTS if fault.was == fault.becomes or not fault.promise.endswith((".", "?"))] == []


def test_each_promise_has_three_faults() -> None:
    """There are at least sixty faults, and three for each law, guard and rule of access; their names are unique."""
    assert len(FAULTS) >= 60
    assert not [name for name, count in Counter(fault.id for fault in FAULTS).items() if count > 1]
    counts = Counter(fault.breaks for fault in FAULTS)
    assert not [promise for promise in PROMISES if counts[promise] < 3]
    assert (len(LAWS), len(PROMISES)) == (10, len(LAWS) + len(GUARDS) + len(ACCESS))


def test_what_does_not_apply_is_said() -> None:
    """Text that is there never or twice, and what is no Python then, is no fault."""
    fault = Fault(
        id="x", breaks="law 1", promise="p.", file="errors.py", was="one", becomes="two", tests=("tests/model",)
    )
    assert fault.apply("a = 'one'") == "a = 'two'"
    for text, reason in (("", "0 times"), ("one, one", "2 times"), ("one +", "no Python")):
        with pytest.raises(Misplaced, match=reason):
            fault.apply(text)
    assert choose([fault], ["x*"], []) == choose([fault], [], ["law*"]) == [fault]
    assert choose([fault], ["y"], []) == choose([fault], [], ["access*"]) == []


EXPECTED = {
    "noticed": NOTICED,
    "survives": SURVIVED,
    "can-not-be-imported": INVALID,
    "all-are-deselected": INVALID,
    "not-there": INVALID,
}


LONG = pytest.mark.long("it copies the project, and imports all libraries; make test looks at the faults themselves")


@LONG
def test_verdicts(tmp_path: Path) -> None:
    """A test that fails notices; one that passes does not; an import that fails, or no test at all, says nothing."""
    tags = {"file": "model/policies/tags.py", "was": 'NOT = "not:"'}
    exit_done = {"file": "errors.py", "was": "EXIT_DONE = 0"}
    tests = ("tests/model/test_tags.py",)
    faults = [
        Fault(id="noticed", breaks="law 1", promise="p.", **tags, becomes='NOT = "no:"', tests=tests),
        Fault(id="survives", breaks="law 1", promise="p.", **exit_done, becomes="EXIT_DONE = -0", tests=tests),
        Fault(id="can-not-be-imported", breaks="law 1", promise="p.", **tags, becomes="NOT = unknown", tests=tests),
        Fault(
            id="all-are-deselected",
            breaks="law 1",
            promise="p.",
            **tags,
            becomes='NOT = "no:"',
            tests=tests,
            needs="cluster",
        ),
        Fault(
            id="not-there",
            breaks="law 1",
            promise="p.",
            file="model/policies/tags.py",
            was="nothing of the kind",
            becomes="",
            tests=tests,
        ),
    ]
    told: list[str] = []
    bench = Bench(tmp_path, 1, 120)
    verdicts = bench.judge(faults, lambda verdict: told.append(verdict.fault.id))
    assert {verdict.fault.id: verdict.outcome for verdict in verdicts} == EXPECTED
    assert told == list(EXPECTED)
    assert bench.control(verdicts) == verdicts
    project = tmp_path / "job0" / "project"
    (project / "tests" / "test_wrong.py").write_text("def test_wrong() -> None:\n    assert False\n")
    anyway = Verdict(fault=faults[1], outcome=NOTICED, why="tests/test_wrong.py::test_wrong")
    assert [verdict.outcome for verdict in bench.control([verdicts[0], anyway])] == [NOTICED, INVALID]
    assert (project / faults[0].path).read_bytes() == (PROJECT / faults[0].path).read_bytes()


@LONG
def test_tests_that_do_not_end_are_stopped(tmp_path: Path) -> None:
    """After the limit they are stopped together with the processes that they started."""
    bench = Bench(tmp_path, 1, 10)
    (tmp_path / "job0" / "project" / "tests" / "test_endless.py").write_text(
        "import os, pathlib, subprocess\n"
        "def test_endless() -> None:\n"
        "    process = subprocess.Popen(['sleep', '600'])\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(process.pid))\n"
        "    process.wait()\n"
    )
    fault = Fault(
        id="endless",
        breaks="law 1",
        promise="p.",
        file="errors.py",
        was="EXIT_DONE = 0",
        becomes="EXIT_DONE = -0",
        tests=("tests/test_endless.py",),
    )
    assert [verdict.outcome for verdict in bench.judge([fault], lambda verdict: None)] == [TIMEOUT]
    started = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    assert not started.exists() or started.read_text().rpartition(")")[2].split()[0] == "Z"
