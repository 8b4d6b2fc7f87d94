"""
Tags, and the filter that chooses policies by them.

``--tags a,b`` wants both; a repeated ``--tags`` wants either: the filter is an "or" of "and"s. ``not:c`` wants those
without the tag c: no shell takes that for something of its own, as it does ``!c``, no program for an option, as it
would ``-c``, and it stands in a URL as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput

NOT = "not:"
# More choices at once are a mistake; a filter's size is the product of those that are combined.
MOST_GROUPS = 100


@dataclass(frozen=True, slots=True)
class TagGroup:
    """Tags that a policy has, all of them, and tags of which it has none."""

    wanted: frozenset[str]
    unwanted: frozenset[str] = frozenset()

    def fits(self, present: frozenset[str]) -> bool:
        return self.wanted <= present and not self.unwanted & present

    @property
    def words(self) -> list[str]:
        """What it is written as, one for each tag."""
        return [*sorted(self.wanted), *(f"{NOT}{tag}" for tag in sorted(self.unwanted))]

    def __or__(self, other: TagGroup) -> TagGroup:
        return TagGroup(self.wanted | other.wanted, self.unwanted | other.unwanted)


@dataclass(frozen=True, slots=True)
class TagFilter:
    """
    Chooses policies by tags.

    :param any_of: A policy fits if it fits one of these. Without any, every policy fits.
    """

    any_of: tuple[TagGroup, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.any_of)

    def __and__(self, other: TagFilter) -> TagFilter:
        """The filter that chooses what both choose."""
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
        """The tags that policies are to have."""
        return frozenset().union(*(group.wanted for group in self.any_of))

    @property
    def named(self) -> frozenset[str]:
        """The same, and those that they are not to have."""
        return self.wanted.union(*(group.unwanted for group in self.any_of))

    @property
    def texts(self) -> tuple[str, ...]:
        """What :func:`parse_tag_filter` makes this filter of."""
        return tuple(",".join(group.words) for group in self.any_of)


def parse_tag_filter(values: Iterable[str]) -> TagFilter:
    """
    Build the filter from the values of a repeated ``--tags``; raises ``InvalidInput`` if one of them holds an empty
    tag, or wants a tag and does not want it.
    """
    groups = tuple(dict.fromkeys(map(_parse_group, values)))
    if len(groups) > MOST_GROUPS:
        raise InvalidInput("tags", f"{len(groups)} choices", f"give at most {MOST_GROUPS}")
    return TagFilter(groups)


def _parse_group(text: str) -> TagGroup:
    tags = [tag.strip() for tag in text.split(",")]
    if not all(tags):  # An empty filter would choose every policy.
        raise InvalidInput(f"tags {text!r}", "an empty tag", "write tags separated by commas, like acme,metrics")
    unwanted = frozenset(tag.removeprefix(NOT).strip() for tag in tags if tag.startswith(NOT))
    wanted = frozenset(tag for tag in tags if not tag.startswith(NOT))
    if "" in unwanted:
        raise InvalidInput(f"tags {text!r}", "an empty tag", f"write the tag behind {NOT}, like {NOT}archived")
    if wanted & unwanted:
        tag = min(wanted & unwanted)
        raise InvalidInput(f"tags {text!r}", f"no policy has the tag {tag} and has it not", "leave one of them out")
    return TagGroup(wanted, unwanted)
