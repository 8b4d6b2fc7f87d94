"""Why something is due, in words, and when the next thing will be."""

from __future__ import annotations

import pytest

from cratedb_retention.model.plan.effect import total
from cratedb_retention.model.step import Piece
from cratedb_retention.planning.plan.strategies import next_due, why_due
from support.catalogs import at, catalog, monthly, ms, part, policy
from support.planning import make_plan

MAY = Piece(partition=part("2024-05-01"), start=ms("2024-05-01"), end=ms("2024-06-01"))
JUNE = Piece(partition=part("2024-06-01", rows=None, size=None), start=ms("2024-06-01"), end=ms("2024-07-01"))
NEVER = Piece(partition=part(None), start=None, end=None)
BY_ROWS = Piece(partition=part("x"), start=ms("2024-05-01"), end=ms("2024-05-31T12:00:00.001"), exact=False)


@pytest.mark.parametrize(
    ("piece", "retention", "due"),
    [
        (MAY, "30d", "2024-07-01"),
        (MAY, "1mo", "2024-07-01"),
        (MAY, "1y", "2025-06-01"),
        (MAY, "0d", "2024-06-01"),
        (MAY, "forever", None),
        (MAY, "9999y", None),
        (NEVER, "30d", None),
        (Piece(partition=part(0), start=0, end=10**17), "30d", None),
    ],
)
def test_next_due(piece: Piece, retention: str, due: str | None) -> None:
    """A piece is due when its end is as old as the retention period says; never, if that is outside of time."""
    assert next_due(piece, policy(retention=retention)) == (ms(due) if due else None)


def test_due_in_time_zone() -> None:
    """Months are reckoned in the policy's time zone here too."""
    assert next_due(MAY, policy(retention="6mo", time_zone="Europe/Vienna")) == ms("2024-12-01T01:00")


def test_words() -> None:
    """The reason says when it ended and how long it was kept."""
    assert str(why_due([MAY], policy())) == "ends 2024-06-01, kept until 2024-07-01"
    assert str(why_due([MAY, JUNE], policy())) == "end 2024-06-01 to 2024-07-01, the last kept until 2024-07-31"
    assert str(why_due([BY_ROWS], policy())).startswith("newest row of 2024-05-31T12:00Z, kept until 2024-06-30T12:00")


def test_totals() -> None:
    """A total of which a part is unknown is unknown."""
    assert total([10, 10]) == 20
    assert total([10, None]) is None
    assert total([]) == 0


def test_next_due_is_when_it_goes() -> None:
    """What the plan announces as due next is due at that instant, and not a millisecond before."""
    found = catalog(monthly("2024-05", "2024-06"))
    [kept] = make_plan([policy()], found, at("2024-07-02")).up_to_date
    assert (kept.partitions, kept.next_due) == (1, ms("2024-07-31"))
    [before] = make_plan([policy()], found, at("2024-07-30T23:59:59.999")).up_to_date
    [then] = make_plan([policy()], found, at("2024-07-31")).up_to_date
    assert (before.partitions, then.partitions) == (1, 0)
