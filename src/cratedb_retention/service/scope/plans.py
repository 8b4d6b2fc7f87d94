"""
What runs would do, as far as it is theirs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import replace

from cratedb_retention.errors import Forbidden
from cratedb_retention.execution.candidates import Preview
from cratedb_retention.execution.preparing import Prepared, Selection
from cratedb_retention.execution.suggesting import suggest
from cratedb_retention.model.access import Role
from cratedb_retention.model.attributes import Suggestions
from cratedb_retention.model.catalog import Selector
from cratedb_retention.model.plan import Plan
from cratedb_retention.model.policy import Policy
from cratedb_retention.service.narrowing import narrow_plan
from cratedb_retention.service.scope.holds import Holds
from cratedb_retention.service.scope.policies import Policies


class Plans(Policies, Holds):
    """Plans, and what would become of them."""

    def prepare(self, selection: Selection, cutoff: dt.datetime | None = None) -> Prepared:
        """
        What a run would do, as far as it is theirs.

        :raises NotFound: if the chosen policy is none that they see, or none of these has such tags.
        """
        if selection.policy_id is not None:
            self.policy(selection.policy_id)
        selection = replace(selection, limit=self.access.limit)
        return self._narrowed(self.retention.prepare(cutoff, selection))

    def preview_release(self, released: Collection[str]) -> tuple[Prepared, Prepared]:
        """What a run would do, and what it would do if holds were released, as far as it is theirs."""
        before, after = self.retention.preview_release(released, Selection(limit=self.access.limit))
        return self._narrowed(before), self._narrowed(after)

    def _narrowed(self, prepared: Prepared) -> Prepared:
        return narrow_plan(prepared, self.realm, self._words_of_holds()) if self.access.limited else prepared

    def preview(self, policy: Policy) -> Preview:
        """
        What the next run would do if a policy were stored, as far as it is theirs. Writes nothing.

        :raises NotFound: if it has the identifier of a policy that they do not see.
        :raises Forbidden: if they may not store it.
        """
        self.access.require(Role.EDITOR)
        if self.access.limited and policy.id:
            self.policy(policy.id)
        self.realm.check_policy(policy)
        found = self.retention.preview(policy, Selection(limit=self.access.limit))
        return self._narrowed_preview(found) if self.access.limited else found

    def _narrowed_preview(self, found: Preview) -> Preview:
        words = self._words_of_holds()
        others = tuple(known for known in self.realm.policies if known.id != found.policy.id)
        after = replace(self.realm, policies=(*others, found.policy))
        return replace(
            found,
            before=narrow_plan(found.before, self.realm, words),
            after=narrow_plan(found.after, after, words),
            if_enabled=None if found.if_enabled is None else self._narrowed_preview(found.if_enabled),
        )

    def suggestions(self, table_schema: str | None = None, table_name: str = "") -> Suggestions:
        """
        What can be named in a policy, as far as it is theirs: of the database, and of other policies.

        :param table_schema: With ``table_name``: name or pattern of the tables whose columns are wanted.
        """
        policies = [item.policy for item in self._stored[0]]
        chosen = Selector(schema=table_schema or None, name=table_name)
        return suggest(self.retention.engine, self.retention.store.schema, policies, self.access.limited, chosen)

    def statements(self, plan: Plan) -> list[list[str]]:
        """
        The statements of each task of a plan, for showing.

        :raises Forbidden: if they are no operator, or have a limit: statements name what holds of others keep.
        """
        self.access.require(Role.OPERATOR)
        if self.access.limited:
            raise Forbidden("the statements of a plan", "are not for tokens with a limit", "look at the plan itself")
        render = self.retention.engine.render
        return [[statement for step in task.steps for statement in render(step)] for task in plan.tasks]
