"""The README's recovery by hand, as written there, with nothing of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fix_cluster import Cluster
from tests.fix_operator import Operator
from tests.requirements import require

README = Path(__file__).parents[2] / "README.md"


def commands() -> str:
    """The one shell block of the README's chapter."""
    chapter = README.read_text().split("## By hand, without this software")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", chapter, flags=re.DOTALL)
    return str(block)


@pytest.fixture
def empty_server(pg18: Cluster) -> Iterator[Cluster]:
    """A second server of the same major, fresh from initdb."""
    server = Cluster(pg18.bindir)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def test_the_readme_recovers_a_backup_without_our_software(
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
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=backup,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert empty_server.query("akig", "SELECT count(*), sum(total) FROM invoice") == expected


def test_the_readme_notices_a_damaged_object_first(operator: Operator, pg18: Cluster, chinook: str) -> None:
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
    check = commands().split("# 2.")[0]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", check], cwd=backup, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "objects/globals.sql.zst.age: FAILED" in done.stdout
