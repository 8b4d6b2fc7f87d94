"""Steps and partitions in words."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.plan.effect import summarize
from cratedb_retention.model.plan.plan import (
    DeleteRows,
    DropArchived,
    DropPartitions,
    FreezePartitions,
    MovePartitions,
    Spared,
    Step,
    Task,
    ThawPartitions,
    VerifySnapshot,
)
from cratedb_retention.model.plan.plan import SnapshotPartition as Archive
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.values import Verify
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.rollups.rollup import (
    AlterRollup,
    CreateRollup,
    ReplaceView,
    RollUp,
    Rollup,
    SealWindows,
    Window,
)
from cratedb_retention.model.step import Piece
from cratedb_retention.model.words import (
    plural,
    read_pairs,
    read_value,
    readable,
    sentence,
    show_partition,
    show_size,
    show_value,
    show_where,
)
from support.catalogs import DAY, METRICS, MONTH, TENANT, TS, VALUE, ms, part

MAY, JUNE = ms("2024-05-01"), ms("2024-06-01")
ONE = (Piece(partition=part(MAY), start=MAY, end=JUNE),)
MANY = tuple(Piece(partition=part(MAY + i), start=MAY, end=JUNE) for i in range(1200))
BY_MONTH = (MONTH,)
LEVEL = Rollup(
    source=METRICS,
    below=METRICS,
    table=TableName("doc", "metrics_1h"),
    interval=Interval(3600),
    time=TS,
    dimensions=(),
    metrics=(),
)
DAYS = tuple(
    Window(start=MAY + i * DAY, end=MAY + (i + 1) * DAY, since=MAY + i * DAY, until=MAY + (i + 1) * DAY)
    for i in range(31)
)


@pytest.mark.parametrize(
    ("step", "words", "kind"),
    [
        (
            DropPartitions(table=METRICS, columns=BY_MONTH, pieces=ONE, before=JUNE),
            "drop partition month=2024-05-01",
            "drop_partitions",
        ),
        (
            DropPartitions(table=METRICS, columns=BY_MONTH, pieces=MANY, before=JUNE),
            "drop 1,200 partitions, month=2024-05-01 to month=2024-05-01T00:00:01.199Z",
            "drop_partitions",
        ),
        (
            DeleteRows(table=METRICS, time_column=TS, before=JUNE),
            "delete rows with ts before 2024-06-01",
            "delete_rows",
        ),
        (
            DeleteRows(table=METRICS, time_column=TS, before=JUNE, since=JUNE - 1000),
            "delete rows with ts from 2024-05-31T23:59:59Z and before 2024-06-01",
            "delete_rows",
        ),
        (
            DeleteRows(
                table=METRICS,
                time_column=TS,
                before=JUNE + 1,
                where=((TENANT, "a"), (VALUE, None)),
                spared=(Spared(hold_id="h"),),
            ),
            "delete rows with ts before 2024-06-01T00:00:00.001Z, tenant=a and value=NULL, except those under 1 hold",
            "delete_rows",
        ),
        (
            MovePartitions(table=METRICS, columns=BY_MONTH, pieces=ONE, attribute="storage", value="cold"),
            "move partition month=2024-05-01 to nodes with storage=cold",
            "move_partitions",
        ),
        (
            FreezePartitions(table=METRICS, columns=BY_MONTH, pieces=ONE),
            "freeze partition month=2024-05-01",
            "freeze_partitions",
        ),
        (
            ThawPartitions(table=METRICS, columns=BY_MONTH, pieces=ONE),
            "unfreeze partition month=2024-05-01",
            "thaw_partitions",
        ),
        (
            Archive(table=METRICS, columns=BY_MONTH, pieces=(ONE[0],), repository="archive", name="s1"),
            "archive partition month=2024-05-01 as s1 in archive",
            "snapshot_partition",
        ),
        (
            VerifySnapshot(
                table=METRICS,
                columns=BY_MONTH,
                pieces=(ONE[0],),
                repository="archive",
                name="s1",
                verify=Verify.RESTORE,
                schema="ext",
            ),
            "verify snapshot s1 in archive by reading it back",
            "verify_snapshot",
        ),
        (
            VerifySnapshot(
                table=METRICS,
                columns=BY_MONTH,
                pieces=(ONE[0],),
                repository="archive",
                name="s1",
                verify=Verify.METADATA,
                schema="ext",
            ),
            "verify the metadata of snapshot s1 in archive",
            "verify_snapshot",
        ),
        (
            DropArchived(
                table=METRICS, columns=BY_MONTH, pieces=(ONE[0],), repository="archive", name="s1", before=JUNE
            ),
            "drop archived partition month=2024-05-01",
            "drop_archived",
        ),
        (CreateRollup(rollup=LEVEL), "create metrics_1h (dimensions: none; metrics: none)", "create_rollup"),
        (AlterRollup(rollup=LEVEL, columns=("x_min", "x_max")), "add x_min, x_max to metrics_1h", "alter_rollup"),
        (RollUp(rollup=LEVEL, windows=DAYS), "roll up 31 windows of metrics_1h, 2024-05-01 to 2024-06-01", "roll_up"),
        (
            SealWindows(rollup=LEVEL, windows=DAYS[:1]),
            "seal 1 window of metrics_1h, 2024-05-01 to 2024-05-02",
            "seal_windows",
        ),
        (
            ReplaceView(rollup=LEVEL, parts=()),
            "renew the view metrics_all",
            "replace_view",
        ),
    ],
)
def test_step(step: Step, words: str, kind: str) -> None:
    """Every step says what it does, beginning with a verb, and has a name for the journal."""
    assert step.describe() == words
    assert step.operation() == kind


def test_task_in_one_phrase() -> None:
    """A task of one step says that step; archiving says where to and that it verifies before it drops."""
    drop = DropPartitions(table=METRICS, columns=BY_MONTH, pieces=ONE, before=JUNE)
    freeze = FreezePartitions(table=METRICS, columns=BY_MONTH, pieces=ONE)
    archive = Archive(table=METRICS, columns=BY_MONTH, pieces=(ONE[0],), repository="archive", name="s1")
    assert summarize(Task(policy_id="p", table=METRICS, steps=(drop,), why=Why.LEFT_FROZEN())) == drop.describe()
    assert (
        summarize(Task(policy_id="p", table=METRICS, steps=(freeze, drop), why=Why.LEFT_FROZEN()))
        == f"{freeze.describe()}, then {drop.describe()}"
    )
    assert summarize(Task(policy_id="p", table=METRICS, steps=(freeze, archive), why=Why.LEFT_FROZEN())).startswith(
        "archive partition month=2024-05-01 in archive"
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "NULL"), (MAY, "2024-05-01"), (MAY + 3_600_000, "2024-05-01T01:00Z"), (10**18, f"{10**18} ms")],
)
def test_time_value(value: Value, words: str) -> None:
    """A partition's time is shown as a date, NULL as NULL, nonsense as what it is."""
    assert show_value(MONTH, value) == words


def test_sentences() -> None:
    """A question keeps its mark; instants are written as in tables, and other text as it is."""
    assert [sentence(text) for text in ("did you mean x?", "try again", "Done.")] == [
        "Did you mean x?",
        "Try again.",
        "Done.",
    ]
    text = "from 2024-07-01T12:00Z to 2024-07-02T01:02:03.004Z, 2024-07-03; t=2024-07-01T12:00:00+02:00 Z"
    said = "from 2024-07-01 12:00 UTC to 2024-07-02 01:02:03.004 UTC, 2024-07-03; t=2024-07-01T12:00:00+02:00 Z"
    assert readable(text) == said
    assert readable("accept it (`cratedb-retention accept-table`); or (`x`)") == "accept it; or (`x`)"


def test_several_values() -> None:
    """Partitions and filters name each column with its value."""
    assert show_partition([TENANT, MONTH], [None, MAY]) == "tenant=NULL, month=2024-05-01"
    assert show_where([(TENANT, "acme"), (VALUE, 7)]) == "tenant=acme and value=7"
    assert show_partition([VALUE], [MAY]) == f"value={MAY}"


@pytest.mark.parametrize("text", ["'NULL\"", "''NULL'", "NULL'", "'null'", "'a'"])
def test_unmatched_quotes_are_literal(text: str) -> None:
    """Only a pair of quotes around NULL is taken off."""
    assert read_value(text) == text


def test_a_value_may_have_an_equals_sign() -> None:
    """The first one ends the key."""
    assert read_pairs("--where", ["tenant=a=b", "site="]) == {"tenant": "a=b", "site": ""}


@pytest.mark.parametrize(("count", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_plural(count: int, words: str) -> None:
    """Counts are written as people write them."""
    assert plural(count, "row") == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**5, "1024.0 TiB"),
    ],
)
def test_sizes(size: int | None, words: str) -> None:
    """Bytes in the largest unit that gives at least one, of 1024 of the one before."""
    assert show_size(size) == words
