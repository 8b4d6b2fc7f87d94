"""
What a measurement says: one line of the table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """
    What is wanted; each attribute that is set must hold.

    :param constant: Seconds that ours may take in addition to the ratio, however much there is to do.
    """

    seconds: float | None = None
    ratio: float | None = None
    constant: float = 0
    statements: int | None = None
    megabytes: float | None = None

    def __str__(self) -> str:
        parts = [] if self.seconds is None else [f"≤ {self.seconds:g} s"]
        constant = f" + {self.constant:g} s" if self.constant else ""
        parts += [] if self.ratio is None else [f"ratio ≤ {self.ratio:g}{constant}"]
        parts += [] if self.statements is None else [f"≤ {self.statements} statements"]
        parts += [] if self.megabytes is None else [f"≤ {self.megabytes:g} MB"]
        return ", ".join(parts)


NO_GOAL = Goal()


@dataclass(frozen=True, kw_only=True)
class Line:
    """
    A measurement.

    :param ours: Seconds that the toolkit took.
    :param best: Seconds that the best hand-written way took, if there is one.
    :param statements: How many statements the toolkit sent.
    :param megabytes: How much memory the toolkit's process had at most.
    :param note: What else is worth knowing.
    """

    what: str
    ours: float
    best: float | None = None
    statements: int | None = None
    megabytes: float | None = None
    goal: Goal = NO_GOAL
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as long ours took."""
        return self.ours / self.best if self.best else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        pairs = (
            (self.ours, self.goal.seconds),
            (self.best and (self.ours - self.goal.constant) / self.best, self.goal.ratio),
            (self.statements, self.goal.statements),
            (self.megabytes, self.goal.megabytes),
        )
        wanted = [(is_, goal) for is_, goal in pairs if goal is not None]
        return all(is_ is not None and is_ <= goal for is_, goal in wanted) if wanted else None
