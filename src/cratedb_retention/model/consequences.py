"""
What it means to delete or disable a policy, in sentences: said to people before they do it.
"""

from __future__ import annotations

from typing import assert_never

from cratedb_retention.model.policy import Policy, Strategy


def of_deleting(policy: Policy) -> str:
    """What follows from deleting a policy."""
    return f"Only the policy goes; no row is touched. {_without(policy)}"


def of_disabling(policy: Policy) -> str:
    """What follows from disabling a policy."""
    return f"Runs skip it from now on. {_without(policy)}"


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
