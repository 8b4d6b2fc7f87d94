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
    Tone,
    lines_of,
)

_STYLES = {Tone.GOOD: "green", Tone.NOTICE: "yellow", Tone.BAD: "red", Tone.END: "bold"}


@contextmanager
def observer(quiet: bool) -> Iterator[Observer]:
    """Yield a function that shows events; quiet where the output is data."""
    if quiet:
        yield lambda event: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as bars:
        bar = bars.add_task("", total=None, visible=False)

        def show(event: RunEvent) -> None:
            match event:
                case StepStarted(task=task, step=step):
                    bars.reset(bar, description=f"{task.table}: {step.describe()}", total=None, visible=True)
                case StepProgressed(progress=progress):
                    bars.update(bar, completed=progress.done, total=progress.total)
                case RunEndedEarly() | RunFinished():
                    bars.update(bar, visible=False)
                case RunStarted() | Held() | LeftOut() | TakenOver() | StepFinished() | StepFailed() | TaskSkipped():
                    pass  # Lines say all of it.
            for text, tone in lines_of(event):
                bars.console.print(Text(visible(text), style=_STYLES.get(tone, "")), soft_wrap=True)

        yield show
