"""
The log: lines of text, or one JSON object for each; never a password or a token.
"""

from __future__ import annotations

import datetime as dt
import json
import logging

from cratedb_retention.model.redact import RedactingFormatter, redact
from cratedb_retention.service.settings import LogFormat


class JsonFormatter(logging.Formatter):
    """A record as a JSON object on a line of its own; the time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, without passwords and tokens."""
        said = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            said["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(said, ensure_ascii=False, default=str)


def log_formatter(form: LogFormat) -> logging.Formatter:
    """What makes lines of records."""
    return JsonFormatter() if form is LogFormat.JSON else RedactingFormatter()
