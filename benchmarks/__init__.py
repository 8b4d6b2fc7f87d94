"""
How long things take, beside the best SQL that one would write by hand: ``python -m benchmarks [NAME...]``.

Both are measured in one run, by turns, so that a busy machine slows both. Nothing here is a test: no measurement fails.
"""

import sys
from pathlib import Path

# The server to measure with is the one that the tests start.
sys.path[:0] = [str(Path(__file__).parent.parent / name) for name in ("tests", "packaging")]
