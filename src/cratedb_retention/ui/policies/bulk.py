"""
What can be done about policies that are chosen in the list. What would let data go is shown first, and confirmed by
typing a word; deleting asks first as well. Everything else is done at once, in the versions that were shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.responses import Response
from starlette.datastructures import FormData

from cratedb_retention.errors import Conflict, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.plan.preparing import Prepared, Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.plan.effect import group_tasks
from cratedb_retention.model.policies.file import dump_policies
from cratedb_retention.model.policies.form import read_list
from cratedb_retention.model.policies.policy import ATTRIBUTES
from cratedb_retention.model.words import plural, short
from cratedb_retention.service.access import Scope
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.access import chosen_action
from cratedb_retention.ui.links import Query, address
from cratedb_retention.ui.plan import in_words, task_columns
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Child, Markup, el

Item = Damaged | StoredPolicy
# A policy with its new values; None: it is deleted.
Change = tuple[Item, Mapping[str, Any] | None]
MOST = 200  # Policies whose identifiers an address can have.
_LISTED = 10  # Policies that a question names.


def key(item: Item) -> str:
    """A policy in its version, for a form."""
    return f"{item.version if isinstance(item, StoredPolicy) else 0}:{item.id}"


def title(item: Item) -> str:
    return item.policy.title if isinstance(item, StoredPolicy) else f"damaged {short(item.id)}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Policies that were chosen in the list, as they were shown, and what was filled in about them."""

    scoped: Scope
    items: Sequence[Item]
    given: Mapping[str, str]
    back: str  # The address of the list.
    all: str = ""  # If all that match were chosen: what identifies these.

    @property
    def policies(self) -> list[StoredPolicy]:
        """Raises InvalidInput if a row that is not a valid policy was chosen."""
        for item in self.items:
            if isinstance(item, Damaged):
                raise InvalidInput(title(item), "is not a valid policy", "it can only be deleted")
        return [item for item in self.items if isinstance(item, StoredPolicy)]

    @property
    def hidden(self) -> list[Markup]:
        """The same choice in another form."""
        if self.all:
            return parts.hidden({"all": "yes", "matching": self.all})
        return [el("input", type="hidden", name="chosen", value=key(item)) for item in self.items]


def read_chosen(
    scoped: Scope, form: FormData, given: Mapping[str, str], matching: Callable[[], Sequence[Item]], back: str
) -> Choice:
    """
    What a form of the list chooses.

    :param matching: The policies that match the filters of the list now.
    :raises InvalidInput: if it chooses nothing; :class:`Conflict` if something of it was changed since it was shown.
    """
    if given.get("all"):
        items, shown = matching(), given.get("matching", "")
        if parts.digest(map(key, items)) != shown:
            raise Conflict("the list", "has changed since it was shown", "check it again")
        return Choice(scoped=scoped, items=items, given=given, back=back, all=shown)
    stored, damaged = scoped.policies(Selection())
    known: dict[str, Item] = {row.id: row for row in damaged} | {item.id: item for item in stored}
    chosen = [text for text in form.getlist("chosen") if isinstance(text, str)]
    if not chosen:
        raise InvalidInput("policies", "none is chosen", "choose at least one")
    items = []
    for text in dict.fromkeys(chosen):
        identifier = text.partition(":")[2]
        if identifier not in known:
            raise NotFound(f"policy {short(identifier)}", "does not exist any more", "check the list again")
        if key(known[identifier]) != text:
            which = f"policy {title(known[identifier])}"
            raise Conflict(which, "another user has changed it in the meantime", "check it again")
        items.append(known[identifier])
    return Choice(scoped=scoped, items=items, given=given, back=back)


@dataclass(frozen=True)
class Question:
    """What has to be confirmed first; by typing a word where data would go."""

    markup: Markup
    word: str


@dataclass(frozen=True, kw_only=True)
class Deed:
    """
    :param label: Of its button; ``done``: what is true of the policies then.
    :param respond: What it leads to, if it changes nothing.
    :param changes: What it changes.
    :param effect: What the next run would do then in addition; None: nothing that is worth a look.
    :param asks: Whether it asks in any case; ``fields``: what is to be filled in.
    """

    label: str
    role: Role = Role.EDITOR
    tone: str = ""
    done: str = ""
    respond: Callable[[Choice], str | Response] | None = None
    changes: Callable[[Choice], Sequence[Change]] = lambda choice: ()
    effect: Callable[[Choice], Prepared | None] = lambda choice: None
    asks: bool = False
    fields: Callable[[Choice], Child] | None = None

    def question(self, choice: Choice) -> Question | None:
        """What has to be asked before; None: nothing."""
        fields = self.fields(choice) if self.fields else None
        label, one = self.label.removesuffix(" …"), len(choice.items) == 1
        effect, tasks, word = show_effect(self.effect(choice), label.lower())
        if not (self.asks or word):
            return None
        what = f"“{title(choice.items[0])}”" if one else plural(len(choice.items), "policy", "policies")
        form = parts.form(
            choice.given.get("do", ""),
            choice.hidden,
            parts.hidden({"sure": "yes"}),
            None if one and not self.tone else el("ul", self._listed(choice), class_="reasons"),
            fields,
            effect,
            parts.confirmation(word, focus=fields is None) if word else None,
            action=label,
            tone="danger" if word or self.tone else "primary",
            back=choice.back,
            focus=not word and fields is None,
        )
        heading = f"{label} {what}?" if fields is None else f"{label} of {what}"
        return Question(parts.section(heading, form, tasks, identifier="question"), word)

    def _listed(self, choice: Choice) -> Iterator[Markup]:
        """The policies, and what ends with them."""
        for item in choice.items[:_LISTED]:
            ends = item.policy.ends if self.tone and isinstance(item, StoredPolicy) else ""
            name = el("a", title(item), href=links.policy(item.id)) if isinstance(item, StoredPolicy) else title(item)
            yield el("li", name, el("span", f" {ends}", class_="muted") if ends else None)
        if len(choice.items) > _LISTED:
            yield el("li", f"and {len(choice.items) - _LISTED:,} more")

    def do(self, choice: Choice) -> int:
        """Make the changes; returns their number."""
        changes = self.changes(choice)
        if not changes:
            raise InvalidInput("policies", f"nothing to change: they {self.done} already", "choose others")
        for number, (item, values) in enumerate(changes):
            try:
                if values is None:
                    choice.scoped.delete(item.id, item.version if isinstance(item, StoredPolicy) else None)
                else:
                    choice.scoped.change(item.id, values, item.version)
            except RetentionError as error:
                if number == 0:
                    raise
                reason = f"{error.reason}; {number:,} of {len(changes):,} {self.done} already"
                raise Conflict(error.thing, reason, error.remedy) from None
        return len(changes)


def show_effect(found: Prepared | None, several: str) -> tuple[Child, Child, str]:
    """
    What the next run would do, in words and as a table; and the word that confirms it: the name of the table whose data
    goes, or the word for several tables; empty if no data goes.
    """
    if found is None or not found.plan.tasks:
        return None, None, ""
    text, word = in_words(found.plan, several)
    caption, groups = "What the next run would do then", group_tasks(found.plan.tasks)
    tasks = parts.first_rows(task_columns(found.policies), groups, caption)
    said = el("p", text.replace("This run", "Then the next run", 1), class_="many")
    return said, tasks, word if word == word.strip() else several  # A name that begins with a blank can't be typed.


def write(items: Sequence[Item]) -> Response:
    """Policies as a file."""
    text = dump_policies(item.policy for item in items if isinstance(item, StoredPolicy))
    headers = {"Content-Disposition": "attachment; filename=policies.yaml"}
    return Response(text, media_type="application/yaml", headers=headers)


def _run(choice: Choice) -> str:
    """The plan of the policies, which a run then executes."""
    found = choice.policies
    if len(found) > MOST:
        raise InvalidInput("policies", f"{len(found):,} are chosen", f"choose at most {MOST}, or run a plan by tags")
    return address("/plan", Query([("policy", item.id) for item in found]))


def _switched(enabled: bool) -> Callable[[Choice], list[Change]]:
    return lambda choice: [(it, {"enabled": enabled}) for it in choice.policies if it.policy.enabled is not enabled]


def _enabling(choice: Choice) -> Prepared | None:
    found = [item.policy for item in choice.policies if not item.policy.enabled]
    return choice.scoped.gained([policy.model_copy(update={"enabled": True}) for policy in found]) if found else None


def _ending(choice: Choice) -> Prepared | None:
    """What becomes possible without the policies: those that archive or roll up protect data from others."""
    found = [item.policy for item in choice.items if isinstance(item, StoredPolicy) and item.policy.enabled]
    if not any(policy.archives or policy.strategy.traits.rolls_up for policy in found):
        return None
    return choice.scoped.gained([policy.model_copy(update={"enabled": False}) for policy in found])


def _deleted(choice: Choice) -> list[Change]:
    return [(item, None) for item in choice.items]


def _schedule_field(choice: Choice) -> Child:
    known = {item.policy.schedule or "" for item in choice.policies}
    value = choice.given.get("schedule", known.pop() if len(known) == 1 else "")
    examples = ", ".join(map(str, ATTRIBUTES["schedule"].examples))
    note = f"A cron expression, or one of {examples}. Empty: only by hand. Each policy keeps its time zone."
    return parts.field("schedule", "Schedule", value, "@daily", focus=True), el("p", note, class_="note")


def _scheduled(choice: Choice) -> list[Change]:
    schedule = choice.given.get("schedule", "").strip() or None
    return [(item, {"schedule": schedule}) for item in choice.policies if item.policy.schedule != schedule]


def _starting(choice: Choice) -> Prepared | None:
    """What policies do that so far ran only by hand."""
    found = frozenset(item.id for item in choice.policies if item.policy.enabled and not item.policy.schedule)
    return choice.scoped.prepare(Selection(policy_ids=found)) if found else None


def _tag_fields(choice: Choice) -> Child:
    known = sorted({tag for item in choice.policies for tag in item.policy.tags})
    note = f"Present tags: {', '.join(known)}." if known else "They have no tags."
    return (
        parts.field("add", "Add tags", choice.given.get("add", ""), "acme, web", focus=True),
        parts.field("remove", "Remove tags", choice.given.get("remove", ""), "old"),
        el("p", note, class_="note"),
    )


def _tagged(choice: Choice) -> list[Change]:
    more, fewer = (read_list(choice.given.get(name, "")) for name in ("add", "remove"))
    found: list[Change] = []
    for item in choice.policies:
        tags = sorted({*item.policy.tags, *more} - set(fewer))
        if tuple(tags) != item.policy.tags:
            found.append((item, {"tags": tags}))
    return found


DEEDS: Mapping[str, Deed] = {
    # The first one is what the Enter key presses, so it changes nothing.
    "run": Deed(label="Run now …", role=Role.OPERATOR, respond=_run),
    "enable": Deed(label="Enable", done="are enabled", changes=_switched(True), effect=_enabling),
    "disable": Deed(label="Disable", done="are disabled", changes=_switched(False), effect=_ending),
    "schedule": Deed(
        label="Schedule …",
        done="have this schedule",
        changes=_scheduled,
        effect=_starting,
        asks=True,
        fields=_schedule_field,
    ),
    "tags": Deed(label="Tags …", done="have these tags", changes=_tagged, asks=True, fields=_tag_fields),
    "export": Deed(label="Export", role=Role.OPERATOR, respond=lambda choice: write(choice.policies)),
    "delete": Deed(label="Delete …", tone="risky", done="are deleted", changes=_deleted, effect=_ending, asks=True),
}
_DONE = {
    "enable": "{} enabled.",
    "disable": "{} disabled: runs skip disabled policies.",
    "schedule": "{} with a new schedule.",
    "tags": "{} with new tags.",
    "delete": "{} deleted. No data was touched.",
    "applied": "The file is applied: {} changed.",
}


def find(given: Mapping[str, str]) -> Deed:
    """What a form asks for; raises InvalidInput if that is none."""
    return chosen_action(DEEDS, given)


def said(done: str) -> str:
    """What was done, as the address has it; empty if nothing was."""
    name, _, count = done.partition(".")
    known = name in _DONE and count.isascii() and count.isdigit() and len(count) < 8
    return _DONE[name].format(plural(int(count), "policy", "policies")) if known else ""
