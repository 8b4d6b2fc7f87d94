"""
Tags, and the filter that chooses policies by them.

``--tags a,b`` wants both; a repeated ``--tags`` wants either: the filter is an "or" of "and"s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TagFilter:
    """
    Chooses policies by tags.

    :param any_of: Groups of tags; a policy fits if it has all tags of one group. Without groups, every policy fits.
    """

    any_of: tuple[frozenset[str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.any_of)

    def fits(self, tags: Iterable[str]) -> bool:
        """Tell whether a policy with these tags is chosen."""
        present = frozenset(tags)
        return not self.any_of or any(group <= present for group in self.any_of)

    def __str__(self) -> str:
        return " or ".join("+".join(sorted(group)) for group in self.any_of)


def split_tags(text: str) -> list[str]:
    """
    Split ``a, b`` into tags.

    :raises InvalidInput: if there is no tag in it. An empty filter would choose every policy.
    """
    tags = [tag.strip() for tag in text.split(",")]
    if not all(tags):
        raise InvalidInput(f"tags {text!r}", "an empty tag", "write tags separated by commas, like acme,metrics")
    return tags


def parse_tag_filter(values: Iterable[str]) -> TagFilter:
    """
    Build the filter from the values of a repeated ``--tags``.

    :raises InvalidInput: if one of them holds an empty tag.
    """
    return TagFilter(tuple(frozenset(split_tags(value)) for value in values))
