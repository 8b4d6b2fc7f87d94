"""
DuckDB's errors in our words.
"""

from __future__ import annotations

import re

from cratedb_retention.errors import Conflict, DatabaseError, DiskFull, InvalidInput, Locked, NotFound, RetentionError
from cratedb_retention.model.address import DatabaseAddress

# DuckDB keeps UUIDs as large numbers, and says so.
_NO_UUID = re.compile(r"Could not convert string '(.*)' to (?:INT128|UUID)")


def not_a_database(thing: str) -> InvalidInput:
    """What to say of another file."""
    return InvalidInput(thing, "the file is not a DuckDB database", "name another file")


def disk_is_full(thing: str) -> DiskFull:
    """What to say where there is no room."""
    return DiskFull(thing, "the disk is full", "make room; nothing is lost, and the next run goes on from here")


def translate(address: DatabaseAddress, error: Exception, statement: str) -> RetentionError:
    """Make one of our errors from one of the driver's."""
    original = getattr(error, "orig", None) or error
    name, message = type(original).__name__, " ".join(str(original).split())
    thing = f"database {address.safe}"
    if "Could not set lock" in message:
        holder = re.search(r"PID (\d+)", message)
        who = f"process {holder[1]}" if holder else "another process"
        return Locked(
            thing,
            f"{who} has it open",
            "DuckDB allows one process at a time: wait for it with --wait=60, or stop it; a service does the same by"
            " its pages and its HTTP API",
        )
    if "different configuration" in message:
        return Conflict(thing, "this process has it open with other settings", "close it first")
    if "No space left on device" in message or "File too large" in message:
        return disk_is_full(thing)
    if "not a valid DuckDB database" in message:
        return not_a_database(thing)
    if name == "ConversionException" and (no_uuid := _NO_UUID.search(message)):
        return InvalidInput(
            f"value {no_uuid[1]!r}", "not a UUID", "write one like 2af93f28-0000-4000-8000-000000000000"
        )
    if name == "ConstraintException":
        return Conflict("DuckDB", message)
    if name == "TransactionException" and "onflict" in message:
        return Conflict("DuckDB", message)
    if name == "CatalogException":
        return NotFound("DuckDB", message)
    if name == "IOException" and not statement:
        return DatabaseError(thing, message)
    return DatabaseError("DuckDB", message)
