"""
Who asks, what they see, and what they can refer to.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from cratedb_retention.api import Retention
from cratedb_retention.model.access import Access, Realm
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.tokens import AccessToken


class Who:
    """
    Somebody who asks, and what they can refer to.

    :param retention: Acts as whoever asks.
    """

    def __init__(self, retention: Retention, access: Access) -> None:
        self.retention, self.access = retention, access
        retention.store.require()

    @cached_property
    def _stored(self) -> tuple[list[StoredPolicy], list[Damaged]]:
        stored, damaged = self.retention.store.policies.all()
        return (
            [item for item in stored if self.access.sees(item.policy.tags)],
            [row for row in damaged if self.access.sees(row.row["tags"] or ())],
        )

    @cached_property
    def _tokens(self) -> list[AccessToken]:
        return self.retention.store.tokens.all()

    @cached_property
    def realm(self) -> Realm:
        """What they can refer to."""
        wanted = {tag for token in self._tokens for group in token.limit.any_of for tag in group.wanted}
        mine = {tag for group in self.access.limit.any_of for tag in group.wanted}
        return Realm(
            access=replace(self.access, actors=self._actors),
            policies=tuple(item.policy for item in self._stored[0]),
            default_schema=self._default_schema,
            own_schema=self.retention.store.schema,
            foreign_tags=frozenset(wanted - mine) if self.access.limited else frozenset(),
            folds_case=self.retention.engine.capabilities.folds_case,
        )

    @property
    def _actors(self) -> frozenset[str]:
        """All who have the same limit."""
        same = {token.actor for token in self._tokens if token.limit == self.access.limit}
        return frozenset(same | {self.access.actor}) if self.access.limited else frozenset()

    @property
    def _default_schema(self) -> str:
        return self.retention.engine.capabilities.default_schema
