"""
Tags, and the filter that chooses policies by them.

``--tags a,b`` means both; a repeated ``--tags`` means either: the filter is an "or" of "and"s. ``not:c`` excludes the
tag c. Unlike ``!c`` it has no meaning in a shell, unlike ``-c`` it is not an option, and in a URL it needs no escaping.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput

NOT = "not:"
# The maximum number of alternatives; combining two filters multiplies their numbers.
MOST_GROUPS = 100


@dataclass(frozen=True, slots=True)
class TagGroup:
    """Tags that a policy must have, and tags that it must not have."""

    wanted: frozenset[str]
    unwanted: frozenset[str] = frozenset()

    def fits(self, present: frozenset[str]) -> bool:
        return self.wanted <= present and not self.unwanted & present

    @property
    def words(self) -> list[str]:
        """Its tags as they are written, with ``not:`` before the unwanted ones."""
        return [*sorted(self.wanted), *(f"{NOT}{tag}" for tag in sorted(self.unwanted))]

    def __or__(self, other: TagGroup) -> TagGroup:
        return TagGroup(self.wanted | other.wanted, self.unwanted | other.unwanted)


@dataclass(frozen=True, slots=True)
class TagFilter:
    """
    Chooses policies by tags.

    :param any_of: A policy fits if it fits one of these groups; if there are none, every policy fits.
    """

    any_of: tuple[TagGroup, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.any_of)

    def __and__(self, other: TagFilter) -> TagFilter:
        """The filter that chooses the policies that both choose."""
        if not (self and other):
            return self or other
        return TagFilter(tuple(dict.fromkeys(one | two for one in self.any_of for two in other.any_of)))

    def fits(self, tags: Iterable[str]) -> bool:
        """Whether a policy with these tags is chosen."""
        present = frozenset(tags)
        return not self.any_of or any(group.fits(present) for group in self.any_of)

    def __str__(self) -> str:
        return " or ".join("+".join(group.words) for group in self.any_of)

    @property
    def wanted(self) -> frozenset[str]:
        """All tags that some group requires."""
        return frozenset().union(*(group.wanted for group in self.any_of))

    @property
    def named(self) -> frozenset[str]:
        """All tags that some group requires or excludes."""
        return self.wanted.union(*(group.unwanted for group in self.any_of))

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that :func:`parse_tag_filter` makes this filter from."""
        return tuple(",".join(group.words) for group in self.any_of)


def parse_tag_filter(values: Iterable[str]) -> TagFilter:
    """
    Build the filter from the values of a repeated ``--tags``; raises ``InvalidInput`` if one of them contains an empty
    tag, or both requires and excludes a tag.
    """
    groups = tuple(dict.fromkeys(map(_parse_group, values)))
    if len(groups) > MOST_GROUPS:
        raise InvalidInput("tags", f"{len(groups)} alternatives", f"the maximum is {MOST_GROUPS}")
    return TagFilter(groups)


def _parse_group(text: str) -> TagGroup:
    tags = [tag.strip() for tag in text.split(",")]
    if not all(tags):  # An empty filter would choose every policy.
        raise InvalidInput(f"tags {text!r}", "an empty tag", "write tags separated by commas, like acme,metrics")
    unwanted = frozenset(tag.removeprefix(NOT).strip() for tag in tags if tag.startswith(NOT))
    wanted = frozenset(tag for tag in tags if not tag.startswith(NOT))
    if "" in unwanted:
        raise InvalidInput(f"tags {text!r}", "an empty tag", f"write the tag after {NOT}, like {NOT}archived")
    if wanted & unwanted:
        tag = min(wanted & unwanted)
        raise InvalidInput(f"tags {text!r}", f"the tag {tag} is both required and excluded", "remove one of the two")
    return TagGroup(wanted, unwanted)
