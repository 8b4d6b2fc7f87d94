"""Python's garbage collector works as before once nothing asks for something else."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cratedb_retention.collector import collecting_rarely


@pytest.fixture(autouse=True)
def threshold() -> Iterator[None]:
    """That of these tests is put back."""
    usual = gc.get_threshold()
    yield
    gc.set_threshold(*usual)


@pytest.mark.parametrize("usual", [700, 1_000_000])
def test_uses_that_overlap(usual: int) -> None:
    """Of two uses, the one that began first may end first, as in two threads; and nothing makes it work more often."""
    gc.set_threshold(usual, 10, 10)
    first, second = collecting_rarely(), collecting_rarely()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == (max(usual, 100_000), 10, 10)
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (usual, 10, 10)
