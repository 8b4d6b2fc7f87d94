"""
Keeps passwords and access tokens out of everything that is shown: an address in the wrong place, a driver's log, a
traceback.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re

# What messages show as an example holds no password.
_LOGIN = re.compile(r"\b(?!crate://user:password@host:4200/)(\w+://[^\s:/?#@]*):\S*@")
_TOKEN = re.compile(r"\b(crt_[0-9a-f]{16})_[\w-]{20,}")
_HEADER = re.compile(r"(bearer\s+)(?!crt_)[^\s'\",]+", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&]\w*(?:password|token|secret)\w*=)[^\s&'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with the passwords of all addresses, and all access tokens, in it replaced by ``REDACTED``."""
    text = _HEADER.sub(r"\1REDACTED", _TOKEN.sub(r"\1_REDACTED", text))
    return _PARAMETER.sub(r"\1REDACTED", _LOGIN.sub(r"\1:REDACTED@", text))


class RedactingFormatter(logging.Formatter):
    """Formats records of the log as lines of text, tracebacks too."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without passwords."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """A record as a JSON object on a line of its own, without passwords and tokens; the time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        said = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            said["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(said, ensure_ascii=False, default=str)
