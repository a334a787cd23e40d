"""The doors beside ``pra``, run by the shell that cron would run them with; and what the shell completes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.cli.app import COMMANDS, run

ROOT = Path(__file__).parents[2]
TOML = """
[targets.akig]
dsn = "host=127.0.0.1 port=1 user=backup dbname=akig"
repositories = ["local"]
[targets.archive]
dsn = "host=127.0.0.1 port=1 user=backup dbname=archive"
repositories = ["local"]
[repositories.local]
url = "file://{home}/local"
[encryption]
recipients = []
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "pra.toml").write_text(TOML.format(home=tmp_path))
    (tmp_path / "local").mkdir()
    return tmp_path


def ran(home: Path, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("PRA_", "PREFECT_", "PG", "LC_", "LANG"))
    }
    own = {"PRA_STATE_DIR": str(home / "state"), **variables}
    return subprocess.run(
        ["sh", ROOT / script, *arguments], cwd=home, env=clean | own, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip


def test_daily_takes_each_target_in_its_turn_and_looks_afterwards(home: Path) -> None:
    """No server answers: both are tried all the same, and the log that operators follow says so."""
    assert subprocess.run(
        [ROOT / ".venv" / "bin" / "pra", "key", "make"], cwd=home, capture_output=True, check=False,
        env=os.environ | {"PRA_STATE_DIR": str(home / "state")},
    ).returncode == 0  # fmt: skip
    done = ran(home, "quickstart.sh", "daily")
    assert done.returncode == 1, done.stderr
    lines = (home / "state" / "logs" / "akig_backup.log").read_text().splitlines()
    assert [line.split()[2:5] for line in lines] == [
        ["CRITICAL", "akig", "backup:"],
        ["CRITICAL", "archive", "backup:"],
    ]
    assert "CRITICAL" in (home / "state" / "logs" / "akig_monitoring.log").read_text()


def test_an_action_that_is_none_is_refused_with_those_there_are(home: Path) -> None:
    done = ran(home, "quickstart.sh", "restore")
    assert (done.returncode, done.stdout) == (64, "")
    assert "error: no such action: restore" in done.stderr
    assert "test-restore" in done.stderr
    assert ran(home, "quickstart.sh").returncode == 64


@pytest.mark.parametrize(
    ("language", "says"), [("en_GB.UTF-8", "looks once"), ("fr_FR.UTF-8", "regarde une fois")]
)
def test_its_help_is_in_the_operators_language(home: Path, language: str, says: str) -> None:
    assert says in ran(home, "quickstart.sh", "help", LANG=language).stdout


def test_settings_that_cannot_be_used_stop_it_before_anything(home: Path) -> None:
    (home / "pra.toml").write_text("[targets]\n")
    done = ran(home, "quickstart.sh", "test-restore")
    assert done.returncode == 64
    assert "no target is configured" in done.stderr


def test_every_action_names_a_command_that_there_is() -> None:
    text = (ROOT / "quickstart.sh").read_text() + (ROOT / "loadtest.sh").read_text()
    opened = {line.split('"$pra" ', 1)[1].split()[0] for line in text.splitlines() if 'exec "$pra" ' in line}
    assert opened == {"init", "monitor", "status"}
    assert {*opened, "backup", "verify", "loadtest"} <= set(COMMANDS)
    assert "deployments.cli.names" in text


# -- completion ----------------------------------------------------------------------------------


Completed = Callable[[str, int], list[str]]


@pytest.fixture
def completed(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Completed:
    """What bash is offered for the word of that number."""

    def complete(line: str, word: int) -> list[str]:
        monkeypatch.chdir(home)
        monkeypatch.delenv("PRA_CONFIG", raising=False)
        given = {"_PRA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(word)}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit):
            run([])
        return capsys.readouterr().out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("pra status a", 2, ["akig", "archive"]),
        ("pra restore arc", 2, ["archive"]),
        ("pra drill --scenario data-", 3, ["data-corruption", "data-loss"]),
        ("pra verify --repository l", 3, ["local"]),
        ("pra doc", 1, ["doctor"]),
    ],
)
def test_the_shell_completes_names(completed: Completed, line: str, word: int, offered: list[str]) -> None:
    assert completed(line, word) == offered


def test_a_broken_file_offers_nothing_and_no_traceback(home: Path, completed: Completed) -> None:
    (home / "pra.toml").write_text("[targets")
    assert completed("pra status a", 2) == []
    (home / "other.toml").write_text("[targets.books]\n")
    assert completed("pra --config other.toml status b", 4) == ["books"]


def test_the_script_for_the_shell_calls_back_what_is_tested_here() -> None:
    # The shell that asks is the one it is written for; with a second command bash stays there to be found.
    command = f"{ROOT}/.venv/bin/pra --show-completion && true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert "_PRA_COMPLETE=complete_bash" in done.stdout
