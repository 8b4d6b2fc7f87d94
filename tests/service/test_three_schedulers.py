"""
Law 8 on a real CrateDB: three schedulers that die and pause at random, and each due run happens exactly once, or is
resumed. The journal proves it.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention import Retention
from cratedb_retention.errors import LeaseLost
from cratedb_retention.execution.runs.events import RunEvent, StepFailed, StepFinished, StepStarted
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.planning.schedule import newest_slot
from cratedb_retention.store.audit import JournalFilter
from cratedb_retention.store.runs import Lease
from support.databases import TIME, CrateDatabase
from support.tiers import examples


class Killed(BaseException):
    """The scheduler was killed; no code handles this."""


class StepMonitor:
    """Which scheduler executes a step of which policy; no two may work on the same one."""

    def __init__(self) -> None:
        self._busy: dict[str, str] = {}
        self._lock = threading.Lock()
        self.overlaps: list[str] = []
        self.steps = 0

    def begin(self, who: str, policy: str) -> None:
        """A step begins."""
        with self._lock:
            self.steps += 1
            other = self._busy.get(policy)
            if other not in (None, who):
                self.overlaps.append(f"{who} began while {other} was at {policy}")
            self._busy[policy] = who

    def end(self, who: str) -> None:
        """A scheduler is idle: its step is over, or it is dead or paused."""
        with self._lock:
            self._busy = {policy: holder for policy, holder in self._busy.items() if holder != who}


class UnreliableScheduler:
    """
    A scheduler that is killed or paused at random statements.

    :param open_tool: Opens the toolkit with connections of its own, for a scheduler of that name.
    :param kill: How likely it dies at a statement; ``pause``: that it pauses there.
    """

    def __init__(
        self,
        name: str,
        open_tool: Callable[[str], Retention],
        monitor: StepMonitor,
        chance: random.Random,
        kill: float,
        pause: float,
    ) -> None:
        self.name, self._open, self._monitor, self._chance = name, open_tool, monitor, chance
        self._kill, self._pause = kill, pause
        self._idle, self._go_on = threading.Event(), threading.Event()
        self.is_dead, self.is_paused = True, False
        # Whether it looked what is due at this tick, and came to the end of that; and whether it went on with what it
        # was at before.
        self.has_looked = self.has_resumed = self._is_late = False
        self.deaths = self.pauses = self.losses = 0
        self.errors: list[BaseException] = []
        self._tool: Retention | None = None

    def _revive(self) -> Retention:
        if self.is_dead or self._tool is None:
            if self._tool is not None:
                self._tool.close()
            self._tool, self.is_dead = self._open(self.name), False
            engine = self._tool.engine.database.engine
            for moment in ("before_cursor_execute", "after_cursor_execute"):
                sa.event.listen(engine, moment, self._meet_fate)
        return self._tool

    def _meet_fate(self, *args: Any) -> None:
        if self.is_dead:
            raise Killed
        drawn = self._chance.random()
        if drawn < self._kill:
            self.is_dead = True
            self.deaths += 1
            self._monitor.end(self.name)
            raise Killed
        if drawn < self._kill + self._pause:
            self.pauses += 1
            self._monitor.end(self.name)
            self.is_paused = True
            self._idle.set()
            self._go_on.wait()
            self._go_on.clear()

    def tick(self, resume: bool) -> None:
        """Look once, in a thread; one that pauses does not, but it may go on with what it was at."""
        self.has_looked = self.has_resumed = False
        if not self.is_paused:
            self._idle.clear()
            threading.Thread(target=self._look, daemon=True).start()
        elif resume:
            self._is_late = self.has_resumed = True
            self.is_paused = False
            self._idle.clear()
            self._go_on.set()

    def wait(self) -> None:
        """Until it has nothing to do, is dead, or pauses."""
        self._idle.wait()

    def _look(self) -> None:
        self._is_late = False
        try:
            self._revive().run_due([self._observe], RunOptions(lease=60, threads=False))
            self.has_looked = not self._is_late
        except Killed:
            pass
        except LeaseLost:
            self.losses += 1
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._monitor.end(self.name)
            self._idle.set()

    def _observe(self, event: RunEvent) -> None:
        if isinstance(event, StepStarted):
            self._monitor.begin(self.name, event.task.policy_id or "")
        elif isinstance(event, StepFinished | StepFailed):
            self._monitor.end(self.name)


TICKS = examples(100, long=400)
SCHEDULES = {"a": "*/10 * * * *", "b": "*/15 * * * *", "c": "7,37 * * * *", "d": "0 * * * *"}
OLD = "2024-05-01T00:00:00Z"


@pytest.mark.slow("days of schedules, with schedulers that die")
@pytest.mark.timeout(900)
def test_each_due_run_once_or_resumed(crate: CrateDatabase) -> None:
    """Many ticks; at each, everything that nobody is at is done up to its newest slot."""
    chance = random.Random(20240702)
    for name, schedule in SCHEDULES.items():
        crate.create(name, {"ts": TIME, "n": "TEXT"})
        crate.policy("delete", name, "30d", id=name, schedule=schedule)
    monitor = StepMonitor()
    schedulers = [
        UnreliableScheduler(f"s{i}", crate.retention, monitor, random.Random(i), kill=0.012, pause=0.006)
        for i in range(3)
    ]
    before: dict[str, Lease] = {}
    for _ in range(TICKS):
        crate.time.moment += dt.timedelta(seconds=chance.choice([20, 90, 240, 600]))
        if chance.random() < 0.3:
            crate.fill(chance.choice(list(SCHEDULES)), [OLD])
        for scheduler in schedulers:
            scheduler.tick(resume=chance.random() < 0.4)
        for scheduler in schedulers:
            scheduler.wait()
        before = assert_nothing_is_lost(crate, schedulers, before)
    end(crate, schedulers)
    assert not monitor.overlaps
    assert not [error for scheduler in schedulers for error in scheduler.errors]
    # All of that must have happened, or nothing is proved.
    assert monitor.steps > 20
    for seen in ("deaths", "pauses", "losses"):
        assert sum(getattr(scheduler, seen) for scheduler in schedulers) > (0 if seen == "losses" else 10)
    assert_journal_proves_it(read_journal(crate))
    for name in SCHEDULES:
        assert crate.left(name) == []


def end(crate: CrateDatabase, schedulers: Sequence[UnreliableScheduler]) -> None:
    """Let all come to an end, and one that can't die do the rest."""
    for scheduler in schedulers:
        scheduler._kill = scheduler._pause = 0.0
        scheduler.tick(resume=True)
        scheduler.wait()
    crate.time.moment += dt.timedelta(hours=2)
    schedulers[0].tick(resume=True)
    schedulers[0].wait()
    leases = crate.tool.store.leases.read()
    assert all(leases.of(name).holder is None for name in SCHEDULES)


def assert_nothing_is_lost(
    crate: CrateDatabase, schedulers: Sequence[UnreliableScheduler], before: Mapping[str, Lease]
) -> dict[str, Lease]:
    """
    Where somebody could look to the end, what nobody holds is done; and fences only grow.

    :param before: The leases when the last tick was over.
    :return: The leases now.
    """
    leases = crate.tool.store.leases.read()
    scheduled = {item.policy_id: item for item in crate.tool.store.policies.scheduled()}
    somebody_looked = any(scheduler.has_looked for scheduler in schedulers)
    somebody_resumed = any(scheduler.has_resumed for scheduler in schedulers)
    for name in SCHEDULES:
        lease = leases.of(name)
        assert name not in before or lease.fence >= before[name].fence
        due, since = newest_slot(scheduled[name], leases.now), scheduled[name].since
        # Somebody who stood still may give it back when all others have looked, or between a look and a claim; what
        # it writes then may be of the time when it stopped.
        late = somebody_resumed and name in before and lease.stamp != before[name].stamp
        if somebody_looked and lease.holder is None and due and since and due >= since and not late:
            assert lease.done_slot == due, f"{name} was not run at {leases.now}: {lease}"
    return {name: leases.of(name) for name in SCHEDULES}


def read_journal(crate: CrateDatabase) -> list[Mapping[str, Any]]:
    """All of it, oldest first."""
    return crate.tool.journal(JournalFilter(limit=100_000))[::-1]


def assert_journal_proves_it(rows: Sequence[Mapping[str, Any]]) -> None:
    """No slot is done twice, or without being begun; whoever else began it did not come to an end."""
    done: dict[tuple[str, dt.datetime], str] = {}
    begun: dict[tuple[str, dt.datetime], set[str]] = defaultdict(set)
    ends = {row["run_id"]: row["outcome"] for row in rows if row["event"] == "run-finished"}
    for row in rows:
        key = (row["policy_id"], row["slot"])
        if row["event"] == "slot-started":
            begun[key].add(row["run_id"])
        elif row["event"] == "slot-finished":
            assert row["outcome"] == "done"
            assert key not in done, f"{key} was done twice"
            done[key] = row["run_id"]
    assert len(done) > 50
    for key, run in done.items():
        assert run in begun[key]
        for other in begun[key] - {run}:
            # Dead, so that the journal has no end of it, or told that its lease was lost.
            assert ends.get(other) in (None, "interrupted"), f"{key} was done by {other} as well"
    resumed = {(row["policy_id"], row["run_id"]) for row in rows if row["event"] == "lease-taken-over"}
    assert any((policy, run) in resumed and len(begun[policy, slot]) > 1 for (policy, slot), run in done.items())
