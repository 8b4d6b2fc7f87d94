"""
What a run asks before each step and while one goes on: may it go on?
"""

from __future__ import annotations

import threading

from cratedb_retention.errors import Cancelled, Stopped
from cratedb_retention.execution.heart import Heart
from cratedb_retention.execution.leasing import LeaseHolder
from cratedb_retention.model.plan import Task


class Gate:
    """
    The gate of one run.

    :param leases: Of the run.
    :param heart: Renews them, writes progress, and hears of a request to cancel.
    :param stop: Set when the process is to end.
    """

    def __init__(self, leases: LeaseHolder, heart: Heart, stop: threading.Event | None = None) -> None:
        self._leases, self._heart, self._stop = leases, heart, stop

    def before_step(self, task: Task) -> None:
        """
        May this task's next step begin?

        :raises Cancelled: if somebody asked for the end of the run.
        :raises Stopped: if the process is to end.
        :raises LeaseLost: if another one may run the policy by now.
        """
        self._heart.beat()
        self._check_wishes()
        self._leases.check(task.policy_id)

    def during_step(self) -> None:
        """
        May the present step go on? Asked between batches, and while shards are waited for. Raises the same.
        """
        self._heart.beat()
        self._check_wishes()
        self._leases.check_time()

    def _check_wishes(self) -> None:
        self._heart.raise_what_was_found()
        if self._heart.cancelled_by is not None:
            raise Cancelled(f"run {self._leases.run_id}", f"cancelled by {self._heart.cancelled_by}")
        if self._stop is not None and self._stop.is_set():
            raise Stopped(f"run {self._leases.run_id}", "the process was told to stop", "another run goes on from here")
