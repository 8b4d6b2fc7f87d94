"""
Database addresses: where a database is, in the form of SQLAlchemy's URLs, safe to print without the password.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from cratedb_retention.errors import InvalidInput

_HOW = "write crate://user:password@host:4200/ for CrateDB, or duckdb:///file.duckdb for an embedded file"
_SECRET_WORDS = ("password", "token", "secret")


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
        Read an address as people write it. ``http://`` and ``https://`` mean CrateDB, the latter with TLS.

        :raises InvalidInput: if it is empty, malformed, or of a database that is not supported.
        """
        try:
            url = urlsplit(text.strip())
            _ = url.port
        except ValueError:
            # The error's own words may hold half a password: what follows a ":" counts as the port.
            reason = "malformed host or port, or a password whose / ? # are not percent-encoded"
            raise InvalidInput("database address", reason, _HOW) from None
        if url.scheme in ("http", "https"):
            url = _as_crate(url)
        if url.scheme == "duckdb":
            _check_duckdb(url, text.strip())
        elif url.scheme != "crate":
            raise _refused(url)
        return cls(_join(_check_crate(url) if url.scheme == "crate" else url))

    def __post_init__(self) -> None:
        if not self.uri:
            raise InvalidInput("database address", "empty", _HOW)

    @property
    def dialect(self) -> str:
        """``crate`` or ``duckdb``."""
        return self.uri.partition(":")[0]

    @property
    def dburi(self) -> str:
        """The URL with its password, for connecting; never print it."""
        return self.uri

    @property
    def safe(self) -> str:
        """The URL with password and tokens replaced by ``REDACTED``, for printing."""
        url = urlsplit(self.uri)
        if url.password is not None:
            host = url.netloc.rpartition("@")[2]
            url = url._replace(netloc=f"{url.username or ''}:REDACTED@{host}")
        if url.query:
            url = url._replace(query=urlencode([(k, _hide(k, v)) for k, v in parse_qsl(url.query)]))
        return _join(url)

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters that follow the ``?``."""
        return frozenset(name for name, _ in parse_qsl(urlsplit(self.uri).query, keep_blank_values=True))

    def __str__(self) -> str:
        return self.safe

    def __repr__(self) -> str:
        return f"DatabaseAddress({self.safe!r})"


def _hide(name: str, value: str) -> str:
    return "REDACTED" if any(word in name.lower() for word in _SECRET_WORDS) else value


def _join(url: SplitResult) -> str:
    """Like ``urlunsplit()``, which drops the empty authority of ``duckdb:///file``."""
    rest = urlunsplit(url._replace(scheme="", netloc="", path=""))
    return f"{url.scheme}://{url.netloc}{url.path}{rest}"


def _as_crate(url: SplitResult) -> SplitResult:
    query = dict(parse_qsl(url.query))
    if url.scheme == "https":
        query["sslmode"] = "verify-full"
    return url._replace(scheme="crate", query=urlencode(query), path=url.path or "/")


def _check_crate(url: SplitResult) -> SplitResult:
    if not url.hostname:
        raise InvalidInput("database address", "no host", _HOW)
    if "@" in url.path + url.query + url.fragment:
        raise InvalidInput("database address", "a password's / ? # must be percent-encoded, as %2F %3F %23", _HOW)
    user, at, host = url.netloc.rpartition("@")
    return url._replace(netloc=user.replace("@", "%40") + at + host)


def _check_duckdb(url: SplitResult, text: str) -> None:
    if url.netloc:
        raise InvalidInput(
            "database address", "a DuckDB address has no host", "write duckdb:///file.duckdb, with three slashes"
        )
    if not url.path.strip("/") or url.path.strip("/").startswith(":memory:"):
        raise InvalidInput(
            "database address", "a DuckDB database in memory is gone when the command ends", "name a file"
        )
    if not text.partition(":")[2].startswith("///"):
        raise InvalidInput(
            "database address",
            "a DuckDB address has three slashes before the path, or four before one that is absolute",
            "write duckdb:///file.duckdb or duckdb:////folder/file.duckdb",
        )


def _refused(url: SplitResult) -> InvalidInput:
    if url.scheme.startswith("postgres"):
        return InvalidInput(
            "database address",
            "PostgreSQL's protocol is not supported",
            "use CrateDB's HTTP endpoint: crate://user:password@host:4200/",
        )
    kind = f"scheme {url.scheme!r} is not supported" if url.scheme else "no scheme"
    return InvalidInput("database address", kind, _HOW)
