"""The plan as data."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.measurements import ExpiredRows, PartitionBounds
from cratedb_retention.model.plan.plan import Blocked, Plan, Step
from cratedb_retention.model.plan.reasons import Why
from support.catalogs import METRICS, MONTH, TS


def test_needs_attention() -> None:
    """Not all that is blocked needs attention."""
    waiting, stuck = (
        Blocked(policy_id="p", table=TableName("doc", "metrics"), why=Why.CLOSED()),
        Blocked(policy_id="p", table=TableName("doc", "metrics"), why=Why.NO_SUCH_TABLE(), needs_attention=True),
    )
    assert Plan(cutoff=0, blocked=(waiting, stuck)).needs_attention == (stuck,)
    assert Plan(cutoff=0).needs_attention == ()


@pytest.mark.parametrize("step", get_args(Step))
def test_steps_are_frozen_data(step: type) -> None:
    """Nobody can change a step between showing and executing it."""
    assert dataclasses.is_dataclass(step)
    assert step.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_equal_questions_are_one() -> None:
    """Questions to the rows are compared by what they ask, so that each is asked once."""
    assert len({PartitionBounds(METRICS, (MONTH,), TS), PartitionBounds(METRICS, (MONTH,), TS)}) == 1
    assert ExpiredRows(table=METRICS, time_column=TS, before=1) != ExpiredRows(table=METRICS, time_column=TS, before=2)
