"""
Applies faults to copies of the project, and runs the tests that should notice.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mutants.faults import Fault, Misplaced
from mutants.judging import COPY, MODULE, OUTCOME

PROJECT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis", "node_modules"
)
_PLUGINS = ("cacheprovider", "randomly", "schemathesis")
NOTICED, SURVIVED, INVALID, TIMEOUT, NOT_JUDGED = "noticed", "survived", "invalid", "timeout", "not judged"
# These make the bench fail.
BAD = (SURVIVED, INVALID)
# What does not need a CrateDB is to be noticed without one, and what does, there: so none starts for nothing.
_MARKS = {"": "not cratedb and not cluster", "cratedb": "cratedb", "cluster": "cluster"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    What came of a fault.

    :param why: The test that noticed it, or what is wrong.
    """

    fault: Fault
    outcome: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """How pytest ended: its exit code (None: it was stopped), and what the judge wrote."""

    code: int | None
    passed: int
    skipped: int
    failed: Sequence[str]
    broken: Sequence[str]
    said: str


class Copy:
    """
    A copy of the project, which has one fault at a time.

    :param limit: Seconds after which tests are stopped.
    """

    def __init__(self, directory: Path, limit: float) -> None:
        self.directory, self._limit = directory / "project", limit
        self._process: subprocess.Popen[str] | None = None
        shutil.copytree(PROJECT, self.directory, ignore=_LEFT_OUT, symlinks=True)

    def judge(self, fault: Fault) -> Verdict:
        """Apply a fault, run its tests, undo it."""
        path = self.directory / fault.path
        text = path.read_text(encoding="utf-8")
        started = time.monotonic()
        try:
            changed = fault.apply(text)
        except Misplaced as error:
            return Verdict(fault=fault, outcome=INVALID, why=str(error))
        try:
            _write(path, changed)
            ended = self._test(fault.tests, fault.module, fault.needs)
        finally:
            _write(path, text)
        outcome, why = _judge(ended)
        return Verdict(fault=fault, outcome=outcome, why=why, seconds=time.monotonic() - started)

    def control(self, verdicts: Iterable[Verdict]) -> list[Verdict]:
        """Verdicts again, after the tests that noticed were run without a fault: one that fails then tells nothing."""
        found = list(verdicts)
        for needs in sorted({verdict.fault.needs for verdict in found}):
            of = [v for v in found if v.outcome == NOTICED and v.fault.needs == needs]
            tests = sorted({_function(verdict.why) for verdict in of})
            ended = self._test(tests, "cratedb_retention", needs, first_only=False) if tests else None
            if ended is None or ended.code == 0:
                continue
            wrong = {_function(test) for test in (*ended.failed, *ended.broken)} or set(tests)
            for verdict in of:
                if _function(verdict.why) in wrong:
                    why = f"{verdict.why} fails without the fault as well ({ended.said})"
                    found[found.index(verdict)] = replace(verdict, outcome=INVALID, why=why)
        return found

    def _test(self, tests: Sequence[str], module: str, needs: str, first_only: bool = True) -> _Ended:
        outcome = self.directory.parent / "outcome.json"
        outcome.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "mutants.judging", "-m", _MARKS[needs]]
        command += ["--hypothesis-profile=unshrunk"]
        command += ["-x"] if first_only else []
        command += [word for plugin in _PLUGINS for word in ("-p", f"no:{plugin}")]
        code, said = self._run([*command, *tests], {MODULE: module, OUTCOME: str(outcome)}, first_only)
        found = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else {}
        lists = {key: found.get(key, []) for key in ("failed", "broken")}
        counts = {key: found.get(key, 0) for key in ("passed", "skipped")}
        return _Ended(code=code, **counts, **lists, said=said)

    def _run(self, command: Sequence[str], more: dict[str, str], limited: bool) -> tuple[int | None, str]:
        """The exit code, None after the limit; and the last that was said."""
        paths = os.pathsep.join(str(self.directory / name) for name in ("src", "tests"))
        environment = {**os.environ, **more, "PYTHONPATH": paths, COPY: str(self.directory)}
        with subprocess.Popen(
            command,
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as self._process:
            try:
                said, _ = self._process.communicate(timeout=self._limit if limited else None)
            except subprocess.TimeoutExpired:
                self.stop()
                return None, ""
            except BaseException:
                self.stop()
                raise
            lines = [line for line in said.splitlines() if line.strip()]
            return self._process.returncode, " | ".join(lines[-3:])[-400:]

    def stop(self) -> None:
        """End the tests that run, and the servers that they started."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
                return


def _function(test: str) -> str:
    """A test without its parameters."""
    return test.partition("[")[0]


def _write(path: Path, text: str) -> None:
    """Write a module, and forget what was compiled: times of files tell apart whole seconds only."""
    path.write_text(text, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _judge(ended: _Ended) -> tuple[str, str]:
    if ended.code is None:
        return TIMEOUT, "the tests did not end"
    if ended.code == 1 and ended.failed:
        return NOTICED, ended.failed[0]
    if ended.broken:
        return INVALID, f"not tested: {ended.broken[0]} ({ended.said})"
    if ended.code == 0 and ended.passed:
        return SURVIVED, f"{ended.passed} tests passed"
    if ended.code == 0 and ended.skipped:
        return INVALID, f"all {ended.skipped} tests were skipped"
    return INVALID, f"pytest ended with {ended.code}: {ended.said}"


def judge_all(
    faults: Iterable[Fault], jobs: int, limit: float, directory: Path, told: Callable[[Verdict], None]
) -> list[Verdict]:
    """
    Judge faults, some at a time.

    :param told: Is told of each verdict.
    """
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in faults:
        waiting.put(fault)
    verdicts: list[Verdict] = []
    lock = threading.Lock()
    copies = [Copy(directory / f"job{number}", limit) for number in range(jobs)]

    def work(copy: Copy) -> None:
        while True:
            try:
                fault = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                verdict = copy.judge(fault)
            except Exception as error:
                verdict = Verdict(fault=fault, outcome=INVALID, why=repr(error))
            with lock:
                verdicts.append(verdict)
                told(verdict)

    threads = [threading.Thread(target=work, args=(copy,), daemon=True) for copy in copies]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        for copy in copies:
            copy.stop()
        raise
    return verdicts
