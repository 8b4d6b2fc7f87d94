"""
The values of CrateDB in Parquet files, exactly: how a column is read, its type in the file, and what restores it.

The *plain* values of a row are what CrateDB's HTTP endpoint takes to store it again: numbers, text, lists, and JSON as
text. They are the same whether a row is read from CrateDB or from a file, and digests are made of them.
"""

from __future__ import annotations

import json
import math
import re
from array import array as packed
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cratedb_retention.engine.expressions import Element, Subscript, ref
from cratedb_retention.engine.parquet import bytes_of
from cratedb_retention.errors import DatabaseError
from cratedb_retention.model.catalog import Column

if TYPE_CHECKING:
    import pyarrow as pa

Plain = Any
_ARRAY = "_array"
_DECIMAL = re.compile(r"numeric\((\d+)(?:, ?(\d+))?\)")
_DECLARED = re.compile(r"NUMERIC\((\d+)(?:, ?(\d+))?\)")
# Numbers beyond 64 bits, which CrateDB stores in objects whose fields are ignored, and cannot take back.
_LONG = re.compile(r"\d{19}")
_LARGEST = 2**63
_NAMES = {
    "text": "string",
    "character varying": "string",
    "character": "string",
    "ip": "string",
    "uuid": "string",
    "bit": "string",
    "boolean": "bool",
    "byte": "int8",
    "char": "int8",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "real": "float",
    "double precision": "double",
    "timestamp with time zone": "timestamp",
    "timestamp without time zone": "timestamp",
}
_NUMERIC, _REAL, _BIT, _POINT, _VECTOR, _SHAPE = "numeric", "real", "bit", "geo_point", "float_vector", "geo_shape"
_JSON = ("object", _SHAPE)
_FLOATING = (_REAL, "double precision", _VECTOR)
# Arrow's names of numbers, and those of Python's arrays.
_PACKED = {"int8": "b", "int16": "h", "int32": "i", "int64": "q", "float": "f", "double": "d"}
# Expressions whose value differs when a row is stored again.
_VOLATILE = re.compile(r"\b(current_\w+|now|curdate|curtime|localtime\w*|random|gen_random_text_uuid)\b", re.IGNORECASE)


class _Wrapped(sa.ColumnElement[Any]):
    """``{"v" = "column"}``: as text, it is JSON that has each value exactly, also of types that have no text."""

    inherit_cache = False

    def __init__(self, inner: Element) -> None:
        self.inner = inner
        self.type = sa.types.NullType()


@compiles(_Wrapped)
def _compile(element: _Wrapped, compiler: SQLCompiler, **kw: Any) -> str:
    return f'{{"v" = {compiler.process(element.inner, **kw)}}}'


_HEAD, _TAIL = '{"v":', "}"


@dataclass(frozen=True)
class Stored:
    """A column in files. ``type`` is CrateDB's, with the digits of decimals; ``exact``: decimals are within JSON."""

    name: str
    type: str
    exact: bool = False

    @property
    def base(self) -> str:
        """The type without arrays and sizes."""
        return self.type.partition(_ARRAY)[0].partition("(")[0]

    @property
    def depth(self) -> int:
        """How many arrays there are around a value."""
        return self.type.count(_ARRAY)

    @property
    def is_json(self) -> bool:
        return self.base in _JSON

    @property
    def _is_text(self) -> bool:
        """Whether it is read as JSON text, since CrateDB's response would have rounded it, or lost its form."""
        return self.is_json or (self.base == _NUMERIC and self.depth > 0)

    def select(self) -> Element:
        """The expression that reads it; of a point, the column store has fewer digits."""
        reference = ref(self.name)
        if self._is_text:
            return sa.cast(_Wrapped(reference), sa.Text()).label(self.name)
        if self.base == _NUMERIC:
            return sa.cast(reference, sa.Text()).label(self.name)
        if self.base == _POINT and not self.depth:
            return sa.type_coerce(Subscript("_doc", [self.name]), sa.types.NullType()).label(self.name)
        return reference

    def arrow_type(self) -> pa.DataType:
        import pyarrow as pa

        if self.is_json:
            return pa.string()
        match = _DECIMAL.match(self.type)
        if match:
            found = pa.decimal128(int(match[1]), int(match[2] or 0))
        elif self.base in (_POINT, _VECTOR):
            found = pa.list_(pa.float64() if self.base == _POINT else pa.float32())
        elif _NAMES[self.base] == "timestamp":
            found = pa.timestamp("ms", "UTC" if self.base.endswith("with time zone") else None)
        else:
            found = pa.type_for_alias(_NAMES[self.base])
        for _ in range(self.depth):
            found = pa.list_(found)
        return found

    def plain(self, values: Sequence[Any]) -> Sequence[Plain]:
        """Plain values, from those that CrateDB returned."""
        if self.is_json:
            return self._json(values)
        if self.base == _NUMERIC:
            if self.depth:
                values = [_parse_decimals(value)["v"] for value in values]
            return [_each(_show_decimal, value, self.depth) for value in values]
        if self.base == _BIT:
            return [_each(_show_bits, value, self.depth) for value in values]
        if self.base in (_REAL, _VECTOR):
            depth = self.depth + (self.base == _VECTOR)
            return [_singles(value, depth) for value in values] if depth else _singles(values, 1)
        return values

    def _json(self, values: Sequence[str]) -> list[str | None]:
        """The JSON of values; fails if CrateDB could not take one back."""
        every = [value[len(_HEAD) : -len(_TAIL)] for value in values]
        for long in filter(_LONG.search, every):
            json.loads(long, parse_int=self._require_storable)
        return [None if value == "null" else value for value in every]

    def _require_storable(self, digits: str) -> int:
        number = int(digits)
        if not -_LARGEST <= number < _LARGEST:
            reason = f"column {self.name} has the number {digits[:40]} in an object, which cannot be archived exactly"
            raise DatabaseError("CrateDB", reason, "change the number")
        return number

    def to_arrow(self, values: Sequence[Plain]) -> pa.Array:
        import pyarrow as pa

        kind = self.arrow_type()
        if self.base == _NUMERIC:
            return pa.array([_each(Decimal, value, self.depth) for value in values], kind)
        if self.base in _FLOATING:
            try:
                return pa.array(values, kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError):  # NaN and infinity are text.
                depth = self.depth + (self.base == _VECTOR)
                return pa.array([_each(float, value, depth) for value in values], kind)
        if _NAMES.get(self.base) == "timestamp":
            return pa.array(values, self._whole_numbers()).cast(kind)
        return pa.array(values, kind)

    def _whole_numbers(self) -> pa.DataType:
        import pyarrow as pa

        found = pa.int64()
        for _ in range(self.depth):
            found = pa.list_(found)
        return found

    def from_arrow(self, array: pa.Array) -> list[Plain]:
        """Plain values, from those in a file."""
        if _NAMES.get(self.base) == "timestamp":
            array = array.cast(self._whole_numbers())
        values = _numbers(array)
        if self.base == _NUMERIC:
            return [_each(_show_decimal, value, self.depth) for value in values]
        if self.base in _FLOATING and not _are_finite(values):
            depth = self.depth + (self.base == _VECTOR)
            return [_each(_show_float, value, depth) for value in values]
        return values

    def comparable(self, values: Sequence[Plain]) -> Sequence[Plain]:
        """What digests are made of: JSON independent of the order of its keys, and with all digits."""
        if not self.is_json:
            return values
        import orjson

        parse = _parse_exactly if self.exact else orjson.loads
        return [None if value is None else parse(value) for value in values]

    def parameters(self, values: Sequence[Plain]) -> Sequence[Any]:
        """What CrateDB takes; it would round a decimal in JSON that is not text."""
        if self.base == _SHAPE or (self.is_json and self.exact):
            return [None if value is None else _parse_exactly(value, plain=True) for value in values]
        return values


def _each(change: Callable[[Any], Any], value: Any, depth: int) -> Any:
    """Change the values within arrays; NULL stays."""
    if value is None:
        return None
    return change(value) if depth == 0 else [_each(change, item, depth - 1) for item in value]


def _show_decimal(value: Any) -> str:
    return format(Decimal(value), "f")


def _show_bits(value: str) -> str:
    return value.removeprefix("B'").removesuffix("'")


def _show_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _singles(values: Any, depth: int) -> Any:
    """Numbers of single precision in all of their digits; NaN and infinity are text."""
    if values is None or depth > 1:
        return values and [_singles(each, depth - 1) for each in values]
    try:
        return packed("f", values).tolist()
    except TypeError:  # Some are NULL or text.
        return [value if value is None or isinstance(value, str) else packed("f", [value])[0] for value in values]


def _numbers(array: pa.Array) -> list[Any]:
    """The values of an array; of numbers without NULL all at once, which is far quicker."""
    code = _PACKED.get(str(array.type))
    if code is None or array.null_count or not len(array):
        return list(array.to_pylist())
    return packed(code, bytes(bytes_of(array))).tolist()


def _are_finite(values: Sequence[Any]) -> bool:
    """Whether numbers can be seen at once to be neither NULL, lists, NaN nor infinite."""
    try:
        return math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False


def _parse_decimals(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _parse_exactly(text: str, plain: bool = False) -> Any:
    """JSON in which a number that a double cannot hold is text; ``plain``: others are numbers, else all are text."""

    def number(digits: str) -> Any:
        found = float(digits)
        return found if plain and Decimal(repr(found)) == Decimal(digits) else digits

    return json.loads(text, parse_float=number)


def describe_columns(
    columns: Mapping[str, Column], declared: Mapping[str, str], without: Iterable[str]
) -> list[Stored]:
    """
    The columns of a table as they are stored, except those of its partitions, which are in the path.

    :param declared: The types as they were declared, which have the digits of decimals.
    """
    left_out, found = set(without), []
    for name, column in columns.items():
        if "['" in name or name in left_out:
            continue
        words = declared.get(name, "")
        inner = (declared.get(other, "") for other in columns if other.startswith(f"{name}['"))
        digits, data_type = _DECLARED.search(words), column.type
        if digits and column.type.startswith(_NUMERIC):
            data_type = f"numeric({digits[1]}, {digits[2] or 0}){_ARRAY * column.type.count(_ARRAY)}"
        found.append(Stored(name, data_type, any("NUMERIC" in each for each in (words, *inner))))
    return found


def why_inexact(column: Column) -> str | None:
    """Why a file cannot hold the values of a column exactly, or they cannot be restored; None if it can."""
    base, is_inner = column.type.partition(_ARRAY)[0].partition("(")[0], "['" in column.name
    if column.expression and _VOLATILE.search(column.expression):
        return f"generated as {column.expression}"
    if base == _BIT and is_inner:
        return f"{column.type} in an object"
    # A field that was never anything but NULL or an empty array.
    if base in _NAMES or base in _JSON or base in (_NUMERIC, _POINT, _VECTOR) or (is_inner and base == "undefined"):
        return None
    return column.type


def inexact(columns: Iterable[Column]) -> tuple[str, ...]:
    """The columns whose values files cannot hold exactly, with the reason."""
    reasons = ((column.name, why_inexact(column)) for column in columns)
    return tuple(f"{name} ({why})" for name, why in reasons if why)
