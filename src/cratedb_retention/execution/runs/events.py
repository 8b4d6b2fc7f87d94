"""The events of a run, as frozen objects for observers, and the state of the run that follows from them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.step import Progress, StepResult
from cratedb_retention.errors import PartitionChanged, RetentionError
from cratedb_retention.execution.iceberg import Mirrored
from cratedb_retention.model.plan.plan import COUNTED, Blocked, CompactPartitions, Plan, Step, Task
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.runs import Report, RunState
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, short, show_size


class RunStarted(NamedTuple):
    run_id: str
    plan: Plan


class ActionBlocked(NamedTuple):
    """Something is due and must not happen now."""

    action: Blocked


@dataclass(frozen=True, kw_only=True)
class _OfStep:
    task: Task
    step: Step
    number: int  # Its number in the run, from 1


@dataclass(frozen=True, kw_only=True)
class StepStarted(_OfStep):
    total: int  # Number of steps


class StepProgressed(NamedTuple):
    step: Step
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class StepFinished(_OfStep):
    result: StepResult
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepFailed(_OfStep):
    """A step failed; the rest of its task is not done."""

    cause: RetentionError

    @property
    def deferred(self) -> bool:
        """Whether this is no failure: the data changed since the plan, and the next run processes it."""
        return isinstance(self.cause, PartitionChanged)


class TaskSkipped(NamedTuple):
    """A task was skipped, since an earlier one of the same policy and table failed."""

    task: Task
    reason: str
    number: int  # The number of its last step


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Tasks of a policy are deferred, since another run holds the lease."""

    policy_id: str | None  # None for tidying up after an interrupted run
    tasks: tuple[Task, ...]
    holder: str  # The lease holder
    at: str | None = None  # The policy of that lease: this one, or the one that rolls up its table


class TakenOver(NamedTuple):
    """A policy is taken over from a run that died, or lost its connection."""

    policy_id: str
    holder: str


class RunEndedEarly(NamedTuple):
    """A run ends before its next step: cancelled, stopped, or its leases lost."""

    report: Report
    reason: str


class RunFinished(NamedTuple):
    report: Report


StepEvent = StepStarted | StepFinished | StepFailed | TaskSkipped
RunEvent = (
    StepEvent
    | StepProgressed
    | RunStarted
    | ActionBlocked
    | LeftOut
    | TakenOver
    | Mirrored
    | RunEndedEarly
    | RunFinished
)
Observer = Callable[[RunEvent], None]


def advance(state: RunState, event: RunEvent) -> RunState:
    """The state of a run after an event; only here, events are counted."""
    report = state.report or Report(run_id=state.run_id)
    match event:
        case RunStarted(plan=plan):
            return replace(
                state,
                steps=sum(len(task.steps) for task in plan.tasks),
                partitions=sum(task.partitions for task in plan.tasks),
                rows=_sum(task.rows for task in plan.tasks),
                bytes=_sum(task.size for task in plan.tasks),
                report=replace(report, blocked=len(plan.blocked), needs_attention=len(plan.needs_attention)),
            )
        case LeftOut(tasks=tasks):
            return replace(state, report=replace(report, deferred=report.deferred + len(tasks)))
        case StepStarted(task=task, step=step, number=number):
            state = replace(state, step=number, steps_done=number - 1, table_name=str(task.table))
            return replace(state, doing=step.describe(), done=None, total=None, unit=None)
        case StepProgressed(progress=progress):
            return replace(state, done=progress.done, total=progress.total, unit=progress.unit)
        case StepFinished():
            return _finished(state, report, event)
        case StepFailed(task=task, step=step):
            over = state.step + len(task.steps) - 1 - task.steps.index(step)
            return replace(state, step=over, steps_done=over, report=_failed(report, event))
        case TaskSkipped(task=task):
            over = state.step + len(task.steps)
            return replace(state, step=over, steps_done=over, report=replace(report, skipped=report.skipped + 1))
        case Mirrored(error=error, policies=policies):
            return replace(state, report=_with_failure(report, policies)) if error else state
        case ActionBlocked() | TakenOver() | RunEndedEarly() | RunFinished():
            return state


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _finished(state: RunState, report: Report, event: StepFinished) -> RunState:
    task, result = event.task, event.result
    report = replace(report, done=report.done + 1)
    if isinstance(event.step, COUNTED):
        partitions, rows = report.partitions + result.partitions, report.rows + (result.rows or 0)
        report = replace(report, partitions=partitions, rows=rows, bytes=report.bytes + (result.size or 0))
    state = replace(state, steps_done=state.steps_done + 1, report=report)
    if event.step is not task.steps[-1]:
        return state
    return replace(
        state,
        partitions_done=state.partitions_done + task.partitions,
        rows_done=state.rows_done + (task.rows or 0),
        bytes_done=state.bytes_done + (task.size or 0),
    )


def _failed(report: Report, event: StepFailed) -> Report:
    if event.deferred:
        return replace(report, deferred=report.deferred + 1)
    return _with_failure(report, filter(None, [event.task.policy_id]))


def _with_failure(report: Report, of: Iterable[str]) -> Report:
    policies = dict.fromkeys([*report.failed_policies, *of])
    return replace(report, failed=report.failed + 1, failed_policies=tuple(policies))


class Tone(Enum):
    """The kind of a line, for colours and logs."""

    PLAIN, GOOD, NOTICE, BAD, END = range(5)


def lines_of(event: RunEvent) -> Iterator[tuple[str, Tone]]:
    """The lines of an event, for the terminal and the log."""
    match event:
        case RunStarted(plan=plan):
            for warning in plan.warnings:
                yield f"Warning: {warning}", Tone.NOTICE
            what = plural(len(plan.tasks), "task") if plan.tasks else "nothing is due"
            yield f"Cutoff {show(plan.cutoff)}: {what}", Tone.PLAIN
        case ActionBlocked(action=action):
            count = f"{plural(action.count, 'partition')}: " if action.count else ""
            word, tone = ("needs attention", Tone.BAD) if action.needs_attention else ("blocked", Tone.NOTICE)
            yield f"{word}: {action.table}: {count}{action.reason}", tone
        case LeftOut(policy_id=policy, tasks=tasks, holder=holder):
            who = f"policy {short(policy)}" if policy else "tidying up"
            yield f"deferred: {who}, {plural(len(tasks), 'task')}: locked by {holder}", Tone.NOTICE
        case TakenOver(policy_id=policy, holder=holder):
            yield f"taken over: policy {short(policy)} from {holder}", Tone.NOTICE
        case StepFinished() | StepFailed() | TaskSkipped():
            yield from _lines_of_step(event)
        case Mirrored():
            yield from _lines_of_catalog(event)
        case RunFinished(report=report):
            yield summary(report), Tone.END
        case StepStarted() | StepProgressed() | RunEndedEarly():
            pass


def _lines_of_step(event: StepFinished | StepFailed | TaskSkipped) -> Iterator[tuple[str, Tone]]:
    match event:
        case StepFinished(task=task, step=step, result=result, seconds=seconds):
            saved = " saved" if isinstance(step, CompactPartitions) else ""
            size = f", {show_size(result.size)}{saved}" if result.size else ""
            rows = f", {plural(result.rows, 'row')}" if result.rows is not None else ""
            yield f"done: {task.table}: {step.describe()}{rows}{size}, {seconds:.1f} s", Tone.GOOD
        case StepFailed(task=task, step=step, cause=cause, deferred=deferred):
            word, tone = ("deferred", Tone.NOTICE) if deferred else ("failed", Tone.BAD)
            yield f"{word}: {task.table}: {step.describe()}: {cause}", tone
        case TaskSkipped(task=task, reason=reason):
            yield f"skipped: {task.table}: {task.steps[0].describe()}: {reason}", Tone.BAD


def _lines_of_catalog(found: Mirrored) -> Iterator[tuple[str, Tone]]:
    if found.added or found.removed:
        yield f"done: {found.table}: Iceberg catalog: {found.changes}", Tone.GOOD
    for reason in found.refused:
        yield f"not in the Iceberg catalog: {reason}", Tone.NOTICE
    if found.error:
        yield f"failed: Iceberg catalog: {found.error}", Tone.BAD


def summary(report: Report) -> str:
    """The result of a run, in a line."""
    on = f" on {plural(report.partitions, 'partition')} and {plural(report.rows, 'row')}"
    others = {
        "failed": report.failed,
        "skipped": report.skipped,
        "deferred to the next run": report.deferred,
        "blocked": report.blocked - report.needs_attention,
    }
    parts = [f"{plural(report.done, 'step')} done{on if report.partitions or report.rows else ''}"]
    parts += [f"{count:,} {word}" for word, count in others.items() if count]
    needs_attention = plural(report.needs_attention, "needs attention", "need attention")
    return ", ".join([*parts, *([needs_attention] if report.needs_attention else [])])


class Tracker:
    """Follows one run as an observer. Its methods may be called by several threads."""

    def __init__(self, run_id: str, clock: Clock, actor: Actor) -> None:
        self._clock, self._lock, now = clock, threading.Lock(), clock.now()
        state = RunState(run_id=run_id, started_at=now, heartbeat_at=now, actor=actor.name, host=actor.host)
        self._state = replace(state, report=Report(run_id=run_id))

    def update(self, **values: Any) -> None:
        with self._lock:
            self._state = replace(self._state, **values)

    def about(self, policies: Iterable[Policy]) -> None:
        """Set the policies that the run has tasks for."""
        policies = list(policies)
        tags = tuple(sorted({tag for policy in policies for tag in policy.tags}))
        self.update(policies=tuple(policy.id or "" for policy in policies), tags=tags)

    def __call__(self, event: RunEvent) -> None:
        with self._lock:
            self._state = advance(self._state, event)

    def finish(self, outcome: str, error: str | None = None, code: str | None = None) -> None:
        self.update(state="finished", outcome=outcome, finished_at=self._clock.now(), error=error, code=code)

    @property
    def report(self) -> Report:
        return self._state.report or Report(run_id=self._state.run_id)

    def state(self) -> RunState:
        with self._lock:
            now = self._clock.now()
            return replace(self._state, heartbeat_at=now, expected_end=self._state.expect_end(now))
