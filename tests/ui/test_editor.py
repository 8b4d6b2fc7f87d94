"""
The page of a policy: what it shows before a policy is saved is what then happens, and nothing happens by accident.
Mostly by HTTP, where the form is sent as a browser sends it; what scripts add, in a browser.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.ui import links
from support.databases import MONTH, TIME, Database, DuckDatabase
from support.pages import NARROW, PATIENCE, PagesInBrowser
from support.sample_data import HOSTILE, HOSTILE_TABLE
from support.served import Served, Service, Visitor, text_of

expect.set_options(timeout=PATIENCE)
NEW, LIST = "/ui/policies/new", "/ui/policies"
LOST = "The next run permanently deletes 3 partitions (7 rows) of lab.visits: 2024-03-01 to 2024-05-31."


@dataclass
class Form:
    """The form of a draft, as a browser has it."""

    visitor: Visitor
    path: str
    page: Served
    fields: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, visitor: Visitor, path: str) -> Self:
        """The page at a path."""
        page = visitor.get(path)
        return cls(visitor, path, page, page.form("draft"))

    def write(self, **values: str | list[str] | None) -> Self:
        """Write into fields; None: take a check away. Two underscores stand for a colon."""
        for name, value in values.items():
            key = name.replace("__", ":")
            self.fields[key] = [] if value is None else value if isinstance(value, list) else [value]
        return self

    def send(self, **buttons: str) -> Served:
        """Send it, by default only to see the effect; what comes back is shown."""
        form: dict[str, str | list[str]] = {name: values for name, values in self.fields.items() if values}
        self.page = self.visitor.post_several(self.path, **(form | buttons))
        if self.page.status != 303:
            self.fields = self.page.form("draft") or self.fields
        return self.page

    def save(self, confirm: str = "") -> Served:
        """Press Save, with what confirms it."""
        return self.send(do="save", confirm=confirm)


def effect(page: Served) -> str:
    """What the page says about the next run."""
    return " ".join(page.texts("aside"))


def changes(page: Served) -> list[str]:
    """What saving would change."""
    return [text_of(line) for each in page.all("ul[@aria-label='Changes']") for line in each]


def life(page: Served) -> str:
    """The life of the data, as the picture says it."""
    [picture] = page.all("div[@class='life']")
    return picture.get("aria-label", "")


def can_save(page: Served) -> bool:
    """Whether the button can be pressed."""
    [button] = page.all("button[@value='save']")
    return button.get("disabled") is None


def stored(db: Database, identifier: str) -> Policy:
    """A policy as it is in the database."""
    return db.tool.policies.get(identifier).policy


@pytest.fixture
def editor(service: Service) -> Visitor:
    return service.log_in(Role.EDITOR)


def test_create(db: DuckDatabase, editor: Visitor) -> None:
    """What a new policy would do is that of the plan, is stored once it is confirmed, and is what a run does."""
    db.create("fresh", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("fresh", [f"2024-{month:02d}-{day:02d}T12:00:00" for month in range(1, 7) for day in (3, 10)])
    before = len(db.tool.policies())
    form = Form.of(editor, NEW)
    assert "Fill in: Table, Retention period. Then the effect is shown here." in effect(form.page)
    assert not form.page.all("p[@class='mistake']"), "nothing is wrong yet"
    page = form.write(table=f"{db.schema}.fresh", retention_period="60d", tags="acme, lab").send()
    said = f"permanently deletes 4 partitions (8 rows) of {db.schema}.fresh: 2024-01-01 to 2024-04-30."
    assert said in effect(page) and "Type fresh to confirm" in effect(page)
    assert page.href(f"{db.schema}.fresh") == links.table(TableName(db.schema, "fresh"))
    assert page.all("div[@class='lanes']") and page.all("div[@class='life']")
    for word in ("", "fres", f"{db.schema}.fresh"):
        assert form.save(word).status == 422
    db.fill("fresh", ["2023-12-03T12:00:00"])
    assert form.save("fresh").status == 409, "more than was shown would go"
    assert len(db.tool.policies()) == before
    done = form.save("fresh")
    [made] = [item.policy for item in db.tool.policies() if item.policy.table_name == "fresh"]
    assert (done.status, done.headers["location"]) == (303, f"{links.policy(made.id)}?saved=1")
    assert (str(made.retention_period), made.tags, made.enabled) == ("60d", ("acme", "lab"), True)
    assert "Saved." in editor.get(done.headers["location"]).text
    mine = [task for task in db.tool.plan().tasks if task.policy_id == made.id]
    assert (sum(task.partitions for task in mine), sum(task.rows or 0 for task in mine)) == (5, 9)
    db.run()
    assert db.count("fresh") == 13 - 9


def test_saved_with_care(db: DuckDatabase, editor: Visitor) -> None:
    """Only what was shown is saved; a change that another user made meanwhile is shown, and not lost."""
    form, rows = Form.of(editor, links.policy("visits")), db.count("visits")
    page = form.write(retention_period="30d").send()
    assert LOST in effect(page) and changes(page) == ["Retention period 90d → 30d"]
    shown = form.fields["shown"]
    # Written after the effect was shown, and saved at once.
    answer = form.write(retention_period="10d", schedule="@weekly").save("visits")
    assert (answer.status, "is not the one that was shown" in answer.text) == (409, True)
    assert form.fields["shown"] != shown and "Next run in 4 days: Sun 2024-07-07" in answer.text
    form.write(retention_period="30d", schedule="@daily").send()
    db.tool.edit_policy("visits", {"description": "Theirs"})
    answer = form.save("visits")
    assert (answer.status, can_save(answer)) == (409, False)
    [row] = [row for row in answer.rows("What differs") if row["Field"] == "Description"]
    assert (row["When you began"], row["Now, by another user"], row["As you wrote it"]) == (
        "Web visits",
        "Theirs",
        "Web visits",
    )
    now = stored(db, "visits")
    assert (now.description, str(now.retention_period)) == ("Theirs", "90d")
    form = Form.of(editor, answer.href("Load the present policy"))
    assert not form.page.rows("What differs")
    form.write(retention_period="30d").send()
    assert form.save("visits").headers["location"] == f"{links.policy('visits')}?saved=3"
    now = stored(db, "visits")
    assert (now.description, str(now.retention_period)) == ("Theirs", "30d")
    db.run()
    assert db.count("visits") == rows - 7
    assert Form.of(editor, links.policy("visits")).save().status == 422, "nothing to save"


def test_a_copy_is_another_policy(db: DuckDatabase, editor: Visitor) -> None:
    """What is copied stays as it is; what is disabled needs no word, and shows what it would do."""
    before = {item.id: item.policy for item in db.tool.policies()}
    form = Form.of(editor, links.new_policy("visits"))
    assert "already has the strategy delete there" in effect(form.page) and not can_save(form.page)
    assert form.page.href("Open policy visits") == links.policy("visits")
    assert form.save("visits").status == 409
    form.write(where__key="n", where__value="nothing").send()
    assert can_save(form.page)
    assert form.save().status == 303
    now = {item.id: item.policy for item in db.tool.policies()}
    [made] = now.keys() - before.keys()
    assert before.items() <= now.items()
    assert (now[made].table_name, now[made].where) == ("visits", {"n": "nothing"})
    form = Form.of(editor, links.policy("visits"))
    page = form.write(retention_period="30d", enabled=None).send()
    assert "Nothing happens while this policy is disabled." in effect(page) and LOST in effect(page)
    assert "To be able to undo this for a while, set “Recoverable for”" in effect(page)
    assert form.save().status == 303
    assert not stored(db, "visits").enabled
    assert not Form.of(editor, links.policy("visits")).fields.get("enabled")


def test_mistakes(db: DuckDatabase, editor: Visitor) -> None:
    """What is wrong is said at its field, which refers to it; what is only missing, once it is saved."""
    before = len(db.tool.policies())
    form = Form.of(editor, links.new_policy("orders"))
    for name, wrong, label, words in (
        ("retention_period", "30x", "Retention period", "not a duration"),
        ("schedule", "every day", "Schedule", "not a cron expression"),
        ("time_zone", "Mars/Olympus", "Time zone", "unknown"),
        ("tags", "not:x", "Tags", "must not begin with not:"),
        ("expected_max.rows", "many", "Maximum rows", "whole number"),
    ):
        right = form.fields[name]
        page = form.write(**{name: wrong}).send()
        [box] = page.all(f"input[@name='{name}']")
        [told] = page.all(f"p[@id='m-{name}']")
        assert words in text_of(told) and told.get("role") == "alert"
        assert box.get("aria-invalid") == "true" and f"m-{name}" in box.get("aria-describedby", "").split()
        assert f"Correct: {label}." in effect(page), name
        assert form.save().status == 422
        form.write(**{name: right})
    page = form.write(where__key=["tenant", ""], where__value=["", "x"]).send()
    assert "not of the form KEY=VALUE" in page.text
    page = form.write(where__key="tenant", where__value="").send()
    assert "tenant has no value" in page.text
    page = form.write(where__key="", target_repository_name="").send()
    assert "Fill in: Repository." in effect(page) and not page.all("p[@class='mistake']")
    form = Form.of(editor, NEW)
    page = form.save()
    assert page.texts("p[@class='mistake']") == ["must not be empty"] * 2
    assert len(db.tool.policies()) == before


def test_one_thing_in_three_views(db: DuckDatabase, editor: Visitor) -> None:
    """Form, YAML and command say the same; YAML can be changed, and what is no policy stays as it was written."""
    form = Form.of(editor, links.policy("visits"))
    page = form.write(retention_period="100d").send(view="yaml")
    [area] = page.all("textarea[@name='yaml']")
    [policy] = parse_policies(area.text or "", "x")
    assert (policy.id, str(policy.retention_period), policy.tags) == ("visits", "100d", ("acme", "web"))
    page = form.write(yaml=(area.text or "").replace("100d", "200d")).send(view="command")
    [command] = page.texts("pre")
    assert shlex.split(command.replace("\\ ", "")) == [
        "cratedb-retention",
        "edit-policy",
        "--id=visits",
        "--if-version=1",
        "--retention-period=200d",
    ]
    page = form.send(view="form")
    assert form.fields["retention_period"] == ["200d"] and changes(page) == ["Retention period 90d → 200d"]
    form.send(view="yaml")
    page = form.write(yaml="policies:\n- strategy: delete\n  table_name: [1]\n").send(view="form")
    assert form.fields["yaml"] == ["policies:\n- strategy: delete\n  table_name: [1]\n"]
    assert "line 3" in page.text and form.fields["left"] == ["yaml"] and "The YAML is not a policy yet." in effect(page)
    assert form.save("visits").status == 422
    page = form.write(yaml="[]").send()
    assert "has 0 policies" in page.text
    two = [{"strategy": "delete", "table_name": name, "retention_period": "3d"} for name in ("visits", "other")]
    assert "has 2 policies" in form.write(yaml=str({"policies": two})).send().text
    untouched = Form.of(editor, links.policy("visits"))
    untouched.send(view="yaml")
    page = untouched.write(yaml="policies: [").send()
    assert page.all("form[@class='draft']")[0].get("data-dirty") is not None, "leaving the page asks"
    new = Form.of(editor, NEW).write(table="a.b*", retention_period="1y", description="it's").send(view="command")
    assert "create-policy" in new.texts("pre")[0] and "'--table-name=b*'" in new.texts("pre")[0]


def test_a_table_is_picked(db: DuckDatabase, service: Service, editor: Visitor) -> None:
    """A pattern shows what it matches; values of a column are those that there are, to a tenant only its own."""
    db.create("events", {"ts": TIME, "tenant": "TEXT", "kind": "TEXT", "month": MONTH}, by=["month", "tenant"])
    rows = [{"ts": "2024-03-05T12:00:00", "tenant": each, "kind": f"{each}-kind"} for each in ("acme", "globex")]
    db.insert("events", rows)
    db.policy("delete", "events", "1y", tags=["acme"], where={"tenant": "acme"})
    form = Form.of(editor, f"{NEW}?table={db.schema}.events")
    assert form.fields["table"] == [f"{db.schema}.events"]
    assert form.page.all("form[@class='draft']")[0].get("data-dirty") is None
    page = form.write(retention_period="30d", where__key="tenant").send()
    assert page.texts("div[@id='v-where-0']/button") == ["acme", "globex"]
    page = form.send(put="where=tenant=globex")
    assert (form.fields["where:key"], form.fields["where:value"]) == (["tenant", ""], ["globex", ""])
    assert f"1 partition (1 row) of {db.schema}.events" in effect(page)
    page = form.write(where__key=["tenant", "kind"], where__value=["globex", ""]).send()
    kinds = page.all("div[@id='v-where-1']/button")
    assert [text_of(each) for each in kinds] == ["acme-kind", "globex-kind"]
    assert kinds[1].get("value") == "where=tenant=globex\nkind=globex-kind", "the other value stays"
    page = form.write(table=f"{db.schema}.?e*", where__key="", where__value="").send()
    assert f"Matches 2 tables: {db.schema}.letters, {db.schema}.weather" in page.text
    assert "No such table now." in form.write(table="nothing").send().text
    tenant = Form.of(service.log_in(Role.EDITOR, "acme"), f"{NEW}?table={db.schema}.events")
    page = tenant.write(retention_period="30d", where__key="tenant", tags="acme").send()
    assert page.texts("div[@id='v-where-0']/button") == ["acme"]
    assert "globex" not in page.markup


@pytest.mark.long("make test proves schedules in tests/model; here are their words")
def test_when_it_runs(editor: Visitor) -> None:
    """The next runs are in words, as one writes a schedule; what means nothing without one is not shown."""
    form = Form.of(editor, links.policy("letters"))
    assert "Manual only: it runs when a user starts it." in form.page.text
    assert [each.get("hidden") for each in form.page.all("div[@id='f-jitter']")] == [""]
    page = form.send(put="schedule=@weekly")
    assert "Next run in 4 days: Sun 2024-07-07 00:00:00; then Sun 2024-07-14 00:00:00, then Sun" in page.text
    assert [each.get("hidden") for each in page.all("div[@id='f-jitter']")] == [None]
    page = form.write(schedule="30 3 * * *", time_zone="Europe/Lisbon", jitter="10m").send()
    assert "Next run in 14 hours: Wed 2024-07-03 02:30:00" in page.text and "each up to 10m later" in page.text
    assert "Runs skip this policy" in form.write(enabled=None).send().text
    visits = Form.of(editor, links.policy("visits"))
    assert "Next run due now: " in visits.page.text, "a run was missed"


@pytest.mark.long("make test proves lifecycles in tests/model, and that one is drawn")
def test_its_life(db: DuckDatabase, editor: Visitor) -> None:
    """The life of the data is drawn with this policy and the others, as one writes."""
    form = Form.of(editor, links.policy("visits"))
    assert life(form.page) == "hot until 90d -> gone"
    db.policy("delete", "visit*", "50d")
    assert life(form.send()) == "hot until 50d -> gone"
    assert life(form.write(retention_period="40d").send()) == "hot until 40d -> gone"
    page = form.write(strategy="downsample", levels__key=["1h", "1d"], levels__value=["1y", "forever"]).send()
    assert life(page) == "hot until 40d -> gone; rollups: 1h until 1y, 1d forever"
    assert page.texts("span[@class='lane-title']")[:3] == ["Data", "Rollup 1h", "Rollup 1d"]
    assert stored(db, "visits").strategy == "delete"
    unsupported = page.all("input[@value='reallocate']")[0]
    assert unsupported.get("disabled") is not None
    page = form.write(strategy="snapshot", target_repository_name="vault", archive_period="7y").send()
    assert life(page) == "hot until 40d -> cold (vault) until 7y -> gone"


def test_hostile(db: DuckDatabase, editor: Visitor) -> None:
    """Whatever is written stays text, in the form, in the effect, and in the database."""
    form = Form.of(editor, links.policy("hostile"))
    assert (form.fields["table"], form.fields["description"]) == ([f"{db.schema}.{HOSTILE_TABLE}"], [HOSTILE])
    page = form.write(retention_period="30d").send()
    assert f"{db.schema}.{HOSTILE_TABLE}: 2023-07-01 to 2024-05-31" in effect(page)
    assert form.save(HOSTILE_TABLE).status == 303
    assert stored(db, "hostile").tags == (HOSTILE,)
    strange = f"{HOSTILE} {{{{7*7}}}} a=b"
    form = Form.of(editor, NEW).write(
        table=f"{HOSTILE}.{strange}", retention_period="30d", tags=strange, description=f"{strange}\r\nand more"
    )
    form.write(where__key="x", where__value=strange, time_column=strange, id=f"{HOSTILE}/?#%")
    page = form.send()
    assert "No such table now." in page.text
    assert form.save().status == 303
    made = stored(db, f"{HOSTILE}/?#%")
    assert (made.table_schema, made.table_name, made.tags) == (HOSTILE, strange, (strange,))
    assert (made.where, made.time_column, made.description) == ({"x": strange}, strange, f"{strange}\nand more")
    form = Form.of(editor, links.policy(made.id))
    assert "Nothing is changed yet." in form.send().text
    many = {"a=b": "line\nend", "n": None, "t": "NULL", "e": ""}
    db.policy("delete", "visits", "9y", id="odd", where=many, description="two\nlines")
    form = Form.of(editor, links.policy("odd"))
    assert "Nothing is changed yet." in form.send().text
    assert form.write(retention_period="8y").save().status == 303
    assert stored(db, "odd").where == many


def test_who_may(db: DuckDatabase, service: Service) -> None:
    """A viewer reads what a policy says and does; a tenant stays within its tags and tables, and sees no others."""
    viewer, acme = service.log_in(Role.VIEWER), service.log_in(Role.EDITOR, "acme")
    db.tool.edit_policy("visits", {"retention_period": "80d"})
    db.policy("delete", "letters", "9y", id="visits-too", where={"n": "x"})
    for days in range(10):  # As many changes as the history shows.
        db.tool.edit_policy("visits-too", {"retention_period": f"{days + 5_000}d"})
    page = viewer.get(links.policy("visits"))
    assert not page.form("draft") and "Retention period80d" in page.text
    assert "This run would delete" in page.text and page.all("div[@class='life']")
    [changed, made] = page.rows("Changes, newest first")
    assert "retention_period 90d → 80d" in changed["Below"] and made["Event"] == "Policy created"
    assert viewer.get(NEW).status == 403
    sent = Form.of(service.log_in(Role.EDITOR), links.policy("visits")).write(retention_period="1d").fields
    assert viewer.post_several(links.policy("visits"), **{**sent, "do": ["save"]}).status == 403
    assert acme.get(links.policy("orders")).status == 404
    assert "GET /api" not in acme.get(links.policy("orders")).text
    form = Form.of(acme, NEW)
    assert "id" not in form.fields and "id" in Form.of(service.log_in(Role.ADMIN), NEW).fields
    offered = {option.get("value") for option in form.page.all("option")}
    assert offered >= {"acme", f"{db.schema}.visits"}
    assert not offered & {f"{db.schema}.orders", f"{db.schema}.{HOSTILE_TABLE}", "globex", "shop", HOSTILE}
    before = len(db.tool.policies())
    form.write(table=f"{db.schema}.visits", retention_period="400d", tags="globex")
    assert "lack those of this token" in effect(form.send()) and not can_save(form.page)
    assert form.save("visits").status == 403
    form.write(table=f"{db.schema}.orders", tags="acme")
    assert "no policy with the tags of this token covers it" in effect(form.send())
    assert form.save("orders").status == 403
    assert len(db.tool.policies()) == before


def test_damaged(db: DuckDatabase, editor: Visitor) -> None:
    """A row that is no valid policy says why, and can't be edited."""
    db.sql(f"UPDATE {db.q('retention_policy', db.own_schema)} SET retention_period = 'soon' WHERE id = 'logs'")
    page = editor.get(f"{LIST}/{quote('logs')}")
    assert (page.status, "not a duration" in page.text) == (422, True)
    assert not page.form("draft")


@pytest.mark.long("make test proves contradictions by the preview, and links to what is refused")
def test_what_contradicts(db: DuckDatabase, editor: Visitor) -> None:
    """Contradictions between policies have links to the other policies."""
    form = Form.of(editor, NEW).write(table=f"{db.schema}.letters", strategy="snapshot", retention_period="200d")
    page = form.write(target_repository_name=db.repository).send()
    assert "would delete the data before snapshot after 200d (this policy) archives it" in effect(page)
    assert page.href("Policy letters") == links.policy("letters")
    assert not page.all("section[@id='what-if']")
    assert form.send(do="foresee").all("section[@id='what-if']"), "the next year, before and after"


# In a browser


def box(page: Page, label: str) -> Locator:
    """A field by its whole label."""
    return page.get_by_label(label, exact=True)


def verdict(page: Page) -> Locator:
    """What the next run would do."""
    return page.get_by_role("complementary", name="Effect")


def test_typing(pages: PagesInBrowser) -> None:
    """Presets and typing refresh the effect without loading the page; what confirmed another effect is gone."""
    db = pages.db
    page = pages.log_in("editor", links.policy("visits"))
    page.evaluate("window.here = 1")
    page.get_by_role("button", name="30d", exact=True).first.click()
    expect(verdict(page)).to_contain_text("3 partitions (7 rows)")
    expect(box(page, "Retention period")).to_have_value("30d")
    box(page, "Retention period").fill("")
    box(page, "Retention period").press_sequentially("1d")
    expect(verdict(page)).to_contain_text("4 partitions (")
    expect(box(page, "Retention period")).to_be_focused()
    word = page.get_by_label("Type visits to confirm")
    word.fill("visits")
    box(page, "Retention period").fill("30d")
    expect(verdict(page)).to_contain_text("3 partitions (7 rows)")
    expect(word).to_have_value("")  # It confirmed another effect.
    assert page.evaluate("window.here") == 1
    word.fill("visits")
    word.press("Enter")
    page.wait_for_url("**/ui/policies/visits?saved=2")
    assert str(stored(db, "visits").retention_period) == "30d"


def test_nothing_written_is_lost(pages: PagesInBrowser) -> None:
    """Leaving with changes asks; a lost service, a restart and an expired session keep the draft."""
    path = f"/ui/policies/new?table={pages.db.schema}.orders"
    page = pages.log_in("editor", path)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    box(page, "Retention period").fill("9y")
    expect(verdict(page)).to_contain_text("Nothing is due at the next run.")
    page.get_by_role("link", name="Plan", exact=True).click()
    expect(box(page, "Retention period")).to_have_value("9y")
    assert asked == ["beforeunload"]
    page.remove_listener("dialog", stay)
    page.route("**/ui/policies/new*", lambda route: route.abort())
    box(page, "Description").fill("Long thoughts")
    expect(page.locator("#lost")).to_be_visible()
    page.unroute("**/ui/policies/new*")
    box(page, "Tags").fill("long")
    expect(page.locator("#lost")).to_be_hidden()
    page.evaluate("document.querySelector('form.draft').removeAttribute('data-dirty')")
    page.reload()
    expect(box(page, "Description")).to_have_value("Long thoughts")
    expect(page.get_by_text("Your unsaved changes are back.")).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("button", name="Create policy").click()
    expect(page.locator("#lost")).to_be_visible()
    page.get_by_role("link", name="Log in again").click()
    page.get_by_label("Access token").fill(pages.tokens["editor"])
    page.get_by_role("button", name="Log in").click()
    pages.excuse(401, "net::ERR_FAILED")
    expect(box(page, "Description")).to_have_value("Long thoughts")
    expect(verdict(page)).to_contain_text("Nothing is due at the next run.")
    page.get_by_role("button", name="Create policy").click()
    page.wait_for_url(re.compile(r"saved=1$"))
    assert page.evaluate("sessionStorage.getItem('editing')") is None
    pages.go(page, path)
    expect(box(page, "Description")).to_have_value("")
    assert pages.tokens["editor"] not in page.evaluate("JSON.stringify(sessionStorage)")


@pytest.mark.long("make test sends the form by HTTP, and drives the main path of the page in a browser")
def test_small_and_without_scripts(pages: PagesInBrowser) -> None:
    """On a narrow screen nothing is wider than it, and Save is in view; forms do everything without scripts."""
    page = pages.log_in("editor", links.policy("weather"), size=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    expect(page.get_by_role("button", name="Save")).to_be_in_viewport()
    page = pages.window(scripts=False)
    page.goto(f"{pages.address}{links.policy('visits')}")
    page.get_by_label("Access token").fill(pages.tokens["editor"])
    page.get_by_role("button", name="Log in").click()
    box(page, "Retention period").fill("30d")
    box(page, "Retention period").press("Enter")
    expect(verdict(page)).to_contain_text("3 partitions (7 rows)")
    page.get_by_role("button", name="YAML").click()
    expect(page.locator("textarea[name=yaml]")).to_contain_text("30d")
    page.get_by_label("Type visits to confirm").fill("visits")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
