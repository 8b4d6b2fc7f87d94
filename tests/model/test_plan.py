"""The plan as data."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.measurements import ExpiredRows, PartitionBounds
from cratedb_retention.model.plan.plan import Blocked, DropPartitions, Plan, Step, UpToDate
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.step import Piece
from support.catalogs import METRICS, MONTH, TS, part


def test_needs_attention() -> None:
    """Not all that is blocked needs attention."""
    waiting, stuck = (
        Blocked(policy_id="p", table=TableName("doc", "metrics"), why=Why.CLOSED()),
        Blocked(policy_id="p", table=TableName("doc", "metrics"), why=Why.NO_SUCH_TABLE(), needs_attention=True),
    )
    assert Plan(cutoff=0, blocked=(waiting, stuck)).needs_attention == (stuck,)
    assert Plan(cutoff=0).needs_attention == ()


@pytest.mark.parametrize(("ends", "expires"), [([10, 20], 20), ([10, None], 50), ([60, None], 60), ([None], 50)])
def test_what_is_expired(ends: list[int | None], expires: int) -> None:
    """Rows before the last end are gone; where an end is unknown, all rows are older than the limit."""
    pieces = tuple(Piece(partition=part(end), start=0, end=end) for end in ends)
    step = DropPartitions(table=METRICS, columns=(MONTH,), pieces=pieces, before=50)
    assert step.expires == (METRICS, expires)


def test_next_due() -> None:
    """The first of several instants at which more data expires."""
    times = (7, None, 5, 9)
    kept = tuple(UpToDate(policy_id="p", table=METRICS, partitions=1, next_due=due) for due in times)
    assert Plan(cutoff=0, up_to_date=kept).next_due == 5
    assert Plan(cutoff=0, up_to_date=kept[1:2]).next_due is None


@pytest.mark.parametrize("step", get_args(Step))
def test_steps_are_frozen_data(step: type) -> None:
    """Nobody can change a step between showing and executing it."""
    assert dataclasses.is_dataclass(step)
    assert step.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_equal_questions_are_one() -> None:
    """Questions to the rows are compared by what they ask, so that each is asked once."""
    assert len({PartitionBounds(METRICS, (MONTH,), TS), PartitionBounds(METRICS, (MONTH,), TS)}) == 1
    assert ExpiredRows(table=METRICS, time_column=TS, before=1) != ExpiredRows(table=METRICS, time_column=TS, before=2)
