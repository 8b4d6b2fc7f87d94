"""
The policies that they see and change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cratedb_retention.errors import Conflict, Forbidden, InvalidInput, NotFound
from cratedb_retention.execution.applying import Change, apply_changes, find_changes
from cratedb_retention.execution.listing import Listing, list_policies
from cratedb_retention.execution.preparing import Selection, require_tags
from cratedb_retention.model.access import Role
from cratedb_retention.model.policy import Policy, change_policy, mentions
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.service.scope.who import Who
from cratedb_retention.store.policies import Damaged, StoredPolicy

_TAKEN = "there is one already that does the same on this data, or has this identifier"


class Policies(Who):
    """Policies."""

    def policies(self, selection: Selection) -> tuple[list[StoredPolicy], list[Damaged]]:
        """The policies that they see and choose, and the rows that are none."""
        stored, damaged = self._stored
        return (
            [item for item in stored if selection.fits(item.policy)],
            [row for row in damaged if selection.fits_row(row)],
        )

    def listing(self, selection: Selection, text: str = "") -> Listing:
        """
        The policies that they see and choose, and when each runs next.

        :param text: Words that a policy must mention, see :meth:`Policy.mentions`.
        """
        stored, damaged = self.policies(selection)
        chosen = [item for item in stored if item.policy.mentions(text)]
        broken = [row for row in damaged if mentions((row.id, row.target, row.reason), text)]
        return list_policies(self.retention.store, chosen, broken, self.retention.clock.now())

    def policy(self, identifier: str) -> StoredPolicy:
        """
        A policy by its whole identifier.

        :raises NotFound: if they see none.
        """
        found = next((item for item in self._stored[0] if item.policy.id == identifier), None)
        if found is None:
            raise NotFound(f"policy {identifier}", "does not exist", "GET /api/v1/policies lists them")
        return found

    def create(self, policy: Policy) -> Policy:
        """
        Store a new policy.

        :raises Forbidden: if its tags, data or repository are not theirs, or they choose its identifier.
        :raises Conflict: if there is such a policy.
        """
        self.access.require(Role.EDITOR)
        self._check_new(policy)
        self.realm.check_policy(policy)
        try:
            return self.retention.create_policy(**policy.model_dump(exclude_defaults=True))
        except Conflict:
            if self.access.limited:
                raise Conflict(f"policy for {policy.target}", _TAKEN, "change that one") from None
            raise

    def change(self, identifier: str, changes: Mapping[str, Any], version: int | None) -> StoredPolicy:
        """
        Change attributes of a policy.

        :param version: The version that the change is based on; None: the present one.
        :raises NotFound: if they see none.
        :raises Forbidden: if what it would become is not theirs.
        :raises Conflict: if somebody else changed it since.
        """
        self.access.require(Role.EDITOR)
        stored = self.policy(identifier)
        if "id" in changes:
            raise InvalidInput("attribute id", "a policy's identifier can't be changed", "leave it out")
        self.realm.check_policy(change_policy(stored.policy, changes))
        base = _base(stored, version)
        return StoredPolicy(self.retention.edit_policy(identifier, changes, base), base + 1)

    def delete(self, identifier: str, version: int | None) -> None:
        """
        Delete a policy, or a row that is none.

        :raises NotFound: if they see none.
        :raises Conflict: if somebody else changed it since.
        """
        self.access.require(Role.EDITOR)
        if not any(row.id == identifier for row in self._stored[1]):
            version = _base(self.policy(identifier), version)
        self.retention.delete_policy(identifier, version)

    def apply(self, wanted: Sequence[Policy], prune: bool, tags: TagFilter, dry_run: bool) -> list[Change]:
        """
        Make the policies that they see what a file says.

        :param tags: Only policies with these tags are pruned.
        :raises Forbidden: if a policy of the file is not theirs.
        :raises NotFound: if no policy has these tags.
        """
        self.access.require(Role.EDITOR)
        stored = self._stored[0]
        require_tags(tags, (policy.tags for policy in (*wanted, *(item.policy for item in stored))))
        changes = find_changes(wanted, stored, prune, tags & self.access.limit)
        for change in changes:
            if change.after is not None:
                if change.before is None:
                    self._check_new(change.after)
                self.realm.check_policy(change.after)
                self.retention.check_supported(change.after)
        if not dry_run:
            try:
                apply_changes(self.retention.store.policies, changes)
            except Conflict:
                if self.access.limited:
                    raise Conflict("the file", f"of one of its policies {_TAKEN}", "look at them again") from None
                raise
        return changes

    def apply_shown(self, wanted: Sequence[Policy], prune: bool, tags: TagFilter, shown: Sequence[Change]) -> None:
        """
        Apply a file, if that changes what they were shown.

        :param shown: What :meth:`apply` said that would change.
        :raises Conflict: if it would change something else by now.
        """
        if self.apply(wanted, prune, tags, dry_run=True) != list(shown):
            raise Conflict("the policies", "somebody else changed some in the meantime", "check the file again")
        self.apply(wanted, prune, tags, dry_run=False)

    def _check_new(self, policy: Policy) -> None:
        """An identifier that is taken would tell that somebody has it."""
        if self.access.limited and policy.id:
            raise Forbidden(f"policy {policy.id}", "does not exist; with a limit, identifiers are made up", "omit it")

    def tags(self) -> list[str]:
        """All tags of the policies that they see."""
        return sorted({tag for item in self._stored[0] for tag in item.policy.tags})


def _base(stored: StoredPolicy, version: int | None) -> int:
    """
    The version that a change is based on: always the one that the rules were applied to.

    :raises Conflict: if another one was named.
    """
    if version is not None and version != stored.version:
        raise Conflict(f"policy {stored.policy.id}", "somebody else changed it in the meantime", "look at it again")
    return stored.version
