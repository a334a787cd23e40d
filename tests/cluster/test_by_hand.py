"""The recovery by hand in docs/OPERATIONS.md, as written there, with nothing of ours."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pra.keysheet import BY_HAND_BASE
from pra.postgres.wal import SEGMENT_BYTES, parse_lsn
from pra.procedures.context import recipients
from pra.storage.pipe import seal
from pra.wal.shipping import ship_partial
from tests.fix_archive import archive_wal, commit
from tests.fix_cluster import Cluster
from tests.fix_operator import Operator
from tests.fix_stream import archive_in, promote
from tests.fix_world import World
from tests.requirements import require

OPERATIONS = Path(__file__).parents[2] / "docs/OPERATIONS.md"


def blocks() -> tuple[str, str]:
    """The shell blocks of the chapter: a dump's, a base backup's."""
    chapter = OPERATIONS.read_text().split("## Restore without this software")[1].split("\n## ")[0]
    dump, base = re.findall(r"```sh\n(.*?)```", chapter, flags=re.DOTALL)
    return dump, base


@pytest.fixture
def empty_server(pg18: Cluster) -> Iterator[Cluster]:
    """A second server of the same major, fresh from initdb."""
    server = Cluster(pg18.bindir)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def test_the_page_recovers_a_backup_without_our_software(
    operator: Operator, pg18: Cluster, chinook: str, empty_server: Cluster, tmp_path: Path
) -> None:
    for tool in ("age", "zstd", "tar", "sha256sum"):
        require(tool, shutil.which(tool) is not None)
    pg18.execute("postgres", f"ALTER DATABASE {chinook} RENAME TO akig")
    try:
        operator.protect(pg18, "akig", repositories=("local",))
        backup_id = operator.pra("backup", "--json").document["backup_id"]
        expected = pg18.query("akig", "SELECT count(*), sum(total) FROM invoice")
    finally:
        pg18.execute("postgres", f"ALTER DATABASE akig RENAME TO {chinook}")

    backup = tmp_path / "by-hand"
    shutil.copytree(operator.home / "local/akig/backups" / backup_id, backup)
    shutil.copy(operator.home / "state/keys/identity.txt", backup)
    environment = empty_server.environment | {"PATH": f"{empty_server.bindir}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks()[0]],
        cwd=backup,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert empty_server.query("akig", "SELECT count(*), sum(total) FROM invoice") == expected


def test_the_page_notices_a_damaged_object_first(operator: Operator, pg18: Cluster, chinook: str) -> None:
    operator.protect(pg18, chinook, repositories=("local",))
    backup_id = operator.pra("backup", "--json").document["backup_id"]
    backup = operator.home / "local/akig/backups" / backup_id
    victim = backup / "objects/globals.sql.zst.age"
    victim.chmod(0o600)
    with victim.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    check = blocks()[0].split("# 2.")[0]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", check], cwd=backup, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "objects/globals.sql.zst.age: FAILED" in done.stdout


@pytest.mark.parametrize("incremental", [False, True], ids=["a full one", "an incremental one upon it"])
def test_the_page_recovers_a_base_backup_and_its_wal_without_our_software(
    physical_world: World, place: Path, incremental: bool
) -> None:
    """Two timelines of WAL, whole segments and the unfinished one, on an empty machine."""
    for tool in ("age", "zstd", "tar", "truncate"):
        require(tool, shutil.which(tool) is not None)
    world, server = physical_world, physical_world.cluster
    ids = [world.backup().backup_id]
    commit(world, "UPDATE numbered SET note = 'changed' WHERE id % 100 = 0")
    if incremental:
        ids.append(world.backup().backup_id)
    promote(server)
    commit(world, "INSERT INTO numbered (id, note) VALUES (2001, 'in a whole segment')")
    archive_wal(world)
    commit(world, "INSERT INTO numbered (id, note) VALUES (2002, 'in an unfinished one')")
    ship_beginning(world)
    server.stop(signal.SIGKILL)
    server.pgdata.rename(server.directory / "lost")

    for part in ("backups", "wal"):
        shutil.copytree(world.folder("near") / part, place / part)
    shutil.copy(world.home / "state/keys/identity.txt", place)
    account = server.account
    if account:
        for path in (place, *place.rglob("*")):
            shutil.chown(path, account)
    script = re.sub(r"set -- .*", "set -- " + " ".join(ids), blocks()[1])
    environment = server.environment | {"PATH": f"{server.bindir}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=place, env=environment, capture_output=True,
        text=True, check=False, timeout=100, **server._identity(),
    )  # fmt: skip
    try:
        assert done.returncode == 0, done.stderr
        assert server.query("app", "SELECT count(*), max(id) FROM numbered") == [(1002, 2002)]
        assert server.query("app", "SELECT count(*) FROM numbered WHERE note = 'changed'") == [(10,)]
    finally:
        server.run("pg_ctl", "-D", place / "data", "-m", "immediate", "stop", as_account=True, check=False)


def test_the_sheet_has_the_pages_commands() -> None:
    said = blocks()[1].splitlines()
    assert [line for line in BY_HAND_BASE if line not in said and not line.startswith("set -- ")] == []


def ship_beginning(world: World) -> None:
    """What a streamer does with the segment that is being written."""
    server = world.cluster
    [(name, lsn)] = server.query(
        "app", "SELECT pg_walfile_name(l), l::text FROM pg_current_wal_flush_lsn() l"
    )
    begun = world.home / "begun.age"
    end = parse_lsn(lsn) % SEGMENT_BYTES
    data = (server.pgdata / "pg_wal" / name).read_bytes()[:end]
    with world.context() as context:
        stored = seal([data], begun, recipients=recipients(context.settings))
        near = context.storage("near")
        ship_partial(near, "db", archive_in(world, "near").system_id, name, parse_lsn(lsn), begun, stored)
