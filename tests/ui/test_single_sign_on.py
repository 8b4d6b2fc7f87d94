"""Log-in by OpenID Connect, at a real provider on loopback: who gets in, and as whom; what is not believed."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import pytest
from fastapi import FastAPI, Request
from httpx2 import Response
from playwright.sync_api import expect
from starlette.testclient import TestClient

from cratedb_retention.clock import system_clock
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.access import Role
from cratedb_retention.service.http.access import Context, admit_session, find_session
from cratedb_retention.service.http.app import HttpServer, make_app
from cratedb_retention.service.http.oidc import make_provider
from cratedb_retention.service.settings import HttpSettings, OidcSettings
from cratedb_retention.store.access import IDLE, LONGEST_OF_USER
from cratedb_retention.ui.access import COOKIE, GUEST, Entrance
from cratedb_retention.ui.frame import mount
from cratedb_retention.ui.links import LOGIN, LOGOUT
from cratedb_retention.ui.log_in import make_router
from support.databases import Database
from support.openid import GRANTS, OpenIdProvider, open_provider
from support.pages import Chromium

PAGE = "/ui/page"
CLIENT = "retention"


@pytest.fixture(scope="module")
def shared() -> Iterator[OpenIdProvider]:
    with open_provider() as found:
        yield found


@pytest.fixture
def provider(shared: OpenIdProvider) -> OpenIdProvider:
    shared.changed.clear()
    shared.moved = ""
    return shared


@pytest.fixture
def visitor(duck: Database, provider: OpenIdProvider) -> TestClient:
    """A browser at a service with a page that says who the user is."""
    return open_visitor(duck, settings(provider))


def present() -> dt.datetime:
    """The present of the provider, which is real."""
    return system_clock().now().replace(microsecond=0)


def settings(provider: OpenIdProvider, **more: Any) -> OidcSettings:
    given = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": "secret", "grants": GRANTS}
    return OidcSettings(**{**given, **more})


def open_visitor(db: Database, chosen: OidcSettings, burst: int = 100) -> TestClient:
    db.time.set(present().isoformat())
    provider = make_provider(chosen, db.time.clock)
    context = Context(retention=db.tool, provider=provider, limits=HttpSettings(burst=burst))
    app = FastAPI()
    app.include_router(make_router(context))
    app.add_middleware(Entrance, context=context)

    @app.get(PAGE)
    def page(request: Request) -> list[str]:
        access = request.scope[GUEST].scoped().access
        return [access.actor, str(access.role), str(access.limit)]

    return TestClient(app, base_url="https://localhost", follow_redirects=False)


def begin(visitor: TestClient) -> str:
    """The address at the provider that a log-in leads to."""
    found = next(
        line.split('"')[1].replace("&amp;", "&")
        for line in visitor.get(LOGIN, params={"to": PAGE}).text.split("href=")
        if "/login/provider" in line
    )
    answer = visitor.get(found)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def enter(visitor: TestClient, provider: OpenIdProvider, user: str) -> Response:
    """The answer when the user is back."""
    return visitor.get(provider.log_in(begin(visitor), user))


def who(visitor: TestClient) -> list[str] | None:
    """The name, role and limit of the user that the page is shown to; None: the page is not shown."""
    answer = visitor.get(PAGE)
    return answer.json() if answer.status_code == 200 else None


def attempt(visitor: TestClient) -> dict[str, str]:
    """What the browser keeps while its user is at the provider."""
    found = json.loads(base64.urlsafe_b64decode(visitor.cookies["cratedb_retention_login"]))
    return dict(found)


def test_a_user_logs_in_and_out(visitor: TestClient, duck: Database, provider: OpenIdProvider) -> None:
    """A user gets to the page they wanted, with what their groups may; nothing secret stays anywhere."""
    address = urlsplit(begin(visitor))
    asked = {key: values[0] for key, values in parse_qs(address.query).items()}
    kept = attempt(visitor)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(kept["verifier"].encode()).digest()).decode().rstrip("=")
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT,
        "scope": "openid profile",
        "redirect_uri": "https://localhost/ui/login/callback",
        "state": kept["state"],
        "nonce": kept["nonce"],
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    answer = visitor.get(provider.log_in(address.geturl(), "ada"))
    assert (answer.status_code, answer.headers["refresh"]) == (200, f"0; url={PAGE}")
    session = next(text for text in answer.headers.get_list("set-cookie") if text.startswith(COOKIE))
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/ui"} <= set(session.split("; "))
    assert set(visitor.cookies) == {COOKIE}
    assert who(visitor) == ["Ada (user ada)", "editor", "acme"]
    stored = str(duck.rows(f"SELECT * FROM {duck.q('page_session', duck.own_schema)}"))
    assert "acme" in stored
    assert not [text for text in ("everyone", visitor.cookies[COOKIE], *kept.values()) if text in stored]
    assert visitor.post(LOGOUT).status_code == 303
    assert who(visitor) is None


def test_who_a_user_is(visitor: TestClient, provider: OpenIdProvider) -> None:
    """The highest role of all groups counts. A name cannot look like that of an access token."""
    assert enter(visitor, provider, "grace").status_code == 200
    assert who(visitor) == ["Grace [token 0000000000000000] (user grace)", "operator", ""]


def test_groups_only_in_userinfo(visitor: TestClient, provider: OpenIdProvider) -> None:
    """Groups that are not in the ID token are asked for; those of another user are not believed."""
    address = begin(visitor)
    back = provider.log_in(address, "ada")
    provider.sign({**good(provider, visitor), "preferred_username": "Ada"})
    assert visitor.get(back).status_code == 200
    assert who(visitor) == ["Ada (user ada)", "editor", "acme"]
    back = provider.log_in(begin(visitor), "grace")
    provider.sign(good(provider, visitor))
    assert visitor.get(back).status_code == 403


def test_without_a_grant(visitor: TestClient, provider: OpenIdProvider) -> None:
    """A user without any of the groups does not get in; no session begins."""
    answer = enter(visitor, provider, "mallory")
    assert (answer.status_code, COOKIE in visitor.cookies) == (403, False)
    assert "Mallory is in no group" in answer.text
    assert who(visitor) is None


def test_refused(visitor: TestClient, provider: OpenIdProvider) -> None:
    """What the provider says when it refuses is shown as text, on the page that lets users try again."""
    refused = provider.log_in(begin(visitor), "ada", action="deny")
    answer = visitor.get(f"{refused}&state={attempt(visitor)['state']}")  # The provider of the tests omits it.
    assert (answer.status_code, COOKIE in visitor.cookies) == (403, False)
    assert "was refused by" in answer.text
    assert "/login/provider" in answer.text
    begin(visitor)
    state, said = attempt(visitor)["state"], "<script>alert(1)</script>"
    answer = visitor.get(f"{LOGIN}/callback", params={"state": state, "error": "x", "error_description": said})
    assert "<script>alert" not in answer.text


def test_an_answer_to_nothing(visitor: TestClient, duck: Database, provider: OpenIdProvider) -> None:
    """What another browser began does not log this one in, nor does what was changed on the way, or came before."""
    other = open_visitor(duck, settings(provider))
    theirs = provider.log_in(begin(other), "ada")
    assert visitor.get(theirs).status_code == 403
    begin(visitor)
    for back in (theirs, theirs.replace("state=", "was="), f"{LOGIN}/callback"):
        assert visitor.get(back).status_code == 403
        begin(visitor)
    own = provider.log_in(begin(visitor), "ada")
    assert visitor.get(f"{own}&iss=https://evil.example").status_code == 403
    visitor.cookies.set("cratedb_retention_login", "x", domain="localhost.local", path=LOGIN)
    assert visitor.get(theirs).status_code == 403
    assert COOKIE not in visitor.cookies
    assert other.get(theirs).status_code == 200
    begin(other)
    assert other.get(theirs).status_code == 403


def good(provider: OpenIdProvider, visitor: TestClient) -> dict[str, Any]:
    """Claims that are believed, of a log-in that this browser began."""
    now = int(present().timestamp())
    nonce = attempt(visitor)["nonce"]
    return {"iss": provider.issuer, "aud": CLIENT, "sub": "ada", "iat": now, "exp": now + 600, "nonce": nonce}


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "another"},
    "several audiences": {"aud": ["another", "third"], "azp": CLIENT},
    "another party": {"aud": [CLIENT, "another"], "azp": "another"},
    "another log-in": {"nonce": "x"},
    "no log-in": {"nonce": None},
    "over": {"exp": -300},  # Seconds from now.
    "from the future": {"iat": 3600},
    "without a user": {"sub": None},
}


def test_id_tokens_that_are_not_believed(visitor: TestClient, provider: OpenIdProvider) -> None:
    """Each check of an ID token: without any one of them, such a token would open the pages."""
    for name, wrong in WRONG.items():
        back = provider.log_in(begin(visitor), "ada")
        claims = {**good(provider, visitor), "groups": ["acme"]}
        claims |= {
            key: int(present().timestamp()) + value if key in ("exp", "iat") else value for key, value in wrong.items()
        }
        provider.sign({key: value for key, value in claims.items() if value is not None})
        assert (visitor.get(back).status_code, COOKIE in visitor.cookies) == (502, False), name
    back = provider.log_in(begin(visitor), "ada")
    provider.sign({**good(provider, visitor), "groups": ["acme"]})
    assert visitor.get(back).status_code == 200


def test_signatures(visitor: TestClient, provider: OpenIdProvider) -> None:
    """A token is signed with a key of the provider, and by a method that needs its private part."""
    for key in ("kid", "other", "none", "secret"):
        back = provider.log_in(begin(visitor), "ada")
        claims = {**good(provider, visitor), "groups": ["acme"]}
        provider.sign(claims)
        if key == "other":
            del provider.changed["/jwks"]
        elif key in ("none", "secret"):
            forged = unsigned(claims) if key == "none" else signed_with_public_key(claims, provider)
            provider.send(forged)
        assert visitor.get(back).status_code == (200 if key == "kid" else 502), key
        provider.changed.clear()


def unsigned(claims: dict[str, Any], header: dict[str, str] | None = None) -> str:
    parts = (json.dumps(each).encode() for each in (header or {"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def signed_with_public_key(claims: dict[str, Any], provider: OpenIdProvider) -> str:
    """As if the public key were a secret that both know."""
    text = unsigned(claims, {"alg": "HS256", "kid": "test"})
    digest = hmac.new(provider.key.as_pem(private=False), text[:-1].encode(), "sha256").digest()
    return text + base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", {"issuer": "https://evil.example"}),
        ("/.well-known/openid-configuration", ["x"]),
        ("/oauth2/token", {"access_token": "x", "token_type": "Bearer"}),
        ("/oauth2/token", {"error": "invalid_client"}),
        ("/jwks", {}),
    ],
)
def test_a_provider_that_answers_otherwise(
    visitor: TestClient, provider: OpenIdProvider, path: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one line for the user, and the log has more; no session begins."""
    back = provider.log_in(begin(visitor), "ada")
    provider.changed[path] = lambda given: answer
    shown = visitor.get(back)
    assert (shown.status_code, COOKIE in visitor.cookies) == (502, False)
    assert f"Provider {provider.issuer} did not answer as it should." in shown.text
    assert provider.issuer in caplog.text


def test_a_provider_that_sends_elsewhere(visitor: TestClient, provider: OpenIdProvider) -> None:
    """What it says is read where the settings and its own description say, and nowhere else."""
    back = provider.log_in(begin(visitor), "ada")
    provider.moved = "/jwks"
    assert (visitor.get(back).status_code, COOKIE in visitor.cookies) == (502, False)


def test_a_provider_of_another_name(visitor: TestClient, provider: OpenIdProvider) -> None:
    """One that calls itself otherwise than the settings do is not asked, whatever else it says."""
    back = provider.log_in(begin(visitor), "ada")
    provider.changed["/.well-known/openid-configuration"] = lambda given: {**given, "issuer": "https://evil.example"}
    assert (visitor.get(back).status_code, COOKIE in visitor.cookies) == (502, False)


def test_where_users_come_back(duck: Database, provider: OpenIdProvider) -> None:
    """At the address that the browser asked for, unless a setting has the one that is registered."""
    registered = "https://retention.example.org/ui/login/callback"
    visitor = open_visitor(duck, settings(provider, redirect_uri=registered))
    assert parse_qs(urlsplit(begin(visitor)).query)["redirect_uri"] == [registered]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_how_the_secret_is_sent(visitor: TestClient, provider: OpenIdProvider, method: str) -> None:
    """In a header, unless the provider only takes it in the body."""
    asked: list[tuple[bool, bool]] = []

    def answer(found: Any) -> Any:
        asked.append(("Authorization" in flask.request.headers, "client_secret" in flask.request.form))
        return found

    about = {"token_endpoint_auth_methods_supported": [method]}
    provider.changed["/.well-known/openid-configuration"] = lambda found: {**found, **about}
    provider.changed["/oauth2/token"] = answer
    assert enter(visitor, provider, "ada").status_code == 200
    assert asked == [(method == "client_secret_basic", method == "client_secret_post")]


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"groups": "acme", "email": "ada@example.org"}, "ada@example.org"),
        ({"groups": ["acme"], "preferred_username": "Ada\nAdmin"}, "Ada Admin"),
    ],
)
def test_claims_of_other_forms(
    visitor: TestClient, provider: OpenIdProvider, claims: dict[str, Any], name: str
) -> None:
    """A single group may be text, a name may be missing, and is one line."""
    back = provider.log_in(begin(visitor), "ada")
    provider.sign({**good(provider, visitor), **claims})
    assert visitor.get(back).status_code == 200
    assert who(visitor) == [f"{name} (user ada)", "editor", "acme"]


def test_without_its_provider(duck: Database, provider: OpenIdProvider) -> None:
    """A provider that does not answer is said; access tokens open the pages as ever."""
    visitor = open_visitor(duck, settings(provider, issuer="http://127.0.0.1:9"))
    assert visitor.get(f"{LOGIN}/provider").status_code == 502
    token = duck.tool.create_token("x", Role.VIEWER)[1]
    assert visitor.post(LOGIN, data={"token": token}).status_code == 303
    assert who(visitor)


def test_too_many(duck: Database, provider: OpenIdProvider) -> None:
    """Both halves of a log-in count as requests of an address."""
    visitor = open_visitor(duck, settings(provider), burst=1)
    found = [visitor.get(f"{LOGIN}/{half}").status_code for half in ("provider", "provider", "callback")]
    assert found == [303, 429, 429]


def test_sessions_end(visitor: TestClient, duck: Database, provider: OpenIdProvider) -> None:
    """A session ends half a day after the log-in, however often it is used, and is listed until then."""
    begun = duck.time.moment
    enter(visitor, provider, "ada")
    for part in (IDLE / 2, IDLE, LONGEST_OF_USER):
        duck.time.set((begun + part).isoformat())
        assert who(visitor)
        assert len(duck.tool.sessions.all()) == 1
    duck.time.set((begun + LONGEST_OF_USER + dt.timedelta(seconds=1)).isoformat())
    assert who(visitor) is None
    assert duck.tool.sessions.all() == []


@pytest.mark.parametrize("engine", ["duck", pytest.param("crate", marks=pytest.mark.cratedb)])
def test_grants_are_those_of_the_settings(
    request: pytest.FixtureRequest, engine: str, provider: OpenIdProvider
) -> None:
    """Sessions are in the database; what they may is what the settings of the service say now."""
    db: Database = request.getfixturevalue(engine)
    first = open_visitor(db, settings(provider))
    enter(first, provider, "ada")
    assert who(first) == ["Ada (user ada)", "editor", "acme"]
    for grants, found in ((("acme=viewer",), ["Ada (user ada)", "viewer", ""]), (("globex=viewer",), None)):
        second = open_visitor(db, settings(provider, grants=grants))
        second.cookies.set(COOKIE, first.cookies[COOKIE], domain="localhost.local", path="/ui")
        if found:
            assert who(second) == found
        else:
            with pytest.raises(Exception, match="is in no group"):
                who(second)
    context = Context(retention=db.tool)
    session = find_session(context, first.cookies[COOKIE])
    assert session is not None
    assert session.identity is not None


def test_tags_of_other_users(duck: Database, provider: OpenIdProvider) -> None:
    """Tags of users without access tokens are theirs, too: no tenant may put them on a policy."""
    visitor = open_visitor(duck, settings(provider))
    enter(visitor, provider, "ada")
    context = Context(retention=duck.tool, provider=make_provider(settings(provider), duck.time.clock))
    scoped = admit_session(context, find_session(context, visitor.cookies[COOKIE]), "localhost")
    assert scoped.visibility.foreign_tags == {"globex"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"issuer": "http://login.example.org"}, "oidc.issuer http://login.example.org: not an https:// address"),
        ({"issuer": "login"}, "oidc.issuer login: not an https:// address"),
        ({"client_id": None}, "oidc.client_id: missing"),
        ({"grants": ()}, "oidc.grants: missing"),
        ({"grants": ("acme",)}, "oidc.grants, grant 'acme': not GROUP=ROLE"),
        ({"grants": ("acme=boss",)}, "oidc.grants, role"),
        ({"grants": ("acme=admin:acme",)}, "oidc.grants, role admin: cannot be limited"),
    ],
)
def test_wrong_settings(provider: OpenIdProvider, wrong: dict[str, Any], said: str) -> None:
    """A service does not start with settings that let in too many users, or none."""
    with pytest.raises(InvalidInput) as caught:
        make_provider(settings(provider, **wrong), system_clock())
    assert str(caught.value).startswith(said)


def test_without_settings() -> None:
    """Without a provider there is no such log-in."""
    assert make_provider(OidcSettings(), system_clock()) is None


def test_in_a_browser(browser: Chromium, duck: Database, provider: OpenIdProvider) -> None:
    """From the page that a user wanted to the provider, which is another site, and back to that page."""
    duck.time.set(present().isoformat())
    context = Context(retention=duck.tool, provider=make_provider(settings(provider), duck.time.clock))
    app = make_app(context)
    mount(app, context)
    server = HttpServer(app, "127.0.0.1", 0)
    server.start()
    address, kind = f"http://127.0.0.1:{server.port}", ((1280, 850), False, True)
    page = browser.take(kind)
    try:
        page.goto(f"{address}/ui/runs?state=failed")
        page.get_by_role("link", name="Log in with your organization").click()
        page.locator("input[name=sub]").fill("ada")
        page.get_by_role("button", name="Authorize").click()
        page.wait_for_url(f"{address}/ui/runs?state=failed")
        expect(page.get_by_role("banner")).to_contain_text("Ada (editor of acme)")
    finally:
        browser.give_back(kind, page, address)
        server.stop()
