"""Hand-written documents use the terms of the glossary, and none of the phrases that ``docs/words.toml`` refuses."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cratedb_retention.model.access import Role
from cratedb_retention.model.policies.strategies import Strategy
from support.markdown import PAGES, ROOT
from support.words import EXCEPTIONS, PHRASES, refused, refused_in_page

# The code of conduct is not ours; a program writes the rest.
NOT_OURS = ("CODE_OF_CONDUCT.md",)
WRITTEN = [
    page
    for page in PAGES
    if page.name not in NOT_OURS and not page.read_text(encoding="utf-8").startswith("<!-- Made by docs/generate.py")
]


# Other texts that users read, each as a whole.
TEXTS = [
    path
    for pattern in (
        ".github/ISSUE_TEMPLATE/*.yml",
        "examples/*.*",
        "deploy/compose/*.yaml",
        "deploy/compose/.env.example",
        "deploy/helm/*/values.yaml",
        "deploy/helm/*/templates/NOTES.txt",
        "deploy/nomad-pack/*/variables.hcl",
        "deploy/prometheus/alerts.yml",
        "packaging/etc/*",
        "packaging/nfpm.yaml",
        "snap/snapcraft.yaml",
    )
    for path in sorted(ROOT.glob(pattern))
]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
# What people search for who know other systems, and the page that has to have it.
SEARCHED = {
    "blocked": "docs/troubleshooting.md",
    "concurrency": "docs/reference/scheduling.md",
    "dry run": "README.md",
    "grace period": "docs/reference/scheduling.md",
    "group": "docs/explanation/downsampling.md",
    "hot/cold": "README.md",
    "lifecycle": "README.md",
    "multi-tenancy": "docs/how-to/multi-tenancy.md",
    "tiering": "docs/reference/policies.md",
    "TTL": "docs/reference/glossary.md",
}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_have_no_refused_phrases(page: Path) -> None:
    """No hand-written page uses a phrase that is hard to read."""
    assert list(refused_in_page(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_have_no_refused_phrases(path: Path) -> None:
    """Neither do examples, and what users of packages and deployments read."""
    assert list(refused(path.read_text(encoding="utf-8"))) == []


def test_the_source_has_no_refused_phrases() -> None:
    """Neither do messages, help and docstrings, which the generated pages repeat; a single word may be a name."""
    nodes = ((path, node) for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = ((path, node.value) for path, node in nodes if isinstance(node, ast.Constant))
    found = [(path, list(refused(text))) for path, text in texts if isinstance(text, str) and " " in text]
    assert [each for each in found if each[1]] == []


@pytest.mark.parametrize(("words", "page"), SEARCHED.items())
def test_words_that_people_search_for_are_found(words: str, page: str) -> None:
    """The names that other systems have for a thing lead to the page about it."""
    assert words.lower() in (ROOT / page).read_text(encoding="utf-8").lower()


@pytest.mark.parametrize("name", [*Strategy, *Role])
def test_the_glossary_has_the_names_of_the_program(name: str) -> None:
    """Each strategy and each role is in the glossary."""
    assert f"`{name}`" in (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")


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
