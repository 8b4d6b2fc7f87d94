"""
Python's garbage collector, where it would examine the same objects again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_MANY = 50_000  # Objects. To examine fewer takes the collector a few milliseconds.
_RARELY = 100_000
_lock = Lock()
_usual: list[tuple[int, int, int]] = []  # The thresholds to return to: one for each use that has not ended.


@contextmanager
def without_collector() -> Iterator[None]:
    """Pause it: it would examine all of a plan again and again while that grows."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # Much that was made counts as old: it need not be examined at once. (To count what is frozen takes time.)
            if gc.get_count()[0] > _MANY and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Let it wait for more objects than pages of rows have: it would examine all others again for each few pages."""
    with _lock:
        _usual.append(_usual[0] if _usual else gc.get_threshold())
        gc.set_threshold(max(_RARELY, _usual[0][0]), *_usual[0][1:])
    try:
        yield
    finally:
        with _lock:
            usual = _usual.pop()
            if not _usual:
                gc.set_threshold(*usual)
