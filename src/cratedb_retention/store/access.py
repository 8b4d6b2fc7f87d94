"""
Access tokens in the database: who may do what by the HTTP API. Of a token's secret only a digest is stored.

SHA-256 without salt is enough, since the secret is 256 random bits: there is nothing to guess, and no list of digests.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Role, check_limit
from cratedb_retention.model.audit import Event
from cratedb_retention.model.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import pick
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.rows import Records, same

PREFIX = "crt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TEXT = re.compile(rf"{PREFIX}_([0-9a-f]{{16}})_[A-Za-z0-9_-]{{43}}", re.ASCII)
Random = Callable[[int], bytes]
_SAME = ("id", "name", "created_at", "created_by", "expires_at")


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """A token, without its secret."""

    id: str
    name: str
    role: Role
    limit: TagFilter  # Only policies with these tags; empty: everything
    created_at: dt.datetime
    created_by: str
    expires_at: dt.datetime | None = None  # From this instant on it is worth nothing; None: never
    revoked_at: dt.datetime | None = None
    revoked_by: str | None = None

    @property
    def actor(self) -> str:
        """How the journal names who uses it. A name can't hold parentheses, so nobody can be taken for another."""
        return f"{self.name} (token {self.id})"

    def is_valid(self, now: dt.datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class TokenStore(Records):
    def create(
        self, name: str, role: Role, limit: TagFilter, expires_at: dt.datetime | None, random: Random
    ) -> tuple[AccessToken, str]:
        """
        Store a new token.

        :param expires_at: An aware instant; None: it does not expire.
        :param random: Returns so many random bytes, fit for secrets.
        :return: The token, and its text, which can't be had a second time.
        :raises InvalidInput: if the name, the limit or the instant is none.
        """
        now = self._clock.now()
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"name {name!r}", "not the name of a token", "use letters, digits and . _ @ -, up to 64")
        if expires_at is not None and expires_at <= now:
            raise InvalidInput(f"token {name}", "it would have expired already", "choose a later instant")
        check_limit(role, limit)
        identifier = random(8).hex()
        text = f"{PREFIX}_{identifier}_{base64.urlsafe_b64encode(random(32)).decode().rstrip('=')}"
        by = self._actor.name
        token = AccessToken(
            id=identifier, name=name, role=role, limit=limit, created_at=now, created_by=by, expires_at=expires_at
        )
        self._add({**same(token, _SAME), "role": str(role), "tags": list(limit.texts), "hash": _digest(text)})
        self._visible()
        self._note(Event.TOKEN_CREATED, token)
        return token, text

    def all(self) -> list[AccessToken]:
        """All tokens, oldest first, those that are worth nothing any more too."""
        c = self._table.c
        return [_token(row) for row in self._read(order=(c.created_at, c.id))]

    def check(self, text: str) -> AccessToken | None:
        """The token with this text, if it is worth anything now. A revoked one is worth nothing at once."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        rows = self._read(self._table.c.id == found[1], refresh=False)
        if not rows or not hmac.compare_digest(rows[0]["hash"], _digest(text)):
            return None
        token = _token(rows[0])
        return token if token.is_valid(self._clock.now()) else None

    def revoke(self, identifier: str) -> AccessToken:
        """End a token; by its name, its identifier, or six characters of that, which must fit exactly one in force."""
        active = [token for token in self.all() if token.revoked_at is None]
        named = [token for token in active if identifier in (token.id, token.name)]
        if len(named) > 1:
            raise InvalidInput(f"token {identifier}", f"fits {len(named)}", "write the identifier")
        known = {token.id: token for token in active}
        remedy = "`cratedb-retention list-tokens` shows them"
        found = named[0] if named else pick("token", identifier, known, remedy, "is not in force")
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
    """A token; what is not valid in its row, since somebody wrote it by SQL, is refused rather than taken for more."""
    return AccessToken(
        **{**{name: row[name] for name in (*_SAME, "revoked_at", "revoked_by")}, "created_by": row["created_by"] or ""},
        role=Role(row["role"]),
        limit=parse_tag_filter(row["tags"] or ()),
    )
