"""
Freezing on CrateDB: writes to a partition are refused with an error; reading, archiving and dropping still work.
"""

from __future__ import annotations

import sqlalchemy as sa

from cratedb_retention.engine.base import Progress, Report, StepResult
from cratedb_retention.engine.cratedb.sql import AlterPartition
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import NotFound, PartitionChanged
from cratedb_retention.model.plan import FreezePartitions, ThawPartitions

SETTING = "blocks.write"


def set_blocked(
    database: Database, step: FreezePartitions | ThawPartitions, blocked: bool, report: Report
) -> StepResult:
    """Block or allow writes. A partition that is gone needs no thawing."""
    for number, statement in enumerate(statements(step, blocked), 1):
        try:
            database.execute(statement)
        except NotFound as error:
            if blocked:
                raise PartitionChanged(f"table {step.table}", f"a partition is gone: {error.reason}") from None
        report(Progress(number, len(step.pieces), "partition"))
    return StepResult(partitions=len(step.pieces))


def statements(step: FreezePartitions | ThawPartitions, blocked: bool) -> list[sa.Executable]:
    """One ALTER TABLE for each partition; CrateDB has no way to do it for several."""
    return [AlterPartition(step.table, step.columns, piece.partition.values, SETTING, blocked) for piece in step.pieces]
