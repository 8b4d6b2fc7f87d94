"""The parts of server-rendered pages: facts, notices, tables, tabs, fields, links that act."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model import words
from cratedb_retention.model.words import capitalized, sentence
from cratedb_retention.ui.columns import Bit, Column, Number, bits_of, sort_name
from cratedb_retention.ui.web.html import Child, Markup, el

T = TypeVar("T")
ROWS = 50  # Of a list that are shown at once.
_LEFT = "and {} more"
_LIVE = 3  # Seconds after which a page about what goes on is up to date again.


def note(text: str, tone: str = "note") -> Markup:
    return el("p", text, class_=tone)


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup | None:
    """Terms with their values; empty ones are omitted, and so is the list without any."""
    shown = [el("div", el("dt", term), el("dd", value)) for term, value in pairs if value]
    return el("dl", shown, class_="facts") if shown else None


def problem(error: RetentionError) -> Markup:
    """An error within a page."""
    remedy = el("p", sentence(error.remedy)) if error.remedy else None
    said = el("p", f"{capitalized(error.thing)}: {error.reason}", class_="what")
    return el("div", said, remedy, class_="error", role="alert")


def action(text: str, href: str, tone: str = "") -> Markup:
    """A link that looks like a button, since it leads to where something is done."""
    return el("a", text, href=href, class_=f"button {tone}".strip())


def moment(value: dt.datetime) -> Markup:
    """An instant, in UTC as it is sent; scripts show it as the user chose in the head of the page."""
    at = value.astimezone(dt.UTC)
    return el("time", words.exact(at), datetime=f"{at:%Y-%m-%dT%H:%M:%SZ}", class_="date")


def bit(item: Bit) -> Markup | None:
    """A piece of text, or markup as it is; None if it is empty."""
    if isinstance(item.text, Markup):
        return item.text
    if not item.text:
        return None
    hint = item.hint or (item.text if item.tone == "mono" else None)  # Long names are cut.
    return el("a" if item.href else "span", item.text, href=item.href or None, class_=item.tone or None, title=hint)


def table(
    columns: Sequence[Column[T]],
    items: Sequence[T],
    caption: str,
    actions: Callable[[T], Child] | None = None,
    head: Callable[[Column[T]], tuple[Child, str | None]] = lambda column: (column.label, None),
    below: Callable[[T], Markup | None] = lambda item: None,
) -> Markup:
    """
    A table without the columns in which nothing stands; on a narrow screen each row is a card.

    :param actions: What can be done about an item; None: nothing.
    :param head: What stands above a column, and whether its order is ``ascending`` or ``descending``.
    :param below: What stands below an item, as wide as the table; None: nothing.
    """
    cells = [[bits_of(column.cell(item)) for column in columns] for item in items]
    shown = [at for at in range(len(columns)) if any(bit.text for row in cells for bit in row[at])]

    def cell(column: Column[T], bits: Sequence[Bit]) -> Markup:
        if not any(each.text for each in bits):
            return el("td", class_="empty")
        content = el("div", ((bit(each), " ") for each in bits), class_="bits")
        return el("td", content, class_=column.align, data_label=column.label)

    def heading(column: Column[T]) -> Markup:
        content, order = head(column)
        return el("th", content, scope="col", class_=column.align, aria_sort=order)

    heads = (heading(columns[at]) for at in shown)

    def last(item: T) -> Markup | None:
        made = actions(item) if actions else None
        return el("td", el("div", made, class_="bits"), data_label="Actions", class_=None if made else "empty")

    def lines(item: T, row: Sequence[Sequence[Bit]]) -> Iterator[Markup]:
        yield el("tr", (cell(columns[at], row[at]) for at in shown), last(item) if actions else None)
        if (more := below(item)) is not None:
            yield el("tr", el("td", more, colspan=len(shown) + bool(actions)), class_="below")

    rows = (lines(item, row) for item, row in zip(items, cells, strict=True))
    top = el("tr", heads, el("th", "Actions", scope="col") if actions else None)
    made = el("table", el("caption", caption, class_="spoken"), el("thead", top), el("tbody", rows))
    return el("div", made, class_="rows", role="region", aria_label=caption, tabindex="0")


def sorter(by: str, to: Callable[[str], str]) -> Callable[[Column[T]], tuple[Child, str | None]]:
    """
    What stands above the columns of a list that can be sorted: links to one order, the other one, and none.

    :param by: The present order, see :func:`~cratedb_retention.ui.columns.in_order`.
    :param to: The address of the list in an order.
    """

    def head(column: Column[T]) -> tuple[Child, str | None]:
        if column.order is None:
            return column.label, None
        up = sort_name(column)
        down = f"-{up}"
        ways = [down, up, ""] if isinstance(column, Number) else [up, down, ""]
        after = ways[ways.index(by) + 1] if by in ways[:2] else ways[0]
        link = el("a", column.label, href=to(after), data_swap=True)
        return link, {up: "ascending", down: "descending"}.get(by)

    return head


def live(goes_on: bool) -> int | None:
    """After how many seconds a part of a page is fetched again; None: never."""
    return _LIVE if goes_on else None


def section(title: str, *content: Child, identifier: str = "") -> Markup:
    return el("section", el("h2", title), *content, id=identifier or None)


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A view of a page, with its own address."""

    name: str
    title: str
    href: str
    count: int = 0


def tabs(items: Sequence[Tab], chosen: str, label: str) -> Markup:
    def shown(item: Tab) -> Markup:
        count = (" ", el("span", f"{item.count:,}", class_="count")) if item.count else None
        return el("a", item.title, count, href=item.href, aria_current="page" if item.name == chosen else None)

    return el("nav", map(shown, items), class_="tabs", aria_label=label)


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A choice that can be combined with others, and how many it finds, if that is known."""

    label: Child
    href: str  # Of the page with the other choice.
    chosen: bool
    count: int | None = None


def toggled(chosen: Sequence[str], name: str) -> list[str]:
    """Choices with one more, or without it if it is one of them."""
    return [each for each in (*chosen, name) if each != name or name not in chosen]


def chips(items: Iterable[Chip], label: str) -> Markup:
    def shown(item: Chip) -> Markup:
        current = "true" if item.chosen else None
        count = None if item.count is None else f" {item.count:,}"
        return el("a", item.label, count, href=item.href, data_swap=True, aria_current=current)

    return el("nav", map(shown, items), class_="chips", aria_label=label)


def field(  # noqa: PLR0913 - one for each attribute
    name: str,
    label: str,
    value: str = "",
    hint: str = "",
    tone: str = "",
    offers: Iterable[str] = (),
    focus: bool = False,
    wrong: str = "",
) -> Markup:
    """A field for a line of text; ``offers`` are suggested while one types, ``wrong`` is what is wrong with it."""
    options = [el("option", value=each) for each in offers]
    made = el(
        "input",
        name=name,
        value=value,
        placeholder=hint or None,
        list=f"{name}-offers" if options else None,
        autocomplete="off",
        spellcheck="false",
        autofocus=focus,
        **_refers(name, wrong),
    )
    offered = el("datalist", options, id=f"{name}-offers") if options else None
    return _labelled(name, label, made, offered, tone=tone, wrong=wrong)


def choice(name: str, value: str, label: str, checked: bool = False) -> Markup:
    """A box that chooses a row of a table."""
    return el("input", type="checkbox", name=name, value=value, checked=checked, aria_label=label)


def choices(name: str) -> Markup:
    """What stands above such boxes: one that scripts make choose all that are shown."""
    box = el("input", type="checkbox", data_all=name, aria_label="Choose all on this page")
    return el("span", el("span", "Choose", class_="spoken"), box)


def chooser(what: str, count: int, *buttons: Child) -> Markup:
    """
    What is done with chosen rows, above them; or with all that match, on whatever page, which is chosen explicitly.

    Scripts replace what to choose by how much is chosen.

    :param count: How many match.
    """
    every = "the one that matches" if count == 1 else f"all {count:,} that match"
    box = el("label", el("input", type="checkbox", name="all", value="yes", autocomplete="off"), every)
    chosen = el("span", f"Choose {what}", class_="chosen", aria_live="polite")
    content = (el("span", chosen, " or ", box), el("div", buttons, class_="actions"))
    return el("div", content, class_="card chooser", role="group", aria_label="Chosen rows")


def digest(keys: Iterable[str]) -> str:
    """It identifies some things, so that what was shown can be compared with what there is."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def area(name: str, label: str, value: str = "", hint: str = "", wrong: str = "") -> Markup:
    told = _refers(name, wrong)
    made = el("textarea", value, name=name, placeholder=hint or None, rows=2, maxlength=1000, **told)
    return _labelled(name, label, made, tone="wide", wrong=wrong)


def _refers(name: str, wrong: str) -> dict[str, str]:
    """What a field says of its mistake, if any."""
    return {"aria_invalid": "true", "aria_describedby": f"m-{name}"} if wrong else {}


def _labelled(name: str, label: str, *content: Child, tone: str, wrong: str) -> Markup:
    """A field with its label, and below it what is wrong with it."""
    made = el("label", el("span", label), content, class_=f"field {tone}".strip())
    mistake = el("p", wrong, id=f"m-{name}", class_="mistake", role="alert")
    return el("div", made, mistake, class_="wrong") if wrong else made


def select(name: str, label: str, choices: Mapping[str, str], value: str) -> Markup:
    options = (el("option", text, value=key, selected=key == value) for key, text in choices.items())
    return el("label", el("span", label), el("select", options, name=name), class_="field")


def filters(path: str, clear: str, *fields: Child, more: Markup | None = None) -> Markup:
    """
    A form of filters of a list, whose page only differs in its parts.

    :param clear: The address without filters.
    :param more: See :func:`more_filters`.
    """
    ends = (el("button", "Filter", type="submit"), el("a", "Clear", href=clear, data_swap=True))
    told = {"method": "get", "action": path, "class_": "filters", "role": "search", "aria_label": "Filters"}
    return el("form", fields, *ends, more, **told)


def more_filters(*fields: Child, opened: bool) -> Markup:
    """Filters that are used less often, folded at first."""
    return el("details", el("summary", "More filters"), el("div", fields), class_="more", open=opened)


def form(
    do: str, *content: Child, action: str, tone: str, back: str = "", more: Child = None, focus: bool = False
) -> Markup:
    """
    A form that does something, which its field ``do`` names.

    :param action: The label of its button, ``tone`` how that looks, ``focus`` whether it has the focus at first.
    :param back: Where its link Cancel leads; ``more``: other buttons.
    """
    button = el("button", action, type="submit", class_=tone, autofocus=focus)
    ends = (button, more, el("a", "Cancel", href=back) if back else None)
    return el("form", hidden({"do": do}), content, el("div", ends, class_="ends"), method="post", class_="card form")


def confirmation(word: str, focus: bool = True) -> Markup:
    """A field of a form that does what cannot be undone; see :func:`require_word`. It may have the focus at first."""
    made = el("input", name="confirm", autocomplete="off", spellcheck="false", required=True, autofocus=focus)
    return el("label", el("span", f"Type {word} to confirm"), made, class_="field wide")


def require_word(given: Mapping[str, str], word: str) -> None:
    """Raises InvalidInput unless the word was typed that confirms what cannot be undone."""
    if given.get("confirm", "").strip() != word:
        raise InvalidInput("confirmation", f"is not {word}", f"type {word}")


def tile(title: str, value: Child, *more: Child) -> Markup:
    """What is worth knowing at a glance, for a group of them; empty lines are omitted."""
    shown = [el("p", each) for each in more if each]
    return el("div", el("h2", title), el("p", value, class_="lead"), shown, class_="card tile")


def tiles(*items: Child) -> Markup:
    return el("div", items, class_="tiles", role="group", aria_label="At a glance")


def strip(start: float, end: float, tone: str, label: str = "") -> Markup:
    """A bar between two shares of a line, from 0 to 1. A label is shown on pointing at it; else a text is beside it."""
    left = min(max(start, 0.0), 0.99)
    width = max(min(end, 1.0) - left, 0.01)
    bar = el("rect", x=f"{left:.2%}", width=f"{width:.2%}", height="100%", rx=3, data_tip=label or None)
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return el("svg", bar, class_=f"strip is-{tone}", **named)


def hidden(values: Mapping[str, str]) -> list[Markup]:
    return [el("input", type="hidden", name=name, value=value) for name, value in values.items() if value]


def part(items: Sequence[T], first: int, to: Callable[[int], str], of: str = "") -> tuple[Sequence[T], Markup | None]:
    """
    The part of a list that begins at a place, and links to others, see :func:`pages`.

    :param of: How many there are, as text; empty: their number alone.
    """
    shown = items[first : first + ROWS]
    return shown, pages(first, len(shown), to, more=first + ROWS < len(items), of=of or f"{len(items):,}")


def pages(first: int, shown: int, to: Callable[[int], str], *, more: bool, of: str = "") -> Markup | None:
    """
    Links to the parts of a list before and behind the one that is shown, and which one that is; None without any.

    :param to: The address of the part that begins at a place.
    :param of: How many rows there are, as text; empty: unknown.
    """
    earlier, later = to(max(first - ROWS, 0)) if first else "", to(first + ROWS) if more else ""
    said = f"{first + 1:,} to {first + shown:,}" + (f" of {of}" if of else "")
    return pager((("Previous", earlier), ("Next", later)), said)


def first_rows(
    columns: Sequence[Column[T]],
    items: Sequence[T],
    caption: str,
    most: int | None = None,
    left: str = _LEFT,
) -> tuple[Markup, Markup | None]:
    """
    A table of the first items, and below it how many more there are.

    :param most: How many are shown; None: as many as in other lists.
    :param left: What is said of the number of others.
    """
    shown = ROWS if most is None else most
    return table(columns, items[:shown], caption), more(len(items), shown, left)


def more(count: int, shown: int, left: str = _LEFT) -> Markup | None:
    """How many rows of a list are not shown; None if all are."""
    return note(left.format(f"{count - shown:,}")) if count > shown else None


def pager(ways: Iterable[tuple[str, str]], said: str = "") -> Markup | None:
    """Links to other parts of a list, with their labels; None without any."""
    found = [el("a", label, href=href, data_swap=True) for label, href in ways if href]
    place = el("span", said) if said else None
    return el("nav", place, found, class_="pager", aria_label="Parts of the list") if found else None
