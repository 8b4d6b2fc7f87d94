"""
Makes the moving picture of a first policy that the README shows: a part of ``make screenshots``.

Each click is marked by a ring around what is clicked; the pictures before and after it are the ones that a user sees.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

from support.pages import PagesInBrowser
from support.sample_data import make_tables

SIZE, SHOWN = (1280, 800), (960, 600)
# Milliseconds that a picture is shown: before a click, with the ring around what is clicked, and at the end.
LOOK, CLICK, END = 2000, 900, 5000
# The ring takes no space and no clicks.
_RING = """element => {
  const box = element.getBoundingClientRect(), ring = document.createElement('div');
  ring.id = 'ring';
  Object.assign(ring.style, {position: 'fixed', left: box.left - 7 + 'px', top: box.top - 7 + 'px',
    width: box.width + 14 + 'px', height: box.height + 14 + 'px', border: '3px solid #d9480f', borderRadius: '10px',
    boxSizing: 'border-box', pointerEvents: 'none', zIndex: 9999});
  document.body.append(ring);
}"""


@dataclass
class Film:
    page: Page
    pictures: list[tuple[Image.Image, int]] = field(default_factory=list)

    def look(self, milliseconds: int = LOOK) -> None:
        """The window as it is."""
        picture = Image.open(io.BytesIO(self.page.screenshot(animations="disabled")))
        self.pictures.append((picture.convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS), milliseconds))

    def click(self, what: Locator, then: Locator) -> None:
        """Show the window, what is clicked, click it, and wait for what follows."""
        what.scroll_into_view_if_needed()
        self.look()
        what.evaluate(_RING)
        self.look(CLICK)
        self.page.evaluate("document.getElementById('ring').remove()")
        what.click()
        then.wait_for()
        self.page.locator("[aria-busy=true]").wait_for(state="detached")

    def save(self, path: Path) -> None:
        first, *others = (picture for picture, _ in self.pictures)
        durations = [milliseconds for _, milliseconds in self.pictures]
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=80, method=6)


def make(pages: PagesInBrowser, path: Path) -> None:
    """From the overview of tables without policies to the run of the first one."""
    make_tables(pages.db, hostile=False)
    page = pages.log_in("admin", size=SIZE)
    film = Film(page)
    row = page.get_by_role("row").filter(has_text="weather")
    film.click(row.get_by_role("link", name="Add policy"), page.get_by_label("Retention period", exact=True))
    levels, word = page.get_by_role("button", name="1h:60d,1d:forever"), page.get_by_label("Type weather to confirm")
    film.click(page.locator("label").filter(has_text="Downsample"), levels)
    film.click(page.get_by_role("button", name="7d", exact=True).first, page.get_by_text("Fill in: Levels"))
    film.click(levels, word)
    word.fill("weather")
    film.click(page.get_by_role("button", name="Create policy"), page.get_by_role("status"))
    film.click(page.get_by_role("link", name="See the plan"), page.get_by_role("heading", name="Plan"))
    word.fill("weather")
    film.click(page.get_by_role("button", name="Run 6 tasks"), page.get_by_text("7 done").first)
    film.click(page.get_by_role("link", name="lab.weather").first, page.get_by_role("region", name="Data over time"))
    film.look(END)
    film.save(path)
