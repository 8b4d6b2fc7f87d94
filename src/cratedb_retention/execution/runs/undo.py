"""
Brings back what recoverable policies deleted, as a restore under the leases of these policies: meanwhile, neither a run
nor another undo works on the same partitions, which would be deleted again, or restored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import Conflict
from cratedb_retention.execution.archive import Restored, RestoreRequest, Restoring, find_restorable
from cratedb_retention.execution.runs.leasing import Heartbeat, new_session
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.store.store import Store


def undo(
    engine: Engine,
    store: Store,
    clock: Clock,
    actor: Actor,
    request: RestoreRequest,
    told: Callable[[Restored], None] | None = None,
) -> list[Restored]:
    """
    Bring back each matching partition; each result is reported at once.

    :raises NotFound: if none matches.
    :raises Conflict: if a run, or another undo, has the lease of one of the policies.
    :raises RunEnded: if the undo was cancelled, or lost its leases.
    """
    found = find_restorable(engine, store, clock, request)
    policies = tuple(sorted({record.policy_id for record in found if record.policy_id}))
    tags = tuple(sorted({tag for record in found for tag in record.tags}))
    with _leases(store, clock, actor, policies, tags) as check:

        def restored(item: Restored) -> None:
            if told is not None:
                told(item)
            check()

        return Restoring(engine=engine, store=store, clock=clock, actor=actor, request=request).run(restored)


@contextmanager
def _leases(
    store: Store, clock: Clock, actor: Actor, policies: tuple[str, ...], tags: tuple[str, ...]
) -> Iterator[Callable[[], None]]:
    """Hold the leases of policies. Gives a check that raises RunEnded if they are lost, or the undo was cancelled."""
    session, outcome = new_session(store, clock, actor, RunOptions()), Outcome.FAILED
    session.tracker.update(policies=policies, tags=tags, doing="bring back deleted partitions")
    heartbeat = Heartbeat(session, store.jobs, clock)
    try:
        taken = session.leases.take(dict.fromkeys(policies))
        for policy in sorted(taken.refused):
            remedy = "cancel that run, or wait until it has ended"
            raise Conflict(f"policy {policy}", "is being run or undone", remedy)
        with heartbeat.beating():
            yield heartbeat.during_step
        outcome = Outcome.DONE
    finally:
        session.leases.release({})
        heartbeat.finish(outcome)
