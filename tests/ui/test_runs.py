"""Runs on server-rendered pages, by HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.runs import RunState
from cratedb_retention.ui import links
from cratedb_retention.ui.web.layout import RUNNING
from support.databases import DuckDatabase, DuckTemplate
from support.sample_data import NOW
from support.served import Service, Visitor, open_service


@pytest.fixture
def db(filled: DuckTemplate) -> Iterator[DuckDatabase]:
    """A database with something of everything."""
    found = filled.open()
    found.time.set(NOW)
    yield found
    found.close()


@pytest.fixture
def service(db: DuckDatabase) -> Iterator[Service]:
    with open_service(db.tool) as found:
        yield found


def visit(db: DuckDatabase, service: Service, role: Role, *limit: str) -> Visitor:
    return service.visit(db.tool.create_token("-".join((role, *limit)), role, parse_tag_filter(limit))[1])


def begin(db: DuckDatabase, run_id: str, ago: dt.timedelta = dt.timedelta(), **more: object) -> None:
    """A run of another process, whose last sign of life is some time ago."""
    at = db.time.moment - ago
    told = {"actor": "scheduler", "step": 2, "steps": 4, "doing": "drop 7 partitions", **more}
    db.tool.store.jobs.begin(RunState(run_id=run_id, started_at=at, heartbeat_at=at, **told))  # type: ignore[arg-type]


def test_what_runs_now_is_on_each_page(db: DuckDatabase, service: Service) -> None:
    """The head has a link to a run that goes on, also alone; not to one that died, nor to what a tenant may not see."""
    viewer, acme = visit(db, service, Role.VIEWER), visit(db, service, Role.VIEWER, "acme")
    path = links.table(TableName(db.schema, "visits"))
    begin(db, "silent", dt.timedelta(days=1))
    assert viewer.get(RUNNING).all("a") == []
    begin(db, "alive", table_name=f"{db.schema}.visits")
    for page in (viewer.get(path), viewer.get(RUNNING)):
        [link] = [each for each in page.all("a") if each.get("class") == "badge is-running"]
        assert (link.text, link.get("href")) == ("Running: 1 of 4 steps", links.run("alive"))
        assert link.get("title") == "drop 7 partitions\nby scheduler"
    assert "Running now: drop 7 partitions, run alive" in viewer.get(path).text
    assert "alive" not in acme.get(path).markup + acme.get(RUNNING).markup
    begin(db, "another")
    assert [each.text for each in viewer.get(RUNNING).all("a")] == ["2 runs"]
    assert service.visit().get(RUNNING).status == 303
