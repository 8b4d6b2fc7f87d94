"""
Schedulers that die and pause at random: each with connections of its own, in threads, on simulated time.

One that dies can't send anything any more, so nothing is tidied up behind it. One that pauses stands still before a
statement, or after it, until the test lets it go on.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from cratedb_retention import Retention
from cratedb_retention.errors import LeaseLost
from cratedb_retention.execution.events import RunEvent, StepFailed, StepFinished, StepStarted
from cratedb_retention.execution.running import Terms
from cratedb_retention.service.scheduler import run_due


class Killed(BaseException):
    """What a process meets that is killed: nothing can be done about it."""


class Desk:
    """Whose step is going on under which policy; no two may be at one."""

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
        """Whoever it is does nothing now: the step is over, or he is dead, or stands still."""
        with self._lock:
            self._busy = {policy: holder for policy, holder in self._busy.items() if holder != who}


class Mortal:
    """
    A scheduler with a fate.

    :param open_tool: Opens the toolkit with connections of its own, for somebody of that name.
    :param kill: How likely it dies at a statement; ``pause``: that it stands still there.
    """

    def __init__(
        self,
        name: str,
        open_tool: Callable[[str], Retention],
        desk: Desk,
        chance: random.Random,
        kill: float,
        pause: float,
    ) -> None:
        self.name, self._open, self._desk, self._chance = name, open_tool, desk, chance
        self._kill, self._pause = kill, pause
        self._idle, self._go_on = threading.Event(), threading.Event()
        self.is_dead, self.is_paused = True, False
        # Whether it looked what is due at this tick, and came to the end of that.
        self.has_looked = self._is_late = False
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
            self._desk.end(self.name)
            raise Killed
        if drawn < self._kill + self._pause:
            self.pauses += 1
            self._desk.end(self.name)
            self.is_paused = True
            self._idle.set()
            self._go_on.wait()
            self._go_on.clear()

    def tick(self, resume: bool) -> None:
        """Look once, in a thread; one that pauses does not, but it may go on with what it was at."""
        self.has_looked = False
        if not self.is_paused:
            self._idle.clear()
            threading.Thread(target=self._look, daemon=True).start()
        elif resume:
            self._is_late, self.is_paused = True, False
            self._idle.clear()
            self._go_on.set()

    def wait(self) -> None:
        """Until it has nothing to do, is dead, or pauses."""
        self._idle.wait()

    def _look(self) -> None:
        self._is_late = False
        try:
            run_due(self._revive(), [self._observe], Terms(ttl=60, threads=False))
            self.has_looked = not self._is_late
        except Killed:
            pass
        except LeaseLost:
            self.losses += 1
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._desk.end(self.name)
            self._idle.set()

    def _observe(self, event: RunEvent) -> None:
        if isinstance(event, StepStarted):
            self._desk.begin(self.name, event.task.policy_id or "")
        elif isinstance(event, StepFinished | StepFailed):
            self._desk.end(self.name)
