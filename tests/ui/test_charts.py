"""Charts: what is drawn of values, and what is said about them; pure."""

from __future__ import annotations

import re
import sys
from decimal import Decimal

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.query.reading import Fetched, Holding, Row, Stretch
from cratedb_retention.model.rollups.cascade import Interval
from cratedb_retention.model.time import TimeRange, from_ms, parse_instant, to_ms
from cratedb_retention.ui.web.charts import Heights, legend, lines_of, number, picture
from support.served import Element, parse, text_of

NOON = to_ms(parse_instant("2024-07-02T12:00"))
MINUTE = 60_000


def fetched(
    *rows: Row, keys: int = 0, columns: tuple[str, ...] = ("t_avg", "t_min", "t_max"), **more: object
) -> Fetched:
    """Ten buckets of a minute: the first two from raw rows, five from another table, the last from raw rows."""
    raw, other = (Holding(rollup=None, table=TableName("lab", name), start=None, end=None) for name in "ab")
    parts = (raw, 0, 2), (other, 2, 7), (raw, 7, 10)
    found = {
        "stretches": tuple(
            Stretch(holding=held, time=minutes(start, end), interval=Interval(60)) for held, start, end in parts
        ),
        **more,
    }
    return Fetched(
        columns=("ts", *columns, "level"),
        rows=rows,
        keys=keys,
        step=Interval(60),
        start=NOON,
        end=NOON + 10 * MINUTE,
        **found,  # type: ignore[arg-type]
    )


def minutes(start: int, end: int) -> TimeRange:
    return TimeRange(NOON + start * MINUTE, NOON + end * MINUTE)


def drawn(answer: Fetched) -> Element:
    return parse(picture(answer, lines_of(answer), "Chart of t_avg."))


def paths(chart: Element, tone: str) -> list[str]:
    return [
        each.get("d", "") for each in chart.findall(".//svg/svg/path") if (each.get("class") or "").startswith(tone)
    ]


def hints(chart: Element) -> list[str]:
    return [each.get("data-tip", "") for each in chart.findall(".//rect[@class='hint']")]


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


VALUES = [(5.0, 4.0, 7.0), (6.0, 5.0, 8.0), *[(None, None, None)] * 2, (7.5, 6.0, 9.0), *[(None, None, None)] * 5]
WEATHER = tuple(
    (from_ms(NOON + at * MINUTE), *values, "raw" if values[0] is not None else None) for at, values in enumerate(VALUES)
)


def test_lines_with_gaps() -> None:
    """A value stands in the middle of its bucket; gaps are gaps, a value between them is a dot; a band is around."""
    chart = drawn(fetched(*WEATHER))
    [line], [dot], bands = paths(chart, "curve"), paths(chart, "dots"), paths(chart, "band")
    assert [x for x, _ in places(line)] == [50, 150]
    assert [x for x, _ in places(dot)] == [450]
    assert dot.endswith("h0")
    high = places(dot)[0][1]
    assert high < places(line)[1][1] < places(line)[0][1]  # Pixels from the top.
    least, most = Heights.of([4.0, 9.0]).at(4.0), Heights.of([4.0, 9.0]).at(9.0)
    assert places(bands[0])[0] == (50, Heights.of([4.0, 9.0]).at(7.0))
    assert places(bands[0])[-1] == (50, least)
    assert places(bands[1]) == [(450, most), (450, Heights.of([4.0, 9.0]).at(6.0))]
    rows = ((row[0], name, *row[1:]) for row in WEATHER for name in "ab")
    two = fetched(*rows, keys=1, columns=("n", "t_avg", "t_min", "t_max"))
    assert not paths(drawn(two), "band")


def test_what_is_said_about_a_value() -> None:
    """Each bucket has its time in UTC, its value with its range, and the level; without data, that is said."""
    said = hints(drawn(fetched(*WEATHER)))
    assert len(said) == 10
    assert said[0] == "2024-07-02 12:00:00 UTC\nt_avg: 5 (4 to 7)\nfrom raw"
    assert said[2] == "2024-07-02 12:02:00 UTC\nt_avg: no data"
    groups = (
        (from_ms(NOON), None, "a", 1234.5678, "1h"),
        (from_ms(NOON), "<b>", "c", 2, "1h+raw"),
    )
    answer = fetched(*groups, keys=2, columns=("x", "y", "n"))
    assert [line.name for line in lines_of(answer)] == ["NULL, a", "<b>, c"]
    assert hints(drawn(answer)) == ["2024-07-02 12:00:00 UTC\nNULL, a: 1,234.57\n<b>, c: 2\nfrom 1h, 1h+raw"]
    assert [text_of(each) for each in drawn(answer).findall(".//ul[@class='names']/li")] == ["NULL, a", "<b>, c"]


def test_where_values_are_from() -> None:
    """Each source has its bar, its pattern and its name; what is kept nowhere, and what was not read, are marked."""
    archive = Holding(rollup=None, table=TableName("lab", "a"), start=None, end=None, archived=True)
    part = Stretch(holding=archive, time=minutes(0, 3), interval=Interval(60))
    answer = fetched(*WEATHER, stretches=(part,), gaps=(minutes(3, 10),), unread=((minutes(3, 5), "no repository"),))
    chart = drawn(answer)
    [_, read, _] = [each for each in chart if each.get("class") == "lane"]
    found = [(bar[0].get("fill"), bar.get("data-tip", "").split("\n")) for bar in read.findall(".//g")]
    assert found == [
        (
            "url(#is-archived)",
            ["archive", "2024-07-02 12:00 to 2024-07-02 12:03 UTC", "1 point per minute, from archived rows"],
        ),
        ("url(#is-blocked)", ["archived, not read", "2024-07-02 12:03 to 2024-07-02 12:05 UTC", "no repository"]),
        ("url(#is-gone)", ["kept nowhere", "2024-07-02 12:05 to 2024-07-02 12:10 UTC"]),
    ]
    assert [each.get("x1") for each in chart.findall(".//line[@class='limit']")] == ["30.0%", "50.0%"]
    [gap] = chart.findall("./div[1]//g")
    assert (gap[0].get("x"), gap[0].get("width")) == ("50.0%", "50.0%")
    assert [text_of(each) for each in parse(legend(answer))] == ["archived rows", "archived, not read", "kept nowhere"]
    assert (chart.get("data-start"), chart.get("data-end")) == (str(NOON), str(NOON + 10 * MINUTE))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 10.0], ["0", "2", "4", "6", "8", "10"]),
        ([0.012, 0.019], ["0.012", "0.014", "0.016", "0.018"]),
        ([-3_000_000.0, 5_000_000.0], ["-2,000,000", "0", "2,000,000", "4,000,000"]),
        ([5.0, 5.0], ["4.6", "4.8", "5.0", "5.2", "5.4"]),
        ([], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([-sys.float_info.max, sys.float_info.max], ["-1e+308", "0", "1e+308"]),
        ([0.0, 5e-324], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([0.0, 1e-310], []),
    ],
)
def test_heights(values: list[float], texts: list[str]) -> None:
    """Round values stand at the axis, whatever the range; the least value is at the bottom, the greatest at the top."""
    heights = Heights.of(values)
    assert [text for _, text in heights.ticks()] == texts
    if values[:1] != values[1:]:
        assert heights.at(heights.low) > heights.at(heights.high) > 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (1234.5678, "1,234.57"),
        (1_234_567.0, "1,234,567"),
        (2.5e20, "2.5e+20"),
        (Decimal("1.50"), "1.50"),
        (7000, "7,000"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    """With separators; decimals have all their digits."""
    assert number(value) == text
