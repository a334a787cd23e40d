"""The sandbox is inert, shaped like its source, and gone afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pra.errors import RestoreError
from pra.postgres.sandbox import open_sandbox, sandbox_account, sandbox_root, sweep
from pra.postgres.tools import Tools
from pra.proc import Scope, can_isolate
from tests.fix_cluster import Cluster
from tests.scratch import SANDBOXES


@dataclass(frozen=True)
class Locale:
    encoding: str = "UTF8"
    collate: str = "C.UTF-8"
    ctype: str = "C.UTF-8"
    bootstrap_role: str = "owner of it all"
    data_checksums: bool = True


@pytest.fixture
def root() -> Path:
    return sandbox_root(SANDBOXES, Path("/tmp"))


def tools_of(cluster: Cluster) -> Tools:
    return Tools(cluster.bindir, cluster.major, str(cluster.major))


def test_it_answers_on_a_socket_only_and_is_removed(cluster: Cluster, root: Path) -> None:
    with (
        Scope() as scope,
        open_sandbox(scope, tools_of(cluster), Locale(), root=root, account=sandbox_account(None)) as box,
    ):
        home = box.home
        with box.server.connect() as connection:
            shown = {
                name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
                for name in (
                    "listen_addresses",
                    "archive_mode",
                    "primary_conninfo",
                    "max_logical_replication_workers",
                    "shared_preload_libraries",
                )
            }
            role = connection.execute("SELECT current_user").fetchone()
        assert shown["listen_addresses"] == ("",)
        assert shown["archive_mode"] == ("off",)
        assert shown["primary_conninfo"] == ("",)
        assert shown["max_logical_replication_workers"] == ("0",)
        assert shown["shared_preload_libraries"] == ("",)
        assert role == ("owner of it all",)
        assert (box.home.stat().st_mode & 0o777) == 0o700
    assert not home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another account")
def test_as_root_it_runs_unprivileged_and_cannot_read_keys(pg18: Cluster, root: Path, tmp_path: Path) -> None:
    key = tmp_path / "identity.txt"
    key.write_text("secret")
    key.chmod(0o600)
    with (
        Scope() as scope,
        open_sandbox(scope, tools_of(pg18), Locale(), root=root, account=sandbox_account(None)) as box,
    ):
        assert box.process is not None
        uid = Path(f"/proc/{box.process.pid}").stat().st_uid
        assert uid != 0
        with box.server.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file(%s)", (str(key),))


def test_it_cannot_reach_a_listener_on_this_machine(pg18: Cluster, root: Path) -> None:
    assert can_isolate() or os.geteuid() != 0
    if not can_isolate():
        pytest.skip("this kernel gives no network namespace to this account")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        with (
            Scope() as scope,
            open_sandbox(scope, tools_of(pg18), Locale(), root=root, account=sandbox_account(None)) as box,
        ):
            with box.server.connect() as connection:
                connection.execute("CREATE EXTENSION dblink")
                with pytest.raises(psycopg.errors.SqlclientUnableToEstablishSqlconnection):
                    connection.execute(
                        "SELECT dblink_connect(%s)", (f"host=127.0.0.1 port={port} connect_timeout=2",)
                    )
            with pytest.raises(TimeoutError):
                listener.accept()


def test_a_locale_this_machine_lacks_is_named(pg18: Cluster, root: Path) -> None:
    with (
        Scope() as scope,
        pytest.raises(RestoreError, match="locale"),
        open_sandbox(
            scope, tools_of(pg18), Locale(collate="xx_YY.UTF-8"), root=root, account=sandbox_account(None)
        ),
    ):
        pass


def test_a_sandbox_whose_owner_was_killed_is_swept(pg18: Cluster, root: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\n"
        "from pra.postgres.sandbox import open_sandbox, sandbox_account\n"
        "from pra.postgres.tools import Tools\nfrom pra.proc import Scope\n"
        "from tests.cluster.test_sandbox import Locale\n"
        f"tools = Tools(Path({str(pg18.bindir)!r}), 18, '18')\n"
        f"with Scope() as s, open_sandbox(s, tools, Locale(), root=Path({str(root)!r}),"
        " account=sandbox_account(None)) as box:\n"
        "    print(box.home, box.process.pid, flush=True)\n    time.sleep(300)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        home, pid = owner.stdout.readline().split()
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(10)
        sweep(root)
        end = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not Path(home).exists()
        assert not Path(f"/proc/{pid}").exists()
    finally:
        owner.kill()
        owner.wait(10)
