"""
Archives in object stores: on a real S3 server, and on one that refuses. Whatever it answers, nothing is lost.
"""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.error import URLError

import pytest
from pyarrow.fs import FileSelector, FileType, S3FileSystem

from cratedb_retention import RestoreRequest
from support.cratedb import HOST, free_ports
from support.databases import MONTH, TIME, ParquetDatabase

MAY, LATE_MAY, JUNE = "2024-05-10T00:00:00Z", "2024-05-20T00:00:00Z", "2024-06-10T00:00:00Z"
SECRET = "not-to-be-shown"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    pytest.importorskip("moto.server", reason="moto is not installed; see requirements.lock")
    (port,) = free_ports(1)
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with suppress(URLError, ConnectionError), urllib.request.urlopen(f"{address}/moto-api/") as answer:
                    if answer.status == 200:
                        break
                assert process.poll() is None
                time.sleep(0.1)
            yield address
        finally:
            process.kill()


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let a server be the S3 of this process, with credentials in the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cratedb_retention.engine.parquet._ATTEMPTS", 2)


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> S3FileSystem:
    """An empty bucket, ``archives``."""
    use(monkeypatch, server)
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()
    store = S3FileSystem(endpoint_override=server.removeprefix("http://"), scheme="http", allow_bucket_creation=True)
    store.create_dir("archives")
    return store


def files(store: S3FileSystem) -> list[str]:
    """All objects."""
    found = store.get_file_info(FileSelector("archives", recursive=True))
    return sorted(each.path for each in found if each.type is FileType.File)


def fill(db: ParquetDatabase, repository: str = "s3://archives/cold") -> None:
    """A table of which May is expired, and its policy."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", [MAY, LATE_MAY, JUNE])
    db.policy("snapshot", "metrics", "30d", target_repository_name=repository)


def errors(db: ParquetDatabase) -> list[str]:
    """What failed, as the audit log has it."""
    return [str(row["error"]) for row in db.journal() if row["error"]]


@pytest.mark.slow("starts an S3 server")
def test_there_and_back(crate_files: ParquetDatabase, bucket: S3FileSystem) -> None:
    """Archived in a bucket, listed, verified, restored, adopted and deleted."""
    db = crate_files
    fill(db)
    report = db.run()
    assert (report.ok, report.partitions, db.left("metrics")) == (True, 1, [JUNE]), errors(db)
    (record,) = db.tool.snapshots()
    name = record.archived.name
    assert files(bucket) == [
        f"archives/cold/_manifests/{name}.json",
        f"archives/cold/{db.schema}.metrics/month=2024-05-01/{name}.parquet",
    ]
    assert db.tool.snapshot_states([record])[record.key].complete
    assert [found.error for found in db.tool.verify_snapshots()] == [None]
    assert [item.error for item in db.tool.restore(RestoreRequest(table_name="metrics"))] == [None]
    assert db.left("metrics") == [MAY, LATE_MAY, JUNE]
    engine = db.tool.engine.archive
    assert [archived.rows for archived, _ in engine.find("s3://archives/cold", db.own_schema)] == [2]
    assert engine.delete(record.archived)
    assert files(bucket) == []


@pytest.mark.parametrize("damage", ["missing", "half"])
def test_damaged_objects(crate_files: ParquetDatabase, bucket: S3FileSystem, damage: str) -> None:
    """An object that is gone, or half there, is found by a list, a verification and a restore."""
    db = crate_files
    fill(db)
    assert db.run().partitions == 1
    path = files(bucket)[1]
    with bucket.open_input_file(path) as file:
        content = file.read()
    bucket.delete_file(path)
    if damage == "half":
        with bucket.open_output_stream(path) as stream:
            stream.write(content[: len(content) // 2])
    (record,) = db.tool.snapshots()
    assert not db.tool.snapshot_states([record])[record.key].complete
    assert [bool(found.error) for found in db.tool.verify_snapshots()] == [True]
    assert [bool(item.error) for item in db.tool.restore(RestoreRequest(table_name="metrics"))] == [True]
    assert db.left("metrics") == [JUNE]


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers each request with a status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - as the library calls them

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [503, 403, 404])
def test_refusals(crate_files: ParquetDatabase, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """One line, without a secret; nothing is dropped, and the partition accepts writes."""
    db = crate_files
    fill(db)
    with answering(status) as address:
        use(monkeypatch, address)
        report = db.run()
    assert (report.failed, report.partitions) == (1, 0)
    assert (db.left("metrics"), db.frozen("metrics")) == ([MAY, LATE_MAY, JUNE], 0)
    assert errors(db)
    assert all("\n" not in error and SECRET not in error and "s3://archives/cold" in error for error in errors(db))


def test_refusals_later(crate_files: ParquetDatabase, bucket: S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is not there shows in the list of snapshots, and a restore restores nothing."""
    db = crate_files
    fill(db)
    assert db.run().partitions == 1
    (record,) = db.tool.snapshots()
    with answering(503) as address:
        use(monkeypatch, address)
        state = db.tool.snapshot_states([record])[record.key]
        assert (state.complete, "503" in state.detail or "SLOW" in state.detail.upper()) == (False, True), state.detail
        assert [bool(item.error) for item in db.tool.restore(RestoreRequest(table_name="metrics"))] == [True]
    assert db.left("metrics") == [JUNE]
