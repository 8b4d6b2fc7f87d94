"""Python's garbage collector works as before once nothing asks for something else."""

from __future__ import annotations

import gc

from cratedb_retention.collector import collecting_rarely


def test_uses_that_overlap() -> None:
    """Of two uses, the one that began first may end first, as in two threads."""
    usual = gc.get_threshold()
    first, second = collecting_rarely(), collecting_rarely()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[0] > usual[0]
    second.__exit__(None, None, None)
    assert gc.get_threshold() == usual
