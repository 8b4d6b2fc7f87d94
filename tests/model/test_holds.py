"""Legal holds as data: which stretch of time they cover."""

from __future__ import annotations

import pytest

from cratedb_retention.model.holds import HoldKind, LegalHold


@pytest.mark.parametrize(
    ("start", "end", "piece", "covered"),
    [
        (None, None, (10, 20), True),
        (None, None, (None, None), True),
        (15, None, (10, 20), True),
        (20, None, (10, 20), False),
        (19, None, (10, 20), True),
        (None, 10, (10, 20), False),
        (None, 11, (10, 20), True),
        (12, 13, (10, 20), True),
        (0, 100, (10, 20), True),
        (20, 30, (10, 20), False),
        (0, 10, (10, 20), False),
        # An unknown border counts as covered.
        (30, 40, (10, None), True),
        (0, 5, (None, 20), True),
        (0, 5, (10, None), False),
        (30, 40, (None, 20), False),
    ],
)
def test_overlaps(start: int | None, end: int | None, piece: tuple[int | None, int | None], covered: bool) -> None:
    """Both a hold and a partition hold their start and not their end; what is unknown is covered."""
    assert LegalHold(id="h", table_schema="doc", table_name="metrics", start=start, end=end).overlaps(*piece) is covered


def test_partitions_and_values() -> None:
    """A hold on some partitions covers only the rows in them that have its other values as well."""
    partitions = ({"month": 1}, {"month": 2})
    hold = LegalHold(id="h", table_schema="doc", table_name="m", where={"tenant": "acme"}, partitions=partitions)
    assert hold.filters == ({"tenant": "acme", "month": 1}, {"tenant": "acme", "month": 2})


def test_defaults() -> None:
    """A hold that says no more than a table is a legal hold on all of it."""
    hold = LegalHold(id="h", table_schema="doc", table_name="metrics")
    assert (hold.kind, dict(hold.where), hold.start, hold.end) == (HoldKind.LEGAL, {}, None, None)
