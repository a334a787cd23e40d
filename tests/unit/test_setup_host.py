"""This machine's part: keys, channels, programs, disks. Files are real, servers are not needed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pra.keys import make_keys
from pra.settings import Encryption, Repository, Settings, Status, Target
from pra.settings_alerts import Alerts
from pra.setup import host
from pra.setup.diagnosis import Diagnosis
from pra.setup.doctor import left_out, objective
from pra.setup.server import ServerReport
from pra.timing import utc_now
from pra.watch.status.finding import Level

OK, WARNING, CRITICAL = Level.OK, Level.WARNING, Level.CRITICAL


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = tmp_path / "a state"  # what is printed is for a shell
    report = make_keys(state / "keys")
    return Settings(state_dir=state, encryption=Encryption(recipients=[report.recipient]))


def of(found: list[Diagnosis], name: str) -> Diagnosis:
    return next(finding for finding in found if finding.name == name)


def keys(settings: Settings, **changed: Any) -> dict[str, Level]:
    found = host.keys(settings.model_copy(update=changed), utc_now())
    assert all(finding.hint for finding in found if finding.level is not OK)
    return {finding.name: finding.level for finding in found}


def test_keys_that_are_there_private_and_the_right_ones_are_well(settings: Settings) -> None:
    assert keys(settings) == {"keys": OK, "encryption": OK}
    (settings.state_dir / "keys" / "identity.txt").chmod(0o400)
    assert keys(settings) == {"keys": OK, "encryption": OK}, "a mounted secret"


@pytest.mark.parametrize("name", ["identity.txt", "signing.key"])
def test_a_key_that_others_can_read_comes_with_the_command_that_closes_it(
    settings: Settings, name: str
) -> None:
    (settings.state_dir / "keys" / name).chmod(0o640)
    finding = of(host.keys(settings, utc_now()), "keys")
    assert (finding.level, name in finding.message) == (CRITICAL, True)
    subprocess.run(finding.mend[0].text, shell=True, check=True)  # noqa: S602 (as it is printed)
    assert keys(settings)["keys"] is OK


def test_recipients_that_belong_to_nobody_here(settings: Settings, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other").recipient
    assert keys(settings, encryption=Encryption(recipients=[other]))["keys"] is CRITICAL


def test_encryption_that_was_never_said_and_none_on_purpose(settings: Settings) -> None:
    assert keys(settings, encryption=Encryption())["encryption"] is CRITICAL
    assert keys(settings, encryption=Encryption(recipients=[]))["encryption"] is WARNING


def test_keys_that_are_gone(settings: Settings) -> None:
    (settings.state_dir / "keys" / "identity.txt").unlink()
    assert keys(settings) == {"keys": OK, "encryption": WARNING}, "right where backups are only taken"
    (settings.state_dir / "keys" / "signing.key").unlink()
    finding = of(host.keys(settings, utc_now()), "keys")
    assert (finding.level, finding.mend[0].text) == (CRITICAL, "pra key make")


def test_no_channel_is_a_warning_with_the_line_to_write(settings: Settings) -> None:
    (finding,) = host.channels(settings)
    assert (finding.level, finding.mend[0].kind) == (WARNING, ".env")
    alerts = Alerts.model_validate({"tier1": "json://localhost"})
    assert host.channels(settings.model_copy(update={"alerts": alerts}))[0].level is OK


def test_programs_of_a_major_that_is_not_here() -> None:
    (finding,) = host.programs(None, "physical", "akig", 9)
    assert (finding.level, "no PostgreSQL 9" in finding.message) == (CRITICAL, True)
    assert "pg_basebackup" in finding.message


def test_the_libraries_are_tried() -> None:
    (finding,) = host.libraries()
    assert finding.level is OK
    assert "pyrage" in finding.message


def test_a_single_repository_and_a_hopeless_rpo_are_said(settings: Settings) -> None:
    one = Target(name="akig", dsn="dbname=akig", repositories=["near"])
    two = one.model_copy(update={"repositories": ["near", "far"], "engine": "physical"})
    near = Repository(name="near", url="file:///srv/near")
    known = settings.model_copy(update={"targets": {"akig": one}, "repositories": {"near": near}})
    assert [each.level for each in host.configuration(known, [one, two])] == [WARNING, OK]
    assert (objective(one).level, objective(two).level) == (WARNING, OK)
    assert objective(one).mend[0].text == '[targets.akig]\nengine = "physical"'


def test_a_disk_that_is_too_small_is_said_with_both_figures(tmp_path: Path) -> None:
    finding = host._space("disk.spool", "akig", tmp_path, 10**18, "a backup's spool", "PRA_STATE_DIR")
    assert finding.level is CRITICAL
    assert "1000000 TB" in finding.message or "1000 PB" in finding.message
    assert host._space("disk.spool", "akig", tmp_path, 1, "a backup's spool", "PRA_STATE_DIR").level is OK
    gone = host._space("disk.spool", "akig", tmp_path / "none", 1, "a backup's spool", "PRA_STATE_DIR")
    assert (gone.level, "cannot be looked at" in gone.message) == (CRITICAL, True)


def test_a_database_of_the_same_name_on_another_server_protects_none_here(settings: Settings) -> None:
    here = Target(name="here", dsn="host=localhost dbname=akig", repositories=["near"])
    also = Target(name="also", dsn="host=127.0.0.1 port=5432 dbname=books", repositories=["near"])
    there = Target(name="there", dsn="host=/run/b dbname=letters", repositories=["near"])
    report = cast(ServerReport, SimpleNamespace(others=("books", "letters", "scratch")))
    known = settings.model_copy(
        update={
            "targets": {each.name: each for each in (here, also, there)},
            "status": Status(unprotected=["scratch"]),
        }
    )
    assert left_out(known, here, report) == ["letters"]
    whole = also.model_copy(update={"engine": "physical"})
    assert left_out(known.model_copy(update={"targets": {"also": whole}}), here, report) == []
