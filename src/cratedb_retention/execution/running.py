"""
One run from its leases to their end: takes those of the plan, lets the runner work, gives them back.

A run by hand takes leases right after planning; a scheduled one has them before, since its slots are done by it even if
nothing is to do.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from cratedb_retention.clock import Actor, Clock, name_holder
from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.events import LeftOut, Observer, Report, TakenOver
from cratedb_retention.execution.gate import Gate
from cratedb_retention.execution.heart import Heart
from cratedb_retention.execution.leasing import TTL_SECONDS, LeaseHolder, Taken
from cratedb_retention.execution.preparing import Prepared
from cratedb_retention.execution.recorder import outcome_of
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.runner import Runner
from cratedb_retention.execution.tracking import Tracker
from cratedb_retention.model.plan import Task
from cratedb_retention.store.journal import Outcome
from cratedb_retention.store.store import Store


@dataclass(frozen=True)
class Terms:
    """
    On which terms runs go on.

    :param ttl: After so many seconds without renewal another run may take a lease.
    :param stop: Set when the process is to end; a run then ends before its next step.
    :param threads: Whether a thread renews leases and writes progress while a step takes long; without, only what the
        run itself gets to between steps, as in a simulation.
    """

    ttl: float = TTL_SECONDS
    stop: threading.Event | None = None
    threads: bool = True


@dataclass(frozen=True)
class Session:
    """
    A run that has a name and leases, and may have no plan yet.

    :param taken: What came of taking leases before planning.
    """

    leases: LeaseHolder
    taken: Taken = field(default_factory=Taken)


def new_session(store: Store, clock: Clock, actor: Actor, terms: Terms) -> Session:
    """Name a run."""
    return Session(LeaseHolder(store.leases, clock, name_holder(actor), str(uuid.uuid4()), terms.ttl))


def carry_out(
    engine: Engine,
    store: Store,
    clock: Clock,
    actor: Actor,
    prepared: Prepared,
    observers: Iterable[Observer] = (),
    terms: Terms | None = None,
    session: Session | None = None,
) -> Report:
    """
    Do what a plan says, as far as nobody else is at it.

    :param session: With the leases of a scheduled run; None: take those that the plan needs.
    :raises Cancelled: if somebody asked for the end of the run.
    :raises Stopped: if the process is to end.
    :raises LeaseLost: if another one may run the policies by now.
    :raises ConnectionLost: if the database is gone for good.
    """
    terms = terms or Terms()
    session = session or _with_leases(new_session(store, clock, actor, terms), prepared, clock)
    left = list(_left_out(store, prepared, session))
    prepared = _without(prepared, left)
    ids = {task.policy_id for task in prepared.plan.tasks} | set(session.taken.won)
    tracker = Tracker(session.leases.run_id, clock, actor, (p for key, p in prepared.policies.items() if key in ids))
    heart = Heart(session.leases, store.jobs, tracker, clock)
    gate = Gate(session.leases, heart, terms.stop)
    runner = Runner(engine, store, clock, (tracker, *observers), gate, session.leases, session.taken)
    for policy, lease in session.taken.over.items():
        runner.tell(TakenOver(policy, lease.holder or ""))
    with ExitStack() as stack:
        if terms.threads:
            stack.enter_context(heart.beating())
        try:
            report = runner.run(prepared, left)
        except BaseException as error:
            heart.finish(outcome_of(error))
            raise
        heart.finish(Outcome.DONE if report.ok else Outcome.FAILED)
    return report


def _with_leases(session: Session, prepared: Prepared, clock: Clock) -> Session:
    slots = dict.fromkeys(task.policy_id for task in prepared.plan.tasks if task.policy_id is not None)
    return replace(session, taken=retry(lambda: session.leases.take(slots), clock.sleep))


def _left_out(store: Store, prepared: Prepared, session: Session) -> Iterator[LeftOut]:
    """What others are at. Tidying up waits until nobody else is at work, since what is frozen may be theirs."""
    by_policy: dict[str | None, list[Task]] = {}
    for task in prepared.plan.tasks:
        if task.policy_id not in session.taken.won:
            by_policy.setdefault(task.policy_id, []).append(task)
    holders: Mapping[str | None, str | None] = {p: lease.holder for p, lease in session.taken.refused.items()}
    for policy, tasks in by_policy.items():
        if policy is not None:
            yield LeftOut(policy, tuple(tasks), holders.get(policy) or "somebody else")
        elif others := _others_at_work(store, session):
            yield LeftOut(None, tuple(tasks), others[0])


def _others_at_work(store: Store, session: Session) -> list[str]:
    known = store.leases.read()
    holders = {lease.holder or "" for lease in known.by_policy.values() if not lease.is_free(known.now)}
    return sorted(holders - {session.leases.holder})


def _without(prepared: Prepared, left: Iterable[LeftOut]) -> Prepared:
    """A plan without what is left out."""
    gone = {id(task) for each in left for task in each.tasks}
    tasks = tuple(task for task in prepared.plan.tasks if id(task) not in gone)
    return replace(prepared, plan=replace(prepared.plan, tasks=tasks))
