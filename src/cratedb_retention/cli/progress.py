"""
Shows a run while it happens: a progress bar on a terminal, plain lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from cratedb_retention.cli.output import console, visible
from cratedb_retention.execution.events import (
    Held,
    LeftOut,
    Observer,
    RunEndedEarly,
    RunEvent,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
    TakenOver,
    TaskSkipped,
)
from cratedb_retention.model.plan import Task
from cratedb_retention.model.runs import Report
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural, short, show_size


@contextmanager
def observer(quiet: bool) -> Iterator[Observer]:
    """Yield a function that shows events; quiet where the output is data."""
    if quiet:
        yield lambda event: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as bars:
        yield _Renderer(bars)


class _Renderer:
    """Turns events into lines and a bar for the present step."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None, visible=False)

    def __call__(self, event: RunEvent) -> None:
        match event:
            case RunStarted(plan=plan):
                for warning in plan.warnings:
                    self._say(f"Warning: {warning}", "yellow")
                what = plural(len(plan.tasks), "task") if plan.tasks else "nothing is due"
                self._say(f"Cutoff {show(plan.cutoff)}: {what}")
            case Held(hold=hold):
                count = f"{plural(hold.count, 'partition')}: " if hold.count else ""
                word, style = ("problem", "red") if hold.problem else ("held", "yellow")
                self._say(f"{word}: {hold.table}: {count}{hold.reason}", style)
            case LeftOut(policy_id=policy, tasks=tasks, holder=holder):
                who = f"policy {short(policy)}" if policy else "tidying up"
                self._say(f"left for the next run: {who}, {plural(len(tasks), 'task')}: {holder} is at it", "yellow")
            case TakenOver(policy_id=policy, holder=holder):
                self._say(f"taken over: policy {short(policy)} from {holder}", "yellow")
            case RunEndedEarly():
                self._bars.update(self._task, visible=False)
            case StepStarted(task=task, step=step):
                self._bars.reset(self._task, description=_name(task, step.describe()), total=None, visible=True)
            case StepProgressed(progress=progress):
                self._bars.update(self._task, completed=progress.done, total=progress.total)
            case StepFinished(task=task, step=step, result=result, seconds=seconds):
                size = f", {show_size(result.size)}" if result.size else ""
                rows = f", {plural(result.rows, 'row')}" if result.rows is not None else ""
                self._say(f"done: {_name(task, step.describe())}{rows}{size}, {seconds:.1f} s", "green")
            case StepFailed(task=task, step=step, error=error, deferred=deferred):
                word, style = ("deferred", "yellow") if deferred else ("failed", "red")
                self._say(f"{word}: {_name(task, step.describe())}: {error}", style)
            case TaskSkipped(task=task, reason=reason):
                self._say(f"skipped: {_name(task, task.steps[0].describe())}: {reason}", "red")
            case RunFinished(report=report):
                self._bars.update(self._task, visible=False)
                self._say(summary(report), "bold")

    def _say(self, text: str, style: str = "") -> None:
        self._bars.console.print(Text(visible(text), style=style), soft_wrap=True)


def _name(task: Task, what: str) -> str:
    return f"{task.table}: {what}"


def summary(report: Report) -> str:
    """What a run did, in a line."""
    parts = [f"{plural(report.done, 'step')} done"]
    if report.partitions or report.rows:
        parts[0] += f" on {plural(report.partitions, 'partition')} and {plural(report.rows, 'row')}"
    for count, word in (
        (report.failed, "failed"),
        (report.skipped, "skipped"),
        (report.deferred, "left for the next run"),
        (report.held - report.problems, "held"),
    ):
        parts += [f"{count:,} {word}"] if count else []
    parts += [plural(report.problems, "problem")] if report.problems else []
    return ", ".join(parts)
