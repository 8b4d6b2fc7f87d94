"""What the audit log tells of: its events and outcomes."""

from __future__ import annotations

from typing import Self

from cratedb_retention.model.former import present
from cratedb_retention.model.words import Choice


class _Recorded(Choice):
    """A value in the audit log, which may be there by its former name."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return None if present(value) == value else cls(present(value))


class Event(_Recorded):
    """What a row of the journal is about."""

    POLICY_CREATED = "policy-created", "A policy was created; `after` holds it."
    POLICY_CHANGED = "policy-changed", "A policy was changed; `before` and `after` hold it."
    POLICY_DELETED = "policy-deleted", "A policy was deleted; `before` holds it."
    HOLD_PLACED = "hold-placed", "A hold was placed."
    HOLD_RELEASED = "hold-released", "A hold was released."
    VERIFIED = "verified", "A snapshot was read back and compared."
    RESTORED = "restored", "A partition was restored, or could not be."
    ADOPTED = "adopted", "A snapshot that was in a repository alone is known from now on."
    ROLLUPS_DROPPED = "rollups-dropped", "All rollups of a table were dropped."
    TABLE_ACCEPTED = "table-accepted", "A table was taken for the earlier one of its name."
    RUN_STARTED = "run-started", "A run begins."
    RUN_FINISHED = "run-finished", "A run ends; rows, bytes and partitions are those of all its steps."
    STEP_STARTED = "step-started", "A step begins."
    STEP_FINISHED = "step-finished", "A step ends."
    BLOCKED = "blocked", "Something is due, and is blocked or deferred; `error` says why."
    SLOT_STARTED = "slot-started", "A run for an instant of the policy's schedule begins."
    SLOT_FINISHED = "slot-finished", "A run for an instant of the policy's schedule ends."
    LEASE_TAKEN_OVER = "lease-taken-over", "A run goes on with what another one left, whose lease had ended."
    CANCEL_REQUESTED = "cancel-requested", "Somebody asked for the end of a run."
    TOKEN_CREATED = "token-created", "An access token was created."
    TOKEN_REVOKED = "token-revoked", "An access token was revoked."


class Outcome(_Recorded):
    """How it ended."""

    DONE = "done", "All went well."
    FAILED = "failed", "It failed; `error` says why."
    DEFERRED = (
        "deferred",
        "Nothing is wrong: the data or the policy changed meanwhile, or another run is at it. The next run takes it.",
    )
    BLOCKED = "blocked", "It is due and must not happen now, for example because of a legal hold."
    NEEDS_ATTENTION = "needs-attention", "It is blocked until a person acts."
    CANCELLED = "cancelled", "Somebody ended the run."
    INTERRUPTED = "interrupted", "The process was stopped, or lost its lease; another run goes on."


ABOUT_TOKENS = frozenset({Event.TOKEN_CREATED, Event.TOKEN_REVOKED})
OUTCOMES = "`done`, `failed`, `deferred`, `blocked`, `needs-attention`, `cancelled` or `interrupted`"
