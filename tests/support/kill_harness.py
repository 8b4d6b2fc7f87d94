"""
Runs that are killed: each in a process of its own, which ends itself with SIGKILL at its n-th instant.

The instants of a run are all the moments at which a kill can leave something different behind. Processes are forked
(``forkserver.py``), so that each costs hardly more than its run.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from support.forkserver import fork_server

FILE_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
READS = ("SELECT", "REFRESH")


@dataclass(frozen=True)
class Order:
    """
    What a process has to do.

    :param cutoff: Of its run, in ISO 8601.
    :param kill_at: At which instant it ends itself, counted from 1.
    :param batch: Rows in one DELETE, so that a small table takes several.
    :param watched: File operations beneath this directory are instants as well.
    """

    uri: str
    schema: str
    cutoff: str
    kill_at: int
    batch: int
    watched: str = ""


def run_until_killed(order: Order) -> str | None:
    """
    Let a run be killed, and wait until it is dead.

    :return: In words when it was killed; None if it came to its end before that.
    """
    order_text = json.dumps(asdict(order))
    done = fork_server().run("python", "-m", "support.kill_harness", order_text, env=os.environ)
    if done.returncode == 0:
        return None
    assert done.returncode == -signal.SIGKILL, f"a run ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.splitlines()[-1]


class _Instants:
    """Counts, and kills."""

    def __init__(self, kill_at: int) -> None:
        self._left = kill_at

    def reach(self, what: str) -> None:
        """An instant."""
        self._left -= 1
        if self._left == 0:
            print(" ".join(what.split())[:200], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


def _obey(order: Order) -> None:
    from cratedb_retention import Retention
    from cratedb_retention.engine.cratedb import delete as crate_delete
    from cratedb_retention.engine.duckdb import delete as duck_delete

    crate_delete.BATCH = duck_delete.BATCH = order.batch
    instants = _Instants(order.kill_at)
    with Retention(order.uri, order.schema) as retention:
        if order.uri.startswith("crate:"):
            _watch_crate(retention.engine.database.engine, instants)
            retention.run(cutoff=dt.datetime.fromisoformat(order.cutoff))
        else:
            _watch_duck(retention.engine.database.engine, instants)
            _watch_files(order.watched, instants)
            retention.run(
                cutoff=dt.datetime.fromisoformat(order.cutoff),
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


if __name__ == "__main__":
    _obey(Order(**json.loads(sys.argv[1])))
