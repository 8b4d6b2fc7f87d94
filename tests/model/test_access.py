"""Roles, limits, and what somebody with a limit can refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.errors import Forbidden, InvalidInput, LeaseLost, PartitionChanged, RetentionError
from cratedb_retention.execution.query import readable
from cratedb_retention.model.access import (
    Access,
    Grant,
    Identity,
    Role,
    Visibility,
    access_of,
    check_limit,
    make_area,
    parse_grant,
    parse_role,
    sees_row,
    shown_row,
)
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.catalog import Kind as ColumnKind
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.plan.reasons import KINDS, Kind, Reason, Why, read_subjects, write_subjects
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.size import Size


def policy(**more: Any) -> Policy:
    """A policy of acme, unless it is said otherwise."""
    given = {"strategy": "delete", "table_name": "acme_*", "retention_period": "9d", "tags": ["acme"], "id": "p1"}
    return make_policy(**{**given, **more})


TENANT = {"tenant": "acme"}
ACME = Access(
    role=Role.EDITOR,
    actor="me (token 1)",
    limit=parse_tag_filter(["acme"]),
    actors=frozenset({"me (token 1)", "you (token 2)"}),
)
REALM = Visibility(
    access=ACME,
    policies=(
        policy(),
        policy(strategy="snapshot", id="p2", table_name="events", where=TENANT, target_repository_name="cold"),
    ),
    default_schema="doc",
    own_schema="ext",
    foreign_tags=frozenset({"globex"}),
)
ALL = Access(role=Role.VIEWER, actor="all")
EVENTS, COLUMN = TableName("doc", "events"), Column(name="ts", type="TIMESTAMP", kind=ColumnKind.TIME)
ARCHIVED = Why.ARCHIVED_WHOLE(archiver="p9")


def test_each_role_may_do_what_those_before_it_may() -> None:
    """Viewer, operator, editor, admin: no role may do what a later one may."""
    for number, role in enumerate(Role):
        assert [role.includes(other) for other in Role] == [n <= number for n in range(4)]
    assert parse_role(" Editor ") is Role.EDITOR
    with pytest.raises(InvalidInput, match="unknown"):
        parse_role("root")
    with pytest.raises(Forbidden, match=r"has the role viewer\. Use one with the role editor"):
        ALL.require(Role.EDITOR)


@pytest.mark.parametrize("limit", [["not:globex"], ["acme", "not:globex"]])
def test_a_limit_names_a_tag(limit: list[str]) -> None:
    """A limit that only excludes would let in everything that is untagged or new."""
    with pytest.raises(InvalidInput, match="has no required tag"):
        check_limit(Role.VIEWER, parse_tag_filter(limit))


def test_an_admin_has_no_limit() -> None:
    """Who can make tokens could make one without a limit."""
    with pytest.raises(InvalidInput, match="cannot be limited"):
        check_limit(Role.ADMIN, parse_tag_filter(["acme"]))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"table_name": "acme_metrics"},
        {"table_name": "events", "where": {"tenant": "acme"}, "tags": ["acme", "raw"]},
        {"strategy": "snapshot", "target_repository_name": "cold"},
    ],
)
def test_his_own_policies_are_allowed(more: dict[str, Any]) -> None:
    """Within his tags, tables, values and repositories he may do as he likes."""
    REALM.check_policy(policy(**more))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tags": []}, "lack those of this token"),
        ({"tags": ["globex"]}, "lack those of this token"),
        ({"tags": ["acme", "globex"]}, "tag globex: belongs to another user"),
        ({"table_name": "globex_metrics"}, "covers it"),
        ({"table_name": "*"}, "covers it"),
        ({"table_schema": "other"}, "covers it"),
        ({"table_name": "events"}, "covers it"),
        ({"table_name": "events", "where": {"tenant": "globex"}}, "covers it"),
        ({"strategy": "snapshot", "target_repository_name": "/etc"}, "archives there"),
    ],
)
def test_what_is_not_his_is_refused(more: dict[str, Any], reason: str) -> None:
    """No policy without his tags, with those of others, on data or in a repository that is not his."""
    with pytest.raises(Forbidden, match=reason):
        REALM.check_policy(policy(**more))


@pytest.mark.parametrize("schema", ["ext", "EXT"])
def test_the_tables_of_the_toolkit_are_nobodys(schema: str) -> None:
    """Even who has all tables by a pattern has not those with policies and tokens."""
    visibility = Visibility(
        access=ACME, policies=(policy(table_schema="*", table_name="*"),), default_schema="doc", own_schema="ext"
    )
    visibility.check_policy(policy(table_schema="sales", table_name="orders"))
    with pytest.raises(Forbidden, match="covers it"):
        visibility.check_policy(policy(table_schema=schema, table_name="access_token"))


@pytest.mark.parametrize(("schema", "name"), [("doc", "ACME_A"), ("DOC", "acme_a"), (None, "Acme_A")])
def test_names_in_another_case(schema: str | None, name: str) -> None:
    """They are of the same table where the database says so, and of another one where it does not."""
    area = make_area(schema, name, {}, "doc")
    assert replace(REALM, folds_case=True).covers(area)
    assert not REALM.covers(area)


def test_what_may_be_read_of_a_table() -> None:
    """As much as one of several policies covers; a table that none covers is left out."""
    part = policy(id="p3", table_name="events", where={**TENANT, "kind": "a"})
    for policies in ((part, *REALM.policies), (*REALM.policies, part)):
        found = readable([EVENTS, TableName("doc", "others")], replace(REALM, policies=policies))
        assert found == {EVENTS: TENANT}


def test_without_a_limit_everything_is_allowed() -> None:
    """Limits bind only who has one."""
    visibility = Visibility(
        access=Access(role=Role.EDITOR, actor="x"),
        policies=(),
        default_schema="doc",
        own_schema="ext",
        foreign_tags=frozenset({"globex"}),
    )
    visibility.check_policy(policy(tags=["globex"]))
    assert visibility.covers(make_area(None, "anything", {}, "doc"))
    assert visibility.redacted(ARCHIVED) is ARCHIVED


def own(reason: Reason) -> bool:
    """Whether somebody with the limit is told a reason; nobody else is kept from it."""
    everybody = Visibility(access=ALL, policies=(), default_schema="doc", own_schema="ext")
    assert everybody.redacted(reason) is reason
    told = REALM.redacted(reason, {"h1"})
    assert told in (reason, Why.NOT_SAID())
    return told is reason


# A value of each kind, and what of it nobody else may hear of.
HOLD = LegalHold(id="h9-secret", table_schema="doc", table_name="events", reason="case globex-secret")
THEIRS: dict[str, tuple[Any, ...]] = {
    "policy": ("p9-secret", "p11", "p", ""),
    "rule": (policy(id="p9-secret"),),
    "hold": (HOLD, replace(HOLD, kind=HoldKind.RESTORED)),
    "holder": ("root@secret:1:2",),
    "reason": (
        Why.LEGAL_HOLD(hold=HOLD),
        Why.NOT_ROLLED_UP_AS(level=EVENTS, cascade="p1", why=Why.LOCKED(holder="secret")),
    ),
    "error": (
        PartitionChanged("table doc.events", Why.HOLD_PLACED(hold=HOLD)),
        LeaseLost("x", Why.LEASE_LOST(holder="secret")),
    ),
}
MINE: dict[str, Any] = {
    "": "text", "n": 1, "g": 1, "percent": 1.0, "quoted": "text", "names": ("a",), "time": 0, "table": EVENTS,
    "duration": policy().retention_period, "size": Size(1), "column": COLUMN, "type": COLUMN,
    "policy": "p1", "rule": policy(), "hold": replace(HOLD, id="h1"), "reason": Why.CLOSED(),
    "error": RetentionError("table doc.events", "is gone"), "mistake": ValueError("1"), "raised": ValueError("1"),
}  # fmt: skip


def kind_name(kind: Kind) -> str:
    """The name of a kind in templates."""
    return next(name for name, known in KINDS.items() if known is kind)


def others() -> Iterator[Any]:
    """Each reason that has a value with a subject, with each such value being of somebody else."""
    for why in Why:
        for name, kind in why.kinds.items():
            for value in THEIRS.get(kind_name(kind), ()):
                rest = {n: MINE.get(kind_name(k), "secret") for n, k in why.kinds.items() if n != name}
                yield pytest.param(why, {**rest, name: value}, id=f"{why.code}-{name}")


def test_each_kind_of_value_has_a_rule() -> None:
    """A new kind is either that of a subject, or known to tell nothing of anybody."""
    assert set(KINDS) == {*MINE, *THEIRS}
    subjects = {name for name, kind in KINDS.items() if kind.subject is not None}
    assert subjects == set(THEIRS) - {"reason", "error"}


@pytest.mark.parametrize(("why", "values"), list(others()))
def test_reasons_tell_nothing_of_others(why: Why, values: dict[str, Any]) -> None:
    """A reason that is about a policy, hold or lease holder of somebody else is replaced as a whole."""
    reason = why(**values)
    assert not own(reason)
    assert "secret" not in str(REALM.redacted(reason, {"h1"}))


@pytest.mark.parametrize("why", [why for why in Why if "holder" not in map(kind_name, why.kinds.values())])
def test_reasons_tell_of_what_is_seen_anyway(why: Why) -> None:
    """What is about one's own policies and holds is said, and so is what is about none."""
    reason = why(**{name: MINE[kind_name(kind)] for name, kind in why.kinds.items()})
    assert own(reason)
    assert str(reason)


def test_reasons_without_a_subject_name_none() -> None:
    """That a policy or hold is named in words of a template, rather than as a value, is seen here."""
    for why in Why:
        text = why(**{name: MINE.get(kind_name(kind), "x") for name, kind in why.kinds.items()}).about(None)
        assert not re.search(r"\b(?:policy|hold) [0-9a-f{]", text) or any(k.subject for k in why.kinds.values())


def test_subjects_survive_the_audit_log() -> None:
    """What is written is what is read, whatever is in an identifier."""
    for why, values in (parameters.values for parameters in others()):
        reason = why(**values)
        assert read_subjects(write_subjects(reason)) == reason.subjects
    assert write_subjects(Why.CLOSED()) is None


def row(**more: Any) -> dict[str, Any]:
    """A row of the journal."""
    return {
        "event": "step-finished", "tags": None, "actor": "root", "host": "h", "error": None, "before": None,
        "after": None, "message": None, "reason": None, "subjects": None, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({"tags": ["acme"]}, True),
        ({"tags": ["acme", "raw"]}, True),
        ({"tags": ["globex"]}, False),
        ({"tags": []}, False),
        ({}, False),
        ({"event": "run-finished"}, False),
        ({"event": "run-finished", "actor": "you (token 2)"}, True),
        ({"event": "run-finished", "actor": "evil (token 3)"}, False),
        ({"event": "token-created", "actor": "me (token 1)"}, False),
    ],
)
def test_journal(more: dict[str, Any], seen: bool) -> None:
    """He sees rows with his tags and what he and his like did; about tokens only an admin reads."""
    assert sees_row(ACME, row(**more)) is seen
    assert sees_row(ALL, row(**more)) is not more.get("event", "").startswith("token")
    assert sees_row(Access(role=Role.ADMIN, actor="x"), row(**more))


def test_journal_hides_what_a_policy_was_elsewhere() -> None:
    """A policy that came from another tenant: neither what it was there nor who did it is shown."""
    before, after = '{"tags": ["globex"], "table_name": "secret"}', '{"tags": ["acme"]}'
    found = shown_row(REALM, row(tags=["acme"], before=before, after=after))
    assert (found["before"], found["after"]) == (None, after)
    assert (found["actor"], found["host"]) == (None, None)
    assert shown_row(REALM, row(tags=["acme"], actor="you (token 2)"))["actor"] == "you (token 2)"


def test_journal_hides_who_runs_the_service() -> None:
    """That a lease was taken over is his to know; from which process on which machine is not."""
    why = Why.LOCKED(holder="root@db7")
    written = {"error": str(why), "reason": why.code, "subjects": write_subjects(why)}
    taken = row(event="lease-taken-over", tags=["acme"], message="from root@db7:1:2", **written)
    found = shown_row(REALM, taken)
    assert "db7" not in str(found)
    assert (found["error"], found["reason"]) == (str(Why.NOT_SAID()), "not-said")


def test_journal_of_earlier_versions() -> None:
    """An error that was written before there were codes may tell of anything; those without a limit read it."""
    old = row(tags=["acme"], error="shards are missing")
    assert shown_row(REALM, old)["error"] == str(Why.NOT_SAID())
    everything = Visibility(access=ALL, policies=(), default_schema="doc", own_schema="ext")
    assert shown_row(everything, old)["error"] == "shards are missing"


@pytest.mark.parametrize(
    ("text", "group", "role", "limit"),
    [
        ("operators=operator", "operators", Role.OPERATOR, ""),
        ("Domain Users=viewer", "Domain Users", Role.VIEWER, ""),
        ("cn=acme,ou=groups=editor:acme,not:archived", "cn=acme,ou=groups", Role.EDITOR, "acme+not:archived"),
        ("a=viewer=editor", "a=viewer", Role.EDITOR, ""),
        ("a:b=editor:c", "a:b", Role.EDITOR, "c"),
    ],
)
def test_grants(text: str, group: str, role: Role, limit: str) -> None:
    """A group, its role, and the tags that limit it; names of groups may have the same signs."""
    grant = parse_grant(text)
    assert (grant.group, grant.role, str(grant.limit)) == (group, role, limit)


@pytest.mark.parametrize("text", ["", "a", "a=", "=viewer", "a=boss", "a=admin:acme", "a=viewer:not:acme", "a=viewer:"])
def test_wrong_grants(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_grant(text)


@pytest.mark.parametrize(
    ("groups", "role", "limit"),
    [
        (["acme"], Role.EDITOR, "acme"),
        (["acme", "globex"], Role.EDITOR, "acme or globex"),
        (["acme", "viewers"], Role.EDITOR, "acme"),
        (["viewers", "auditors"], Role.VIEWER, ""),
        (["acme", "editors"], Role.EDITOR, ""),
        (["admins", "acme"], Role.ADMIN, ""),
    ],
)
def test_what_members_of_groups_may(groups: list[str], role: Role, limit: str) -> None:
    """The highest role, on the data of all grants with this role; a lower role widens nothing."""
    texts = ("acme=editor:acme", "globex=editor:globex", "editors=editor", "auditors=viewer:audit", "viewers=viewer")
    grants = [*map(parse_grant, texts), Grant(group="admins", role=Role.ADMIN)]
    for given in (groups, groups[::-1]):
        found = access_of(Identity(subject="1", name="Ada", groups=tuple(given)), grants)
        assert (found.role, str(found.limit), found.actor) == (role, limit, "Ada (user 1)")


def test_a_user_without_a_grant() -> None:
    with pytest.raises(Forbidden, match="user Ada: is in no group"):
        access_of(Identity(subject="1", name="Ada", groups=("others",)), [parse_grant("acme=admin")])
