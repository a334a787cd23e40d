"""What a status pass looks at, well and unwell: a way to a server, an application, certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pra.proc import Scope
from pra.procedures import scrub
from pra.scrub.plan import Amount
from pra.settings import Settings
from pra.watch.status import passing
from pra.watch.status.finding import Finding, StatusPass
from tests.fix_cluster import Cluster, embedded_bindir
from tests.fix_world import MakeWorld, World


@dataclass
class Way:
    """A TCP proxy before a server.

    Attributes:
        how: ``pass``; ``slow`` (every answer comes late); ``stall`` (takes the connection, says nothing);
            ``later`` (lets the login through, then falls silent); ``reset``; ``garbage``.
    """

    port: int
    how: str = "pass"
    delay: float = 0.15
    _stop: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def way_to(port: int) -> Iterator[Way]:
    listener = socket.create_server(("127.0.0.1", 0))
    way = Way(listener.getsockname()[1])

    def serve() -> None:
        while not way._stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_one, args=(way, client, port), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield way
    finally:
        way._stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _one(way: Way, client: socket.socket, port: int) -> None:
    with client, contextlib.suppress(OSError):
        if way.how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if way.how == "garbage":
            client.recv(1024)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\nno database here")
            return
        if way.how == "stall":
            way._stop.wait(60)
            return
        with socket.create_connection(("127.0.0.1", port), 5) as server:
            back = threading.Thread(target=_copy, args=(way, server, client), daemon=True)
            back.start()
            _copy(way, client, server, forth=True)
            back.join(60)


def _copy(way: Way, source: socket.socket, sink: socket.socket, *, forth: bool = False) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if way.how == "later" and forth and b"SELECT 1" in data:
                way._stop.wait(60)
            if way.how == "slow" and not forth:
                time.sleep(way.delay)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def way(healthy: World) -> Iterator[Way]:
    """A way to the healthy world's server."""
    with way_to(healthy.cluster.port) as found:
        yield found


@dataclass
class Application:
    """``answers``: by path, status and seconds to wait first; 200 at once for any other path."""

    url: str
    answers: dict[str, tuple[int, float]] = field(default_factory=dict)


@contextlib.contextmanager
def serve_http(context: ssl.SSLContext | None = None) -> Iterator[Application]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, wait = application.answers.get(self.path, (200, 0.0))
            stop.wait(wait)
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if context else "http"
    application = Application(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield application
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def application() -> Iterator[Application]:
    with serve_http() as found:
        yield found


def certificate_for(folder: Path, days: float) -> ssl.SSLContext:
    """A server's TLS context with a fresh certificate that ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


# -- a world in which all is well ----------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy(world_maker: MakeWorld) -> Iterator[World]:
    """A server with one database, backed up, proven, rehearsed and scrubbed. Leave it as it was."""
    server = Cluster(embedded_bindir())
    server.start()
    try:
        server.createdb("app")
        server.execute("app", "CREATE TABLE users (id int PRIMARY KEY)", "CREATE TABLE payments (id int)")
        # Whatever the disk of the test machine: only the tests about disks look at it.
        extra = "[status]\ndisk_warning = 0.0\ndisk_critical = 0.0\nlimit = '3s'\n"
        world = world_maker(server, "app", extra=extra)
        world.backup()
        with world.context() as context:
            newest = context.catalog("near").backups()[0].backup_id
            for repository in ("near", "far"):
                proof = {"backup_id": newest, "repository": repository, "verdict": "PASS"}
                context.evidence.append("verification", proof)
            context.evidence.append("drill", {"verdict": "PASS"})
            scrub.run(context, Amount(sample=1))
        yield world
    finally:
        server.remove()


def look(world: World, *, target: dict[str, Any] | None = None, **changed: Any) -> StatusPass:
    """One pass, with some settings of the target, of ``status`` or of everything changed; records nothing."""
    settings = altered(world.settings, target, changed.pop("status", {}), changed.pop("settings", {}))
    with Scope() as scope:
        chosen = [settings.target(None)]
        return passing.run(settings, chosen, scope, clock=changed.pop("clock", world.clock))


def altered(
    settings: Settings, target: dict[str, Any] | None, status: dict[str, Any], more: dict[str, Any]
) -> Settings:
    chosen = settings.target(None).model_copy(update={"critical_tables": ["users"], **(target or {})})
    update = {
        "targets": {chosen.name: chosen},
        "status": settings.status.model_copy(update=status),
        **more,
    }
    return settings.model_copy(update=update)


def alone(done: StatusPass, name: str, target: str = "db") -> tuple[Finding, int]:
    """One finding, and the exit code of a pass that found nothing else."""
    found = done.find(name, target)
    assert found is not None, [f"{f.target} {f.name}: {f.message}" for f in done.findings]
    return found, StatusPass(done.at, done.host, done.seconds, (found,)).exit_code
