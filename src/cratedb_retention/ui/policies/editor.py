"""
The policy editor: a form with hints, mistakes beside each field as one types, and suggestions of what there is; and
beside it, in words, what the next run would do with the policy, before it is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from cratedb_retention.errors import Conflict, RetentionError
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.execution.plan.preview import Preview
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.plan.effect import Amount, Loss, amount, summarize
from cratedb_retention.model.policies import form as policyform
from cratedb_retention.model.policies.attributes import Attribute, Form, Group, Suggestions
from cratedb_retention.model.policies.patterns import parse_table
from cratedb_retention.model.policies.policy import ATTRIBUTES, Difference, Policy, changes_of, differences, make_policy
from cratedb_retention.model.time import DAY_MS, from_ms
from cratedb_retention.model.words import plural, show_size
from cratedb_retention.store.policies import StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.columns import Column
from cratedb_retention.ui.links import Query, go, link
from cratedb_retention.ui.parts import agreed, bar, button, facts, heading, hidden_note, note, show_error, tag
from cratedb_retention.ui.tables import table

# Seconds after the last change until the effect is looked at.
PAUSE = 0.6
LIST = links.address("/policies", {})
# How many lines of the effect are shown, and columns offered at once; others are offered for what is typed.
MOST = 12


async def create(guest: Guest, query: Query) -> None:
    role, source = guest.access.role, query.get("copy")
    if not guest.may(Role.EDITOR):
        link("All policies", LIST)
        note(f"Your token has the role {role}. It takes one with the role {Role.EDITOR} to create a policy.")
        return
    copied = (await guest.ask(lambda scoped: scoped.policy(source))).policy if source else None
    with bar():
        link("All policies", LIST)
        if copied:
            note(f"A copy of policy {copied.id}")
    editor = Editor(guest, copied.model_copy(update={"id": None}) if copied else None, None)
    if query.get("table"):
        name = parse_table(query["table"], default_schema="")
        editor.form.put(table_schema=name.schema, table_name=name.name)
    await editor.look()


async def edit(guest: Guest, query: Query) -> None:
    identifier = query["id"]
    found, damaged = await guest.ask(lambda scoped: scoped.policies(Selection(policy_id=identifier)))
    with bar():
        link("All policies", LIST)
        link("History", links.activity(policy=identifier))
        if found and guest.may(Role.EDITOR):
            link("Copy", links.new_policy(identifier))
        ui.label(identifier).classes("mono muted")
    if damaged and not found:
        show_error(RetentionError(f"policy {identifier}", f"the stored row is no valid policy: {damaged[0].reason}"))
        note("It cannot be edited. Delete it in the list of policies, and create it again.")
        return
    stored = await guest.ask(lambda scoped: scoped.policy(identifier))
    if query.get("saved") == str(stored.version):
        note("Saved.", "saved").props("role=status")
    if not guest.may(Role.EDITOR):
        note(f"Your token has the role {guest.access.role}: you can look, and not change anything.")
    editor = Editor(guest, stored.policy, stored)
    if editor.allowed:
        await editor.look()


class Editor:
    """A form, what it begins with, and its effect beside it; without a stored policy a new one is made."""

    def __init__(self, guest: Guest, base: Policy | None, stored: StoredPolicy | None) -> None:
        self.guest, self.stored = guest, stored
        self.allowed = guest.may(Role.EDITOR)
        self._looks = 0
        self._timer: ui.timer | None = None
        self._seen: tuple[str, str] | None = None
        self.conflict = ui.element("div")
        with ui.element("div").classes("editor"):
            with ui.element("div").classes("form"):
                names = stored is None and not guest.access.limited
                self.form = PolicyForm(base, self._later, locked=not self.allowed, names=names)
            if self.allowed:
                with ui.element("aside").classes("card effect").props('aria-label="Effect"'):
                    heading("What the next run would do")
                    self.waiting = ui.label("Looking …").classes("muted").props("role=status")
                    self.effect = ui.element("div").props("aria-live=polite")
                    button("Look again", self.look).props("outline")
                with bar():
                    button("Save", self.save)
                    link("Cancel", LIST)
                    self.told = ui.label().props("role=status").classes("mistake")

    def _later(self) -> None:
        self.told.set_text("")
        if self._timer is not None:
            self._timer.cancel()
        self.waiting.set_visibility(True)
        with self.effect.classes("old"):
            self._timer = ui.timer(PAUSE, self.look, once=True)

    async def look(self) -> None:
        self._looks += 1
        turn, values = self._looks, self.form.values
        wanted = (str(values["table_schema"]), str(values["table_name"]))
        if wanted != self._seen:
            self._seen = wanted
            self.form.suggest(await self.guest.ask(lambda scoped: scoped.suggestions(*wanted)))
        try:
            self._show(turn, None if self.form.mistakes else await self._preview())
        except RetentionError as error:
            self._show(turn, error)

    async def _preview(self) -> Preview:
        policy = self.form.policy()
        if self.stored is None:  # Its identifier would stand for the policy that has it.
            policy = policy.model_copy(update={"id": None})
        return await self.guest.ask(lambda scoped: scoped.preview(policy))

    def _show(self, turn: int, found: Preview | RetentionError | None) -> None:
        if turn != self._looks:
            return
        self.waiting.set_visibility(False)
        with self.effect.classes(remove="old").clear():
            if isinstance(found, Preview):
                show_effect(found)
            elif found is not None:
                show_error(found)
            else:
                missing = ", ".join(policyform.FIELDS[name].called for name in self.form.mistakes if name)
                note(f"This is no policy yet. Look at: {missing}." if missing else "This is no policy yet.")

    # Saving

    async def save(self) -> None:
        """Save, once it is valid, and once what it deletes is confirmed."""
        self.form.refresh(everywhere=True)
        if self.form.mistakes:
            self.told.set_text("Not saved: some fields have mistakes.")
            return
        policy, stored = self.form.policy(), self.stored
        changes = changes_of(stored.policy, policy) if stored else {}
        if stored and not changes:
            self.told.set_text("There is nothing to save.")
            return
        if await self._is_outdated():
            return
        self._looks += 1
        found = await self._preview()
        self._show(self._looks, found)
        lost = sentences(found)
        if lost and not await agreed("Save this policy?", "\n".join(lost), "Save", policy.table_name):
            self.told.set_text("Not saved.")
            return
        try:
            if stored is None:
                saved = StoredPolicy(await self.guest.ask(lambda scoped: scoped.create(policy)), 1)
            else:
                saved = await self.guest.ask(lambda scoped: scoped.change(stored.id, changes, stored.version))
        except Conflict:
            if await self._is_outdated():
                return
            raise
        # The page shows that it was saved, until the policy is changed again.
        go(f"{links.policy(saved.id)}?saved={saved.version}")

    async def _is_outdated(self) -> bool:
        """Whether another user changed it since it was loaded; then what differs is shown."""
        if self.stored is None:
            return False
        identifier = self.stored.id
        now = await self.guest.ask(lambda scoped: scoped.policy(identifier))
        if now.version == self.stored.version:
            return False
        self.told.set_text("Not saved: another user has changed it in the meantime.")
        states = (self.stored.policy, now.policy, self.form.policy())
        columns: Sequence[Column[Difference]] = (
            Column("Field", lambda each: ATTRIBUTES[each.attribute].called),
            Column("When you began", lambda each: each.words[0]),
            Column("Now, by another user", lambda each: each.words[1]),
            Column("As you wrote it", lambda each: each.words[2]),
        )
        with self.conflict.clear(), ui.element("section").classes("card conflict").props("role=alert"):
            heading("Another user has changed this policy in the meantime")
            note("Nothing was saved. This is what differs:")
            table(columns, differences(*(policy.model_dump(mode="json") for policy in states)), "What differs")
            button("Load theirs", lambda: self._load(now))
            note("Then what you wrote is gone from the form; it stays in the table above until you leave.")
        return True

    async def _load(self, now: StoredPolicy) -> None:
        self.stored = now
        self.form.fill(now.policy)
        self.told.set_text("")
        await self.look()


@dataclass(kw_only=True)
class _Field:
    attribute: Attribute
    box: ui.element
    control: Any
    mistake: ui.label
    options: ui.element | None = None
    offered: Sequence[str] = ()


class PolicyForm:
    """
    The fields of a policy.

    :param base: The policy that it is filled with; None: a new one.
    :param changed: Is called after each change; with ``locked`` nothing can be changed.
    :param names: Whether an identifier can be chosen.
    """

    def __init__(self, base: Policy | None, changed: Callable[[], None], locked: bool, names: bool) -> None:
        self.base, self.values = base, policyform.to_values(base)
        self._suggestions = Suggestions()
        self._changed, self._locked = changed, locked
        self._touched: set[str] = set()
        self._fields: dict[str, _Field] = {}
        self._filling = False
        self._general = hidden_note("mistake").props("role=alert")
        for group in Group:
            with ui.element("details" if group is Group.MORE else "section").classes("card fields") as self._last:
                tag("summary" if group is Group.MORE else "h2", group)
                for name, attribute in policyform.FIELDS.items():
                    if attribute.group is group and (name != "id" or names):
                        self._fields[name] = self._field(attribute)
        self._left_out = hidden_note()
        self.refresh()

    @property
    def mistakes(self) -> dict[str, str]:
        return policyform.find_mistakes_in(self.values, self.base)

    def policy(self) -> Policy:
        """The policy that it says; raises InvalidInput if it is none."""
        identifier = {"id": self.base.id} if self.base and self.base.id else {}
        return make_policy(**{**policyform.to_attributes(self.values, self.base), **identifier})

    def fill(self, base: Policy) -> None:
        self.base, self.values = base, policyform.to_values(base)
        self._touched.clear()
        self._filling = True
        for name, field in self._fields.items():
            field.control.set_value(self.values[name])
        self._filling = False
        self.refresh()

    def put(self, **values: str) -> None:
        """Write into some fields."""
        for name, value in values.items():
            self._fields[name].control.set_value(value)

    def refresh(self, everywhere: bool = False) -> None:
        """Show the fields that mean something, and what is wrong in those that were written into, or all."""
        mistakes = self.mistakes
        if everywhere:
            self._touched.update(self._fields)
            if any(name in policyform.FIELDS and policyform.FIELDS[name].group is Group.MORE for name in mistakes):
                self._last.props("open")
        for name, field in self._fields.items():
            field.box.set_visibility(policyform.is_shown(field.attribute, self.values))
            wrong = mistakes.get(name, "") if name in self._touched else ""
            field.mistake.set_text(wrong)
            field.box.classes(add="wrong" if wrong else "", remove="" if wrong else "wrong")
            field.control.props(f"aria-invalid={'true' if wrong else 'false'}")
        self._general.set_text(mistakes.get("", ""))
        unused = policyform.left_out(self.base, str(self.values["strategy"])) if self.base else []
        said = ", ".join(field.called for field in unused)
        self._left_out.set_text(f"This strategy has no use for: {said}. It is cleared when you save." if said else "")

    def suggest(self, found: Suggestions) -> None:
        self._suggestions = found
        for field in self._fields.values():
            self._offer(field)

    def _field(self, attribute: Attribute) -> _Field:
        with ui.element("div").classes("field") as box:
            control = self._control(attribute)
            hint = note(policyform.hint_of(attribute), "hint")
            mistake = hidden_note("mistake").props("role=alert")
            control.props(f"aria-describedby='{hint.html_id} {mistake.html_id}'")
            for each in (hint, mistake):
                each.props(f"id={each.html_id}")
            if self._locked:
                control.disable()
            field = _Field(attribute=attribute, box=box, control=control, mistake=mistake)
            if attribute.form is Form.PAIRS:  # A kind of input as well, for NiceGUI.
                made = ui.element("div").classes("offers").props("role=group")
                field.options = made.props(f'aria-label="Columns for {attribute.called}"')
            elif isinstance(control, ui.input):
                field.options = ui.element("datalist").props(f"id={control.html_id}-datalist")
        return field

    def _control(self, attribute: Attribute) -> Any:
        label, value = attribute.called, self.values[attribute.name]
        told: Any = {"value": value, "on_change": lambda event: self._note(attribute.name, event.value)}
        if attribute.choices:
            note(label, "label")
            return ui.radio(attribute.choices, **told).props(f'aria-label="{label}" dense')
        if attribute.form is Form.FLAG:
            return ui.switch(label, **told)
        if attribute.form is Form.PAIRS:
            return ui.textarea(label, **told).props("outlined dense autogrow spellcheck=false")
        made = ui.input(label, **told).props(f"name={attribute.name}")
        return made.props("outlined dense spellcheck=false autocomplete=off autocapitalize=off")

    def _note(self, name: str, value: Any) -> None:
        if self._filling:
            return
        self.values[name] = "" if value is None else value
        self._touched.add(name)
        self.refresh()
        self.suggest(self._suggestions)  # What is offered for one may depend on another.
        self._changed()

    def _offer(self, field: _Field) -> None:
        if field.options is None or self._locked:
            return
        found = policyform.offered(field.attribute, self.values, self._suggestions)
        if found == field.offered:
            return
        field.offered = found
        with field.options.clear():
            if field.attribute.form is not Form.PAIRS:
                for text in found:
                    ui.element("option").props["value"] = text
                return

            # A field of several lines has no list of its own in a browser, so each column is a button that writes it.
            def write(text: str) -> None:
                field.control.set_value(text)
                field.control.run_method("focus")

            for text in found[:MOST]:
                ui.button(text.splitlines()[-1], on_click=partial(write, text)).props("outline dense no-caps size=13px")


def sentences(found: Preview) -> list[str]:
    return [sentence(loss) for loss in found.losses]


def sentence(loss: Loss) -> str:
    of = loss.amount
    counts = ((of.partitions or None, "archived partition" if loss.of_archive else "partition"), (of.rows, "row"))
    what = " with ".join(plural(count, noun) for count, noun in counts if count is not None) or "rows"
    verb = "is" if what.startswith("1 ") else "are"
    end = f"{verb} archived in {loss.archived}, and then deleted" if loss.archived else f"{verb} deleted for good"
    stays = "; what was computed from them stays" if loss.rolled_up and not loss.archived else ""
    return f"At the next run {what} of {loss.table}, {_stretch(of)}, {end}{stays}."


def _stretch(of: Amount) -> str:
    if of.end is None:
        return "of any time"
    if of.start is None:
        return f"before {words.moment(of.end)}"
    if of.end % DAY_MS:
        return f"{words.moment(of.start)} to {words.moment(of.end)}"
    first, last = words.moment(of.start)[:10], words.moment(of.end - 1)[:10]
    return first if first == last else f"{first} to {last}"


def show_effect(found: Preview) -> None:
    """Show what the next run would do with a policy, what is blocked, what contradicts what."""
    if found.if_enabled is not None:
        note("Nothing happens while this policy is disabled.", "sum")
        _others(found)
        note("This is what it would do if it were enabled:")
        found = found.if_enabled
    lost = sentences(found)
    for text in lost:
        note(text, "sum lost")
    if found.could_be_undone:
        name = policyform.FIELDS["recoverable"].called
        note(f"To be able to undo this for a while, set “{name}”: whole partitions are then archived first.")
    if not lost and found.plan.tasks:
        note(f"At the next run {plural(len(found.plan.tasks), 'task')} is done, and no data is deleted.", "sum")
    elif not lost:
        note("At the next run nothing is due.", "sum")
    if not found.policy.schedule:
        note("It has no schedule: it runs when a user starts a run.")
    _numbers(found)
    own, plan = found.policy.id, found.plan
    _list("Needs attention", [f"{h.table}: {h.why.about(own)}" for h in plan.blocked if h.needs_attention], "bad")
    _list("Contradictions", found.contradictions, "warn")
    _list("Blocked", [f"{h.table}: {h.why.about(own)}" for h in plan.blocked if not h.needs_attention], "warn")
    _list("What is done, and why", [f"{t.table}: {summarize(t)} ({t.why.about(own)})" for t in plan.tasks])
    _others(found)


def _numbers(found: Preview) -> None:
    whole, gone, cutoff = amount(found.plan.tasks), [loss.amount for loss in found.losses], found.after.plan.cutoff
    limit = found.policy.limit(from_ms(cutoff))
    budget = {"Expired is also what is above": found.policy.budget} if found.policy.budget else {}
    pairs = {
        "Expired is what is before": "nothing, ever" if limit is None else words.moment(limit),
        **budget,
        "Partitions": words.count(whole.partitions),
        "Rows": words.count(whole.rows),
        "Size": show_size(whole.size or None),
        "From": words.moment(min((each.start for each in gone if each.start is not None), default=None)),
        "To": words.moment(max((each.end for each in gone if each.end is not None), default=None)),
        "Partitions that stay": words.count(sum(each.partitions for each in found.plan.up_to_date)),
        "More is due": words.moment(found.plan.next_due),
        "As of": words.moment(cutoff),
    }
    facts(pairs.items())


def _others(found: Preview) -> None:
    _list("What changes for other policies", [text for other in found.others for text in other.lines], "warn")


def _list(title: str, lines: Sequence[str], tone: str = "") -> None:
    if lines:
        more = [f"and {len(lines) - MOST:,} more"] if len(lines) > MOST else []
        tag("h3", title, tone)
        with ui.element("ul"):
            for line in (*lines[:MOST], *more):
                tag("li", line)
