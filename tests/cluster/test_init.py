"""``pra init`` from nothing to a first proof, as a plain role; and whatever goes wrong on the way."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.expectations import load_suite
from pra.setup.grants import role_sql
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical
from tests.fix_setup import PASSWORD, ROLE, Here, dsn_of, make_application, make_role
from tests.fix_slack import Slack


def options(home: Path, server: Cluster, database: str, *more: str) -> list[str]:
    return [
        "init", "--yes", "--dsn", dsn_of(server, database), "--name", "app", "--bindir", str(server.bindir),
        "--repository", f"near={home}/near", "--sheet", str(home / "sheet.txt"), *more,
    ]  # fmt: skip


def keys_of(lines: list[dict[str, str]]) -> set[str]:
    return {line["key"] for line in lines}


# -- to a proof ----------------------------------------------------------------------------------


@pytest.mark.parametrize("major", [18, pytest.param(15, marks=pytest.mark.all)])
def test_the_printed_sql_makes_a_plain_role_that_gets_to_pass_with_both_engines(
    major: int, make_physical: MakePhysical, here: Here
) -> None:
    server = make_physical(major)
    make_application(server, "app")
    make_role(server, "app", role_sql(ROLE, "app", "physical"))
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    far = f"far={here.home}/far"
    done = here.pra(*options(here.home, server, "app", "--json", "--fast", "--repository", far)).document
    assert (done["engine"], done["proof"]["verdict"]) == ("physical", "PASS"), done
    assert done["retention_measured"] is True
    assert {"files", "streamer", "schedule", "alerts"} <= keys_of(done["lacks"])
    assert "proof" in keys_of(done["protects"])
    rules = [check["name"] for check in done["proof"]["checks"] if check["name"].startswith("rules:app/")]
    assert sorted(rules) == ["rules:app/contracts", "rules:app/users"]

    make_application(server, "books")
    here.set(PRA_TARGETS__BOOKS__PASSWORD=PASSWORD)
    more = ["--add-target", "--dsn", dsn_of(server, "books"), "--engine", "logical", "--repository", "near"]
    done = here.pra("init", "--yes", "--json", *more, "--no-rules").document
    assert (done["engine"], done["proof"]["verdict"]) == ("logical", "PASS"), done
    assert {"rpo", "offsite"} <= keys_of(done["lacks"])
    plain = server.query("app", f"SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = '{ROLE}'")
    assert plain == [(False,)]

    for name in ("APP", "BOOKS"):
        here.monkeypatch.delenv(f"PRA_TARGETS__{name}__PASSWORD")
    found = here.pra("doctor", "--json", code=2).document
    assert found["level"] == "warning", "what .env has is enough; what is missing is a streamer, a channel"
    assert {item["name"] for item in found["items"] if item["level"] == "critical"} == set()


# -- what it leaves ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(pg18: Cluster) -> Iterator[str]:
    """A database that the plain role may back up by dumps, and not otherwise."""
    name = make_application(pg18, "app_of_init")
    make_role(pg18, name, role_sql(ROLE, name, "logical"))
    yield name
    pg18.execute(name, f'DROP OWNED BY "{ROLE}"', f'DROP ROLE "{ROLE}"')
    pg18.dropdb(name)


def test_settings_are_private_and_hold_no_secret_and_no_row(
    app: str, pg18: Cluster, here: Here, slack: Slack
) -> None:
    here.set(PRA_ALERTS__SLACK_WEBHOOK=slack.webhook, PRA_TARGETS__APP__PASSWORD=PASSWORD)
    home = here.home
    done = here.pra(*options(home, pg18, app, "--no-backup", "--language", "fr", "--json")).document
    assert done["proof"] is None
    modes = {name: stat.S_IMODE((home / name).stat().st_mode) for name in (".env", "sheet.txt", "state")}
    assert modes == {".env": 0o600, "sheet.txt": 0o600, "state": 0o700}
    written = (home / "pra.toml").read_text() + (home / "rules" / "app.yaml").read_text()
    assert PASSWORD not in written
    assert slack.webhook not in written
    for value in ("active", "ended", "@example.com"):
        assert value not in written, "no value of a row"
    assert "Tables" not in written
    assert "Écrit par pra init" in written
    (post,) = slack.posts
    assert "Ceci est un essai" in post.text
    suite = load_suite(home / "rules" / "app.yaml")
    said = {(table.table, rule.says) for table in suite.tables for rule in table.rules}
    assert {
        ("contracts", "il y a au moins 90 lignes"),
        ("contracts", "rent est positif"),
        ("contracts", "charges n’est pas négatif"),
        ("contracts", "ends_on n’est pas avant starts_on"),
        ("contracts", "status ne manque jamais"),
        ("users", "deux lignes n’ont jamais le même email"),
    } <= said
    assert ("users", "phone ne manque jamais") not in said
    assert "AGE-SECRET-KEY-1" in (home / "sheet.txt").read_text()


def test_settings_that_are_there_stay_as_they_are(app: str, pg18: Cluster, here: Here) -> None:
    (here.home / "pra.toml").write_text("# mine\n")
    done = here.pra(*options(here.home, pg18, app), code=64)
    assert "exists already" in done.err
    assert "hint: Test it with: pra doctor" in done.err
    assert (here.home / "pra.toml").read_text() == "# mine\n"
    assert not (here.home / ".env").exists()


# -- what goes wrong -----------------------------------------------------------------------------

HIDDEN = "--dsn=postgresql://backup:hunter2@127.0.0.1/x"
WRONG: dict[str, tuple[dict[str, str], list[str], int, str, str]] = {
    "wrong-password": (
        {"PRA_TARGETS__APP__PASSWORD": "not-this-one"}, [], 1, "refused the password", "PASSWORD"
    ),
    "no-dsn": ({}, ["--dsn"], 64, "--dsn is missing", "give --dsn"),
    "password-in-the-dsn": ({}, [HIDDEN], 64, "holds a password", "Take it out"),
    "no-repository": ({}, ["--repository"], 64, "--repository NAME=URL is missing", "--repository"),
    "no-sheet": ({}, ["--sheet"], 64, "no place for the recovery sheet", "--sheet FILE"),
    "no-such-engine": ({}, ["--engine=phisical"], 64, "no such engine", "Did you mean physical?"),
    "a-directory-that-cannot-be-made": (
        {}, ["--repository=near=file:///nowhere/near"], 64, "is not a directory", "mkdir -m 700 /nowhere/near"
    ),
    "an-engine-the-role-may-not": ({}, ["--engine=physical"], 64, "may not replicate", "REPLICATION;"),
    "an-option-about-nothing": ({}, ["--object-lock=far"], 64, "not named: far", "--repository far=URL"),
    "no-such-language": ({}, ["--language=de"], 64, "no such language", "en or fr"),
    "no-such-duration": ({}, ["--rpo=soon"], 64, "not a duration", "1h, 30min"),
}  # fmt: skip


@pytest.mark.parametrize(("variables", "changes", "code", "complaint", "hint"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(
    app: str, pg18: Cluster, here: Here, variables: dict[str, str], changes: list[str], code: int,
    complaint: str, hint: str,
) -> None:  # fmt: skip
    arguments = options(here.home, pg18, app, "--no-backup", "--no-rules")
    for change in changes:
        name, _, value = change.partition("=")
        if name in arguments:
            at = arguments.index(name)
            del arguments[at : at + 2]
        arguments += [name, value] if value else []
    here.set(**{"PRA_TARGETS__APP__PASSWORD": PASSWORD, **variables})
    done = here.pra(*arguments, code=code)
    error, advice = (line for line in done.err.splitlines() if line.startswith(("error: ", "hint: ")))
    assert complaint in error
    assert hint in advice
    assert not (here.home / "pra.toml").exists()
    assert not (here.home / ".env").exists()
    assert "hunter2" not in done.err + done.out
