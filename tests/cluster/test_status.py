"""Each probe of a status pass against something real that is healthy, degraded or dead.

A row: what was arranged, the finding, its level, the exit code it makes, and what it says.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.cli.app import run
from pra.keys import make_keys
from pra.settings import Api, Failover, Signing, Status
from pra.signing import Signer
from pra.timing import to_iso, utc_now
from pra.watch.samples import LocalSamples
from pra.watch.status import disk, passing
from pra.watch.status.finding import Finding, Level, StatusPass
from tests.fix_cluster import PASSWORD
from tests.fix_physical import MakePhysical, world_of
from tests.fix_status import Application, Way, alone, certificate_for, look, serve_http
from tests.fix_stream import StartStreamer, wait_until
from tests.fix_world import MakeWorld, World, later

OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN
EXIT = {OK: 0, CRITICAL: 1, WARNING: 2, UNKNOWN: 2}


def demand(done: StatusPass, name: str, level: Level, says: str, target: str = "db") -> Finding:
    finding, code = alone(done, name, target)
    assert (finding.level, code) == (level, EXIT[level]), finding.message
    assert says in finding.message
    assert bool(finding.hint) == (level is not OK), "what is not well says what to do"
    return finding


def over_tcp(way: Way) -> dict[str, str]:
    """The target behind a proxy."""
    return {"dsn": f"host=127.0.0.1 port={way.port} user=postgres dbname=app password={PASSWORD}"}


def test_all_is_well(healthy: World) -> None:
    done = look(healthy)
    assert done.exit_code == 0, [
        f"{f.target} {f.name}: {f.message}" for f in done.findings if f.level is not OK
    ]
    assert {finding.name for finding in done.findings} >= {
        "database", "tables", "size", "unprotected", "backup.near", "backup.far", "proof.near", "proof.far",
        "drill", "scrub", "disk.state", "disk.near", "disk.server", "keys",
    }  # fmt: skip


WAYS = {
    "pass": (OK, "answers in"),
    "slow": (WARNING, "answers only after"),
    "stall": (CRITICAL, "no answer within 3 s"),
    "later": (CRITICAL, "no answer within 3 s"),
    "reset": (CRITICAL, "does not answer"),
    "garbage": (CRITICAL, "does not answer"),
}


@pytest.mark.parametrize("how", WAYS)
def test_a_database_behind_a_bad_way(healthy: World, way: Way, how: str) -> None:
    """It ends in time, whatever hangs; what depends on it is unknown, and the repositories are judged."""
    way.how = how
    start = time.monotonic()
    done = look(healthy, target=over_tcp(way), status={"database_slow": timedelta(seconds=0.3)})
    assert time.monotonic() - start < 7
    level, says = WAYS[how]
    demand(done, "database", level, says)
    demand(done, "backup.near", OK, "old")
    if how in ("stall", "reset", "garbage"):
        assert {done.find(name, "db").level for name in ("tables", "size", "unprotected")} == {UNKNOWN}  # type: ignore[union-attr]
    assert PASSWORD not in json.dumps(done.as_json())


def test_a_stopped_server_is_critical_and_nothing_else_hides_it(healthy: World) -> None:
    healthy.cluster.stop()
    try:
        done = look(healthy)
    finally:
        healthy.cluster.start()
    finding = demand(done, "database", CRITICAL, "failed: No such file or directory")
    assert done.findings[0] is finding or done.findings[0].level is CRITICAL
    assert done.exit_code == 1


@contextmanager
def renamed(path: Path) -> Iterator[None]:
    path.rename(path.with_name(f"{path.name}.away"))
    try:
        yield
    finally:
        path.with_name(f"{path.name}.away").rename(path)


@contextmanager
def statement(world: World, do: str, undo: str) -> Iterator[None]:
    world.cluster.execute("app", do)
    try:
        yield
    finally:
        world.cluster.execute("app", undo)


@contextmanager
def flipped(path: Path) -> Iterator[None]:
    before = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(before[:50] + b"#" + before[51:])
    try:
        yield
    finally:
        path.write_bytes(before)


def arranged(world: World, what: str) -> AbstractContextManager[object]:
    backups = world.folder("near") / "backups"
    match what:
        case "table dropped":
            return statement(
                world, "ALTER TABLE users RENAME TO users_old", "ALTER TABLE users_old RENAME TO users"
            )
        case "database beside it":
            return statement(world, "CREATE DATABASE forgotten", "DROP DATABASE forgotten")
        case "backup removed":
            return renamed(backups)
        case "manifest altered":
            return flipped(next(backups.glob("*/manifest.json")))
        case "repository away":
            return renamed(world.home / "near")
        case "signing key gone":
            return renamed(world.settings.state_dir / "keys" / "signing.key")
    return nullcontext()


STATES: list[tuple[str, str, float, Level, str]] = [
    ("nothing", "tables", 0, OK, "1 critical tables are there"),
    ("table dropped", "tables", 0, CRITICAL, "critical table users is gone"),
    ("nothing", "unprotected", 0, OK, "every database of the server is protected"),
    ("database beside it", "unprotected", 0, WARNING, "database forgotten of the server has no backup"),
    ("nothing", "backup.near", 0, OK, "newest backup in near is"),
    ("clock ahead", "backup.near", 1.3, WARNING, "there is one every 1 h 00 min"),
    ("clock ahead", "backup.near", 3, CRITICAL, "newest backup in near is 3 h 0"),
    ("clock behind", "backup.near", -5, CRITICAL, "in the future"),
    ("backup removed", "backup.near", 0, CRITICAL, "near holds no backup"),
    ("manifest altered", "backup.near", 0, CRITICAL, "the newest backup in near cannot be trusted"),
    ("repository away", "backup.near", 0, UNKNOWN, "near"),
    ("repository away", "proof.near", 0, UNKNOWN, "near"),
    ("repository away", "backup.far", 0, OK, "newest backup in far"),
    ("nothing", "proof.near", 0, OK, "last PASS from near is"),
    ("clock ahead", "proof.near", 24 * 9, WARNING, "last PASS from near is 9 d"),
    ("nothing", "drill", 0, OK, "last drill"),
    ("clock ahead", "drill", 24 * 371, WARNING, "last drill 371 d"),
    ("nothing", "scrub", 0, OK, "PASS"),
    ("clock ahead", "scrub", 24 * 4, WARNING, "last scrub 4 d"),
]


@pytest.mark.parametrize(
    ("what", "name", "hours", "level", "says"), STATES, ids=[f"{s[1]}-{s[0]}-{s[2]:g}h" for s in STATES]
)
def test_a_state(healthy: World, what: str, name: str, hours: float, level: Level, says: str) -> None:
    with arranged(healthy, what):
        done = look(healthy, clock=later(hours))
    demand(done, name, level, says)


def test_a_host_without_its_signing_key_is_critical(healthy: World) -> None:
    with arranged(healthy, "signing key gone"):
        done = look(healthy)
    demand(done, "keys", CRITICAL, "no signing key", target="")


def test_an_identity_that_fits_no_recipient_is_critical(healthy: World, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "keys").recipient
    encryption = healthy.settings.encryption.model_copy(update={"recipients": [other]})
    done = look(healthy, settings={"encryption": encryption})
    demand(done, "keys", CRITICAL, "no age identity here belongs to a configured recipient", target="")


def test_a_trusted_key_that_retires_soon_is_a_warning(healthy: World) -> None:
    text = f"{Signer('ed25519', bytes(32)).trusted.text()} retired {to_iso(utc_now() + timedelta(days=5))}"
    signing = Signing(trusted=[text], key_file=healthy.settings.signing.key_file)
    demand(look(healthy, settings={"signing": signing}), "keys", WARNING, "retires in 5 d", target="")


def test_a_failed_verification_drill_or_scrub_is_critical(tiny: World) -> None:
    """None at all is a warning: nobody knows."""
    done = look(tiny, target={"critical_tables": []})
    demand(done, "proof.near", WARNING, "no backup in near was ever proven")
    demand(done, "drill", WARNING, "no disaster was ever rehearsed")
    demand(done, "scrub", WARNING, "never read again")
    with tiny.context() as context:
        proof = {"backup_id": "20261122T070955Z-full-3f9c", "repository": "near", "verdict": "FAIL"}
        context.evidence.append("verification", proof)
        context.evidence.append("drill", {"verdict": "FAIL"})
        context.evidence.append("scrub", {"verdict": "FAIL"})
    done = look(tiny, target={"critical_tables": []})
    demand(
        done,
        "proof.near",
        CRITICAL,
        "the last verification from near, of 20261122T070955Z-full-3f9c, was a FAIL",
    )
    demand(done, "drill", CRITICAL, "FAIL")
    demand(done, "scrub", CRITICAL, "FAIL")


def test_a_database_that_halved_since_yesterday_is_a_warning(healthy: World) -> None:
    done = look(healthy)
    now = done.find("size", "db")
    assert now is not None
    assert now.value is not None
    local = passing.samples_of(healthy.settings)
    old = Finding("size", "db", OK, "", now.value * 3, "bytes")
    yesterday = LocalSamples(local.folder, local.host)
    yesterday.append(StatusPass(utc_now() - timedelta(days=1), local.host, 0.0, (old,)))
    try:
        demand(look(healthy), "size", WARNING, "in a day: it was")
    finally:
        shutil.rmtree(local.folder)


HEALTH, CONTRACTS = "/api/health", "/api/contracts"
API: dict[str, tuple[dict[str, tuple[int, float]], Level, str]] = {
    "all answer": ({}, OK, "2 endpoints answer"),
    "a protected one is alive": ({CONTRACTS: (401, 0)}, OK, "2 endpoints answer"),
    "one fails": (
        {CONTRACTS: (500, 0)},
        WARNING,
        "1 of 2 endpoints do not answer: GET /api/contracts: status 500",
    ),
    "all fail": ({CONTRACTS: (500, 0), HEALTH: (503, 0)}, CRITICAL, "2 of 2 endpoints do not answer"),
    "one is slow": ({HEALTH: (200, 0.5)}, WARNING, "GET /api/health answers only after"),
    "all hang": ({CONTRACTS: (200, 9), HEALTH: (200, 9)}, CRITICAL, "no answer within"),
}


@pytest.mark.parametrize(("answers", "level", "says"), API.values(), ids=API)
def test_an_application(
    healthy: World,
    application: Application,
    answers: dict[str, tuple[int, float]],
    level: Level,
    says: str,
) -> None:
    application.answers = answers
    api = Api(url=application.url, endpoints=[HEALTH, CONTRACTS])
    status = {"api_slow": timedelta(seconds=0.3), "limit": timedelta(seconds=1.6)}
    demand(look(healthy, target={"api": api}, status=status), "api", level, says)


def test_an_application_that_is_not_there(healthy: World) -> None:
    with serve_http() as gone:
        api = Api(url=gone.url)
    demand(look(healthy, target={"api": api}), "api", CRITICAL, "GET /: nothing listens there")


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [(90, OK, "ends on"), (12, WARNING, "ends on"), (3, CRITICAL, "ends on"), (-1, CRITICAL, "ended on")],
)
def test_a_certificate(healthy: World, tmp_path: Path, days: float, level: Level, says: str) -> None:
    with serve_http(certificate_for(tmp_path, days)) as application:
        done = look(healthy, target={"api": Api(url=application.url)})
    demand(done, "certificate.api", level, says)


def test_a_certificate_that_nobody_shows_is_unknown(healthy: World, application: Application) -> None:
    api = Api(url=application.url.replace("http:", "https:"))
    demand(look(healthy, target={"api": api}), "certificate.api", UNKNOWN, "cannot be read")


@pytest.mark.parametrize(
    ("filled", "level"), [(0.5, OK), (0.85, WARNING), (1.0, CRITICAL)], ids=["half", "nearly", "full"]
)
def test_a_disk(small_disk: Path, filled: float, level: Level) -> None:
    """A file system of 2 MiB."""
    (small_disk / "ballast").write_bytes(b"x" * int((2 << 20) * filled - 8192))
    (finding,) = disk.space(Status(), "disk.state", "", small_disk, "the state directory's disk")
    assert (finding.level, finding.level.exit_code) == (level, EXIT[level])
    assert "the state directory's disk has" in finding.message


def test_a_disk_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    (finding,) = disk.space(Status(), "disk.near", "", tmp_path / "no", "the disk of repository near")
    assert (finding.level, finding.message) == (
        UNKNOWN,
        "the disk of repository near cannot be looked at: no such file or directory",
    )


# -- WAL -----------------------------------------------------------------------------------------


def test_wal_with_a_streamer_without_one_and_with_a_hole(
    physical_world: World, streaming: StartStreamer
) -> None:
    """Healthy; the streamer stopped; later than the RPO; a segment removed."""
    world = physical_world
    world.backup()
    streamer = streaming(world)
    wait_until(lambda: look(world).find("wal.far", "db").level is OK, what="WAL in far")  # type: ignore[union-attr]
    done = look(world)
    demand(done, "wal.near", OK, "behind and ")
    wait_until(lambda: look(world).find("slot", "db").level is OK, what="the slot is read")  # type: ignore[union-attr]
    done = look(world)
    demand(done, "slot", OK, "of WAL kept for slot pra_db")
    demand(done, "pg_wal", OK, "pg_wal holds")
    demand(done, "unprotected", OK, "a base backup holds every database")

    streamer.stop()
    done = look(world)
    demand(done, "wal.near", WARNING, "no streamer ships to near")
    demand(done, "slot", WARNING, "nobody reads from slot pra_db")
    demand(look(world, clock=later(2)), "wal.near", CRITICAL, "more than the RPO")

    for _ in range(3):
        world.cluster.execute(
            "app", "INSERT INTO numbered SELECT max(id) + 1 FROM numbered", "SELECT pg_switch_wal()"
        )
    world.backup(full=True)
    segments = sorted((world.folder("near") / "wal").rglob("*.zst.age"))
    segments[-1].unlink()
    demand(look(world), "wal.near", CRITICAL, "which is missing")


@pytest.mark.all
def test_a_lost_slot_is_critical(make_physical: MakePhysical, make_world: MakeWorld) -> None:
    server = make_physical(
        18, settings="max_slot_wal_keep_size = 16MB\nmax_wal_size = 32MB\nmin_wal_size = 32MB\n"
    )
    world = world_of(server, make_world)
    server.execute("app", "SELECT pg_create_physical_replication_slot('pra_db', true)")
    for _ in range(6):
        server.execute(
            "app",
            "CREATE TABLE IF NOT EXISTS x (a int)",
            "INSERT INTO x VALUES (1)",
            "SELECT pg_switch_wal()",
        )
        server.execute("app", "CHECKPOINT")
    demand(look(world), "slot", CRITICAL, "slot pra_db is lost")


def test_a_standby_that_should_stream_and_does_not(physical_world: World) -> None:
    dsn = physical_world.cluster.dsn("app")
    approver = Signer("ed25519", bytes(32)).trusted.text()
    failover = Failover(standby=dsn, approvers=[approver])
    done = look(physical_world, target={"failover": failover})
    demand(done, "replication", CRITICAL, "no standby streams")


# -- the commands --------------------------------------------------------------------------------


def test_the_command_says_it_and_exits_with_it(
    healthy: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0, 2 and 1; what was bad and is well again is in the log; the pass is remembered with its dates."""
    for name, value in healthy.environment.items():
        monkeypatch.setenv(name, value)

    def said(*argv: str, code: int) -> str:
        assert run(list(argv)) == code
        return capsys.readouterr().out

    assert "checks are well" in said("status", code=0)
    healthy.cluster.execute("app", "CREATE DATABASE forgotten")
    document = json.loads(said("status", "--json", code=2))
    assert (document["schema"], document["level"]) == ("pra/status/1", "warning")
    first = document["items"][0]
    assert (first["name"], first["target"], first["level"]) == ("unprotected", "db", "warning")
    healthy.cluster.stop()
    try:
        said("monitor", "--once", code=1)
        again = json.loads(said("status", "--json", code=1))
    finally:
        healthy.cluster.start()
        healthy.cluster.execute("app", "DROP DATABASE forgotten")
    assert again["items"][0]["name"] == "database"
    assert again["items"][0]["since"] < again["at"], "since the pass that found it first"
    said("status", "--all", code=0)
    listed = json.loads(said("backups", "--json", code=0))
    assert listed["items"][0]["verdict"] == "PASS"
    assert json.loads(said("backups", "--all", "--json", code=0)) == listed
    said("backups", "db", "--all", code=64)
    log = (healthy.settings.state_dir / "logs" / "akig_monitoring.log").read_text()
    assert "CRITICAL db database: does not answer" in log
    assert "OK db database: answers in" in log
