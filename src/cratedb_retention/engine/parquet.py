"""
Archives as Parquet files in a directory, or in a bucket of S3, Google Cloud or Azure.

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
import shutil
import stat
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cratedb_retention.errors import AccessDenied, Conflict, DatabaseError, NotFound, Unsupported, not_installed
from cratedb_retention.model.archive import StoreAddress, read_address
from cratedb_retention.model.catalog import Column, Kind, TableName, Value
from cratedb_retention.model.words import show_value

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

T = TypeVar("T")
N = TypeVar("N")
MANIFESTS, SUFFIX, ROWS = "_manifests", ".json", ".parquet"
PARTIAL = ".partial"
# A path has these characters percent-encoded, as Hive does; the last four are not allowed on Windows.
_SPECIAL = re.compile(r"""[\x00-\x1f\x7f"#%'*/:=?\\{}\[\]^<>|]""")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_LONGEST = 200  # Bytes of a part of a path; directories allow 255.
# How the names of snapshots end, see :func:`cratedb_retention.model.archive.snapshot_name`.
_NAMED = re.compile(r"(^|-)[0-9a-f]{12}$")
_MAGIC = b"PAR1"
# What is read, digested or written at once.
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 100_000, 16 * 2**20
BATCH_ROWS = 10_000
_COPIED = 4 * 2**20
_SECONDS = {"connect_timeout": 10.0, "request_timeout": 60.0}
_ATTEMPTS, _AT_ONCE = 4, 8
_TWO_TO_128 = 2**128


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of an archived partition. Types, expressions and digest are those of the database."""

    table: list[str]  # Schema and name.
    columns: list[list[str]]  # Names and types of the columns in the file.
    partition: list[list[Any]]  # Partition columns with their types, kinds and values; times in milliseconds, UTC.
    rows: int
    digest: str  # Of the values of all rows.
    token: str  # The change token of what was archived.
    file: str  # The path of the rows, from the address.
    size: int | None  # Of the file, in bytes; None: unknown.
    database: str = "CrateDB"  # The database that it is from.
    sha256: str = ""  # Of the file, if the digest depends on the release of the database; else empty.
    values_sha256: str = ""  # CrateDB: of the values in their order, see `Checksum`; earlier ones have none.
    definition: str = ""  # CrateDB: the statement that creates the table.
    exact: list[str] = field(default_factory=list)  # CrateDB: of the columns, JSON with decimals.
    generated: list[Any] = field(default_factory=list)  # Computed columns: position, name, type and expression.
    comment: str | None = None  # DuckDB: that of the table, which may name the partition columns.
    span: list[int | None] = field(default_factory=lambda: [None, None])  # The time range (ms, UTC), if known.
    toolkit: str = ""  # The version that wrote it.
    version: int = 1  # Of this description.

    @property
    def partition_columns(self) -> tuple[Column, ...]:
        return tuple(Column(name=name, type=kind, kind=Kind(of)) for name, kind, of, _ in self.partition)

    @property
    def values(self) -> tuple[Value, ...]:
        return tuple(value for *_, value in self.partition)

    @property
    def of(self) -> tuple[TableName, tuple[Value, ...]]:
        """The partition."""
        return TableName(*self.table), self.values

    @property
    def computed(self) -> set[str]:
        """The names of computed columns; earlier manifests have nothing else of them."""
        return {each if isinstance(each, str) else each[1] for each in self.generated}


def describe_partition(columns: Sequence[Column], values: Sequence[Value]) -> list[list[Any]]:
    """A partition as manifests have it."""
    return [[c.name, c.type, str(c.kind), value] for c, value in zip(columns, values, strict=True)]


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

    def add_all(self, rows: int, digest: str) -> None:
        """Add rows of which the digest is known."""
        self._sum += int(digest, 16)
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


class Checksum:
    """
    A SHA-256 of rows in their order, in whatever batches they come: of each column, and of each level of its lists,
    which values are NULL, the lengths of the others, and their types and bytes. It is made of Arrow's memory, in a
    twentieth of the time that a digest takes.
    """

    def __init__(self) -> None:
        self.rows, self._parts = 0, defaultdict[str, Any](hashlib.sha256)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the next rows."""
        for place, column in enumerate(batch.columns):
            self._add(str(place), column)
        self.rows += batch.num_rows

    def _add(self, name: str, array: pa.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind, values = array.type, array.drop_null() if array.null_count else array
        self._parts[f"{name} there"].update(bytes_of(array.is_valid().cast(pa.uint8())))
        if pa.types.is_list(kind):
            self._parts[f"{name} lengths"].update(bytes_of(pc.list_value_length(values)))
            self._add(f"{name}.", values.flatten())
            return
        if pa.types.is_string(kind):
            self._parts[f"{name} lengths"].update(bytes_of(pc.binary_length(values)))
        elif pa.types.is_boolean(kind):
            values = values.cast(pa.uint8())
        self._parts[f"{name} {kind}"].update(bytes_of(values))

    @property
    def text(self) -> str:
        parts = {name: part.hexdigest() for name, part in self._parts.items()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class RowWriter:
    """Writes rows to a file; only some of them are in memory. ``checksum`` is of those that were written."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self.checksum = Checksum()
        self._writer = writer
        self._waiting: dict[int, list[pa.RecordBatch]] = defaultdict(list)

    def write(self, batch: pa.RecordBatch, part: int = 0) -> None:
        """Write rows. Those of a part have row groups of their own, whose statistics tell more."""
        waiting = self._waiting[part]
        waiting.append(batch)
        rows, size = (sum(getattr(each, of) for each in waiting) for of in ("num_rows", "nbytes"))
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            self._flush(part)

    def flush(self) -> None:
        """Write what is still waiting."""
        for part in sorted(self._waiting):
            self._flush(part)

    def _flush(self, part: int) -> None:
        import pyarrow as pa

        for batch in (waiting := self._waiting.pop(part)):
            self.checksum.add(batch)
        self._writer.write_table(pa.Table.from_batches(waiting), row_group_size=ROW_GROUP_ROWS)


def bytes_of(array: pa.Array) -> memoryview | bytes:
    """The memory that has the values of an array without NULL, which are text, or numbers of whole bytes."""
    import pyarrow as pa

    if not len(array):
        return b""
    first, last = array.offset, array.offset + len(array)
    *_, places, content = array.buffers()
    if pa.types.is_string(array.type):
        within = memoryview(places).cast("i")
        first, last = within[first], within[last]
    else:
        width = array.type.bit_width // 8
        first, last = first * width, last * width
    return memoryview(content)[first:last] if last > first else b""


def escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"%{ord(match[0]):02X}", text)


def data_path(table: TableName, columns: Sequence[Column], values: Sequence[Value], name: str) -> str:
    """The path of a partition's rows: ``doc.metrics/month=2024-05-01/NAME.parquet``."""
    parts = [f"{_plain(column.name)}={_show(column, value)}" for column, value in zip(columns, values, strict=True)]
    return "/".join([*map(_shorten, [f"{escape(table.schema)}.{escape(table.name)}", *parts]), f"{name}{ROWS}"])


def _plain(name: str) -> str:
    return escape(name.replace("['", ".").replace("']", ""))


def _show(column: Column, value: Value) -> str:
    return _NO_VALUE if value is None else escape(show_value(column, value)) or "%20"


def _shorten(part: str) -> str:
    """A part of a path that a directory allows; a long one ends in a hash of all of it."""
    text = part.encode()
    if len(text) <= _LONGEST:
        return part
    return f"{text[: _LONGEST - 20].decode(errors='ignore')}~{hashlib.sha256(text).hexdigest()[:16]}"


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Files(Protocol):
    """What is below an address, by paths from it."""

    what: str  # A directory, or a bucket.
    place: str  # Its name.
    address: str  # By which other programs find it.
    is_remote: bool

    def create(self) -> None:
        """Create it, if that is allowed."""

    def exists(self) -> bool: ...

    def size(self, path: str) -> int | None:
        """None: there is no such file."""

    def list(self, path: str) -> Iterable[tuple[str, int]]:
        """The files below a path, with their sizes."""

    def show(self, path: str) -> str:
        """How a statement names a file."""

    def open(self, path: str) -> Any:
        """A file to read from."""

    def stream(self, path: str) -> AbstractContextManager[Any]:
        """A stream to write a file, which gets its name when it is complete; an error leaves none."""

    def write_to(self, path: str) -> AbstractContextManager[Path]:
        """The same as the path of a local file."""

    def local(self, path: str) -> AbstractContextManager[Path]:
        """A local file to read."""

    def delete(self, path: str) -> None: ...

    def arrow(self) -> tuple[Any, str]:
        """The file system of pyarrow that has them, and the path that theirs begin with."""


class _Directory:
    """
    Files in a directory.

    :param create: Whether it may be created. That of an address is not, since it may be a mount.
    """

    what, is_remote = "directory", False

    def __init__(self, root: Path, create: bool = False) -> None:
        self.root, self.place, self._creates = root, str(root), create
        self.address = f"file://{'' if root.as_posix().startswith('/') else '/'}{root.as_posix()}"

    def create(self) -> None:
        if self._creates:
            self.root.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        return self.root.is_dir()

    def size(self, path: str) -> int | None:
        try:
            found = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def list(self, path: str) -> Iterator[tuple[str, int]]:
        """Of all files, without directories that are not the toolkit's and cannot be read, such as ``lost+found``."""
        top = self.root / path
        if not top.is_dir():
            return
        for directory, _, names in os.walk(top, onerror=_raise if path else None):
            for name in names:
                found = Path(directory, name).relative_to(self.root).as_posix()
                yield found, self.size(found) or 0

    def show(self, path: str) -> str:
        return str(self.root / path)

    def open(self, path: str) -> Any:
        return (self.root / path).open("rb")

    @contextmanager
    def stream(self, path: str) -> Iterator[Any]:
        with self.write_to(path) as local, local.open("wb") as stream:
            yield stream

    @contextmanager
    def write_to(self, path: str) -> Iterator[Path]:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        local = target.with_name(f".{target.name}{PARTIAL}")
        try:
            yield local
            _sync(local)
            local.replace(target)
            self._sync_above(target)
        except BaseException:
            with suppress(OSError):
                local.unlink()
            raise

    def _sync_above(self, path: Path) -> None:
        """Make the name of a file durable, and those of the directories that were created for it."""
        for parent in path.parents:
            _sync(parent)
            if parent == self.root:
                return

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        yield self.root / path

    def delete(self, path: str) -> None:
        """Without the directories that were created for it, if they are empty now."""
        found = self.root / path
        with suppress(FileNotFoundError, NotADirectoryError):
            found.unlink()
            _sync(found.parent)
        for parent in found.parents:
            if parent == self.root:
                return
            try:
                parent.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # It is not empty.
                return

    def arrow(self) -> tuple[Any, str]:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), str(self.root)


class _Bucket:
    """Files in an object store."""

    what, is_remote = "bucket", True

    def __init__(self, address: StoreAddress, repository: str) -> None:
        self._files, self._root, self._repository = _file_system(address), address.place, repository
        self.place = address.place.partition("/")[0]
        self.address = f"{address.kind}://{address.place}"

    def create(self) -> None:
        """Never: its options are up to users."""

    def exists(self) -> bool:
        from pyarrow.fs import FileType

        return bool(self._files.get_file_info(self.place).type is FileType.Directory)

    def size(self, path: str) -> int | None:
        from pyarrow.fs import FileType

        found = self._files.get_file_info(self._path(path))
        return found.size if found.type is FileType.File else None

    def list(self, path: str) -> Iterator[tuple[str, int]]:
        from pyarrow.fs import FileSelector, FileType

        top = self._path(path) if path else self._root
        found = self._files.get_file_info(FileSelector(top, recursive=True, allow_not_found=True))
        return ((each.path[len(self._root) + 1 :], each.size) for each in found if each.type is FileType.File)

    def show(self, path: str) -> str:
        return f"{self._repository}/{path}"

    def open(self, path: str) -> Any:
        return self._files.open_input_file(self._path(path))

    @contextmanager
    def stream(self, path: str) -> Iterator[Any]:
        target = self._path(path)
        stream = self._files.open_output_stream(target)
        try:
            yield stream
            stream.close()
        except BaseException:
            with suppress(Exception):  # Closing a stream publishes what was written so far.
                stream.close()
                self._files.delete_file(target)
            raise

    @contextmanager
    def write_to(self, path: str) -> Iterator[Path]:
        with _scratch() as local:
            yield local
            with local.open("rb") as written, self.stream(path) as stream:
                shutil.copyfileobj(written, stream, _COPIED)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        with _scratch() as local:
            with self.open(path) as stored, local.open("wb") as copy:
                shutil.copyfileobj(stored, copy, _COPIED)
            yield local

    def delete(self, path: str) -> None:
        if self.size(path) is not None:
            with suppress(FileNotFoundError):
                self._files.delete_file(self._path(path))

    def arrow(self) -> tuple[Any, str]:
        return self._files, self._root

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"


class Store:
    """
    The files of a repository. Errors are one line, with its name.

    :param directory: Where they are, if the repository is not an address.
    """

    def __init__(self, repository: str, directory: Path | None = None) -> None:
        self.repository, self._thing, self._directory = repository, f"repository {repository}", directory
        with self.reporting():
            self._files: _Files = _open(repository) if directory is None else _Directory(directory, create=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens it itself, with the credentials of its environment."""
        return type(self), (self.repository, self._directory)

    @contextmanager
    def reporting(self, path: str = "") -> Iterator[None]:
        """Turn errors of a store, and of damaged files, into those of this toolkit."""
        arrow: Any = sys.modules.get("pyarrow")
        failures: tuple[type[Exception], ...] = (OSError, arrow.ArrowException) if arrow else (OSError,)
        thing = f"{self._thing}, {path}" if path else self._thing
        try:
            yield
        except FileNotFoundError:
            raise NotFound(thing, "does not exist") from None
        except PermissionError as error:
            raise AccessDenied(thing, _line(error), "grant access to it") from None
        except failures as error:
            text = _line(error)
            if "ACCESS_DENIED" in text or "HTTP status 403" in text or "HTTP status 401" in text:
                raise AccessDenied(thing, text, "check the credentials in the environment, and their rights") from None
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise DatabaseError(thing, text, "free some space" if full else "check the repository") from None

    def prepare(self) -> None:
        """Create the repository, if it is not an address; NotFound if it does not exist then."""
        with self.reporting():
            self._files.create()
        self.require()

    def require(self) -> None:
        """NotFound if the directory or bucket does not exist."""
        with self.reporting():
            there = self._files.exists()
        if not there:
            what = self._files.what
            raise NotFound(self._thing, f"{what} {self._files.place} does not exist", f"create the {what}")

    def size(self, path: str) -> int | None:
        """The size of a file; None if it does not exist."""
        with self.reporting(path):
            return self._files.size(path)

    def list(self, path: str) -> list[tuple[str, int]]:
        """The files below a path, as paths from the address, with their sizes."""
        with self.reporting(path):
            return sorted(self._files.list(path))

    @property
    def is_remote(self) -> bool:
        return self._files.is_remote

    def show(self, path: str) -> str:
        """How a statement names a file: the path of a local one, or for display."""
        return self._files.show(path)

    def locate(self, path: str) -> str:
        """The address of a file, by which other programs find it."""
        address = self._files.address
        if address.startswith("az:") or set("#?") & set(address):
            raise Unsupported(self._thing, "its address cannot be one of Iceberg", "use `cratedb-retention query`")
        return f"{address}/{path}"

    def each(self, look: Callable[[N], T], names: Iterable[N]) -> Sequence[T]:
        """Do something for each name, several at a time if it takes long."""
        if not self._files.is_remote:
            return list(map(look, names))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store") as pool:
            return list(pool.map(look, names))

    @contextmanager
    def writing(self, path: str) -> Iterator[Any]:
        """A stream to write a file, which gets its name when it is complete; an error leaves none."""
        with self.reporting(path), self._files.stream(path) as stream:
            yield stream

    @contextmanager
    def writing_to(self, path: str) -> Iterator[Path]:
        """The same as the path of a local file, for a program that writes it itself."""
        with self.reporting(path), self._files.write_to(path) as local:
            yield local

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """A local file with the content of a file, for a program that reads it itself."""
        with self.reporting(path), self._files.local(path) as local:
            yield local

    def reading(self, path: str) -> Any:
        """A file to read from."""
        with self.reporting(path):
            return self._files.open(path)

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        with self.reporting(path):
            self._files.delete(path)

    # Manifests

    def publish(self, name: str, manifest: Manifest) -> None:
        """Write a manifest, with a checksum of itself."""
        described = asdict(manifest)
        text = json.dumps({**described, "checksum": _checksum(described)}, indent=2, ensure_ascii=False)
        with self.writing(manifest_path(name)) as stream:
            stream.write(f"{text}\n".encode())

    def manifest(self, name: str) -> Manifest:
        """Read a manifest; `NotFound` if there is none."""
        thing = f"snapshot {name}"
        content = self._content(manifest_path(name))
        if content is None:
            raise NotFound(thing, f"is not in repository {self.repository}")
        described = _described(content)
        if unknown := described.keys() - {each.name for each in fields(Manifest)}:
            by = f"version {described.get('toolkit', '?')}, with {', '.join(sorted(unknown))}"
            raise DatabaseError(thing, f"its manifest was written by {by}", "upgrade cratedb-retention")
        try:
            return Manifest(**described)
        except TypeError:
            raise DatabaseError(thing, "its manifest is damaged", "delete it and run again") from None

    def _content(self, path: str) -> bytes | None:
        """What is in a small file; None: it does not exist."""
        with self.reporting(path):
            try:
                with self._files.open(path) as file:
                    return bytes(file.read())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def delete_manifest(self, name: str) -> None:
        self.delete(manifest_path(name))

    def names(self) -> dict[str, int]:
        """The names of all manifests, with their sizes."""
        self.require()
        found = ((PurePosixPath(path).name, size) for path, size in self.list(MANIFESTS))
        return {name.removesuffix(SUFFIX): size for name, size in found if name.endswith(SUFFIX) and name[0] != "."}

    def leftovers(self, names: Collection[str]) -> Iterator[str]:
        """Files that have no manifest, as interrupted runs leave them, given the names that have one."""
        for path, _ in self.list(""):
            name = path.rpartition("/")[2]
            bare = name.removesuffix(ROWS)
            if name.endswith(PARTIAL):
                yield name
            elif bare != name and _NAMED.search(bare) and bare not in names:
                yield bare

    def fault(self, manifest: Manifest) -> str | None:
        """The fault of an archive's file that can be seen without reading it; None if there is none."""
        size = self.size(manifest.file)
        if size is None:
            return f"{manifest.file} is missing"
        if manifest.size is None:
            return None if self._is_whole(manifest.file) else f"{manifest.file} has {size:,} bytes and is truncated"
        same = size == manifest.size
        return None if same else f"{manifest.file} has {size:,} bytes, not the {manifest.size:,} that were archived"

    def _is_whole(self, path: str) -> bool:
        content = self._content(path) or b""
        return content.startswith(_MAGIC) and content.endswith(_MAGIC)

    # Rows

    @contextmanager
    def writing_rows(self, path: str, schema: pa.Schema) -> Iterator[RowWriter]:
        """A new file, which is whole at the end of the context; an error leaves none."""
        import pyarrow.parquet as pq

        with self.writing(path) as stream:
            writer = pq.ParquetWriter(stream, schema, compression="zstd", write_page_checksum=True)
            rows = RowWriter(writer)
            try:
                yield rows
                rows.flush()
                writer.close()
            except BaseException:
                with suppress(Exception):
                    writer.close()
                raise

    def read_rows(self, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a file, some at a time; fails if a page differs from its checksum."""
        import pyarrow.parquet as pq

        with self.reporting(path), self.reading(path) as file:
            rows = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=self._files.is_remote)
            for group in range(rows.num_row_groups):
                yield from rows.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False)

    def dataset(self, schema: pa.Schema, parts: Iterable[tuple[str, Any]]) -> Any:
        """
        A dataset of files, of which DuckDB reads the row groups and columns that it needs.

        :param parts: The path of each file, and an expression that holds for all of its rows.
        """
        import pyarrow.dataset as ds

        # Each column of a row group is one request, and no more of it than that is in memory.
        reading = ds.ParquetFragmentScanOptions(pre_buffer=False, page_checksum_verification=True)
        form, (files, root) = ds.ParquetFileFormat(default_fragment_scan_options=reading), self._files.arrow()
        fragments = [form.make_fragment(f"{root}/{path}", files, holds) for path, holds in parts]
        return _dataset_class()(fragments, schema, form, files)

    def footer(self, path: str) -> pq.FileMetaData:
        """The metadata of a file: columns with their types, and statistics of each row group."""
        import pyarrow.parquet as pq

        with self.reporting(path), self.reading(path) as file:
            return pq.read_metadata(file)

    def schema(self, path: str) -> pa.Schema:
        """The columns of a file, with their types."""
        import pyarrow.parquet as pq

        with self.reporting(path), self.reading(path) as file:
            return pq.read_schema(file)


@cache
def _dataset_class() -> Any:
    from pyarrow.dataset import FileSystemDataset

    class Frugal(FileSystemDataset):  # type: ignore[misc]
        """Reads one row group ahead, instead of sixteen in each of four files."""

        def scanner(self, **asked: Any) -> Any:
            return super().scanner(batch_size=ROW_GROUP_ROWS, batch_readahead=1, fragment_readahead=1, **asked)

    return Frugal


def version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("cratedb-retention")
    return ""


def manifest_path(name: str) -> str:
    """Where the manifest of a snapshot is; Conflict: it is not the name of one, and may lead anywhere."""
    if not name or name[0] == "." or "/" in name or "\\" in name:
        raise Conflict(f"snapshot {name}", "is not the name of a snapshot", "check it, and delete it by hand")
    return f"{MANIFESTS}/{name}{SUFFIX}"


def _described(content: bytes) -> dict[str, Any]:
    """What a manifest says; nothing if it is damaged."""
    try:
        found: dict[str, Any] = json.loads(content.decode())
        return found if found.pop("checksum") == _checksum(found) else {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _checksum(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".")


def _raise(error: OSError) -> None:
    raise error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A local file that does not exist yet, and is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="cratedb-retention-") as directory:
        yield Path(directory, f"rows{ROWS}")


def _open(repository: str) -> _Files:
    address = read_address(repository)
    return _Directory(Path(address.place)) if address.kind == "file" else _Bucket(address, repository)


def _file_system(address: StoreAddress) -> Any:
    """The file system of a bucket. Credentials are those of the environment, or of the machine."""
    try:
        from pyarrow import fs
    except ImportError as error:
        raise not_installed(f"repository {address.kind}://", "pyarrow is not installed", "arrow", error) from None
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
