"""``pra init`` from nothing to a first proof, as a plain role; and whatever goes wrong on the way."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql

from checks.expectations import load_suite
from pra.keys import load_identities, make_keys
from pra.settings import Encryption, load_settings
from pra.setup import progress as progresses
from pra.setup.answers import Answers, RepositoryAnswer
from pra.setup.grants import role_sql
from pra.setup.progress import Progress
from tests.fix_cluster import Cluster
from tests.fix_operator import Operator
from tests.fix_physical import MakePhysical
from tests.fix_setup import PASSWORD, ROLE, Here, at_a_terminal, dsn_of, make_application, make_role
from tests.fix_slack import Slack
from tests.fix_store import KEY_ID, SECRET, Server
from tests.fix_stream import wait_until


def options(home: Path, server: Cluster, database: str, *more: str, role: str = ROLE) -> list[str]:
    return [
        "init", "--yes", "--dsn", dsn_of(server, database, role), "--name", "app",
        "--bindir", str(server.bindir), "--repository", f"near={home}/near",
        "--sheet", str(home / "sheet.txt"), *more,
    ]  # fmt: skip


DATABASE = "app_of_init"


@contextmanager
def plain_role(server: Cluster, printed: str, database: str = DATABASE, role: str = ROLE) -> Iterator[None]:
    """The database and its role, until leaving."""
    make_application(server, database)
    make_role(server, database, printed)
    try:
        yield
    finally:
        server.execute(database, f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')
        server.dropdb(database)


def keys_of(lines: list[dict[str, str]]) -> set[str]:
    return {line["key"] for line in lines}


# -- to a proof ----------------------------------------------------------------------------------


MAJORS = pytest.mark.parametrize("major", [18, pytest.param(15, marks=pytest.mark.all)])


@MAJORS
def test_a_role_made_by_the_printed_sql_gets_to_pass_with_the_engine_that_the_server_allows(
    major: int, make_physical: MakePhysical, here: Here
) -> None:
    server = make_physical(major)
    make_application(server, "app")
    make_role(server, "app", here.pra("init", "--sql", "--database", "app", "--engine", "physical").out)
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    done = here.pra(*options(here.home, server, "app", "--json", "--fast")).document
    assert (done["engine"], done["proof"]["verdict"]) == ("physical", "PASS"), done
    assert done["retention_measured"] is True
    assert {"files", "streamer", "schedule", "alerts"} <= keys_of(done["lacks"])
    assert "proof" in keys_of(done["protects"])
    rules = [check["name"] for check in done["proof"]["checks"] if check["name"].startswith("rules:app/")]
    assert sorted(rules) == ["rules:app/contracts", "rules:app/users"]
    plain = server.query("app", f"SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = '{ROLE}'")
    assert plain == [(False,)]

    here.monkeypatch.delenv("PRA_TARGETS__APP__PASSWORD")
    found = here.pra("doctor", "--json", code=2).document
    assert found["level"] == "warning", "what .env has is enough; what is missing is a streamer, a channel"
    assert {item["name"] for item in found["items"] if item["level"] == "critical"} == set()


def test_the_printed_sql_takes_role_and_database_from_the_dsn(operator: Operator) -> None:
    dsn = ("--dsn", "postgresql://keeper@db:5432/app")
    assert (
        operator.pra("init", "--sql", *dsn).out
        == operator.pra("init", "--sql", "--role", "keeper", "--database", "app").out
    )
    said = operator.pra("init", "--sql", *dsn, "--role", "other", "--json").document
    assert (said["role"], said["database"]) == ("other", "app")
    assert "--database is missing" in operator.pra("init", "--sql", code=64).err


@MAJORS
def test_one_that_is_killed_goes_on_where_it_was_and_gets_to_pass_by_dumps(
    major: int, request: pytest.FixtureRequest, operator: Operator
) -> None:
    server: Cluster = request.getfixturevalue(f"pg{major}")
    database, role = "app_killed", "keeper"
    printed = operator.pra("init", "--sql", "--database", database, "--role", role).out
    with plain_role(server, printed, database, role):
        operator.variables["PRA_TARGETS__APP__PASSWORD"] = PASSWORD
        command = options(operator.home, server, database, "--no-rules", role=role)
        first = operator.start(*command)
        config = operator.home / "pra.toml"
        wait_until(lambda: config.exists() or first.poll() is not None, what="pra.toml")
        first.kill()
        first.communicate()
        assert config.exists()
        before = config.read_bytes()
        del operator.variables["PRA_TARGETS__APP__PASSWORD"]  # .env has it by now
        done = operator.pra(*command, "--json")
        assert "stands since an earlier try" in done.err
        assert done.document["proof"]["verdict"] == "PASS"
        assert not done.prefect
        assert config.read_bytes() == before
        assert operator.pra(*command, code=64).err.count("exists already") == 1, "it is finished now"


def test_a_role_of_any_name_is_made_by_the_printed_sql(pg18: Cluster, here: Here) -> None:
    """Quoted as a name, as a text, and within the block that a dollar sign ends."""
    role, database = """o'd"d $do$; SELECT 1/0; --""", 'd"b of init'
    pg18.createdb(database)
    try:
        pg18.execute(database, "SELECT lo_create(4712)")
        make_role(pg18, database, here.pra("init", "--sql", "--database", database, "--role", role).out)
        quoted = sql.Identifier(role).as_string(None)
        granted = "SELECT lomacl::text FROM pg_largeobject_metadata WHERE oid = 4712"
        assert "$do$" in str(pg18.query(database, granted))
        pg18.execute(database, f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}")
    finally:
        pg18.execute("postgres", sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)).as_string(None))


# -- what it leaves ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(pg18: Cluster) -> Iterator[str]:
    """A database that the plain role may back up by dumps, and not otherwise."""
    with plain_role(pg18, role_sql(ROLE, DATABASE, "logical")):
        yield DATABASE


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


def test_rules_that_the_operator_has_are_taken_as_they_are(app: str, pg18: Cluster, here: Here) -> None:
    rules = here.home / "rules" / "app.yaml"
    rules.parent.mkdir()
    mine = (
        "schema: pra-suite/1\nname: app\ntables:\n  users:\n    - says: there is a user\n"
        "      expect_table_row_count_to_be_between: {min_value: 1}\n"
    )
    rules.write_text(mine)
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    done = here.pra(*options(here.home, pg18, app, "--no-backup"))
    assert "is there already, and stays as it is" in done.out
    assert rules.read_text() == mine
    target = load_settings(here.home / "pra.toml").targets["app"]
    assert (len(target.suites), target.critical_tables) == (1, ["contracts", "users"])


def test_a_target_is_added_beside_the_others(app: str, pg18: Cluster, here: Here) -> None:
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    here.pra(*options(here.home, pg18, app, "--no-backup", "--no-rules"))
    here.set(PRA_TARGETS__BOOKS__PASSWORD=PASSWORD)
    more = [
        "--dsn",
        dsn_of(pg18, app),
        "--name",
        "books",
        "--repository",
        "near",
        "--no-backup",
        "--no-rules",
    ]
    again = ["init", "--yes", "--add-target", *more]
    assert "pra key sheet" in here.pra(*again).out, "the one that was printed knows nothing of it"
    for name in ("APP", "BOOKS"):
        here.monkeypatch.delenv(f"PRA_TARGETS__{name}__PASSWORD")
    settings = load_settings(here.home / "pra.toml")
    assert set(settings.targets) == {"app", "books"}
    assert all(target.password is not None for target in settings.targets.values())
    assert "there is a target books already" in here.pra(*again, code=64).err
    assert "to add a target to" in here.pra("--config", "none.toml", *again, code=64).err


def test_a_repository_of_a_known_name_at_another_place_is_refused(
    app: str, pg18: Cluster, here: Here
) -> None:
    """Else the other place would be tried, and the known one used."""
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    here.pra(*options(here.home, pg18, app, "--no-backup", "--no-rules"))
    before = (here.home / "pra.toml").read_bytes()
    here.set(PRA_TARGETS__BOOKS__PASSWORD=PASSWORD)
    again = ["init", "--yes", "--add-target", "--dsn", dsn_of(pg18, app), "--name", "books", "--no-backup"]
    done = here.pra(*again, "--no-rules", "--repository", f"near={here.home}/other", code=64)
    assert "there is a repository near already, at another place" in done.err
    assert "--repository near" in done.err
    assert not (here.home / "other").exists()
    assert (here.home / "pra.toml").read_bytes() == before
    here.pra(*again, "--no-rules", "--repository", f"near={here.home}/near")


def test_a_password_that_libpq_finds_itself_is_written_nowhere(app: str, pg18: Cluster, here: Here) -> None:
    secret = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    (here.home / "pgpass").write_text(f"127.0.0.1:{pg18.port}:*:{ROLE}:{secret}\n")
    (here.home / "pgpass").chmod(0o600)
    here.set(PGPASSFILE=str(here.home / "pgpass"))
    here.pra(*options(here.home, pg18, app, "--no-backup", "--no-rules"))
    assert not (here.home / ".env").exists()
    assert "PASSWORD" not in (here.home / "pra.toml").read_text()
    assert here.pra("doctor", "--json", code=2).document["level"] == "warning"


def test_one_that_goes_on_still_says_which_databases_nobody_protects(
    app: str, pg18: Cluster, here: Here
) -> None:
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    command = options(here.home, pg18, app, "--no-backup", "--no-rules", "--json")
    pg18.createdb("left_out_of_init")
    try:
        said = keys_of(here.pra(*command).document["lacks"])
        answers = Answers("en", "app", dsn_of(pg18, app), "logical", ())
        config = here.home / "pra.toml"
        progresses.save(here.home / "state", Progress(config, answers, ("answers", "written")))
        resumed = here.pra(*command)
        assert "stands since an earlier try" in resumed.err
        assert "databases" in said
        assert "databases" in keys_of(resumed.document["lacks"])
    finally:
        pg18.dropdb("left_out_of_init")


def test_one_that_died_before_its_file_was_there_begins_anew_and_new_keys_get_a_new_sheet(
    app: str, pg18: Cluster, here: Here
) -> None:
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    command = options(here.home, pg18, app, "--no-backup", "--no-rules")
    here.pra(*command)
    config, state = here.home / "pra.toml", here.home / "state"
    answers = Answers("en", "app", dsn_of(pg18, app), "logical", ())
    progresses.save(state, Progress(config, answers, progresses.STEPS))  # killed: about to write, it says
    config.unlink()
    shutil.rmtree(state / "keys")
    (here.home / "sheet.txt").rename(here.home / "old-sheet.txt")
    here.pra(*command)
    assert config.exists()
    identity = load_identities(Encryption(), state)[0]
    assert identity in (here.home / "sheet.txt").read_text()
    assert identity not in (here.home / "old-sheet.txt").read_text()


def test_one_that_died_between_its_two_keys_keeps_the_first(app: str, pg18: Cluster, here: Here) -> None:
    (here.home / "state").mkdir(mode=0o700)
    make_keys(here.home / "state" / "keys")
    (here.home / "state" / "keys" / "signing.key").unlink()
    identity = (here.home / "state" / "keys" / "identity.txt").read_text()
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    here.pra(*options(here.home, pg18, app, "--no-backup", "--no-rules"))
    assert (here.home / "state" / "keys" / "identity.txt").read_text() == identity
    found = here.pra("doctor", "--json", code=2).document["items"]
    assert {each["level"] for each in found if each["name"] in ("keys", "encryption")} == {"ok"}


def test_a_sheet_of_other_repositories_is_none_of_these(app: str, pg18: Cluster, here: Here) -> None:
    """Stopped behind the sheet, then given another place: whoever holds the sheet must find the backups."""
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD)
    command = options(here.home, pg18, app, "--no-backup", "--no-rules")
    config = here.home / "pra.toml"
    here.pra(*command)
    config.unlink()  # as if it had been stopped just before
    answers = Answers(
        "en", "app", dsn_of(pg18, app), "logical",
        (RepositoryAnswer("near", (here.home / "near").as_uri()),),
    )  # fmt: skip
    progresses.save(here.home / "state", Progress(config, answers, ("answers", "keys", "sheet")))
    moved = [each.replace("/near", "/moved") for each in command]
    assert "sheet.txt exists already" in here.pra(*moved, code=64).err
    assert not config.exists()
    moved[moved.index("--sheet") + 1] = str(here.home / "new.txt")
    here.pra(*moved)
    assert f"file://{here.home}/moved" in (here.home / "new.txt").read_text()


def test_a_locked_bucket_is_tried_and_its_secret_goes_into_env(
    app: str, pg18: Cluster, here: Here, moto_server: Server
) -> None:
    bucket = moto_server.store(lock=True).url.split("/")[2]
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD, PRA_REPOSITORIES__FAR__SECRET_ACCESS_KEY=SECRET)
    far = [
        "--repository", f"far=s3://{bucket}/pra", "--endpoint", f"far={moto_server.endpoint}",
        "--region", "far=us-east-1", "--access-key-id", f"far={KEY_ID}", "--object-lock", "far",
    ]  # fmt: skip
    more = ["--json", "--no-backup", "--no-rules", *far]
    done = here.pra(*options(here.home, pg18, app, *more)).document
    assert {item["name"]: item["level"] for item in done["findings"]}["repository.far.lock"] == "ok"
    assert {"lock", "places"} <= keys_of(done["protects"])
    for name in ("PRA_TARGETS__APP__PASSWORD", "PRA_REPOSITORIES__FAR__SECRET_ACCESS_KEY"):
        here.monkeypatch.delenv(name)
    repository = load_settings(here.home / "pra.toml").repositories["far"]
    assert repository.object_lock
    assert repository.secret_access_key is not None
    assert repository.secret_access_key.get_secret_value() == SECRET
    assert SECRET not in (here.home / "pra.toml").read_text() + json.dumps(done)


def test_a_channel_that_refuses_the_test_message_stops_it(
    app: str, pg18: Cluster, here: Here, slack: Slack
) -> None:
    slack.answer = (404, "no_service")
    here.set(PRA_TARGETS__APP__PASSWORD=PASSWORD, PRA_ALERTS__SLACK_WEBHOOK=slack.webhook)
    done = here.pra(*options(here.home, pg18, app, "--no-backup", "--no-rules"), code=64)
    assert "did not take the test message" in done.err
    assert not (here.home / "pra.toml").exists()
    here.pra(*options(here.home, pg18, app, "--no-backup", "--no-rules", "--no-send"))


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


# -- at a terminal -------------------------------------------------------------------------------


CLERK, CLERKS = "clerk_of_init", "app_at_terminal"


def test_a_person_is_led_through_and_may_stop_and_come_back(pg18: Cluster, tmp_path: Path) -> None:
    """Stopped by Ctrl-C once the rights are mended; then in French, from the answers that were left."""
    make_application(pg18, CLERKS)
    pg18.execute(CLERKS, f"CREATE ROLE {CLERK} LOGIN PASSWORD 'right'")
    try:
        _stopped(pg18, tmp_path)
        _finished(tmp_path)
    finally:
        pg18.execute(CLERKS, f"DROP OWNED BY {CLERK}", f"DROP ROLE {CLERK}")
        pg18.dropdb(CLERKS)
    settings = load_settings(tmp_path / "pra.toml", {"PRA_STATE_DIR": str(tmp_path / "state")})
    target = settings.targets["app"]
    assert (settings.language, target.engine, target.rpo.total_seconds()) == ("fr", "logical", 7200)
    assert target.password is not None
    assert target.password.get_secret_value() == "right"
    assert not (tmp_path / "sheet.txt").exists(), "removed once its copy was proven"


def _stopped(server: Cluster, home: Path) -> None:
    with at_a_terminal(home, "init", "--no-backup", "--bindir", str(server.bindir)) as terminal:
        terminal.answer("Language / Langue", "")
        terminal.answer("Where does it answer?", "postgresql://backup:hunter2@127.0.0.1/x")
        shown = terminal.answer("Where does it answer?", dsn_of(server, CLERKS, CLERK))
        assert "holds a password" in shown
        terminal.answer("What shall it be called here?", "app")
        terminal.secret("Password of the role", "wrong")
        assert "refused the password" in terminal.secret("Password of the role", "right")
        shown = terminal.expect("Mend it, then press Enter")
        statements = [line.strip() for line in shown.splitlines() if line.strip().startswith("GRANT")]
        assert statements[0] == f'GRANT SELECT ON TABLE "public"."contracts" TO "{CLERK}";'
        server.execute(CLERKS, *statements)
        terminal.answer("to test again", "")
        assert "ALTER ROLE" in terminal.expect("Engine [logical/physical]")
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert "Nothing is written yet but your answers" in terminal.screen
        assert "wrong" not in terminal.screen, "a password is not shown"
        assert "right" not in (home / "state" / "init.json").read_text()
    assert not (home / "pra.toml").exists()


def _finished(home: Path) -> None:
    with at_a_terminal(home, "init", "--no-backup", language="fr_FR.UTF-8") as terminal:
        terminal.answer("Language / Langue", "")
        terminal.answer("Où répond-elle ?", "")
        terminal.answer("Quel nom lui donner ici ?", "")
        terminal.secret("Mot de passe du rôle", "right")
        terminal.answer("Moteur [logical/physical]", "")
        terminal.answer("Combien peut-on perdre au plus", "bientôt")
        terminal.answer("Combien peut-on perdre au plus", "2h")
        terminal.answer("En combien de temps", "")
        terminal.answer("Où ? file:///", str(home / "near"))
        terminal.answer("Nom du dépôt", "")
        terminal.answer("n’existe pas. Le créer ? [o/n]", "o")
        terminal.answer("Un autre ?", "n")
        assert "Chaque dépôt contiendra environ" in terminal.secret("Webhook Slack", "")
        assert "rent est positif" in terminal.answer("Les écrire ?", "")
        terminal.answer("Fichier de la feuille de récupération", str(home / "sheet.txt"))
        terminal.answer("derniers caractères", "WRONG1")
        identity = next(word for word in (home / "sheet.txt").read_text().split() if "AGE-SECRET" in word)
        terminal.answer("derniers caractères", identity[-6:].lower())
        terminal.answer("Effacer le fichier", "o")
        assert terminal.end() == 0, terminal.screen
        assert "Ce qui n’est pas encore protégé" in terminal.screen
        assert identity not in terminal.screen, "what was not asked to be shown"


def test_a_server_that_was_named_beforehand_is_not_tried_without_end(tmp_path: Path) -> None:
    """Nothing would be asked between two tries: they wait for a person."""
    given = ["--dsn", "postgresql://backup@127.0.0.1:1/x", "--name", "app", "--language", "en"]
    with at_a_terminal(tmp_path, "init", *given) as terminal:
        for _ in range(2):
            shown = terminal.answer("Mend it, then press Enter to test again", "")
            assert shown.count("CRITICAL") == 1
        terminal.press(b"\x03")
        assert terminal.end() == 130


def test_without_a_terminal_it_says_how_to_go_about_it(operator: Operator) -> None:
    done = operator.pra("init", code=64)
    assert "no terminal to ask at" in done.err
    assert "hint: Give everything as options: pra init --yes" in done.err
