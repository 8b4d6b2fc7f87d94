"""
A database that goes away and comes back: no run is lost, none is done twice, and nobody has to do anything.
"""

from __future__ import annotations

import datetime as dt
import logging

import pytest

from cratedb_retention import Retention
from cratedb_retention.clock import Actor
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.planning.schedule import Timetable
from cratedb_retention.service.schedule import Scheduler
from support.databases import TIME, CrateDatabase
from support.proxy import Fate, Proxy, proxy_to, statement_of

ALONE = RunOptions(lease=60, threads=False)
OLD = "2024-05-01T00:00:00Z"


def cut(proxy: Proxy, fate: Fate, word: str = "") -> None:
    """From the first statement on that begins so, every one is lost."""
    is_cut = False

    def decide(body: str) -> Fate:
        nonlocal is_cut
        if body and not is_cut and statement_of(body).startswith(word):
            is_cut = True
            return fate
        return Fate.LOSE_REQUEST if is_cut else Fate.PASS

    proxy.decide = decide


def mend(proxy: Proxy) -> None:
    """All is well again."""
    proxy.decide = lambda body: Fate.PASS


OTHERS = pytest.mark.long("make test cuts the line for everything, and after rows were deleted")


@pytest.mark.parametrize(
    ("fate", "word"),
    [
        (Fate.LOSE_REQUEST, ""),
        (Fate.LOSE_ANSWER, "DELETE"),
        pytest.param(Fate.LOSE_ANSWER, "INSERT", marks=OTHERS),
        pytest.param(Fate.LOSE_ANSWER, "UPDATE", marks=OTHERS),
        pytest.param(Fate.LOSE_REQUEST, "DELETE", marks=OTHERS),
    ],
)
def test_an_outage_costs_no_run(crate: CrateDatabase, fate: Fate, word: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever the line is cut, ticks go on, and what was begun is carried on when the database is back."""
    crate.create("one", {"ts": TIME, "n": "TEXT"})
    crate.fill("one", [OLD])
    crate.policy("delete", "one", "30d", id="one", schedule="@hourly")
    with proxy_to(crate.uri) as proxy:
        own = Retention(proxy.uri, crate.own_schema, clock=crate.time.clock, actor=Actor("cut", "off"))
        with own, caplog.at_level(logging.WARNING):
            scheduler = Scheduler(own, ALONE)
            crate.time.set("2024-07-02T01:00:00+00:00")
            tick(scheduler)
            crate.fill("one", [OLD])
            crate.time.set("2024-07-02T02:00:00+00:00")
            cut(proxy, fate, word)
            for _ in range(3):
                tick(scheduler)
                crate.time.moment += dt.timedelta(seconds=45)
            mend(proxy)
            crate.time.set("2024-07-02T02:05:00+00:00")
            tick(scheduler)
            tick(scheduler)
    assert crate.left("one") == []
    assert not crate.tool.schedule.find_due(Timetable()).slots
    done = crate.journal(event="slot-finished")
    assert all(row["outcome"] == "done" for row in done)
    # Where the answer to giving the lease back was lost, the slot is done, and the journal could not say so.
    assert [row["slot"].hour for row in done] in ([2, 1], [1]) if word == "UPDATE" else [2, 1]
    lease = crate.tool.store.leases.read().of("one")
    assert (lease.holder, lease.done_slot) == (None, dt.datetime(2024, 7, 2, 2, tzinfo=dt.UTC))
    assert any("the database responds again" in text for text in caplog.messages) or word


def tick(scheduler: Scheduler) -> None:
    """Look, and wait for the run."""
    scheduler.tick()
    assert scheduler.wait()
