"""A provider of OpenID Connect on loopback, with users; tests can change what it answers, and sign with its keys."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import flask
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

with warnings.catch_warnings():
    import authlib.deprecate  # noqa: F401 - it lets its warnings through

    warnings.simplefilter("ignore")
    from oidc_provider_mock import User, app

# Users by their identifiers.
USERS = {
    "ada": {"preferred_username": "Ada", "groups": ["acme", "everyone"]},
    "grace": {"preferred_username": "Grace (token 0000000000000000)", "groups": ["operators", "viewers"]},
    "mallory": {"preferred_username": "Mallory", "groups": ["everyone"]},
}
GRANTS = ("acme=editor:acme", "globex=editor:globex", "operators=operator", "viewers=viewer")


@dataclass(kw_only=True)
class OpenIdProvider:
    """
    :param changed: By path, what becomes of its answer of JSON.
    :param moved: A path whose answer is elsewhere; empty: none.
    """

    issuer: str
    changed: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    moved: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "test", "use": "sig"}))

    def log_in(self, address: str, user: str, **form: str) -> str:
        """What a user does at the address of a log-in; returns the address that they are sent back to."""
        answer = requests.post(address, data={"sub": user, **form}, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def sign(self, claims: dict[str, Any], header: dict[str, Any] | None = None) -> None:
        """Let it answer with an ID token of these claims, signed with a key that is its own."""
        text = jwt.encode({"alg": "RS256", "kid": "test", **(header or {})}, claims, self.key)
        self.send(text)
        self.changed["/jwks"] = lambda answer: {"keys": [self.key.as_dict(private=False)]}

    def send(self, id_token: str) -> None:
        """Let it answer with this ID token."""
        self.changed["/oauth2/token"] = lambda answer: {**answer, "id_token": id_token}


@contextmanager
def open_provider() -> Iterator[OpenIdProvider]:
    served = app(user_claims=[User(sub=name, claims=dict(claims)) for name, claims in USERS.items()])
    server = make_server("localhost", 0, served, threaded=True)
    found = OpenIdProvider(issuer=f"http://localhost:{server.server_port}")

    @served.after_request  # type: ignore[untyped-decorator]
    def change(response: flask.Response) -> flask.Response:
        if flask.request.path == found.moved and not flask.request.args:
            response.status_code, response.location = 307, f"{found.moved}?elsewhere=1"
        if flask.request.path in found.changed:
            response.set_data(flask.json.dumps(found.changed[flask.request.path](response.get_json())))
        return response

    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
