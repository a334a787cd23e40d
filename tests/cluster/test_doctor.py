"""``pra doctor``: each thing that is missing is named, and what is printed beside it makes the finding go."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pra.keys import make_keys
from pra.model import Engine
from pra.postgres.connect import Server
from pra.setup import judging
from pra.setup.diagnosis import Diagnosis
from pra.setup.engine import propose
from pra.setup.server import look
from pra.watch.status.finding import Level
from tests.fix_cluster import Cluster
from tests.fix_physical import SETTINGS, bindir_of
from tests.fix_setup import Here, make_application
from tests.fix_slack import Slack

OK, WARNING, CRITICAL = Level.OK, Level.WARNING, Level.CRITICAL
WEAK = "weak_of_doctor"
DATABASE = "app_of_doctor"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of its own: settings and rights are changed, and it is restarted."""
    made = Cluster(bindir_of(18), settings=SETTINGS)
    try:
        made.start()
        make_application(made, DATABASE)
        made.execute(
            DATABASE, "CREATE SCHEMA hidden", "CREATE TABLE hidden.plan (id int)", "SELECT lo_create(4711)",
            "CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
            "CREATE SEQUENCE hidden.number",
        )  # fmt: skip
        yield made
    finally:
        made.remove()


@pytest.fixture
def weak(server: Cluster) -> Iterator[Cluster]:
    """With a role that may only connect."""
    server.execute(DATABASE, f"CREATE ROLE {WEAK} LOGIN")
    yield server
    server.execute(DATABASE, f"DROP OWNED BY {WEAK}", f"DROP ROLE {WEAK}")


def found(server: Cluster, engine: Engine) -> dict[str, Diagnosis]:
    """What is not well, by name, as the weak role sees it."""
    report = look(Server.parse(server.dsn(DATABASE, WEAK)), "pra_app")
    return {each.name: each for each in judging.judge(report, "app", engine) if each.level is not OK}


def mended(server: Cluster, finding: Diagnosis) -> None:
    """Do what it says, as a DBA would: SQL by psql, a line by an editor."""
    for mend in finding.mend:
        if mend.kind == "sql":
            (server.directory / "mend.sql").write_text(mend.text)
            server.psql(server.directory / "mend.sql", DATABASE)
        elif mend.kind == "pg_hba.conf":
            path = server.pgdata / "pg_hba.conf"
            path.write_text(mend.text.replace("peer", "trust") + "\n" + path.read_text())


def test_a_role_that_may_only_connect_is_told_each_right_and_the_sql_that_gives_it(weak: Cluster) -> None:
    lacking = found(weak, "logical")
    assert set(lacking) == {"rights", "rights.rows", "rights.globals"}
    assert (lacking["rights"].level, lacking["rights.globals"].level) == (CRITICAL, WARNING)
    text = lacking["rights"].mend[0].text
    for statement in (
        f'GRANT USAGE ON SCHEMA "hidden" TO "{WEAK}";',
        f'GRANT SELECT ON TABLE "hidden"."plan" TO "{WEAK}";',
        f'GRANT SELECT ON SEQUENCE "hidden"."number" TO "{WEAK}";',
        "GRANT SELECT ON LARGE OBJECT",
    ):
        assert statement in text
    assert "pg_read_all_data" not in text, "exactly what is missing"
    assert f'GRANT pg_read_all_data TO "{WEAK}";' in lacking["rights"].hint, (
        "and what covers tomorrow's tables"
    )
    mended(weak, lacking["rights"])
    assert set(found(weak, "logical")) == {"rights.rows", "rights.globals"}
    mended(weak, lacking["rights.rows"])
    mended(weak, lacking["rights.globals"])
    assert found(weak, "logical") == {}


def readable(server: Cluster) -> None:
    """Everything that the engine reads, so that what is left is about replication."""
    server.execute(
        DATABASE, f"GRANT pg_read_all_data, pg_read_all_settings TO {WEAK}", f"ALTER ROLE {WEAK} BYPASSRLS",
        f"GRANT SELECT ON LARGE OBJECT 4711 TO {WEAK}",
    )  # fmt: skip


def proposed(server: Cluster) -> tuple[str, list[str]]:
    proposal = propose(look(Server.parse(server.dsn(DATABASE, WEAK)), "pra_app"), "app")
    return proposal.engine, [each.name for each in proposal.hindrances]


def test_what_the_physical_engine_needs_of_the_role_is_named_and_mended(weak: Cluster) -> None:
    readable(weak)
    lacking = found(weak, "physical")
    assert set(lacking) == {"replication", "rights.monitor", "slot", "summaries"}
    assert proposed(weak) == ("logical", ["replication"])
    for name in ("replication", "rights.monitor", "summaries"):
        mended(weak, lacking[name])
    assert set(found(weak, "physical")) == {"slot"}
    assert proposed(weak) == ("physical", [])
    weak.execute("postgres", "ALTER SYSTEM RESET summarize_wal", "SELECT pg_reload_conf()")


CLOSED = (
    "wal_level = minimal", "max_wal_senders = 0", "max_replication_slots = 0", "max_slot_wal_keep_size = -1",
)  # fmt: skip


def test_what_the_physical_engine_needs_of_the_server_is_named_and_mended(weak: Cluster) -> None:
    """Four settings at once, mended by what is printed and one restart."""
    readable(weak)
    weak.execute(DATABASE, f"GRANT pg_monitor TO {WEAK}", f"ALTER ROLE {WEAK} REPLICATION")
    weak.execute("postgres", *(f"ALTER SYSTEM SET {line}" for line in CLOSED))
    weak.restart()
    lacking = found(weak, "physical")
    names = {"replication.wal_level", "replication.max_wal_senders", "replication.max_replication_slots"}
    assert names < {each.name for each in lacking.values() if each.level is CRITICAL}
    assert "slot.limit" in lacking
    assert proposed(weak)[0] == "logical"
    for name in (*sorted(names), "slot.limit"):
        mended(weak, lacking[name])
    weak.restart()
    assert set(found(weak, "physical")) == {"slot", "summaries"}


def test_a_pg_hba_that_lets_no_replication_in_comes_with_its_line(weak: Cluster) -> None:
    readable(weak)
    weak.execute(DATABASE, f"GRANT pg_monitor TO {WEAK}", f"ALTER ROLE {WEAK} REPLICATION")
    path = weak.pgdata / "pg_hba.conf"
    before = path.read_text()
    path.write_text("".join(f"{line}\n" for line in before.splitlines() if "replication" not in line))
    weak.execute("postgres", "SELECT pg_reload_conf()")
    try:
        finding = found(weak, "physical")["replication.connection"]
        assert [mend.kind for mend in finding.mend] == ["pg_hba.conf", "sql"]
        assert finding.mend[0].text == f'local replication "{WEAK}" peer'
        mended(weak, finding)
        assert "replication.connection" not in found(weak, "physical")
    finally:
        path.write_text(before)
        weak.execute("postgres", "SELECT pg_reload_conf()")


# -- the command ---------------------------------------------------------------------------------

TOML = """
[targets.app]
dsn = "host={socket} port={port} user=postgres dbname={database}"
repositories = ["near"]
rpo = "4h"
[repositories.near]
url = "file://{home}/near"
[encryption]
recipients = ["{recipient}"]
[postgres]
bindir = "{bindir}"
[status]
prefect_api = "http://127.0.0.1:1/api"
"""


@pytest.fixture
def installed(server: Cluster, here: Here) -> Here:
    (here.home / "state").mkdir(mode=0o700)
    keys = make_keys(here.home / "state" / "keys")
    (here.home / "near").mkdir(mode=0o700)
    (here.home / "pra.toml").write_text(
        TOML.format(
            socket=server.directory, port=server.port, database=DATABASE, home=here.home,
            recipient=keys.recipient, bindir=server.bindir,
        )
    )  # fmt: skip
    return here


def items(document: dict[str, Any], level: str) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in document["items"] if item["level"] == level}


def test_everything_is_looked_at_and_each_fault_has_its_remedy(installed: Here, slack: Slack) -> None:
    installed.set(PRA_ALERTS__SLACK_WEBHOOK=slack.webhook)
    document = installed.pra("doctor", "--json", "--send", code=2).document
    assert document["schema"] == "pra/doctor/1"
    assert set(items(document, "ok")) >= {
        "server", "session", "clock", "rights", "programs", "disk.spool", "disk.sandbox", "objective",
        "repository.near.write", "repository.near.delete", "repository.near.conditional", "libraries", "keys",
        "encryption", "sandbox", "alerts", "alerts.webhook", "settings",
    }  # fmt: skip
    assert set(items(document, "warning")) == {"repositories", "repository.near.disk"}
    assert items(document, "unknown")["schedule"]["mend"] == [{"kind": "shell", "text": "pra up"}]
    assert "This is a test" in slack.posts[0].text
    slack.answer = (404, "no_service")
    document = installed.pra("doctor", "--json", "--send", code=1).document
    assert "did not take the test message" in items(document, "critical")["alerts.webhook"]["message"]


def test_without_send_nobody_is_told(installed: Here, slack: Slack) -> None:
    installed.set(PRA_ALERTS__SLACK_WEBHOOK=slack.webhook)
    written = installed.pra("doctor", code=2)
    assert slack.posts == []
    assert "WARNING" in written.out
    assert '     url = "s3://BUCKET/PREFIX"\n' in written.out, "to be copied as it is"


def test_settings_that_cannot_be_read_are_a_finding(installed: Here) -> None:
    (installed.home / ".env").write_text("")
    (installed.home / ".env").chmod(0o644)
    document = installed.pra("doctor", "--json", code=1).document
    (item,) = document["items"]
    assert (item["name"], item["level"]) == ("settings", "critical")
    subprocess.run(item["mend"][0]["text"], shell=True, check=True)  # noqa: S602 (as it is printed)
    assert "settings" in items(installed.pra("doctor", "--json", code=2).document, "ok")


def test_where_nothing_is_set_up_it_says_how_to_begin(here: Here) -> None:
    (item,) = (
        item for item in here.pra("doctor", "--json", code=1).document["items"] if item["name"] == "settings"
    )
    assert item["mend"] == [{"kind": "shell", "text": "pra init"}]


def test_a_target_that_there_is_not_is_wrong_usage(installed: Here) -> None:
    assert "Did you mean app?" in installed.pra("doctor", "apq", code=64).err
