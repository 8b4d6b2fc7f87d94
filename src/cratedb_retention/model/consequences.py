"""
What it means to delete, disable or enable a policy, in sentences: said to people before they do it.
"""

from __future__ import annotations

import datetime as dt
from typing import assert_never

from cratedb_retention.model.instant import show
from cratedb_retention.model.policy import Policy, Strategy


def of_deleting(policy: Policy) -> str:
    """What follows from deleting a policy."""
    return f"Only the policy goes; no row is touched. {_without(policy)}"


def of_disabling(policy: Policy) -> str:
    """What follows from disabling a policy."""
    return f"Runs skip it from now on. {_without(policy)}"


def of_enabling(policy: Policy, now: dt.datetime) -> str:
    """
    What the next run does under a policy once it is enabled.

    :param now: The aware present instant.
    """
    limit = policy.limit(now)
    when = f"Runs begin by its schedule ({policy.schedule})." if policy.schedule else "It runs only by hand."
    if limit is None and policy.strategy is not Strategy.DOWNSAMPLE:
        return f"It keeps data forever, so that nothing is taken away. {when}"
    old = f"data of {policy.target} from before {show(limit)} UTC" if limit is not None else ""
    return f"{_taken(policy, old)} {when}"


def _taken(policy: Policy, old: str) -> str:
    match policy.strategy:
        case Strategy.DELETE:
            return f"The next run deletes all {old}, except what is held. Deleted data does not come back."
        case Strategy.SNAPSHOT:
            return f"The next run archives {old} in {policy.target_repository_name}, and drops it from the table."
        case Strategy.REALLOCATE:
            where = f"{policy.reallocation_attribute_name}={policy.reallocation_attribute_value}"
            return f"The next run moves {old} to nodes with {where}. No row is lost."
        case Strategy.DOWNSAMPLE:
            levels = ", ".join(str(level) for level in policy.levels)
            gone = f", and then deletes raw {old}" if old else ""
            return f"The next run rolls {policy.target} up ({levels}){gone}."
        case _:
            assert_never(policy.strategy)


def _without(policy: Policy) -> str:
    """What is no longer done, and what stays."""
    match policy.strategy:
        case Strategy.DELETE:
            return f"It no longer deletes data of {policy.target}, which stays unless another policy is about it."
        case Strategy.SNAPSHOT:
            return (
                f"It no longer archives data of {policy.target}. What is archived stays, and can be restored. "
                "If another policy deletes this data, it does so without an archive."
            )
        case Strategy.REALLOCATE:
            return f"It no longer moves data of {policy.target}. What was moved stays where it is."
        case Strategy.DOWNSAMPLE:
            return (
                f"It no longer rolls up {policy.target}, and no longer deletes raw rows or rollups. The tables of its "
                "levels stay. Policies that delete raw rows no longer wait until these are rolled up."
            )
        case _:
            assert_never(policy.strategy)
