"""
Tells events to others: as JSON by POST to an address, or to a program by its input.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3

from cratedb_retention.errors import InvalidInput

logger = logging.getLogger(__name__)
SIGNATURE, EVENT_ID = "Retention-Signature", "Retention-Event-Id"
_TRIES = 3
_AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Told:
    """
    An event.

    :param id: The same whenever the same event is told again.
    :param event: ``policy-failed``, ``policy-held`` or ``policy-recovered``.
    :param since: Since when it was so.
    :param reason: Why, in words; of a recovery, why it was.
    """

    id: str
    event: str
    policy_id: str
    strategy: str
    table: str
    tags: Sequence[str]
    since: dt.datetime
    at: dt.datetime
    reason: str | None

    def to_json(self) -> bytes:
        """As JSON; instants are ISO 8601 in UTC."""
        data = {**vars(self), "tags": list(self.tags), "since": self.since.isoformat(), "at": self.at.isoformat()}
        return json.dumps(data, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")


# Tells an event, and says whether that went well.
Teller = Callable[[Told], bool]


def sign(secret: str, moment: int, body: bytes) -> str:
    """The value of the header: the time in seconds since 1970, and the HMAC-SHA256 of ``TIME.BODY``."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class Webhook:
    """
    Sends events to an address, three times if need be. It follows no redirect, which could lead anywhere.

    :param secret: Signs each event; None: they are not signed.
    :param timeout: Seconds for each try.
    :param pause: Seconds before the second try, twice that before the third.
    :raises InvalidInput: if the address is none.
    """

    def __init__(self, url: str, secret: str | None = None, timeout: float = 10.0, pause: float = 1.0) -> None:
        try:
            parsed = urllib3.util.parse_url(url)
        except urllib3.exceptions.LocationParseError:
            parsed = urllib3.util.Url()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InvalidInput("notify.webhook", "not an address", "write it like https://host/path")
        self._url, self._secret, self._host = url, secret, parsed.host
        retries = urllib3.Retry(
            _TRIES - 1, redirect=0, status_forcelist=_AGAIN, allowed_methods=None, backoff_factor=pause,
            respect_retry_after_header=False, raise_on_redirect=False,
        )  # fmt: skip
        self._http = urllib3.PoolManager(timeout=timeout, retries=retries)

    def __call__(self, told: Told) -> bool:
        """Send an event; what goes wrong is logged, without the address, which may hold a secret."""
        body = told.to_json()
        headers = {"Content-Type": "application/json", EVENT_ID: told.id, "User-Agent": "cratedb-retention"}
        if self._secret:
            headers[SIGNATURE] = sign(self._secret, int(told.at.timestamp()), body)
        try:
            answer = self._http.request("POST", self._url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            logger.warning("webhook at %s: %s", self._host, type(error).__name__)
            return False
        if not 200 <= answer.status < 300:
            logger.warning("webhook at %s: answered %d", self._host, answer.status)
            return False
        return True


class Program:
    """
    Hands events to a program by its input. There is no shell in between.

    :param environment: What the program gets of it; our own variables, which may hold secrets, are left out.
    :param timeout: Seconds until it is ended.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], timeout: float = 10.0) -> None:
        self._command, self._timeout = list(command), timeout
        self._environment = {key: value for key, value in environment.items() if not key.startswith("CRATEDB_")}

    def __call__(self, told: Told) -> bool:
        """Run it; what goes wrong is logged."""
        try:
            done: subprocess.CompletedProcess[Any] = subprocess.run(  # noqa: S603 - set by whoever runs the service
                self._command, input=told.to_json(), env=self._environment, timeout=self._timeout,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            logger.warning("program %s: %s", self._command[0], type(error).__name__)
            return False
        if done.returncode:
            logger.warning("program %s: ended with %d", self._command[0], done.returncode)
        return done.returncode == 0
