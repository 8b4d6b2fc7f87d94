"""
The runs that go on, as they go on: refreshed each second while something runs, and less and less often while nothing
does. At the end of a run, how it ended.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.errors import RetentionError
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.scope import RunEnd
from cratedb_retention.ui.agreeing import agreed
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import address
from cratedb_retention.ui.parts import button, link, note, show_error

BUSY, IDLE = 1.0, 15.0
# So many looks at nothing, and the page looks rarely; after so many more, not at all.
PATIENT, LONGEST = 5, 40


class Progress:
    """
    The part of a page that tells of runs. Made within the element where it is to stand.

    :param role: Of whoever looks: operators may cancel.
    """

    def __init__(self, guest: Guest, role: Role) -> None:
        self._guest, self._may_cancel = guest, role.includes(Role.OPERATOR)
        self._cards: dict[str, RunCard] = {}
        self._idle = 0
        self._box = ui.element("section").classes("runs").props('aria-label="Runs"')
        self._asleep = note("")
        self._asleep.set_visibility(False)
        self._timer = ui.timer(BUSY, self.look)

    async def follow(self, state: RunState) -> None:
        """Show a run that was just started."""
        self._show(state)
        self._wake()
        await self.look()

    async def look(self) -> None:
        """Look once how far runs are: one statement about them."""
        try:
            states = await self._guest.ask(lambda scoped: scoped.jobs(self._guest.context.runs))
            await self._tell(states)
        except (Failed, RetentionError) as error:
            self._timer.deactivate()
            with self._box:
                show_error(error.error if isinstance(error, Failed) else error)

    async def _tell(self, states: list[RunState]) -> None:
        now = self._guest.context.retention.clock.now()
        live = [state for state in states if state.finished_at is None and not state.is_silent(now)]
        for state in live:
            self._show(state)
        running = {state.run_id for state in live}
        known = {state.run_id: state for state in states}
        for run_id, card in list(self._cards.items()):
            if run_id not in running and not card.over:
                await card.end(self._guest, known.get(run_id))
        self._pace(bool(running))

    def _show(self, state: RunState) -> None:
        card = self._cards.get(state.run_id)
        if card is None:
            with self._box:
                card = self._cards[state.run_id] = RunCard(state, self._guest if self._may_cancel else None)
        card.update(state)

    def _pace(self, busy: bool) -> None:
        self._idle = 0 if busy else self._idle + 1
        self._timer.interval = BUSY if self._idle < PATIENT else IDLE
        if self._idle > LONGEST:
            self._timer.deactivate()
            self._asleep.set_text("Nothing has run for a while. Load this page again to see runs that began since.")
            self._asleep.set_visibility(True)

    def _wake(self) -> None:
        self._idle = 0
        self._asleep.set_visibility(False)
        self._timer.interval = BUSY
        self._timer.activate()


class RunCard:
    """
    A run on a page.

    :param operator: By whom it may be cancelled; None: it may not.
    """

    def __init__(self, state: RunState, operator: Guest | None) -> None:
        self.run_id, self.over, self._cancelled = state.run_id, False, False
        self._operator = operator
        self._name = f"Run {short(state.run_id)}"
        with ui.element("article").classes("card run").props(f'aria-label="{self._name}"'):
            with ui.element("div").classes("bar"):
                self._badge = ui.label("running").classes("badge is-running")
                with ui.element("h2"):
                    ui.label(self._name)
                ui.label(f"by {state.actor}, since {words.exact(state.started_at)} UTC").classes("muted")
            self._doing = ui.label().classes("many")
            self._bar = ui.linear_progress(0, show_value=False, size="10px").props('aria-label="Steps done"')
            self._told = ui.label().classes("muted")
            self._result = ui.element("div").classes("result").props("role=status")
            self._cancel: ui.button | None = button("Cancel this run", self._ask, "negative") if operator else None

    def update(self, state: RunState) -> None:
        """Show how far it is."""
        if self.over:
            return
        self._doing.set_text(f"Now: {state.doing}" if state.doing else "It is about to begin.")
        self._bar.set_value(state.share)
        self._told.set_text(_progress(state))
        if state.cancel_by and self._cancel is not None:
            self._cancel.set_visibility(False)

    async def end(self, guest: Guest, state: RunState | None) -> None:
        """
        Show how it ended, by the audit log.

        :param state: What this process knows of it, if it ran here.
        """
        self.over = True
        end = await guest.ask(lambda scoped: scoped.run_end(self.run_id))
        outcome = end.outcome or (state.phase if state else "") or "over"
        if (
            self._cancelled and outcome == Outcome.INTERRUPTED
        ):  # So young that it was told by other means than the database.
            outcome = "cancelled"
        self._badge.set_text(outcome)
        self._badge.classes(replace=f"badge is-{outcome}")
        self._doing.set_visibility(False)
        self._bar.set_visibility(False)
        self._told.set_text(_totals(end))
        if self._cancel is not None:
            self._cancel.set_visibility(False)
        with self._result:
            _show_end(end, state)
            link("What this run did, in the audit log", address("/jobs", {"run_id": self.run_id}))

    async def _ask(self) -> None:
        effect = "The step that it is at is finished; no other one begins. The next run goes on with the rest."
        if self._operator is None or not await agreed(f"Cancel {self._name.lower()}?", effect, "Cancel the run"):
            return
        context = self._operator.context
        await self._operator.ask(lambda scoped: scoped.cancel(context.runs, self.run_id))
        self._cancelled = True
        ui.notify(f"{self._name} ends before its next step.")


def _progress(state: RunState) -> str:
    """``3 of 8 steps done · 1,234 rows · 5.2 MiB · may end at 12:00``."""
    rows, size = state.removed
    said = [f"{state.steps_done:,} of {plural(state.steps, 'step')} done"]
    if state.units:
        said.append(f"of this step {state.units}")
    said.append(plural(rows, "row"))
    if size:
        said.append(show_size(size))
    if state.expected_end:
        said.append(f"may end at {words.exact(state.expected_end)} UTC")
    if state.cancel_by:
        said.append(f"ends before its next step, as {state.cancel_by} asked")
    return " · ".join(said)


def _totals(end: RunEnd) -> str:
    row = end.finished or {}
    said = [plural(row[name], noun) for name, noun in (("rows", "row"), ("partitions", "partition")) if row.get(name)]
    size = [show_size(row["bytes"])] if row.get("bytes") else []
    return " · ".join([*([str(row["message"])] if row.get("message") else []), *said, *size])


def _show_end(end: RunEnd, state: RunState | None) -> None:
    error = (end.finished or {}).get("error") or (state.error if state else None)
    if error:
        _show_trouble("The run ended early", str(error))
    for row in end.troubles:
        where = f"{row['table_schema']}.{row['table_name']}: " if row["table_name"] else ""
        _show_trouble(f"{where}{row['message'] or row['event']}", str(row["error"] or ""), row["outcome"] or "")
    if end.more:
        ui.label("There is more of this in the audit log.").classes("muted")


def _show_trouble(what: str, error: str, outcome: str = "") -> None:
    with ui.element("div").classes("warning" if outcome == Outcome.DEFERRED else "error"):
        ui.label(f"{outcome}: {what}" if outcome else what).classes("what")
        ui.label(error).classes("many")
