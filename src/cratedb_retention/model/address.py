"""
Database addresses, in the form of SQLAlchemy's URLs; and redaction of passwords and access tokens in all output: in
misplaced addresses, in the logs of drivers, and in tracebacks.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from cratedb_retention.errors import InvalidInput

_HOW = "write crate://user:password@host:4200/ for CrateDB, or duckdb:///file.duckdb for an embedded file"
# The example in messages contains no password.
_LOGIN = re.compile(r"\b(?!crate://user:password@host:4200/)(\w+://[^\s:/?#@]*):\S*@")
_TOKEN = re.compile(r"\b(crt_[0-9a-f]{16})_[\w-]{20,}")
_HEADER = re.compile(r"(bearer\s+)(?!crt_)[^\s'\",]+", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&]\w*(?:password|token|secret)\w*=)[^\s&'\"]+", re.IGNORECASE)


def is_address(repository: str) -> bool:
    """Whether the name of a repository is the address of a store, of whatever kind: ``s3://bucket/archive``."""
    return re.match(r"[A-Za-z][A-Za-z\d+.-]*://", repository) is not None


@dataclass(frozen=True)
class DatabaseAddress:
    """
    The address of a database.

    :param uri: An SQLAlchemy URL, with scheme ``crate`` or ``duckdb``.
    """

    uri: str

    @classmethod
    def from_string(cls, text: str) -> DatabaseAddress:
        """
        Read an address; ``http://`` and ``https://`` mean CrateDB, the latter with TLS. Raises ``InvalidInput`` if it
        is empty, malformed, or of an unsupported database.
        """
        try:
            url = urlsplit(text.strip())
            _ = url.port
        except ValueError:
            # The text of the error may contain a part of a password, since text after a ":" counts as the port.
            raise _bad("malformed host or port, or a password whose / ? # are not percent-encoded") from None
        if url.scheme in ("http", "https"):
            query = dict(parse_qsl(url.query)) | ({"sslmode": "verify-full"} if url.scheme == "https" else {})
            url = url._replace(scheme="crate", query=urlencode(query), path=url.path or "/")
        if url.scheme == "crate":
            url = _check_crate(url)
        elif url.scheme == "duckdb":
            _check_duckdb(url, text.strip())
        elif url.scheme.startswith("postgres"):
            remedy = "use CrateDB's HTTP endpoint: crate://user:password@host:4200/"
            raise _bad("PostgreSQL's protocol is not supported", remedy)
        else:
            raise _bad(f"scheme {url.scheme!r} is not supported" if url.scheme else "no scheme")
        return cls(_join(url))

    def __post_init__(self) -> None:
        if not self.uri:
            raise _bad("empty")

    @property
    def dialect(self) -> str:
        """``crate`` or ``duckdb``."""
        return self.uri.partition(":")[0]

    @property
    def dburi(self) -> str:
        """The URL with its password, for connections; never print it."""
        return self.uri

    @property
    def safe(self) -> str:
        """The URL with password and tokens replaced by ``REDACTED``, for output."""
        url = urlsplit(self.uri)
        if url.password is not None:
            host = url.netloc.rpartition("@")[2]
            url = url._replace(netloc=f"{url.username or ''}:REDACTED@{host}")
        if url.query:
            pairs = parse_qsl(url.query)
            secret = {key for key, _ in pairs if any(word in key.lower() for word in ("password", "token", "secret"))}
            url = url._replace(query=urlencode([(k, "REDACTED" if k in secret else v) for k, v in pairs]))
        return _join(url)

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters after the ``?``."""
        return frozenset(name for name, _ in parse_qsl(urlsplit(self.uri).query, keep_blank_values=True))

    def __str__(self) -> str:
        return self.safe

    def __repr__(self) -> str:
        return f"DatabaseAddress({self.safe!r})"


def _join(url: SplitResult) -> str:
    """Like ``urlunsplit()``, which drops the empty authority of ``duckdb:///file``."""
    rest = urlunsplit(url._replace(scheme="", netloc="", path=""))
    return f"{url.scheme}://{url.netloc}{url.path}{rest}"


def _check_crate(url: SplitResult) -> SplitResult:
    if not url.hostname:
        raise _bad("no host")
    if "@" in url.path + url.query + url.fragment:
        raise _bad("the characters / ? # in a password must be percent-encoded as %2F %3F %23")
    user, at, host = url.netloc.rpartition("@")
    return url._replace(netloc=user.replace("@", "%40") + at + host)


def _check_duckdb(url: SplitResult, text: str) -> None:
    if url.netloc:
        raise _bad("a DuckDB address has no host", "write duckdb:///file.duckdb, with three slashes")
    if not url.path.strip("/") or url.path.strip("/").startswith(":memory:"):
        raise _bad("a DuckDB database in memory would be lost when the command ends", "use a file")
    if not text.partition(":")[2].startswith("///"):
        reason = "a DuckDB address has three slashes before the path, or four if the path is absolute"
        raise _bad(reason, "write duckdb:///file.duckdb or duckdb:////folder/file.duckdb")


def _bad(reason: str, remedy: str = _HOW) -> InvalidInput:
    return InvalidInput("database address", reason, remedy)


def redact(text: str) -> str:
    """Replace the passwords of all addresses, and all access tokens, in a text by ``REDACTED``."""
    text = _HEADER.sub(r"\1REDACTED", _TOKEN.sub(r"\1_REDACTED", text))
    return _PARAMETER.sub(r"\1REDACTED", _LOGIN.sub(r"\1:REDACTED@", text))


class RedactingFormatter(logging.Formatter):
    """
    Formats log records and tracebacks without passwords and tokens: as text, or as one JSON object per line, with the
    time in UTC.
    """

    def __init__(self, as_json: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        if not self._as_json:
            return redact(super().format(record))
        entry = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)
