"""Sizes in bytes, as users write them."""

from __future__ import annotations

import pytest

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.size import Size, parse_size


@pytest.mark.parametrize(
    ("text", "size", "written"),
    [
        ("2TB", 2 * 10**12, "2TB"),
        ("500 GiB", 500 * 2**30, "500GiB"),
        ("1.5kb", 1500, "1.5kB"),
        ("1.5 K", 1500, "1.5kB"),
        ("3 kib", 3072, "3KiB"),
        ("7", 7, "7B"),
        (7, 7, "7B"),
        ("3 b", 3, "3B"),
        ("0.1", 1, "1B"),
        ("123456.789012GB", 123456789012000, "123456.789012GB"),
        ("999999999999999TiB", 999999999999999 * 2**40, "999999999999999TiB"),
    ],
)
def test_sizes(text: str | int, size: int, written: str) -> None:
    """Units of ten, and with an `i` units of two; what is written is read as the same size."""
    found = parse_size(text)
    assert (found.bytes, str(found)) == (size, written)
    assert parse_size(str(found)) == found == parse_size(found)


@pytest.mark.parametrize(
    "text", ["", "0", "-1GB", "2 XB", "much", "1e9", "TB", "inf", "nan", "9" * 400, True, None, 1.5, "0.0GB"]
)
def test_sizes_that_are_none(text: object) -> None:
    """One line says what to write."""
    with pytest.raises(InvalidInput, match="Write it like 2TB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("like", "size", "written"),
    [
        ("500GB", 512_345_678_901, "512.3GB"),
        ("500GiB", 512 * 2**30 + 2**28, "512.2GiB"),
        ("2TB", 999, "999B"),
        ("2TB", 0, "0B"),
        ("1kB", 1_000_000, "1MB"),
        ("1KiB", 1_048_576, "1MiB"),
        ("1GB", 7 * 10**18, "7000PB"),
    ],
)
def test_other_sizes_are_shown_alike(like: str, size: int, written: str) -> None:
    """In units of ten or of two, as the other one is written."""
    assert parse_size(like).show(size) == written


def test_equal_sizes() -> None:
    """It is the bytes that count."""
    assert parse_size("1000kB") == parse_size("1MB") == Size(10**6)
    assert parse_size("1MiB") != parse_size("1MB")
