"""
A thousand kills on DuckDB: of archiving many partitions, of the end of their archives, of a recoverable deletion, and
of its undo. An instant that leaves the same files as the one before is looked at together with it.

At any instant each row is there once, in its table or in an archive, and what comes next completes it. These are for
the long tier, in parts that can be run one by one; `make test` kills the same with two partitions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cratedb_retention import Retention
from cratedb_retention.errors import NotFound
from support.kill_harness import left_by_kills, list_instants
from support.kill_scenarios import CUTOFF, RECOVERABLE, SCENARIOS, TABLE, DuckScenarioDatabase, Scenario

MONTHS, PARTS = 9, 3
# Two rows in each month, one of which was sent twice.
OLD = tuple(
    f"{2022 + month // 12}-{month % 12 + 1:02}-{day}"
    for month in range(MONTHS)
    for day in (10, 20, *([20] * (month % 2)))
)
# The least number of different states that kills leave, in each part.
ARCHIVING, ENDING, UNDOING = 30, 15, 10
pytestmark = [
    pytest.mark.long("make test kills the same with two partitions, see test_kill.py and test_kill_undo.py"),
    pytest.mark.timeout(3600),
    pytest.mark.parametrize("part", range(PARTS)),
]


def named(name: str) -> Scenario:
    """A scenario."""
    (found,) = (each for each in SCENARIOS if each.name == name)
    return found


ARCHIVED, ENDED = replace(named("snapshot"), old=OLD), replace(named("archives"), ended=OLD)
DELETED = replace(RECOVERABLE, old=OLD)


def left(database: DuckScenarioDatabase, directory: Path, part: int, least: int, **more: Any) -> Iterator[str]:
    """Put back what each kill of a part leaves, and name the instant."""
    request = replace(database.request, parts=PARTS, part=part, **more)
    found = left_by_kills(request, database.files, directory / "kept")
    assert len(found) >= least, "there must have been more to kill"
    for instant, files in found:
        database.restore(files)
        yield instant


def complete(database: DuckScenarioDatabase, retention: Retention) -> tuple[object, ...]:
    """Run to the end: what is there then."""
    assert retention.run(cutoff=CUTOFF).ok
    known = sorted((record.archived.name, str(record.stage)) for record in retention.snapshots())
    due = len(retention.plan(CUTOFF).tasks)
    return database.rows(), known, due, database.repository(), database.look("SELECT count(*) FROM {freeze}")


def names(*parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(name for part in parts for name in part))


def test_there_are_a_thousand(tmp_path: Path, part: int) -> None:
    """All parts together look at a thousand instants."""
    if part:
        pytest.skip("one part counts all")
    kills = 0
    for number, scenario in enumerate((ARCHIVED, ENDED, DELETED, DELETED)):
        database = DuckScenarioDatabase(scenario, make_directory(tmp_path, number))
        database.reset()
        undo = TABLE if number == 3 else ""
        if undo:
            delete(database)
        kills += len(list_instants(replace(database.request, undo=undo)))
    assert kills >= 1000


def make_directory(above: Path, number: int) -> Path:
    found = above / str(number)
    found.mkdir()
    return found


def delete(database: DuckScenarioDatabase) -> None:
    """Let a run delete all that is old."""
    with database.open() as retention:
        report = retention.run(cutoff=CUTOFF)
        assert (report.ok, report.partitions) == (True, MONTHS)


def test_archiving(tmp_path: Path, part: int) -> None:
    """Each row is in the table or in an archive, and the next run archives the rest."""
    scenario, database = ARCHIVED, DuckScenarioDatabase(ARCHIVED, tmp_path)
    every = names(OLD, scenario.border, scenario.young)
    database.reset()
    with database.open() as retention:
        undisturbed = complete(database, retention)
        assert (database.everywhere(retention), database.rows()) == (every, scenario.kept)
    database.reset()
    for instant in left(database, tmp_path, part, ARCHIVING):
        with database.open() as retention:
            assert database.everywhere(retention) == every, f"killed {instant}"
            assert complete(database, retention) == undisturbed, f"killed {instant}"


def test_the_end_of_archives(tmp_path: Path, part: int) -> None:
    """Each archive is read as a whole or not at all, what has not ended stays, and the next run ends the rest."""
    database = DuckScenarioDatabase(ENDED, tmp_path)
    kept, gone = names(ENDED.border, ENDED.young), set[int]()
    database.reset()
    with database.open() as retention:
        assert database.everywhere(retention) == names(OLD, kept)
        undisturbed = complete(database, retention)
        assert database.everywhere(retention) == kept
    database.reset()
    for instant in left(database, tmp_path, part, ENDING):
        with database.open() as retention:
            found = database.everywhere(retention)
            months = {name[:7] for name in found}
            assert found == names([name for name in OLD if name[:7] in months], kept), f"killed {instant}"
            assert complete(database, retention) == undisturbed, f"killed {instant}"
        gone.add(len(found))
    assert len(gone) > MONTHS // 2


def test_what_was_deleted(tmp_path: Path, part: int) -> None:
    """An undo brings back all that a killed run deleted; the next run deletes the rest, which comes back as well."""
    database = DuckScenarioDatabase(DELETED, tmp_path)
    every, gone = names(OLD, DELETED.border, DELETED.young), 0
    database.reset()
    for instant in left(database, tmp_path, part, ARCHIVING):
        gone += len(every) - len(database.rows())
        with database.open() as retention:
            bring_back(retention)
            assert database.rows() == every, f"killed {instant}"
            assert retention.run(cutoff=CUTOFF).ok, f"killed {instant}"
            bring_back(retention)
            assert database.rows() == every, f"killed {instant}, and run again"
    assert gone > MONTHS


def test_undoing(tmp_path: Path, part: int) -> None:
    """A killed undo has brought back no row twice; the next one brings back the rest, beside rows that arrived."""
    database = DuckScenarioDatabase(DELETED, tmp_path)
    database.reset()
    delete(database)
    late = "2022-03-15"
    database.look(f"INSERT INTO {{table}} (ts, n) VALUES ('{late}', '{late}')")
    every = names(OLD, DELETED.border, DELETED.young, [late])
    for instant in left(database, tmp_path, part, UNDOING, undo=TABLE):
        found = database.rows()
        assert late in found and not Counter(found) - Counter(every), f"killed {instant}"
        with database.open() as retention:
            bring_back(retention)
        assert database.rows() == every, f"killed {instant}"


def bring_back(retention: Retention) -> None:
    """Undo, if something can be undone."""
    with suppress(NotFound):
        found = retention.undo(table_schema="*", table_name=TABLE)
        assert [item.error for item in found if item.error] == []
