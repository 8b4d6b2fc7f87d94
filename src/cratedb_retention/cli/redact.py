"""
Keeps passwords out of everything that is shown: an address in the wrong place, a driver's log, a traceback.
"""

from __future__ import annotations

import logging
import re

_LOGIN = re.compile(r"(\w+://[^\s:/?#@]*):\S*@")
_PARAMETER = re.compile(r"([?&]\w*(?:password|token|secret)\w*=)[^\s&'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with the passwords of all addresses in it replaced by ``REDACTED``."""
    return _PARAMETER.sub(r"\1REDACTED", _LOGIN.sub(r"\1:REDACTED@", text))


class RedactingFormatter(logging.Formatter):
    """Formats records of the log, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without passwords."""
        return redact(super().format(record))
