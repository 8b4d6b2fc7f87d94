"""The diagrams of the explanations, as SVG that is readable on GitHub and in the site, in light and dark themes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

INK, PALE, LINE, TEAL, AMBER, RED, GREEN = "#1b2a33", "#5b6b75", "#9fb0ba", "#0b6e8f", "#b26a00", "#b3261e", "#2e7d32"
FILLS = {TEAL: "#e3f1f6", AMBER: "#fdf1dc", RED: "#fbe6e4", GREEN: "#e6f3e7", LINE: "#f3f6f8"}


class Drawing:
    """An SVG of boxes, bars, arrows and texts, on a white card."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif" font-size="14"'
            f' role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"'
            f' orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{PALE}"/></marker></defs>',
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="#fff" stroke="#d5dde2"/>',
        ]

    def text(
        self, x: float, y: float, words: str, *, color: str = INK, anchor: str = "middle", bold: bool = False
    ) -> None:
        """A line of text; `y` is its baseline."""
        style = f'text-anchor="{anchor}" fill="{color}"' + (' font-weight="600"' if bold else "")
        self._parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(words, quote=False)}</text>')

    def box(
        self, left: float, top: float, width: float, height: float, lines: Sequence[str] = (), *, color: str = TEAL
    ) -> None:
        """A box with lines of text in its middle, the first of them bold."""
        self._parts.append(
            f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6"'
            f' fill="{FILLS[color]}" stroke="{color}"/>'
        )
        first = top + height / 2 + 5 - (len(lines) - 1) * 9
        for number, line in enumerate(lines):
            self.text(left + width / 2, first + number * 18, line, bold=not number, color=INK if number == 0 else PALE)

    def outline(self, left: float, top: float, width: float, height: float, words: str = "") -> None:
        """What is no longer there: a dashed box."""
        self._parts.append(
            f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6"'
            f' fill="none" stroke="{LINE}" stroke-dasharray="4 4"/>'
        )
        self.text(left + width / 2, top + height / 2 + 5, words, color=PALE)

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """An arrow through these points."""
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="{PALE}" stroke-width="1.5"{dashes} marker-end="url(#end)"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, *, color: str = LINE, width: float = 1.5) -> None:
        """A straight line."""
        self._parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color}" stroke-width="{width:g}"/>'
        )

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def _texts(drawing: Drawing, x: float, y: float, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        drawing.text(x, y + number * 18, line, color=PALE)


def row() -> str:
    """The life of a row."""
    d = Drawing(900, 400, "The life of a row")
    d.box(20, 50, 150, 60, ["Row is written", "into its partition"])
    d.arrow((170, 80), (230, 80))
    d.box(230, 50, 180, 60, ["Retention period", "the row stays as it is"])
    d.arrow((410, 80), (530, 80))
    _texts(d, 468, 48, ["before the", "expiry limit"])
    d.box(530, 50, 150, 60, ["Expired"], color=AMBER)
    d.arrow((605, 110), (605, 150))
    d.box(500, 150, 210, 60, ["May it be removed?", "checked again by each run"], color=AMBER)
    d.arrow((710, 180), (750, 180))
    d.text(730, 172, "no", color=PALE)
    d.box(750, 130, 130, 100, ["Blocked", "legal hold,", "missing shards,", "not archived yet"], color=RED)
    d.arrow((750, 215), (710, 200), dashed=True)
    d.text(618, 234, "yes", color=PALE, anchor="start")
    d.line(605, 210, 605, 250, color=PALE)
    d.line(110, 250, 790, 250, color=PALE)
    for left, lines, color in (
        (20, ["delete", "the row is gone"], RED),
        (250, ["reallocate, compact", "on other nodes,", "or in less space"], GREEN),
        (480, ["snapshot", "archived and verified,", "then dropped"], GREEN),
        (700, ["downsample", "in all rollups,", "then gone"], GREEN),
    ):
        d.arrow((left + 90, 250), (left + 90, 284))
        d.box(left, 284, 180, 70, lines, color=color)
    d.arrow((510, 284), (320, 110), dashed=True)
    d.text(396, 200, "restore", color=PALE, anchor="end")
    d.text(450, 380, "A row whose time is unknown (NULL) never expires.", color=PALE)
    return str(d)


def plan() -> str:
    """From policies to a plan, which is shown or executed."""
    d = Drawing(900, 360, "The plan")
    inputs = ["Policies", "Legal holds", "Ledger of rollups", "Catalog", "Measurements", "Cutoff"]
    for number, words in enumerate(inputs):
        top = 20 + number * 54
        d.box(20, top, 160, 40, [words], color=LINE)
        d.arrow((180, top + 20), (240, 150 + number * 10))
    d.box(240, 130, 180, 90, ["Decide", "a pure function:", "no database, no clock"])
    d.arrow((420, 175), (460, 175))
    d.box(460, 80, 190, 170, [], color=AMBER)
    d.text(555, 106, "Plan", bold=True)
    d.box(475, 120, 160, 54, ["Tasks", "due, with reasons"], color=GREEN)
    d.box(475, 184, 160, 54, ["Blocked", "due, with reasons"], color=RED)
    d.arrow((650, 150), (700, 90))
    d.box(700, 40, 180, 84, ["Shown (dry run)", "plan, run --dry-run,", "editor, HTTP API"])
    d.arrow((650, 200), (700, 256))
    d.box(
        700, 190, 180, 130, ["Executed (run)", "for each task:", "check preconditions,", "steps in order,", "audit log"]
    )
    d.text(555, 278, "the same object", color=PALE)
    d.text(555, 296, "in both cases", color=PALE)
    return str(d)


def cascade() -> str:
    """The levels of a cascade, each with its retention period."""
    d = Drawing(900, 330, "A cascade")
    now = 760
    d.line(now, 40, now, 290, color=RED)
    d.text(now, 30, "cutoff (now)", color=RED)
    levels = (
        ("raw rows", "7d", 680, now, TEAL),
        ("1m", "30d", 560, now - 2, GREEN),
        ("1h", "1y", 340, now - 8, GREEN),
        ("1d", "forever", 120, now - 24, GREEN),
    )
    for number, (name, kept, start, end, color) in enumerate(levels):
        top = 54 + number * 60
        d.box(start, top, end - start, 34, color=color)
        d.text(start - 10, top + 22, f"kept {kept}" if kept != "forever" else "forever", color=PALE, anchor="end")
        d.text(now + 14, top + 22, name, anchor="start", bold=True)
        if number:
            d.arrow((720, top - 26), (720, top))
    d.text(600, 106, "each level is computed from the finer one", color=PALE, anchor="end")
    d.text(450, 318, "Data expires only when the next level contains it. The axis of time is not to scale.", color=PALE)
    return str(d)


def windows() -> str:
    """Windows of a level, and what late rows do to them."""
    d = Drawing(900, 330, "Windows and late rows")
    d.text(20, 125, "raw rows", anchor="start", bold=True)
    d.text(20, 205, "level 1h", anchor="start", bold=True)
    names = ["day 1", "day 2", "day 3", "day 4", "today"]
    for number, name in enumerate(names):
        left = 120 + number * 150
        d.text(left + 70, 90, name, color=PALE)
        if number < 2:
            d.outline(left, 100, 140, 40, "expired")
            d.box(left, 180, 140, 40, ["sealed"], color=LINE)
        elif number < 4:
            d.box(left, 100, 140, 40, ["rows"])
            d.box(left, 180, 140, 40, ["complete"], color=GREEN)
            d.arrow((left + 100, 140), (left + 100, 180))
        else:
            d.box(left, 100, 100, 40, ["rows"])
            d.outline(left, 180, 140, 40)
            d.box(left, 180, 84, 40, ["open"], color=AMBER)
            d.arrow((left + 42, 140), (left + 42, 180))
    d.line(415, 62, 415, 236, color=AMBER)
    d.text(415, 254, "expiry limit of raw rows", color=AMBER)
    d.line(820, 62, 820, 236, color=RED)
    d.text(820, 254, "cutoff", color=RED)
    d.arrow((385, 40), (385, 98))
    d.text(120, 34, "late row for day 2: changes no level; kept or dropped (late)", color=PALE, anchor="start")
    d.arrow((685, 66), (685, 98))
    d.text(800, 56, "row for day 4: its window becomes dirty", color=PALE, anchor="end")
    _texts(
        d,
        450,
        290,
        [
            "sealed: never computed again · complete: computed again if its rows change (dirty)",
            "open: grows by complete buckets with each run, and is computed as a whole when it is over",
        ],
    )
    return str(d)


def lease() -> str:
    """A lease that one run loses and another takes over."""
    d = Drawing(900, 350, "A lease")
    d.text(20, 65, "run A", anchor="start", bold=True)
    d.text(20, 155, "lease", anchor="start", bold=True)
    d.text(20, 245, "run B", anchor="start", bold=True)
    d.box(150, 40, 180, 40, ["renews every 20 s"])
    d.text(342, 58, "killed, paused, or cut off", anchor="start", color=RED)
    d.box(150, 130, 520, 40, ["lease holder A, fencing token 7"], color=AMBER)
    d.box(670, 130, 210, 40, ["lease holder B, token 8"], color=GREEN)
    d.arrow((151, 80), (151, 130))
    d.arrow((280, 80), (280, 130))
    d.text(292, 112, "60 s after the last renewal, the lease ends", color=PALE, anchor="start")
    d.arrow((310, 220), (310, 170))
    d.box(200, 220, 220, 40, ["deferred: locked by A"], color=LINE)
    d.arrow((690, 220), (690, 170))
    d.box(670, 220, 210, 40, ["takes over the slot"], color=GREEN)
    d.arrow((522, 54), (722, 54), dashed=True)
    d.box(722, 24, 158, 70, ["A resumes", "token 7 is refused,", "so A stops"], color=RED)
    d.line(120, 290, 880, 290)
    d.text(
        450,
        320,
        "Times are those of the database's clock. A uses a counter of its own that is never set back.",
        color=PALE,
    )
    return str(d)


DIAGRAMS = {"row": row, "plan": plan, "cascade": cascade, "windows": windows, "lease": lease}
