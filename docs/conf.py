"""
Builds the documentation as a site with Sphinx: ``make docs``. The pages are plain Markdown that reads as well on GitHub
or in an editor; what they link to outside of this directory becomes a page here, a link to the repository if its
address is known, or plain text.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

from cratedb_retention import __version__  # noqa: E402 - found by the path above

project = "cratedb-retention"
author = "The cratedb-retention developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["parts"]
source_suffix = {".md": "markdown"}
nitpicky = True
highlight_language = "text"  # of blocks that name no language
# Objects of CrateDB, such as {host = 'web1'}, are no SQL that the highlighter knows.
suppress_warnings = ["misc.highlighting_failure"]

myst_heading_anchors = 4
myst_links_external_new_tab = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"cratedb-retention {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# Pages of the project's root, and the page here that shows each.
SHOWN = {
    "README.md": "index.md",
    "CHANGES.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
# Where the repository is, as GitHub says in its workflows.
REPOSITORY = os.environ.get("DOCS_REPOSITORY", "")
if not REPOSITORY and "GITHUB_REPOSITORY" in os.environ:
    REPOSITORY = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{os.environ['GITHUB_REPOSITORY']}"

# The pages by what they are for; a pattern stands for those that no other line names.
CONTENTS = {
    "Learn": ["tutorial", "reference/glossary"],
    "Install": [
        "how-to/install",
        "how-to/linux-packages",
        "how-to/snap",
        "how-to/windows",
        "how-to/container",
        "how-to/compose",
        "how-to/kubernetes",
        "how-to/nomad",
        "how-to/buildpacks",
    ],
    "Connect": ["how-to/workstation", "how-to/cratedb-cloud", "reference/duckdb"],
    "Use": [
        "how-to/cascades",
        "how-to/telegraf",
        "how-to/prometheus",
        "how-to/restore",
        "how-to/undo",
        "how-to/unusual-runs",
        "how-to/legal-hold",
        "how-to/pages",
        "how-to/multi-tenancy",
        "how-to/single-sign-on",
        "how-to/*",
    ],
    "Operate": ["how-to/cron-and-systemd", "how-to/airflow", "how-to/monitoring", "troubleshooting"],
    "Migrate": ["how-to/migrate-from-cratedb-toolkit", "how-to/migrate-from-rrdtool-and-graphite"],
    "Reference": [
        "reference/commands",
        "reference/policies",
        "reference/scheduling",
        "reference/configuration",
        "reference/exit-codes",
        "reference/http-api",
        "reference/library",
        "reference/metrics",
        "reference/tables",
        "reference/audit-log",
        "reference/*",
    ],
    "Explanation": [
        "explanation/time-and-cutoff",
        "explanation/guarantees",
        "explanation/downsampling",
        "explanation/*",
    ],
    "Project": [
        "architecture",
        "architecture/files",
        "architecture/details",
        "architecture/*",
        "contributing",
        "security",
        "changes",
    ],
}

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def outside_links(text: str, folder: str) -> str:
    """
    A page with its links that lead out of this directory replaced.

    :param folder: Where the page is, from the project's root, as links of it are reckoned.
    """
    last, parts = 0, []
    for block in _BLOCK.finditer(text):
        parts += [_replaced(text[last : block.start()], folder), block[0]]
        last = block.end()
    return "".join([*parts, _replaced(text[last:], folder)])


def _replaced(text: str, folder: str) -> str:
    return _LINK.sub(lambda match: _link(match[0], match[1], match[2], folder), text)


def _link(whole: str, words: str, target: str, folder: str) -> str:
    path, _, fragment = target.partition("#")
    if not path or ":" in path:
        return whole
    found = normpath(f"{folder}/{path}")
    if found in SHOWN:
        return f"[{words}](/{SHOWN[found]}{f'#{fragment}' if fragment else ''})"
    if PurePosixPath(found).parts[0] == "docs":
        return f"[{words}](/{relpath(found, 'docs')}{f'#{fragment}' if fragment else ''})"
    if REPOSITORY:
        kind = "tree" if (ROOT / found).is_dir() else "blob"
        return f"[{words}]({REPOSITORY}/{kind}/main/{found})"
    return words if words.startswith("`") else f"{words} (`{found}`)" if words != found else f"`{found}`"


def read_page(app: Sphinx, name: str, content: list[str]) -> None:
    """Show a page of the project's root in place of the one that stands for it; mend links of any page."""
    shown = {page.removesuffix(".md"): source for source, page in SHOWN.items() if page != "index.md"}
    if name in shown:
        content[0] = outside_links((ROOT / shown[name]).read_text(encoding="utf-8"), ".")
    else:
        content[0] = outside_links(content[0], str(PurePosixPath("docs", name).parent))
    if name == "index":
        content[0] += contents()


def contents() -> str:
    """All pages in their order, for the site alone: on GitHub the list would be in the way."""
    text = ""
    named = {name for names in CONTENTS.values() for name in names}
    for caption, patterns in CONTENTS.items():
        names = [
            name
            for pattern in patterns
            for path in sorted(DOCS.glob(f"{pattern}.md"))
            if (name := path.relative_to(DOCS).with_suffix("").as_posix()) == pattern or name not in named
        ]
        text += "\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(names) + "\n```\n"
    return text


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_page)
