"""
Logging in and out without a browser: who gets in, until when, and where a log-in leads. `tests/ui/test_frame.py` has it
with the pages themselves.
"""

from __future__ import annotations

import datetime as dt

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from cratedb_retention.errors import RetentionError
from cratedb_retention.model.access import Role
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.store.access import IDLE
from cratedb_retention.ui import access, log_in
from cratedb_retention.ui.access import COOKIE, GUEST, Entrance
from cratedb_retention.ui.links import LOGIN, LOGOUT
from cratedb_retention.ui.log_in import make_router
from support.databases import Database

PAGE = "/ui/page"


@pytest.fixture
def token(duck: Database) -> str:
    """The text of an access token."""
    return duck.tool.create_token("x", Role.VIEWER)[1]


@pytest.fixture
def browser(duck: Database) -> TestClient:
    """What stands before the pages, with a page of one word."""
    return open_browser(Context(retention=duck.tool))


def open_browser(context: Context) -> TestClient:
    """A browser of its own, at a service of its own."""
    app = FastAPI()
    app.include_router(make_router(context))

    @app.get(PAGE)
    @app.post(PAGE)
    def page(request: Request) -> str:
        try:
            return str(request.scope[GUEST].scoped().access.actor.partition(" ")[0])
        except Failed as failed:
            return failed.reason

    app.add_middleware(Entrance, context=context)
    return TestClient(app, base_url="https://localhost", follow_redirects=False)


def enter(browser: TestClient, token: str, to: str = PAGE) -> str:
    """Where a log-in leads."""
    answer = browser.post(LOGIN, data={"token": token, "to": to})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def is_in(browser: TestClient) -> bool:
    """Whether the page is shown."""
    answer = browser.get(PAGE)
    assert answer.status_code in (200, 303)
    return answer.status_code == 200


def test_nobody_gets_in_without_logging_in(browser: TestClient) -> None:
    """A page leads to the log-in, whatever the cookie says; what changes something is refused."""
    for cookie in ("", "x", "AAAA"):
        browser.cookies.set(COOKIE, cookie)
        answer = browser.get(f"{PAGE}?a=b")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{LOGIN}?to=/ui/page%3Fa%3Db")
        assert browser.post(PAGE).status_code == 401
    assert browser.get(LOGIN).status_code == 200


def test_log_in_and_out(browser: TestClient, token: str) -> None:
    """A good token opens the pages; what its cookie said is worth nothing after the log-out."""
    for wrong in ("", "x", token[:-1], f"{token}x"):
        answer = browser.post(LOGIN, data={"token": wrong, "to": PAGE})
        assert (answer.status_code, COOKIE in answer.cookies) == (401, False)
        assert not is_in(browser)
    assert enter(browser, f" {token}\n") == PAGE
    assert is_in(browser)
    cookie = browser.cookies[COOKIE]
    assert browser.post(LOGOUT).status_code == 303
    move(cookie, browser)
    assert not is_in(browser)


def test_cookie(browser: TestClient, token: str) -> None:
    """The cookie can't be read by scripts, is not sent from other pages, nor without TLS, and is not the token."""
    said = browser.post(LOGIN, data={"token": token}).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/ui"} <= set(said.split("; "))
    assert token not in said


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example/",
        "/ui",
        "/uix/",
        "/ui/../x",
        "/ui/%2e%2e/x",
        "/ui/\\evil",
        "/ui/a\nb",
        LOGIN,
        f"{LOGOUT}?x",
        "javascript:alert(1)",
        "",
    ],
)
@pytest.mark.some(6)
def test_log_in_leads_nowhere_else(browser: TestClient, token: str, to: str) -> None:
    """Whatever the address says, the log-in leads to a page of ours that is neither log-in nor log-out."""
    assert enter(browser, token, to) == "/ui/"


def test_the_page_to_go_to_is_text(browser: TestClient) -> None:
    """An address can't bring anything into the page of the log-in."""
    to = '/ui/"><script>alert(1)</script>'
    for answer in (browser.get(LOGIN, params={"to": to}), browser.post(LOGIN, data={"token": "x", "to": to})):
        assert "<script>alert" not in answer.text
        assert "/ui/&quot;&gt;&lt;script&gt;" in answer.text


@pytest.mark.parametrize(
    ("visits", "last", "stays"),
    [
        ([], "2024-07-02T08:00:00", True),
        ([], "2024-07-02T08:00:01", False),
        (
            [f"2024-07-0{day}T{hour:02}:00:00" for day in range(2, 9) for hour in range(0, 24, 6)],
            "2024-07-09T00:00:00",
            True,
        ),
        (
            [f"2024-07-0{day}T{hour:02}:00:00" for day in range(2, 9) for hour in range(0, 24, 6)],
            "2024-07-09T00:00:01",
            False,
        ),
    ],
)
def test_sessions_end(
    browser: TestClient, duck: Database, token: str, visits: list[str], last: str, stays: bool
) -> None:
    """A session ends eight hours after it was last used, and a week after the log-in in any case."""
    enter(browser, token)
    for at in visits:
        duck.time.set(f"{at}+00:00")
        assert is_in(browser), at
    duck.time.set(f"{last}+00:00")
    assert is_in(browser) is stays


def test_an_open_page_does_not_use_a_session(browser: TestClient, duck: Database, token: str) -> None:
    """What a page asks for by itself is answered while its session lasts, and does not make it last longer."""
    enter(browser, token)
    for at, status in (("2024-07-02T07:00:00", 200), ("2024-07-02T08:00:01", 303)):
        duck.time.set(f"{at}+00:00")
        assert browser.get(PAGE, headers={"X-By-Itself": "yes"}).status_code == status
    assert not is_in(browser)


def move(cookie: str, browser: TestClient) -> None:
    """Let a browser have the cookie of another one."""
    browser.cookies.set(COOKIE, cookie, domain="localhost.local", path="/ui")


@pytest.mark.parametrize("engine", ["duck", pytest.param("crate", marks=pytest.mark.cratedb)])
def test_sessions_are_those_of_the_database(request: pytest.FixtureRequest, engine: str) -> None:
    """A log-in at one service is good at another one and after a restart; a log-out ends it everywhere."""
    db: Database = request.getfixturevalue(engine)
    token = db.tool.create_token("x", Role.VIEWER)[1]
    first, second = (open_browser(Context(retention=db.retention())) for _ in range(2))
    enter(first, token)
    move(first.cookies[COOKIE], second)
    assert (is_in(first), is_in(second)) == (True, True)
    third = open_browser(Context(retention=db.retention()))
    move(first.cookies[COOKIE], third)
    assert third.post(LOGOUT).status_code == 303
    assert (is_in(first), is_in(second)) == (False, False)
    found = str(db.rows(f"SELECT * FROM {db.q('page_session', db.own_schema)}"))
    assert token not in found


def test_sessions_that_are_over_are_removed(duck: Database, browser: TestClient, token: str) -> None:
    """Each log-in removes sessions that are over, and no others; the table has none of their names."""
    count = f"SELECT count(*) FROM {duck.q('page_session', duck.own_schema)}"
    names = [enter(browser, token) and browser.cookies[COOKIE] for _ in range(3)]
    duck.time.set((duck.time.moment + IDLE / 2).isoformat())
    move(names[0], browser)
    assert is_in(browser)
    duck.time.set((duck.time.moment + IDLE / 2 + dt.timedelta(seconds=1)).isoformat())
    enter(browser, token)
    assert duck.rows(count) == [(2,)]
    rows = str(duck.rows(f"SELECT * FROM {duck.q('page_session', duck.own_schema)}"))
    assert not any(name in rows for name in names)
    move(names[0], browser)
    assert is_in(browser)


def test_sessions_without_a_database(browser: TestClient, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing tells who has a session, pages say so, and do not lead to the log-in: the session goes on later."""
    enter(browser, token)

    def fail(*args: object) -> str:
        raise RetentionError("the database", "is away: secret words")

    with monkeypatch.context() as patch:
        patch.setattr(access, "find_session", fail)
        answer = browser.get(PAGE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "Does not answer." in answer.text
        assert "secret words" not in answer.text
    assert is_in(browser)


def test_without_a_database(browser: TestClient, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets in while no token can be looked up; what is not found is not kept by browsers."""

    def fail(*args: object) -> None:
        raise RetentionError("the database", "is away")

    monkeypatch.setattr(log_in, "begin_session", fail)
    answer = browser.post(LOGIN, data={"token": token, "to": PAGE})
    assert (answer.status_code, COOKIE in answer.cookies) == (503, False)
    answer = browser.get("/ui/static/nothing.css")
    assert (answer.status_code, "immutable" in answer.headers.get("cache-control", "")) == (404, False)


def test_token_that_ends(browser: TestClient, duck: Database, token: str) -> None:
    """What the token may do is looked up each time: once it is revoked, the session is worth nothing."""
    enter(browser, token)
    assert browser.get(PAGE).json() == "x"
    duck.tool.revoke_token("x")
    assert "unknown, expired or revoked" in browser.get(PAGE).json()


def test_without_tokens(duck: Database) -> None:
    """Where no tokens are asked for, nobody has to log in."""
    context = Context(retention=duck.tool, authenticate=False)
    app = FastAPI()
    app.include_router(make_router(context))
    app.add_middleware(Entrance, context=context)
    app.add_api_route(PAGE, lambda: "shown")
    browser = TestClient(app, base_url="http://localhost", follow_redirects=False)
    assert browser.get(PAGE).json() == "shown"
    assert browser.get(LOGIN).headers["location"] == "/ui/"
