"""
Makes the pictures of the pages that the documentation shows: ``make screenshots``. Needs a Chromium.

They show the database that the tests of the pages use, at a time that does not change. The moving picture begins
without policies.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import film  # noqa: E402 - it finds the support of tests by the path above, as do these
from support.databases import DuckDatabase  # noqa: E402
from support.pages import NARROW, WIDE, Chromium, PagesInBrowser, open_browser, open_pages  # noqa: E402
from support.sample_data import NOW, add_tokens, fill  # noqa: E402
from support.tools import find_chromium  # noqa: E402

TALL = (WIDE[0], 1000)
FILM = "first-policy"
IMAGES = ROOT / "docs" / "images"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """
    A picture.

    :param path: The page; ``{schema}`` is the tables' schema.
    :param size: Of the window, which is what the picture shows.
    """

    name: str
    path: str
    size: tuple[int, int] = TALL
    dark: bool = False


SHOTS = (
    Shot(name="overview", path="/ui/"),
    Shot(name="timeline", path="/ui/tables/{schema}.weather"),
    Shot(name="policies", path="/ui/policies"),
    Shot(name="editor", path="/ui/policies/visits"),
    Shot(name="plan", path="/ui/plan"),
    Shot(name="forecast", path="/ui/forecast?until=%2B180d"),
    Shot(name="runs", path="/ui/runs"),
    Shot(name="activity", path="/ui/activity"),
    Shot(name="archive", path="/ui/archive"),
    Shot(name="holds", path="/ui/holds"),
    Shot(name="explore", path="/ui/explore?table={schema}.weather&metric=temperature", dark=True),
    Shot(name="overview-narrow", path="/ui/", size=NARROW, dark=True),
    Shot(name="editor-narrow", path="/ui/policies/visits", size=NARROW),
)


def main() -> int:
    """Make all of them, or those that are named; returns the exit code."""
    chromium = find_chromium()
    if chromium is None:
        print("There is no Chromium; install one, e.g. by apt-get install chromium.", file=sys.stderr)
        return 1
    wanted = frozenset(sys.argv[1:]) or {FILM, *(shot.name for shot in SHOTS)}
    IMAGES.mkdir(exist_ok=True)
    with open_browser(chromium) as browser:
        with _open(browser) as pages:
            fill(pages.db, hostile=False)
            for shot in (shot for shot in SHOTS if shot.name in wanted):
                _take(pages, shot)
        if FILM in wanted:
            with _open(browser) as pages:
                film.make(pages, IMAGES / f"{FILM}.webp")
    return 0


@contextmanager
def _open(browser: Chromium) -> Iterator[PagesInBrowser]:
    """The pages of a database without tables."""
    with tempfile.TemporaryDirectory() as directory:
        address = f"duckdb:///{directory}/metrics.duckdb"
        with closing(DuckDatabase(address, Path(directory) / "archive")) as db:
            db.repository = "archive"  # Beside the file, so that no picture shows where that is.
            db.time.set(NOW)
            with open_pages(db, browser) as pages:
                add_tokens(pages)
                yield pages


def _take(pages: PagesInBrowser, shot: Shot) -> None:
    path = shot.path.format(schema=pages.db.schema)
    page = pages.log_in("admin", path, shot.size, shot.dark)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{shot.name}.png", animations="disabled")
    print(f"docs/images/{shot.name}.png")


if __name__ == "__main__":
    sys.exit(main())
