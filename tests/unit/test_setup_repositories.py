"""A repository's trial against real ones: what works, what does not, and what mends it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import SecretStr

from deployments.cli.init_ask import Given
from deployments.cli.init_repositories import _works
from deployments.cli.init_state import Setup
from deployments.cli.output import Output
from pra.messages import translator
from pra.settings import Repository
from pra.settings_source import variable
from pra.setup.answers import RepositoryAnswer
from pra.setup.diagnosis import Diagnosis
from pra.setup.progress import Progress
from pra.setup.repositories import places, trial
from pra.setup.server import ServerReport
from pra.watch.status.finding import Level
from tests.fix_store import KEY_ID, SECRET, Server

OK, WARNING, CRITICAL = Level.OK, Level.WARNING, Level.CRITICAL


def local(folder: Path) -> Repository:
    return Repository(name="near", url=folder.as_uri())


def remote(server: Server, bucket: str, *, lock: bool = False, secret: str = SECRET) -> Repository:
    return Repository(
        name="far", url=f"s3://{bucket}/some/prefix", endpoint=server.endpoint, region="us-east-1",
        access_key_id=KEY_ID, secret_access_key=SecretStr(secret), object_lock=lock,
    )  # fmt: skip


def levels(found: list[Diagnosis]) -> dict[str, Level]:
    return {finding.name.split(".")[-1]: finding.level for finding in found}


def named(found: list[Diagnosis], question: str) -> Diagnosis:
    finding = next(finding for finding in found if finding.name.endswith(f".{question}"))
    assert finding.hint, "what is not well says what to do"
    return finding


def test_a_directory_is_tried_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "near"
    folder.mkdir()
    assert levels(trial(local(folder), tmp_path)) == {"write": OK, "delete": OK, "conditional": OK}
    assert [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_a_directory_that_is_not_there_comes_with_the_command_that_makes_it(tmp_path: Path) -> None:
    repository = local(tmp_path / "a b" / "near")
    (tmp_path / "a b").mkdir()
    finding = named(trial(repository, tmp_path), "write")
    assert finding.level is CRITICAL
    (mend,) = finding.mend
    subprocess.run(mend.text, shell=True, check=True)  # noqa: S602 (as it is printed)
    assert levels(trial(repository, tmp_path))["write"] is OK


def test_a_bucket_without_lock(moto_server: Server, tmp_path: Path) -> None:
    bucket = moto_server.store().url.split("/")[2]
    found = trial(remote(moto_server, bucket), tmp_path)
    assert levels(found) == {"write": OK, "delete": OK, "conditional": OK}
    listed = moto_server.client().list_objects_v2(Bucket=bucket)
    assert listed.get("Contents", []) == [], "nothing is left behind"


def test_a_bucket_with_lock(moto_server: Server, tmp_path: Path) -> None:
    bucket = moto_server.store(lock=True).url.split("/")[2]
    found = trial(remote(moto_server, bucket, lock=True), tmp_path)
    assert levels(found) == {"write": OK, "delete": OK, "conditional": OK, "lock": OK}


def test_a_lock_that_was_asked_for_and_is_not_there(moto_server: Server, tmp_path: Path) -> None:
    bucket = moto_server.store().url.split("/")[2]
    finding = named(trial(remote(moto_server, bucket, lock=True), tmp_path), "lock")
    assert finding.level is CRITICAL
    assert finding.mend[0].kind == "pra.toml"


def test_a_server_that_ignores_conditions(rclone_server: Server, tmp_path: Path) -> None:
    bucket = rclone_server.store().url.split("/")[2]
    found = trial(remote(rclone_server, bucket), tmp_path)
    assert levels(found) == {"write": OK, "delete": OK, "conditional": WARNING}
    assert "both win" in named(found, "conditional").message


@pytest.mark.parametrize(
    ("arrange", "says"),
    [
        (lambda server: remote(server, "no-such-bucket"), "bucket"),
        (lambda server: remote(server, "any", secret="wrong-secret"), "far"),
    ],
    ids=["no-such-bucket", "wrong-secret"],
)
def test_a_server_that_refuses_is_said_without_the_secret(
    rclone_server: Server, tmp_path: Path, arrange: Callable[[Server], Repository], says: str
) -> None:
    finding = named(trial(arrange(rclone_server), tmp_path), "write")
    assert finding.level is CRITICAL
    assert says in finding.message
    assert "wrong-secret" not in finding.message + finding.hint


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "near"
    folder.write_text("a file")
    finding = named(trial(local(folder), tmp_path), "write")
    assert (finding.level, "not a directory" in finding.message) == (CRITICAL, True)


def test_two_folders_of_one_disk_are_one_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    here = [local(tmp_path / "a"), local(tmp_path / "b")]
    assert places(here) == 1
    assert places([*here, Repository(name="far", url="s3://bucket/p")]) == 2
    shutil.rmtree(tmp_path / "b")
    assert places(here) == 2, "what is not there is not known to be the same"


def test_the_secret_of_a_repository_that_was_given_up_is_not_written(
    moto_server: Server, tmp_path: Path
) -> None:
    """In ``.env`` it would be about a repository that pra.toml does not have, which every command refuses."""
    out = Output(False, translator("en"))
    this = Setup(Given(), out, "en", tmp_path / "pra.toml", tmp_path, None, Progress(tmp_path / "pra.toml"))
    this.report = cast(ServerReport, SimpleNamespace(data_directory=None))
    name = variable(("repositories", "far", "secret_access_key"))
    this.secrets[name] = SECRET
    gone = RepositoryAnswer("far", "s3://no-such-bucket/x", moto_server.endpoint, "us-east-1", KEY_ID)
    assert not _works(this, gone)
    assert name not in this.secrets
