"""
All stored policies, with filters that stand in the address; what can be done about each: edit, copy, enable or disable,
delete; and policy files, which are checked first, and applied as they were shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from nicegui import events, ui

from cratedb_retention.errors import Conflict, InvalidInput, NotFound
from cratedb_retention.execution.overview.lines import Listing
from cratedb_retention.execution.plan.preview import Preview
from cratedb_retention.execution.policies import Action, Change
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.file import dump_policies, parse_policies
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import plural, short, write_pairs
from cratedb_retention.service.access import Scope
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.columns import Bit, Cell, Column, state
from cratedb_retention.ui.links import (
    STRATEGY,
    TAGS,
    Field,
    Query,
    filter_form,
    go,
    new_policy,
    read_selection,
    tag_bit,
)
from cratedb_retention.ui.parts import agreed, bar, button, heading, note, show_error
from cratedb_retention.ui.policies.effect import sentences
from cratedb_retention.ui.tables import table

PATH = "/policies"
Item = Damaged | StoredPolicy
# What sorts behind every number: forever, never.
_LAST = 1e18
_FIELDS = (Field(name="q", label="Search", hint="Table, description, …"), TAGS, STRATEGY)


async def show(guest: Guest, query: Query) -> None:
    page = PolicyList(guest, query)
    await page.load()
    if guest.may(Role.EDITOR):
        heading("Policies as a file")
        Import(guest, page.load)


class PolicyList:
    """The list, and what can be done about a policy in it."""

    def __init__(self, guest: Guest, wanted: Query) -> None:
        self._guest, self._wanted = guest, wanted
        self._asked = 0
        self._shown: list[Item] = []
        self._table: ui.table | None = None
        filter_form(PATH, _FIELDS, self._wanted, self._filter)
        editor = guest.may(Role.EDITOR)
        with bar():
            if editor:
                button("New policy", lambda: go(new_policy()))
            button("Export as YAML", self._export, "secondary")
            self._count = note("").props("role=status")
        with ui.element("div"):  # The actions stay in sight as long as the table does.
            self._actions = Actions(self._guest, self.load) if editor else None
            self._place = ui.element("div")

    async def _filter(self, wanted: Query) -> None:
        self._wanted = wanted
        await self.load()

    async def load(self, keep: str | None = None) -> None:
        """Show what there is now; the policy with the identifier ``keep`` stays chosen."""
        self._asked += 1
        mine, wanted = self._asked, self._wanted
        try:
            selection = read_selection(wanted)
        except InvalidInput as error:
            self._table, self._shown = None, []
            self._choose(None)
            self._count.text = ""
            with self._place.clear():
                show_error(error)
            return
        listing = await self._guest.ask(lambda scoped: scoped.listing(selection, wanted.get("q", "")))
        if mine == self._asked:  # Else they have typed on meanwhile.
            self._show(listing, keep)

    def _show(self, listing: Listing, keep: str | None) -> None:
        before = self._table.pagination if self._table and keep is not None else None
        self._shown = [*listing.damaged, *listing.policies]
        found = next((n for n, item in enumerate(self._shown) if item.id == keep), None)
        self._choose(found)
        said = plural(len(listing.policies), "policy", "policies")
        self._count.text = f"{said}, {len(listing.damaged):,} damaged" if listing.damaged else said
        self._table = None
        with self._place.clear():
            if self._shown:
                filtered = any(item.policy.where for item in listing.policies)
                columns = [column for column in _columns(listing) if filtered or column.label != "Where"]
                made = table(columns, self._shown, "Policies", named=_name, choose="single" if self._actions else None)
                self._table = made
                if found is not None and self._actions:
                    made.selected = [made.rows[found]]
                made.on_select(lambda event: self._choose(event.selection[0]["_"] if event.selection else None))
                if before and before.get("page"):
                    made.pagination = before
            elif any(field.text(self._wanted) for field in _FIELDS):
                note("No policy fits this filter.")
            else:
                make = " “New policy” makes the first one." if self._actions else ""
                note(f"There are no policies yet.{make}")

    def _choose(self, number: int | None) -> None:
        if self._actions is not None:
            self._actions.choose(None if number is None else self._shown[number])

    async def _export(self) -> None:
        text, selection = self._wanted.get("q", ""), read_selection(self._wanted)
        found = await self._guest.ask(lambda scoped: scoped.listing(selection, text).policies)
        ui.download.content(dump_policies(item.policy for item in found), "policies.yaml", "application/yaml")


def _name(item: Item) -> str:
    return f"damaged {item.id}" if isinstance(item, Damaged) else f"{item.policy.strategy} {item.policy.target}"


def _columns(listing: Listing) -> Sequence[Column[Item]]:
    def column(
        label: str,
        sound: Callable[[Policy], Cell],
        damaged: Callable[[Damaged], Cell] = lambda item: "",
        order: Callable[[Policy], float] | None = None,
    ) -> Column[Item]:
        """One for policies, and rows that are no valid policy, which are sorted before all others."""
        return Column(
            label,
            lambda item: damaged(item) if isinstance(item, Damaged) else sound(item.policy),
            order and (lambda item: -1 if isinstance(item, Damaged) else order(item.policy)),
        )

    def due(policy: Policy) -> float:
        time = listing.times.get(policy.id or "")
        return time.timestamp() if time else _LAST

    def kept(policy: Policy) -> float:
        return min(policy.retention_period.approximate_seconds(), _LAST)

    return [
        column("State", lambda p: state("enabled" if p.enabled else "disabled"), lambda d: state("damaged")),
        column("Strategy", lambda p: Bit(text=str(p.strategy), tone="whole"), lambda d: str(d.row["strategy"] or "")),
        column(
            "Table",
            lambda p: Bit(text=p.table, href=links.policy(p.id), hint="Look at this policy"),
            lambda d: str(d.target),
        ),
        column("Where", lambda p: Bit(text=write_pairs(p.where, "\n"), tone="many")),
        column("Kept for", _kept, lambda d: str(d.row["retention_period"] or ""), kept),
        column("Schedule", lambda p: _schedule(p, listing), order=due),
        column("Tags", lambda p: [tag_bit(each) for each in p.tags]),
        column(
            "Description",
            lambda p: Bit(text=p.description or "", tone="many"),
            lambda d: Bit(text=f"No valid policy: {d.reason}", tone="bad many"),
        ),
    ]


def _kept(policy: Policy) -> Cell:
    levels = "\n".join(f"{level.interval}: {level.retention_period}" for level in policy.levels)
    period = Bit(text=policy.kept, tone="whole")
    rollups = Bit(text=levels, tone="muted many line", hint="Rollups, and how long each is kept")
    recovery = Bit(text=policy.recovery or "", tone="muted line", hint="How long an undo is possible")
    more = [bit for bit in (recovery, rollups) if bit.text]
    return [period, *more] if more else period


def _schedule(policy: Policy, listing: Listing) -> Cell:
    if not policy.schedule:
        return Bit(text="by hand", tone="muted")
    named = Bit(text=policy.schedule, hint=f"Time zone {policy.time_zone}")
    time = listing.times.get(policy.id or "")
    if time is None:
        return named
    said = "due now" if time <= listing.now else f"next {words.moment(time)}"
    hint = f"{words.exact(time)} UTC, {words.ago(time, listing.now)}"
    return [named, Bit(text=said, tone="muted line whole", hint=hint)]


class Actions:
    """Buttons about the policy that is chosen; ``load`` loads the list again, see there."""

    def __init__(self, guest: Guest, load: Callable[[str | None], Awaitable[None]]) -> None:
        self._guest, self._load = guest, load
        self._chosen: Item | None = None
        self._hint = ui.label("Choose a policy to edit, copy, disable or delete it.").classes("muted")
        with bar().classes("chosen").props('role=group aria-label="The chosen policy"') as self._about:
            edit = button("Edit", lambda: self._go(links.policy), "secondary")
            copy = button("Copy", lambda: self._go(new_policy), "secondary")
            self._switch = button("Disable", self._switching, "secondary")
            button("Delete", self._deleting, "negative")
            self._looking = ui.label("Looking what the next run would do …").classes("muted").props("role=status")
            self._looking.set_visibility(False)
        self._sound = (edit, copy, self._switch)
        self.choose(None)

    def choose(self, item: Item | None) -> None:
        """Let the buttons be about a policy, or none."""
        self._chosen = item
        self._hint.set_visibility(item is None)
        self._about.set_visibility(item is not None)
        for each in self._sound:
            each.set_visibility(isinstance(item, StoredPolicy))
        enabled = not isinstance(item, StoredPolicy) or item.policy.enabled
        self._switch.set_text("Disable" if enabled else "Enable")

    def _go(self, where: Callable[[str], str]) -> None:
        if self._chosen:
            go(where(self._chosen.id))

    async def _switching(self) -> None:
        item = self._chosen
        if not isinstance(item, StoredPolicy):
            return
        wanted, named = not item.policy.enabled, _named(item.policy)
        action = "Enable" if wanted else "Disable"
        effect: str | Callable[[], None] = f"Runs skip it from now on. {item.policy.ends}"
        word, tone = "", "primary"
        if wanted:  # What the next run would do is shown; where it would delete data, a word has to be written.
            policy = item.policy.model_copy(update={"enabled": True})
            self._looking.set_visibility(True)
            try:
                found = await self._guest.ask(lambda scoped: scoped.preview(policy))
            finally:
                self._looking.set_visibility(False)
            effect = partial(show_effect, found)
            word, tone = (_word(item), "negative") if sentences(found) else ("", "primary")
        if await agreed(f"{action} {named}?", effect, action, word, tone=tone):
            await self._change(lambda scoped: scoped.change(item.id, {"enabled": wanted}, item.version), item.id)
            ui.notify(f"Now {action.lower()}d: {named}", type="positive")

    async def _deleting(self) -> None:
        item = self._chosen
        if item is None:
            return
        if isinstance(item, Damaged):
            version, word, what = None, short(item.id), "this row, which is no valid policy"
            effect = "Only the row of the policy table goes; no data is touched. No run obeys it anyway."
        else:
            version, word, what = item.version, _word(item), _named(item.policy)
            effect = f"Only the policy goes; no row is touched. {item.policy.ends}"
        if await agreed(f"Delete {what}?", effect, "Delete the policy", word):
            await self._change(lambda scoped: scoped.delete(item.id, version), None)
            ui.notify("The policy is deleted; data was not touched", type="positive")

    async def _change(self, work: Callable[[Scope], object], keep: str | None) -> None:
        """Change something; show what there is then, also where another user changed it."""
        try:
            await self._guest.ask(work)
        except (Conflict, NotFound):
            await self._load(keep)
            raise
        await self._load(keep)


def show_effect(found: Preview) -> None:
    """What the next run would do with a policy."""
    found = found.if_enabled or found
    for text in sentences(found) or ["Nothing is due at the next run."]:
        note(text, "sum lost")
    for text in found.contradictions:
        note(text)


def _named(policy: Policy) -> str:
    return f"the policy “{policy.strategy} {policy.target}”"


def _word(item: StoredPolicy) -> str:
    """What has to be written; a name that begins or ends with a blank can't be."""
    name = item.policy.table_name
    return name if name == name.strip() else short(item.id)


_FILE = "the file"
# What is done by a file, in the order in which it is shown.
_VERBS = {Action.DELETE: "delete", Action.UPDATE: "change", Action.CREATE: "create"}
# The upload is a form, which has some bytes besides the file.
_FORM = 4096


# What a file says, whether policies that it lacks are deleted, of which tags, and what changes by all that.
Checked = tuple[list[Policy], bool, TagFilter, list[Change]]


def _words(changes: Sequence[Change]) -> str:
    actions = [change.action for change in changes]
    verbs = (Action.CREATE, Action.UPDATE, Action.DELETE)
    said = ", ".join(f"{_VERBS[each]} {actions.count(each):,}" for each in verbs)
    return f"{said}, leave {actions.count(Action.KEEP):,} as they are"


class Import:
    """The form for a policy file, folded up at first; ``load`` loads the list of policies again."""

    def __init__(self, guest: Guest, load: Callable[[], Awaitable[None]]) -> None:
        self._guest, self._load = guest, load
        self._most = guest.context.limits.max_body
        self._checked: Checked | None = None
        with ui.expansion("Import a YAML file").classes("card import").props("header-class=folded"):
            note("A file as “Export as YAML” writes it. Nothing changes until you press “Apply”.")
            self._text = ui.textarea("Policy file (YAML)", on_change=self._changed)
            self._text.props("outlined debounce=300 spellcheck=false input-class=mono")
            upload = ui.upload(max_file_size=max(self._most - _FORM, 1), on_upload=self._taken, auto_upload=True)
            upload.on_rejected(lambda: self._fail(self._too_large()))
            upload.props('accept=".yaml,.yml,.json,text/plain" aria-hidden=true').classes("unseen")
            pick = f"() => getElement({upload.id}).pickFiles()"
            ui.button("Choose a file", color="secondary").props("no-caps unelevated").on("click", js_handler=pick)
            self._prune = ui.checkbox("Also delete policies that the file lacks", on_change=self._changed)
            self._tags = ui.input("… but only those with these tags", placeholder="any tags", on_change=self._changed)
            self._tags.props("outlined dense debounce=300").bind_visibility_from(self._prune, "value")
            with bar():
                button("Check", self._check)
                self._apply = button("Apply", self._applying, "secondary")
            self._place = ui.element("div").props("aria-live=polite")
        self._forget()

    async def _taken(self, event: events.UploadEventArguments) -> None:
        event.sender.reset()  # type: ignore[attr-defined]
        self._forget()
        try:
            self._text.value = (await event.file.read()).decode("utf-8-sig")
        except UnicodeDecodeError:
            self._fail(InvalidInput(_FILE, "not UTF-8 text", "save it as UTF-8"))

    def _fail(self, error: InvalidInput) -> None:
        self._forget()
        with self._place:
            show_error(error)

    def _too_large(self) -> InvalidInput:
        return InvalidInput(_FILE, f"no text file of at most {self._most} bytes", "see the setting http.max_body")

    def _changed(self) -> None:
        if (self._text.value, self._prune.value, self._tags.value) != self._seen:
            self._forget()

    def _forget(self) -> None:
        self._seen = self._text.value, self._prune.value, self._tags.value
        self._checked = None
        self._apply.set_visibility(False)
        self._place.clear()

    async def _check(self) -> None:
        self._forget()
        text, prune, tags = self._text.value or "", bool(self._prune.value), (self._tags.value or "").strip()
        try:
            if len(text.encode(errors="replace")) > self._most:
                raise self._too_large()
            wanted, chosen = parse_policies(text, _FILE), parse_tag_filter([tags] if prune and tags else [])
            found = await self._guest.ask(lambda scoped: scoped.apply(wanted, prune, chosen, dry_run=True))
        except InvalidInput as error:
            self._fail(error)
            return
        self._checked = wanted, prune, chosen, found
        changes = [change for action in _VERBS for change in found if change.action is action]
        self._apply.set_visibility(bool(changes))
        with self._place:
            note(f"The file would: {_words(found)}.", "summary")
            if changes:
                table(_CHANGES, changes, "What the file would change")

    async def _applying(self) -> None:
        checked = self._checked
        if checked is None:
            return
        gone = [_of_table(change) for change in checked[-1] if change.action is Action.DELETE]
        more = [f"… and {len(gone) - 10:,} more"] if len(gone) > 10 else []
        effect = ["Only policies go; no data is touched. From then on, no run obeys them:", *gone[:10], *more]
        question = f"Delete {plural(len(gone), 'policy', 'policies')}?"
        if gone and not await agreed(question, "\n".join(effect), "Apply the file", f"delete {len(gone)}"):
            return
        try:
            await self._guest.ask(lambda scoped: scoped.apply(*checked[:3], False, checked[3]))
        finally:
            self._forget()
            await self._load()
        ui.notify(f"Done: {_words(checked[-1])}", type="positive")


def _of_table(change: Change) -> str:
    policy = change.policy
    return f"{policy.strategy} of {policy.target}{f' ({short(policy.id)})' if policy.id else ''}"


def _differences(change: Change) -> Cell:
    lines = [f"{d.attribute}: {' → '.join(d.words if change.before else d.words[1:])}" for d in change.differences]
    return Bit(text="the whole policy" if change.action is Action.DELETE else "\n".join(lines), tone="many")


_CHANGES: Sequence[Column[Change]] = (
    Column("Would", lambda change: state(_VERBS[change.action])),
    Column("Policy", _of_table),
    Column("What changes", _differences),
)
