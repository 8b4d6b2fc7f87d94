"""
Archived tables in an Iceberg catalog, by pyiceberg, which finds a catalog by its name in a configuration of its own.

A table there consists of the Parquet files of archives, as they are; nothing is copied or changed. Columns that are not
in the files, since they are in their paths, are partition columns of the table. Each update is one commit, based on the
state that was read before: if another process committed meanwhile, nothing changes, and the state is read again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from cratedb_retention.engine.archive import PlainFile
from cratedb_retention.errors import (
    Conflict,
    DatabaseError,
    InvalidInput,
    NoAnswer,
    RetentionError,
    Unsupported,
    not_installed,
)
from cratedb_retention.model.address import redact
from cratedb_retention.model.catalog import Column, Kind, TableName, Value

T = TypeVar("T")
Refused = tuple[PlainFile, RetentionError]
# Seconds until a catalog that does not answer is given up: requests to it have no timeout of their own.
PATIENCE = 120.0
_AGAIN = "check the catalog, then run `cratedb-retention sync-catalog`"
_QUERY = "use `cratedb-retention query`"
_MINE = "cratedb-retention.table"  # The property of a table that is the toolkit's: the table that was archived.
_PROPERTIES = {
    "commit.retry.num-retries": "0",  # It would add files that another process added, too.
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}
# Types of partition columns, by those of the databases.
_TYPES = {
    "timestamp with time zone": "TimestamptzType",
    **dict.fromkeys(("timestamp without time zone", "timestamp", "timestamp_s", "timestamp_ms"), "TimestampType"),
    "date": "DateType",
    "boolean": "BooleanType",
    "bigint": "LongType",
    **dict.fromkeys(("byte", "char", "tinyint", "smallint", "integer"), "IntegerType"),
    **dict.fromkeys(("text", "varchar", "character varying", "character", "ip"), "StringType"),
}
# In types of Arrow: the numbers of Iceberg are signed, and would be others.
_UNSIGNED = re.compile(r"\buint(32|64)\b")
_NUMBERS = ("LongType", "IntegerType")
_DAY_MS = 86_400_000


class Overtaken(Exception):
    """Another process changed the table since it was read."""


class IcebergCatalog:
    """
    A catalog.

    :param name: Its name in the configuration of pyiceberg: ``.pyiceberg.yaml``, or ``PYICEBERG_CATALOG__NAME__URI``.
    :raises InvalidInput: if pyiceberg is not installed, or does not know the catalog.
    :raises DatabaseError: if the catalog cannot be reached; :class:`NoAnswer` if it does not respond.
    """

    def __init__(self, name: str) -> None:
        self.name, self._thing = name, f"Iceberg catalog {name}"
        try:
            from pyiceberg.catalog import load_catalog
        except ImportError as error:
            raise not_installed(self._thing, "pyiceberg is not installed", "iceberg", error) from None

        def load() -> Any:
            try:
                return load_catalog(name)
            except ValueError as error:  # For example, it has no address.
                remedy = f"set {self._variable('URI')}, or describe it in .pyiceberg.yaml"
                raise InvalidInput(self._thing, _line(error), remedy) from None

        self._catalog: Any = self.call(load)

    def __enter__(self) -> IcebergCatalog:
        return self

    def __exit__(self, *error: object) -> None:
        self._catalog.close()

    def _variable(self, of: str) -> str:
        return f"PYICEBERG_CATALOG__{self.name.upper()}__{of}"

    def call(self, work: Callable[[], T]) -> T:
        """Do something that asks the catalog, and fail if that takes too long. It may then still be done later."""
        found: list[T] = []
        failed: list[BaseException] = []

        def do() -> None:
            try:
                found.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=do, name="iceberg", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            raise NoAnswer(self._thing, f"does not respond within {PATIENCE:g} seconds", _AGAIN)
        with self.reporting():
            for error in failed:
                raise error
        return found[0]

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn errors of pyiceberg, and of what it uses, into those of this toolkit."""
        from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError

        try:
            yield
        except (RetentionError, Overtaken):
            raise
        except (CommitFailedException, TableAlreadyExistsError) as error:
            raise Overtaken(_line(error)) from None
        except Exception as error:
            raise DatabaseError(self._thing, f"{type(error).__name__}: {_line(error)}", _AGAIN) from None

    def tables(self, schema: str) -> list[TableName]:
        """The tables of this toolkit in a namespace of the catalog."""
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        def is_mine(table: TableName) -> bool:
            try:
                return bool(self._catalog.load_table(tuple(table)).properties.get(_MINE) == str(table))
            except NoSuchTableError:  # It was just dropped.
                return False

        def find() -> list[TableName]:
            try:
                named = [TableName(schema, name) for *_, name in self._catalog.list_tables((schema,))]
            except NoSuchNamespaceError:
                return []
            return list(filter(is_mine, named))

        return self.call(find)

    def read(self, table: TableName) -> IcebergTable:
        """
        A table in its present state, which need not exist.

        :raises Conflict: if a table of this name is there that this toolkit did not create.
        :raises Unsupported: if its name cannot be that of a table in a catalog.
        """
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        if any("." in name or not name for name in table):
            raise Unsupported(f"table {table}", "its name cannot be one in an Iceberg catalog", _QUERY)

        def load() -> tuple[Any, dict[str, Any]]:
            try:
                found = self._catalog.load_table(tuple(table))
            except (NoSuchTableError, NoSuchNamespaceError):
                return None, {}
            return found, {task.file.file_path: task.file for task in found.scan().plan_files()}

        found, files = self.call(load)
        if found is not None and found.properties.get(_MINE) != str(table):
            reason = f"has a table {table} that cratedb-retention did not create"
            raise Conflict(self._thing, reason, "rename or drop it there, or use another catalog")
        return IcebergTable(catalog=self, name=table, table=found, files=files)

    def create(self, table: TableName, schema: Any, by: Iterable[str]) -> Any:
        """Create a table with partition columns."""
        from pyiceberg.exceptions import NoSuchNamespaceError
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.schema import assign_fresh_schema_ids
        from pyiceberg.transforms import IdentityTransform

        schema = assign_fresh_schema_ids(schema)
        ids = {name: schema.find_field(name).field_id for name in by}
        numbered = enumerate(ids.items(), 1000)  # As Iceberg does.
        spec = PartitionSpec(*(PartitionField(of, place, IdentityTransform(), name) for place, (name, of) in numbered))
        properties = {**_PROPERTIES, _MINE: str(table)}
        # The columns of the files have no numbers, so that they are found by their names.
        properties["schema.name-mapping.default"] = schema.name_mapping.model_dump_json()

        def attempt() -> Any:
            return self._catalog.create_table(tuple(table), schema, partition_spec=spec, properties=properties)

        def create() -> Any:
            try:
                try:
                    return attempt()
                except NoSuchNamespaceError:
                    self._catalog.create_namespace_if_not_exists((table.schema,))
                    return attempt()
            except ValueError as error:  # It does not know where.
                remedy = f"set {self._variable('WAREHOUSE')}, the address of its own files"
                raise InvalidInput(self._thing, _line(error), remedy) from None

        return self.call(create)


@dataclass(frozen=True, kw_only=True)
class IcebergTable:
    """A table in a catalog, as it was read."""

    catalog: IcebergCatalog
    name: TableName
    table: Any = None  # None: it does not exist.
    files: Mapping[str, Any] = field(default_factory=dict)  # By their addresses.

    def update(self, new: Sequence[PlainFile], gone: Collection[str]) -> list[Refused]:
        """
        Add and remove files in one commit; returns those that cannot be added, with the reason.

        :raises Overtaken: if another process changed the table meanwhile, so that nothing was changed.
        """
        refused = list[Refused]()
        with self.catalog.reporting():
            described = _each(new, _schema, refused)
            table = self.table
            if table is None and described:
                first, schema = described[0]
                table = self.catalog.create(self.name, schema, [column.name for column, _ in first.partition])
            if table is None:
                return refused
            change, schemas = table.transaction(), {file.location: schema for file, schema in described}
            fitting = _each([file for file, _ in described], partial(_join, change, schemas), refused)
            metadata = change.table_metadata
            added = _each([file for file, _ in fitting], lambda file: _data_file(file, metadata), refused)
            if added or gone:
                self.catalog.call(lambda: _commit(change, [each for _, each in added], [self.files[it] for it in gone]))
        return refused


def _each(
    files: Iterable[PlainFile], do: Callable[[PlainFile], T], refused: list[Refused]
) -> list[tuple[PlainFile, T]]:
    """The results for those files for which something can be done; the others are refused."""
    found = []
    for file in files:
        try:
            found.append((file, do(file)))
        except RetentionError as error:
            refused.append((file, error))
        except Exception as error:
            reason = f"cannot be in an Iceberg table beside other archives: {_line(error)}"
            refused.append((file, Unsupported(f"snapshot {file.archived.name}", reason, _QUERY)))
    return found


def _commit(change: Any, added: Iterable[Any], removed: Sequence[Any]) -> None:
    from pyiceberg.table.update.snapshot import ExpireSnapshots

    producer = change.update_snapshot().overwrite() if removed else change.update_snapshot().merge_append()
    with producer as snapshot:
        for each in added:
            snapshot.append_data_file(each)
        for each in removed:
            snapshot.delete_data_file(each)
    if removed:  # Earlier states have files that may be deleted for good.
        metadata = change.table_metadata
        kept = {each.snapshot_id for each in metadata.refs.values()}
        earlier = [each.snapshot_id for each in metadata.snapshots if each.snapshot_id not in kept]
        if earlier:
            ExpireSnapshots(change).by_ids(earlier).commit()
    change.commit_transaction()


def _line(error: BaseException) -> str:
    return redact(" ".join(str(error).split()).rstrip("."))


def _schema(file: PlainFile) -> Any:
    """The columns of a file, and those of its partition, as Iceberg has them; Unsupported if it has no such types."""
    import pyarrow as pa
    from pyiceberg import types
    from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
    from pyiceberg.schema import Schema

    found: list[Any] = []
    for each in file.footer.schema.to_arrow_schema():
        if "." in each.name or _UNSIGNED.search(str(each.type)):
            raise _no_type(file, each.name, str(each.type))
        try:
            found += _pyarrow_to_schema_without_ids(pa.schema([each])).fields
        except Exception:
            raise _no_type(file, each.name, str(each.type)) from None
    for column, _ in file.partition:
        kind = _TYPES.get(column.type.partition("(")[0].strip().lower())
        if kind is None or "." in column.name or (column.kind is Kind.TIME and kind in _NUMBERS):
            raise _no_type(file, column.name, column.type)
        found.append(types.NestedField(-1, column.name, getattr(types, kind)(), required=False))
    return Schema(*found)


def _no_type(file: PlainFile, column: str, kind: str) -> Unsupported:
    reason = f"column {column} ({kind}) cannot be in an Iceberg table"
    return Unsupported(f"table {file.archived.table}", reason, _QUERY)


def _join(change: Any, schemas: Mapping[str, Any], file: PlainFile) -> None:
    """Add the columns of a file to a table that lacks them; fails if they are others."""
    own, there = (
        [column.name for column, _ in file.partition],
        [each.name for each in change.table_metadata.spec().fields],
    )
    if own != there:
        by, others = (" and ".join(names) or "no column" for names in (own, there))
        reason = f"is partitioned by {by}, and the table in the Iceberg catalog by {others}"
        raise Unsupported(f"snapshot {file.archived.name}", reason, _QUERY)
    with change.update_schema() as update:
        update.union_by_name(schemas[file.location])


def _stored(column: Column, value: Value) -> Value:
    """The value of a partition column: times are microseconds, days are counted."""
    if column.kind is not Kind.TIME or not isinstance(value, int):
        return value
    return value // _DAY_MS if column.type.lower() == "date" else value * 1000


def _data_file(file: PlainFile, metadata: Any) -> Any:
    from pyiceberg.io.pyarrow import (
        compute_statistics_plan,
        data_file_statistics_from_parquet_metadata,
        parquet_path_to_id_mapping,
    )
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    schema = metadata.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=file.footer,
        stats_columns=compute_statistics_plan(schema, metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.location,
        file_format=FileFormat.PARQUET,
        partition=Record(*(_stored(column, value) for column, value in file.partition)),
        file_size_in_bytes=file.size,
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
