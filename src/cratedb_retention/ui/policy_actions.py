"""
What can be done about a policy of the list: edit, copy, enable or disable, delete.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from cratedb_retention.errors import Conflict, NotFound
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.words import short
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.agreeing import agreed, confirmed
from cratedb_retention.ui.effect import sentences, show_effect
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.parts import button, go

Item = Damaged | StoredPolicy


class Actions:
    """
    Buttons about the policy that is chosen.

    :param load: Loads the list anew; it is given the identifier of the policy that stays chosen.
    """

    def __init__(self, guest: Guest, load: Callable[[str | None], Awaitable[None]]) -> None:
        self._guest, self._load = guest, load
        self._chosen: Item | None = None
        self._hint = ui.label("Choose a policy to edit, copy, disable or delete it.").classes("muted")
        with ui.element("div").classes("bar chosen").props('role=group aria-label="The chosen policy"') as about:
            self._edit = button("Edit", self._go_editing, "secondary")
            self._copy = button("Copy", self._go_copying, "secondary")
            self._switch = button("Disable", self._switching, "secondary")
            button("Delete", self._deleting, "negative")
            self._looking = ui.label("Looking what the next run would do …").classes("muted").props("role=status")
            self._looking.set_visibility(False)
        self._about = about
        self.choose(None)

    def choose(self, item: Item | None) -> None:
        """Let the buttons be about a policy, or none."""
        self._chosen = item
        self._hint.set_visibility(item is None)
        self._about.set_visibility(item is not None)
        for each in (self._edit, self._copy, self._switch):
            each.set_visibility(isinstance(item, StoredPolicy))
        enabled = not isinstance(item, StoredPolicy) or item.policy.enabled
        self._switch.set_text("Disable" if enabled else "Enable")

    def _go_editing(self) -> None:
        if isinstance(self._chosen, StoredPolicy):
            go(links.policy(self._chosen.policy.id or ""))

    def _go_copying(self) -> None:
        if isinstance(self._chosen, StoredPolicy):
            go(links.new_policy(self._chosen.policy.id or ""))

    async def _switching(self) -> None:
        item = self._chosen
        if not isinstance(item, StoredPolicy):
            return
        policy, wanted = item.policy, not item.policy.enabled
        action = "Enable" if wanted else "Disable"
        question = f"{action} {_named(policy)}?"
        if wanted:
            sure = await self._sure_of_enabling(question, item)
        else:
            sure = await agreed(question, f"Runs skip it from now on. {policy.ends}", action, "Cancel", "primary")
        if not sure:
            return
        identifier = policy.id or ""
        await self._changing(
            lambda: self._guest.ask(lambda s: s.change(identifier, {"enabled": wanted}, item.version)), identifier
        )
        ui.notify(f"Now {action.lower()}d: {_named(policy)}", type="positive")

    async def _sure_of_enabling(self, question: str, item: StoredPolicy) -> bool:
        """Show what the next run would do; where it would delete data, a word has to be written."""
        policy = item.policy.model_copy(update={"enabled": True})
        self._looking.set_visibility(True)
        try:
            found = await self._guest.ask(lambda scoped: scoped.preview(policy))
        finally:
            self._looking.set_visibility(False)

        def show() -> None:
            show_effect(found)

        if sentences(found):
            return await confirmed(question, show, _word(item), "Enable")
        return await agreed(question, show, "Enable", "Cancel", "primary")

    async def _deleting(self) -> None:
        item = self._chosen
        if item is None:
            return
        if isinstance(item, Damaged):
            identifier, version, word, what = item.id, None, short(item.id), "this row, which is no valid policy"
            effect = "Only the row of the policy table goes; no data is touched. No run obeys it anyway."
        else:
            identifier, version, word = item.policy.id or "", item.version, _word(item)
            what, effect = _named(item.policy), f"Only the policy goes; no row is touched. {item.policy.ends}"
        if not await confirmed(f"Delete {what}?", effect, word, "Delete the policy"):
            return
        await self._changing(lambda: self._guest.ask(lambda s: s.delete(identifier, version)), None)
        ui.notify("The policy is deleted; data was not touched", type="positive")

    async def _changing(self, work: Callable[[], Awaitable[object]], keep: str | None) -> None:
        """Change something; whatever comes of it, show what there is then."""
        try:
            await work()
        except (Conflict, NotFound):
            await self._load(keep)
            raise
        await self._load(keep)


def _named(policy: Policy) -> str:
    return f"the policy “{policy.strategy} {policy.target}”"


def _word(item: StoredPolicy) -> str:
    """What has to be written; nobody can write a name that begins or ends with a blank."""
    name = item.policy.table_name
    return name if name == name.strip() else short(item.policy.id)
