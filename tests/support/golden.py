"""Golden files: text that is compared with what was found right once, and updated on purpose only."""

from __future__ import annotations

import difflib
import os
from pathlib import Path


def check_golden(path: Path, text: str) -> None:
    """
    Compare text with a file, or write the file where ``UPDATE_GOLDEN=1`` asks for it.

    Where tests prove something to others (``CI=true``), they do not write what they compare with.
    """
    if os.environ.get("UPDATE_GOLDEN") == "1":
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise AssertionError("UPDATE_GOLDEN has no place in CI: update golden files locally, and review the change")
        path.write_text(text, encoding="utf-8")
        return
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = difflib.unified_diff(expected.splitlines(), text.splitlines(), path.name, "now", lineterm="")
    assert text == expected, "\n".join([*difference, "If that is right: UPDATE_GOLDEN=1 python -m pytest"])
