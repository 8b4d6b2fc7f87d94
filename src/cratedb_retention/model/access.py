"""
Who may see and change what: roles, limits by tags, and areas: the data that a policy, a hold or a request is about.
Pure rules; the caller brings the facts.

A limit names, in each of its choices, at least one tag that a policy must have. So nothing untagged is within one.
Whether one area lies within another is answered with no in doubt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from cratedb_retention.errors import Forbidden, InvalidInput
from cratedb_retention.model.audit import ABOUT_TOKENS, Event
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.reasons import Reason, Sort, Subject, Why, read_subjects
from cratedb_retention.model.policies.patterns import pattern_within
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import find_member
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.words import plain_text, write_pairs

_FIRST = "let somebody without a limit create the first policy"


class Role(StrEnum):
    """What a token may do; each role may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


def parse_role(text: str) -> Role:
    """Read a role's name; raises InvalidInput if there is no such role."""
    return find_member(Role, "role", text)


def check_limit(role: Role, limit: TagFilter) -> None:
    """Raises InvalidInput if the role of a token can't be limited, or a choice names no tag that a policy must have."""
    if role is Role.ADMIN and limit:
        raise InvalidInput("role admin", "can't be limited to tags, since it may make other tokens", "take editor")
    if any(not group.wanted for group in limit.any_of):
        remedy = "write one before not:, like acme,not:archived"
        raise InvalidInput(f"limit {limit}", "names no tag that a policy must have", remedy)


@dataclass(frozen=True, kw_only=True)
class Access:
    """A caller."""

    role: Role
    actor: str  # How the audit log names them.
    limit: TagFilter = field(default_factory=TagFilter)  # Only policies with these tags; empty: everything.
    actors: frozenset[str] = frozenset()  # All who have the same limit: what they did may be seen.

    @property
    def limited(self) -> bool:
        """Whether there is anything that the caller must not see."""
        return bool(self.limit)

    def require(self, needed: Role) -> None:
        """Make sure that the role is enough; raises Forbidden if not."""
        if not self.role.includes(needed):
            raise Forbidden("this token", f"has the role {self.role}", f"take one with the role {needed}")

    def sees(self, tags: Iterable[str]) -> bool:
        return self.limit.fits(tags)


@dataclass(frozen=True, slots=True)
class Area:
    """Tables, or some of their values."""

    schema: str  # Name or pattern.
    name: str  # Name or pattern.
    where: frozenset[tuple[str, str | None]] = frozenset()  # Only data with these values, as text; empty: all of it.

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
    """An area from its parts; an empty schema is the default one."""
    values = ((key, None if value is None else plain_text(value)) for key, value in where.items())
    return Area(schema or default_schema, name, frozenset(values))


def area_of(policy: Policy, default_schema: str) -> Area:
    return make_area(policy.table_schema, policy.table_name, policy.where, default_schema)


def covering(area: Area, others: Iterable[Area]) -> Area | None:
    """The widest of some areas that an area lies within; None if it lies within none of them."""
    return min((other for other in others if area.within(other)), key=lambda other: len(other.where), default=None)


@dataclass(frozen=True, kw_only=True)
class Realm:
    """What a caller with a limit can refer to."""

    access: Access
    policies: tuple[Policy, ...]  # The policies that the caller sees.
    default_schema: str  # What an empty schema means.
    own_schema: str  # Of the toolkit's tables, which belong to no caller.
    foreign_tags: frozenset[str] = frozenset()  # Tags by which other callers are limited.
    folds_case: bool = False  # Whether names of tables that differ in case only are one name.

    def covering(self, area: Area) -> Area | None:
        """The area of a policy that another area lies within; None if there is none."""
        if area.schema.casefold() == self.own_schema.casefold():
            return None
        areas = (area_of(policy, self.default_schema) for policy in self.policies)
        return covering(area.folded, (each.folded for each in areas)) if self.folds_case else covering(area, areas)

    def covers(self, area: Area) -> bool:
        """Whether the caller may refer to an area: there is no limit, or one of the policies covers it."""
        return not self.access.limited or self.covering(area) is not None

    def covers_hold(self, hold: LegalHold) -> bool:
        areas = [make_area(hold.table_schema, hold.table_name, values, self.default_schema) for values in hold.filters]
        return all(map(self.covers, areas))

    def require(self, area: Area) -> None:
        """Make sure that an area is covered; raises Forbidden if not."""
        if not self.covers(area):
            raise Forbidden(
                f"data of {area}", "no policy with the tags of this token covers it", f"name less of it, or {_FIRST}"
            )

    def check_policy(self, policy: Policy) -> None:
        """Raises Forbidden if a policy lacks the limit's tags, has foreign ones, or means foreign data or archives."""
        if not self.access.limited:
            return
        if not self.access.sees(policy.tags):
            raise Forbidden("the policy's tags", f"are not within those of this token: {self.access.limit}", "add them")
        foreign = self.foreign_tags.intersection(policy.tags)
        if foreign:
            raise Forbidden(f"tag {min(foreign)}", "belongs to somebody else", "choose another one")
        self.require(area_of(policy, self.default_schema))
        repositories = {known.target_repository_name for known in self.policies}
        if policy.target_repository_name and policy.target_repository_name not in repositories:
            reason = "no policy with the tags of this token archives there"
            raise Forbidden(f"repository {policy.target_repository_name}", reason, _FIRST)

    def may_hear(self, subjects: Iterable[Subject], holds: Collection[str] = ()) -> bool:
        """Whether all that a reason tells of may be known: policies and holds that they see, and no lease holder."""
        if not self.access.limited:
            return True
        known = {Sort.POLICY: {policy.id for policy in self.policies}, Sort.HOLD: holds, Sort.HOLDER: ()}
        return all(subject.name in known[subject.sort] for subject in subjects)

    def told(self, reason: Reason, holds: Collection[str] = ()) -> Reason:
        """A reason as the caller may hear it: if it tells of anything foreign, all of it goes."""
        return reason if self.may_hear(reason.subjects, holds) else Why.NOT_SAID()


def sees_row(access: Access, row: Mapping[str, Any]) -> bool:
    """
    Whether a row of the audit log may be seen: those of policies with the limit's tags, and what callers with the same
    limit did. Rows about tokens are for admins.
    """
    if row["event"] in ABOUT_TOKENS:
        return access.role is Role.ADMIN
    if not access.limited:
        return True
    return access.sees(row["tags"]) if row["tags"] else row["actor"] in access.actors


def may_hear_row(realm: Realm, row: Mapping[str, Any], holds: Collection[str] = ()) -> bool:
    """Whether the error of a row may be read. Of one without a code, from before there were any, nothing tells."""
    known = row["error"] is None or row["reason"] is not None
    return not realm.access.limited or (known and realm.may_hear(read_subjects(row["subjects"]), holds))


def shown_row(realm: Realm, row: Mapping[str, Any], holds: Collection[str] = ()) -> dict[str, Any]:
    """A row of the audit log as the caller may see it: a policy that came from elsewhere came from nowhere."""
    found = dict(row)
    if realm.access.limited:
        for column in ("before", "after"):
            if found.get(column) and not realm.access.sees(json.loads(found[column]).get("tags") or ()):
                found[column] = None
        if not may_hear_row(realm, row, holds):
            found["error"], found["reason"] = str(Why.NOT_SAID()), Why.NOT_SAID.code
        found["subjects"] = None
        if row["actor"] not in realm.access.actors:
            found["actor"] = found["host"] = None
        if row["event"] == Event.LEASE_TAKEN_OVER:  # From which process, on which machine.
            found["message"] = None
    return found
