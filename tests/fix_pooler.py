"""``transaction_pooler``: what stands before many servers, and gives every transaction another session.

A real PostgreSQL session behind each transaction, chosen as PgBouncer does in transaction mode: the last one
used is the next one given, and a client keeps one only until its transaction ends.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.fix_cluster import Cluster


@dataclass
class _Backend:
    """A session of the server, past its start-up, with what it announced there."""

    stream: socket.socket
    greeting: bytes


@dataclass
class TransactionPooler:
    """Listens on a loopback port; ``sessions`` counts the server sessions that it opened."""

    server: Cluster
    dbname: str
    listener: socket.socket
    idle: list[_Backend] = field(default_factory=list)
    sessions: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dsn(self) -> str:
        port = self.listener.getsockname()[1]
        where = f"host=127.0.0.1 port={port} dbname={self.dbname} user=postgres"
        return f"{where} sslmode=disable gssencmode=disable"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=10)

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        with client, suppress(OSError, ConnectionError):
            (length,) = struct.unpack("!i", _exactly(client, 4))
            _exactly(client, length - 4)
            backend = self._take()
            client.sendall(backend.greeting)
            self._give(backend)
            while (request := client.recv(65536)) and request[:1] != b"X":
                backend = self._take()
                backend.stream.sendall(request)
                _until_idle(backend.stream, client)
                self._give(backend)

    def _take(self) -> _Backend:
        with self.lock:
            if self.idle:
                return self.idle.pop()
            self.sessions += 1
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(f"{self.server.directory}/.s.PGSQL.{self.server.port}")
        words = f"user\0postgres\0database\0{self.dbname}\0\0".encode()
        stream.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
        greeting = b""
        while True:
            kind, body = _message(stream)
            greeting += kind + struct.pack("!i", len(body) + 4) + body
            if kind == b"Z":
                return _Backend(stream, greeting)

    def _give(self, backend: _Backend) -> None:
        with self.lock:
            self.idle.append(backend)


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _message(stream: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(stream, 1)
    (length,) = struct.unpack("!i", _exactly(stream, 4))
    return kind, _exactly(stream, length - 4)


def _until_idle(server: socket.socket, client: socket.socket) -> None:
    """Pass requests and answers on until the server says that it is in no transaction any more."""
    while True:
        ready, _, _ = select.select([server, client], [], [])
        if server not in ready:
            request = client.recv(65536)
            if not request:
                raise ConnectionError
            server.sendall(request)
            continue
        kind, body = _message(server)
        client.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        if kind == b"Z" and body == b"I":
            return


@pytest.fixture
def transaction_pooler(pg18: Cluster) -> Iterator[Callable[[str], TransactionPooler]]:
    """Makes poolers in transaction mode before a database of ``pg18``."""
    made: list[TransactionPooler] = []

    def make(dbname: str) -> TransactionPooler:
        listener = socket.create_server(("127.0.0.1", 0))
        pooler = TransactionPooler(pg18, dbname, listener)
        threading.Thread(target=pooler.serve, daemon=True).start()
        made.append(pooler)
        return pooler

    yield make
    for pooler in made:
        pooler.listener.close()
        for backend in pooler.idle:
            backend.stream.close()
