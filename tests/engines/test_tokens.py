"""Access tokens in the database: made, checked, revoked; the secret is nowhere."""

from __future__ import annotations

import re

import pytest

from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.time import parse_instant
from support.databases import Database


def test_a_token_is_made_checked_and_revoked(db: Database) -> None:
    """Its text opens until it is revoked, at once; a text that differs in anything never does."""
    tokens = db.tool.store.tokens
    token, text = db.tool.create_token("acme.ops", Role.OPERATOR, parse_tag_filter(["acme,not:cold", "b"]))
    assert re.fullmatch(r"crt_[0-9a-f]{16}_[\w-]{43}", text)
    assert tokens.check(text) == token
    assert token.actor == f"acme.ops (token {token.id})"
    for wrong in ("", text[:-1], f"{text}x", text.swapcase(), f"crt_{token.id}_{'A' * 43}", f"{text}\n", token.id):
        assert tokens.check(wrong) is None
    for beginning in (token.id[:5], "acme", "acme.op"):
        with pytest.raises(NotFound, match="rite the whole identifier" if beginning in token.id else "not in force"):
            db.tool.revoke_token(beginning)
    assert tokens.check(text) == token
    assert db.retention("other").revoke_token(token.id[:6]).id == token.id
    assert [(known.created_by, known.revoked_by) for known in db.tool.tokens()] == [("tester", "other")]
    assert tokens.check(text) is None
    with pytest.raises(NotFound, match="is not in force"):
        db.tool.revoke_token(token.id)


def test_the_secret_is_nowhere(db: Database) -> None:
    """Neither the table nor the journal holds a part of it; the journal says who made and ended it."""
    token, text = db.tool.create_token("x", Role.ADMIN)
    db.tool.revoke_token("x")
    table, journal = (db.q(name, db.own_schema) for name in ("access_token", "jobs_log"))
    db.refresh("jobs_log", db.own_schema)
    found = str([*db.rows(f"SELECT * FROM {table}"), *db.rows(f"SELECT * FROM {journal}")])
    assert token.id in found
    assert text.rpartition(token.id)[2].strip("_") not in found
    events = [(row["event"], row["actor"], row["message"]) for row in db.journal()]
    about = f"x (token {token.id}), admin"
    assert sorted(events) == [("token-created", "tester", about), ("token-revoked", "tester", about)]


def test_a_token_expires(duck: Database) -> None:
    """It is worth something until its instant, and not at it."""
    token, text = duck.tool.create_token("x", Role.VIEWER, expires_at=parse_instant("2024-07-03"))
    duck.time.set("2024-07-02T23:59:59+00:00")
    assert duck.tool.store.tokens.check(text) == token
    duck.time.set("2024-07-03T00:00:00+00:00")
    assert duck.tool.store.tokens.check(text) is None
    with pytest.raises(InvalidInput, match="in the past"):
        duck.tool.create_token("y", Role.VIEWER, expires_at=parse_instant("2024-07-03"))


@pytest.mark.parametrize("name", ["", " ", "a b", "a(token 1)", "x" * 65, "-x", "a\n"])
def test_names_can_not_pretend(duck: Database, name: str) -> None:
    """A name can't look like that of another token in the journal."""
    with pytest.raises(InvalidInput, match="invalid name of a token"):
        duck.tool.create_token(name, Role.VIEWER)


def test_equal_names_are_told_apart(duck: Database) -> None:
    """Where a name fits several tokens, none is revoked by it."""
    one, _ = duck.tool.create_token("x", Role.VIEWER)
    duck.tool.create_token("x", Role.VIEWER)
    with pytest.raises(InvalidInput, match="2 tokens have this name"):
        duck.tool.revoke_token("x")
    other, _ = duck.tool.create_token(one.id, Role.VIEWER)
    with pytest.raises(InvalidInput, match="2 tokens have this name"):
        duck.tool.revoke_token(one.id)
    duck.tool.revoke_token(other.id)
    duck.tool.revoke_token(one.id)
    assert sum(token.revoked_at is None for token in duck.tool.tokens()) == 1
