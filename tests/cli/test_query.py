"""``query``: SQL over archives, in each format, with one line for each mistake; and ``fetch`` of archived rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from support.command import Command, FilledBy

CUTOFF = "--cutoff-day=2024-07-01"


def fill(command: Command) -> None:
    """January and February are in the archive."""
    command.ok(
        "create", "--strategy=snapshot", "--table-name=metrics", "--retention-period=100d",
        "--target-repository-name=archive",
    )  # fmt: skip
    command.ok("run", CUTOFF)


@pytest.fixture
def archived(filled_by: FilledBy) -> Command:
    """The command on such a database."""
    return filled_by(fill)


def test_table(archived: Command) -> None:
    """For users: names above, numbers at the right, NULL as such."""
    out = archived.ok("query", "SELECT month, count(*) AS days, NULL AS nothing FROM metrics GROUP BY month ORDER BY 1")
    lines = [line.split() for line in out.splitlines() if line.strip(" ─")]
    assert lines == [
        ["month", "days", "nothing"],
        ["2024-01-01", "00:00:00", "31", "NULL"],
        ["2024-02-01", "00:00:00", "29", "NULL"],
    ]
    assert archived.ok("query", "FROM metrics WHERE value < 0") == "no rows\n"


def test_a_long_table(archived: Command) -> None:
    """A thousand rows are shown, and it is said that there are more."""
    outcome = archived("query", "SELECT a.value FROM metrics a, metrics b")
    assert (outcome.code, outcome.err) == (0, "Note: the first 1,000 rows; the other formats write all\n")
    assert len(outcome.out.splitlines()) < 1010


def test_formats(archived: Command, tmp_path: Path) -> None:
    """To standard output and to files, whose names choose the format; a table in a file is CSV."""
    select = "SELECT ts, tenant, value FROM metrics WHERE value < 2 ORDER BY value"
    rows = archived.data("query", select)
    assert rows == [
        {"ts": "2024-01-01T00:00:00", "tenant": "acme", "value": 0.0},
        {"ts": "2024-01-02T00:00:00", "tenant": "acme", "value": 1.0},
    ]
    path = tmp_path / "out.csv"
    assert archived.ok("query", select, f"--output={path}") == ""
    with path.open(newline="") as file:
        assert [row["value"] for row in csv.DictReader(file)] == ["0.0", "1.0"]
    assert archived.ok("query", select, "--format=csv") == path.read_text()
    assert archived.ok("query", select, "--format=table", f"--output={tmp_path / 'table'}") == ""
    assert (tmp_path / "table").read_text() == path.read_text()
    pq = pytest.importorskip("pyarrow.parquet")
    archived.ok("query", "FROM metrics", f"--output={tmp_path / 'out.parquet'}")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 60
    assert "YAML is not a format" in archived.refused(2, "query", select, f"--output={tmp_path / 'out.yaml'}")
    assert "No such file" in archived.refused(2, "query", select, f"--output={tmp_path / 'no' / 'out.csv'}")


@pytest.mark.parametrize(
    ("select", "code", "message"),
    [
        ("SELEKT 1", 2, 'query: syntax error at or near "SELEKT"'),
        ("DROP TABLE metrics", 2, "query: is not a SELECT"),
        ("SELECT 1; SELECT 2", 2, "query: has 2 statements. Write one SELECT"),
        ("SELECT valu FROM metrics", 2, 'query: Binder Error: Referenced column "valu" not found'),
        ("SELECT * FROM events", 2, "does not exist"),
        ("SELECT * FROM read_csv('/etc/passwd')", 2, "query: function read_csv is not allowed in place of a table"),
        ("SELECT CAST(tenant AS INTEGER) FROM metrics", 2, "query: Conversion Error"),
    ],
)
def test_mistakes(archived: Command, select: str, code: int, message: str) -> None:
    """One line, and the exit code of a mistake."""
    assert message in archived.refused(code, "query", select)


def test_nothing_is_archived(command: Command) -> None:
    """Without archives, no table has a name."""
    assert "`list-snapshots` shows which tables have archives" in command.refused(2, "query", "FROM metrics").lower()


def test_fetch(archived: Command) -> None:
    """`fetch` reads archived rows and those of the table, and says where each row is from."""
    asked = ("fetch", "--table-name=metrics", "--from=2024-01-01", "--to=2024-04-01", "--step=1mo")
    rows = archived.data(*asked, "--metric=row_count", "--metric=value:sum")
    found = [(row["row_count"], row["value_sum"], row["level"]) for row in rows]
    assert found == [
        (31, sum(range(31)), "archive"),
        (29, sum(range(31, 60)), "archive"),
        (31, sum(range(60, 91)), "raw"),
    ]
    directory = Path(str(archived.uri).removeprefix("duckdb:///")).parent / "archive"
    (damaged,) = directory.rglob("main-metrics-2024-01-*.parquet")
    damaged.write_bytes(b"")
    outcome = archived(*asked, "--metric=row_count", "--format=json")
    assert [row["level"] for row in json.loads(outcome.out)] == ["archive", "raw"]
    assert outcome.err.startswith("Note: 2024-01-01 to 2024-02-01: archived rows were not read: snapshot ")
