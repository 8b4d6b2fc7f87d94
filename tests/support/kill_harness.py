"""
Runs that are killed, each in a process of its own (``forkserver.py``), at one of the instants at which a kill can leave
something different behind.

- :func:`run_until_killed` ends a run by SIGKILL at an instant, :func:`kill_runs` one run after the other at many.
- :func:`left_by_kills` lets a run on DuckDB come to its end, and keeps a copy of its files at each instant. A process
  that is killed leaves just these files, so this is what all kills would leave, for the price of one run.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from support.forkserver import fork_server

FILE_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
READS = ("SELECT", "REFRESH")
BOOKKEEPING = re.compile(r"\.(lease|job_state|last_run) ")


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """
    A run in a process of its own.

    :param cutoff: Of its run, in ISO 8601; empty: it sets up instead.
    :param batch: Rows in one DELETE, so that a small table takes several.
    :param kill_at: The instant at which it kills itself, counted from 1; 0: never.
    :param kill_kind: It kills itself at the first instant of this kind; empty: never.
    :param watched: File operations in this directory are instants as well.
    :param kept: Where files are copied to at each instant; empty: they are not.
    :param parts: Of the copies, only each how many-th is kept, beginning with the one of that number (``part``).
    :param undo: The table from which it brings back what was deleted, instead of a run; empty: it runs.
    """

    uri: str
    schema: str
    cutoff: str
    batch: int = 1000
    kill_at: int = 0
    kill_kind: str = ""
    watched: str = ""
    kept: str = ""
    parts: int = 1
    part: int = 0
    undo: str = ""


def run_until_killed(request: RunRequest) -> str | None:
    """
    Let a run be killed, and wait until it is dead.

    :return: In words when it was killed; None if it came to its end before that.
    """
    done = _start(request)
    if done.returncode == 0:
        return None
    assert done.returncode == -signal.SIGKILL, f"a run ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.splitlines()[-1]


def list_instants(request: RunRequest) -> list[str]:
    """The instants of a run that comes to its end."""
    done = _start(request)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def kind_of(instant: str) -> str:
    """What an instant has in common with those that differ in names, numbers and values alone."""
    return re.sub(r"\"[^\"]*\"|'[^']*'|[\w-]*\d[\w-]*|\?", "", instant)[:80]


def kill_runs(
    request: RunRequest, reset: Callable[[], None], stride: int, bookkeeping: bool = True, kinds: int = 1
) -> Iterator[str]:
    """
    Kill one run after the other, and give the instant of each, so that what it left can be looked at.

    :param reset: Makes everything as it was before a run.
    :param stride: Each how many-th instant; 0: the first of each kind while CrateDB does something. After that, all is
        as it is when CrateDB was killed over the next change.
    :param bookkeeping: Whether also while CrateDB stores that the run goes on, which is alike whatever it does; with a
        stride always.
    :param kinds: Each how many-th kind of instant, without a stride.
    """
    if stride:
        for number in itertools.count(1, stride):
            reset()
            killed = run_until_killed(replace(request, kill_at=number))
            if killed is None:
                return
            yield killed
    reset()
    instants = list_instants(request)
    wanted = [
        instant
        for instant in instants
        if stride or (instant.startswith("while") and (bookkeeping or not BOOKKEEPING.search(instant)))
    ]
    for kind in sorted(set(map(kind_of, wanted)))[::kinds]:
        reset()
        killed = run_until_killed(replace(request, kill_kind=kind))
        assert killed or "job_state" in kind, kind  # A heartbeat comes when it likes.
        if killed:
            yield killed


def left_by_kills(request: RunRequest, files: Path, kept: Path) -> list[tuple[str, Path]]:
    """
    What kills of a run on DuckDB would leave behind.

    :param files: The directory with the database and all other files that the run writes.
    :param kept: A directory for copies of it, which does not exist yet.
    :return: Pairs of an instant and a copy; none for an instant that leaves the same as the one before.
    """
    kept.mkdir()
    instants = list_instants(replace(request, kept=json.dumps([str(files), str(kept)])))
    return [(instants[int(copy.name) - 1], copy) for copy in sorted(kept.iterdir())]


def last_of_each_kind(left: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Those at which most was done before."""
    return list({kind_of(instant): (instant, files) for instant, files in left}.values())


def _start(request: RunRequest) -> subprocess.CompletedProcess[str]:
    return fork_server().run("python", "-m", "support.kill_harness", json.dumps(asdict(request)), env=os.environ)


class _Instants:
    """Counts and names instants, and kills or copies files at them."""

    def __init__(self, request: RunRequest) -> None:
        self._kill_at, self._kill_kind = request.kill_at, request.kill_kind
        self._copied = [Path(path) for path in json.loads(request.kept)] if request.kept else []
        self._parts, self._part, self._states = request.parts, request.part, 0
        self._number = 0
        self._busy = False
        self._last = ""

    def reach(self, what: str) -> None:
        """An instant; what is done here is none."""
        if self._busy:
            return
        self._busy = True
        self._number += 1
        instant = " ".join(what.split())[:200]
        print(instant, flush=True)
        if self._number == self._kill_at or kind_of(instant) == self._kill_kind:
            os.kill(os.getpid(), signal.SIGKILL)
        self._copy()
        self._busy = False

    def _copy(self) -> None:
        """Copy the files, unless they are as they were at the last instant."""
        if self._copied:
            files, kept = self._copied
            found = hashlib.sha1(usedforsecurity=False)
            for path in sorted(path for path in files.rglob("*") if path.is_file()):
                found.update(f"{path}\n".encode() + path.read_bytes())
            if found.hexdigest() != self._last:
                self._last = found.hexdigest()
                if self._states % self._parts == self._part:
                    shutil.copytree(files, kept / f"{self._number:05d}")
                self._states += 1


def _run(request: RunRequest) -> None:
    from cratedb_retention import Retention
    from cratedb_retention.engine.cratedb.engine import CrateDBEngine
    from cratedb_retention.engine.duckdb.engine import DuckDBEngine

    CrateDBEngine.batch = DuckDBEngine.batch = request.batch
    instants = _Instants(request)
    with Retention(request.uri, request.schema) as retention:
        watch = _watch_crate if request.uri.startswith("crate:") else _watch_duck
        watch(retention.engine.database.engine, instants)
        if request.undo:
            if request.watched:
                (_watch_syncs if request.uri.startswith("crate:") else _watch_files)(request.watched, instants)
            retention.undo(table_schema="*", table_name=request.undo)
        elif not request.cutoff:
            retention.setup(journal_policy=False)
        elif request.uri.startswith("crate:"):
            if request.watched:
                _watch_syncs(request.watched, instants)
            retention.run(cutoff=dt.datetime.fromisoformat(request.cutoff))
        else:
            if request.watched:
                _watch_files(request.watched, instants)
            retention.run(
                cutoff=dt.datetime.fromisoformat(request.cutoff),
                observers=[lambda event: instants.reach(f"at {type(event).__name__}")],
            )


def _watch_crate(engine: Any, instants: _Instants) -> None:
    """
    Each statement that changes something: when it was sent, while the server goes on, and when it was answered.

    Before it is the same as after the one before; so is the time of reading, and of the runner's events. Nothing
    reads the journal, so it does not matter how far a row of it is.
    """
    import urllib3

    sent: list[str] = []
    wait_for_answer = urllib3.connection.HTTPConnection.getresponse

    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent[:] = [] if statement.startswith(READS) or "jobs_log" in statement else [statement]

    def after(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith(READS):
            instants.reach(f"after {statement}")

    def on_its_way(connection: Any) -> Any:
        if sent:
            instants.reach(f"while CrateDB does {sent[0]}")
        return wait_for_answer(connection)

    sa.event.listen(engine, "before_cursor_execute", before)
    sa.event.listen(engine, "after_cursor_execute", after)
    setattr(urllib3.connection.HTTPConnection, "getresponse", on_its_way)  # noqa: B010


def _watch_duck(engine: Any, instants: _Instants) -> None:
    """Before and after each statement that changes something; after it is before it is committed."""

    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith(READS):
            instants.reach(f"before {statement}")

    def after(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith(READS):
            instants.reach(f"before the commit of {statement}")

    sa.event.listen(engine, "before_cursor_execute", before)
    sa.event.listen(engine, "after_cursor_execute", after)


def _watch_files(directory: str, instants: _Instants) -> None:
    """Before each operation on the files of a repository."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_OPERATIONS and str(arguments[0]).startswith(directory):
            instants.reach(f"before {event} {arguments[:2]}")

    sys.addaudithook(heard)


def _watch_syncs(directory: str, instants: _Instants) -> None:
    """Before a file in a directory, or the directory itself, is made durable: rows and manifests, before and after."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(directory):
            path = Path(str(arguments[0]))
            what = "a file" if path.suffix == ".partial" else "a directory"
            instants.reach(f"while {what} of {'manifests' if '_manifests' in path.parts else 'rows'} is synced")

    sys.addaudithook(heard)


if __name__ == "__main__":
    _run(RunRequest(**json.loads(sys.argv[1])))
