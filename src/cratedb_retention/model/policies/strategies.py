"""
The strategies, one object each, from whose traits options, forms, checks, pages and documentation are derived. Their
steps are planned in ``planning/plan/strategies.py``.

Commands import this module to print their help, so it imports little itself.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self, TypeVar

from cratedb_retention.errors import InvalidInput

E = TypeVar("E", bound=enum.StrEnum)


def find_member(kind: type[E], thing: str, value: object) -> E:
    """Find a member by its name, ignoring case; raises InvalidInput if it does not exist."""
    found = next((member for member in kind if member == str(value).strip().lower()), None)
    if found is None:
        raise InvalidInput(f"{thing} {value!r}", "unknown", f"use one of: {', '.join(kind)}")
    return found


@dataclass(frozen=True, kw_only=True)
class Traits:
    label: str  # Its label in a choice.
    verb: str  # Its effect in one word.
    does: str  # Its effect on data, in the infinitive; ``{0}`` is the policy.
    ends: str  # Consequences of deleting or disabling such a policy; ``{0}`` is the policy's target.
    # Its place in a plan: archiving comes before deleting, so that data due for both is archived, and data that is
    # dropped is neither moved nor compacted before.
    order: int
    needs: tuple[str, ...] = ()  # Attributes that a policy of it must have.
    example: str = ""  # An example of their values.
    removes: bool = True  # Whether expired data leaves its table.
    archives: bool = False  # Whether data is archived first.
    rolls_up: bool = False  # Whether rollups are computed, which happens before anything expires.
    moves: bool = False  # Whether data moves to other nodes.
    compacts: bool = False  # Whether data stays where it is, in less space.
    by_rows: bool = False  # Whether it works on rows if the table is not partitioned by time.


class Strategy(enum.StrEnum):
    """What happens to data past its retention period."""

    traits: Traits
    label: str

    def __new__(cls, value: str, traits: Traits) -> Self:
        member = str.__new__(cls, value)
        member._value_, member.traits, member.label = value, traits, traits.label
        return member

    DELETE = (
        "delete",
        Traits(
            label="Delete it",
            verb="delete",
            does="delete",
            ends="It no longer deletes data of {0}, which stays unless another policy applies to it.",
            order=3,
            by_rows=True,
        ),
    )
    REALLOCATE = (
        "reallocate",
        Traits(
            label="Reallocate: move it to other nodes",
            verb="move",
            does="move to {0.reallocation_attribute_name}={0.reallocation_attribute_value}",
            ends="It no longer moves data of {0}. Data that was moved stays where it is.",
            order=4,
            needs=("reallocation_attribute_name", "reallocation_attribute_value"),
            removes=False,
            moves=True,
        ),
    )
    SNAPSHOT = (
        "snapshot",
        Traits(
            label="Snapshot: archive it, then delete it",
            verb="archive",
            does="archive and drop",
            ends="It no longer archives data of {0}. Archived data stays, and can be restored. "
            "If another policy deletes this data, it does so without an archive.",
            order=1,
            needs=("target_repository_name",),
            archives=True,
        ),
    )
    DOWNSAMPLE = (
        "downsample",
        Traits(
            label="Downsample: keep it at a coarser resolution",
            verb="downsample",
            does="roll up, then drop",
            ends="It no longer rolls up {0}, and no longer deletes raw rows or rollups. The tables of its levels stay. "
            "Policies that delete raw rows no longer wait until the rows are rolled up.",
            order=2,
            needs=("levels",),
            example="1m:7d,1h:90d,1d:forever",
            rolls_up=True,
            by_rows=True,
        ),
    )
    COMPACT = (
        "compact",
        Traits(
            label="Compact: keep it in less space",
            verb="compact",
            does="compact ({0.compaction})",
            ends="It no longer compacts data of {0}. Data that was compacted stays as it is.",
            order=5,
            removes=False,
            compacts=True,
        ),
    )


def parse_strategy(value: object) -> Strategy:
    """Read a strategy's name, ignoring case; raises InvalidInput if it does not exist."""
    return find_member(Strategy, "strategy", value)
