"""A small watched world: one target, all channels on this machine, passes at moments of choice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pra.settings import Settings, load_settings
from pra.timing import to_iso
from pra.watch.incident_model import Book
from pra.watch.incident_store import IncidentStore
from pra.watch.status.finding import Finding, Level
from tests.fix_channels import Hook, Mailbox
from tests.fix_slack import TOKEN, Slack

START = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
UP = Finding("database", "akig", Level.OK, "answers in 3 ms", 3.0, "ms")
DOWN = Finding("database", "akig", Level.CRITICAL, "does not answer: connection refused", hint="Start it.")
TOML = """\
language = "{language}"
[targets.akig]
dsn = "postgresql://backup@127.0.0.1:5432/akig"
repositories = ["near"]
[repositories.near]
url = "file://{home}/near"
[encryption]
recipients = []
[alerts]
slack_channel = "#ops"
slack_base_url = "{slack}"
runbook = "https://wiki.example.com/runbook"
"""


class Forks:
    """Runs passes, each in a process of its own; their modules are loaded once in a test run."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, request: dict[str, Any], kill: Callable[[], object] | None) -> int:
        """How one pass ended: 0, or the negative signal. It is killed as soon as ``kill`` returns."""
        try:
            return self._run(request, kill)
        except BaseException:
            self.stop()  # whoever comes next gets no answer that was meant for this one
            raise

    def _run(self, request: dict[str, Any], kill: Callable[[], object] | None) -> int:
        if self._process is None:
            command = [sys.executable, "-m", "tests.incident_child"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        child = self._process
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        pid = int(child.stdout.readline())
        if kill is not None:
            kill()
            os.kill(pid, signal.SIGKILL)
        return int(child.stdout.readline())

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    found = Forks()
    yield found
    found.stop()


@dataclass
class Watched:
    """Where passes are run, each in a process that may be killed.

    Attributes:
        host: Another host has its own state, and shares the repository.
    """

    home: Path
    slack: Slack
    mailbox: Mailbox
    hook: Hook
    forks: Forks
    language: str = "en"
    host: str = "one"

    @property
    def config(self) -> Path:
        path = self.home / f"pra-{self.language}.toml"
        if not path.exists():
            (self.home / "near").mkdir(exist_ok=True)
            path.write_text(TOML.format(language=self.language, home=self.home, slack=self.slack.base_url))
        return path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PRA_STATE_DIR": str(self.home / f"state-{self.host}"),
            "PRA_ALERTS__SLACK_TOKEN": TOKEN,
            "PRA_ALERTS__TIER1": self.mailbox.url,
            "PRA_ALERTS__TIER2": self.hook.url,
        }

    @property
    def settings(self) -> Settings:
        return load_settings(self.config, self.environment)

    @property
    def book(self) -> Book:
        return IncidentStore.of(self.settings).read()

    def look(self, minutes: float, *findings: Finding) -> None:
        """One pass, so many minutes after the start, that ends well."""
        assert self._run(minutes, {"findings": [finding.as_json() for finding in findings]}) == 0

    def ack(self, minutes: float, who: str) -> None:
        assert self._run(minutes, {"findings": [], "ack": who}) == 0

    def killed(self, minutes: float, findings: Sequence[Finding], when: Callable[[], object]) -> None:
        """One pass that is killed as soon as ``when`` returns."""
        document = {"findings": [finding.as_json() for finding in findings]}
        assert self._run(minutes, document, when) == -signal.SIGKILL

    def _run(self, minutes: float, document: dict[str, Any], kill: Callable[[], object] | None = None) -> int:
        at = to_iso(START + timedelta(minutes=minutes))
        request = {"config": str(self.config), "environment": self.environment, "at": at, **document}
        return self.forks.run(request, kill)


@pytest.fixture
def watched(tmp_path: Path, slack: Slack, mailbox: Mailbox, hook: Hook, forks: Forks) -> Watched:
    """A watched world with Slack, a mail server and a webhook."""
    return Watched(tmp_path, slack, mailbox, hook, forks)
