"""A server in the shape of Slack's: keeps what it is sent, and answers, refuses or says nothing at all.

It knows threads, and says what it has when it is asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pra.settings import Alerts

TOKEN = "xoxb-only-for-tests-000111222333"
CHANNEL_ID = "C0PRATESTS"


@dataclass(frozen=True)
class Post:
    """One message: where it was sent, with which authorization, and its content."""

    path: str
    authorization: str
    body: dict[str, Any]
    ts: str = ""

    @property
    def header(self) -> str:
        """The first line, as people see it."""
        return str(self.body["blocks"][0]["text"]["text"])

    @property
    def text(self) -> str:
        """Every word of it that a person may read."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass
class Slack:
    """``answer`` is the status and body of the next answers; ``mute`` holds them back until it is cleared.

    Attributes:
        patience: So many next requests are answered with 429 and this ``Retry-After``, in seconds.
        arrived: Set when a message has come.
        silence: With ``lose`` a message is dropped, with ``keep`` it is kept; its sender hears nothing.
    """

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    answer: tuple[int, dict[str, Any] | str] = (200, {"ok": True})
    mute: threading.Event | None = None
    patience: tuple[int, int] = (0, 1)
    silence: str = ""
    arrived: threading.Event = field(default_factory=threading.Event)

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
            raw = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            if slack.mute is not None:
                slack.mute.wait(60)
            body = json.loads(raw) if raw.startswith("{") else {k: v[0] for k, v in parse_qs(raw).items()}
            if "/conversations." in self.path:
                self._say(200, _known(slack, self.path, body))
                return
            if slack.patience[0]:
                slack.patience = (slack.patience[0] - 1, slack.patience[1])
                self._say(429, {"ok": False, "error": "ratelimited"}, slack.patience[1])
                return
            for name in ("blocks", "metadata"):
                if isinstance(body.get(name), str):
                    body[name] = json.loads(body[name])
            ts = f"1795682406.{len(slack.posts):06d}"
            taken = slack.answer[0] == 200 and slack.answer[1] in ({"ok": True}, "ok")
            if slack.silence != "lose":
                post = Post(self.path, self.headers.get("Authorization", ""), body, ts if taken else "")
                slack.posts.append(post)
            slack.arrived.set()
            if slack.silence:
                self.close_connection = True
                return
            status, answer = slack.answer
            if answer == {"ok": True}:
                answer = {"ok": True, "channel": CHANNEL_ID, "ts": ts}
            self._say(status, answer)

        do_GET = do_POST

        def _say(self, status: int, answer: dict[str, Any] | str, retry_after: int | None = None) -> None:
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            if retry_after is not None:
                self.send_header("Retry-After", str(retry_after))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """The test reads what was posted, not this."""

    return Handler


def _known(slack: Slack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What it has, as ``conversations.list``, ``.history`` and ``.replies`` say it."""
    words = body | {key: value[0] for key, value in parse_qs(urlsplit(path).query).items()}
    if "conversations.list" in path:
        return {"ok": True, "channels": [{"id": CHANNEL_ID, "name": "ops"}]}
    if words.get("channel") != CHANNEL_ID:
        return {"ok": False, "error": "channel_not_found"}
    start = words.get("ts") if "conversations.replies" in path else None
    taken = [post for post in slack.posts if post.ts]
    found = [post for post in taken if post.body.get("thread_ts") == start or post.ts == start]
    return {"ok": True, "messages": [{"ts": p.ts, "metadata": p.body.get("metadata")} for p in found]}


@pytest.fixture
def slack() -> Iterator[Slack]:
    """A running server that accepts everything."""
    shape = Slack()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(shape))
    shape.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="slack")
    thread.start()
    yield shape
    if shape.mute is not None:
        shape.mute.set()
    server.shutdown()
    server.server_close()
    thread.join(5)
