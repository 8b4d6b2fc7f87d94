"""
CrateDB's errors in our words.
"""

from __future__ import annotations

import re

from cratedb_retention.errors import (
    AccessDenied,
    ClusterUnwell,
    Conflict,
    ConnectionLost,
    DatabaseError,
    DiskFull,
    NoAnswer,
    NotFound,
    Recovering,
    RetentionError,
)
from cratedb_retention.model.address import DatabaseAddress

# CrateDB's class of error, ours, and the remedy.
_KNOWN: tuple[tuple[str, type[RetentionError], str], ...] = (
    ("Unauthorized", AccessDenied, "check user and password in the address"),
    ("UnauthorizedException", AccessDenied, "GRANT what is missing, or connect as another user"),
    ("MissingPrivilegeException", AccessDenied, "GRANT what is missing, or connect as another user"),
    ("SchemaUnknownException", NotFound, ""),
    ("RelationUnknown", NotFound, ""),
    ("ColumnUnknownException", NotFound, ""),
    ("PartitionUnknownException", NotFound, ""),
    ("RepositoryMissingException", NotFound, "create it with CREATE REPOSITORY"),
    ("RepositoryVerificationException", DatabaseError, "make the repository's location writable for every node"),
    ("SnapshotMissingException", NotFound, ""),
    ("PartitionAlreadyExistsException", Conflict, "restore it beside the table, or delete it first"),
    ("RelationAlreadyExists", Conflict, ""),
    ("DuplicateKeyException", Conflict, ""),
    ("NoShardAvailableActionException", ClusterUnwell, "bring the lost nodes back"),
    ("UnavailableShardsException", ClusterUnwell, "bring the lost nodes back"),
    ("PrimaryMissingActionException", ClusterUnwell, "bring the lost nodes back"),
    ("MasterNotDiscoveredException", ConnectionLost, "wait until the cluster has elected a master"),
    ("NodeDisconnectedException", ConnectionLost, "try again"),
    ("NodeNotConnectedException", ConnectionLost, "try again"),
    ("ConcurrentSnapshotExecutionException", ConnectionLost, "wait for the other snapshot"),
    # It is out of breath for a moment: memory of the statements before is not collected yet, queues are full.
    ("CircuitBreakingException", ConnectionLost, "give CrateDB a larger heap, or let it do less at a time"),
    ("EsRejectedExecutionException", ConnectionLost, "let CrateDB do less at a time"),
)
# Where a node's disk is filled beyond the flood stage, and until it is below the high watermark again.
_FULL = "read-only / allow delete"
# Tables and repositories in a statement, by the word before them; the latter have one name.
_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_TABLES = re.compile(
    rf"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|VIEW|TO|SNAPSHOT)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?({_NAME}\.{_NAME})"
    rf"|\bREPOSITORY\s+({_NAME})",
    re.IGNORECASE,
)
_SILENT = "Read timed out"
# What a node answers before the cluster's state is read from disk; the last to a new connection.
_STARTING = ("SERVICE_UNAVAILABLE/1/", '"clusterState" is null', '"state" is null', "503 Server Error")
_LOST = (
    "Server not available",
    "No more Servers",
    "Connection aborted",
    "Connection refused",
    "400 Client Error",
    _SILENT,
)


def translate(address: DatabaseAddress, error: Exception, statement: str) -> RetentionError:
    """Make one of our errors from one of the driver's."""
    message = str(getattr(error, "orig", None) or error)
    if any(text in message for text in _LOST):
        lost = NoAnswer if _SILENT in message else ConnectionLost
        return lost(f"database {address.safe}", _why_lost(message), "is CrateDB running there?")
    if any(text in message for text in _STARTING):
        return recovering(address)
    known = re.match(r"(?:SQL\w+: )?(?:[\w.]+: )?(\w+)\[(.*)\]?", message, re.DOTALL)
    name = known[1] if known else ""
    text = known[2].strip().removesuffix("]") if known else message
    if "401" in message and "Unauthorized" in message:
        name, text = "Unauthorized", "user or password are wrong"
    if name == "SchemaUnknownException" and "'sys'" in text:
        # CrateDB hides what a user may not see.
        return AccessDenied(_thing(address, AccessDenied), "the system's tables are hidden", "GRANT DQL ON SCHEMA sys")
    if _FULL in text:
        return disk_is_full("CrateDB", f": {text}")
    if name == "MissingPrivilegeException":
        text += _on(statement or str(getattr(error, "statement", None) or ""))
    for known_name, error_class, remedy in _KNOWN:
        if name == known_name:
            return error_class(_thing(address, error_class), text, remedy)
    return DatabaseError("CrateDB", f"{message}{_shorten(statement)}")


def disk_is_full(thing: str, said: str = "") -> DiskFull:
    """What to say where CrateDB lets nothing be written."""
    reason = f"a disk is full, so nothing may be written{said}"
    return DiskFull(thing, reason, "make room; the next run goes on from here")


def _on(statement: str) -> str:
    """What a statement is about, since CrateDB does not say on what a privilege is missing."""
    named = [match[1] or match[2] for match in _TABLES.finditer(statement)]
    return f", on {' or '.join(dict.fromkeys(named))}" if named else f", for: {' '.join(statement.split())[:100]}"


def recovering(address: DatabaseAddress) -> Recovering:
    """What to say of a cluster that was just started."""
    reason = "the cluster was just started and has not all of its tables yet"
    return Recovering(f"database {address.safe}", reason, "try again in a minute")


def _thing(address: DatabaseAddress, error_class: type[RetentionError]) -> str:
    return f"database {address.safe}" if issubclass(error_class, AccessDenied | ConnectionLost) else "CrateDB"


def _why_lost(message: str) -> str:
    cause = re.search(r"\[Errno -?\d+\] ([^'\")]+)", message) or re.search(
        r"(Read timed out|Connection aborted|Connection to \S+ timed out)", message
    )
    return f"no answer ({cause[1]})" if cause else "no answer"


def _shorten(statement: str) -> str:
    return f" (in: {statement[:200]}{'...' if len(statement) > 200 else ''})" if statement else ""
