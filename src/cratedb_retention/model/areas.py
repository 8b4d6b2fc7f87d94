"""
Areas: the data that a policy, a hold or a request is about, and whether one lies within another.

In doubt it does not: the answer decides who may see and change what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from cratedb_retention.model.catalog import Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.pairs import plain_text, write_pairs
from cratedb_retention.model.policy import Policy


@dataclass(frozen=True, slots=True)
class Area:
    """
    Tables, or some of their values.

    :param schema: Name or pattern.
    :param name: Name or pattern.
    :param where: Only data with these values, as text; empty: all of it.
    """

    schema: str
    name: str
    where: frozenset[tuple[str, str | None]] = frozenset()

    def within(self, other: Area) -> bool:
        """Whether all that this one is about belongs to the other one."""
        return (
            pattern_within(self.schema, other.schema)
            and pattern_within(self.name, other.name)
            and other.where <= self.where
        )

    @property
    def folded(self) -> Area:
        """The same where names that differ in case only are one name."""
        return replace(self, schema=self.schema.lower(), name=self.name.lower())

    def __str__(self) -> str:
        where = write_pairs(sorted(self.where, key=str))
        return f"{self.schema}.{self.name}" + (f" where {where}" if where else "")


def make_area(schema: str | None, name: str, where: Mapping[str, Value], default_schema: str) -> Area:
    """
    An area from its parts.

    :param default_schema: What an empty schema means.
    """
    return Area(schema or default_schema, name, frozenset(_as_text(where)))


def area_of(policy: Policy, default_schema: str) -> Area:
    """The data that a policy is about."""
    return make_area(policy.table_schema, policy.table_name, policy.where, default_schema)


def areas_of_hold(hold: LegalHold, default_schema: str) -> list[Area]:
    """The data that a hold is about: all of these together."""
    return [make_area(hold.table_schema, hold.table_name, values, default_schema) for values in hold.filters]


def covering(area: Area, others: Iterable[Area]) -> Area | None:
    """The widest of some areas that an area lies within; None if it lies within none of them."""
    return min((other for other in others if area.within(other)), key=lambda other: len(other.where), default=None)


def pattern_within(inner: str, outer: str) -> bool:
    """
    Whether each name that fits the inner pattern fits the outer one. Where that is not plain to see, the answer is no.
    """

    @cache
    def fits(i: int, o: int) -> bool:
        if o == len(outer):
            return i == len(inner)
        if outer[o] == "*":
            return fits(i, o + 1) or (i < len(inner) and fits(i + 1, o))
        if i == len(inner):
            return False
        same = inner[i] == outer[o] or (outer[o] == "?" and inner[i] != "*")
        return same and fits(i + 1, o + 1)

    return inner == outer or fits(0, 0)


def _as_text(where: Mapping[str, Value]) -> Iterator[tuple[str, str | None]]:
    return ((key, None if value is None else plain_text(value)) for key, value in where.items())
