"""
Policy files: what a file would change is shown first, and then exactly that is done. What would let data go is
confirmed by typing a word.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile

from cratedb_retention.errors import Conflict, InvalidInput, RetentionError
from cratedb_retention.execution.policies import Action, Change
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.tags import TagFilter, parse_tag_filter
from cratedb_retention.service.access import Scope
from cratedb_retention.service.http.access import context_of
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest, answer, read_texts, respond
from cratedb_retention.ui.columns import Bit, Cell, Column, state
from cratedb_retention.ui.links import PREFIX, TAGS
from cratedb_retention.ui.policies.bulk import show_effect
from cratedb_retention.ui.web import layout, parts
from cratedb_retention.ui.web.html import Child, Markup, el

ROUTER = APIRouter(include_in_schema=False)
PATH = f"{PREFIX}/policy-file"
_NAME = "the file"
# What is done by a file, in the order in which it is shown.
_VERBS = {Action.DELETE: "delete", Action.UPDATE: "change", Action.CREATE: "create"}


@ROUTER.get(PATH)
def show(request: Request) -> Response:
    def page(guest: Guest, scoped: Scope) -> Response:
        guest.access.require(Role.EDITOR)
        given = {"text": scoped.suggest(None, enabled=False)} if request.query_params.get("suggest") else {}
        return _page(request, guest, given)

    return respond(request, page)


@ROUTER.post(PATH)
async def act(request: Request) -> Response:
    """Check a file, or apply it. That it came from a page of this service, the gate has checked."""
    async with request.form(max_part_size=context_of(request).limits.max_body) as form:
        upload = form.get("file")
        content = await upload.read() if isinstance(upload, UploadFile) and upload.size else None
    return await asyncio.to_thread(respond, request, lambda guest, scoped: _act(request, guest, scoped, form, content))


def _act(request: Request, guest: Guest, scoped: Scope, form: FormData, content: bytes | None) -> Response:
    given = read_texts(form)
    checked: _Checked | None = None

    def work() -> str | Response:
        nonlocal checked
        if content is not None:
            given["text"] = _decoded(content)
        checked = _check(scoped, given)
        if given.get("do") != "apply":
            return _page(request, guest, given, checked)
        if given.get("shown") != checked.digest:
            raise Conflict("what the file would change", "is not what was shown", "check it again")
        if checked.word:
            parts.require_word(given, checked.word)
        scoped.apply(checked.wanted, checked.prune, checked.tags, False, list(checked.changes))
        return links.policies(done=f"applied.{len(checked.changed)}")

    return answer(work, lambda error: _page(request, guest, given, checked, error))


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(_NAME, "not UTF-8 text", "save it as UTF-8") from None


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What a file says, with the choices about it, and what would change by that."""

    wanted: Sequence[Policy]
    prune: bool
    tags: TagFilter
    changes: Sequence[Change]
    effect: Child
    tasks: Child
    word: str  # It confirms the effect; empty if no data goes.

    @property
    def changed(self) -> list[Change]:
        return [change for action in _VERBS for change in self.changes if change.action is action]

    @property
    def digest(self) -> str:
        """It identifies what would change, and from what."""

        def plain(change: Change) -> str:
            states = (policy and policy.to_dict() for policy in (change.before, change.after))
            return json.dumps([change.action, *states], sort_keys=True)

        return parts.digest(map(plain, self.changes))

    @property
    def summary(self) -> str:
        actions = [change.action for change in self.changes]
        verbs = (Action.CREATE, Action.UPDATE, Action.DELETE)
        said = ", ".join(f"{_VERBS[each]} {actions.count(each):,}" for each in verbs)
        return f"The file would {said}, and leave {actions.count(Action.KEEP):,} unchanged."


def _check(scoped: Scope, given: Mapping[str, str]) -> _Checked:
    """Raises InvalidInput if the file is not a policy file; nothing is changed."""
    prune, tags = bool(given.get("prune")), given.get("tags", "").strip()
    wanted, chosen = parse_policies(given.get("text", ""), _NAME), parse_tag_filter([tags] if prune and tags else [])
    changes = scoped.apply(wanted, prune, chosen, dry_run=True)
    then = [policy for change in changes if (policy := _then(change)) is not None]
    effect, tasks, word = show_effect(scoped.gained(then) if then else None, "apply")
    return _Checked(wanted=wanted, prune=prune, tags=chosen, changes=changes, effect=effect, tasks=tasks, word=word)


def _then(change: Change) -> Policy | None:
    """The policy as it is after a change, for a preview: one that is deleted does as little as one that is disabled."""
    if change.action is Action.KEEP:
        return None
    if change.action is Action.DELETE:
        return change.policy.model_copy(update={"enabled": False})
    return change.policy if change.policy.id else change.policy.model_copy(update={"id": str(uuid.uuid4())})


def _page(
    request: Request,
    guest: Guest,
    given: Mapping[str, str],
    checked: _Checked | None = None,
    error: RetentionError | None = None,
) -> Response:
    guest.access.require(Role.EDITOR)
    crumbs = el("nav", el("a", "Policies", href=links.policies()), class_="crumbs", aria_label="Breadcrumb")
    top = el("div", el("div", crumbs, el("h1", "Import policies")), class_="top")
    problem = parts.problem(error) if error else None
    panel = el("div", problem, _form(given), _result(given, checked) if checked else None, id="panel")
    status = error.http_status if error else HTTPStatus.OK
    return layout.page(request, "Import policies", top, panel, who=guest.who, here="/policies", status=status)


def _form(given: Mapping[str, str]) -> Markup:
    text = el("textarea", given.get("text", ""), name="text", rows=16, spellcheck="false", class_="mono")
    chosen = el("input", type="file", name="file", accept=".yaml,.yml,.json,text/plain")
    prune = el("input", type="checkbox", name="prune", value="yes", checked=bool(given.get("prune")))
    return el(
        "form",
        parts.hidden({"do": "check"}),
        el("p", "A file as “Export (YAML)” writes it. Nothing changes before you apply it.", class_="note"),
        el("label", el("span", "A file"), chosen, class_="field wide"),
        el("label", el("span", "… or its text (YAML or JSON)"), text, class_="field wide"),
        el("label", prune, "Also delete policies that the file lacks", class_="every"),
        parts.field("tags", "… but only those with these tags", given.get("tags", ""), TAGS.hint, "wide"),
        el("div", el("button", "Check", type="submit", class_="primary"), class_="ends"),
        method="post",
        enctype="multipart/form-data",
        class_="card form",
    )


def _result(given: Mapping[str, str], checked: _Checked) -> Markup:
    """What the file would change, and a form that does exactly that."""
    changed = checked.changed
    rows = parts.first_rows(_CHANGES, changed, "What the file would change") if changed else None
    kept = {name: given.get(name, "") for name in ("text", "prune", "tags")}
    form = parts.form(
        "apply",
        parts.hidden({**kept, "shown": checked.digest}),
        el("p", checked.summary),
        checked.effect,
        parts.confirmation(checked.word) if checked.word else None,
        action="Apply the file",
        tone="danger" if checked.word else "primary",
        focus=not checked.word,
    )
    shown = form if changed else parts.note(checked.summary)
    return parts.section("What would change", rows, checked.tasks, shown, identifier="result")


def _policy(change: Change) -> Cell:
    href = links.policy(change.stored.id) if change.stored else ""
    return Bit(text=change.policy.title, href=href, tone="whole", hint=change.policy.rule)


def _differences(change: Change) -> Cell:
    lines = [
        f"{each.attribute}: {' → '.join(each.words if change.before else each.words[1:])}"
        for each in change.differences
    ]
    return Bit(text=change.policy.ends if change.action is Action.DELETE else "\n".join(lines), tone="many")


_CHANGES: Sequence[Column[Change]] = (
    Column("Would", lambda change: state(_VERBS[change.action])),
    Column("Policy", _policy),
    Column("What changes", _differences),
)
