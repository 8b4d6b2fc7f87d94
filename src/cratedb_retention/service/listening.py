"""
Where the HTTP API listens, and whether it asks for tokens there.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput
from cratedb_retention.service.settings import HttpSettings, Tokens

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Listening:
    """
    An address to listen on.

    :param authenticate: Whether a token is needed.
    :param hosts: The names that requests may use; empty: any.
    """

    host: str
    port: int
    authenticate: bool
    hosts: frozenset[str]


def listening(settings: HttpSettings) -> Listening | None:
    """
    What the settings mean; None: there is no HTTP.

    :raises InvalidInput: if the address is none, or everybody could do everything and it is not said twice.
    """
    if not settings.listen:
        return None
    host, port = _split(settings.listen)
    local = _is_loopback(host)
    authenticate = settings.tokens is Tokens.ON or (settings.tokens is Tokens.AUTO and not local)
    if not authenticate and not local and not settings.open_to_all:
        raise InvalidInput(
            f"http.listen {settings.listen}",
            "without tokens everybody who reaches it could delete data",
            "leave http.tokens at auto, or say http.open_to_all as well",
        )
    return Listening(
        host=host,
        port=port,
        authenticate=authenticate,
        hosts=frozenset(settings.hosts) or (_LOOPBACK if local else frozenset()),
    )


def _split(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InvalidInput(f"http.listen {text!r}", "not an address and a port", "write it like 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - all interfaces is what an empty host means


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
