"""The lanes of a table: places of bars and marks, the axis, and the words for all of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from itertools import pairwise

import pytest

from cratedb_retention.execution.overview.rows import RowLane
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.overview import Cutoff, Lane, Span, State, Timeline
from cratedb_retention.model.time import DAY_MS, TimeRange, parse_instant, to_ms
from cratedb_retention.ui.overview.spans import about, expires, next_words, reasons, rows, summary, unplaced, what
from cratedb_retention.ui.web.html import Markup, el
from cratedb_retention.ui.web.lanes import MOST_SLOTS, Ages, changing, marks, picture, slots, small, ticks, window
from support.served import Element, parse

TABLE = TableName("doc", "metrics")


def ms(text: str) -> int:
    return to_ms(parse_instant(text))


def days(start: str, end: str) -> TimeRange:
    return TimeRange(ms(start), ms(end))


def span(time: TimeRange, state: State = State.DROP, **more: object) -> Span:
    return Span(time=time, state=state, first="a", **more)  # type: ignore[arg-type]


def cutoff(limit: str | None, tenant: str = "p", **more: object) -> Cutoff:
    at, words = ms(limit) if limit else None, f"delete after 30d, tenant={tenant}"
    return Cutoff(policy_id=tenant, table=TABLE, words=words, limit=at, **more)  # type: ignore[arg-type]


def timeline(*lanes: Lane, cutoffs: tuple[Cutoff, ...] = (), now: str = "2024-07-01") -> Timeline:
    return Timeline(table=TABLE, now=ms(now), lanes=lanes, cutoffs=cutoffs, changes=(), blocked=(), holds=())


def lane(*spans: Span, title: str = "Data in the table") -> Lane:
    return Lane(title=title, spans=spans, stretches=spans)


def drawn(found: Timeline, time: TimeRange, chosen: TimeRange | None = None) -> Element:
    return parse(picture(found, time, chosen, about, summary))


def places(root: Element, kind: str, tone: str) -> list[tuple[float, float]]:
    """The left end and the width of each rectangle, or the place of each line, in percent."""
    found = [each for each in root.iter(kind) if tone in each.get("class", "").split()]
    names = ("x1", "x2") if kind == "line" else ("x", "width")
    return [tuple(float(each.get(name, "").rstrip("%")) for name in names) for each in found]  # type: ignore[misc]


def test_bars() -> None:
    """A bar stands where its time is, looks like its state, and is never too thin; beyond the picture is none."""
    time = days("2024-01-01", "2024-04-10")  # 100 days
    spans = (
        span(days("2023-12-01", "2024-01-11")),
        span(days("2024-01-21", "2024-01-31"), State.ARCHIVE),
        span(TimeRange(ms("2024-03-01"), ms("2024-03-01") + 1), State.BLOCKED),
        span(days("2024-05-01", "2024-06-01"), State.UP_TO_DATE),
    )
    root = drawn(timeline(lane(*spans)), time)
    assert places(root, "rect", "is-drop") == [(0, 10)]
    assert places(root, "rect", "is-archive") == [(20, 10)]
    [(left, width)] = places(root, "rect", "is-blocked")
    assert (left, width) == (60, 0.18)
    assert places(root, "rect", "is-up-to-date") == []
    fills = {each.get("fill") for each in root.iter("rect")} - {None}
    patterns = {f"url(#{each.get('id')})" for each in root.iter("pattern")}
    assert fills == {"url(#is-drop)", "url(#is-archive)", "url(#is-blocked)"} and fills <= patterns
    tips = [each.get("data-tip", "") for each in root.iter("g")]
    assert tips[1].splitlines()[:3] == [
        "Data in the table",
        "Time (UTC): 2024-01-21 to 2024-01-31",
        "State: will be archived, then dropped",
    ]
    labels = {each.text: each.get("class") for each in root.iter("text") if "from-" in each.get("class", "")}
    assert labels == {"drop": "from-560", "archive, drop": "from-1160"}, "a word is shown where there is room for it"


def test_no_bar_hides_another() -> None:
    """What is at the same time lies below each other, as far as there is room."""
    spans = [span(TimeRange(*time)) for time in ((0, 10), (5, 15), (10, 20))]
    assert [slot for _, slot in slots(lane(*spans))] == [0, 1, 0]
    same = [span(TimeRange(0, 10)) for _ in range(MOST_SLOTS + 2)]
    assert max(slot for _, slot in slots(lane(*same))) == MOST_SLOTS - 1
    tops = [
        float(each.get("y", ""))
        for each in drawn(timeline(lane(*spans)), TimeRange(0, 20)).iter("rect")
        if each.get("rx")
    ]
    assert len(set(tops)) == 2


def test_marks() -> None:
    """The present instant differs from limits; disabled policies have none, far ones no line."""
    cutoffs = (
        cutoff("2024-06-01", "a"),
        cutoff("2024-06-01", "b"),
        cutoff("2024-06-01", "b"),
        cutoff("2020-01-01", "far"),
        cutoff("2024-05-01", "off", enabled=False),
        cutoff(None, "forever"),
    )
    found = timeline(lane(span(days("2024-01-01", "2024-07-01"))), cutoffs=cutoffs)
    assert [(mark.text, mark.now) for mark in marks(found)] == [
        ("now", True),
        ("delete after 30d, tenant=a; delete after 30d, tenant=b", False),
        ("delete after 30d, tenant=far", False),
    ]
    time = window(found)
    assert time is not None and time.start > ms("2023-12-01") and time.contains(found.now)
    root = drawn(found, time)
    assert {at for at, _ in places(root, "line", "limit")} != {at for at, _ in places(root, "line", "now")}
    assert len({at for at, _ in places(root, "line", "limit")}) == 1, "a limit beyond the picture has no line"
    assert [text.text for text in root.iter("text") if "limit" in text.get("class", "")] == [marks(found)[1].text]
    assert [expires(each) for each in cutoffs[3:]] == ["before 2020-01-01", "disabled", "never"]


def test_names_of_marks_do_not_cover_each_other() -> None:
    """Marks at nearly the same time have their names on lines of their own."""
    cutoffs = tuple(cutoff(f"2024-06-{day:02}", f"p{day}") for day in (10, 11, 12))
    found = timeline(lane(span(days("2024-01-01", "2024-07-01"))), cutoffs=cutoffs)
    heights = [
        text.get("y")
        for text in drawn(found, days("2024-01-01", "2024-07-05")).iter("text")
        if "flag" in text.get("class", "")
    ]
    assert (len(heights), len(set(heights))) == (4, 3), "there is room beside now"


def test_what_is_drawn_at_first() -> None:
    """All data, with what is near it: years in which nothing is do not press it together."""
    data = lane(span(days("2024-01-01", "2024-03-01"), State.UP_TO_DATE))
    near, far = window(timeline(data, now="2024-03-20")), window(timeline(data, now="2034-01-01"))
    assert near and near.contains(ms("2024-03-20"))
    assert far and far.end < ms("2024-04-01")
    assert window(timeline(Lane(title="x", unplaced=(span(TimeRange(0, 1)),)))) is None
    assert changing(timeline(data)) is None
    change = changing(timeline(lane(span(days("2024-01-01", "2024-02-01")))))
    assert change and change.contains(ms("2024-01-15")) and change.end < ms("2024-03-01")


def test_gone() -> None:
    """Gone is what is before a limit and in no lane; nothing is said to be gone if the time of some data is unknown."""
    raw = lane(span(days("2024-05-01", "2024-07-01")))
    hours = lane(span(days("2024-03-01", "2024-04-01")), title="Rollup 1h")
    found = timeline(raw, hours, cutoffs=(cutoff("2024-06-01"),))
    assert [time.end for time in found.gone] == [ms("2024-03-01"), ms("2024-05-01")]
    root = drawn(found, days("2024-02-01", "2024-07-01"))
    assert len(places(root, "rect", "is-gone")) == 2
    assert any(each.get("aria-label", "").startswith("Gone, until 2024-05-01") for each in root.iter("svg"))
    assert not timeline(raw, hours, cutoffs=(cutoff("2024-06-01", enabled=False),)).gone
    assert not timeline(raw, hours).gone
    unknown = Lane(title="x", spans=raw.spans, unplaced=(span(TimeRange(0, 1)),))
    assert not timeline(unknown, cutoffs=(cutoff("2024-06-01"),)).gone
    assert not timeline(Lane(title="rows one by one"), hours, cutoffs=(cutoff("2024-06-01"),)).gone


@pytest.mark.parametrize(
    ("start", "end", "first", "count"),
    [
        ("2024-01-01", "2024-01-01T06:00", "2024-01-01", 7),
        ("2024-01-01", "2024-01-03", "2024-01-01", 9),
        ("2024-01-01T01:00", "2024-01-09", "2024-01-02", 8),
        ("2024-01-15", "2024-08-01", "2024-02", 7),
        ("2023-02-15", "2024-08-01", "2023-04", 6),
        ("2001-05-01", "2024-08-01", "2005", 4),
        ("1900-05-01", "2024-08-01", "1920", 6),
    ],
)
def test_axis(start: str, end: str, first: str, count: int) -> None:
    """A few ticks at full hours, days, months or years, all within the picture."""
    found = ticks(days(start, end))
    assert (found[0][1], len(found)) == (first, count)
    assert all(ms(start) <= at <= ms(end) for at, _ in found)


def test_hours_of_the_axis() -> None:
    """The date stands at the first tick, and at midnight."""
    found = ticks(days("2024-01-01T12:00", "2024-01-02T12:00"))
    assert [text for _, text in found][:5] == ["2024-01-01 12:00", "15:00", "18:00", "21:00", "2024-01-02"]


def test_time_without_a_calendar() -> None:
    """Where times are in another unit than the column says, there is a picture all the same."""
    far = TimeRange(10**15, 10**15 + DAY_MS * 400)
    assert ticks(far) == []
    assert places(drawn(timeline(lane(span(far))), far), "rect", "is-drop") == [(0, 100)]
    assert ticks(days("9990-01-01", "9999-12-31"))


def test_what_was_chosen() -> None:
    """The time range that a user chose is marked in all lanes."""
    found = timeline(lane(span(days("2024-01-01", "2024-04-10"))), lane(title="Archived"))
    root = drawn(found, days("2024-01-01", "2024-04-10"), days("2024-01-11", "2024-01-21"))
    assert places(root, "rect", "chosen") == [(10, 10)] * 2


def test_spans_in_words() -> None:
    """What is unknown, omitted or with gaps is said; a lane has a sentence for those who do not see it."""
    one = span(TimeRange(0, 10))
    many = replace(one, count=3, last="c", gaps=True, rows=1200, unknown=2, reasons=("held",), more=2)
    assert what(many) == "3: a to c, with gaps"
    assert (rows(many), rows(one)) == ("1,200 and unknown in 2", "unknown")
    assert reasons(many) == "held; and 2 more reasons"
    assert unplaced([one] * 10).endswith(": " + ", ".join("a" * 10) + ".")
    assert unplaced([many] * 11).endswith(" and 1 more. held.")
    spans = (span(days("2024-01-01", "2024-02-01"), count=2), span(days("2024-02-01", "2024-03-01"), State.UP_TO_DATE))
    assert summary(lane(*spans)) == "Data in the table, 2024-01-01 to 2024-03-01: 2 will be dropped, 1 up to date"
    assert summary(Lane(title="Archived", note="nothing yet")) == "Archived: nothing yet"
    now = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
    assert (next_words(now, now), next_words(now + dt.timedelta(hours=2), now)) == ("due now", "in 2 hours")


def test_ages() -> None:
    """Younger ages have more room, what is older or in the future is at the ends, and names of ages lie apart."""
    now = ms("2024-07-01")
    ages = Ages.of(now, [now - 400 * DAY_MS, now + DAY_MS])
    assert ages.longest == 730 * DAY_MS
    at = [ages.at(now - age * DAY_MS) for age in (10_000, 730, 365, 30, 7, 0, -5)]
    assert at == sorted(at)
    assert (at[1], at[0], at[-2], at[-1]) == (0, 0, 100, 100)
    assert at[5] - at[4] > at[2] - at[1], "the last week, and the second year"
    assert ages.ticks()[0] == (100, "now")
    assert all(first - second >= 13 for (first, _), (second, _) in pairwise(ages.ticks()))
    assert [Ages.of(now, found).longest // DAY_MS for found in ([], [0], [-(10**17)])] == [1, 20 * 365, 20 * 365]


def test_small_lanes() -> None:
    """The data of a table, what happens to it, its levels and limits; without data, nothing."""
    now = ms("2024-07-01")
    ages = Ages.of(now, [ms("2022-07-02")])
    data = days("2023-07-01", "2024-07-01")
    open_end = TimeRange.of(None, ms("2023-08-01"))
    lanes = (
        RowLane("data", data, State.UP_TO_DATE, ((State.DROP, open_end),)),
        *(RowLane(f"{n}d", days("2022-07-02", "2024-06-01"), State.COMPUTED) for n in range(5)),
    )
    root = parse(small(ages, lanes, [ms("2023-08-01")], "a\nb"))
    [whole], [going] = places(root, "rect", "is-up-to-date"), places(root, "rect", "is-drop")
    assert whole[0] == going[0] and going[1] < whole[1]
    assert sum(whole) == pytest.approx(100)
    assert len(places(root, "rect", "is-computed")) == 3
    [limit] = places(root, "line", "limit")
    assert limit[0] == pytest.approx(sum(going))
    assert (root.get("aria-label"), root.get("data-tip")) == ("a; b", "a\nb")
    assert places(parse(small(ages, (RowLane("data", None, State.UP_TO_DATE),), [now], "a")), "line", "limit") == []


def test_text_is_no_markup() -> None:
    """Whatever is done with markup, it is text again; only elements make it."""
    hostile = "<script>alert('x')</script>\"'&"
    made = el("p", hostile, [hostile, None], class_=hostile, hidden=True, title=None, data_x=False)
    assert isinstance(made, Markup)
    assert "<script" not in made
    root = parse(made)
    assert (root.text, dict(root.attrib)) == (hostile * 2, {"class": hostile, "hidden": ""})
    assert parse(el("p", f"{made}")).text == str(made)
    assert parse(el("p", made[:9])).text == made[:9]
