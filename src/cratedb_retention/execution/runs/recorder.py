"""
Writes the audit log of a run: start and end, blocked actions, and each step before and after (law 9); and the result of
the run for each policy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from cratedb_retention.clock import Clock
from cratedb_retention.errors import Cancelled, ClusterUnhealthy, ConnectionLost, DiskFull, RetentionError, RunEnded
from cratedb_retention.execution.iceberg import Mirrored
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.execution.runs.events import (
    LeftOut,
    StepEvent,
    StepFailed,
    StepFinished,
    StepStarted,
    TaskSkipped,
)
from cratedb_retention.execution.runs.leasing import Taken
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.plan import Blocked, CompactPartitions, Step, Task
from cratedb_retention.model.plan.reasons import Why, failure
from cratedb_retention.model.runs import Report
from cratedb_retention.model.time import from_ms, show, to_ms
from cratedb_retention.model.words import plural
from cratedb_retention.store.audit import Entry, JournalFilter, reason_values
from cratedb_retention.store.runs import Leases, ResultStore, RunOfPolicy
from cratedb_retention.store.store import Store

Retry = Callable[[Callable[[], None]], None]
# The events that tell how a run ended for a policy.
_RESULTS = (Event.STEP_FINISHED, Event.BLOCKED, Event.SLOT_FINISHED, Event.CATALOG_UPDATED)
# Of a killed run: how many entries are read, and how far the clocks of machines may differ.
_MOST, _APART = 100_000, dt.timedelta(hours=1)


class Recorder:
    """
    The entries of one run, and its result for each policy. The end of a step is written together with the start of the
    next, in one statement.
    """

    def __init__(self, store: Store, clock: Clock, retry: Retry, run_id: str, prepared: Prepared, taken: Taken) -> None:
        self._journal, self._retry, self._prepared, self._taken = store.journal, retry, prepared, taken
        self._run = Entry(event=Event.RUN_STARTED, cutoff=from_ms(prepared.plan.cutoff), run_id=run_id)
        self._results = Results(store.results, clock, run_id)
        self._start: tuple[Entry, ...] = ()  # The start of the run, until it is written.
        self._failure: RetentionError | None = None  # Why the audit log could not be written last.

    def _write(self, *entries: Entry, later: bool = False) -> None:
        self._results.count(*entries)
        try:
            self._retry(lambda: self._journal.write(*self._start, *entries, later=later))
        except RetentionError as error:
            if not isinstance(error, RunEnded):
                self._failure = error
            raise
        self._start = ()

    def is_cause(self, error: BaseException) -> bool:
        """Whether an error is that the audit log could not be written."""
        return error is self._failure

    @property
    def lacks_start(self) -> bool:
        """Whether the start of the run is not in the audit log yet, so that the run has changed nothing."""
        return bool(self._start)

    def _note(self, entry: Entry) -> None:
        """Write an entry together with the next one."""
        self._results.count(entry)
        self._journal.note(entry)

    def run_started(self, left_out: Iterable[LeftOut]) -> None:
        """
        The start of the run, with the reasons of blocked and deferred actions. It is written together with the start of
        the first step, or with the end of a run without steps, in one statement. If the audit log cannot be written,
        the run fails before it changes anything, unless the only reason is a full disk.
        """
        plan, selection = self._prepared.plan, self._prepared.selection
        tags, ids = selection.tags & selection.limit, selection.policy_ids
        chosen = {"strategy": selection.strategy, "tags": tags, "policy": selection.policy_id}
        said = [f"{name} {value}" for name, value in chosen.items() if value]
        said += [plural(len(ids), "due policy", "due policies")] if ids else []
        said += ["what is unusual was accepted"] if selection.accepted else []
        message = f"{plural(len(plan.tasks), 'task')}, {len(plan.blocked):,} blocked"
        first = replace(self._run, message=message + (f" ({', '.join(said)})" if said else ""))
        left = (entry for each in left_out for entry in self._left_out(each))
        self._start = (*left, first, *self._leases(), *map(self._blocked, plan.blocked))
        self._results.count(*self._start)

    def _left_out(self, left: LeftOut) -> Iterator[Entry]:
        own = left.at in (None, left.policy_id)
        if own:
            why = Why.LOCKED(holder=left.holder)
        elif any(isinstance(step, CompactPartitions) for task in left.tasks for step in task.steps):
            why = Why.TABLE_LOCKED(holder=left.holder, other=left.at)
        else:
            why = Why.LEVELS_LOCKED(holder=left.holder, cascade=left.at)
        told: dict[str, Any] = {"event": Event.BLOCKED, "outcome": Outcome.DEFERRED, "why": why}
        for table, tasks in groupby(left.tasks, key=lambda task: task.table):
            yield self._about(left.policy_id, table, message=plural(len(list(tasks)), "task"), **told)

    def _leases(self) -> Iterator[Entry]:
        for policy, lease in self._taken.over.items():
            ended = f"{lease.expires_at:%Y-%m-%dT%H:%M:%SZ}"
            message = f"from {lease.holder}, run {lease.run_id}, whose lease ended at {ended}"
            yield self._about(policy, event=Event.LEASE_TAKEN_OVER, message=message, slot=lease.slot)
        for policy, lease in self._taken.won.items():
            if lease.slot is not None:
                yield self._slot(policy, lease.slot, event=Event.SLOT_STARTED)

    def begin(self) -> None:
        """Write the start of a run that has leases and no steps, so that it is there before others can take these."""
        if self._start and self._taken.won:
            self._write(later=True)

    def _slot(self, policy_id: str, slot: dt.datetime, **values: Any) -> Entry:
        entry = self._about(policy_id, message=f"slot {show(to_ms(slot))}", slot=slot, **values)
        policy = self._prepared.policies.get(policy_id)
        return replace(entry, table_schema=policy.table_schema, table_name=policy.table_name) if policy else entry

    def slots_finished(self, given: Iterable[str], outcomes: Mapping[str, Outcome]) -> None:
        """Record that slots of released leases are done; one without an outcome stays due for another run."""
        self._journal.note(*self._slots(given, outcomes))

    def _slots(self, policies: Iterable[str], outcomes: Mapping[str, Outcome]) -> Iterator[Entry]:
        for policy in policies:
            slot, outcome = self._taken.won[policy].slot, outcomes.get(policy)
            if slot is not None and outcome is not None:
                yield self._slot(policy, slot, event=Event.SLOT_FINISHED, outcome=outcome)

    def keep_results(self, outcomes: Mapping[str, Outcome]) -> None:
        """Store the result of the run for each policy, before its lease is released."""
        self._results.count(*self._slots(outcomes, outcomes))
        self._retry(self._results.keep)

    def run_finished(self, report: Report, error: BaseException | None = None) -> None:
        # If nothing failed but something needs attention, this is the outcome.
        outcome = Outcome.NEEDS_ATTENTION if report.needs_attention else Outcome.DONE
        if error is not None:
            outcome = outcome_of(error)
        elif report.failed or report.skipped:
            outcome = Outcome.FAILED
        needs_attention = plural(report.needs_attention, "needs attention", "need attention")
        self._write(
            replace(
                self._run,
                event=Event.RUN_FINISHED,
                outcome=outcome,
                message=f"{report.done} done, {report.failed} failed, {report.skipped} skipped, "
                f"{report.deferred} deferred, {report.blocked} blocked, {needs_attention}",
                why=None if error is None else failure(error),
                partitions=report.partitions,
                rows=report.rows,
                bytes=report.bytes,
            )
        )

    def record(self, event: StepEvent) -> None:
        match event:
            case StepStarted(task=task, step=step, number=number):
                self._write(self._step(task, step, number, event=Event.STEP_STARTED), later=True)
            case StepFinished(task=task, step=step, number=number, result=result):
                told: dict[str, Any] = {"partitions": result.partitions, "rows": result.rows, "bytes": result.size}
                took = round(event.seconds * 1000)
                self._note(self._step(task, step, number, outcome=Outcome.DONE, duration_ms=took, **told))
            case StepFailed(task=task, step=step, number=number, cause=cause):
                outcome = Outcome.DEFERRED if event.deferred else Outcome.FAILED
                self._write(self._step(task, step, number, outcome=outcome, why=failure(cause)), later=True)
            case TaskSkipped(task=task, reason=reason, number=number):
                why = Why.SKIPPED(cause=reason)
                self._write(self._step(task, task.steps[0], number, outcome=Outcome.FAILED, why=why), later=True)

    def mirrored(self, found: Mirrored) -> None:
        """What was changed in the Iceberg catalog. A failure is one of the policies, too, but one entry."""
        self._results.count(*(replace(found.entry, policy_id=policy) for policy in found.policies if found.error))
        self._write(replace(found.entry, cutoff=self._run.cutoff, run_id=self._run.run_id), later=True)

    def step_ended(self, task: Task, step: Step, number: int, error: RunEnded) -> None:
        """A step ends early, together with the run."""
        self._note(self._step(task, step, number, outcome=outcome_of(error), why=failure(error)))

    def _step(self, task: Task, step: Step, number: int, event: Event = Event.STEP_FINISHED, **values: Any) -> Entry:
        values |= {"operation": step.operation(), "message": f"{step.describe()}: {task.reason}", "step": number}
        return self._about(task.policy_id, task.table, event=event, **values)

    def _blocked(self, action: Blocked) -> Entry:
        examples = f" ({'; '.join(action.partitions)})" if action.partitions else ""
        return self._about(
            action.policy_id,
            action.table,
            event=Event.BLOCKED,
            outcome=Outcome.NEEDS_ATTENTION if action.needs_attention else Outcome.BLOCKED,
            message=f"{plural(action.count, 'partition')}{examples}" if action.count else "the table",
            partitions=action.count or None,
            why=action.why,
        )

    def _about(self, policy_id: str | None, table: TableName | None = None, **values: Any) -> Entry:
        """An entry about a policy. Tidying up has no policy, an invalid policy no strategy."""
        policy = self._prepared.policies.get(policy_id or "")
        strategy, tags = (str(policy.strategy), policy.tags) if policy else (None, None)
        values |= {"table_schema": table.schema, "table_name": table.name} if table else {}
        return replace(self._run, policy_id=policy_id, strategy=strategy, tags=tags, **values)


class Results:
    """The result of a run for each policy, counted from its entries in the audit log."""

    def __init__(self, store: ResultStore, clock: Clock, run_id: str) -> None:
        self._store, self._clock, self._run_id = store, clock, run_id
        self._found: dict[str, RunOfPolicy] = {}

    def count(self, *entries: Entry) -> None:
        for entry in entries:
            if entry.policy_id is not None and entry.event in _RESULTS:
                new = RunOfPolicy(policy_id=entry.policy_id, run_id=self._run_id, ended_at=self._clock.now())
                found, why = self._found.get(entry.policy_id, new), reason_values(entry.why)
                self._found[entry.policy_id] = found.plus(entry.event, entry.outcome, why)

    def keep(self) -> None:
        """Store the results when the run has ended."""
        now = self._clock.now()
        self._store.keep([replace(result, ended_at=now) for result in self._found.values()])


def find_killed(store: Store, leases: Leases, since: dt.datetime) -> Iterator[RunOfPolicy]:
    """
    The results of runs that were killed and are in the audit log: those that hold leases which have expired. Another
    run that takes such a lease over has a result of its own.
    """
    expired = [lease for lease in leases.by_policy.values() if lease.holder is not None and lease.is_free(leases.now)]
    times = {
        lease.run_id: (lease.taken_at, lease.expires_at)
        for lease in expired
        if lease.taken_at is not None and lease.expires_at is not None and lease.expires_at >= since
    }
    for run_id, (began, ended) in times.items():
        wanted = JournalFilter(run_id=run_id, since=began - _APART, until=ended + _APART, limit=_MOST)
        found: dict[str, RunOfPolicy] = {}
        for row in reversed(store.journal.read(wanted)):
            policy, at = row["policy_id"], row["time"]
            if policy is not None and row["event"] in _RESULTS:
                known = found.get(policy) or RunOfPolicy(policy_id=policy, run_id=row["run_id"], ended_at=at)
                why = {name: row[name] for name in ("error", "reason", "subjects")}
                found[policy] = replace(known.plus(row["event"], row["outcome"], why), ended_at=at)
        yield from found.values()


def outcome_of(error: BaseException) -> Outcome:
    """The outcome of a run that an error ended early."""
    if isinstance(error, Cancelled):
        return Outcome.CANCELLED
    return Outcome.INTERRUPTED if isinstance(error, RunEnded) else Outcome.FAILED


def outcomes_after(error: BaseException, policies: Iterable[str]) -> dict[str, Outcome]:
    """The outcomes of slots if an error ends their run early; slots without one stay due for another run."""
    # Cancelled runs, and those that failed by a bug, are not repeated: they would end in the same way.
    final = isinstance(error, Cancelled) or (
        isinstance(error, Exception) and not isinstance(error, RunEnded | ConnectionLost | ClusterUnhealthy | DiskFull)
    )
    return dict.fromkeys(policies, outcome_of(error)) if final else {}
