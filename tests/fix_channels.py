"""A mail server and a webhook on this machine: they keep what they are sent, in order."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Mailbox:
    """An SMTP server without TLS and login. ``closed``: it takes no mail."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    closed: bool = False

    @property
    def url(self) -> str:
        """Of Apprise."""
        return f"mailto://127.0.0.1:{self.port}?from=pra@example.com&to=oncall@example.com&mode=insecure"

    @property
    def subjects(self) -> list[str]:
        return [str(make_header(decode_header(mail["Subject"]))) for mail in self.mails]

    @property
    def texts(self) -> list[str]:
        """The first part of each, decoded."""
        found = []
        for mail in self.mails:
            part = next(part for part in mail.walk() if not part.is_multipart())
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            found.append(data.decode("utf-8"))
        return found


@dataclass
class Hook:
    """A webhook that takes JSON. ``status`` is what it answers."""

    port: int = 0
    posts: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    @property
    def url(self) -> str:
        """Of Apprise; with a secret in it."""
        return f"json://127.0.0.1:{self.port}/secret-of-the-hook"

    @property
    def titles(self) -> list[str]:
        return [str(post["title"]) for post in self.posts]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A running mail server."""
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 ready")
            while line := self.rfile.readline():
                word = line.strip().upper().split(b":")[0].split(b" ")[0]
                if word == b"DATA":
                    self._say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    box.mails.append(message_from_bytes(b"".join(lines)))
                    self._say("250 taken")
                elif word == b"MAIL" and box.closed:
                    self._say("451 come back later")
                elif word == b"QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with _running(Server(("127.0.0.1", 0), Handler)) as port:
        box.port = port
        yield box


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A running webhook."""
    shape = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if shape.status == 200:
                shape.posts.append(body)
            self.send_response(shape.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The test reads what was posted, not this."""

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        shape.port = port
        yield shape


@contextmanager
def _running(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="channel")
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
