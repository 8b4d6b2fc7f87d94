"""
What happens during a run, as frozen objects. Renderers subscribe to them; the runner knows none of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cratedb_retention.engine.base import Progress, StepResult
from cratedb_retention.model.plan import Hold, Plan, Step, Task


@dataclass(frozen=True)
class RunStarted:
    """A run begins."""

    run_id: str
    plan: Plan


@dataclass(frozen=True)
class Held:
    """Something is due and does not happen."""

    hold: Hold


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """
    A step begins.

    :param number: Its number in the run, from 1.
    :param total: How many steps there are.
    """

    task: Task
    step: Step
    number: int
    total: int


@dataclass(frozen=True)
class StepProgressed:
    """A step got further."""

    step: Step
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class StepFinished:
    """A step is done."""

    task: Task
    step: Step
    result: StepResult
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepFailed:
    """
    A step failed, and the rest of its task is not done.

    :param deferred: Whether nothing is wrong: the data changed since the plan, and the next run takes it.
    """

    task: Task
    step: Step
    error: str
    deferred: bool


@dataclass(frozen=True)
class TaskSkipped:
    """A task is not done, since an earlier one of the same policy and table failed."""

    task: Task
    reason: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """
    Tasks of a policy are left out, since another run is at it.

    :param policy_id: The policy; None for tidying up after an interrupted run.
    :param holder: Who that is.
    :param at: Which policy the other run is at: this one, or the one that rolls up its table.
    """

    policy_id: str | None
    tasks: tuple[Task, ...]
    holder: str
    at: str | None = None


@dataclass(frozen=True)
class TakenOver:
    """A policy is taken over from a run that is dead, or cut off."""

    policy_id: str
    holder: str


@dataclass(frozen=True)
class RunEndedEarly:
    """A run ends before its next step: it was cancelled, stopped, or lost its leases."""

    report: Report
    reason: str


@dataclass(frozen=True)
class RunFinished:
    """A run is over."""

    report: Report


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What a run did.

    :param done: Steps that were done.
    :param failed: Steps that failed.
    :param skipped: Tasks that were not tried after a failure.
    :param deferred: Tasks that the next run takes, since the data or the policy changed in the meantime.
    :param partitions: Partitions that were dropped or moved.
    :param rows: Rows that were removed or moved, as far as the database says.
    :param failed_policies: The policies of steps that failed.
    """

    run_id: str
    done: int = 0
    failed: int = 0
    skipped: int = 0
    deferred: int = 0
    held: int = 0
    problems: int = 0
    partitions: int = 0
    rows: int = 0
    bytes: int = 0
    failed_policies: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that was due is done, or rightly held."""
        return not (self.failed or self.skipped or self.problems)


RunEvent = (
    RunStarted
    | Held
    | LeftOut
    | TakenOver
    | StepStarted
    | StepProgressed
    | StepFinished
    | StepFailed
    | TaskSkipped
    | RunEndedEarly
    | RunFinished
)
Observer = Callable[[RunEvent], None]
