"""
The runs that go on, as they go on: refreshed each second while something runs, and less and less often while nothing
does. At the end of a run, how it ended.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.errors import RetentionError
from cratedb_retention.model.access import Role
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.runs import RunState
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.parts import note, show_error
from cratedb_retention.ui.run_card import RunCard

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
            states = await self._guest.ask(lambda scoped: scoped.runs(self._guest.context.runs))
            await self._tell(states)
        except (Failed, RetentionError) as error:
            self._timer.deactivate()
            with self._box:
                show_error(error.error if isinstance(error, Failed) else error)

    async def _tell(self, states: list[RunState]) -> None:
        now = self._guest.context.retention.clock.now()
        live = [state for state in states if state.is_live(now)]
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
