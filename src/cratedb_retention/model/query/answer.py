"""The answer to SQL over archives: rows that are read once, some at a time, as text or in the formats of Arrow."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from cratedb_retention.errors import not_installed

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("csv", "json", "arrow", "parquet")
_CHUNK = 1000
_JSON = "JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRequest:
    """A query of archives, and the limits of its answer."""

    text: str  # one SELECT
    form: str  # one of the ``FORMATS``
    seconds: float  # the time limit
    size: int  # the maximum size, in bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    Rows of a query. Iterating over it, writing it and :meth:`to_arrow` read them; close it afterwards, or use it in a
    ``with`` statement.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]  # as DuckDB writes them
    rows: Iterator[tuple[Any, ...]]
    batches: Callable[[], tuple[pa.Schema, Iterator[pa.RecordBatch]]]
    close: Callable[[], None]
    notes: tuple[str, ...] = ()  # on archives that were not read

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table."""
        pa = _import_arrow()
        schema, batches = self.batches()
        return pa.Table.from_batches(batches, schema)

    def write(self, form: str, stream: BinaryIO) -> None:
        """Write all rows in one of the ``FORMATS``; any number of them fits into memory."""
        if form in ("csv", "json"):
            for text in self._csv() if form == "csv" else self._json():
                stream.write(text.encode())
            return
        pa = _import_arrow()
        schema, batches = self.batches()
        if form == "parquet":
            import pyarrow.parquet as pq

            writer: Any = pq.ParquetWriter(stream, schema, compression="zstd")
        else:
            writer = pa.ipc.new_stream(stream, schema)
        with writer:
            for batch in batches:
                writer.write_batch(batch)

    def _csv(self) -> Iterator[str]:
        rows: Iterator[Sequence[Any]] = map(self._as_text, self.rows)
        some: list[Sequence[Any]] = [self.columns]
        while some:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(some)
            yield text.getvalue()
            some = list(islice(rows, _CHUNK))

    def _as_text(self, row: Sequence[Any]) -> list[Any]:
        plain = (value if kind == _JSON else plain_value(value) for kind, value in zip(self.types, row, strict=True))
        return [_literal(value) if isinstance(value, dict | list) else _exact(value) for value in plain]

    def _json(self) -> Iterator[str]:
        """As `fetch` writes it: decimals with all digits; values of the type JSON as they are."""
        names, begun = [*map(_literal, self.columns)], False
        for row in self.rows:
            values = (
                value if kind == _JSON and value is not None else _literal(plain_value(value))
                for kind, value in zip(self.types, row, strict=True)
            )
            fields = ",\n".join(f"    {name}: {value}" for name, value in zip(names, values, strict=True))
            yield f"{',' if begun else '['}\n  {{\n{fields}\n  }}"
            begun = True
        yield "\n]\n" if begun else "[]\n"


def plain_value(value: Any) -> Any:
    """A value in the types of JSON, with decimals beside them; NaN and infinity are None."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return value if value.is_finite() else None
        case dt.date() | dt.time():  # A datetime is a date.
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Mapping():
            return {str(key): plain_value(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [plain_value(inner) for inner in value]
        case _:
            return str(value)


def _exact(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _literal(value: Any) -> str:
    """A plain value as JSON; Python's writer does not support decimals."""
    if isinstance(value, dict):
        items = (f"{json.dumps(key, ensure_ascii=False)}: {_literal(inner)}" for key, inner in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return _exact(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _import_arrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise not_installed("Arrow and Parquet", "pyarrow is not installed", "arrow", error) from None
    return pa
