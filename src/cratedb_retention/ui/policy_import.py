"""
Policies as code, in the browser: a YAML file is checked first, and applied as it was shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import events, ui

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.policies import Action, Change
from cratedb_retention.model.policy import Difference, Policy
from cratedb_retention.model.policyfile import parse_policies
from cratedb_retention.model.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.words import plural, short
from cratedb_retention.ui.agreeing import confirmed
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.parts import Bit, Cell, Column, button, note, show_error, state, table

_NAME = "the file"
_COLUMNS = (Column("action", "Would"), Column("policy", "Policy"), Column("differences", "What changes"))
_ORDER = {Action.DELETE: 0, Action.UPDATE: 1, Action.CREATE: 2, Action.KEEP: 3}
_VERBS = {Action.CREATE: "create", Action.UPDATE: "change", Action.DELETE: "delete"}
# The upload is a form, which has some bytes besides the file.
_FORM = 4096


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """A file that was checked, and what it would change."""

    wanted: list[Policy]
    prune: bool
    tags: TagFilter
    changes: list[Change]

    def of(self, action: Action) -> list[Change]:
        """The changes of one kind."""
        return [change for change in self.changes if change.action is action]


class Import:
    """
    The form for a policy file.

    :param load: Loads the list of policies anew.
    """

    def __init__(self, guest: Guest, load: Callable[[], Awaitable[None]]) -> None:
        self._guest, self._load = guest, load
        self._most = guest.context.limits.body
        self._checked: _Checked | None = None

    def build(self) -> None:
        """Make the form, folded up at first."""
        with ui.expansion("Import a YAML file").classes("card import").props("header-class=folded"):
            note("A file as “Export as YAML” writes it. Nothing changes until you press “Apply”.")
            self._text = ui.textarea("Policy file (YAML)", on_change=self._changed)
            self._text.props("outlined debounce=300 spellcheck=false input-class=mono")
            self._uploader()
            self._prune = ui.checkbox("Also delete policies that the file lacks", on_change=self._changed)
            self._tags = ui.input("… but only those with these tags", placeholder="any tags", on_change=self._changed)
            self._tags.props("outlined dense debounce=300").bind_visibility_from(self._prune, "value")
            with ui.element("div").classes("bar"):
                button("Check", self._check)
                self._apply = button("Apply", self._applying, "secondary")
            self._place = ui.element("div").props("aria-live=polite")
        self._forget()

    def _uploader(self) -> None:
        upload = ui.upload(
            max_file_size=max(self._most - _FORM, 1), on_upload=self._taken, on_rejected=self._refused, auto_upload=True
        )
        upload.props('accept=".yaml,.yml,.json,text/plain" aria-hidden=true').classes("unseen")
        pick = f"() => getElement({upload.id}).pickFiles()"
        ui.button("Choose a file", color="secondary").props("no-caps unelevated").on("click", js_handler=pick)

    async def _taken(self, event: events.UploadEventArguments) -> None:
        event.sender.reset()  # type: ignore[attr-defined]
        self._forget()
        try:
            self._text.value = (await event.file.read()).decode("utf-8-sig")
        except UnicodeDecodeError:
            with self._place:
                show_error(InvalidInput(_NAME, "not UTF-8 text", "save it as UTF-8"))

    def _refused(self) -> None:
        self._forget()
        with self._place:
            show_error(self._too_large())

    def _too_large(self) -> InvalidInput:
        return InvalidInput(_NAME, f"no text file of at most {self._most} bytes", "see the setting http.max_body")

    def _state(self) -> tuple[object, ...]:
        return self._text.value, self._prune.value, self._tags.value

    def _changed(self) -> None:
        """Browsers say it again, late, what they were told themselves: that is no change of what was checked."""
        if self._state() != self._seen:
            self._forget()

    def _forget(self) -> None:
        """What was checked is not what is there now."""
        self._seen = self._state()
        self._checked = None
        self._apply.set_visibility(False)
        self._place.clear()

    async def _check(self) -> None:
        self._forget()
        try:
            self._checked = await self._ask()
        except InvalidInput as error:
            with self._place:
                show_error(error)
            return
        self._apply.set_visibility(any(c.action is not Action.KEEP for c in self._checked.changes))
        with self._place:
            _show(self._checked)

    async def _ask(self) -> _Checked:
        text, prune, tags = self._text.value or "", bool(self._prune.value), (self._tags.value or "").strip()
        if len(text.encode(errors="replace")) > self._most:
            raise self._too_large()
        wanted, chosen = parse_policies(text, _NAME), parse_tag_filter([tags] if prune and tags else [])
        changes = await self._guest.ask(lambda scoped: scoped.apply(wanted, prune, chosen, dry_run=True))
        return _Checked(wanted=wanted, prune=prune, tags=chosen, changes=changes)

    async def _applying(self) -> None:
        checked = self._checked
        if checked is None or not await _agreed(checked):
            return
        try:
            await self._guest.ask(
                lambda scoped: scoped.apply_shown(checked.wanted, checked.prune, checked.tags, checked.changes)
            )
        finally:
            self._forget()
            await self._load()
        ui.notify(f"Done: {_summary(checked)}", type="positive")


async def _agreed(checked: _Checked) -> bool:
    """Ask where policies are deleted."""
    gone = checked.of(Action.DELETE)
    if not gone:
        return True
    names = "\n".join(_named(change.policy) for change in gone[:10])
    more = f"\n… and {len(gone) - 10:,} more" if len(gone) > 10 else ""
    effect = f"Only policies go; no data is touched. From then on, no run obeys them:\n{names}{more}"
    return await confirmed(
        f"Delete {plural(len(gone), 'policy', 'policies')}?", effect, f"delete {len(gone)}", "Apply the file"
    )


def _show(checked: _Checked) -> None:
    note(f"The file would: {_summary(checked)}.", "summary")
    changes = sorted((c for c in checked.changes if c.action is not Action.KEEP), key=lambda c: _ORDER[c.action])
    if changes:
        table(_COLUMNS, map(_row, changes), "What the file would change")


def _row(change: Change) -> dict[str, Cell]:
    lines = "\n".join(_line(each, change) for each in change.differences)
    return {
        "action": state(_VERBS[change.action]),
        "policy": _named(change.policy),
        "differences": Bit(text=lines if change.action is not Action.DELETE else "the whole policy", tone="many"),
    }


def _line(each: Difference, change: Change) -> str:
    return f"{each.attribute}: {' → '.join(each.words if change.before else each.words[1:])}"


def _named(policy: Policy) -> str:
    identifier = f" ({short(policy.id)})" if policy.id else ""
    return f"{policy.strategy} of {policy.target}{identifier}"


def _summary(checked: _Checked) -> str:
    said = [f"{verb} {len(checked.of(action)):,}" for action, verb in _VERBS.items()]
    return f"{', '.join(said)}, leave {len(checked.of(Action.KEEP)):,} as they are"
