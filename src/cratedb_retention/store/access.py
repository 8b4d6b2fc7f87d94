"""
Access tokens of the HTTP API in the database. Of a token's secret, only a digest is stored.

SHA-256 without salt is enough: the secret is 256 random bits, so it can be neither guessed nor found in a list of
digests.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Role, check_limit
from cratedb_retention.model.audit import Event
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import pick
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.rows import Records, same

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TEXT = re.compile(r"crt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
Random = Callable[[int], bytes]
_COLUMNS = ("id", "name", "created_at", "created_by", "expires_at", "revoked_at", "revoked_by")


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
        rows = self._read(self._table.c.id == found[1], refresh=False) if found else ()
        if not rows or not hmac.compare_digest(rows[0]["hash"], _digest(text)):
            return None
        token = _token(rows[0])
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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _token(row: Mapping[str, Any]) -> AccessToken:
    """A row as a token. Invalid values, written by SQL, raise an error rather than grant more."""
    values = {**{name: row[name] for name in _COLUMNS}, "created_by": row["created_by"] or ""}
    return AccessToken(**values, role=Role(row["role"]), limit=parse_tag_filter(row["tags"] or ()))
