"""
The values of CrateDB in Parquet files, without a database: there and back they are the same, and so are digests.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cratedb_retention.engine.cratedb import parquet
from cratedb_retention.engine.cratedb.values import Stored
from cratedb_retention.engine.parquet import Checksum, Digest, row_hashes
from support.tiers import examples

_FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "Infinity", "-Infinity", -0.0])
_SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "-Infinity"])
_MS = st.integers(-(2**63) + 1, 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_DECIMALS = st.decimals(1 - 10**17, 10**17 - 1, allow_nan=False, places=3).map(lambda number: format(number, "f"))
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
# As CrateDB returns them: decimals as text, objects as JSON in an object.
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXT,
    "boolean": st.booleans(),
    "byte": st.integers(-128, 127),
    "bigint": _MS,
    "real": _SINGLE,
    "double precision": _FLOATS,
    "timestamp with time zone": _MS,
    "timestamp without time zone": _MS,
    "numeric(20, 3)": _DECIMALS,
    "float_vector": st.lists(_SINGLE, min_size=2, max_size=2),
    "geo_point": st.tuples(st.floats(-180, 180), st.floats(-90, 90)).map(list),
    "text_array": st.lists(st.none() | _TEXT, max_size=3),
    "double precision_array": st.lists(st.none() | _FLOATS, max_size=3),
    "timestamp with time zone_array": st.lists(st.none() | _MS, max_size=3),
    "integer_array_array": st.lists(st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=2), max_size=3),
}


@pytest.mark.parametrize("kind", TYPES)
def test_there_and_back(kind: str) -> None:
    """Written to a file and read from it, values are the same, NULL among them; so is what CrateDB would get."""
    column = Stored("v", kind)

    @settings(max_examples=examples(20, long=300))
    @given(st.lists(st.none() | TYPES[kind], max_size=5))
    def check(returned: list[Any]) -> None:
        plain = list(column.plain(returned))
        file = pa.BufferOutputStream()
        pq.write_table(pa.table({"v": column.to_arrow(plain)}), file)
        (array,) = pq.read_table(pa.BufferReader(file.getvalue())).column("v").chunks or [
            pa.array([], column.arrow_type())
        ]
        assert repr(column.from_arrow(array)) == repr(plain)
        assert checksum(array) == checksum(column.to_arrow(plain))

    check()


@pytest.mark.parametrize(("kind", "value"), [("real", 0.1), ("numeric(20, 3)", "1.5"), ("double precision", 1)])
def test_other_values_in_a_file(kind: str, value: Any) -> None:
    """A value that a file would have in another form is refused, not archived."""
    column = Stored("v", kind)
    (same,) = column.from_arrow(column.to_arrow([value]))
    assert exact_batch([column], [[same]]).num_rows == 1
    with pytest.raises(ValueError, match="column v would have other values"):
        exact_batch([column], [[value]])


def exact_batch(stored: list[Stored], columns: list[list[Any]]) -> pa.RecordBatch:
    """What is written to a file."""
    return parquet.exact_batch(stored, columns, pa.schema([(each.name, each.arrow_type()) for each in stored]))


def checksum(*batches: pa.Array) -> tuple[int, str]:
    """The checksum of a column that is read in batches."""
    found = Checksum()
    for batch in batches:
        found.add(pa.record_batch([batch], names=["v"]))
    return found.rows, found.text


@pytest.mark.parametrize("kind", TYPES)
def test_checksums(kind: str) -> None:
    """In whatever batches values are read, their checksum is the same; each value matters, and their order."""
    column = Stored("v", kind)

    @settings(max_examples=examples(20, long=300))
    @given(st.lists(st.none() | TYPES[kind], max_size=6), st.none() | TYPES[kind], st.integers(0, 6))
    def check(returned: list[Any], other: Any, place: int) -> None:
        plain = column.plain(returned)
        values = column.to_arrow(plain)
        assert checksum(values) == checksum(values[:place], values[place:], values[:0])
        for rows in ([*returned[:place], other, *returned[place + 1 :]], returned[::-1]):
            changed = column.plain(rows)
            assert (checksum(column.to_arrow(changed)) == checksum(values)) == (repr(changed) == repr(plain))

    check()


def test_checksums_of_types() -> None:
    """The same bytes of another type are other values."""
    numbers = pa.array([1, 2], pa.int64())
    assert checksum(numbers) != checksum(numbers.view(pa.float64()))
    assert checksum(pa.array(["ab", "c"])) != checksum(pa.array(["a", "bc"]))
    assert checksum(pa.array([["a"], []])) != checksum(pa.array([[], ["a"]]))
    assert checksum(pa.array([None, 0], pa.int64())) != checksum(pa.array([0, None], pa.int64()))


@settings(max_examples=examples(20, long=300))
@given(st.lists(st.tuples(_TEXT, _MS), max_size=6), st.randoms())
def test_digests(rows: list[tuple[str, int]], random: Any) -> None:
    """The order of rows and how many are added at once do not matter; each value, and how often a row is there, do."""

    def digest(*batches: list[tuple[str, int]]) -> str:
        found = Digest()
        for batch in batches:
            found.add([list(column) for column in zip(*batch, strict=True)] or [[], []], len(batch))
        return found.text

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert digest(rows) == digest(shuffled[:2], shuffled[2:])
    if rows:
        assert digest(rows) != digest(rows[1:])
        assert digest(rows) != digest([*rows, rows[0]])
        assert digest(rows) != digest([(f"{rows[0][0]}x", rows[0][1]), *rows[1:]])


@settings(max_examples=examples(20, long=300))
@given(_JSON)
def test_objects(value: Any) -> None:
    """JSON is kept as CrateDB wrote it; the order of its keys does not matter for a digest."""
    column, text = Stored("o", "object"), orjson.dumps({"v": {"a": value, "b": 1}}).decode()
    (plain,) = column.plain([text])
    other = orjson.dumps({"b": 1, "a": value}).decode()
    assert f'{{"v":{plain}}}' == text
    hashes = [list(row_hashes([column.comparable([each])], 1)) for each in (plain, other)]
    assert hashes[0] == hashes[1]


def test_decimals_in_objects() -> None:
    """A decimal within an object keeps its digits in the digest, and when it is sent back as text."""
    exact, plain = Stored("o", "object", exact=True), '{"n":123456789012345.12345,"f":0.5}'
    assert exact.plain([f'{{"v":{plain}}}', '{"v":null}']) == [plain, None]
    assert exact.parameters([plain]) == [{"n": "123456789012345.12345", "f": 0.5}]
    other = plain.replace("12345,", "12346,")
    assert exact.comparable([plain]) != exact.comparable([other])
    assert Stored("n", "numeric(38, 10)").plain(["0E-10"]) == [format(Decimal("0E-10"), "f")]
