"""A copy of the original, made directly from the source, to put the same load on.

It does not pass through any of our archives: what a backup or a restore loses is not lost here. For the
physical engine it is a base backup by PostgreSQL's own program; for the logical one a dump, restored with all
its indexes and analyzed. Both copies are inert, with the settings of the server that they are compared with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from pra.engines.logical_restore import RESTORE_SECONDS, make_room
from pra.errors import ToolError
from pra.manifest import Manifest
from pra.postgres import recovery_settings
from pra.postgres.connect import Server, postgres_errors
from pra.postgres.sandbox import open_sandbox
from pra.postgres.server_facts import read_facts
from pra.postgres.service_server import ServiceServer, own_folder
from pra.postgres.tools import Tools, analyze_argv, find_tools
from pra.proc import Account, Scope
from pra.procedures.capacity import check_free
from pra.procedures.context import Context

_IDLE_SECONDS = 1800.0
_OP = "copy the original"
_SERVING = {**recovery_settings.COMMON, **recovery_settings.DURABLE, "log_connections": "off"}


@contextmanager
def copy_of_original(
    context: Context, home: Path, manifest: Manifest, tools: Tools, account: Account | None
) -> Iterator[Server]:
    """The target's database as it is now, on a server of its own; gone on leaving.

    Args:
        home: A folder that the account can enter; the copy lies below it.
        manifest: Of the backup: which engine, and the name of the bootstrap role.

    Raises:
        ConnectError, PostgresError: The source does not answer, or refuses.
        SpaceError: There is no room for a copy. ToolError: A program failed.
    """
    with context.server.connect() as connection, postgres_errors("read server"):
        facts = read_facts(connection)
        places = connection.execute(
            "SELECT pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace ORDER BY oid"
        ).fetchall()
    if facts.version_num // 10000 != tools.major:
        raise ToolError(f"the source is PostgreSQL {facts.version} by now, the backup is not", op=_OP)
    check_free(home, facts.database_bytes * 2)
    folder = home / "original"
    own_folder(folder, account)
    if manifest.physical is not None:
        spaces = [str(place) for (place,) in places if place]
        with _base_backup(context, folder, manifest, tools, account, spaces) as server:
            yield server.with_database(manifest.database)
        return
    with open_sandbox(context.scope, tools, facts, root=home, account=account, durable=True) as box:
        yield _dump_and_restore(context, home, manifest, box.tools, box.server)


@contextmanager
def _base_backup(
    context: Context,
    folder: Path,
    manifest: Manifest,
    tools: Tools,
    account: Account | None,
    spaces: list[str],
) -> Iterator[Server]:
    data = folder / "data"
    argv = [
        find_tools(tools.major, context.settings.postgres.bindir, needs=("pg_basebackup",)).path(
            "pg_basebackup"
        ),
        f"--pgdata={data}",
        "--wal-method=stream",
        f"--checkpoint={context.target.physical.checkpoint}",
        "--no-password",
        "--progress",
        *(f"--tablespace-mapping={_quoted(old)}={folder / f'ts{n}'}" for n, old in enumerate(spaces)),
        *(
            (f"--max-rate={context.target.physical.max_rate // 1024}k",)
            if context.target.physical.max_rate
            else ()
        ),
        f"--dbname={context.server.dsn}",
    ]
    _run(context.scope, tools, context.server, argv)
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        # What the source was told is not believed; where its configuration lies elsewhere there is none.
        (data / name).write_text("")
    _give(folder, account)
    place = ServiceServer(
        folder, data, tools, account, manifest.server.bootstrap_role, context.scope, settings=_SERVING
    )
    place.prepare()
    place.start()
    try:
        yield place.server()
    finally:
        place.stop()


def _dump_and_restore(context: Context, home: Path, manifest: Manifest, tools: Tools, box: Server) -> Server:
    dump, jobs = home / "original-dump", max(2, context.target.jobs)
    take = (
        tools.path("pg_dump"), "--format=directory", f"--file={dump}", f"--jobs={jobs}", "--no-password",
        f"--lock-wait-timeout={round(context.target.lock_wait.total_seconds() * 1000)}",
        "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions", "--no-security-labels",
        "--verbose", f"--dbname={context.server.dsn}",
    )  # fmt: skip
    _run(context.scope, tools, context.server, take)
    server = make_room(box, manifest.database)
    _make_roles(server, manifest.roles)
    put = (
        tools.path("pg_restore"), "--create", f"--jobs={jobs}", "--exit-on-error", "--no-password",
        "--no-owner", "--no-privileges", "--no-tablespaces", "--verbose", f"--dbname={server.dsn}", str(dump),
    )  # fmt: skip
    _run(context.scope, tools, server, put)
    restored = server.with_database(manifest.database)
    _run(context.scope, tools, restored, analyze_argv(tools, restored, jobs=jobs))
    return restored


def _make_roles(server: Server, roles: tuple[str, ...]) -> None:
    """Row security and default privileges name roles."""
    with server.connect() as connection, postgres_errors("create roles"):
        there = {row[0] for row in connection.execute("SELECT rolname FROM pg_catalog.pg_roles")}
        for role in sorted(set(roles) - there):
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))


def _run(scope: Scope, tools: Tools, server: Server, argv: list[str] | tuple[str, ...]) -> None:
    scope.run(
        argv,
        op=_OP,
        timeout=RESTORE_SECONDS,
        idle_timeout=_IDLE_SECONDS,
        env={**tools.env(), **server.tool_env()},
        secrets=server.secrets,
    )


def _quoted(path: str) -> str:
    return re.sub(r"([\\=])", r"\\\1", path)


def _give(folder: Path, account: Account | None) -> None:
    """The server's account owns all of it."""
    if account is None:
        return
    for where, folders, names in os.walk(folder):
        for name in (*folders, *names):
            os.chown(Path(where) / name, account.uid, account.gid, follow_symlinks=False)
