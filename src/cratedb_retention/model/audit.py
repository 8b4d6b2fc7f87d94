"""
What the audit log tells of: its events and outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Event(StrEnum):
    """What a row of the journal is about."""

    POLICY_CREATED = "policy-created"
    POLICY_CHANGED = "policy-changed"
    POLICY_DELETED = "policy-deleted"
    HOLD_PLACED = "hold-placed"
    HOLD_RELEASED = "hold-released"
    VERIFIED = "verified"
    RESTORED = "restored"
    ADOPTED = "adopted"
    ROLLUPS_DROPPED = "rollups-dropped"
    TABLE_ACCEPTED = "table-accepted"
    RUN_STARTED = "run-started"
    RUN_FINISHED = "run-finished"
    STEP_STARTED = "step-started"
    STEP_FINISHED = "step-finished"
    HELD = "held"
    SLOT_STARTED = "slot-started"
    SLOT_FINISHED = "slot-finished"
    LEASE_TAKEN_OVER = "lease-taken-over"
    CANCEL_REQUESTED = "cancel-requested"
    TOKEN_CREATED = "token-created"  # noqa: S105 - no secret
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 - no secret


class Outcome(StrEnum):
    """How it ended."""

    DONE = "done"
    FAILED = "failed"
    DEFERRED = "deferred"
    HELD = "held"
    PROBLEM = "problem"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


EVENTS: Mapping[Event, str] = {
    Event.POLICY_CREATED: "A policy was created; `after` holds it.",
    Event.POLICY_CHANGED: "A policy was changed; `before` and `after` hold it.",
    Event.POLICY_DELETED: "A policy was deleted; `before` holds it.",
    Event.HOLD_PLACED: "A hold was placed.",
    Event.HOLD_RELEASED: "A hold was released.",
    Event.VERIFIED: "A snapshot was read back and compared.",
    Event.RESTORED: "A partition was restored, or could not be.",
    Event.ADOPTED: "A snapshot that was in a repository alone is known from now on.",
    Event.ROLLUPS_DROPPED: "All rollups of a table were dropped.",
    Event.TABLE_ACCEPTED: "A table was taken for the earlier one of its name.",
    Event.RUN_STARTED: "A run begins.",
    Event.RUN_FINISHED: "A run ends; rows, bytes and partitions are those of all its steps.",
    Event.STEP_STARTED: "A step begins.",
    Event.STEP_FINISHED: "A step ends.",
    Event.HELD: "Something is due and is not done; `error` says why.",
    Event.SLOT_STARTED: "A run for an instant of the policy's schedule begins.",
    Event.SLOT_FINISHED: "A run for an instant of the policy's schedule ends.",
    Event.LEASE_TAKEN_OVER: "A run goes on with what another one left, whose lease had ended.",
    Event.CANCEL_REQUESTED: "Somebody asked for the end of a run.",
    Event.TOKEN_CREATED: "An access token was created.",
    Event.TOKEN_REVOKED: "An access token was revoked.",
}

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.DONE: "All went well.",
    Outcome.FAILED: "It failed; `error` says why.",
    Outcome.DEFERRED: "Nothing is wrong: the data or the policy changed meanwhile, or another run is at it. The next"
    " run takes it.",
    Outcome.HELD: "It rightly waits, for example for a hold to be released.",
    Outcome.PROBLEM: "Somebody has to do something, or it will wait forever.",
    Outcome.CANCELLED: "Somebody ended the run.",
    Outcome.INTERRUPTED: "The process was stopped, or lost its lease; another run goes on.",
}

ABOUT_TOKENS = frozenset({Event.TOKEN_CREATED, Event.TOKEN_REVOKED})
