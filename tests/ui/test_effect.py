"""What leaves a table, in sentences; and what a form suggests."""

from __future__ import annotations

import pytest

from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.plan.effect import Amount, Loss
from cratedb_retention.model.policies.attributes import Suggestions
from cratedb_retention.model.policies.form import FIELDS, MOST, is_shown, offered, to_values
from cratedb_retention.model.policies.lifecycle import find_lifecycles
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.ui.policies.effect import sentence
from cratedb_retention.ui.policies.life import draw
from support.catalogs import DUCKDB, policy
from support.served import parse


def ms(text: str) -> int:
    """An instant."""
    return to_ms(parse_instant(text))


def loss(
    table: str,
    partitions: int,
    rows: int | None,
    start: int | None,
    end: int | None,
    archived: str = "",
    rolled_up: bool = False,
) -> Loss:
    """What leaves a table."""
    of = Amount(
        tasks=1, partitions=partitions, windows=0, rows=rows, known_rows=rows or 0, size=None, start=start, end=end
    )
    return Loss(table=table, archived=archived, rolled_up=rolled_up, amount=of)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (
            loss(table="lab.visits", partitions=12, rows=3400, start=ms("2023-07-01"), end=ms("2024-04-01")),
            "permanently deletes 12 partitions (3,400 rows) of lab.visits: 2023-07-01 to 2024-03-31.",
        ),
        (
            loss(table="lab.visits", partitions=1, rows=1, start=ms("2023-07-01"), end=ms("2023-07-02")),
            "permanently deletes 1 partition (1 row) of lab.visits: 2023-07-01.",
        ),
        (
            loss(table="lab.v", partitions=2, rows=None, start=None, end=None),
            "permanently deletes 2 partitions of lab.v.",
        ),
        (
            loss(table="lab.v", partitions=1, rows=None, start=None, end=ms("2024-01-01"), rolled_up=True),
            "permanently deletes 1 partition of lab.v: before 2024-01-01; its rollups stay.",
        ),
        (
            loss(table="lab.v with tenant=a", partitions=0, rows=7, start=None, end=ms("2024-01-01T10:30:00Z")),
            "permanently deletes 7 rows of lab.v with tenant=a: before 2024-01-01 10:30.",
        ),
        (
            loss(
                table="lab.v",
                partitions=2,
                rows=9,
                start=ms("2024-01-01T01:00:00Z"),
                end=ms("2024-01-01T03:00:00Z"),
                archived="r",
            ),
            "archives 2 partitions (9 rows) of lab.v in r, then drops them: 2024-01-01 01:00 to 2024-01-01 03:00.",
        ),
    ],
)
def test_sentence(gone: Loss, words: str) -> None:
    """Numbers, the table, and which days; the last one is the last that is deleted."""
    assert sentence(gone) == f"The next run {words}"


def test_offered() -> None:
    """What begins with what is written comes first; words of a list are added to those that stand there."""
    columns = (
        Column(name="ts", type="T", kind=Kind.TIME),
        Column(name="place", type="T", kind=Kind.TEXT),
        Column(name="warmth", type="D", kind=Kind.NUMBER),
    )
    tables = (TableName("doc", "old_visits"), TableName("doc", "visits"), TableName("lab", "other"))
    found = Suggestions(
        default_schema="doc",
        tables=tables,
        columns=columns,
        repositories=("r1",),
        attributes={"storage": ("cold", "hot")},
        tags=("acme", "web", "archive"),
    )
    values = {**to_values(None), "table_name": "vis", "tags": "web, A", "reallocation_attribute_name": "storage"}
    assert offered(FIELDS["table_name"], values, found) == ["visits", "old_visits"]
    assert offered(FIELDS["table_schema"], values, found) == ["doc", "lab"]
    assert offered(FIELDS["tags"], values, found) == ["web, acme", "web, archive"]
    assert offered(FIELDS["tags"], {**values, "tags": "web, "}, found) == ["web, acme", "web, archive"]
    assert offered(FIELDS["time_column"], values, found) == ["ts"]
    assert offered(FIELDS["time_column"], {**values, "time_unit": "s"}, found) == ["warmth"]
    assert offered(FIELDS["time_unit"], values, found) == ["s", "ms"]
    for typed, expected in (
        ("", ["ts=", "place=", "warmth="]),
        ("p", ["place="]),
        ("place=oslo", ["place=oslo\nts=", "place=oslo\nwarmth="]),
        ("place=oslo\nW", ["place=oslo\nwarmth="]),
        ("place = oslo\n\n", ["place = oslo\nts=", "place = oslo\nwarmth="]),
        ("nothing", []),
    ):
        assert offered(FIELDS["where"], {**values, "where": typed}, found) == expected
    assert offered(FIELDS["aggregates"], values, found) == ["warmth="]
    assert offered(FIELDS["metrics"], values, found) == ["warmth"]
    assert offered(FIELDS["reallocation_attribute_value"], values, found) == ["cold", "hot"]
    assert offered(FIELDS["target_repository_name"], values, found) == ["r1"]
    assert offered(FIELDS["description"], values, found) == []
    assert len(offered(FIELDS["time_zone"], {**values, "time_zone": ""}, found)) == MOST


def test_a_life_is_drawn() -> None:
    """Stages follow each other without gaps, by age; a rollup begins with the data, and may outlive it."""
    one = policy("snapshot", "1y", archive_period="7y")
    down = policy("downsample", "60d", levels="1h:90d,1d:forever")
    [life] = find_lifecycles([one, policy("compact", "1h"), down], DUCKDB)
    drawn = parse(draw(life))
    assert drawn.find("div").get("aria-label") == life.line  # type: ignore[union-attr]
    places = [
        [tuple(float(bar.get(end, "").rstrip("%")) for end in ("x", "width")) for bar in lane.findall("svg/svg")]
        for lane in drawn.findall("div/div")
    ]
    data, hours, days, axis = places
    assert (len(data), len(hours), len(days), axis) == (4, 2, 1, [])
    for bars in (data, hours, days):
        ends = [start + width for start, width in bars]
        assert [start for start, _ in bars] == pytest.approx([0.0, *ends[:-1]], abs=0.02)
        assert ends[-1] == pytest.approx(100, abs=0.02) and all(width > 4 for _, width in bars)
    assert hours[0][1] < data[2][0] < data[3][0], "90d, 1y, 7y"


def test_shown() -> None:
    """What means nothing without something else is not there without it."""
    values = to_values(None)
    assert not is_shown(FIELDS["misfire"], values)
    assert is_shown(FIELDS["misfire"], {**values, "schedule": "@daily"})
    assert not is_shown(FIELDS["misfire_grace"], {**values, "schedule": "@daily"})
    assert is_shown(FIELDS["misfire_grace"], {**values, "schedule": "@daily", "misfire": "skip"})
    assert not is_shown(FIELDS["levels"], values)
    assert is_shown(FIELDS["levels"], {**values, "strategy": "downsample"})
    assert not is_shown(FIELDS["target_repository_name"], values)
    assert is_shown(FIELDS["target_repository_name"], {**values, "recoverable": "7d"})
    assert is_shown(FIELDS["target_repository_name"], {**values, "strategy": "snapshot"})
