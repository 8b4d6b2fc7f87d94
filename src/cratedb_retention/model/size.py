"""Sizes in bytes: ``500GB``, ``1.5TiB``, ``1000000``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cratedb_retention.errors import InvalidInput

_TEXT = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?P<unit>[kmgtp]?)(?P<binary>i?)b?", re.IGNORECASE)
_POWERS = " kMGTP"


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, and the unit that it is written in."""

    bytes: int
    power: int = field(default=0, compare=False)  # Of the unit: 3 for gigabytes.
    binary: bool = field(default=False, compare=False)  # Whether a unit is 1024 times the smaller one, not 1000 times.

    def __str__(self) -> str:
        return self._write(f"{self.bytes / self._base**self.power:.15g}" if self.power else str(self.bytes), self.power)

    def show(self, size: int) -> str:
        """Format another number of bytes, rounded, in units of the same kind: ``512.3GB``."""
        power = next((power for power in (1, 2, 3, 4) if size < self._base ** (power + 1)), 5)
        return f"{size}B" if size < self._base else self._write(f"{size / self._base**power:.4g}", power)

    @property
    def _base(self) -> int:
        return 1024 if self.binary else 1000

    def _write(self, number: str, power: int) -> str:
        unit = _POWERS[power].strip()
        return f"{number}{f'{unit.upper()}i' if self.binary and unit else unit}B"


def parse_size(value: object, thing: str = "size") -> Size:
    """Read a number of bytes: ``2TB``, ``500 GiB``, ``1000000``, or a :class:`Size`; InvalidInput if it is none."""
    if isinstance(value, Size):
        return value
    known = isinstance(value, int | str) and not isinstance(value, bool)
    match = _TEXT.fullmatch(str(value).strip()) if known else None
    if match is None or float(match["number"]) == 0:
        raise InvalidInput(f"{thing} {value!r}", "not a number of bytes", "write it like 2TB, 500GB or 1.5TiB")
    power, binary = _POWERS.lower().index(match["unit"].lower() or " "), bool(match["binary"])
    return Size(max(1, round(float(match["number"]) * (1024 if binary else 1000) ** power)), power, binary)
