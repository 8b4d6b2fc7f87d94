"""Administration, by HTTP: only for admins, and without secrets."""

from __future__ import annotations

import re

import pytest

from cratedb_retention import __version__
from cratedb_retention.model.access import Role
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.time import parse_instant
from cratedb_retention.planning.schedule import Timetable
from cratedb_retention.service.settings import MASKED, Settings
from cratedb_retention.store.notifications import Notice, NoticeState
from cratedb_retention.ui import links
from support.databases import DuckDatabase
from support.sample_data import HOSTILE
from support.served import Served, Service, Visitor, open_service

PAGE = "/ui/administration"
TOKENS, SESSIONS = f"{PAGE}?tab=tokens", f"{PAGE}?tab=sessions"


@pytest.fixture
def admin(service: Service) -> Visitor:
    return service.log_in(Role.ADMIN)


def facts(page: Served) -> dict[str, str]:
    return dict(zip(page.texts("dt"), page.texts("dd"), strict=True))


def test_health(db: DuckDatabase, admin: Visitor) -> None:
    """A policy that is due and run by no service is trouble; a run that has it is shown with its lease."""
    page = admin.get(PAGE)
    assert "No service runs 2 due policies, the first of them since 2024-07-" in page.text
    assert page.href("Show the first one") in (links.policy("visits"), links.policy("weather"))
    assert {**facts(page), "Version": __version__, "Policies with a schedule": "2"} == facts(page)
    assert "No run holds a policy." in page.text
    schedule = db.tool.schedule
    session = schedule.take(schedule.find_due(Timetable()), RunOptions())
    assert session is not None
    page = admin.get(PAGE)
    rows = page.rows("Leases in force")
    assert {row["Policy"] for row in rows} == {"visits", "weather"}
    assert {row["Run"] for row in rows} == {session.leases.run_id[:8]}
    assert "All schedules are kept" in page.text
    session.leases.release({})
    assert "No service runs 2 due policies" in admin.get(PAGE).text
    db.tool.run_due()
    page = admin.get(PAGE)
    assert "All schedules are kept" in page.text
    assert facts(page)["Next run"] == "2024-07-02 13:00:00"


def test_policies_that_are_late_for_a_moment(db: DuckDatabase, service: Service) -> None:
    """What is due for less than some polls waits for the next one."""
    db.tool.run_due()
    db.time.set("2024-07-02T13:00:50+00:00")
    assert "All schedules are kept" in service.log_in(Role.ADMIN).get(PAGE).text
    with open_service(db.tool, settings=Settings.model_validate({"service": {"interval": 3600}})) as seldom:
        db.time.set("2024-07-02T15:30:00+00:00")
        assert "All schedules are kept" in seldom.log_in(Role.ADMIN).get(PAGE).text
    assert "No service runs 1 due policy" in service.log_in(Role.ADMIN).get(PAGE).text
    db.time.set("2024-07-03T01:00:00+00:00")
    page = service.log_in(Role.ADMIN).get(PAGE)
    assert "No service runs 2 due policies, the first of them since 2024-07-02 13:00" in page.text
    assert page.href("Show the first one") == links.policy("weather")


def test_what_was_notified_of(db: DuckDatabase, admin: Visitor) -> None:
    """Each notification has its state, policy and reason, as text; policies that cannot be read are counted."""
    since = parse_instant("2024-07-01")
    for state in NoticeState:
        notice = Notice(policy_id=f"p-{state}", kind="failed", state=state, since=since, reason=HOSTILE)
        db.tool.notices.change(None, notice)
    columns = "id, strategy, table_name, retention_period, version"
    table = db.q("retention_policy", db.own_schema)
    db.sql(f"INSERT INTO {table} ({columns}) VALUES ('broken', 'shred', 'old', 'soon', 1)")
    page = admin.get(PAGE)
    rows = {row["Policy"]: (row["Sent"], row["Reason"]) for row in page.rows("Notifications")}
    assert rows["p-told"] == ("sent", HOSTILE)
    assert rows["p-waiting"] == ("not yet", HOSTILE)
    assert len(rows) == len(NoticeState)
    assert "1 policy in the database cannot be read." in page.text
    assert "<script>alert" not in page.markup


def test_tokens(db: DuckDatabase, service: Service, admin: Visitor) -> None:
    """A token is made with a form, which shows its secret once; it is revoked at once, with its sessions."""
    form = {"do": "create", "name": "acme-1", "role": "editor", "tags": "acme or web,not:old", "expires": "2024-08-01"}
    made = admin.post(TOKENS, **form)
    [secret] = made.texts("code[@id='secret']")
    assert re.fullmatch(r"crt_[0-9a-f]{16}_\S{43}", secret)
    assert made.headers["cache-control"] == "no-store"
    page = admin.get(TOKENS)
    assert secret not in page.markup
    [row] = [row for row in page.rows("Access tokens") if row["Name"] == "acme-1"]
    token = next(token for token in db.tool.access.tokens() if token.name == "acme-1")
    assert (row["Role"], row["Scope"], row["Expires"]) == ("editor", str(token.limit), "2024-08-01 00:00:00")
    assert token.limit.texts == ("acme", "web,not:old")
    assert db.journal(event="token-created")[0]["message"].startswith("acme-1 (token")
    user = service.visit(secret)
    assert user.get("/ui/").status == 200
    preview = admin.get(f"{TOKENS}&token={token.id}")
    fields = preview.fields("revoke")
    assert (fields["token"], "acme-1 (editor) is invalid at once" in preview.text) == (token.id, True)
    done = admin.post(TOKENS, **fields)
    assert (done.status, "The token is revoked." in admin.get(done.headers["location"]).text) == (303, True)
    assert user.get("/ui/").status == 303
    assert "acme-1" not in {row["Name"] for row in admin.get(TOKENS).rows("Access tokens")}
    every = admin.get(admin.get(TOKENS).href("Show 1 expired or revoked"))
    assert {row["State"] for row in every.rows("Access tokens") if row["Name"] == "acme-1"} == {"revoked"}
    again = admin.post(TOKENS, **fields)
    assert (again.status, "is not in force" in again.texts("div[@role='alert']")[0]) == (404, True)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": HOSTILE}, "invalid name of a token"),
        ({"role": "boss"}, "role 'boss'"),
        ({"role": "admin", "tags": "acme"}, "cannot be limited to tags"),
        ({"tags": "not:acme"}, "has no required tag"),
        ({"expires": "2024-01-01"}, "its expiry is in the past"),
        ({"expires": "soon"}, "not an ISO 8601 date and time"),
    ],
)
def test_no_such_token(db: DuckDatabase, admin: Visitor, wrong: dict[str, str], reason: str) -> None:
    """What makes no token is refused, with what was written."""
    before = len(db.tool.access.tokens())
    page = admin.post(TOKENS, **{"do": "create", "name": "x", "role": "viewer", "tags": "", "expires": "", **wrong})
    assert page.status == 422
    assert reason.lower() in page.texts("div[@role='alert']")[0].lower()
    fields = page.fields("create")
    assert {name: fields[name] for name in wrong if name != "role"} == {
        name: value for name, value in wrong.items() if name != "role"
    }
    assert len(db.tool.access.tokens()) == before


def test_sessions(service: Service, admin: Visitor) -> None:
    """Each session is listed by its token, one's own among them; one that is ended leads to the log-in."""
    viewer = service.log_in(Role.VIEWER)
    page = admin.get(SESSIONS)
    rows = page.rows("Sessions")
    assert {row["User"] for row in rows} == {"viewer", "admin this session"}
    forms = [
        {each.get("name", ""): each.get("value", "") for each in form.iter("input")} for form in page.all("td//form")
    ]
    fields = next(form for row, form in zip(rows, forms, strict=True) if row["User"] == "viewer")
    done = admin.post(SESSIONS, **fields)
    assert (done.status, "The session is over." in admin.get(done.headers["location"]).text) == (303, True)
    assert viewer.get("/ui/").status == 303
    assert admin.get("/ui/").status == 200
    assert admin.post(SESSIONS, **fields).status == 404
    assert admin.post(SESSIONS, do="end").status == 404


def test_sessions_that_are_over(db: DuckDatabase, service: Service, admin: Visitor) -> None:
    """A session that was not used for hours is not listed, though its row is still there."""
    service.log_in(Role.VIEWER)
    for at, expected in (("19", {"viewer", "admin this session"}), ("21", {"admin this session"})):
        db.time.set(f"2024-07-02T{at}:00:00+00:00")
        assert {row["User"] for row in admin.get(SESSIONS).rows("Sessions")} == expected


def test_settings_without_secrets(db: DuckDatabase) -> None:
    """All settings are shown as `config` shows them: passwords, keys and addresses with secrets never."""
    settings = Settings.model_validate(
        {
            "database": {"uri": "crate://joe:hunter2@db:4200/", "schema": "ext"},
            "notify": {"webhook": "https://hooks/hunter2", "webhook_secret": "hunter2", "channels": "slack://hunter2"},
            "http": {"hosts": "a.example,b.example"},
        }
    )
    with open_service(db.tool, settings=settings) as service:
        admin = service.log_in(Role.ADMIN)
        page = admin.get(f"{PAGE}?tab=settings")
        shown = {row["Setting"]: (row["Value"], row["From"]) for row in page.rows("Settings")}
        assert shown["notify.webhook_secret"] == (MASKED, "set")
        assert shown["database.uri"][0].startswith("crate://joe:")
        assert shown["http.hosts"] == ("a.example b.example", "set")
        assert shown["service.workers"] == ("2", "default")
        assert "hunter2" not in page.markup + admin.get(PAGE).markup
        assert facts(admin.get(PAGE))["Notifications by"] == "webhook, 1 chat or mail service"


def test_only_for_admins(db: DuckDatabase, service: Service, admin: Visitor) -> None:
    """Others see neither the page nor its entry in the menu, and cannot send its forms."""
    assert "Admin" in admin.get("/ui/").texts("nav[@class='menu']/a")
    for other in (service.log_in(Role.EDITOR), service.log_in(Role.EDITOR, "acme"), service.log_in(Role.VIEWER)):
        assert "Admin" not in other.get("/ui/").texts("nav[@class='menu']/a")
        for tab in ("health", "tokens", "sessions", "settings"):
            page = other.get(f"{PAGE}?tab={tab}")
            assert (page.status, bool(page.all("table"))) == (403, False)
        assert other.post(TOKENS, do="create", name="x", role="admin").status == 403
        assert other.post(SESSIONS, do="end", session="x").status == 403
    assert "x" not in {token.name for token in db.tool.access.tokens()}
    assert admin.post(TOKENS, origin="http://example.org", do="create", name="x", role="admin").status == 403
