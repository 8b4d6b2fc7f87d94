"""
Log-in by OpenID Connect: the authorization code flow with PKCE, state and nonce. The provider says who a user is and
in which groups; the setting ``oidc.grants`` says what these may do.

Rules are from OpenID Connect Core 1.0 (section 3.1), Discovery 1.0, RFC 7636 (PKCE) and RFC 9207 (the issuer in an
answer).
"""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cratedb_retention.clock import Clock
from cratedb_retention.errors import Forbidden, InvalidInput, not_installed
from cratedb_retention.model.access import Grant, Identity, parse_grant
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.settings import OidcSettings

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session

# Signatures with a key that only the provider has.
logger = logging.getLogger(__name__)
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
_METHODS, _BASIC = "token_endpoint_auth_methods_supported", "client_secret_basic"
# Seconds: for each answer of the provider, and by which its clock may differ.
_TIMEOUT, _LEEWAY = 10, 60
_LOCAL = "localhost"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a browser keeps between the beginning of a log-in and the provider's answer, in a cookie."""

    state: str
    nonce: str
    verifier: str
    to: str  # The page that the user wants.

    def dumped(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()


def load_attempt(text: str) -> Attempt | None:
    """What :meth:`Attempt.dumped` returned; None for anything else."""
    try:
        return Attempt(**{key: str(value) for key, value in json.loads(base64.urlsafe_b64decode(text)).items()})
    except (ValueError, TypeError, AttributeError):
        return None


class Provider:
    """
    A provider of OpenID Connect. Raises InvalidInput if its settings are not complete, or the extra is not installed.

    Its methods raise :class:`Failed` with the status 502 if it does not answer as it should.
    """

    def __init__(self, settings: OidcSettings, clock: Clock, random: Callable[[int], str] = secrets.token_urlsafe):
        self._settings, self._clock, self._random = settings, clock, random
        _check(settings)
        self.issuer = settings.issuer or ""
        self.grants = tuple(map(_read_grant, settings.grants))

    def begin(self, redirect_uri: str, to: str) -> tuple[str, Attempt]:
        """
        Begin a log-in: the address to send the browser to, and what it has to keep.

        :param redirect_uri: where the provider sends the user back, unless the settings say so
        :param to: the page that the user wants
        """
        attempt = Attempt(state=self._random(32), nonce=self._random(32), verifier=self._random(48), to=to)
        with self._asking(redirect_uri) as (client, metadata):
            address, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return str(address), attempt

    def finish(self, attempt: Attempt, redirect_uri: str, answer: Mapping[str, str]) -> Identity:
        """
        End a log-in: who the user is.

        :param answer: the query with which the provider sent the user back
        :raises Forbidden: if the user or the provider refused, or the answer is not to this attempt
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise Forbidden("this log-in", "was not begun by this browser", "begin it again")
        if answer.get("iss", self.issuer) != self.issuer:
            raise Forbidden("this log-in", f"was answered by another provider than {self.issuer}", "begin it again")
        if "error" in answer or not answer.get("code"):
            said = answer.get("error_description") or answer.get("error") or "it sent no code"
            raise Forbidden("this log-in", f"was refused by {self.issuer}: {_one_line(said)}", "begin it again")
        with self._asking(redirect_uri) as (client, metadata):
            token = client.fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=answer["code"],
                code_verifier=attempt.verifier,
            )
            keys = _get(client, metadata["jwks_uri"])
            claims = self._verified(token, keys, attempt.nonce)
            if self._settings.groups_claim not in claims and metadata.get("userinfo_endpoint"):
                more = _get(client, metadata["userinfo_endpoint"], withhold_token=False)
                if more.get("sub") == claims["sub"]:  # As section 5.3.2 requires.
                    claims = {**more, **claims}
        return self._identified(claims)

    @contextmanager
    def _asking(self, redirect_uri: str) -> Iterator[tuple[OAuth2Session, Mapping[str, Any]]]:
        """
        What speaks with the provider, and what the provider says of itself. Whatever goes wrong is one error; the log
        has more, since anyone can see the page of the log-in.
        """
        from authlib.integrations.base_client import OAuthError
        from authlib.integrations.requests_client import OAuth2Session
        from joserfc.errors import JoseError
        from requests import RequestException

        settings = self._settings
        client = OAuth2Session(
            settings.client_id,
            settings.client_secret,
            scope=" ".join(settings.scopes),
            redirect_uri=settings.redirect_uri or redirect_uri,
            code_challenge_method="S256",
            default_timeout=_TIMEOUT,
        )
        client.max_redirects = 0  # Neither codes nor secrets go anywhere else.
        try:
            with client:
                metadata = _get(client, f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if metadata["issuer"] != self.issuer:
                    raise ValueError(f"it calls itself {metadata['issuer']}, which oidc.issuer has to be")
                if settings.client_secret and _BASIC not in metadata.get(_METHODS, [_BASIC]):
                    client.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 - the name of a method
                yield client, metadata
        except (RequestException, OAuthError, JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("oidc.issuer %s: %s: %s", self.issuer, type(error).__name__, error)
            thing, remedy = f"provider {self.issuer}", "see the log of the service"
            raise Failed(HTTPStatus.BAD_GATEWAY, thing, "did not answer as it should", remedy) from None

    def _verified(self, token: Mapping[str, Any], keys: Any, nonce: str) -> dict[str, Any]:
        """The claims of the ID token, of which signature, issuer, audience, time and nonce are right."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet
        from joserfc.jws import JWSRegistry

        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        decoded = jwt.decode(token["id_token"], KeySet.import_key_set(keys), registry=registry)
        wanted = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self._settings.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        about = {"nonce": nonce, "client_id": self._settings.client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(decoded.claims, decoded.header, wanted, about)
        claims.validate(now=int(self._clock.now().timestamp()), leeway=_LEEWAY)
        return dict(claims)

    def _identified(self, claims: Mapping[str, Any]) -> Identity:
        subject, groups = str(claims["sub"]), claims.get(self._settings.groups_claim) or []
        member = {str(group) for group in ([groups] if isinstance(groups, str) else groups)}
        known = dict.fromkeys(grant.group for grant in self.grants)
        name = _one_line(str(claims.get(self._settings.name_claim) or claims.get("email") or subject))
        return Identity(subject=subject, name=name, groups=tuple(group for group in known if group in member))


def _get(client: OAuth2Session, address: str, *, withhold_token: bool = True) -> dict[str, Any]:
    answer = client.get(address, withhold_token=withhold_token)
    answer.raise_for_status()
    return dict(answer.json())


def make_provider(settings: OidcSettings, clock: Clock) -> Provider | None:
    """The provider of the settings; None if they name none."""
    return Provider(settings, clock) if settings.issuer else None


def _read_grant(text: str) -> Grant:
    try:
        return parse_grant(text)
    except InvalidInput as error:
        raise InvalidInput(f"oidc.grants, {error.thing}", error.reason, error.remedy) from None


def _check(settings: OidcSettings) -> None:
    try:
        import authlib.integrations.requests_client  # noqa: F401
    except ImportError as error:
        raise not_installed("oidc.issuer", "Authlib is not installed", "oidc", error) from None
    address = urlsplit(settings.issuer or "")
    if not address.hostname or (address.scheme != "https" and not _is_local(address.hostname)):
        reason = "not an https:// address; without TLS, anyone on the way could pose as the provider"
        raise InvalidInput(f"oidc.issuer {settings.issuer}", reason, "write it like https://login.example.org")
    for name, value in (("client_id", settings.client_id), ("grants", settings.grants)):
        if not value:
            raise InvalidInput(f"oidc.{name}", "missing, although there is oidc.issuer", "set it, or omit oidc.issuer")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == _LOCAL


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:200]
