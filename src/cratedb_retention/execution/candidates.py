"""
What a policy would do before it is stored: the very plan that a run would have (law 10), and what it changes for
others.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.preparing import Prepared, Selection, prepare_both
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.effect import summarize
from cratedb_retention.model.plan import DeleteRows, DropArchived, DropPartitions, Hold, Kept, Piece, Plan, Step, Task
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.reasons import Reason, Why
from cratedb_retention.model.rollup_steps import RollUp, SealWindows
from cratedb_retention.model.words import show_where
from cratedb_retention.planning.check import find_contradictions
from cratedb_retention.store.policies import identity
from cratedb_retention.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Loss:
    """
    What leaves a table at the next run.

    :param table: The table, with the values that rows must have.
    :param partitions: How many partitions; 0 for rows.
    :param rows: How many rows, if known.
    :param size: Bytes, if known.
    :param start: The beginning of the oldest (ms, UTC), if known.
    :param end: The end of the newest.
    :param archived: The repository that it is in by then; empty: none.
    :param rolled_up: Whether it is rolled up before.
    """

    table: str
    partitions: int
    rows: int | None
    size: int | None
    start: int | None
    end: int | None
    archived: str = ""
    rolled_up: bool = False


@dataclass(frozen=True, kw_only=True)
class Other:
    """
    What becomes different for another policy.

    :param gained: What its next run does, or holds, and would not have otherwise.
    :param lost: What it would have done, or held, and does not.
    """

    policy_id: str
    table: TableName
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """
    What the next run does without and with a policy.

    :param policy: The policy, with an identifier: one that was made up if it is new.
    :param if_enabled: The same as if it were enabled; None: it is.
    """

    policy: Policy
    before: Prepared
    after: Prepared
    if_enabled: Preview | None = None

    @property
    def own(self) -> Prepared:
        """The plan with the policy, without what others ask for."""
        return replace(self.after, plan=replace(self.after.plan, tasks=self.tasks, holds=self.holds, kept=self.kept))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the policy asks for."""
        return tuple(task for task in self.after.plan.tasks if task.policy_id == self.policy.id)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What of it is held."""
        return tuple(hold for hold in self.after.plan.holds if hold.policy_id == self.policy.id)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What it looked at and keeps."""
        return tuple(kept for kept in self.after.plan.kept if kept.policy_id == self.policy.id)

    @property
    def next_due(self) -> int | None:
        """When more is due (ms, UTC), if that is known."""
        return min((kept.next_due for kept in self.kept if kept.next_due is not None), default=None)

    @property
    def losses(self) -> list[Loss]:
        """What leaves tables, one for each table and way."""
        found: dict[tuple[str, str, bool], Loss] = {}
        for task in self.tasks:
            loss = _loss(task)
            if loss is not None:
                key = (loss.table, loss.archived, loss.rolled_up)
                found[key] = _add(found[key], loss) if key in found else loss
        return list(found.values())

    @property
    def contradictions(self) -> list[str]:
        """Where the policy contradicts others, or does what another one does already."""
        chosen = [p for p in self.after.policies.values() if self.after.selection.fits(p)]
        found = find_contradictions(chosen, self.after.catalog, self.after.ledger)
        twins = [p for p in chosen if p.id != self.policy.id and identity(p) == identity(self.policy)]
        return [
            *(str(Why.DONE_ALREADY(other=p.id or "", strategy=p.strategy, period=p.retention_period)) for p in twins),
            *dict.fromkeys(f"{f.table}: {self.told(f.why)}" for f in found if self.policy.id in f.policies),
        ]

    @property
    def others(self) -> list[Other]:
        """What becomes different for other policies."""
        before, after = self._verdicts(self.before.plan), self._verdicts(self.after.plan)
        keys = dict.fromkeys([*before, *after])
        found = [
            Other(
                policy_id=key[0],
                table=key[1],
                gained=tuple(text for text in after.get(key, {}) if text not in before.get(key, {})),
                lost=tuple(text for text in before.get(key, {}) if text not in after.get(key, {})),
            )
            for key in keys
            if key[0] != self.policy.id
        ]
        return [other for other in found if other.gained or other.lost]

    def told(self, reason: Reason) -> str:
        """A reason, with the policy as "this policy" rather than by an identifier that was made up."""
        return reason.about(self.policy.id)

    def _verdicts(self, plan: Plan) -> dict[tuple[str, TableName], dict[str, None]]:
        """What a plan says of each policy and table, in words: two plans may differ in what was written meanwhile."""
        found: dict[tuple[str, TableName], dict[str, None]] = {}
        for task in plan.tasks:
            found.setdefault((task.policy_id or "", task.table), {})[summarize(task)] = None
        for hold in plan.holds:
            found.setdefault((hold.policy_id or "", hold.table), {})[f"held: {self.told(hold.why)}"] = None
        return found


def preview(
    engine: Engine, store: Store, cutoff: dt.datetime, policy: Policy, selection: Selection | None = None
) -> Preview:
    """
    Make the plan without and with a policy. Nothing is written.

    :param cutoff: An aware instant.
    :param policy: Takes the place of the stored one with its identifier, if there is one.
    """
    candidate = policy if policy.id else policy.model_copy(update={"id": str(uuid.uuid4())})
    before, after = prepare_both(engine, store, cutoff, selection, candidate=candidate)
    enabled = candidate.model_copy(update={"enabled": True})
    if_enabled = None if candidate.enabled else preview(engine, store, cutoff, enabled, selection)
    return Preview(policy=candidate, before=before, after=after, if_enabled=if_enabled)


def _loss(task: Task) -> Loss | None:
    """What a task removes; None if nothing."""
    removing = [step for step in task.steps if isinstance(step, DropPartitions | DeleteRows | DropArchived)]
    if not removing:
        return None
    start, end = _stretch(removing)
    step = removing[0]
    where = f" with {show_where(step.where)}" if isinstance(step, DeleteRows) and step.where else ""
    return Loss(
        table=f"{step.table}{where}",
        partitions=task.partitions,
        rows=task.rows,
        size=task.size,
        start=start,
        end=end,
        archived=step.repository if isinstance(step, DropArchived) else "",
        rolled_up=any(isinstance(each, RollUp | SealWindows) for each in task.steps) and not _is_late(step),
    )


def _is_late(step: Step) -> bool:
    """Whether all that goes came too late to be rolled up."""
    return isinstance(step, DeleteRows) and bool(step.late) and step.late == step.rows


def _stretch(steps: Iterable[Step]) -> tuple[int | None, int | None]:
    """The time that is removed: from, to; None where nothing tells it."""
    pieces = [piece for step in steps for piece in _pieces(step)]
    starts = [piece.start for piece in pieces if piece.start is not None]
    ends = [piece.end for piece in pieces if piece.end is not None]
    ends += [step.before for step in steps if isinstance(step, DeleteRows)]
    return min(starts, default=None), max(ends, default=None)


def _pieces(step: Step) -> Iterator[Piece]:
    match step:
        case DropPartitions(pieces=pieces):
            yield from pieces
        case DropArchived(piece=piece):
            yield piece
        case _:
            pass


def _add(one: Loss, other: Loss) -> Loss:
    return replace(
        one,
        partitions=one.partitions + other.partitions,
        rows=None if one.rows is None or other.rows is None else one.rows + other.rows,
        size=None if one.size is None or other.size is None else one.size + other.size,
        start=min((each for each in (one.start, other.start) if each is not None), default=None),
        end=max((each for each in (one.end, other.end) if each is not None), default=None),
    )
