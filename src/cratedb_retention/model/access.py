"""
Rules of access: roles, limits by tags, and areas, which are the data of a policy, a hold or a request. All rules are
pure functions.

Each alternative of a limit names at least one required tag, so policies without tags are never within a limit. In
doubt, an area does not lie within another one.
"""

from __future__ import annotations

import json
import re
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
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import plain_text, write_pairs

_GRANT = re.compile(r"(?P<group>.+)=(?P<role>[a-z]+)(?::(?P<tags>.+))?", re.DOTALL)
_BRACKETS = str.maketrans("()", "[]")
_FIRST = "let a user without a limit create the first policy"


class Role(StrEnum):
    """The permissions of a token; each role includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


def parse_role(text: str) -> Role:
    """Read a role's name; raises InvalidInput if it does not exist."""
    return find_member(Role, "role", text)


def check_limit(role: Role, limit: TagFilter) -> None:
    """Raises InvalidInput if the role of a token cannot be limited, or an alternative has no required tag."""
    if role is Role.ADMIN and limit:
        raise InvalidInput("role admin", "cannot be limited to tags, since it may create tokens", "use the role editor")
    if any(not group.wanted for group in limit.any_of):
        remedy = "write one before not:, like acme,not:archived"
        raise InvalidInput(f"limit {limit}", "has no required tag", remedy)


@dataclass(frozen=True, kw_only=True)
class Access:
    """A caller."""

    role: Role
    actor: str  # The caller's name in the audit log.
    limit: TagFilter = field(default_factory=TagFilter)  # Only policies with these tags; empty: everything.
    actors: frozenset[str] = frozenset()  # All callers with the same limit, who see each other's actions.

    @property
    def limited(self) -> bool:
        """Whether the caller's access is limited to tags."""
        return bool(self.limit)

    def require(self, needed: Role) -> None:
        """Raises Forbidden if the role is not sufficient."""
        if not self.role.includes(needed):
            raise Forbidden("this token", f"has the role {self.role}", f"use one with the role {needed}")

    def sees(self, tags: Iterable[str]) -> bool:
        return self.limit.fits(tags)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What members of a group may do; a provider of OpenID Connect says who they are."""

    group: str
    role: Role
    limit: TagFilter = field(default_factory=TagFilter)  # Only policies with these tags; empty: everything.


def parse_grant(text: str) -> Grant:
    """
    Read ``GROUP=ROLE``, or ``GROUP=ROLE:TAGS`` with tags as in ``--tags``; raises InvalidInput if it is something else.
    The group may contain ``=``, as names in a directory do.
    """
    found = _GRANT.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"grant {text!r}", "not GROUP=ROLE", "write it like operators=operator or acme=editor:acme")
    role, limit = parse_role(found["role"]), parse_tag_filter([found["tags"]] if found["tags"] else [])
    check_limit(role, limit)
    return Grant(group=found["group"].strip(), role=role, limit=limit)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A user, as a provider of OpenID Connect describes them."""

    subject: str  # Their identifier at the provider.
    name: str  # Their name there, which may change.
    groups: tuple[str, ...]  # Those of their groups that have a grant.

    @property
    def actor(self) -> str:
        """Their name in the audit log. It has no other parentheses, so no user can pose as a token or another user."""
        name, subject = (text.translate(_BRACKETS) for text in (self.name, self.subject))
        return f"{name} (user {subject})"


def access_of(identity: Identity, grants: Iterable[Grant]) -> Access:
    """
    What a user may do: the highest role of all grants of their groups, on the data of all grants with this role.
    Grants of lower roles add nothing: they would widen what the higher role applies to. Raises Forbidden without any.
    """
    granted = [grant for grant in grants if grant.group in identity.groups]
    if not granted:
        raise Forbidden(f"user {identity.name}", "is in no group that may use this", "see the setting oidc.grants")
    role = max((grant.role for grant in granted), key=list(Role).index)
    limits = [grant.limit for grant in granted if grant.role is role]
    groups = dict.fromkeys(group for limit in limits for group in limit.any_of) if all(limits) else ()
    return Access(role=role, actor=identity.actor, limit=TagFilter(tuple(groups)))


@dataclass(frozen=True, slots=True)
class Area:
    """Tables, or some of their values."""

    schema: str  # Name or pattern.
    name: str  # Name or pattern.
    where: frozenset[tuple[str, str | None]] = frozenset()  # Only data with these values, as text; empty: all data.

    def within(self, other: Area) -> bool:
        """Whether the other area contains all data of this one."""
        return (
            pattern_within(self.schema, other.schema)
            and pattern_within(self.name, other.name)
            and other.where <= self.where
        )

    @property
    def folded(self) -> Area:
        """The same area with names in lower case."""
        return replace(self, schema=self.schema.lower(), name=self.name.lower())

    def __str__(self) -> str:
        where = write_pairs(sorted(self.where, key=str))
        return f"{self.schema}.{self.name}" + (f" where {where}" if where else "")


def make_area(schema: str | None, name: str, where: Mapping[str, Value], default_schema: str) -> Area:
    """Make an area; an empty schema means the default one."""
    values = ((key, None if value is None else plain_text(value)) for key, value in where.items())
    return Area(schema or default_schema, name, frozenset(values))


def area_of(policy: Policy, default_schema: str) -> Area:
    return make_area(policy.table_schema, policy.table_name, policy.where, default_schema)


def covering(area: Area, others: Iterable[Area]) -> Area | None:
    """The widest of several areas that contains an area; None if none does."""
    return min((other for other in others if area.within(other)), key=lambda other: len(other.where), default=None)


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """The policies and data that a caller with a limit may refer to."""

    access: Access
    policies: tuple[Policy, ...]  # The policies that the caller sees.
    default_schema: str  # The schema that an empty schema means.
    own_schema: str  # The schema of the toolkit's tables, which belong to no caller.
    foreign_tags: frozenset[str] = frozenset()  # Tags in the limits of other callers.
    folds_case: bool = False  # Whether names of tables that differ only in case are the same name.

    def covering(self, area: Area) -> Area | None:
        """The area of a policy that contains another area; None if there is none."""
        if area.schema.casefold() == self.own_schema.casefold():
            return None
        areas = (area_of(policy, self.default_schema) for policy in self.policies)
        return covering(area.folded, (each.folded for each in areas)) if self.folds_case else covering(area, areas)

    def covers(self, area: Area) -> bool:
        """Whether the caller may refer to an area: without a limit, or since a policy covers it."""
        return not self.access.limited or self.covering(area) is not None

    def covers_hold(self, hold: LegalHold) -> bool:
        areas = [make_area(hold.table_schema, hold.table_name, values, self.default_schema) for values in hold.filters]
        return all(map(self.covers, areas))

    def require(self, area: Area) -> None:
        """Raises Forbidden if the caller may not refer to an area."""
        if not self.covers(area):
            remedy = f"narrow the request, or {_FIRST}"
            raise Forbidden(f"data of {area}", "no policy with the tags of this token covers it", remedy)

    def check_policy(self, policy: Policy) -> None:
        """Raises Forbidden if a policy lacks the limit's tags, or has foreign tags, data or archives."""
        if not self.access.limited:
            return
        if not self.access.sees(policy.tags):
            raise Forbidden("the policy's tags", f"lack those of this token: {self.access.limit}", "add them")
        foreign = self.foreign_tags.intersection(policy.tags)
        if foreign:
            raise Forbidden(f"tag {min(foreign)}", "belongs to another user", "choose another tag")
        self.require(area_of(policy, self.default_schema))
        repositories = {known.target_repository_name for known in self.policies}
        if policy.target_repository_name and policy.target_repository_name not in repositories:
            reason = "no policy with the tags of this token archives there"
            raise Forbidden(f"repository {policy.target_repository_name}", reason, _FIRST)

    def may_see(self, subjects: Iterable[Subject], holds: Collection[str] = ()) -> bool:
        """Whether the caller may see all subjects of a reason: visible policies and holds, but no lease holder."""
        if not self.access.limited:
            return True
        known = {Sort.POLICY: {policy.id for policy in self.policies}, Sort.HOLD: holds, Sort.HOLDER: ()}
        return all(subject.name in known[subject.sort] for subject in subjects)

    def redacted(self, reason: Reason, holds: Collection[str] = ()) -> Reason:
        """A reason as the caller may see it: replaced if it has a foreign subject."""
        return reason if self.may_see(reason.subjects, holds) else Why.NOT_SAID()


def sees_row(access: Access, row: Mapping[str, Any]) -> bool:
    """
    Whether a caller may see a row of the audit log: rows of policies with the limit's tags, and actions of callers with
    the same limit. Only admins see rows about tokens.
    """
    if row["event"] in ABOUT_TOKENS:
        return access.role is Role.ADMIN
    if not access.limited:
        return True
    return access.sees(row["tags"]) if row["tags"] else row["actor"] in access.actors


def may_see_error(visibility: Visibility, row: Mapping[str, Any], holds: Collection[str] = ()) -> bool:
    """Whether the caller may read the error of a row. One from before there were codes has unknown subjects."""
    known = row["error"] is None or row["reason"] is not None
    return not visibility.access.limited or (known and visibility.may_see(read_subjects(row["subjects"]), holds))


def shown_row(visibility: Visibility, row: Mapping[str, Any], holds: Collection[str] = ()) -> dict[str, Any]:
    """A row of the audit log as the caller may see it, without states of a policy that the caller may not see."""
    found = dict(row)
    if visibility.access.limited:
        for column in ("before", "after"):
            if found.get(column) and not visibility.access.sees(json.loads(found[column]).get("tags") or ()):
                found[column] = None
        if not may_see_error(visibility, row, holds):
            found["error"], found["reason"] = str(Why.NOT_SAID()), Why.NOT_SAID.code
        found["subjects"] = None
        if row["actor"] not in visibility.access.actors:
            found["actor"] = found["host"] = None
        if row["event"] == Event.LEASE_TAKEN_OVER:  # Names the earlier process and its machine.
            found["message"] = None
    return found
