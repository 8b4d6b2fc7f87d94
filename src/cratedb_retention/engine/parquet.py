"""
Archives as Parquet files below an address: a directory, or a bucket of S3, Google Cloud or Azure.

``schema.table/column=value/NAME.parquet`` has the rows of a partition, in the layout of Hive, which DuckDB, Spark,
Trino, pandas and Polars read. ``_manifests/NAME.json`` describes it, and is written last: without it there is no
archive, and what a killed run left is replaced by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cratedb_retention.errors import AccessDenied, DatabaseError, NotFound, not_installed
from cratedb_retention.model.archive import StoreAddress, read_address
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.words import show_value

if TYPE_CHECKING:
    import pyarrow as pa

MANIFESTS, SUFFIX = "_manifests", ".json"
_PARTIAL = ".partial"
# A path has these characters percent-encoded, as Hive does; the last four are not allowed on Windows.
_SPECIAL = re.compile(r"""[\x00-\x1f\x7f"#%'*/:=?\\{}\[\]^<>|]""")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# What is read, digested or written at once.
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 100_000, 16 * 2**20
BATCH_ROWS = 10_000
_SECONDS = {"connect_timeout": 10.0, "request_timeout": 60.0}
_ATTEMPTS = 4
_TWO_TO_128 = 2**128


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of an archived partition."""

    table: list[str]  # Schema and name.
    definition: str  # The statement that creates the table.
    columns: list[list[str]]  # Names and types of the columns in the file, as the database writes them.
    exact: list[str]  # Of these, JSON with decimals.
    generated: list[str]  # Of these, those that are computed from others.
    partition: list[list[Any]]  # Partition columns with their types, kinds and values; times in milliseconds, UTC.
    rows: int
    digest: str  # Of all rows, see :class:`Digest`.
    token: str  # The change token of what was archived.
    file: str  # The path of the rows, from the address.
    size: int  # Of the file, in bytes.
    span: list[int | None] = field(default_factory=lambda: [None, None])  # The time range (ms, UTC), if known.
    toolkit: str = ""  # The version that wrote it.
    version: int = 1  # Of this description.

    @property
    def partition_columns(self) -> tuple[Column, ...]:
        return tuple(Column(name=name, type=kind, kind=Kind(of)) for name, kind, of, _ in self.partition)

    @property
    def values(self) -> tuple[Value, ...]:
        return tuple(value for *_, value in self.partition)


class Digest:
    """
    A digest of rows, independent of their order: the sum of the hashes of all rows, each as JSON with sorted keys. It
    is made of values, so it is the same for rows from a database and from a file.
    """

    def __init__(self) -> None:
        self.rows, self._sum = 0, 0

    def add(self, columns: Sequence[Sequence[Any]], rows: int) -> None:
        """Add rows, given by column."""
        self._sum += sum(row_hashes(columns, rows))
        self.rows += rows

    @property
    def text(self) -> str:
        return f"{self._sum % _TWO_TO_128:032x}"


def row_hashes(columns: Sequence[Sequence[Any]], rows: int) -> Iterator[int]:
    """The hash of each row, as a number of 128 bits."""
    import orjson

    dumps, blake, read, sorting = orjson.dumps, hashlib.blake2b, int.from_bytes, orjson.OPT_SORT_KEYS
    by_row: Iterable[tuple[Any, ...]] = zip(*columns, strict=True) if columns else (() for _ in range(rows))
    return (read(blake(dumps(row, None, sorting), digest_size=16).digest(), "big") for row in by_row)


def escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"%{ord(match[0]):02X}", text)


def data_path(table: TableName, columns: Sequence[Column], values: Sequence[Value], name: str) -> str:
    """The path of a partition's rows: ``doc.metrics/month=2024-05-01/NAME.parquet``."""
    parts = [f"{_plain(column.name)}={_show(column, value)}" for column, value in zip(columns, values, strict=True)]
    return "/".join([f"{escape(table.schema)}.{escape(table.name)}", *parts, f"{name}.parquet"])


def _plain(name: str) -> str:
    return escape(name.replace("['", ".").replace("']", ""))


def _show(column: Column, value: Value) -> str:
    return _NO_VALUE if value is None else escape(show_value(column, value)) or "%20"


class Store:
    """The files below an address. Errors of a store are one line, with the address."""

    def __init__(self, repository: str) -> None:
        self.repository, self._address = repository, read_address(repository)
        self._thing = f"repository {repository}"
        with self.reporting():
            self._files = _open(self._address)
            self._root = self._address.place

    @contextmanager
    def reporting(self, path: str = "") -> Iterator[None]:
        """Turn errors of a store, and of damaged files, into those of this toolkit."""
        import pyarrow as pa

        thing = f"{self._thing}, {path}" if path else self._thing
        try:
            yield
        except FileNotFoundError:
            raise NotFound(thing, "does not exist") from None
        except PermissionError as error:
            raise AccessDenied(thing, _line(error), "grant access to it") from None
        except (OSError, pa.ArrowException) as error:
            text = _line(error)
            if "ACCESS_DENIED" in text or "HTTP status 403" in text or "HTTP status 401" in text:
                raise AccessDenied(thing, text, "check the credentials in the environment, and their rights") from None
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise DatabaseError(thing, text, "free some space" if full else "check the repository") from None

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @property
    def _is_local(self) -> bool:
        return self._address.kind == "file"

    def require(self) -> None:
        """NotFound if the directory or bucket does not exist; a directory is never created, since it may be a mount."""
        from pyarrow.fs import FileType

        place = self._root if self._is_local else self._root.partition("/")[0]
        with self.reporting():
            found = self._files.get_file_info(place).type
        if found is not FileType.Directory:
            what = "directory" if self._is_local else "bucket"
            raise NotFound(self._thing, f"{what} {place} does not exist", f"create the {what}")

    def size(self, path: str) -> int | None:
        """The size of a file; None if it does not exist."""
        from pyarrow.fs import FileType

        with self.reporting(path):
            found = self._files.get_file_info(self._path(path))
        return found.size if found.type is FileType.File else None

    def list(self, path: str) -> list[tuple[str, int]]:
        """The files below a path, as paths from the address, with their sizes."""
        from pyarrow.fs import FileSelector, FileType

        with self.reporting(path):
            found = self._files.get_file_info(FileSelector(self._path(path), recursive=True, allow_not_found=True))
        root = len(self._root) + 1
        return sorted((each.path[root:], each.size) for each in found if each.type is FileType.File)

    @contextmanager
    def writing(self, path: str) -> Iterator[Any]:
        """A stream to write a file, which gets its name when it is complete; an error leaves none."""
        target = self._path(path)
        path_of = PurePosixPath(target)
        place = str(path_of.with_name(f".{path_of.name}{_PARTIAL}")) if self._is_local else target
        with self.reporting(path):
            if self._is_local:
                self._files.create_dir(str(PurePosixPath(target).parent))
            stream = self._files.open_output_stream(place)
        try:
            yield stream
            with self.reporting(path):
                stream.close()
                if self._is_local:
                    _sync(place)
                    self._files.move(place, target)
                    self._sync_directories(target)
        except BaseException:
            with suppress(Exception):  # Closing a stream publishes what was written so far.
                stream.close()
                self._files.delete_file(place)
            raise

    def _sync_directories(self, path: str) -> None:
        """Make the name of a file durable, and those of the directories that were created for it."""
        parent = PurePosixPath(path).parent
        while len(str(parent)) >= len(self._root):
            _sync(str(parent))
            parent = parent.parent

    def reading(self, path: str) -> Any:
        """A file to read from."""
        with self.reporting(path):
            return self._files.open_input_file(self._path(path))

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        if self.size(path) is not None:
            with self.reporting(path), suppress(FileNotFoundError):
                self._files.delete_file(self._path(path))

    # Manifests

    def publish(self, name: str, manifest: Manifest) -> None:
        """Write a manifest, with a checksum of itself."""
        described = asdict(manifest)
        text = json.dumps({**described, "checksum": _checksum(described)}, indent=2, ensure_ascii=False)
        with self.writing(_manifest(name)) as stream, self.reporting(_manifest(name)):
            stream.write(f"{text}\n".encode())

    def manifest(self, name: str) -> Manifest:
        """Read a manifest; `NotFound` if there is none."""
        path, thing = _manifest(name), f"snapshot {name}"
        with self.reporting(path):
            if self.size(path) is None:
                raise NotFound(thing, f"is not in repository {self.repository}")
            with self.reading(path) as file:
                content = file.read()
        try:
            found = json.loads(content.decode())
            checksum = found.pop("checksum")
            if checksum == _checksum(found):
                return Manifest(**found)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise DatabaseError(thing, "its manifest is damaged", "delete it and run again") from None

    def delete_manifest(self, name: str) -> None:
        self.delete(_manifest(name))

    def names(self) -> dict[str, int]:
        """The names of all manifests."""
        self.require()
        found = ((PurePosixPath(path).name, size) for path, size in self.list(MANIFESTS))
        return {name.removesuffix(SUFFIX): size for name, size in found if name.endswith(SUFFIX) and name[0] != "."}

    def fault(self, manifest: Manifest) -> str | None:
        """The fault of an archive's file that can be seen without reading it; None if there is none."""
        size = self.size(manifest.file)
        if size is None:
            return f"{manifest.file} is missing"
        same = size == manifest.size
        return None if same else f"{manifest.file} has {size:,} bytes, not the {manifest.size:,} that were archived"

    # Rows

    @contextmanager
    def writing_rows(self, path: str, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
        """A function that writes rows to a file; only some of them are in memory."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self.writing(path) as stream:
            with self.reporting(path):
                options = {"compression": "zstd", "write_page_checksum": True}
                writer = pq.ParquetWriter(stream, schema, **options)
            waiting: list[pa.RecordBatch] = []

            def flush() -> None:
                if waiting:
                    with self.reporting(path):
                        writer.write_table(pa.Table.from_batches(waiting), row_group_size=ROW_GROUP_ROWS)
                    waiting.clear()

            def write(batch: pa.RecordBatch) -> None:
                waiting.append(batch)
                rows, size = (sum(getattr(each, of) for each in waiting) for of in ("num_rows", "nbytes"))
                if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                    flush()

            try:
                yield write
                flush()
                with self.reporting(path):
                    writer.close()
            except BaseException:
                with suppress(Exception):
                    writer.close()
                raise

    def read_rows(self, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a file, some at a time; fails if a page differs from its checksum."""
        import pyarrow.parquet as pq

        with self.reporting(path), self.reading(path) as file:
            rows = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=not self._is_local)
            for group in range(rows.num_row_groups):
                yield from rows.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False)


def version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("cratedb-retention")
    return ""


def _manifest(name: str) -> str:
    return f"{MANIFESTS}/{name}{SUFFIX}"


def _checksum(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".")


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(address: StoreAddress) -> Any:
    """The file system of an address. Credentials are those of the environment, or of the machine."""
    try:
        from pyarrow import fs
    except ImportError as error:
        raise not_installed(f"repository {address.kind}://", "pyarrow is not installed", "arrow", error) from None
    if address.kind == "file":
        return fs.LocalFileSystem()
    if address.kind == "s3":
        return fs.S3FileSystem(**_s3_options(), **_SECONDS, retry_strategy=fs.AwsStandardS3RetryStrategy(_ATTEMPTS))
    if address.kind == "gs":
        return fs.GcsFileSystem(**_gcs_options())
    return fs.AzureFileSystem(**_azure_options())


def _s3_options() -> dict[str, Any]:
    """The variables of AWS's own tools; the rest is found by the library: keys, profiles, roles of the machine."""
    found: dict[str, Any] = {"background_writes": False}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        found["region"] = region
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        found |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    return found


def _gcs_options() -> dict[str, Any]:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return {}
    scheme, _, host = emulator.rpartition("://")
    return {"anonymous": True, "endpoint_override": host.rstrip("/"), "scheme": scheme or "http"}


def _azure_options() -> dict[str, Any]:
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_ACCOUNT") or ""
    key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY") or os.environ.get("AZURE_STORAGE_KEY")
    found = {"account_name": account, **({"account_key": key} if key else {})}
    if endpoint := os.environ.get("AZURE_STORAGE_BLOB_ENDPOINT"):
        scheme, _, host = endpoint.rpartition("://")
        found |= {"blob_storage_authority": host.rstrip("/"), "blob_storage_scheme": scheme or "https"}
    return found
