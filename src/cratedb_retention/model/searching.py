"""
Finds policies by what people type: each word must occur somewhere in what a policy says, in whatever case.
"""

from __future__ import annotations

from collections.abc import Iterable

from cratedb_retention.model.policy import Policy


def matches(policy: Policy, text: str) -> bool:
    """Whether all words of a text occur in a policy's table, filter, tags, description, periods or identifier."""
    return mentions(_said(policy), text)


def mentions(said: Iterable[str | None], text: str) -> bool:
    """Whether all words of a text occur in what is said. An empty text occurs everywhere."""
    wanted = text.lower().split()
    everything = "\n".join(each for each in said if each).lower() if wanted else ""
    return all(word in everything for word in wanted)


def _said(policy: Policy) -> Iterable[str | None]:
    return (
        policy.target,
        str(policy.strategy),
        str(policy.retention_period),
        ",".join(map(str, policy.levels)),
        policy.schedule,
        policy.target_repository_name,
        policy.description,
        policy.id,
        *policy.tags,
    )
