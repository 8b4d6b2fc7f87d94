"""
One table's trouble is that table's: what goes wrong while something is decided about one target becomes a problem of
that target, and everything else is planned.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from cratedb_retention.errors import RetentionError
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan import Hold
from cratedb_retention.model.reasons import Why
from cratedb_retention.planning.targets import Undecided

logger = logging.getLogger(__name__)
T = TypeVar("T")


def isolated(policy_id: str | None, table: TableName, work: Callable[[], T], problems: list[Hold]) -> T | None:
    """
    Decide about one target.

    What nobody foresaw is in the log with where it happened: it blocks this target, and ends nobody else's work.

    :param problems: Gets a problem if it fails.
    :return: What was decided; None if it failed.
    """
    try:
        return work()
    except Undecided as error:
        why = error.why
    except RetentionError as error:
        why = Why.FAILED(error=error)
    except Exception as error:
        logger.exception("planning policy %s on table %s failed", policy_id, table)
        why = Why.NOT_PLANNED(error=error)
    problems.append(Hold(policy_id=policy_id, table=table, why=why, problem=True))
    return None
