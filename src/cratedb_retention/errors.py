"""
The errors that users see, each one line: the thing, the reason, the remedy. All layers raise these errors; engines
convert the exceptions of drivers to them.
"""

from __future__ import annotations

import warnings

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FINDINGS = 3


class RetentionError(Exception):
    """
    An error with a message for users: the object, as ``table "doc"."metrics"``; the reason, as text or from
    `model/plan/reasons.py`; and the remedy, unless the reason contains it.
    """

    exit_code, http_status = EXIT_FAILED, 500

    def __init_subclass__(cls, http_status: int = 0, exit_code: int = 0) -> None:
        cls.http_status, cls.exit_code = http_status or cls.http_status, exit_code or cls.exit_code

    def __init__(self, thing: str, reason: object, remedy: str = "") -> None:
        self.thing, self.why, self.reason, self.remedy = thing, reason, str(reason), remedy
        super().__init__(thing, reason, remedy)

    def __str__(self) -> str:
        remedy = f". {self.remedy[0].upper()}{self.remedy[1:]}" if self.remedy else ""
        return " ".join(f"{self.thing}: {self.reason}{remedy}".split())


def install_extra(name: str) -> str:
    """How to install an extra. There is no release yet, so the text names no package of an index."""
    return f"install the extra [{name}]: pip install '.[{name}]' in a copy of the repository"


class InvalidInput(RetentionError, http_status=422, exit_code=EXIT_USAGE):
    """Invalid input of a user: an option, a duration, a policy file."""


class NotFound(RetentionError, http_status=404):
    """A named policy, table, column, repository or snapshot does not exist."""


class Conflict(RetentionError, http_status=409):
    """Another user changed the same object in the meantime."""


class Unsupported(RetentionError, http_status=422, exit_code=EXIT_USAGE):
    """The request is not supported on this kind of database."""


class DatabaseError(RetentionError, http_status=502):
    """The database rejected a statement."""


class AccessDenied(DatabaseError, http_status=503):
    """User or password are wrong, or a privilege is missing."""


class ConnectionLost(DatabaseError, http_status=503):
    """The database is unreachable, or the connection was lost; the same statement may succeed later."""


class Locked(ConnectionLost):
    """Another process has the database's file open."""


class NoAnswer(ConnectionLost):
    """The database was reached, but did not respond within the timeout; each attempt takes minutes."""


class Recovering(ConnectionLost):
    """The cluster was just started: it responds, but not all tables and shards are available yet."""


class PartitionGone(ConnectionLost):
    """A partition was dropped while a statement used its table; the same statement succeeds without it."""


class ClusterUnhealthy(DatabaseError, http_status=503):
    """A table or partition has missing shards (law 6)."""


class DiskFull(DatabaseError, http_status=503):
    """A disk is full, so its data is read-only; on CrateDB, it can still be removed."""


class PartitionChanged(RetentionError, http_status=409):
    """A partition was changed since the plan was made: rows were written to it."""


class RunEnded(RetentionError):
    """A run ends before its next step, with tasks left; the next run continues from there."""


class Cancelled(RunEnded):
    """A user cancelled this run."""


class Stopped(RunEnded):
    """The process was asked to stop; another one continues."""


class LeaseLost(RunEnded):
    """Another run may have taken over these policies (law 8)."""


class MoveStuck(RetentionError):
    """Shards do not reach the nodes that they were allocated to."""


class Forbidden(RetentionError, http_status=403):
    """The caller is authenticated, but not authorized."""


def not_installed(thing: str, reason: str, extra: str, error: BaseException) -> BaseException:
    """The error for a failed import; Ctrl-C during an import of a C extension arrives as an ImportError."""
    return find_interrupt(error) or InvalidInput(thing, reason, install_extra(extra))


def find_interrupt(error: BaseException) -> KeyboardInterrupt | None:
    """The KeyboardInterrupt that caused an error, if any."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause


def __getattr__(name: str) -> type[RetentionError]:
    if name != "ClusterUnwell":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("the former name of ClusterUnhealthy", DeprecationWarning, stacklevel=2)
    return ClusterUnhealthy
