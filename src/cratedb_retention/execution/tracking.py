"""
Knows how far a run is, from the events that it hears.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.execution.events import (
    RunEvent,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TaskSkipped,
)
from cratedb_retention.model.plan import Step, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.store.jobs import Job


class Tracker:
    """Follows one run as an observer."""

    def __init__(self, run_id: str, clock: Clock, actor: Actor) -> None:
        self._clock, self._lock = clock, threading.Lock()
        now = clock.now()
        self._job = Job(
            run_id=run_id,
            started_at=now,
            heartbeat_at=now,
            actor=actor.name,
            host=actor.host,
        )

    def about(self, policies: Iterable[Policy]) -> None:
        """Which policies the run has something to do for."""
        policies = list(policies)
        tags = tuple(sorted({tag for policy in policies for tag in policy.tags}))
        with self._lock:
            self._job = replace(self._job, policies=tuple(policy.id or "" for policy in policies), tags=tags)

    def __call__(self, event: RunEvent) -> None:
        """Hear what happens."""
        with self._lock:
            self._job = replace(self._job, **self._changes(event))

    def _changes(self, event: RunEvent) -> dict[str, Any]:
        job = self._job
        match event:
            case RunStarted(plan=plan):
                rows, sizes = [task.rows for task in plan.tasks], [task.size for task in plan.tasks]
                return {
                    "steps": sum(len(task.steps) for task in plan.tasks),
                    "partitions": sum(task.partitions for task in plan.tasks),
                    "rows": _sum(rows),
                    "bytes": _sum(sizes),
                }
            case StepStarted(task=task, step=step, number=number):
                doing = {"table_name": str(task.table), "doing": step.describe()}
                return {"step": number, **doing, "done": None, "total": None, "unit": None}
            case StepProgressed(progress=progress):
                return {"done": progress.done, "total": progress.total, "unit": progress.unit}
            case StepFinished(task=task, step=step) if step is task.steps[-1]:
                return self._completed(task)
            case StepFailed(task=task, step=step):
                return {"step": job.step + _after(task, step)}
            case TaskSkipped(task=task):
                return {"step": job.step + len(task.steps)}
            case _:
                return {}

    def _completed(self, task: Task) -> dict[str, Any]:
        return {
            "partitions_done": self._job.partitions_done + task.partitions,
            "rows_done": self._job.rows_done + (task.rows or 0),
            "bytes_done": self._job.bytes_done + (task.size or 0),
        }

    def finish(self, outcome: str) -> None:
        """The run is over."""
        with self._lock:
            self._job = replace(self._job, state="finished", outcome=outcome, finished_at=self._clock.now())

    def job(self) -> Job:
        """How far the run is now."""
        with self._lock:
            now = self._clock.now()
            return replace(self._job, heartbeat_at=now, expected_end=_expected_end(self._job, now))


def _after(task: Task, step: Step) -> int:
    """How many steps of a task come after one."""
    return len(task.steps) - 1 - task.steps.index(step)


def _sum(values: Iterable[int | None]) -> int | None:
    """What is known of a sum; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _expected_end(job: Job, now: dt.datetime) -> dt.datetime | None:
    """As long as what is left takes at the pace of what is done; None while nothing is."""
    within = job.done / job.total if job.done and job.total else 0.0
    share = (max(job.step - 1, 0) + min(within, 1.0)) / job.steps if job.steps else 0.0
    if job.finished_at is not None or share <= 0:
        return job.finished_at
    return job.started_at + (now - job.started_at) / min(share, 1.0)
