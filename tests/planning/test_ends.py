"""The end of archives: which ones a run deletes, and why others stay."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.effect import removing, summary
from cratedb_retention.model.plan.plan import DeleteSnapshot, Plan
from cratedb_retention.model.policies.policy import Policy, make_policy
from cratedb_retention.model.rollups.ledger import KnownRollup, Ledger, LedgerRow, Windows
from cratedb_retention.model.step import Kind
from cratedb_retention.planning.archive import Ends
from support.catalogs import (
    CRATEDB,
    DUCKDB,
    METRICS,
    MONTH,
    TENANT,
    TS,
    at,
    catalog,
    column,
    monthly,
    ms,
    part,
    policy,
    table,
)
from support.planning import make_plan

CUTOFF = at("2024-07-02")
YEAR = policy("snapshot", "30d", archive_period="1y", id="year")
EMPTY = catalog(monthly())


def archive(month: str, stage: SnapshotStage = SnapshotStage.ARCHIVED, **about: Any) -> SnapshotRecord:
    """An archive of a month, made by the policy `year`."""
    start = ms(f"{month}-01")
    end = ms(f"{month[:5]}{int(month[5:]) + 1:02}-01")
    known = {"repository": "archive", "name": f"snapshot-{month}", "table": METRICS, "rows": 10, "size": 100}
    archived = {"columns": (MONTH,), "values": (start,), "start": start, "end": end}
    own = {key: about.pop(key) for key in list(about) if key in (*known, *archived)}
    return SnapshotRecord(
        archived=Archived(**{**known, **archived, **own}),
        stage=stage,
        **{"policy_id": "year", "changed_at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), **about},
    )


def ended(plan: Plan) -> list[str]:
    """The names of the snapshots that a plan deletes."""
    steps = [step for task in plan.tasks for step in task.steps if isinstance(step, DeleteSnapshot)]
    return [step.archived.name for step in steps]


def make(*archives: SnapshotRecord, policies: tuple[Policy, ...] = (YEAR,), **known: Any) -> Plan:
    return make_plan(policies, known.pop("catalog", EMPTY), known.pop("cutoff", CUTOFF), archives=archives, **known)


def kept(plan: Plan) -> str:
    """Why archives stay, in one text."""
    assert ended(plan) == []
    [blocked] = [each for each in plan.blocked if each.code == "archive-stays"]
    return blocked.reason


def test_only_ended() -> None:
    """An archive goes once all of its data is older than the period, not a millisecond before."""
    plan = make(archive("2023-05"), archive("2023-06"), archive("2023-07"))
    assert ended(plan) == ["snapshot-2023-05", "snapshot-2023-06"]
    [first, _] = plan.tasks
    assert first.reason == "data ends 2023-06-01, archived until 2024-06-01"
    assert (first.policy_id, first.table, first.rows, first.size, first.partitions) == ("year", METRICS, 10, 100, 1)
    june = at("2024-07-01")
    assert ended(make(archive("2023-06"), cutoff=june)) == ["snapshot-2023-06"]
    before = make(archive("2023-06"), cutoff=june - dt.timedelta(milliseconds=1))
    assert (before.tasks, before.blocked) == ((), ())


def test_counts_days_as_the_policy() -> None:
    """With `cutoff_by: day`, an archive stays for the rest of the day, like data."""
    by_day = policy("snapshot", "30d", archive_period="1y", id="year", cutoff_by="day", time_zone="Europe/Vienna")
    assert ended(make(archive("2023-06"), policies=(by_day,), cutoff=at("2024-07-01T21:00:00+00:00"))) == []
    assert ended(make(archive("2023-06"), policies=(by_day,), cutoff=at("2024-07-01T22:00:00+00:00")))


def test_shown_as_what_it_is() -> None:
    """Plans, and questions before a run, say that archives are deleted for good; no partition is."""
    plan = make(archive("2023-05"), archive("2023-06"))
    assert summary(plan) == "This run would delete 2 archives of 1 table for good."
    [group] = removing(plan)
    assert (group.first.kind, group.what) == (
        Kind.END_ARCHIVE,
        "delete 2 archives in archive, month=2023-05-01 to month=2023-06-01",
    )
    assert (group.amount.start, group.amount.end) == (ms("2023-05-01"), ms("2023-07-01"))
    [step] = plan.tasks[0].steps
    assert (step.expires, step.about, step.operation()) == (None, (), "delete_snapshot")


@pytest.mark.parametrize(
    "policies",
    [
        (policy("snapshot", "30d", id="year"),),
        (policy("snapshot", "30d", id="year", archive_period="1y", enabled=False),),
        (policy("snapshot", "30d", id="other", archive_period="1y"),),
        (policy("snapshot", "30d", id="year", archive_period="1y", table_name="others"),),
        (policy("delete", "30d", id="year"),),
        (policy("snapshot", "30d", id="year", archive_period="1y", where={"tenant": "acme"}),),
    ],
    ids=["forever", "disabled", "made by another", "other table", "no longer archives", "other data"],
)
def test_belongs_to_no_policy(policies: tuple[Policy, ...]) -> None:
    """Nothing is guessed: without the policy that made it, an archive stays."""
    record = archive("2020-05")
    plan = make(record, policies=policies)
    assert (ended(plan), [each for each in plan.blocked if each.code == "archive-stays"]) == ([], [])
    assert Ends(policies, CRATEDB).due(record) is None


def test_unknown_end() -> None:
    """Data whose age is unknown never ends."""
    assert ended(make(archive("2020-05", start=None, end=None))) == []


def test_not_chosen() -> None:
    """A run of other policies ends no archive of this one."""
    assert ended(make(archive("2020-05"), chosen=lambda each: each.id != "year")) == []


def test_of_a_table_that_is_gone() -> None:
    """The archive of a dropped table ends as well."""
    pattern = policy("snapshot", "30d", archive_period="1y", id="year", table_name="metric*")
    assert ended(make(archive("2020-05"), policies=(pattern,), catalog=catalog())) == ["snapshot-2020-05"]


@pytest.mark.parametrize(
    ("hold", "covers"),
    [
        ({}, True),
        ({"table_name": "m*"}, True),
        ({"table_name": "others"}, False),
        ({"where": {"tenant": "acme"}}, True),
        ({"where": {"tenant": "umbrella"}}, False),
        ({"where": {"host": "a"}}, True),
        ({"where": {"tenant": "umbrella", "host": "a"}}, False),
        ({"partitions": ({"tenant": "umbrella"}, {"tenant": "acme"})}, True),
        ({"partitions": ({"tenant": "umbrella"},)}, False),
        ({"start": "2023-05-31"}, True),
        ({"start": "2023-06-01"}, False),
        ({"end": "2023-05-01"}, False),
        ({"end": "2023-05-02"}, True),
        ({"identity": "another table"}, True),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_legal_holds(hold: dict[str, Any], covers: bool, there: bool) -> None:
    """By table, values and time; in doubt an archive is under the hold, whether or not its table still exists."""
    times = {key: ms(value) for key, value in hold.items() if key in ("start", "end")}
    placed = LegalHold(**{"id": "case4711", "table_schema": "doc", "table_name": "metrics", **hold, **times})
    record = archive("2023-05", columns=(MONTH, TENANT), values=(ms("2023-05-01"), "acme"))
    found = catalog(table([TS, MONTH, TENANT, column("host")], ["month", "tenant"])) if there else catalog()
    plan = make(record, holds=[placed], catalog=found)
    if covers:
        assert "hold case4711" in kept(plan)
        assert not any(each.needs_attention for each in plan.blocked if each.code == "archive-stays")
    else:
        assert ended(plan) == ["snapshot-2023-05"]


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ({"archive_period": "forever"}, True),
        ({"archive_period": "2y"}, True),
        ({"archive_period": "1y"}, False),
        ({"archive_period": "60d"}, False),
        ({"archive_period": "forever", "enabled": False}, False),
        ({"archive_period": "forever", "table_name": "others"}, False),
        ({"archive_period": "forever", "where": {"tenant": "umbrella"}}, False),
        ({"archive_period": "forever", "where": {"tenant": "acme"}}, True),
        ({"archive_period": "forever", "where": {"host": "a"}}, True),
    ],
)
def test_another_policy_keeps_longer(other: dict[str, Any], stays: bool) -> None:
    """If several policies archive the same data, it is kept for the longest of their periods, chosen or not."""
    record = archive("2023-05", columns=(MONTH, TENANT), values=(ms("2023-05-01"), "acme"))
    policies = (YEAR, policy("snapshot", "40d", id="other", **other))
    plan = make(record, policies=policies, catalog=catalog(), chosen=lambda each: each.id == "year")
    if stays:
        assert kept(plan).endswith(f"policy other keeps archives of this data for {policies[1].archive_period}")
    else:
        assert ended(plan) == ["snapshot-2023-05"]


@pytest.mark.parametrize(
    ("stage", "in_table", "why"),
    [
        (SnapshotStage.ARCHIVED, False, None),
        (SnapshotStage.ARCHIVED, True, None),
        (SnapshotStage.DELETING, False, None),
        (SnapshotStage.RESTORED, False, None),
        (SnapshotStage.RESTORED, True, "its partition is in the table"),
        (SnapshotStage.CREATED, True, "its partition is in the table"),
        (SnapshotStage.DROPPING, True, "its partition is in the table"),
        (SnapshotStage.DROPPING, False, None),
        (SnapshotStage.RESTORING, False, "is being restored"),
        (SnapshotStage.SUPERSEDED, True, None),
    ],
)
def test_stages(stage: SnapshotStage, in_table: bool, why: str | None) -> None:
    """An archive that its table still needs, or that is being restored, stays."""
    months = ["2023-05"] if in_table else []
    plan = make(archive("2023-05", stage), catalog=catalog(monthly(*months)))
    if why:
        assert why in kept(plan)
    else:
        assert ended(plan) == ["snapshot-2023-05"]


def test_partitions_that_cannot_be_compared() -> None:
    """
    In doubt, a restored partition is in its table: with other partition columns, if the table is closed, or if only its
    name is known.
    """
    restored = archive("2023-05", SnapshotStage.RESTORED)
    other, closed = table([TS, TENANT], ["tenant"], [part("a")]), replace(monthly(), closed=True)
    for found in (catalog(other), catalog(closed), replace(catalog(), others=frozenset({METRICS}))):
        assert "its partition is in the table" in kept(make(restored, catalog=found))


def test_superseded_first() -> None:
    """The last rows of a partition are never only in a snapshot that counts as superseded."""
    later = archive("2023-05", name="later")
    earlier = archive("2023-05", SnapshotStage.SUPERSEDED, name="earlier")
    [task] = make(later, earlier).tasks
    assert [step.archived.name for step in task.steps if isinstance(step, DeleteSnapshot)] == ["earlier", "later"]
    assert (task.partitions, task.rows) == (2, 20)


def test_superseded_that_stays() -> None:
    """If it cannot go, the later one stays as well."""
    later = archive("2023-05", name="later")
    adopted = archive("2023-05", SnapshotStage.SUPERSEDED, name="earlier", policy_id=None)
    plan = make(later, adopted)
    assert "snapshot earlier of the same partition" in kept(plan)
    assert [each.code for each in plan.needs_attention] == ["archive-stays"]
    held = LegalHold(
        id="case4711", table_schema="doc", table_name="metrics", start=ms("2023-05-01"), end=ms("2023-05-02")
    )
    first = archive("2023-05", SnapshotStage.SUPERSEDED, name="earlier")
    rest = archive("2023-05", name="later", start=ms("2023-05-03"))
    [blocked] = [each for each in make(first, rest, holds=[held]).blocked if each.code == "archive-stays"]
    assert (blocked.count, blocked.needs_attention) == (2, False)


@pytest.mark.parametrize(
    ("levels", "windows", "gone", "why"),
    [
        ("1d:forever", [("2023-05-01", "2023-06-01")], None, None),
        ("1d:forever", [("2023-05-01", "2023-05-31")], None, "not rolled up into doc.metrics_1d"),
        ("1d:forever", [("2023-05-02", "2023-06-01")], None, "not rolled up into doc.metrics_1d"),
        ("1d:forever", [("2023-05-02", "2023-06-01")], "2023-05-02", None),
        ("1d:forever", [], None, "not rolled up into doc.metrics_1d"),
        ("1d:300d", [], None, None),
        ("1d:2y", [], None, "not rolled up into doc.metrics_1d"),
        ("1d:forever", None, None, "not rolled up into doc.metrics_1d"),
        ("1d:300d", None, None, None),
    ],
)
def test_rolled_up(levels: str, windows: list[tuple[str, str]] | None, gone: str | None, why: str | None) -> None:
    """An archive that a level of a cascade lacks, and would still keep, is the only source of it."""
    cascade = policy("downsample", "60d", levels=levels, id="cascade")
    ledger, name = Ledger(), TableName("doc", "metrics_1d")
    if windows is not None:
        rows = [
            LedgerRow(
                start=ms(start),
                end=ms(end),
                until=ms(end),
                whole=True,
                below=METRICS,
                token="t",
                rows=1,
                groups=1,
                sealed=True,
            )
            for start, end in windows
        ]
        rollup: Any = type("Level", (), {"table": name, "source": METRICS})()
        known = KnownRollup(rollup=rollup, gone=ms(gone) if gone else None)
        ledger = Ledger(rollups={name: known}, windows={name: Windows(rows)})
    plan = make(archive("2023-05"), policies=(YEAR, cascade), catalog=catalog(), ledger=ledger)
    if why:
        assert why in kept(plan)
        assert "archive-stays" in [each.code for each in plan.needs_attention]
    else:
        assert ended(plan) == ["snapshot-2023-05"]
    disabled = cascade.model_copy(update={"enabled": False})
    plan = make(archive("2023-05"), policies=(YEAR, disabled), catalog=catalog(), ledger=ledger)
    assert ended(plan) == ["snapshot-2023-05"], "nothing is rolled up any more"


def test_of_a_level() -> None:
    """A cascade whose pattern matches the name of a level does not roll that up, so it needs no archive of it."""
    name = TableName("doc", "metrics_1h")
    rules = (
        policy("snapshot", "30d", archive_period="1y", id="year", table_name=name.name),
        policy("downsample", "60d", levels="1h:90d,1d:forever", id="cascade", table_name="metrics*"),
    )
    known = replace(catalog(), rollups=frozenset({name}))
    assert ended(make(archive("2023-05", table=name), policies=rules, catalog=known)) == ["snapshot-2023-05"]


def test_repository() -> None:
    """Without its repository, an archive cannot be deleted; directories are looked at by the run."""
    record = archive("2023-05", repository="lost")
    assert "repository 'lost' does not exist" in kept(make(record))
    own = policy("snapshot", "30d", archive_period="1y", id="year", table_schema="doc")
    found = catalog(capabilities=DUCKDB, repositories=())
    assert ended(make(record, policies=(own,), catalog=found)) == ["snapshot-2023-05"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"partitions": 2}, None),
        ({"partitions": 1}, "2 partitions are due, but expected_max.partitions is 1"),
        ({"rows": 20}, None),
        ({"rows": 19}, "20 rows are due, but expected_max.rows is 19"),
        ({"percent": 20}, None),
        ({"percent": 19}, "20.0 % of the table is due, but expected_max.percent is 19"),
    ],
)
def test_limits(limits: dict[str, Any], words: str | None) -> None:
    """Limits apply to archives by themselves, and their share is that of all archives of the table."""
    limited = policy("snapshot", "30d", archive_period="1y", id="year", expected_max=limits)
    rows = {("year", METRICS): 100}
    plan = make(archive("2023-05"), archive("2023-06"), policies=(limited,), archived_rows=rows)
    if words is None:
        assert len(ended(plan)) == 2
    else:
        assert words in kept(plan)
        assert [(each.count, each.needs_attention) for each in plan.blocked] == [(2, True)]


def test_beside_other_tasks() -> None:
    """Archiving, and ending archives, count separately against a limit."""
    limited = policy("snapshot", "30d", archive_period="1y", id="year", expected_max={"partitions": 1})
    plan = make(archive("2023-05"), policies=(limited,), catalog=catalog(monthly("2024-05", "2024-06")))
    assert [task.kind for task in plan.tasks] == [Kind.ARCHIVE, Kind.END_ARCHIVE]


@pytest.mark.parametrize(("kept_for", "fits"), [("90d", True), ("89d", False), ("3mo", True), ("forever", True)])
def test_period(kept_for: str, fits: bool) -> None:
    """Archives are kept at least as long as the data itself."""
    given = {"strategy": "snapshot", "table_name": "m", "target_repository_name": "r", "retention_period": "90d"}
    if fits:
        assert str(make_policy(**given, archive_period=kept_for).archive_period) == kept_for
        return
    with pytest.raises(InvalidInput, match="archives are kept for 89d, shorter than the data itself"):
        make_policy(**given, archive_period=kept_for)


@pytest.mark.parametrize(
    ("end", "partitions", "due"),
    [
        ("2023-08-01", ["2024-06"], "2024-07-31"),
        ("2023-07-15", ["2024-06"], "2024-07-15"),
        ("2023-08-01", [], "2024-08-01"),
    ],
)
def test_next_end(end: str, partitions: list[str], due: str) -> None:
    """More is due when the next archive ends, unless a partition expires before."""
    plan = make(catalog=catalog(monthly(*partitions)), archive_ends={("year", METRICS): ms(end)})
    [kept] = plan.up_to_date
    assert (kept.policy_id, kept.table, kept.partitions) == ("year", METRICS, len(partitions))
    assert (kept.next_due, plan.next_due) == (ms(due), ms(due))


def test_next_end_of_a_table_that_is_gone() -> None:
    """An archive has an end without its table, if its policy is chosen and still covers the table's name."""
    ends = {("year", METRICS): ms("2023-08-01")}
    pattern = policy("snapshot", "30d", archive_period="1y", id="year", table_name="metric*")
    plan = make(policies=(pattern,), catalog=catalog(), archive_ends=ends)
    assert [(each.partitions, each.next_due) for each in plan.up_to_date] == [(0, ms("2024-08-01"))]
    for nothing in (
        make(policies=(pattern,), catalog=catalog(), archive_ends=ends, chosen=lambda each: False),
        make(policies=(policy("snapshot", archive_period="1y", id="year", table_name="x"),), archive_ends=ends),
        make(policies=(policy("snapshot", archive_period="1y", id="year", enabled=False),), archive_ends=ends),
        make(policies=(policy("snapshot", id="year", table_name="metric*"),), catalog=catalog(), archive_ends=ends),
    ):
        assert nothing.next_due is None


def test_end_of_each() -> None:
    """When an archive ends is computed from the policies: the last end counts."""
    ends = Ends([YEAR], CRATEDB)
    assert ends.due(archive("2023-05")) == ms("2024-06-01")
    two = policy("snapshot", "40d", id="other", archive_period="2y")
    assert Ends([YEAR, two], CRATEDB).due(archive("2023-05")) == ms("2025-06-01")
    assert Ends([YEAR, policy("snapshot", "40d", id="other")], CRATEDB).due(archive("2023-05")) is None


def test_values_are_compared_as_in_the_table() -> None:
    """`where` of a policy is text, the values of an archive have types."""
    values: tuple[Value, ...] = (ms("2023-05-01"),)
    narrow = policy("snapshot", "30d", archive_period="1y", id="year", where={"month": "2023-05-01"})
    assert ended(make(archive("2023-05", values=values), policies=(narrow,))) == ["snapshot-2023-05"]
    assert ended(make(archive("2023-06"), policies=(narrow,))) == []
