"""The application started against a restored database: a small HTTP server that really reads it."""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from checks import Checks
from pra.model import CheckResult, Status
from pra.settings import Api, Target
from tests.fix_akig import Akig, target
from tests.fix_cluster import free_port

APPLICATION = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
import psycopg

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/api/health":
            with psycopg.connect(os.environ["PRA_RESTORED_DSN"]) as connection:
                connection.execute("SELECT count(*) FROM contracts")
        code = {"/api/health": 200, "/api/contracts": 401, "/api/away": 302, "/": 404}.get(path, 500)
        self.send_response(code)
        self.end_headers()
    def log_message(self, *words): pass

assert psycopg.connect(sys.argv[2])
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    path = tmp_path / "application.py"
    path.write_text(APPLICATION)
    return path


def ask(akig: Akig, asked: Target) -> CheckResult:
    with akig.restored(target=asked) as db:
        (result,) = Checks().run("service", db)
    return result


def served(start: str, port: int, *endpoints: str, seconds: float = 20) -> Target:
    url = f"http://127.0.0.1:{port}"
    api = Api(endpoints=list(endpoints), restore_url=url, start=start, timeout=timedelta(seconds=seconds))
    return target(api=api)


def start(application: Path, port: int) -> str:
    return f"{sys.executable} {application} {port} {{dsn}}"


def test_an_application_that_answers_passes_and_is_ended(akig: Akig, application: Path) -> None:
    port = free_port()
    result = ask(akig, served(start(application, port), port, "/api/health", "/api/contracts?limit=1"))
    assert result.status is Status.PASSED, result
    assert [line.rsplit(" in ")[0] for line in result.details] == [
        "GET /api/health: 200",
        "GET /api/contracts: 401",
    ]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [("/api/broken", "500"), ("/api/away", "302"), ("/api/contracts", "at least one must answer 2xx")],
)
def test_an_endpoint_that_does_not_serve_fails(
    akig: Akig, application: Path, endpoint: str, says: str
) -> None:
    port = free_port()
    result = ask(akig, served(start(application, port), port, endpoint))
    assert result.status is Status.FAILED
    assert says in result.reason


def test_an_application_that_never_answers_fails_in_time(akig: Akig) -> None:
    started = time.monotonic()
    result = ask(akig, served("sleep 60", free_port(), "/", seconds=1))
    assert result.status is Status.FAILED
    assert "nothing answers" in result.reason
    assert time.monotonic() - started < 15


def test_an_application_that_dies_fails_with_its_own_words(akig: Akig) -> None:
    dying = f"{sys.executable} -c \"raise SystemExit('error: no such schema')\""
    result = ask(akig, served(dying, free_port(), "/"))
    assert result.status is Status.FAILED
    assert "no such schema" in result.reason


def test_a_command_that_is_not_there_fails(akig: Akig) -> None:
    assert ask(akig, served("no-such-command", free_port(), "/")).status is Status.FAILED


def test_somebody_elses_answer_proves_nothing(akig: Akig, application: Path) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        result = ask(akig, served(start(application, server.server_port), server.server_port, "/api/health"))
    finally:
        server.shutdown()
        server.server_close()
    assert result.status is Status.SKIPPED
    assert "already answers" in result.reason
