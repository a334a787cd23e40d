"""``pra.toml`` and ``.env`` as they land: whole, private, usable, and never over a file of the operator's."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pra.errors import SettingsError, UsageError
from pra.settings_source import read_dotenv
from pra.setup import progress as progresses
from pra.setup.answers import Answers, RepositoryAnswer, answers_from, name_from, named_values
from pra.setup.document import dotenv_text, more_text, toml_text
from pra.setup.landing import Landing, land, refuse_existing
from pra.setup.progress import Progress

OTHERS = (12345, 12346) if os.getuid() == 0 else (os.getuid(), os.getgid())
PASSWORD = 'it\'s "odd" \\ # ${HOME} é end'
ANSWERS = Answers(
    "en",
    "akig",
    "host=127.0.0.1 user=backup dbname='a \"b\"'",
    "logical",
    (
        RepositoryAnswer("near", "file:///srv/near"),
        RepositoryAnswer("far", "s3://bucket/p", object_lock=True),
    ),
    password_from="env",
    critical_tables=("payments", "gestion.contrats"),
    recipients=("age1abc",),
    slack_channel="#ops",
)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "state"))


def landing(tmp_path: Path, **changed: object) -> Landing:
    known = {
        "config": tmp_path / "pra.toml",
        "toml": toml_text(ANSWERS, str),
        "secrets": {"PRA_TARGETS__AKIG__PASSWORD": PASSWORD},
        "files": {"rules/akig.yaml": "schema: pra-suite/1\n"},
    }
    return Landing(**(known | changed))  # type: ignore[arg-type]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_lands_is_what_was_answered(tmp_path: Path) -> None:
    settings = land(landing(tmp_path))
    target = settings.targets["akig"]
    assert (target.dsn, target.engine, target.repositories) == (ANSWERS.dsn, "logical", ["near", "far"])
    assert target.password is not None
    assert target.password.get_secret_value() == PASSWORD
    assert settings.repositories["far"].object_lock
    assert settings.alerts.slack_channel == "#ops"
    assert PASSWORD not in (tmp_path / "pra.toml").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert files_in(tmp_path) == {"pra.toml", ".env", "rules/akig.yaml"}, "nothing else is left behind"


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pra.toml").write_text("# mine\n")
    with pytest.raises(UsageError, match="exists already") as raised:
        land(landing(tmp_path))
    assert "--add-target" in raised.value.hint
    assert (tmp_path / "pra.toml").read_text() == "# mine\n"
    with pytest.raises(UsageError):
        refuse_existing(tmp_path / "pra.toml")


def test_settings_that_cannot_be_used_are_not_written(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\n")
    (tmp_path / ".env").chmod(0o600)
    broken = replace(ANSWERS, repositories=())
    with pytest.raises(SettingsError, match=r"targets\.akig\.repositories"):
        land(landing(tmp_path, toml=toml_text(broken, str)))
    assert files_in(tmp_path) == {".env"}
    assert (tmp_path / ".env").read_text() == "OTHER=1\n"


def test_an_env_file_keeps_its_other_lines(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# mine\nOTHER='x'\nPRA_TARGETS__AKIG__PASSWORD=old\n")
    (tmp_path / ".env").chmod(0o600)
    land(landing(tmp_path))
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines[:2] == ["# mine", "OTHER='x'"]
    assert len(lines) == 3
    assert read_dotenv(tmp_path / ".env")["PRA_TARGETS__AKIG__PASSWORD"] == PASSWORD


def test_an_env_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / ".env").chmod(0o644)
    with pytest.raises(SettingsError, match="others could read"):
        land(landing(tmp_path))
    assert files_in(tmp_path) == {".env"}


def test_an_env_file_keeps_its_bytes_and_its_owner(tmp_path: Path) -> None:
    """Of the account that runs backups, say, while root adds a target."""
    land(landing(tmp_path))
    kept = "OTHER='a\u2028b\x85c'"
    (tmp_path / ".env").write_text(f"{kept}\n")
    for name in (".env", "pra.toml"):
        os.chown(tmp_path / name, *OTHERS)
    before = (tmp_path / "pra.toml").read_bytes()
    land(landing(tmp_path, toml=before.decode() + "# more\n", before=before, files={}))
    assert (tmp_path / ".env").read_text(encoding="utf-8").startswith(f"{kept}\n")
    found = [(tmp_path / name).stat() for name in (".env", "pra.toml")]
    assert {(each.st_uid, each.st_gid) for each in found} == {OTHERS}


def test_rules_that_are_there_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "akig.yaml").write_text("# mine\n")
    with pytest.raises(UsageError, match="exists already"):
        land(landing(tmp_path))
    assert files_in(tmp_path) == {"rules/akig.yaml"}
    assert (tmp_path / "rules" / "akig.yaml").read_text() == "# mine\n"


def test_a_line_break_in_a_secret_is_refused() -> None:
    with pytest.raises(UsageError, match="line break"):
        dotenv_text("", {"PRA_ALERTS__TIER1": "a\nb"})


def test_a_target_is_added_to_what_is_there(tmp_path: Path) -> None:
    land(landing(tmp_path))
    before = (tmp_path / "pra.toml").read_bytes()
    more = replace(ANSWERS, target="books", dsn="host=/tmp dbname=books", password_from="libpq")
    text = before.decode() + more_text(more, ["near", "far"], str)
    settings = land(landing(tmp_path, toml=text, before=before, secrets={}, files={}))
    assert set(settings.targets) == {"akig", "books"}
    assert (tmp_path / "pra.toml").read_bytes().startswith(before), "what was there stays, comments and all"


def test_a_file_that_changed_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    land(landing(tmp_path))
    with pytest.raises(UsageError, match="changed meanwhile"):
        land(landing(tmp_path, before=b"something else"))
    more = replace(ANSWERS, target="books", dsn="host=/tmp dbname=books")
    text = (tmp_path / "pra.toml").read_text() + more_text(more, ["near", "far"], str)
    about = {"PRA_TARGETS__BOOKS__PASSWORD": "x"}
    with pytest.raises(UsageError, match="changed meanwhile"):
        land(landing(tmp_path, toml=text, before=b"something else", secrets=about, files={}))
    assert "BOOKS" not in (tmp_path / ".env").read_text(), "every command would refuse that"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write into") as raised:
        land(landing(tmp_path, config=tmp_path / "none" / "pra.toml"))
    assert "--config" in raised.value.hint


def test_progress_is_read_back_and_belongs_to_one_file(tmp_path: Path) -> None:
    config = tmp_path / "pra.toml"
    progress = Progress(config, ANSWERS).with_step("keys").with_step("written")
    (tmp_path / "state").mkdir(mode=0o700)
    progresses.save(tmp_path / "state", progress)
    assert progresses.load(tmp_path / "state", config) == progress
    assert progress.unfinished
    assert not progress.with_step("proof").unfinished
    assert progresses.load(tmp_path / "state", tmp_path / "other.toml") == Progress(tmp_path / "other.toml")
    assert PASSWORD not in progresses.path_in(tmp_path / "state").read_text()
    progresses.path_in(tmp_path / "state").write_text("{half")
    assert progresses.load(tmp_path / "state", config) == Progress(config)
    assert answers_from(ANSWERS.as_json()) == ANSWERS


@pytest.mark.parametrize(
    ("database", "name"),
    [("akig", "akig"), ("My_DB", "my-db"), ("---", "database"), ("é" * 50, "database"), ("a" * 60, "a" * 40)],
)
def test_a_name_is_made_from_the_databases(database: str, name: str) -> None:
    assert name_from(database) == name


@pytest.mark.parametrize("given", [["x"], ["a="], ["A_B=1"], ["a=1", "a=2"]])
def test_an_option_of_another_form_is_refused(given: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        named_values("--repository", given)
    assert raised.value.hint
