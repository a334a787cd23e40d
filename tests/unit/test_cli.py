"""The command line's frame: exit codes, error lines, one JSON object, signals, and no Prefect."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.cli import keys
from deployments.cli.app import run
from deployments.cli.output import Output, size
from tests.fix_slack import Slack

TOML = """
language = "{language}"
[targets.akig]
dsn = "host=127.0.0.1 port={port} user=backup dbname=akig"
repositories = ["local"]
[repositories.local]
url = "file://{directory}/repository"
[encryption]
recipients = []
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a pra.toml, as an operator has it."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("PRA_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "pra.toml").write_text(TOML.format(language="en", port=1, directory=tmp_path))
    return tmp_path


@pytest.fixture
def deaf_listen() -> Iterator[socket.socket]:
    """A server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(30)
        yield listener


WRONG_USAGE = {
    "no-such-command": (["bakcup"], "no such command 'bakcup'", "pra --help"),
    "no-such-option": (["backup", "--quick"], "no such option: --quick", "pra backup --help"),
    "argument-missing": (["restore"], "missing argument 'TARGET'", "pra restore --help"),
    "option-missing": (["restore", "akig"], "missing option '--into'", "pra restore --help"),
    "no-such-target": (["backup", "akik"], "choose target: no such target: 'akik'", "Did you mean akig?"),
    "settings-file-missing": (["--config", "none.toml", "backups"], "No such file", "pra.toml.example"),
    "password-on-the-command-line": (
        ["restore", "akig", "--into", "postgresql://me:hunter2@localhost/x"],
        "--into holds a password",
        "PGPASSWORD",
    ),
    "destination-without-tls": (
        ["restore", "akig", "--into", "postgresql://me@db.example.com/x"],
        "--into leaves this machine without TLS",
        "sslmode",
    ),
}


@pytest.mark.parametrize(("argv", "complaint", "hint"), WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage_exits_64_with_a_fact_and_a_hint(
    home: Path, capsys: pytest.CaptureFixture[str], argv: list[str], complaint: str, hint: str
) -> None:
    assert run(argv) == 64
    written = capsys.readouterr()
    error, advice = written.err.strip().splitlines()
    assert error.startswith("error: ")
    assert complaint in error
    assert advice.startswith("hint: ")
    assert hint in advice
    assert written.out == ""
    assert "hunter2" not in written.err


def test_an_error_under_json_is_one_object_on_stdout(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backup", "akik", "--json"]) == 64
    assert json.loads(capsys.readouterr().out) == {
        "schema": "pra/error/1",
        "error": {
            "op": "choose target",
            "message": "no such target: 'akik'",
            "hint": "Did you mean akig?",
            "transient": False,
        },
    }


def test_without_a_command_the_help_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 64
    assert "backup" in capsys.readouterr().out
    assert run(["--version"]) == 0


def test_keys_are_made_once_rotated_and_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["key", "make", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["schema"] == "pra/key/1"
    assert made["recipient"].startswith("age1")
    assert made["signing_public_key"].startswith("ed25519:")
    assert run(["key", "make"]) == 64
    assert "exists already" in capsys.readouterr().err
    assert run(["key", "rotate", "--json"]) == 0
    rotated = json.loads(capsys.readouterr().out)
    assert rotated["recipient"] != made["recipient"]
    assert run(["key", "sheet"]) == 0
    sheet = capsys.readouterr().out
    assert sheet.count("AGE-SECRET-KEY-1") == 2
    assert "file://" in sheet


def test_what_people_read_is_in_their_language(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "pra.toml").write_text(TOML.format(language="fr", port=1, directory=home))
    assert run(["key", "make"]) == 0
    assert "À mettre dans pra.toml" in capsys.readouterr().out


def test_a_mistake_of_ours_shows_its_place_and_not_its_text(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise ValueError("password is hunter2")

    monkeypatch.setattr(keys, "make_keys", broken)
    assert run(["key", "make"]) == 1
    written = capsys.readouterr()
    assert "unexpected ValueError in " in written.err
    assert "hunter2" not in written.err + written.out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_work_and_tells_itself(
    home: Path, deaf_listen: socket.socket, signum: signal.Signals
) -> None:
    (home / "pra.toml").write_text(
        TOML.format(language="en", port=deaf_listen.getsockname()[1], directory=home)
    )
    subprocess.run([sys.executable, "-m", "deployments.cli", "key", "make"], check=True, capture_output=True)
    backup = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "backup"], stderr=subprocess.PIPE, text=True
    )
    connection, _ = deaf_listen.accept()  # from here on it waits for an answer
    backup.send_signal(signum)
    _, stderr = backup.communicate(timeout=15)
    connection.close()
    assert backup.returncode == 128 + signum
    assert f"error: run: stopped by signal {int(signum)}" in stderr


def test_a_failure_is_told_to_the_people_on_call(
    home: Path,
    slack: Slack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (home / "repository").mkdir(mode=0o700)
    monkeypatch.setenv("PRA_ALERTS__SLACK_WEBHOOK", slack.webhook)
    assert run(["key", "make"]) == 0
    assert run(["backup"]) == 1
    (told,) = slack.posts
    assert "backup" in told.text
    assert "akig" in told.text
    message = capsys.readouterr().err.partition("error: ")[2].splitlines()[0]
    assert message.partition(": ")[2][:30] in told.text
    assert run(["restore", "akig", "--into", "nowhere"]) == 64
    assert run(["backups"]) == 0
    assert len(slack.posts) == 1, "an operator at the keyboard sees his own mistakes"


@pytest.mark.parametrize(
    ("command", "url", "complaint"),
    [
        ("backup", "", "no Prefect API is configured"),
        ("verify", "http://127.0.0.1:1/api", "no Prefect API answers at"),
    ],
)
def test_without_a_prefect_api_flow_exits_69(home: Path, command: str, url: str, complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", command, "--flow", "--json"],
        env=os.environ | ({"PREFECT_API_URL": url} if url else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert complaint in json.loads(done.stdout)["error"]["message"]


def test_loading_the_command_line_loads_neither_prefect_nor_great_expectations() -> None:
    code = "import sys, deployments.cli; print(sorted({'prefect', 'great_expectations'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (647_000_000, "647 MB"), (2.4e12, "2.4 TB")],
)
def test_sizes_are_written_as_people_read_them(count: int | None, text: str) -> None:
    assert size(count) == text


def test_progress_is_plain_lines_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Output(json=True, translate=str).follow() as report:
        for done in range(101):
            report("fetch", done, 100)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == ["fetch: 0%", "fetch: 100%"]
