"""
Writes a run into the journal: when it starts and ends, what it holds, and each step before and after (law 9).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from cratedb_retention.engine.base import StepResult
from cratedb_retention.errors import (
    Cancelled,
    ClusterUnwell,
    ConnectionLost,
    DiskFull,
    PartitionChanged,
    RetentionError,
    RunEnded,
)
from cratedb_retention.execution.events import LeftOut
from cratedb_retention.execution.leasing import Taken
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.plan import Hold, Step, Task
from cratedb_retention.model.reasons import Why, failure
from cratedb_retention.model.runs import Report
from cratedb_retention.model.time import from_ms, show, to_ms
from cratedb_retention.model.words import plural
from cratedb_retention.store.audit import Entry


class Recorder:
    """
    The journal of one run.

    :param write: Writes entries, again if the connection is lost.
    :param note: Keeps entries until the next are written, which is at once: the end of a step is written with the
        start of the next, since each statement costs as much as many rows.
    :param taken: The leases that the run took, and those that it did not get.
    """

    def __init__(
        self,
        write: Callable[..., None],
        note: Callable[..., None],
        run_id: str,
        prepared: Prepared,
        taken: Taken | None = None,
    ) -> None:
        self._write, self._note, self._prepared, self._taken = write, note, prepared, taken or Taken()
        self._run = Entry(event=Event.RUN_STARTED, cutoff=from_ms(prepared.plan.cutoff), run_id=run_id)

    def run_started(self) -> None:
        """
        The run begins; everything that it holds is written with its reason. That is not put off until the first step:
        where the journal can't be written, nothing begins, unless a full disk alone is why.
        """
        plan, selection = self._prepared.plan, self._prepared.selection
        chosen = [f"strategy {selection.strategy}"] if selection.strategy else []
        tags = selection.tags & selection.limit
        chosen += [f"tags {tags}"] if tags else []
        chosen += [f"policy {selection.policy_id}"] if selection.policy_id else []
        chosen += [plural(len(selection.policy_ids), "due policy", "due policies")] if selection.policy_ids else []
        message = f"{plural(len(plan.tasks), 'task')}, {plural(len(plan.holds), 'hold')}"
        message += f" ({', '.join(chosen)})" if chosen else ""
        first = replace(self._run, message=message)
        self._write(first, *self._leases(), *(self._held(hold) for hold in plan.holds), later=True)

    def _leases(self) -> Iterator[Entry]:
        """What was taken over, and which slots begin."""
        for policy, lease in self._taken.over.items():
            message = (
                f"from {lease.holder}, run {lease.run_id}, whose lease ended at {lease.expires_at:%Y-%m-%dT%H:%M:%SZ}"
            )
            yield replace(self._about(policy), event=Event.LEASE_TAKEN_OVER, message=message, slot=lease.slot)
        for policy, lease in self._taken.won.items():
            if lease.slot is not None:
                yield self._slot(policy, lease.slot, Event.SLOT_STARTED)

    def _slot(self, policy_id: str, slot: dt.datetime, event: Event) -> Entry:
        policy = self._prepared.policies.get(policy_id)
        return replace(
            self._about(policy_id),
            event=event,
            table_schema=policy.table_schema if policy else None,
            table_name=policy.table_name if policy else None,
            message=f"slot {show(to_ms(slot))}",
            slot=slot,
        )

    def left_out(self, left: LeftOut) -> None:
        """Tasks are left out, since another run is at their policy."""
        own = left.at in (None, left.policy_id)
        why = Why.LOCKED(holder=left.holder) if own else Why.LEVELS_LOCKED(holder=left.holder, cascade=left.at)
        for table, tasks in groupby(left.tasks, key=lambda task: task.table):
            self._note(
                replace(
                    self._about(left.policy_id),
                    event=Event.HELD,
                    outcome=Outcome.DEFERRED,
                    table_schema=table.schema,
                    table_name=table.name,
                    message=plural(len(list(tasks)), "task"),
                    why=why,
                )
            )

    def slots_finished(self, given: Iterable[str], outcomes: Mapping[str, Outcome]) -> None:
        """
        Slots are done; noted only, since the end of the run follows.

        :param given: The policies whose leases were given back; a slot without an outcome is left for another run.
        """
        for policy in given:
            slot, outcome = self._taken.won[policy].slot, outcomes.get(policy)
            if slot is not None and outcome is not None:
                self._note(replace(self._slot(policy, slot, Event.SLOT_FINISHED), outcome=outcome))

    def run_finished(self, report: Report, error: BaseException | None = None) -> None:
        """
        The run ends.

        :param error: What ended it early.
        """
        self._write(
            replace(
                self._run,
                event=Event.RUN_FINISHED,
                outcome=_outcome(report) if error is None else outcome_of(error),
                message=f"{report.done} done, {report.failed} failed, {report.skipped} skipped, "
                f"{report.deferred} deferred, {report.held} held, {plural(report.problems, 'problem')}",
                why=None if error is None else failure(error),
                partitions=report.partitions,
                rows=report.rows,
                bytes=report.bytes,
            ),
        )

    def step_started(self, task: Task, step: Step, number: int) -> None:
        """A step is about to be done."""
        self._write(self._step(Event.STEP_STARTED, task, step, number), later=True)

    def step_finished(self, task: Task, step: Step, number: int, result: StepResult, seconds: float) -> None:
        """A step is done."""
        self._note(
            replace(
                self._step(Event.STEP_FINISHED, task, step, number),
                outcome=Outcome.DONE,
                partitions=result.partitions,
                rows=result.rows,
                bytes=result.size,
                duration_ms=round(seconds * 1000),
            )
        )

    def step_failed(self, task: Task, step: Step, number: int, error: RetentionError) -> None:
        """A step failed, or has to wait for the next run."""
        outcome = Outcome.DEFERRED if isinstance(error, PartitionChanged) else Outcome.FAILED
        entry = self._step(Event.STEP_FINISHED, task, step, number)
        self._write(replace(entry, outcome=outcome, why=failure(error)), later=True)

    def step_ended(self, task: Task, step: Step, number: int, error: RunEnded) -> None:
        """A step ends in the middle, together with the run; noted only, since the end of the run follows."""
        entry = self._step(Event.STEP_FINISHED, task, step, number)
        self._note(replace(entry, outcome=outcome_of(error), why=failure(error)))

    def task_skipped(self, task: Task, number: int, reason: str) -> None:
        """A task is not tried."""
        entry = self._step(Event.STEP_FINISHED, task, task.steps[0], number)
        self._write(replace(entry, outcome=Outcome.FAILED, why=Why.SKIPPED(cause=reason)), later=True)

    def _step(self, event: Event, task: Task, step: Step, number: int) -> Entry:
        return replace(
            self._about(task.policy_id),
            event=event,
            table_schema=task.table.schema,
            table_name=task.table.name,
            operation=step.operation(),
            message=f"{step.describe()}: {task.reason}",
            step=number,
        )

    def _held(self, hold: Hold) -> Entry:
        examples = f" ({'; '.join(hold.partitions)})" if hold.partitions else ""
        return replace(
            self._about(hold.policy_id),
            event=Event.HELD,
            outcome=Outcome.PROBLEM if hold.problem else Outcome.HELD,
            table_schema=hold.table.schema,
            table_name=hold.table.name,
            message=f"{plural(hold.count, 'partition')}{examples}" if hold.count else "the table",
            partitions=hold.count or None,
            why=hold.why,
        )

    def _about(self, policy_id: str | None) -> Entry:
        """An entry about a policy, which may be none: tidying up has no policy, a damaged one no strategy."""
        policy = self._prepared.policies.get(policy_id or "")
        strategy, tags = (str(policy.strategy), policy.tags) if policy else (None, None)
        return replace(self._run, policy_id=policy_id, strategy=strategy, tags=tags)


def outcome_of(error: BaseException) -> Outcome:
    """How a run ended that an error ended early."""
    if isinstance(error, Cancelled):
        return Outcome.CANCELLED
    return Outcome.INTERRUPTED if isinstance(error, RunEnded) else Outcome.FAILED


def outcomes_after(error: BaseException, policies: Iterable[str]) -> dict[str, Outcome]:
    """
    How slots end when an error ends their run early; one that is missing is left for another run.

    What a person cancelled does not begin anew; nor does what failed by a mistake in the program, since it would again.
    """
    final = isinstance(error, Cancelled) or (
        isinstance(error, Exception) and not isinstance(error, RunEnded | ConnectionLost | ClusterUnwell | DiskFull)
    )
    return dict.fromkeys(policies, outcome_of(error)) if final else {}


def _outcome(report: Report) -> Outcome:
    """Where nothing failed, and somebody has to look at something nevertheless, that is what the run ended with."""
    if report.failed or report.skipped:
        return Outcome.FAILED
    return Outcome.PROBLEM if report.problems else Outcome.DONE
