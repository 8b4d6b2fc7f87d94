"""
What the next run would do with a policy, in words: what leaves the tables, what is held, what contradicts what.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from cratedb_retention.execution.preview import Preview
from cratedb_retention.model import words
from cratedb_retention.model.effect import Amount, Loss, amount, next_due, summarize
from cratedb_retention.model.time import from_ms
from cratedb_retention.model.words import plural, show_size
from cratedb_retention.ui.parts import note

# More are counted only.
MOST = 12


def sentences(found: Preview) -> list[str]:
    """What leaves the tables at the next run."""
    return [sentence(loss) for loss in found.losses]


def sentence(loss: Loss) -> str:
    """What leaves a table, in a sentence."""
    of = loss.amount
    rows = "" if of.rows is None else plural(of.rows, "row")
    what = plural(of.partitions, "partition") if of.partitions else rows or "rows"
    if of.partitions and rows:
        what += f" with {rows}"
    verb = "is" if what.startswith("1 ") else "are"
    if loss.archived:
        end = f"{verb} archived in {loss.archived}, and then deleted"
    elif loss.rolled_up:
        end = f"{verb} deleted for good; what was computed from them stays"
    else:
        end = f"{verb} deleted for good"
    return f"At the next run {what} of {loss.table}, {_stretch(of)}, {end}."


def _stretch(of: Amount) -> str:
    if of.end is None:
        return "of any time"
    last = words.moment(of.end - 1)[:10]
    if of.start is None:
        return f"before {words.moment(of.end)}"
    first = words.moment(of.start)[:10]
    if from_ms(of.end).strftime("%H%M%S") != "000000":
        return f"{words.moment(of.start)} to {words.moment(of.end)}"
    return first if first == last else f"{first} to {last}"


def show_effect(found: Preview) -> None:
    """Show it."""
    if found.if_enabled is None:
        _show(found)
        return
    note("Nothing happens while this policy is disabled.", "sum")
    _others(found)
    note("This is what it would do if it were enabled:")
    _show(found.if_enabled)


def _show(found: Preview) -> None:
    lost = sentences(found)
    for text in lost:
        note(text, "sum lost")
    if not lost:
        note(_nothing_lost(found), "sum")
    if not found.policy.schedule:
        note("It has no schedule: the next run is when somebody starts one.")
    _facts(found)
    _list("Problems", [f"{hold.table}: {found.told(hold.why)}" for hold in found.holds if hold.problem], "bad")
    _list("Contradictions", found.contradictions, "warn")
    _list("Held", [f"{hold.table}: {found.told(hold.why)}" for hold in found.holds if not hold.problem], "warn")
    tasks = [f"{task.table}: {summarize(task)} ({found.told(task.why)})" for task in found.tasks]
    _list("What is done, and why", tasks)
    _others(found)


def _nothing_lost(found: Preview) -> str:
    if found.tasks:
        return f"At the next run {plural(len(found.tasks), 'task')} is done, and no data is deleted."
    return "At the next run nothing is due."


def _facts(found: Preview) -> None:
    whole, gone = amount(found.tasks), [loss.amount for loss in found.losses]
    limit, due = found.policy.limit(from_ms(found.after.plan.cutoff)), next_due(found.own.plan)
    facts = {
        "Expired is what is before": "nothing, ever" if limit is None else words.moment(limit),
        "Partitions": words.count(whole.partitions),
        "Rows": words.count(whole.rows),
        "Size": show_size(whole.size or None),
        "From": words.moment(min((each.start for each in gone if each.start is not None), default=None)),
        "To": words.moment(max((each.end for each in gone if each.end is not None), default=None)),
        "Partitions that stay": words.count(sum(kept.partitions for kept in found.kept)),
        "More is due": words.moment(due),
        "As of": words.moment(found.after.plan.cutoff),
    }
    with ui.element("dl").classes("facts"):
        for name, value in facts.items():
            if value:
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(value)


def _others(found: Preview) -> None:
    _list("What changes for other policies", [text for other in found.others for text in other.lines], "warn")


def _list(title: str, lines: Sequence[str], tone: str = "") -> None:
    if not lines:
        return
    with ui.element("h3").classes(tone):
        ui.label(title)
    with ui.element("ul"):
        for line in lines[:MOST]:
            with ui.element("li"):
                ui.label(line)
        if len(lines) > MOST:
            with ui.element("li"):
                ui.label(f"and {len(lines) - MOST:,} more")
