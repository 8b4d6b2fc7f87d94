"""
Access tokens of the HTTP API, and sessions of the pages, in the database. Of a token's secret and of a session's name,
only a digest is stored.

SHA-256 without salt is enough: both are 256 random bits, so they can be neither guessed nor found in a list of digests.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.errors import InvalidInput, NotFound, RetentionError
from cratedb_retention.model.access import Identity, Role, check_limit
from cratedb_retention.model.audit import Event
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import pick
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.rows import Records, same

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TEXT = re.compile(r"crt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
Random = Callable[[int], bytes]
_COLUMNS = ("id", "name", "created_at", "created_by", "expires_at", "revoked_at", "revoked_by")
# A session ends this long after its last use, and this long after the log-in at the latest.
IDLE, LONGEST = dt.timedelta(hours=8), dt.timedelta(days=7)
# One of OpenID Connect at the latest, since only a log-in tells which groups a user is in.
LONGEST_OF_USER = dt.timedelta(hours=12)
_LISTED = ("id", "begun_at", "used_at")
# Uses of a session within this time are one write.
_NOTED = dt.timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """A token, without its secret."""

    id: str
    name: str
    role: Role
    limit: TagFilter  # Its scope: only policies with these tags; empty: everything
    created_at: dt.datetime
    created_by: str
    expires_at: dt.datetime | None = None  # It is invalid from this instant on; None: never
    revoked_at: dt.datetime | None = None
    revoked_by: str | None = None

    @property
    def actor(self) -> str:
        """Its name in the audit log. Names have no parentheses, so no token can pose as another one."""
        return f"{self.name} (token {self.id})"

    def is_valid(self, now: dt.datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class TokenStore(Records):
    """Access tokens."""

    def tokens(self) -> list[AccessToken]:
        """All access tokens, oldest first."""
        c = self._table.c
        return [_token(row) for row in self._read(order=(c.created_at, c.id))]

    def create(
        self,
        name: str,
        role: Role,
        limit: TagFilter | None = None,
        expires_at: dt.datetime | None = None,
        random: Random = secrets.token_bytes,
    ) -> tuple[AccessToken, str]:
        """
        Create an access token.

        :param limit: Only policies with these tags; None: everything.
        :param expires_at: An aware instant; None: it does not expire.
        :return: The token, and its text, which cannot be shown again.
        :raises InvalidInput: if the name, the expiry or the combination of role and tags is invalid.
        """
        now, limit = self._clock.now(), limit or TagFilter()
        if not NAME.fullmatch(name):
            raise InvalidInput(f"name {name!r}", "invalid name of a token", "use up to 64 letters, digits and . _ @ -")
        if expires_at is not None and expires_at <= now:
            raise InvalidInput(f"token {name}", "its expiry is in the past", "choose a later time")
        check_limit(role, limit)
        key, by = random(8).hex(), self._actor.name
        text = f"crt_{key}_{base64.urlsafe_b64encode(random(32)).decode().rstrip('=')}"
        token = AccessToken(
            id=key, name=name, role=role, limit=limit, created_at=now, created_by=by, expires_at=expires_at
        )
        self._add({**same(token, _COLUMNS), "role": str(role), "tags": list(limit.texts), "hash": _digest(text)})
        self._visible()
        self._note(Event.TOKEN_CREATED, token)
        return token, text

    def check(self, text: str) -> AccessToken | None:
        """The token with a text; None if it is unknown, expired or revoked."""
        found = _TEXT.fullmatch(text)
        row = self._row(found[1]) if found else None
        return self._valid(row) if row and hmac.compare_digest(row["hash"], _digest(text)) else None

    def find(self, identifier: str) -> AccessToken | None:
        """The token with an identifier; None if it is unknown, expired or revoked."""
        row = self._row(identifier)
        return self._valid(row) if row else None

    def _row(self, identifier: str) -> Mapping[str, Any] | None:
        return next(iter(self._read(self._table.c.id == identifier, refresh=False)), None)

    def _valid(self, row: Mapping[str, Any]) -> AccessToken | None:
        token = _token(row)
        return token if token.is_valid(self._clock.now()) else None

    def revoke(self, identifier: str) -> AccessToken:
        """
        Revoke an access token; it is invalid at once.

        :param identifier: Its name, its identifier, or the first six characters of its identifier.
        :raises NotFound: if no such token exists, or it is revoked already.
        """
        active = {token.id: token for token in self.tokens() if token.revoked_at is None}
        named = [token for token in active.values() if identifier in (token.id, token.name)]
        if len(named) > 1:
            raise InvalidInput(f"token {identifier}", f"{len(named)} tokens have this name", "use the identifier")
        remedy = "`cratedb-retention list-tokens` lists them"
        found = named[0] if named else pick("token", identifier, active, remedy, "is not in force")
        self._change(self._table.c.id == found.id, revoked_at=self._clock.now(), revoked_by=self._actor.name)
        self._visible()
        self._note(Event.TOKEN_REVOKED, found)
        return found

    def _note(self, event: Event, token: AccessToken) -> None:
        limit = f", limited to {token.limit}" if token.limit else ""
        self._write(Entry(event=event, message=f"{token.actor}, {token.role}{limit}"))


@dataclass(frozen=True, kw_only=True)
class Session:
    """Whose a session is: what they may is found out by each request."""

    token_id: str = ""  # The access token that it began with; empty: a user of OpenID Connect.
    identity: Identity | None = None

    @property
    def longest(self) -> dt.timedelta:
        return LONGEST_OF_USER if self.identity else LONGEST


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A session that goes on."""

    id: str  # A digest of its name, see :func:`session_id`
    session: Session
    begun_at: dt.datetime
    used_at: dt.datetime


class SessionStore(Records):
    """
    Sessions of the pages, which begin with an access token, or by OpenID Connect. They are the same for all services on
    the database, and survive their restarts.
    """

    def begin(self, session: Session, random: Random = secrets.token_bytes) -> str:
        """Begin a session; returns its name, for a cookie. Sessions that are over are removed."""
        c, now = self._table.c, self._clock.now()
        name = base64.urlsafe_b64encode(random(32)).decode().rstrip("=")
        with suppress(RetentionError):  # At the same time as another log-in.
            self._remove(sa.or_(c.used_at < now - IDLE, c.begun_at < now - LONGEST))
        user = session.identity
        about = {"subject": user.subject, "name": user.name, "groups": list(user.groups)} if user else {}
        self._add({"id": _digest(name), "token_id": session.token_id, "begun_at": now, "used_at": now, **about})
        return name

    def find(self, name: str, used: bool = True) -> Session | None:
        """Whose a session is, which this uses or not; None if it is over or never was."""
        own, now = self._table.c.id == _digest(name), self._clock.now()
        row = next(iter(self._read(own, refresh=False)), None)
        if row is None:
            return None
        found = _session(row)
        if now - row["used_at"] > IDLE or now - row["begun_at"] > found.longest:
            return None
        if used and now - row["used_at"] > _NOTED:
            with suppress(RetentionError):  # While a disk is full, pages can still be read.
                self._change(own, used_at=now)
        return found

    def end(self, name: str) -> None:
        self._remove(self._table.c.id == _digest(name))

    def all(self) -> list[Listed]:
        """All sessions that go on, those used last first."""
        c, now = self._table.c, self._clock.now()
        rows = self._read(c.used_at >= now - IDLE, order=(c.used_at.desc(), c.id))
        found = (Listed(session=_session(row), **{name: row[name] for name in _LISTED}) for row in rows)
        return [each for each in found if now - each.begun_at <= each.session.longest]

    def end_other(self, identifier: str) -> None:
        """End a session by :attr:`Listed.id`; raises NotFound if it is over."""
        if self._remove(self._table.c.id == identifier) == 0:
            raise NotFound("session", "is over", "load the page again")
        self._visible()


def _session(row: Mapping[str, Any]) -> Session:
    if row["token_id"]:
        return Session(token_id=row["token_id"])
    return Session(identity=Identity(subject=row["subject"], name=row["name"], groups=tuple(row["groups"] or ())))


def session_id(name: str) -> str:
    """The identifier of a session by its name."""
    return _digest(name)


def token_id(text: str) -> str:
    """The identifier within the text of a valid token."""
    return text.split("_")[1]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _token(row: Mapping[str, Any]) -> AccessToken:
    """A row as a token. Invalid values, written by SQL, raise an error rather than grant more."""
    values = {**{name: row[name] for name in _COLUMNS}, "created_by": row["created_by"] or ""}
    return AccessToken(**values, role=Role(row["role"]), limit=parse_tag_filter(row["tags"] or ()))
