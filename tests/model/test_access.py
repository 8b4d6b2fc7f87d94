"""Roles, limits, and what somebody with a limit can refer to."""

from __future__ import annotations

from typing import Any

import pytest

from cratedb_retention.errors import Forbidden, InvalidInput
from cratedb_retention.model.access import (
    NOT_SAID,
    Access,
    Realm,
    Role,
    check_limit,
    parse_role,
    sees_row,
    shown_row,
)
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.policy import Policy, make_policy
from cratedb_retention.model.tags import parse_tag_filter


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
REALM = Realm(
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


def test_each_role_may_do_what_those_before_it_may() -> None:
    """Viewer, operator, editor, admin: no role may do what a later one may."""
    for number, role in enumerate(Role):
        assert [role.includes(other) for other in Role] == [n <= number for n in range(4)]
    assert parse_role(" Editor ") is Role.EDITOR
    with pytest.raises(InvalidInput, match="unknown"):
        parse_role("root")
    with pytest.raises(Forbidden, match=r"has the role viewer\. Take one with the role editor"):
        ALL.require(Role.EDITOR)


@pytest.mark.parametrize("limit", [["not:globex"], ["acme", "not:globex"]])
def test_a_limit_names_a_tag(limit: list[str]) -> None:
    """A limit that only excludes would let in everything that is untagged or new."""
    with pytest.raises(InvalidInput, match="names no tag"):
        check_limit(Role.VIEWER, parse_tag_filter(limit))


def test_an_admin_has_no_limit() -> None:
    """Who can make tokens could make one without a limit."""
    with pytest.raises(InvalidInput, match="can't be limited"):
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
        ({"tags": []}, "are not within those of this token"),
        ({"tags": ["globex"]}, "are not within those of this token"),
        ({"tags": ["acme", "globex"]}, "tag globex: belongs to somebody else"),
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
    realm = Realm(
        access=ACME, policies=(policy(table_schema="*", table_name="*"),), default_schema="doc", own_schema="ext"
    )
    realm.check_policy(policy(table_schema="sales", table_name="orders"))
    with pytest.raises(Forbidden, match="covers it"):
        realm.check_policy(policy(table_schema=schema, table_name="access_token"))


def test_without_a_limit_everything_is_allowed() -> None:
    """Limits bind only who has one."""
    realm = Realm(
        access=Access(role=Role.EDITOR, actor="x"),
        policies=(),
        default_schema="doc",
        own_schema="ext",
        foreign_tags=frozenset({"globex"}),
    )
    realm.check_policy(policy(tags=["globex"]))
    assert realm.covers(make_area(None, "anything", {}, "doc"))
    assert realm.said("policy p9 archives it") == "policy p9 archives it"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shards are missing", "shards are missing"),
        ("policy p1 archives it after 9d; a loss", "policy p1 archives it after 9d; a loss"),
        ("policy p11 archives it after 9d", NOT_SAID),
        ("policy p9 archives it after 9d", NOT_SAID),
        ("legal hold 12345678 (case globex); it stays until that is released", NOT_SAID),
        ("policy p1: legal hold 12345678 (x)", NOT_SAID),
        (None, None),
    ],
)  # fmt: skip
def test_reasons_tell_nothing_of_others(text: str | None, shown: str | None) -> None:
    """A reason that names a hold or policy of somebody else is replaced as a whole."""
    assert REALM.said(text) == shown


def test_reasons_tell_of_holds_that_are_seen() -> None:
    """What he sees anyway may be said."""
    words = "legal hold 12345678 (case 1); it stays until that is released"
    assert REALM.said(words, [words]) == words


def row(**more: Any) -> dict[str, Any]:
    """A row of the journal."""
    return {
        "event": "step-finished", "tags": None, "actor": "root", "host": "h", "error": None, "before": None,
        "after": None, "message": None, **more,
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
    taken = row(event="lease-taken-over", tags=["acme"], message="from root@db7:1:2", error="root@db7 runs this policy")
    found = shown_row(REALM, taken)
    assert "db7" not in str(found)
    assert found["error"] == NOT_SAID
