"""What the end of the output says of skipped tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import missing
from support.missing import MAX_LINES, not_found, summary
from support.tiers import LEFT_OUT

TOOLS = list(missing._REMEDIES)


def skipped(tool: str) -> str:
    """What pytest keeps of a skipped test."""
    return str((str(Path(__file__)), 7, f"Skipped: {not_found(tool)}"))


def test_nothing_skipped() -> None:
    """Nothing is said where all tests ran."""
    assert summary([]) == []


def test_a_line_for_each_tool() -> None:
    """CrateDB comes first and loud; each tool has one line, with the number of tests and how to get it."""
    assert summary([skipped("rrdtool"), *[skipped("CrateDB")] * 812, *[skipped("chromium")] * 2]) == [
        "NOT TESTED ON CRATEDB: 812 tests skipped. Unpack one and set CRATEDB_HOME to its directory, or set CRATEDB_URI"
        " to a server for tests.",
        "2 tests skipped, no chromium: apt-get install chromium",
        "1 test skipped, no rrdtool: apt-get install rrdtool",
    ]


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_is_recognized(tool: str) -> None:
    """No tool is taken for another one whose name begins alike."""
    (line,) = summary([skipped(tool)])
    assert line.endswith(missing._REMEDIES[tool])


def test_at_most_ten_lines() -> None:
    """Where more is missing, the last line names the rest, and no test is left out of the count."""
    assert len(TOOLS) > MAX_LINES
    lines = summary([skipped(tool) for tool in TOOLS])
    assert len(lines) == MAX_LINES
    assert lines[-1].startswith(f"{len(TOOLS) - MAX_LINES + 1} tests skipped, no ")
    assert all(tool in " ".join(lines) for tool in TOOLS[1:])
    assert len(summary([skipped(tool) for tool in TOOLS[:MAX_LINES]])) == MAX_LINES


def test_other_reasons() -> None:
    """Tests that were skipped for other reasons are counted, too, within the ten lines."""
    assert summary(["no idea", "not found: sense"]) == ["2 tests skipped for other reasons: make test PYTEST=-rs"]
    lines = summary(["no idea", *map(skipped, TOOLS)])
    assert len(lines) == MAX_LINES
    assert lines[-1].startswith("1 test skipped for other reasons")
    assert lines[-2].startswith(f"{len(TOOLS) - MAX_LINES + 2} tests skipped, no ")


def test_the_long_tier() -> None:
    """Tests that the tier leaves out are the last line, beside those that lack a tool."""
    left_out = f"('x.py', 1, 'Skipped: {LEFT_OUT}: takes an hour, no CrateDB')"
    assert summary([left_out, left_out]) == ["2 tests skipped: they are left to make test-long"]
    lines = summary([left_out, "no idea", *map(skipped, TOOLS)])
    assert len(lines) == MAX_LINES
    assert lines[-3].startswith(f"{len(TOOLS) - MAX_LINES + 3} tests skipped, no ")
    assert "other reasons" in lines[-2] and "test-long" in lines[-1]


def test_unknown_tools() -> None:
    """A test cannot skip for a tool without a remedy."""
    with pytest.raises(AssertionError, match=r"missing\.py does not say how to get snapcraft"):
        not_found("snapcraft")
