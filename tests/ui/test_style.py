"""
The style sheet of the pages as text: contrast of all colours, light and dark, by the formula of the WCAG; and each rule
in one place.
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from cratedb_retention.ui.frame import STATIC

CSS = re.sub(r"/\*.*?\*/", "", (STATIC / "web.css").read_text(), flags=re.DOTALL)
TOKENS = {name: both for name, *both in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)}
Colour = tuple[float, ...]
SURFACES = ("paper", "card", "raised")
LEAST = 4.5  # What text of any size needs.


def colour(name: str, theme: int) -> Colour:
    """A token of the style sheet, in a theme."""
    text = TOKENS[name][theme]
    return tuple(int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))


def mixed(one: Colour, share: float, other: Colour) -> Colour:
    """What ``color-mix(in srgb, one share, other)`` is."""
    return tuple(a * share + b * (1 - share) for a, b in zip(one, other, strict=True))


def contrast(one: Colour, other: Colour) -> float:
    def luminance(found: Colour) -> float:
        parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in found)
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    """Text, links, buttons, states, what was done, and errors can be read on what they stand on."""

    def of(name: str) -> Colour:
        return colour(name, theme)

    tones = set(re.findall(r"--tone: var\(--([a-z]+)\)", CSS))
    assert {"data", "loss", "wait", "good", "rest", "soft"} <= tones
    pairs = {
        f"{text} on {surface}": (of(text), of(surface)) for text in ("ink", "soft", "accent") for surface in SURFACES
    }
    pairs |= {"a first button": (of("accent-ink"), of("accent")), "a dangerous button": (of("card"), of("loss"))}
    pairs |= {"an error": (of("loss"), of("card")), "what is lost": (of("loss"), of("paper"))}
    for tone in tones:
        pairs[f"badge {tone}"] = mixed(of(tone), 0.78, of("ink")), mixed(of(tone), 0.11, of("card"))
        for text in ("ink", "accent", "soft"):
            pairs[f"{text} about {tone}"] = of(text), mixed(of(tone), 0.08, of("card"))
    assert {name: round(contrast(*pair), 2) for name, pair in pairs.items() if contrast(*pair) < LEAST} == {}
    assert contrast(colour("ink", theme), mixed(of("accent"), 0.08, of("card"))) >= LEAST, "a chosen row"


def test_each_rule_is_in_one_place() -> None:
    """No selector has two rules, of which the later one would change what the earlier one is for."""
    plain = re.sub(r"@[^{}]+\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", CSS)
    found = sorted(" ".join(selector.split()) for selector in re.findall(r"([^{}]+)\{", plain))
    assert len(found) > 100
    assert [one for one, other in pairwise(found) if one == other] == []
