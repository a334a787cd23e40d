"""Every way to write pra.toml, .env or a PRA_ variable wrongly ends in one error that says what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from pra.errors import NotFoundError, SettingsError, UsageError
from pra.settings import Settings, load_settings, rpo_warning

GOOD = """
language = "fr"
[targets.akig]
dsn = "postgresql://backup@127.0.0.1:5432/akig"
rpo = "1h"
rto = "30min"
repositories = ["local", "off-site"]
critical_tables = ["users"]
suites = ["akig", "rules/mine.yaml"]
freshness = [{ table = "payments", column = "paid_at", max_age = "2d" }]
api = { url = "https://akig.example.com", endpoints = ["/api/health"] }
[repositories.local]
url = "file:///backups"
[repositories.off-site]
url = "s3://akig-dr/pra"
endpoint = "https://s3.example.com"
object_lock = true
[encryption]
recipients = []
"""


def load(
    directory: Path, toml: str = GOOD, env: Mapping[str, str] | None = None, dotenv: str = ""
) -> Settings:
    (directory / "pra.toml").write_text(toml)
    if dotenv:
        (directory / ".env").write_text(dotenv)
        (directory / ".env").chmod(0o600)
    variables = {"PRA_STATE_DIR": str(directory / "state"), "HOME": str(directory), **(env or {})}
    return load_settings(directory / "pra.toml", variables)


def test_a_good_file_is_read_with_its_units_and_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    target = settings.target()
    assert (settings.language, target.name, target.engine, target.digest) == (
        "fr",
        "akig",
        "logical",
        "digest",
    )
    assert (target.rpo, target.rto, target.lock_wait) == (
        timedelta(hours=1),
        timedelta(minutes=30),
        timedelta(seconds=30),
    )
    assert target.freshness[0].max_age == timedelta(days=2)
    assert target.suites == ["akig", tmp_path / "rules/mine.yaml"]
    assert [repository.name for repository in settings.repositories_of(target)] == ["local", "off-site"]
    assert settings.retention.pitr_window == timedelta(days=7)


def test_the_state_directory_is_private_and_holds_the_default_keys(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700
    assert settings.encryption.identity_file == tmp_path / "state/keys/identity.txt"
    assert settings.signing.key_file == tmp_path / "state/keys/signing.key"


def test_the_state_directory_defaults_to_the_xdg_one(tmp_path: Path) -> None:
    (tmp_path / "pra.toml").write_text(GOOD)
    plain = load_settings(tmp_path / "pra.toml", {"HOME": str(tmp_path)})
    chosen = load_settings(tmp_path / "pra.toml", {"XDG_STATE_HOME": str(tmp_path / "x")})
    assert plain.state_dir == tmp_path / ".local/state/pra"
    assert chosen.state_dir == tmp_path / "x/pra"


def test_recipients_never_said_differ_from_none_on_purpose(tmp_path: Path) -> None:
    said = load(tmp_path)
    silent = load(tmp_path, GOOD.replace("[encryption]\nrecipients = []", ""))
    assert said.encryption.recipients == []
    assert silent.encryption.recipients is None


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path).target().jobs = 4


def test_variables_win_over_dotenv_which_wins_over_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        env={"PRA_TARGETS__AKIG__JOBS": "8", "PRA_REPOSITORIES__OFF_SITE__SECRET_ACCESS_KEY": "hush"},
        dotenv="PRA_TARGETS__AKIG__JOBS=4\nPRA_TARGETS__AKIG__PASSWORD=secret\nOTHER=1\nPRA_LANGUAGE=en\n",
    )
    target = settings.target("akig")
    assert (target.jobs, settings.language) == (8, "en")
    assert target.password is not None
    assert target.password.get_secret_value() == "secret"
    key = settings.repositories["off-site"].secret_access_key
    assert key is not None
    assert key.get_secret_value() == "hush"


def test_a_secret_never_shows_in_a_repr(tmp_path: Path) -> None:
    assert "hunter2" not in repr(load(tmp_path, env={"PRA_TARGETS__AKIG__PASSWORD": "hunter2"}))


def test_lists_and_tables_come_as_json_or_words(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        env={
            "PRA_TARGETS__AKIG__CRITICAL_TABLES": "users, contracts",
            "PRA_ENCRYPTION__RECIPIENTS": '["age1abc"]',
            "PRA_TARGETS__AKIG__API": '{"endpoints": ["/x"], "timeout": "5s"}',
        },
    )
    assert settings.target().critical_tables == ["users", "contracts"]
    assert settings.encryption.recipients == ["age1abc"]
    assert settings.target().api is not None


def test_a_whole_target_can_come_from_variables(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        env={"PRA_TARGETS__NEW_ONE__DSN": "host=/run/x", "PRA_TARGETS__NEW_ONE__REPOSITORIES": "local"},
    )
    assert settings.target("new-one").dsn == "host=/run/x"


BAD_TOML = {
    "unknown-top-level-key": ('langage = "fr"\n' + GOOD, "unknown key langage", "Did you mean language?"),
    "unknown-nested-key": (
        GOOD.replace("rto =", "rtoo ="),
        "unknown key targets.akig.rtoo",
        "Did you mean targets.akig.rto?",
    ),
    "unknown-key-in-a-list": (
        GOOD.replace("column =", "colum ="),
        "unknown key targets.akig.freshness[0].colum",
        "Did you mean targets.akig.freshness[0].column?",
    ),
    "unknown-key-like-nothing": (
        GOOD + "[retention]\nzzzz = 1\n",
        "unknown key retention.zzzz",
        "Known here: daily",
    ),
    "name-given-twice": (
        GOOD.replace("rpo =", 'name = "x"\nrpo ='),
        "unknown key targets.akig.name",
        "header",
    ),
    "duration-without-unit": (
        GOOD.replace('"1h"', '"60"'),
        "targets.akig.rpo: not a duration: '60'",
        "30min",
    ),
    "duration-as-a-number": (GOOD.replace('"1h"', "60"), "targets.akig.rpo: not a duration: '60'", "30min"),
    "duration-negative": (GOOD.replace('"1h"', '"-1h"'), "not a duration: '-1h'", "30min"),
    "name-upper-case": (
        GOOD.replace("targets.akig", "targets.AKIG"),
        "targets.AKIG is not a usable name",
        "a-z",
    ),
    "name-too-long": (GOOD.replace("targets.akig", f"targets.{'a' * 41}"), "not a usable name", "1 to 40"),
    "name-climbs": (GOOD.replace("targets.akig", 'targets."../x"'), "not a usable name", "a-z"),
    "unknown-repository": (
        GOOD.replace('"local", ', '"locl", '),
        "unknown repository: 'locl'",
        "mean local?",
    ),
    "same-repository-twice": (GOOD.replace('"off-site"]', '"local"]'), "names 'local' twice", "once"),
    "no-repository": (
        GOOD.replace('["local", "off-site"]', "[]"),
        "targets.akig.repositories",
        "pra.toml.example",
    ),
    "no-dsn": (GOOD.replace("dsn =", "# dsn ="), "targets.akig.dsn is missing", "PRA_TARGETS__AKIG__DSN"),
    "not-a-dsn": (
        GOOD.replace("postgresql://backup@127", "mysql:/"),
        "dsn is not a PostgreSQL DSN",
        "postgresql://",
    ),
    "dsn-without-tls": (GOOD.replace("127.0.0.1", "db.example.com"), "without TLS", "sslmode=verify-full"),
    "dsn-one-host-of-two-remote": (
        GOOD.replace("127.0.0.1:5432", "localhost,10.0.0.9"),
        "without TLS",
        "sslmode",
    ),
    "dsn-prefers-tls": (
        GOOD.replace("127.0.0.1:5432/akig", "db/akig?sslmode=prefer"),
        "without TLS",
        "sslmode",
    ),
    "dsn-hidden-in-a-service": (
        GOOD.replace("postgresql://backup@127.0.0.1:5432/akig", "service=x"),
        "TLS",
        "sslmode",
    ),
    "endpoint-without-tls": (
        GOOD.replace("https://s3", "http://s3"),
        "repositories.off-site: endpoint leaves",
        "https",
    ),
    "repository-scheme": (GOOD.replace("file:///backups", "ftp://x/y"), "neither file:///", "Write one"),
    "repository-relative": (
        GOOD.replace("file:///backups", "file://backups"),
        "not an absolute file URL",
        "three",
    ),
    "engine-unknown": (
        GOOD.replace("rpo =", 'engine = "magic"\nrpo ='),
        "targets.akig.engine",
        "pra.toml.example",
    ),
    "language-unknown": (GOOD.replace('"fr"', '"de"'), "language", "pra.toml.example"),
    "target-is-a-word": ('targets = { akig = "x" }\n', "targets.akig is not a table", "[targets.akig]"),
    "section-is-a-word": ('targets = "x"\n', "targets is not a table", "[targets.NAME]"),
    "not-toml": ("language = \n", "is not TOML", "Mend the line"),
    "keeps-nothing": (
        GOOD + "[retention]\nhourly=0\ndaily=0\nweekly=0\nmonthly=0\n",
        "no backup would be kept",
        "one",
    ),
    "bindir-placeholder": (GOOD + '[postgres]\nbindir = "/x/{version}"\n', "unknown placeholder", "{major}"),
    "slack-without-tls": (
        GOOD + '[alerts]\nslack_base_url = "http://a.b/"\n',
        "slack_base_url leaves",
        "https",
    ),
}


@pytest.mark.parametrize(("toml", "complaint", "hint"), BAD_TOML.values(), ids=BAD_TOML)
def test_a_bad_file_is_refused(tmp_path: Path, toml: str, complaint: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, toml)
    assert complaint in caught.value.message
    assert hint in caught.value.hint
    assert (caught.value.op, caught.value.exit_code) == ("read settings", 64)


SECRETS_IN_TOML = {
    "password": (
        GOOD.replace("rpo =", 'password = "hunter2"\nrpo ='),
        "targets.akig.password is a secret",
        "PRA_TARGETS__AKIG__PASSWORD",
    ),
    "password-in-url": (GOOD.replace("backup@", "backup:hunter2@"), "dsn holds a password", "PGPASSFILE"),
    "password-in-keywords": (
        GOOD.replace("postgresql://backup@127.0.0.1:5432/akig", "host=/x password=hunter2"),
        "dsn holds a password",
        "PRA_TARGETS__AKIG__PASSWORD",
    ),
    "s3-key": (
        GOOD.replace("object_lock = true", 'secret_access_key = "hunter2"'),
        "repositories.off-site.secret_access_key is a secret",
        "PRA_REPOSITORIES__OFF_SITE__SECRET_ACCESS_KEY",
    ),
    "s3-key-in-url": (GOOD.replace("s3://akig", "s3://id:hunter2@akig"), "url holds credentials", "variable"),
    "webhook": (GOOD + '[alerts]\nslack_webhook = "hunter2"\n', "is a secret", "PRA_ALERTS__SLACK_WEBHOOK"),
}


@pytest.mark.parametrize(("toml", "complaint", "hint"), SECRETS_IN_TOML.values(), ids=SECRETS_IN_TOML)
def test_a_secret_in_the_file_is_refused_and_not_repeated(
    tmp_path: Path, toml: str, complaint: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, toml)
    assert complaint in caught.value.message
    assert hint in caught.value.hint
    assert "hunter2" not in str(caught.value)


BAD_ENV = {
    "unknown-section": (
        {"PRA_TARGET__AKIG__JOBS": "1"},
        "unknown variable PRA_TARGET__AKIG__JOBS",
        "PRA_TARGETS",
    ),
    "unknown-key": ({"PRA_TARGETS__AKIG__PASWORD": "x"}, "unknown variable", "PRA_TARGETS__AKIG__PASSWORD"),
    "unknown-target": (
        {"PRA_TARGETS__AKIK__PASSWORD": "x"},
        "'akik', which is not configured",
        "targets.akig",
    ),
    "not-json": ({"PRA_TARGETS__AKIG__API": "{"}, "PRA_TARGETS__AKIG__API is not JSON", "Write"),
    "wrong-duration": ({"PRA_TARGETS__AKIG__RPO": "soon"}, "targets.akig.rpo: not a duration", "1h"),
    "not-a-number": ({"PRA_TARGETS__AKIG__JOBS": "many"}, "targets.akig.jobs", "pra.toml.example"),
}


@pytest.mark.parametrize(("env", "complaint", "hint"), BAD_ENV.values(), ids=BAD_ENV)
def test_a_bad_variable_is_refused(tmp_path: Path, env: dict[str, str], complaint: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, env=env)
    assert complaint in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://backup@localhost/akig",
        "postgresql://backup@[::1]/akig",
        "host=/run/postgresql dbname=akig",
        "dbname=akig",
        "postgresql://backup@db.example.com/akig?sslmode=require",
        "host=db.example.com hostaddr=127.0.0.1",
    ],
)
def test_local_and_encrypted_servers_are_accepted(tmp_path: Path, dsn: str) -> None:
    assert load(tmp_path, GOOD.replace("postgresql://backup@127.0.0.1:5432/akig", dsn)).target().dsn == dsn


def test_plaintext_is_allowed_where_a_setting_says_so(tmp_path: Path) -> None:
    toml = GOOD.replace("127.0.0.1", "db.example.com").replace("rpo =", "allow_plaintext = true\nrpo =")
    assert load(tmp_path, toml).target().allow_plaintext


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o700])
def test_a_dotenv_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / ".env").write_text("PRA_LANGUAGE=en\n")
    (tmp_path / ".env").chmod(mode)
    with pytest.raises(SettingsError, match=f"mode 0{mode:o}") as caught:
        load(tmp_path)
    assert "chmod 600" in caught.value.hint


def test_a_state_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(SettingsError, match="mode 0755"):
        load(tmp_path)


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(None, {"PRA_CONFIG": str(tmp_path / "none.toml")})


def test_without_any_file_there_are_settings_but_no_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {"PRA_STATE_DIR": str(tmp_path / "state")})
    with pytest.raises(UsageError, match="no target is configured"):
        settings.target()


def test_the_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pra.toml").write_text(GOOD)
    for name in [name for name in os.environ if name.startswith("PRA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRA_CONFIG", str(tmp_path / "pra.toml"))
    monkeypatch.setenv("PRA_STATE_DIR", str(tmp_path / "s"))
    assert load_settings().state_dir == tmp_path / "s"


def test_a_target_is_named_when_there_are_several(tmp_path: Path) -> None:
    second = '[targets.other]\ndsn = "dbname=x"\nrepositories = ["local"]\n'
    settings = load(tmp_path, GOOD + second)
    assert settings.target("other").name == "other"
    with pytest.raises(UsageError, match="several targets"):
        settings.target()
    with pytest.raises(NotFoundError) as caught:
        settings.target("akik")
    assert (caught.value.exit_code, caught.value.hint) == (64, "Did you mean akig?")


@pytest.mark.parametrize(
    ("interval", "publish", "kept"),
    [("1h", "0", False), ("55min", "10min", False), ("30min", "5min", True)],
)
def test_a_dump_is_late_by_its_interval_and_its_publication(
    tmp_path: Path, interval: str, publish: str, kept: bool
) -> None:
    spans = {"1h": 3600, "55min": 3300, "30min": 1800, "10min": 600, "5min": 300, "0": 0}
    warning = rpo_warning(
        load(tmp_path).target(), timedelta(seconds=spans[interval]), timedelta(seconds=spans[publish])
    )
    assert (warning is None) is kept
    assert warning is None or "physical" in warning


def test_the_examples_that_people_copy_are_accepted(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    toml = (root / "pra.toml.example").read_text()
    # What is commented out is offered too: it must be right as well.
    offered = re.sub(r"^# (?=[a-z_]+ +=|\[)", "", toml, flags=re.MULTILINE)
    for text in (toml, offered):
        settings = load(tmp_path, text, dotenv=(root / ".env.example").read_text())
        assert settings.target().name == "akig"
        assert settings.target().password is None
    assert settings.sandbox.account == "nobody"
