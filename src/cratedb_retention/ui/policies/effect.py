"""
What a policy would do in the next run, before it is saved: the same plan as that of a run (law 10), in a sentence for
each table that loses data, in numbers, and with what is blocked or contradicts other policies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from cratedb_retention.execution.plan.preview import Preview
from cratedb_retention.model import words
from cratedb_retention.model.plan.effect import Amount, Loss, amount, summarize, summary
from cratedb_retention.model.policies.form import FIELDS
from cratedb_retention.model.time import DAY_MS, from_ms
from cratedb_retention.model.words import plural, readable, short, show_size
from cratedb_retention.ui import links
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Child, Markup, el

# How many lines of a kind are shown, and up to how many tables that lose data each has a sentence in sight.
MOST, IN_SIGHT = 12, 3
_FOLDED = 50  # How many sentences there are in all.


def sentences(found: Preview) -> list[str]:
    """What the next run removes, a sentence for each table and way."""
    return [sentence(loss) for loss in found.losses]


def sentence(loss: Loss) -> str:
    of = loss.amount
    counts = ((of.partitions or None, "archived partition" if loss.of_archive else "partition"), (of.rows, "row"))
    first, *more = [plural(count, noun) for count, noun in counts if count is not None] or ["rows"]
    what = f"{first}{f' ({more[0]})' if more else ''} of {loss.table}"
    if loss.archived:
        them = "it" if what.startswith("1 ") else "them"
        return f"The next run archives {what} in {loss.archived}, then drops {them}{_stretch(of)}."
    stays = "; its rollups stay" if loss.rolled_up else ""
    return f"The next run permanently deletes {what}{_stretch(of)}{stays}."


def _stretch(of: Amount) -> str:
    """Which days, the last of which is the last that goes; empty if that is unknown."""
    if of.end is None:
        return ""
    if of.start is None:
        return f": before {words.moment(of.end)}"
    if of.end % DAY_MS:
        return f": {words.moment(of.start)} to {words.moment(of.end)}"
    first, last = words.moment(of.start)[:10], words.moment(of.end - 1)[:10]
    return f": {first}" if first == last else f": {first} to {last}"


def digest(found: Preview) -> str:
    """It identifies a policy and what it removes, so that only what was shown is confirmed."""
    gone = [(loss.table, loss.archived, loss.of_archive, loss.amount.partitions) for loss in found.losses]
    said = {**found.policy.to_dict(), "id": None}  # That of a new one is another one each time.
    return hashlib.sha256(json.dumps([said, gone]).encode()).hexdigest()[:16]


def headline(found: Preview) -> Iterator[Markup]:
    """What matters most, in sentences."""
    if found.if_enabled is not None:
        yield el("p", "Nothing happens while this policy is disabled.", class_="lead")
        yield parts.note("This is what it would do if it were enabled:")
        found = found.if_enabled
    tables = {task.table for task in found.plan.tasks}
    lost = [el("p", sentence(loss), class_="kept" if loss.archived else "lost") for loss in found.losses]
    if any(each.needs_attention for each in found.plan.blocked):
        yield el("p", "This policy needs attention: see below.", class_="lead bad")
    if len(tables) > 1:
        yield el("p", summary(found.plan), class_="lead")
    yield from lost[:IN_SIGHT]
    if len(lost) > IN_SIGHT:
        folded = (lost[IN_SIGHT:_FOLDED], parts.more(len(lost), _FOLDED))
        yield el("details", el("summary", f"and {len(lost) - IN_SIGHT:,} more"), folded)
    if not lost and found.plan.tasks:
        yield el("p", f"The next run does {plural(len(found.plan.tasks), 'task')}, and deletes no data.", class_="lead")
    elif not lost:
        yield el("p", "Nothing is due at the next run.", class_="lead")


def details(found: Preview) -> Iterator[Child]:
    """The numbers, what is blocked and why, and what contradicts what."""
    found = found.if_enabled or found
    if found.could_be_undone:
        name = FIELDS["recoverable"].called
        yield parts.note(
            f"To be able to undo this for a while, set “{name}”: whole partitions are then archived first."
        )
    yield parts.facts(_numbers(found))
    own, plan = found.policy.id, found.plan
    blocked = [(readable(f"{each.table}: {each.why.about(own)}"), each.needs_attention) for each in plan.blocked]
    yield _list("Needs attention", (text for text, bad in blocked if bad), "needs-attention")
    yield _list("Contradictions", (_linked(text, ids) for text, ids in found.conflicts.items()), "blocked")
    yield _list("Blocked", (text for text, bad in blocked if not bad), "blocked")
    others = (_linked(readable(text), (other.policy_id,)) for other in found.others for text in other.lines)
    yield _list("What changes for other policies", others, "blocked")
    tasks = [readable(f"{task.table}: {summarize(task)} ({task.why.about(own)})") for task in plan.tasks]
    if tasks:
        yield el("details", el("summary", f"{plural(len(tasks), 'task')}, and why"), _lines(tasks))


def _numbers(found: Preview) -> Iterable[tuple[str, Child]]:
    whole, cutoff = amount(found.plan.tasks), found.after.plan.cutoff
    limit, verb = found.policy.limit(from_ms(cutoff)), found.policy.strategy.traits.verb
    return {
        f"{words.capitalized(verb)}s data older than": "never" if limit is None else words.moment(limit),
        "Or above": found.policy.budget,
        "Partitions": words.count(whole.partitions or None),
        "Rows": words.count(whole.rows),
        "Size": show_size(whole.size or None),
        "Partitions kept": words.count(sum(each.partitions for each in found.plan.up_to_date) or None),
        "Next expiry": words.moment(found.plan.next_due),
        "As of": words.moment(cutoff),
    }.items()


def _list(title: str, lines: Iterable[Child], tone: str) -> Markup | None:
    found = list(lines)
    return el("div", el("h3", title), _lines(found), class_=f"why is-{tone}") if found else None


def _lines(lines: Sequence[Child]) -> Markup:
    more = [f"and {len(lines) - MOST:,} more"] if len(lines) > MOST else []
    return el("ul", (el("li", line) for line in (*lines[:MOST], *more)))


def _linked(text: str, policies: Iterable[str]) -> Child:
    """A line about other policies, with links to them."""
    found = [el("a", f"Policy {short(each)}", href=links.policy(each), title=each) for each in policies if each]
    return text, [(" ", each) for each in found]
