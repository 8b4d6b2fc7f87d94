"""Finds phrases that the house style refuses, which ``docs/words.toml`` lists, in texts and in pages of Markdown."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from support.markdown import ROOT

_LIST = tomllib.loads((ROOT / "docs" / "words.toml").read_text(encoding="utf-8"))
PHRASES = {re.compile(each.replace(" ", r"\s+"), re.IGNORECASE): good for each, good in _LIST["phrases"].items()}
EXCEPTIONS = {(each["page"], each["line"]) for each in _LIST["exceptions"]}
# What is not written by hand, or quotes programs: generated parts, comments, blocks of code, code, targets of links.
_NOT_PROSE = re.compile(
    r"<!-- generated.*?<!-- end of generated -->|<!--.*?-->|^ *```.*?^ *```$|``.*?``|`[^`]*`|\]\([^)]*\)", re.M | re.S
)


def refused(text: str) -> Iterator[str]:
    """The phrases of a text that are refused, each with its line and what to write instead."""
    for pattern, instead in PHRASES.items():
        for match in pattern.finditer(text):
            yield f"line {text.count(chr(10), 0, match.start()) + 1}: {' '.join(match[0].split())!r}: write {instead}"


def refused_in_page(text: str, page: str = "") -> Iterator[str]:
    """The same of the prose of a page of Markdown, without the lines that are exceptions for this page."""
    lines = ("" if (page, line) in EXCEPTIONS else line for line in text.splitlines())
    return refused(_NOT_PROSE.sub(lambda match: "\n" * match[0].count("\n") + "x", "\n".join(lines)))
