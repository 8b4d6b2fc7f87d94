"""Events and outcomes of the audit log."""

from __future__ import annotations

from typing import Self

from cratedb_retention.model.former import present
from cratedb_retention.model.words import Choice


class _Recorded(Choice):
    """A value in the audit log, where it may have its former name."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return None if present(value) == value else cls(present(value))


class Event(_Recorded):
    """The kind of an entry."""

    POLICY_CREATED = "policy-created", "A policy was created; `after` contains it."
    POLICY_CHANGED = "policy-changed", "A policy was changed; `before` and `after` contain its states."
    POLICY_DELETED = "policy-deleted", "A policy was deleted; `before` contains it."
    HOLD_PLACED = "hold-placed", "A hold was placed."
    HOLD_RELEASED = "hold-released", "A hold was released."
    VERIFIED = "verified", "A snapshot was read back and compared."
    RESTORED = "restored", "A partition was restored, or restoring it failed."
    SNAPSHOT_DELETED = "snapshot-deleted", "A snapshot was deleted by a user for good, or deleting it failed."
    ADOPTED = "adopted", "A snapshot in a repository was recorded in the toolkit's tables."
    ROLLUPS_DROPPED = "rollups-dropped", "All rollups of a table were dropped."
    CATALOG_UPDATED = "catalog-updated", "A table of an Iceberg catalog was brought up to date, or that failed."
    TABLE_ACCEPTED = "table-accepted", "A table was accepted as the earlier one of its name."
    RUN_STARTED = "run-started", "A run started."
    RUN_FINISHED = "run-finished", "A run ended; rows, bytes and partitions are the totals of its steps."
    STEP_STARTED = "step-started", "A step started."
    STEP_FINISHED = "step-finished", "A step ended."
    BLOCKED = "blocked", "A due action is blocked or deferred; `error` has the reason."
    SLOT_STARTED = "slot-started", "A run for a slot of the policy's schedule started."
    SLOT_FINISHED = "slot-finished", "A run for a slot of the policy's schedule ended."
    LEASE_TAKEN_OVER = "lease-taken-over", "A run took over the expired lease of another run, and continues its work."
    CANCEL_REQUESTED = "cancel-requested", "A user requested the cancellation of a run."
    TOKEN_CREATED = "token-created", "An access token was created."
    TOKEN_REVOKED = "token-revoked", "An access token was revoked."


class Outcome(_Recorded):
    """The result of an action."""

    DONE = "done", "Success."
    FAILED = "failed", "Failure; `error` has the reason."
    DEFERRED = (
        "deferred",
        "Postponed to the next run: the data or the policy changed, or another run holds the lease.",
    )
    BLOCKED = "blocked", "Due, but must not happen now, for example because of a legal hold."
    NEEDS_ATTENTION = "needs-attention", "Blocked until a person acts."
    CANCELLED = "cancelled", "A user cancelled the run."
    INTERRUPTED = "interrupted", "The process was stopped, or lost its lease; another run continues."


# What a run writes itself; and what marks that something started, of which its end has more to tell.
OF_RUNS = frozenset({
    Event.RUN_STARTED, Event.RUN_FINISHED, Event.STEP_STARTED, Event.STEP_FINISHED, Event.BLOCKED, Event.SLOT_STARTED,
    Event.SLOT_FINISHED, Event.LEASE_TAKEN_OVER,
})  # fmt: skip
STARTED = frozenset({Event.RUN_STARTED, Event.STEP_STARTED, Event.SLOT_STARTED})
ABOUT_TOKENS = frozenset({Event.TOKEN_CREATED, Event.TOKEN_REVOKED})
OUTCOMES = "`done`, `failed`, `deferred`, `blocked`, `needs-attention`, `cancelled` or `interrupted`"
