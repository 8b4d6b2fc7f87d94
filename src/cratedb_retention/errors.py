"""
The errors that a user can meet, each one line: the thing, the reason, the remedy. Every layer raises these; engines
make them of what drivers raise, so that no driver's class or message reaches a user unexplained.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FINDINGS = 3


class RetentionError(Exception):
    """
    An error with a message for people: what it is about, as ``table "doc"."metrics"``; what is wrong with that, in
    words or as a reason of `model/plan/reasons.py`; and what to do, where the reason does not say it already.
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
    """How to get an extra of the package. There is no release yet, so no name at a package index can be given."""
    return f"install the extra [{name}]: pip install '.[{name}]' in a copy of the repository"


class InvalidInput(RetentionError, http_status=422, exit_code=EXIT_USAGE):
    """Something a person wrote is not valid: an option, a duration, a policy file."""


class NotFound(RetentionError, http_status=404):
    """A policy, table, column, repository or snapshot that was named does not exist."""


class Conflict(RetentionError, http_status=409):
    """Somebody else changed the same thing in the meantime."""


class Unsupported(RetentionError, http_status=422, exit_code=EXIT_USAGE):
    """What a person asked for has no meaning on this kind of database."""


class DatabaseError(RetentionError, http_status=502):
    """The database refused a statement."""


class AccessDenied(DatabaseError, http_status=503):
    """Wrong user or password, or a privilege is missing."""


class ConnectionLost(DatabaseError, http_status=503):
    """The database can't be reached, or went away; the same statement may work later."""


class Locked(ConnectionLost):
    """Another process has the database's file open."""


class NoAnswer(ConnectionLost):
    """The database was reached and says nothing, until waiting for it was given up; each try takes minutes."""


class Recovering(ConnectionLost):
    """The cluster was just started: it answers, and does not know all of its tables yet, or has not all shards."""


class ClusterUnwell(DatabaseError, http_status=503):
    """A table or partition has missing shards (law 6)."""


class DiskFull(DatabaseError, http_status=503):
    """A disk is full, and nothing may be written to what lies on it; on CrateDB, what is there may still be removed."""


class PartitionChanged(RetentionError, http_status=409):
    """A partition is not any more what the plan saw: rows were written to it since."""


class RunEnded(RetentionError):
    """A run ends before its next step, whatever is left to do; the next run goes on from there."""


class Cancelled(RunEnded):
    """Somebody asked for the end of this run."""


class Stopped(RunEnded):
    """The process was told to stop; another one carries on."""


class LeaseLost(RunEnded):
    """Another one may run these policies by now (law 8)."""


class MoveStuck(RetentionError):
    """Shards do not reach the nodes they were sent to."""


class Forbidden(RetentionError, http_status=403):
    """Whoever asks is known, and may not do that."""


def not_installed(thing: str, reason: str, extra: str, error: BaseException) -> BaseException:
    """What to raise where an import failed. Ctrl-C during it comes as an ImportError of what is written in C."""
    return find_interrupt(error) or InvalidInput(thing, reason, install_extra(extra))


def find_interrupt(error: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C that an error comes from, if it does."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause
