"""
Applies faults to copies of the project, and runs the tests that should notice.

Each run is a process of its own, forked from one that has imported the libraries and nothing of the project: importing
them takes longer than most tests that notice.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from zlib import crc32

from mutants.faults import Fault, Misplaced
from mutants.judging import COPY, MODULE, ONLY, OUTCOME
from support import forkclient
from support.forkserver import fork_server

_T = TypeVar("_T")
_R = TypeVar("_R")
PROJECT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis", "node_modules"
)
# Pytest rewrites the assertions of plugins as well, for which it is too late.
_IMPORTED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
_PLUGINS = ("cacheprovider", "randomly", "schemathesis")
NOTICED, SURVIVED, INVALID, TIMEOUT, NOT_JUDGED = "noticed", "survived", "invalid", "timeout", "not judged"
# These make the bench fail.
BAD = (SURVIVED, INVALID)
# Seconds for tests to end when they are stopped.
_STOP_SECONDS = 20
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
    said: str
    passed: Sequence[str] = ()
    skipped: Sequence[str] = ()
    failed: Sequence[str] = ()
    broken: Sequence[str] = ()


class _Copy:
    """A copy of the project, which has one fault at a time."""

    def __init__(self, directory: Path, limit: float) -> None:
        self.directory, self._place, self._limit = directory / "project", directory, limit
        self._process, self._stopped = 0, False
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

    def control(self, needs: str, tests: Collection[str]) -> tuple[set[str], str]:
        """Run tests without a fault: which of them did not pass, and the last that was said."""
        ended = self._test(sorted({_function(test) for test in tests}), "cratedb_retention", needs, only=tests)
        return set(tests) - set(ended.passed), ended.said

    def _test(self, tests: Iterable[str], module: str, needs: str, only: Collection[str] = ()) -> _Ended:
        outcome = self._place / "outcome.json"
        outcome.unlink(missing_ok=True)
        options = ["-q", "--no-header", "-m", _MARKS[needs], "--hypothesis-profile=unshrunk", "-W", _IMPORTED]
        options += [f"--basetemp={self._place / 'temporary'}", *([] if only else ["-x"])]
        options += [word for plugin in _PLUGINS for word in ("-p", f"no:{plugin}")]
        more = {MODULE: module, OUTCOME: str(outcome), ONLY: json.dumps(list(only))}
        code, said = self._run([*options, *tests], more, None if only else self._limit)
        found = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else {}
        return _Ended(code=code, said=said, **found)

    def _run(self, arguments: Sequence[str], more: dict[str, str], limit: float | None) -> tuple[int | None, str]:
        """Pytest's exit code, None after the limit; and the last that was said."""
        paths = os.pathsep.join(str(self.directory / name) for name in ("src", "tests"))
        environment = {**os.environ, **more, "PYTHONPATH": paths, COPY: str(self.directory)}
        command = ["python", "-m", "mutants.judging", *arguments]
        server = fork_server(toolkit=False)
        with Path(os.devnull).open("rb") as nothing, (self._place / "said").open("w+b") as said:
            streams = [nothing.fileno(), said.fileno(), said.fileno()]
            with closing(forkclient.start(server.socket, command, str(self.directory), environment, streams)) as run:
                self._process = forkclient.receive(run)
                if self._stopped:
                    self._kill(signal.SIGTERM)
                code = self._wait(run, limit)
                self._process = 0
            said.seek(0)
            lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
        return code, " | ".join(lines[-3:])[-400:]

    def _wait(self, run: socket.SocketType, limit: float | None) -> int | None:
        """Wait for the end of the tests; after the limit, end them and what they started."""
        run.settimeout(limit)
        with suppress(TimeoutError):
            return forkclient.receive(run)
        self._kill(signal.SIGTERM)
        run.settimeout(_STOP_SECONDS)
        with suppress(TimeoutError):
            forkclient.receive(run)
        self._kill(signal.SIGKILL)
        return None

    def stop(self) -> None:
        """End the tests that run, and any that are about to."""
        self._stopped = True
        self._kill(signal.SIGTERM)

    def _kill(self, number: signal.Signals) -> None:
        """Send a signal to the tests that run, and to what they started."""
        for kill in (os.killpg, os.kill):  # It leads a group only a moment after it was forked.
            with suppress(ProcessLookupError):
                if self._process:
                    kill(self._process, number)
                break


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
        return SURVIVED, f"{len(ended.passed)} tests passed"
    if ended.code == 0 and ended.skipped:
        return INVALID, f"all {len(ended.skipped)} tests were skipped"
    return INVALID, f"pytest ended with {ended.code}: {ended.said}"


class Bench:
    """
    Copies of the project, to work with side by side.

    :param limit: Seconds after which the tests of a fault are stopped.
    """

    def __init__(self, directory: Path, jobs: int, limit: float) -> None:
        fork_server(toolkit=False)  # Threads share it, so it starts before them.
        self._copies = [_Copy(directory / f"job{number}", limit) for number in range(jobs)]
        self._lock = threading.Lock()

    def judge(self, faults: Iterable[Fault], told: Callable[[Verdict], None]) -> list[Verdict]:
        """
        Judge faults.

        :param told: Is told of each verdict.
        """

        def judge(copy: _Copy, fault: Fault) -> Verdict:
            try:
                verdict = copy.judge(fault)
            except Exception as error:
                verdict = Verdict(fault=fault, outcome=INVALID, why=repr(error))
            with self._lock:
                told(verdict)
            return verdict

        return self._share(faults, judge)

    def control(self, verdicts: Iterable[Verdict]) -> list[Verdict]:
        """Verdicts again, after the tests that noticed were run without a fault: one that fails then tells nothing."""
        found = list(verdicts)
        parts: dict[tuple[str, int], set[str]] = defaultdict(set)
        for verdict in found:
            if verdict.outcome == NOTICED:
                file = verdict.why.partition("::")[0]
                parts[verdict.fault.needs, crc32(file.encode()) % len(self._copies)].add(verdict.why)

        def control(copy: _Copy, part: tuple[str, int]) -> dict[tuple[str, str], str]:
            tests, said = copy.control(part[0], parts[part])
            return {(part[0], test): said for test in tests}

        wrong = {test: said for part in self._share(parts, control) for test, said in part.items()}
        for number, verdict in enumerate(found):
            said = wrong.get((verdict.fault.needs, verdict.why))
            if said is not None and verdict.outcome == NOTICED:
                why = f"{verdict.why} fails without the fault as well ({said})"
                found[number] = replace(verdict, outcome=INVALID, why=why)
        return found

    def _share(self, work: Iterable[_T], do: Callable[[_Copy, _T], _R]) -> list[_R]:
        """Do all of this work, one piece at a time in each copy."""
        free: queue.SimpleQueue[_Copy] = queue.SimpleQueue()
        for copy in self._copies:
            free.put(copy)

        def serve(piece: _T) -> _R:
            copy = free.get()
            try:
                return do(copy, piece)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(len(self._copies)) as pool:
            try:
                return list(pool.map(serve, work))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for copy in self._copies:
                    copy.stop()
                raise
