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
    except (Undecided, RetentionError) as error:
        reason = str(error)
    except Exception as error:
        logger.exception("planning policy %s on table %s failed", policy_id, table)
        reason = (
            f"cannot be planned: {type(error).__name__}: {error}; this is a mistake in the program, please report it"
        )
    problems.append(Hold(policy_id=policy_id, table=str(table), reason=" ".join(reason.split()), problem=True))
    return None
