"""The timeline of a table: what each partition and window is said to be, and sums that no joining changes."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cratedb_retention.engine.cratedb.catalog import CAPABILITIES as CRATEDB
from cratedb_retention.execution.overview.timeline import Seen, concerning, timeline
from cratedb_retention.execution.plan.preparing import Prepared, Selection
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import Catalog, Table, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.overview import Lane, Span, State, Timeline, join, make_lane, with_rows
from cratedb_retention.model.plan.measurements import Measurements
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.ledger import Ledger, LedgerRow, Windows, choose_stretches, make_range
from cratedb_retention.model.time import TimeRange
from cratedb_retention.planning.facts import Facts
from support.catalogs import (
    DAILY,
    DAY,
    METRICS,
    MONTH,
    TENANT,
    TS,
    VALUE,
    at,
    catalog,
    monthly,
    ms,
    part,
    policy,
    table,
)
from support.planning import make_plan
from support.simulation import SimulatedDatabase
from support.tiers import examples

NOW = at("2024-07-02T00:00")
PATTERNED = TableName("doc", "m%tr")


def prepare(
    found: Catalog, policies: list[Policy], *holds: LegalHold, measured: Measurements | None = None
) -> Prepared:
    """A plan of some policies, with what it rests on."""
    measured = measured or Measurements()
    plan = make_plan(policies, found, NOW, holds=holds, measurements=measured)
    facts = Facts(policies=policies, catalog=found, cutoff=NOW, measurements=measured)
    return Prepared(plan=plan, facts=facts, selection=Selection())


def look(found: Table, *policies: Policy, holds: tuple[LegalHold, ...] = (), **seen: object) -> Timeline:
    """The timeline of a table, of one who sees all unless told otherwise."""
    prepared = prepare(catalog(found), list(policies), *holds)
    return timeline(prepared, found.name, Seen(policies=list(policies), holds=holds, **seen))  # type: ignore[arg-type]


def states(lane: Lane) -> list[tuple[str, int]]:
    """State and number of each stretch, in order of time."""
    return [(str(span.state), span.count) for span in lane.stretches]


def lane(found: Timeline, title: str) -> Lane:
    """A lane by its name."""
    return next(lane for lane in found.lanes if lane.title == title)


def record(start: str, end: str, stage: SnapshotStage) -> SnapshotRecord:
    """A snapshot of a month."""
    archived = Archived(
        repository="archive",
        name=f"s-{start}",
        table=METRICS,
        columns=(MONTH,),
        values=(ms(start),),
        rows=10,
        start=ms(start),
        end=ms(end),
        size=50,
    )
    return SnapshotRecord(archived=archived, stage=stage, policy_id="p", changed_at=NOW)


def test_delete() -> None:
    """What is due is dropped, what is young is kept, with the day on which it is due."""
    found = look(monthly("2024-03", "2024-04", "2024-05", "2024-06"), policy("delete", "45d", id="p"))
    data = lane(found, "Data in the table")
    assert states(data) == [("drop", 2), ("up-to-date", 2)]
    assert data.stretches[0].reasons[0].endswith("(policy p)")
    assert data.stretches[1].due == ms("2024-07-16")
    [change] = found.changes
    of = change.amount
    assert change.what == "drop 2 partitions, month=2024-03-01 to month=2024-04-01"
    assert (of.rows, of.start, of.end) == (20, ms("2024-03-01"), ms("2024-05-01"))
    assert [(c.words, c.limit) for c in found.cutoffs] == [("delete after 45d", ms("2024-05-18"))]


def test_what_is_kept_forever() -> None:
    """A policy without an end says so, instead of what it does after forever."""
    found = look(monthly("2024-05"), policy("snapshot", "forever", id="a"), policy("delete", "1y", id="b"))
    assert [(each.words, each.limit is None) for each in found.cutoffs] == [
        ("keep forever", True),
        ("delete after 1y", False),
    ]


def test_patterns_do_not_apply_to_rollups() -> None:
    """The timeline of a level shows no expiry limit of a policy for a pattern, which does not apply to it."""
    level = replace(catalog(monthly("2024-05")), rollups=frozenset({METRICS}))
    policies = [policy("delete", "45d", id="pattern", table_name="m*"), policy("delete", "50d", id="named")]
    found = timeline(prepare(level, policies), METRICS, Seen(policies=policies))
    assert [cutoff.policy_id for cutoff in found.cutoffs] == ["named"]


def test_the_first_of_several_policies() -> None:
    """What stays is due as soon as one of the policies that are enabled applies to it, in whatever order they are."""
    kept = [policy("delete", period, id=period) for period in ("90d", "45d", "60d")]
    found = look(monthly("2024-05"), *kept, policy("delete", "40d", id="off", enabled=False))
    assert [span.due for span in lane(found, "Data in the table").stretches] == [ms("2024-07-16")]


def test_holds_and_problems() -> None:
    """What is held says why, partition by partition, however many a hold names."""
    months = [f"2023-{m:02d}" for m in range(1, 13)]
    hold = LegalHold(
        id="h1", table_schema="doc", table_name="metrics", start=ms("2023-01-01"), end=ms("2023-09-01"), reason="case 7"
    )
    sick = table(
        [TS, VALUE, MONTH],
        ["month"],
        [part(f"{month}-01", missing_shards=1 if month == "2023-10" else 0) for month in months],
    )
    found = look(sick, policy("delete", "30d"), holds=(hold,))
    data = lane(found, "Data in the table")
    assert states(data) == [("blocked", 8), ("drop", 1), ("needs-attention", 1), ("drop", 2)]
    assert "case 7" in data.stretches[0].reasons[0]
    assert [h.count for h in found.blocked] == [1, 8] or [h.count for h in found.blocked] == [8, 1]
    assert found.holds == (hold,)
    prepared = prepare(catalog(sick), [policy("delete", "30d")], hold)
    hidden = timeline(prepared, METRICS, Seen(policies=[policy("delete", "30d")]))
    assert hidden.holds == (), "a hold that the user may not see"


def test_limits() -> None:
    """Where a run would go beyond expected_max, all that is due is a problem."""
    found = look(monthly("2024-01", "2024-02"), policy("delete", "30d", expected_max={"partitions": 1}))
    assert states(found.lanes[0]) == [("needs-attention", 2)]
    assert found.changes == ()


def test_archive() -> None:
    """Snapshots with and without their data, and those about to be made."""
    records = [
        record("2024-01-01", "2024-02-01", SnapshotStage.ARCHIVED),
        record("2024-02-01", "2024-03-01", SnapshotStage.CREATED),
        record("2024-03-01", "2024-04-01", SnapshotStage.RESTORED),
    ]
    months = monthly("2024-02", "2024-03", "2024-06")
    found = look(months, policy("snapshot", "30d"), records=records)
    assert states(found.lanes[0]) == [("archive", 2), ("up-to-date", 1)]
    assert states(lane(found, "Archived")) == [("archived", 1), ("copy", 1), ("restored", 1)]
    assert [change.what[:20] for change in found.changes] == ["archive 2 partitions"]


def test_archives_end() -> None:
    """Which archives the next run deletes, and when the others end; the limit of archives is beside that of data."""
    year = policy("snapshot", "30d", archive_period="1y", id="p")
    records = [
        record(*ends, SnapshotStage.ARCHIVED) for ends in (("2023-01-01", "2023-02-01"), ("2024-02-01", "2024-03-01"))
    ]
    there = catalog(monthly("2024-06"))
    prepared = Prepared(
        plan=make_plan([year], there, NOW, archives=records[:1]),
        facts=Facts(policies=[year], catalog=there, cutoff=NOW),
        selection=Selection(),
    )
    found = timeline(prepared, METRICS, Seen(policies=[year], records=records))
    [ending, kept] = lane(found, "Archived").stretches
    assert (ending.state, ending.due, kept.state, kept.due) == (State.END, None, State.ARCHIVED, ms("2025-03-01"))
    assert ending.reasons == (
        "in repository archive",
        "data ends 2023-02-01, archived until 2024-02-01 (policy p)",
    )
    assert [change.what[:16] for change in found.changes] == ["delete archive s"]
    assert [(cutoff.words, cutoff.limit) for cutoff in found.cutoffs] == [
        ("archive and drop after 30d", ms("2024-06-02")),
        ("delete archives after 1y", ms("2023-07-02")),
    ]


def test_recoverable() -> None:
    """Until when deleted data can be brought back, and that its archive ends then; unless it was brought back."""
    week = policy("delete", "30d", id="p", recoverable="7d", target_repository_name="archive")
    stages = {"2024-04": SnapshotStage.ARCHIVED, "2024-05": SnapshotStage.RESTORED}
    made = [record(f"{month}-01", f"2024-0{int(month[-1]) + 1}-01", stage) for month, stage in stages.items()]
    records = [replace(each, recoverable_until=at("2024-07-09")) for each in made]
    found = look(monthly("2024-05", "2024-06"), week, records=records)
    [gone, back] = lane(found, "Archived").stretches
    until = "deleted, and recoverable until 2024-07-09"
    assert (gone.state, gone.due, gone.reasons) == (
        State.ARCHIVED,
        ms("2024-07-09"),
        ("in repository archive", until),
    )
    assert (back.state, back.reasons) == (State.RESTORED, ("in repository archive",))
    assert [cutoff.words for cutoff in found.cutoffs] == ["delete after 30d, recoverable for 7d"]
    assert [each.line for each in found.lifecycles] == ["hot until 30d -> gone (recoverable for 7d)"]


def test_lifecycles() -> None:
    """One line for all policies on the table that the user may see, and one for each of their filters."""
    policies = [
        policy("delete", "90d"),
        policy("compact", "30d", table_name="met*"),
        policy("delete", "7d", table_name="other"),
        policy("delete", "60d", where={"month": 0}),
    ]
    found = look(monthly("2024-05"), *policies)
    assert [each.line for each in found.lifecycles] == [
        "hot until 30d -> warm (merge) until 90d -> gone",
        "hot until 30d -> warm (merge) until 60d -> gone",
    ]


def test_moved() -> None:
    """Partitions on the nodes, on their way, and about to be moved."""
    cold = (("storage", "cold"),)
    parts = [
        part("2024-01-01", requires=cold, nodes=frozenset({"cold-1"})),
        part("2024-02-01", requires=cold, nodes=frozenset({"hot-1"}), settled=False),
        part("2024-03-01"),
        part("2024-06-01"),
    ]
    found = look(table([TS, VALUE, MONTH], ["month"], parts), policy("reallocate", "30d"))
    assert states(found.lanes[0]) == [("up-to-date", 1), ("move", 2), ("up-to-date", 1)]
    assert states(lane(found, "Moved to other nodes")) == [("moved", 1), ("moving", 1)]


def test_several_policies() -> None:
    """Each tenant has a lane, since the same month may be in two states; each tenant sees only their own."""
    parts = [part(tenant, f"2024-0{m}-01") for m in (3, 4, 6) for tenant in ("acme", "globex")]
    shared = table([TS, VALUE, TENANT, MONTH], ["tenant", "month"], parts)
    acme = policy("delete", "30d", id="acme", where={"tenant": "acme"})
    globex = policy("delete", "forever", id="globex", where={"tenant": "globex"})
    both = look(shared, acme, globex)
    assert [lane.title for lane in both.lanes] == ["Data of tenant=acme", "Data of tenant=globex"]
    assert states(both.lanes[0]) == [("drop", 2), ("up-to-date", 1)]
    assert states(both.lanes[1]) == [("up-to-date", 2), ("up-to-date", 1)]
    assert [each.words for each in both.cutoffs] == ["delete after 30d, tenant=acme", "keep forever, tenant=globex"]
    assert sum(span.count for lane in look(shared, acme).lanes for span in lane.spans) == 6
    prepared = prepare(catalog(shared), [acme, globex])
    theirs = timeline(prepared, METRICS, Seen(policies=[globex], whole=False))
    assert states(theirs.lanes[0]) == [("up-to-date", 2), ("up-to-date", 1)]  # There is no May.
    assert "acme" not in str([theirs.lanes, theirs.cutoffs, theirs.notes])


def test_nothing_tells_the_time() -> None:
    """What has no known time is listed, not drawn; a table without partitions says that rows go one by one."""
    parts = [part(None), part("2024-06-01")]
    found = look(table([TS, VALUE, MONTH], ["month"], parts), policy("delete", "30d"))
    assert [item.first for item in found.lanes[0].unplaced] == ["month=NULL"]
    assert states(found.lanes[0]) == [("up-to-date", 1)]
    bare = look(table([TS, VALUE], rows=7), policy("delete", "30d"))
    assert bare.lanes[0].spans == ()
    assert bare.lanes[0].note == (
        "The table has no partitions by time, so expired data is deleted row by row. It has 7 rows."
    )
    theirs = timeline(
        prepare(catalog(table([TS, VALUE], rows=7)), [policy()]), METRICS, Seen(policies=[policy()], whole=False)
    )
    assert "7" not in theirs.lanes[0].note


def test_rows_without_partitions() -> None:
    """Rows of a table without partitions by time are drawn as well: those that the next run deletes, and the others."""
    rows = TimeRange(ms("2024-01-01"), ms("2024-07-01"))
    found = look(table([TS, VALUE], rows=7), policy("delete", "30d"))
    [data] = with_rows(found, rows, 7).lanes
    assert [(str(span.state), span.time) for span in data.spans] == [
        ("drop", (rows.start, ms("2024-06-02"))),
        ("up-to-date", (ms("2024-06-02"), rows.end)),
    ]
    assert "delete rows with ts before 2024-06-02" in data.spans[0].reasons[0]
    kept = with_rows(look(table([TS, VALUE], rows=7), policy("delete", "forever")), rows, 7).lanes[0].spans
    assert [(str(span.state), span.time, span.rows) for span in kept] == [("up-to-date", rows, 7)]
    sick = (
        with_rows(look(table([TS, VALUE], rows=7, missing_shards=1), policy("delete", "30d")), rows, 7).lanes[0].spans
    )
    assert [str(span.state) for span in sick] == ["needs-attention", "up-to-date"]
    parted = look(monthly("2024-05"), policy("delete", "30d"))
    assert with_rows(parted, rows, 7) is parted


def cascade(cutoff: dt.datetime) -> Prepared:
    """The plan of a cascade that was last run on 20 June."""
    database = SimulatedDatabase(policies=[policy("downsample", "10d", levels="1h:30d,1d:forever", id="p")])
    for day in range(40):
        database.write(ms("2024-05-20") + day * DAY)
    database.run(at("2024-06-20T00:00"))
    facts = Facts(
        policies=database.policies,
        catalog=database.catalog,
        cutoff=cutoff,
        ledger=database.ledger,
        measurements=database.measure(cutoff),
    )
    return Prepared(plan=database.plan(cutoff), facts=facts, selection=Selection())


def test_cascade() -> None:
    """Levels show how far they are, what is sealed, and what is computed next; a level shows those above it."""
    prepared = cascade(at("2024-06-25T12:00"))
    policies = list(prepared.policies.values())
    found = timeline(prepared, METRICS, Seen(policies=policies))
    assert [lane.title for lane in found.lanes] == ["Data in the table", "Rollup 1h", "Rollup 1d"]
    hourly = lane(found, "Rollup 1h")
    assert hourly.note == "Computed up to 2024-06-20, sealed up to 2024-06-10."
    assert {span.state for span in hourly.spans} == {State.SEALED, State.COMPUTED, State.ROLL}
    assert [c.words for c in found.cutoffs] == [
        "roll up, then drop after 10d",
        "drop 1h after 30d",
        "keep 1d forever",
    ]
    assert [each.line for each in found.lifecycles] == ["hot until 10d -> gone; rollups: 1h until 30d, 1d forever"]
    above = timeline(prepared, TableName("doc", "metrics_1h"), Seen(policies=policies))
    assert [each.line for each in above.lifecycles] == ["hot until 30d -> gone"]
    assert above.source == METRICS
    assert [lane.title for lane in above.lanes] == ["Data in the table", "Rollup 1d"]
    hidden = timeline(prepared, METRICS, Seen(policies=[], whole=False))
    assert [lane.title for lane in hidden.lanes] == ["Data in the table"]


@pytest.mark.parametrize(("cutoff", "read"), [("2024-06-25T12:00", 0), ("2024-07-02T12:00", 1)])
def test_windows_of_a_range_are_not_read(cutoff: str, read: int) -> None:
    """A range looks as its windows would. These are read only if some of them are about to be dropped."""
    prepared, asked = cascade(at(cutoff)), list[LedgerRow]()
    ledger, ranges = prepared.facts.ledger, dict[LedgerRow, list[LedgerRow]]()
    packed = dict[TableName, Windows]()

    def members(row: LedgerRow) -> list[LedgerRow]:
        asked.append(row)
        return ranges[row]

    for name, windows in ledger.windows.items():
        own = {make_range(group): group for group in choose_stretches(windows.sealed)}
        ranges |= own
        packed[name] = Windows([*own, *(row for row in windows.stored if not row.sealed)], members)
    assert sum(row.windows > 10 for row in ranges) == 1
    facts = replace(prepared.facts, ledger=Ledger(ledger.rollups, packed))
    seen = Seen(policies=list(prepared.policies.values()))
    plain, found = (timeline(each, METRICS, seen) for each in (prepared, replace(prepared, facts=facts)))
    assert [each.stretches for each in found.lanes] == [each.stretches for each in plain.lanes]
    assert [each.note for each in found.lanes] == [each.note for each in plain.lanes]
    assert len(asked) == read
    assert (State.DROP in {span.state for span in lane(found, "Rollup 1h").spans}) is bool(read)


def test_concerning() -> None:
    """The policies of a table are those that mean it, or a part of its cascade."""
    policies = [
        policy("downsample", "10d", id="down", levels="1h:30d,1d:forever"),
        policy("delete", "5d", id="level", table_name="metrics_1d"),
        policy("delete", "5d", id="all", table_name="*"),
        policy("delete", "5d", id="other", table_name="others"),
    ]
    for name in ("metrics", "metrics_1h", "metrics_1h_sketch"):
        assert concerning(policies, TableName("doc", name), CRATEDB) == {"down", "level", "all"}
    assert concerning(policies, TableName("doc", "others"), CRATEDB) == {"other", "all"}
    assert concerning(policies, TableName("away", "metrics"), CRATEDB) == set()


def test_gaps() -> None:
    """What is joined over a gap says that there is one."""
    found = [Span(time=TimeRange(start, start + 1), state=State.DROP, first=str(start)) for start in (0, 1, 3)]
    assert [(span.time, span.gaps) for span in join(found)] == [((0, 2), False), ((3, 4), False)]
    assert [(span.time, span.gaps) for span in join(found, gap=1)] == [((0, 4), True)]


def test_five_thousand() -> None:
    """Thousands of partitions become few spans, quickly, and no row is lost in the sums."""
    first = ms("2010-01-01")
    parts = [part(first + i * DAY, rows=i, size=i) for i in range(5000)]
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics", start=ms("2012-01-01"), end=ms("2013-01-01"))
    daily = table([TS, VALUE, DAILY], ["day"], parts)
    prepared = prepare(catalog(daily), [policy("delete", "8y"), policy("reallocate", "2y")], hold)
    began = time.perf_counter()
    found = timeline(prepared, METRICS, Seen(policies=list(prepared.policies.values()), holds=[hold]))
    assert time.perf_counter() - began < 2
    data = found.lanes[0]
    for spans in (data.spans, data.stretches):
        assert sum(span.rows or 0 for span in spans) == sum(range(5000))
        assert sum(span.count for span in spans) == 5000
    assert len(data.spans) <= 300
    assert [str(span.state) for span in data.stretches] == ["drop", "blocked", "drop", "move", "up-to-date"]


ITEMS = st.lists(
    st.builds(
        lambda start, length, state, rows: Span(
            time=TimeRange(start, start + length), state=state, first="x", rows=rows, size=rows
        ),
        st.integers(0, 10**6),
        st.integers(1, 5000),
        st.sampled_from([State.DROP, State.BLOCKED, State.UP_TO_DATE]),
        st.none() | st.integers(0, 10**9),
    ),
    max_size=60,
)


@given(ITEMS, st.integers(1, 40))
@settings(max_examples=examples(60, long=400), deadline=None)
def test_sums(items: list[Span], times: int) -> None:
    """However items are joined, rows and counts of each state stay, and each lies within a span of its state."""
    many = [
        replace(i, time=TimeRange(i.time.start + n * 977_777, i.time.end + n * 977_777))
        for i in items
        for n in range(times)
    ]
    made = make_lane("x", many)
    for spans in (made.spans, made.stretches, join(sorted(many, key=lambda i: i.time.start))):
        assert _sums(spans) == _wanted(many)
        for item in many[:20]:
            assert any(s.state is item.state and item.time & s.time == item.time for s in spans)
    assert len(made.spans) <= 500


def _sums(spans: object) -> dict[State, tuple[int, int, int]]:
    found: dict[State, tuple[int, int, int]] = {}
    for span in spans:  # type: ignore[attr-defined]
        assert isinstance(span, Span)
        rows, unknown, count = found.get(span.state, (0, 0, 0))
        found[span.state] = rows + (span.rows or 0), unknown + span.unknown, count + span.count
    return found


def _wanted(items: list[Span]) -> dict[State, tuple[int, int, int]]:
    found: dict[State, tuple[int, int, int]] = {}
    for item in items:
        rows, unknown, count = found.get(item.state, (0, 0, 0))
        found[item.state] = rows + (item.rows or 0), unknown + (item.rows is None), count + 1
    return found
