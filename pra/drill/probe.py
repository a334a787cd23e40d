"""Asks the service all the time, as its users would, and keeps what it heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from pra.timing import utc_now

INTERVAL = 0.1
_SECONDS = 5.0


@dataclass(frozen=True)
class Sample:
    """One round over all endpoints.

    Attributes:
        at: When the round ended. ok: Every endpoint said 2xx.
        started: When the server behind it had started, in seconds since 1970; 0 where nobody said.
        what: The first endpoint that did not answer well, and how.
    """

    at: datetime
    ok: bool
    started: float
    what: str = ""


@dataclass
class Probe:
    """A thread of its own; a context manager."""

    url: str
    endpoints: Sequence[str]
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_SECONDS * (len(self.endpoints) + 2))

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=_SECONDS, trust_env=False) as client:
            while not self._stop.wait(INTERVAL):
                self.samples.append(ask(client, self.endpoints))

    def last(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    def first_ok(self, since: datetime, *, started_after: float = 0.0) -> Sample | None:
        """The first good answer from then on, by a server that had started after that second."""
        for sample in list(self.samples):
            if sample.ok and sample.at >= since and sample.started >= started_after:
                return sample
        return None

    def wait(self, since: datetime, seconds: float, *, started_after: float = 0.0) -> Sample | None:
        """Wait for such an answer; None when there was none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self.first_ok(since, started_after=started_after):
                return found
            time.sleep(INTERVAL / 2)
        return None


def ask(client: httpx.Client, endpoints: Sequence[str]) -> Sample:
    """One round: health first, then every endpoint until one does not answer with 2xx."""
    started = 0.0
    for endpoint in ("/api/health", *endpoints):
        try:
            answer = client.get(endpoint)
        except httpx.HTTPError as error:
            return Sample(utc_now(), False, started, f"GET {endpoint}: {type(error).__name__}")
        if not answer.is_success:
            return Sample(utc_now(), False, started, f"GET {endpoint}: {answer.status_code}")
        if endpoint == "/api/health":
            started = float(answer.json().get("started") or 0.0)
    return Sample(utc_now(), True, started)
