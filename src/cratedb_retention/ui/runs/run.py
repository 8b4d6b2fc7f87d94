"""
A run on a page. What it did is what the audit log says; what it does now, its process tells.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from cratedb_retention.model.audit import OF_RUNS, Event, Outcome
from cratedb_retention.model.runs import RunState
from cratedb_retention.service.access import Scope
from cratedb_retention.store.audit import JournalFilter, RunTotals
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.audit import Row
from cratedb_retention.ui.columns import Bit, state

# Both ends of a run, of which it has one in the audit log, at least; and what it says of tables.
ENDS = frozenset({Event.RUN_STARTED, Event.RUN_FINISHED})
OF_TABLES = frozenset({Event.STEP_STARTED, Event.STEP_FINISHED, Event.BLOCKED})
TROUBLES = frozenset({Outcome.FAILED, Outcome.NEEDS_ATTENTION})
# From the worst to the best, as the outcome of several steps.
_WORST = (
    Outcome.FAILED, Outcome.NEEDS_ATTENTION, Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.DEFERRED, Outcome.BLOCKED,
    Outcome.DONE,
)  # fmt: skip
# States beside the outcomes: it goes on; nothing tells how it ended.
RUNNING, NO_END = "running", "no-end"
_SAID = dt.timedelta(minutes=1)  # By then, every service knows of a run that goes on.
UNENDED = "The audit log has no end of it: its process was killed, or it began a moment ago."
# How far the times of entries that are written at once may differ.
_APART = dt.timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Run:
    """
    A run.

    :param totals: What the audit log says that it did; None: nothing yet, or nothing that the user may see.
    :param ends: Its start and its end in the audit log, those that the user may see.
    :param job: Its progress, while it goes on, or if this service remembers it.
    :param running: Whether it goes on.
    :param troubles: What failed or needs attention, in order.
    """

    run_id: str
    totals: RunTotals | None
    ends: Mapping[str, Row]
    job: RunState | None
    running: bool
    now: dt.datetime
    troubles: Sequence[Row] = ()

    @property
    def end(self) -> Row:
        return self.ends.get(Event.RUN_FINISHED, {})

    @cached_property
    def state(self) -> str:
        if self.running:
            return RUNNING
        outcome: str = self.end.get("outcome") or ""
        if self.job and self.job.finished_at and outcome in ("", Outcome.INTERRUPTED):
            return self.job.phase  # Cancelled, or failed, before it could write more.
        if outcome or self.totals is None or Event.RUN_STARTED in self.ends:
            return outcome or NO_END
        # Of a run of others, a caller with a scope sees neither start nor end.
        return worst(self.totals) or (Outcome.DONE if self.totals.finished else NO_END)

    @property
    def may_go_on(self) -> bool:
        """Whether it goes on, or may do so: at the beginning, only the service that runs it knows."""
        just_begun = self.began is not None and self.now - self.began < _SAID
        return self.running or (self.state == NO_END and just_begun)

    @property
    def began(self) -> dt.datetime | None:
        if Event.RUN_STARTED in self.ends:
            began: dt.datetime = self.ends[Event.RUN_STARTED]["time"]
            return began
        if self.job:
            return self.job.started_at
        return self.totals.began if self.totals else None

    @property
    def ended(self) -> dt.datetime | None:
        """Its end, or the last that is known of it; now, while it goes on."""
        if self.running:
            return self.now
        if self.end:
            ended: dt.datetime = self.end["time"]
            return ended
        if self.job and self.job.finished_at:
            return self.job.finished_at
        return self.totals.ended if self.totals else None

    @property
    def milliseconds(self) -> int | None:
        began, ended = self.began, self.ended
        return None if began is None or ended is None else max(round((ended - began) / dt.timedelta(milliseconds=1)), 0)

    @property
    def actor(self) -> tuple[str | None, str | None]:
        """Who started it, and on which machine; None: unknown, or not to be seen."""
        row = next(iter(self.ends.values()), {})
        job = self.job
        return row.get("actor") or (job.actor if job else None), row.get("host") or (job.host if job else None)

    @property
    def trigger(self) -> str:
        return "" if self.totals is None else "schedule" if self.totals.scheduled else "by hand"

    @property
    def steps(self) -> str:
        if self.running and self.job:
            return f"{self.job.steps_done:,} of {self.job.steps:,}" if self.job.steps else "about to start"
        return counts(self.totals) if self.totals else ""

    @property
    def errors(self) -> list[str]:
        """Why it ended early, if it did."""
        found = (self.end.get("error"), self.job.error if self.job and not self.running else None)
        return list(dict.fromkeys(error for error in found if error))


def worst(totals: RunTotals) -> str:
    """The outcome of several steps together; empty if none has ended."""
    return next((outcome for outcome in _WORST if totals.outcomes[outcome]), "")


def counts(totals: RunTotals) -> str:
    """How many steps and blocked actions had which outcome, the worst first: ``2 failed, 35 done``."""
    found = ((totals.outcomes[outcome], outcome.replace("-", " ")) for outcome in _WORST)
    return ", ".join(f"{count:,} {outcome}" for count, outcome in found if count)


def read_runs(guest: Guest, scoped: Scope, run_ids: Sequence[str], most: int) -> list[Run]:
    """
    Runs in the order of their identifiers: three statements, whatever their number.

    :param most: How many of their failures and the like are read.
    """
    if not run_ids:
        return []
    wanted = JournalFilter(run_ids=frozenset(run_ids), limit=len(run_ids))
    totals = {each.run_id: each for each in scoped.run_totals(replace(wanted, events=OF_RUNS))}
    ends: dict[str, dict[str, Row]] = {run_id: {} for run_id in run_ids}
    troubles: dict[str, list[Row]] = {run_id: [] for run_id in run_ids}
    if totals:
        since = min(each.began for each in totals.values()) - _APART
        until = max(each.ended for each in totals.values()) + _APART
        wanted = replace(wanted, since=since, until=until)
        for row in scoped.journal(replace(wanted, events=ENDS, limit=2 * len(run_ids))):
            ends[row["run_id"]][row["event"]] = row
    if any(each.outcomes[outcome] for each in totals.values() for outcome in TROUBLES):
        for row in reversed(scoped.journal(replace(wanted, outcomes=TROUBLES, events=OF_TABLES, limit=most))):
            troubles[row["run_id"]].append(row)
    jobs, running = {job.run_id: job for job in guest.jobs}, {job.run_id for job in guest.running}
    return [
        Run(
            run_id=run_id,
            totals=totals.get(run_id),
            ends=ends[run_id],
            job=jobs.get(run_id),
            running=run_id in running,
            now=scoped.now,
            troubles=troubles[run_id],
        )
        for run_id in run_ids
    ]


def state_bit(run: Run) -> Bit:
    return state(run.state, UNENDED if run.state == NO_END else "")
