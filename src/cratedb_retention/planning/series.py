"""
What the columns of well-known tables mean: those that Telegraf creates in CrateDB, and CrateDB's adapter for
Prometheus.

Both have an object with what tells series apart (``tags``, ``labels``) and a hash of it. What a row says of its series
is beside that: in Telegraf's object ``fields``, in the adapter's ``value``.
"""

from __future__ import annotations

from dataclasses import dataclass

from cratedb_retention.model.catalog import Column, Grouping, Kind, Table, outer_names

_LABELS, _FIELDS = ("tags", "labels"), "fields"
# The keys of series, which are in no object.
_HASHES = ("hash_id", "labels_hash")
# The bits of `value` as a whole number, by which the adapter finds NaNs again.
_RAW = ("valueraw", "value")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the columns of one table mean by their names."""

    labels: frozenset[str]  # The objects with what tells series apart; where there is none, nothing follows from names
    names: frozenset[str]  # All names of the table's columns, in lower case

    def tells_apart(self, column: Column) -> bool:
        """Whether it is a dimension though it is a number."""
        named = _outermost(column) in self.labels or column.name in _HASHES
        return bool(self.labels) and named and column.kind is Kind.NUMBER

    def is_said(self, column: Column) -> bool:
        """Whether it is what rows say of their series: perhaps a metric, and never a dimension by itself."""
        return bool(self.labels) and (_outermost(column) == _FIELDS or self.repeats(column))

    def repeats(self, column: Column) -> bool:
        """Whether it repeats a value, in another form."""
        return bool(self.labels) and column.name.lower() == _RAW[0] and _RAW[1] in self.names


def find_meaning(table: Table) -> Meaning:
    """What the names of a table's columns say."""
    objects = (table.columns[name] for name in _LABELS if name in table.columns)
    labels = (column.name for column in objects if column.grouping is Grouping.PARTS or column.type == "object")
    return Meaning(frozenset(labels), frozenset(name.lower() for name in table.columns))


def _outermost(column: Column) -> str | None:
    return next(reversed(list(outer_names(column.name))), None)
