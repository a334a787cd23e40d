"""Prometheus text on a loopback port, until stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pra.errors import PraError, UsageError
from pra.watch.metrics.prometheus import CONTENT_TYPE, exposition
from pra.watch.metrics.whole import TargetMetrics

FRESH_SECONDS = 60.0
"""Whoever asks again within this gets the same answer: records do not change faster."""
Gather = Callable[[], Sequence[TargetMetrics]]


class Answers:
    """The text of a moment ago, or a new one; one gathering at a time, however many ask."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self._lock = threading.Lock()
        self._text, self._made = b"", float("-inf")

    def text(self) -> bytes:
        """Raises PraError when nothing could be gathered."""
        with self._lock:
            if time.monotonic() - self._made > FRESH_SECONDS:
                self._text = exposition(self._gather()).encode()
                self._made = time.monotonic()
            return self._text


def serve(gather: Gather, port: int, say: Callable[[str], None]) -> None:
    """Answer ``GET /metrics`` on 127.0.0.1.

    Args:
        port: 0 takes a free one.
        say: Is told the address.

    Raises:
        UsageError: The port is taken, or none.
    """
    server = open_server(Answers(gather), port)
    say(f"serving http://127.0.0.1:{server.server_address[1]}/metrics")
    try:
        server.serve_forever()
    finally:
        server.server_close()


def open_server(answers: Answers, port: int) -> ThreadingHTTPServer:
    """Bound and listening, not yet answering."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path.split("?", 1)[0] != "/metrics":
                self._answer(404, b"ask for /metrics\n", "text/plain")
                return
            try:
                self._answer(200, answers.text(), CONTENT_TYPE)
            except PraError as error:
                # A target that fails is seen by Prometheus as down: that is the truth.
                self._answer(503, f"{error.message}\n".encode(), "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: every scrape would be a line."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no port"
        raise UsageError(
            f"cannot listen on port {port}: {reason.lower()}", op="serve metrics", hint="Name another port."
        ) from None
    server.daemon_threads = True
    return server
