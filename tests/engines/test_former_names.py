"""What an earlier version wrote by former names of outcomes, events and notifications is read as the present ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention import errors
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.former import VALUES, Former
from cratedb_retention.model.plan.plan import Blocked, Plan
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.runs import Report
from cratedb_retention.store.audit import Entry, JournalFilter
from cratedb_retention.store.notifications import Notice, NoticeState
from support.databases import Database

STUCK = Blocked(policy_id=None, table=TableName("doc", "t"), why=Why.CLOSED(), needs_attention=True)


@pytest.mark.parametrize("name", ["outcome", "event"])
def test_rows_of_the_audit_log(db: Database, name: str) -> None:
    """A filter finds old and new rows, by the present name and by the former one; both are read as the present."""
    written: Any = [{"event": "held", "outcome": old, "run_id": old} for old in ("held", "problem")]
    about: Any = {"policy_id": "held", "table_name": "held"}
    db.tool.store.journal.write(*(Entry(**each, **about) for each in written))
    new = Entry(event=Event.BLOCKED, outcome=Outcome.BLOCKED, run_id="new", **about)
    db.tool.store.journal.write(new)
    for value in ("held", "blocked"):
        rows = db.tool.audit.read(JournalFilter(**{name: value}))  # type: ignore[arg-type]
        assert {row["run_id"] for row in rows} >= {"held", "new"}
        assert {row["event"] for row in rows} == {"blocked"}
        assert {row["policy_id"] for row in rows} == {"held"}
    for one in ({"outcome": "problem"}, {"outcomes": frozenset({"needs-attention"})}):
        (row,) = db.tool.audit.read(JournalFilter(**one))
        assert (row["run_id"], row["outcome"]) == ("problem", "needs-attention")
    assert db.tool.audit.read(JournalFilter(table_name="blocked")) == []


def test_leases(db: Database) -> None:
    """How the last run of a policy ended; its identifier stays, whatever it is."""
    leases = db.tool.store.leases
    leases.change([(leases.read().of("held"), {"outcome": "problem"})])
    assert leases.read().of("held").outcome == Outcome.NEEDS_ATTENTION


def test_notifications(db: Database) -> None:
    """A notification goes on where it was, and is not sent a second time."""
    notices = db.tool.store.notices
    notices.change(None, Notice(policy_id="p", kind="held", state=NoticeState.WAITING, since=db.time.moment))
    before = notices.all()["blocked:p"]
    assert (before.kind, before.key) == ("blocked", "held:p")
    told = notices.change(before, replace(before, state=NoticeState.TOLD))
    assert told == notices.all()["blocked:p"]
    assert told is not None
    assert told.state is NoticeState.TOLD
    assert notices.change(told, None) == told
    assert notices.all() == {}


def test_values() -> None:
    """Each former value is one of the present values, and none is a former one of another."""
    assert [str(Outcome(old)) for old in VALUES if old] == list(VALUES.values())
    assert Event("held") is Event.BLOCKED
    for kind, wrong in ((Event, "problem"), (Outcome, "kept")):
        with pytest.raises(ValueError, match=wrong.replace("problem", "needs-attention")):
            kind(wrong)


@pytest.mark.parametrize("thing", [Plan(cutoff=0), Report(run_id="r"), STUCK])
def test_attributes(thing: object) -> None:
    """Former names of attributes work in Python, and warn."""
    former = {name: each.name for name, each in vars(type(thing)).items() if isinstance(each, Former)}
    assert former
    for old, new in former.items():
        with pytest.deprecated_call(match=f"a former name of {type(thing).__name__}.{new}"):
            assert getattr(thing, old) == getattr(thing, new)


def test_an_error_class() -> None:
    """The former name of an error class works in Python, and warns."""
    with pytest.deprecated_call(match="the former name of ClusterUnhealthy"):
        assert errors.ClusterUnwell is errors.ClusterUnhealthy
    with pytest.raises(AttributeError, match="has no attribute 'Unwell'"):
        errors.Unwell  # noqa: B018
