"""A server in the shape of Slack's: keeps what it is sent, and answers, refuses or says nothing at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from pra.settings import Alerts

TOKEN = "xoxb-only-for-tests-000111222333"


@dataclass(frozen=True)
class Post:
    """One message: where it was sent, with which authorization, and its content."""

    path: str
    authorization: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """Every word of it that a person may read."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass
class Slack:
    """``answer`` is the status and body of the next answers; ``mute`` holds them back until it is cleared."""

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    answer: tuple[int, dict[str, Any] | str] = (200, {"ok": True})
    mute: threading.Event | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T000/B000/secretpath"

    def settings(self, **changed: Any) -> Alerts:
        fields = {"slack_token": TOKEN, "slack_channel": "#ops", "slack_base_url": self.base_url, **changed}
        return Alerts.model_validate(fields)


def _handler(slack: Slack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if slack.mute is not None:
                slack.mute.wait(60)
            body = json.loads(raw) if raw.startswith("{") else {k: v[0] for k, v in parse_qs(raw).items()}
            if isinstance(body.get("blocks"), str):
                body["blocks"] = json.loads(body["blocks"])
            slack.posts.append(Post(self.path, self.headers.get("Authorization", ""), body))
            status, answer = slack.answer
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """The test reads what was posted, not this."""

    return Handler


@pytest.fixture
def slack() -> Iterator[Slack]:
    """A running server that accepts everything."""
    shape = Slack()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(shape))
    shape.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, name="slack")
    thread.start()
    yield shape
    if shape.mute is not None:
        shape.mute.set()
    server.shutdown()
    server.server_close()
    thread.join(5)
