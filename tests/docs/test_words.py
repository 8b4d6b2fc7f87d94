"""Hand-written documents use the terms of the glossary, and none of the phrases that ``docs/words.toml`` refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.markdown import PAGES, ROOT
from support.words import EXCEPTIONS, PHRASES, refused, refused_in_page

# The history tells of earlier versions in their words; the code of conduct is not ours; a program writes the rest.
NOT_OURS = ("CHANGES.md", "CODE_OF_CONDUCT.md")
WRITTEN = [
    page
    for page in PAGES
    if page.name not in NOT_OURS and not page.read_text(encoding="utf-8").startswith("<!-- Made by docs/generate.py")
]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_have_no_refused_phrases(page: Path) -> None:
    """No hand-written page uses a phrase that is hard to read."""
    assert list(refused_in_page(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))) == []


def test_exceptions_are_in_use() -> None:
    """Each exception is a line of its page that would be refused without it."""
    for name, line in EXCEPTIONS:
        assert line in (ROOT / name).read_text(encoding="utf-8").splitlines(), (name, line)
        assert list(refused_in_page(line))


def test_refused_phrases_are_found() -> None:
    """A phrase is found in prose, also across the end of a line, and neither in code nor in what is generated."""
    assert len(PHRASES) > 20
    assert list(refused("Somebody has to look.")) == [
        "line 1: 'Somebody': write a noun for the role: user, operator, caller, lease holder"
    ]
    unseen = "A `nobody` is\n```\nnobody\n```\n<!-- generated: x -->\nanew\n<!-- end of generated -->\n"
    text = f"{unseen}It goes so\nmany times.\n"
    assert list(refused_in_page(text)) == ["line 8: 'so many': write the number, or 'maximum number'"]
