"""Pages by HTTP alone: what stands on them, their links and forms; quickly, without a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from xml.etree import ElementTree

from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from cratedb_retention import Retention
from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import make_app
from cratedb_retention.service.runs import Runs
from cratedb_retention.service.settings import HttpSettings, Settings
from cratedb_retention.ui.frame import mount
from cratedb_retention.ui.links import LOGIN

Element = ElementTree.Element


def parse(markup: str) -> Element:
    """Markup as a tree, of which it has to be well-formed."""
    return ElementTree.fromstring(markup.removeprefix("<!doctype html>"))


def text_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


@dataclass(frozen=True)
class Served:
    """A page."""

    status: int
    headers: dict[str, str]
    markup: str

    @property
    def root(self) -> Element:
        return parse(self.markup)

    def all(self, path: str) -> list[Element]:
        return self.root.findall(f".//{path}")

    @property
    def text(self) -> str:
        main = self.root.find(".//main")
        assert main is not None
        return text_of(main)

    @property
    def title(self) -> str:
        return text_of(self.all("h1")[0])

    def texts(self, path: str) -> list[str]:
        return [text_of(each) for each in self.all(path)]

    def rows(self, caption: str) -> list[dict[str, str]]:
        """
        The rows of a table by its name, each by the labels of its columns, and ``Below`` for what stands below it;
        empty without such a table.
        """
        found = [table for table in self.all("table") if text_of(table[0]) == caption]
        heads = [text_of(head) for table in found for head in table.findall("thead/tr/th")]
        rows = list[dict[str, str]]()
        for row in (row for table in found for row in table.findall("tbody/tr")):
            if row.get("class") == "below":
                rows[-1]["Below"] = " ".join(" ".join(row.itertext()).split())
            else:
                rows.append(dict(zip(heads, (" ".join(map(text_of, cell.iter("div"))) for cell in row), strict=True)))
        return rows

    def href(self, label: str) -> str:
        """Where the first link of the page itself with a text leads."""
        return next(link.get("href", "") for link in self.all("main//a") if text_of(link) == label)

    @property
    def links(self) -> dict[str, str]:
        """All of the page itself, without the menu."""
        return {text_of(link): link.get("href", "") for link in self.all("main//a")}

    def fields(self, do: str) -> dict[str, str]:
        """What stands in the form that does something; empty without such a form."""
        for form in self.all("form"):
            found = {each.get("name", ""): each.get("value", "") for each in form.iter("input")}
            found |= {each.get("name", ""): each.text or "" for each in form.iter("textarea")}
            if found.get("do") == do:
                return found
        return {}

    def form(self, name: str) -> dict[str, list[str]]:
        """What a browser sends of the form with this class, without a button; empty without such a form."""
        found: dict[str, list[str]] = {}
        for each in (field for form in self.all(f"form[@class='{name}']") for field in form.iter()):
            chosen = each.get("type") not in ("checkbox", "radio") or each.get("checked") is not None
            if each.tag not in ("input", "textarea", "select") or each.get("disabled") is not None or not chosen:
                continue
            text = each.get("value", "on" if each.get("type") == "checkbox" else "")
            if each.tag == "textarea":
                text = each.text or ""
            elif each.tag == "select":
                options = [option for option in each if option.get("selected") is not None] or list(each)
                text = options[0].get("value", "")
            found.setdefault(each.get("name", ""), []).append(text)
        return found


@dataclass(frozen=True)
class Visitor:
    """A user at a service."""

    client: TestClient

    def get(self, path: str) -> Served:
        return self._served(self.client.get(path))

    def post_several(self, path: str, **form: str | list[str]) -> Served:
        """Send a form whose fields are in a dictionary, some of them several times."""
        return self._served(self.client.post(path, data=form, headers={"Origin": "http://localhost"}))

    def post(self, path: str, *, origin: str = "http://localhost", **form: str | Sequence[str]) -> Served:
        """Send a form, from a page of the service unless another one is named; a field can have several values."""
        given = {name.rstrip("_"): value for name, value in form.items()}
        return self._served(self.client.post(path, data=given, headers={"Origin": origin}))

    @staticmethod
    def _served(answer: object) -> Served:
        return Served(answer.status_code, dict(answer.headers), answer.text)  # type: ignore[attr-defined]


class InTurn:
    """Hands each request to the next of several applications, like a proxy without sticky sessions."""

    def __init__(self, apps: Sequence[ASGIApp]) -> None:
        self._apps = cycle(apps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await next(self._apps)(scope, receive, send)


@dataclass(frozen=True)
class Service:
    """A service with pages."""

    context: Context
    client: TestClient

    def log_in(self, role: Role, *limit: str) -> Visitor:
        """A user with a new token."""
        name = "-".join((str(role), *limit))
        return self.visit(self.context.retention.create_token(name, role, parse_tag_filter(limit))[1])

    def visit(self, token: str = "", cookie: tuple[str, str] | None = None) -> Visitor:
        """A user who logs in with the text of a token, or has a cookie from elsewhere."""
        client = TestClient(self.client.app, base_url="http://localhost", follow_redirects=False)
        if cookie:
            client.cookies.set(*cookie)
        if token:
            answer = client.post(LOGIN, data={"token": token})
            assert answer.status_code == 303, answer.text
        return Visitor(client)


@contextmanager
def open_service(
    retention: Retention, authenticate: bool = True, settings: Settings | None = None
) -> Iterator[Service]:
    """A service, in this process and without a port."""
    runs = Runs()
    limits = HttpSettings(rate=1000, burst=100_000)
    found = settings or Settings()
    context = Context(retention=retention, authenticate=authenticate, limits=limits, settings=found, runs=runs)
    app = make_app(context)
    mount(app, context)
    yield Service(context, TestClient(app, base_url="http://localhost", follow_redirects=False))
    runs.close()
    context.operations.close()
