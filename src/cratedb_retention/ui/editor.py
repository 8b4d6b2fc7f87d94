"""
The policy editor: what a policy says, and beside it what the next run would do with it, before it is saved.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.errors import Conflict, RetentionError
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.execution.preview import Preview
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.policy import ATTRIBUTES, Policy, changes_of, differences
from cratedb_retention.model.policyform import FIELDS, left_out
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.scope import Scope
from cratedb_retention.store.policies import StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.agreeing import confirmed
from cratedb_retention.ui.effect import sentences, show_effect
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.parts import Column, button, go, heading, link, note, show_error, table
from cratedb_retention.ui.policy_form import PolicyForm

# Seconds after the last change until the effect is looked at.
PAUSE = 0.6
LIST = links.address("/policies", {})
_COLUMNS = (
    Column("field", "Field"),
    Column("before", "When you began"),
    Column("theirs", "Now, by somebody else"),
    Column("yours", "As you wrote it"),
)


async def create(guest: Guest, query: Query) -> None:
    """The page for a new policy, or for a copy of one."""
    access = await guest.ask(lambda scoped: scoped.access)
    if not access.role.includes(Role.EDITOR):
        link("All policies", LIST)
        note(f"Your token has the role {access.role}. It takes one with the role {Role.EDITOR} to create a policy.")
        return
    source = query.get("copy")
    copied = await guest.ask(lambda scoped: scoped.policy(source)) if source else None
    base = copied.policy.model_copy(update={"id": None}) if copied else None
    with ui.element("div").classes("bar"):
        link("All policies", LIST)
        if copied:
            note(f"A copy of policy {copied.policy.id}")
    await Editor(guest, access, base, None).open()


async def edit(guest: Guest, query: Query) -> None:
    """The page of a policy that is stored."""
    identifier = query["id"]
    chosen = Selection(policy_id=identifier)
    access, (found, damaged) = await guest.ask(lambda scoped: (scoped.access, scoped.policies(chosen)))
    with ui.element("div").classes("bar"):
        link("All policies", LIST)
        link("History", links.address("/jobs", {"policy": identifier}))
        if found and access.role.includes(Role.EDITOR):
            link("Copy", links.new_policy(identifier))
        ui.label(identifier).classes("mono muted")
    if damaged and not found:
        show_error(RetentionError(f"policy {identifier}", f"the stored row is no valid policy: {damaged[0].reason}"))
        note("It can't be edited. Delete it in the list of policies, and create it anew.")
        return
    stored = await guest.ask(lambda scoped: scoped.policy(identifier))
    if query.get("saved") == str(stored.version):
        note("Saved.", "saved").props("role=status")
    if not access.role.includes(Role.EDITOR):
        note(f"Your token has the role {access.role}: you can look, and not change anything.")
    await Editor(guest, access, stored.policy, stored).open()


class Editor:
    """
    A form, and its effect beside it.

    :param base: What the form begins with.
    :param stored: The policy that is edited; None: a new one is made.
    """

    def __init__(self, guest: Guest, access: Access, base: Policy | None, stored: StoredPolicy | None) -> None:
        self.guest, self.stored = guest, stored
        self.allowed = access.role.includes(Role.EDITOR)
        self._looks = 0
        self._timer: ui.timer | None = None
        self._seen: tuple[str, str] | None = None
        self.conflict = ui.element("div")
        with ui.element("div").classes("editor"):
            with ui.element("div").classes("form"):
                names = stored is None and not access.limited
                self.form = PolicyForm(base, self._later, locked=not self.allowed, names=names)
                self.left_out = note("", "note")
            if self.allowed:
                with ui.element("aside").classes("card effect").props('aria-label="Effect"'):
                    heading("What the next run would do")
                    self.waiting = ui.label("Looking …").classes("muted").props("role=status")
                    self.effect = ui.element("div").props("aria-live=polite")
                    button("Look again", self.look).props("outline")
                with ui.element("div").classes("bar"):
                    button("Save", self.save)
                    link("Cancel", LIST)
                    self.told = ui.label().props("role=status").classes("mistake")
        self._say_what_is_left_out()

    async def open(self) -> None:
        """Look for the first time."""
        if self.allowed:
            await self.look()

    # The effect

    def _later(self) -> None:
        """Look again when nothing is changed for a moment; until then nothing is shown that is not so any more."""
        self._say_what_is_left_out()
        self.told.set_text("")
        if self._timer is not None:
            self._timer.cancel()
        self._wait(True)
        with self.effect:
            self._timer = ui.timer(PAUSE, self.look, once=True)

    def _wait(self, waiting: bool) -> None:
        self.waiting.set_visibility(waiting)
        self.effect.classes(add="old" if waiting else "", remove="" if waiting else "old")

    async def look(self) -> None:
        """Show the effect of what is written now."""
        self._looks += 1
        turn = self._looks
        await self._suggest()
        if self.form.mistakes:
            self._show(turn, None)
            return
        try:
            self._show(turn, await self._preview())
        except Failed as error:
            self._show(turn, error.error)
        except RetentionError as error:
            self._show(turn, error)

    async def _preview(self) -> Preview:
        policy = self.form.policy()
        if self.stored is None:  # Its identifier would stand for the policy that has it.
            policy = policy.model_copy(update={"id": None})
        return await self.guest.ask(lambda scoped: scoped.preview(policy))

    async def _suggest(self) -> None:
        values = self.form.values
        wanted = (str(values["table_schema"]), str(values["table_name"]))
        if wanted != self._seen:
            self._seen = wanted
            found = await self.guest.ask(lambda scoped: scoped.suggestions(*wanted))
            self.form.suggest(found)

    def _show(self, turn: int, found: Preview | RetentionError | None) -> None:
        """Show what was found, unless something was changed since."""
        if turn != self._looks:
            return
        self._wait(False)
        self.effect.clear()
        with self.effect:
            if isinstance(found, Preview):
                show_effect(found)
            elif found is not None:
                show_error(found)
            else:
                missing = ", ".join(FIELDS[name].called for name in self.form.mistakes if name)
                note(f"This is no policy yet. Look at: {missing}." if missing else "This is no policy yet.")

    def _say_what_is_left_out(self) -> None:
        base = self.form.base
        fields = left_out(base, str(self.form.values["strategy"])) if base else []
        words = ", ".join(field.called for field in fields)
        self.left_out.set_text(f"This strategy has no use for: {words}. It is cleared when you save." if words else "")
        self.left_out.set_visibility(bool(words))

    # Saving

    async def save(self) -> None:
        """Save, once it is valid, and once what it deletes is confirmed."""
        self.form.refresh(everywhere=True)
        if self.form.mistakes:
            self.told.set_text("Not saved: some fields have mistakes.")
            return
        policy = self.form.policy()
        if self.stored is not None and not changes_of(self.stored.policy, policy):
            self.told.set_text("There is nothing to save.")
            return
        if await self._is_outdated():
            return
        self._looks += 1
        found = await self._preview()
        self._show(self._looks, found)
        lost = sentences(found) if policy.enabled else []
        if lost and not await confirmed("Save this policy?", "\n".join(lost), policy.table_name, "Save"):
            self.told.set_text("Not saved.")
            return
        await self._store(policy)

    async def _store(self, policy: Policy) -> None:
        stored = self.stored
        if stored is None:
            made = await self.guest.ask(lambda scoped: scoped.create(policy))
            _show_saved(StoredPolicy(made, 1))
            return
        identifier, changes = stored.policy.id or "", changes_of(stored.policy, policy)
        try:
            _show_saved(await self.guest.ask(lambda scoped: scoped.change(identifier, changes, stored.version)))
        except Conflict:
            if not await self._is_outdated():
                raise

    async def _is_outdated(self) -> bool:
        """Whether somebody else changed it since it was loaded; then it is shown what."""
        stored = self.stored
        if stored is None:
            return False

        def theirs(scoped: Scope) -> StoredPolicy:
            return scoped.policy(stored.policy.id or "")

        now = await self.guest.ask(theirs)
        if now.version == stored.version:
            return False
        self._show_conflict(stored, now)
        return True

    def _show_conflict(self, stored: StoredPolicy, now: StoredPolicy) -> None:
        self.told.set_text("Not saved: somebody else changed it meanwhile.")
        self.conflict.clear()
        with self.conflict, ui.element("section").classes("card conflict").props("role=alert"):
            heading("Somebody else changed this policy meanwhile")
            note("Nothing was saved. This is what differs:")
            states = (stored.policy, now.policy, self.form.policy())
            found = differences(*(policy.model_dump(mode="json") for policy in states))
            names = [column.name for column in _COLUMNS]
            rows = [dict(zip(names, (ATTRIBUTES[d.attribute].called, *d.words), strict=True)) for d in found]
            table(_COLUMNS, rows, "What differs")
            button("Load theirs", lambda: self._load(now))
            note("Then what you wrote is gone from the form; it stays in the table above until you leave.")

    async def _load(self, now: StoredPolicy) -> None:
        self.stored = now
        self.form.fill(now.policy)
        self.told.set_text("")
        await self.look()


def _show_saved(stored: StoredPolicy) -> None:
    """Go to the page of what was saved, which says so as long as nobody changes it again."""
    go(f"{links.policy(stored.policy.id or '')}?saved={stored.version}")
