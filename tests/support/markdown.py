"""
Reads Markdown as far as the tests of the documentation need it: blocks of code, links, headings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGES.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^(?P<mark><!-- test -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """
    A block of code.

    :param tested: Whether a comment before it says that the tests run it.
    """

    language: str
    text: str
    tested: bool


def blocks(text: str) -> list[Block]:
    """All blocks of code of a page."""
    return [Block(match["language"], match["text"], bool(match["mark"])) for match in _BLOCK.finditer(text)]


def script(text: str) -> str:
    """What the tests run of a page, one block after the other, as a script for a shell."""
    return "\n".join(
        f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK" if block.language == "python" else block.text
        for block in blocks(text)
        if block.tested
    )


def links(text: str) -> list[str]:
    """The targets of all links."""
    return _LINK.findall(_BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """The fragments by which headings can be reached, as GitHub makes them."""
    titles = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in _HEADING.findall(_BLOCK.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> Iterator[str]:
    """Links of a page to files and headings that are not there; addresses elsewhere are not looked at."""
    for target in links(page.read_text(encoding="utf-8")):
        path, _, fragment = target.partition("#")
        if "://" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (fragment and fragment not in anchors(file.read_text(encoding="utf-8"))):
            yield target


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each call of ``cratedb-retention`` in the blocks for a shell."""
    for block in blocks(text):
        if block.language != "shell":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("cratedb-retention "):
                words = shlex.split(line, comments=True)
                end = next((i for i, word in enumerate(words) if word.startswith((">", "|"))), len(words))
                yield words[1:end]
