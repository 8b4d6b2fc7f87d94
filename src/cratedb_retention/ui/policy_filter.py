"""
Which policies a list shows: by tags, strategy and words. It stands in the address, so that a list can be bookmarked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.policy import parse_strategy
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.ui.links import address


@dataclass(frozen=True)
class Wanted:
    """
    A filter as people write it.

    :param tags: As ``--tags`` takes it: ``a,b`` both, ``not:c`` without.
    :param strategy: Its name; empty: any.
    :param q: Words that a policy mentions.
    """

    tags: str = ""
    strategy: str = ""
    q: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """The filter of an address."""
        return cls(query.get("tags", ""), query.get("strategy", ""), query.get("q", ""))

    @property
    def selection(self) -> Selection:
        """
        The same for the toolkit, without the words.

        :raises InvalidInput: if there is no such strategy, or the tags are no filter.
        """
        strategy = parse_strategy(self.strategy) if self.strategy else None
        return Selection(strategy, parse_tag_filter([self.tags] if self.tags.strip() else []))

    @property
    def address(self) -> str:
        """Where this list is."""
        return address("/policies", {"tags": self.tags.strip(), "strategy": self.strategy, "q": self.q.strip()})


def tagged(tag: str) -> str:
    """The address of the list of policies with a tag."""
    return Wanted(tags=tag).address
