"""
Access tokens of the HTTP API and the pages.
"""

from __future__ import annotations

import datetime as dt
import secrets

from cratedb_retention.api.connection import Part
from cratedb_retention.model.access import Role
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.store.access import AccessToken, Random


class Access(Part):
    """Access tokens."""

    def tokens(self) -> list[AccessToken]:
        """All access tokens, oldest first."""
        return self._store.tokens.all()

    def create(
        self,
        name: str,
        role: Role,
        limit: TagFilter | None = None,
        expires_at: dt.datetime | None = None,
        random: Random = secrets.token_bytes,
    ) -> tuple[AccessToken, str]:
        """
        Make an access token.

        :param limit: Only policies with these tags; None: everything.
        :param expires_at: An aware instant; None: it does not expire.
        :return: The token, and its text, which can't be had a second time.
        :raises InvalidInput: if something about it is not valid.
        """
        return self._store.tokens.create(name, role, limit or TagFilter(), expires_at, random)

    def check(self, text: str) -> AccessToken | None:
        """The token with a text; None if it is unknown, expired or revoked."""
        return self._connection.store.tokens.check(text)

    def revoke(self, identifier: str) -> AccessToken:
        """
        End an access token, at once.

        :param identifier: Its name, its identifier, or six characters of that.
        :raises NotFound: if there is none that is not revoked.
        """
        return self._store.tokens.revoke(identifier)
