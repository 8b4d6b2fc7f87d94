"""
One run from its leases to their end: takes those of the plan, lets the runner work, gives them back.

A run by hand takes leases right after planning; a scheduled one has them before, since its slots are done by it even if
nothing is to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.events import LeftOut, Observer, TakenOver
from cratedb_retention.execution.heartbeat import Heartbeat
from cratedb_retention.execution.leasing import Session
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.recorder import outcome_of, outcomes_after
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.runner import Runner
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.plan import Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import failure
from cratedb_retention.model.rollup import SealWindows
from cratedb_retention.model.runs import Report
from cratedb_retention.store.journal import Entry
from cratedb_retention.store.store import Store

logger = logging.getLogger(__name__)


def carry_out(
    engine: Engine,
    store: Store,
    clock: Clock,
    session: Session,
    make_plan: Callable[[], Prepared],
    observers: Iterable[Observer] = (),
) -> Report:
    """
    Do what a plan says, as far as nobody else is at it.

    :param make_plan: Makes the plan, or hands over one that was made.
    :raises Cancelled: if somebody asked for the end of the run.
    :raises Stopped: if the process is to end.
    :raises LeaseLost: if another one may run the policies by now.
    :raises ConnectionLost: if the database is gone for good.
    """
    prepared = None if session.taken.won else make_plan()
    heartbeat = Heartbeat(session, store.jobs, clock)
    with ExitStack() as stack:
        if session.options.threads:
            stack.enter_context(heartbeat.beating())
        try:
            if prepared is None:
                prepared = _plan_under_leases(store, session, make_plan)
                session = _with_leases(session, prepared, clock)
            else:
                session, prepared = _with_a_fresh_plan(session, prepared, make_plan, clock)
            left = list(_left_out(store, prepared, session))
            prepared = _without(prepared, left)
            session.tracker.about(_concerned(prepared, session))
            runner = Runner(engine, store, clock, session, observers, heartbeat)
            for policy, lease in session.taken.over.items():
                runner.tell(TakenOver(policy, lease.holder or ""))
            report = runner.run(prepared, left)
        except BaseException as error:
            heartbeat.finish(outcome_of(error))
            raise
        heartbeat.finish(Outcome.DONE if report.ok else Outcome.FAILED)
    return report


def _plan_under_leases(store: Store, session: Session, make_plan: Callable[[], Prepared]) -> Prepared:
    """Where not even a plan can be made, the leases are given back, and the journal says why."""
    try:
        return make_plan()
    except BaseException as error:
        won, outcomes = session.taken.won, outcomes_after(error, session.taken.won)
        run_id = session.leases.run_id
        end = Entry(event=Event.RUN_FINISHED, outcome=Outcome.FAILED, why=failure(error), run_id=run_id)
        slots = [
            replace(end, event=Event.SLOT_FINISHED, outcome=outcome, policy_id=policy, slot=won[policy].slot)
            for policy, outcome in outcomes.items()
        ]
        try:
            session.leases.release(outcomes)
            store.journal.write(*slots, replace(end, message="no plan could be made"))
        except RetentionError as another:
            logger.warning("leases were not given back, or the audit log does not say so: %s", another)
        raise


def _concerned(prepared: Prepared, session: Session) -> list[Policy]:
    ids = {task.policy_id for task in prepared.plan.tasks} | set(session.taken.won)
    return [policy for identifier, policy in prepared.policies.items() if identifier in ids]


def _with_a_fresh_plan(
    session: Session, prepared: Prepared, make_plan: Callable[[], Prepared], clock: Clock
) -> tuple[Session, Prepared]:
    """
    Take the leases that a plan needs. Where somebody else was done with a policy meanwhile, the plan is out of date,
    and made anew if it is not one that was handed over.
    """
    while True:
        found = _with_leases(session, prepared, clock)
        if all(lease.holder is not None for lease in found.taken.refused.values()):
            return found, prepared
        another = make_plan()
        if another is prepared:
            return found, prepared
        retry(lambda: session.leases.release({}), clock.sleep)
        prepared = another


def _with_leases(session: Session, prepared: Prepared, clock: Clock) -> Session:
    """
    Take the leases that a plan needs and that are not held yet.

    Who makes rows go that are rolled up needs that of the policy that rolls up, too: else it could compute them anew,
    by a plan of its own, when they are gone.
    """
    own = {task.policy_id for task in prepared.plan.tasks}
    needed = {policy for task in prepared.plan.tasks for policy in _needed(task, prepared)}
    slots = dict.fromkeys(sorted(needed - set(session.taken.won)))
    taken = retry(lambda: session.leases.take(slots, prepared.leases), clock.sleep)
    aside = frozenset(policy for policy in taken.won if policy not in own)
    return replace(session, taken=session.taken.plus(taken, aside))


def _needed(task: Task, prepared: Prepared) -> set[str]:
    """The policies that nobody else may run while a task is done."""
    known = prepared.ledger.rollups
    seals = (step.rollup.table for step in task.steps if isinstance(step, SealWindows))
    policies = {task.policy_id, *(known[table].policy_id for table in seals if table in known)}
    return {policy for policy in policies if policy is not None and policy in prepared.policies}


def _left_out(store: Store, prepared: Prepared, session: Session) -> Iterator[LeftOut]:
    """What others are at. Tidying up waits until nobody else is at work, since what is frozen may be theirs."""
    by_policy: dict[tuple[str | None, str | None], list[Task]] = {}
    won, refused = session.taken.won, session.taken.refused
    for task in prepared.plan.tasks:
        missing = sorted(_needed(task, prepared) - set(won))
        if missing or task.policy_id not in won:
            by_policy.setdefault((task.policy_id, missing[0] if missing else task.policy_id), []).append(task)
    for (policy, of), tasks in by_policy.items():
        if policy is not None:
            lease = refused.get(of or "")
            yield LeftOut(
                policy_id=policy, tasks=tuple(tasks), holder=(lease.holder if lease else None) or "somebody else", at=of
            )
        elif others := _others_at_work(store, session):
            yield LeftOut(policy_id=None, tasks=tuple(tasks), holder=others[0])


def _others_at_work(store: Store, session: Session) -> list[str]:
    known = store.leases.read()
    holders = {lease.holder or "" for lease in known.by_policy.values() if not lease.is_free(known.now)}
    return sorted(holders - {session.leases.holder})


def _without(prepared: Prepared, left: Iterable[LeftOut]) -> Prepared:
    """A plan without what is left out."""
    gone = {id(task) for each in left for task in each.tasks}
    tasks = tuple(task for task in prepared.plan.tasks if id(task) not in gone)
    return replace(prepared, plan=replace(prepared.plan, tasks=tasks))
