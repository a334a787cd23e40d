"""What the operator configured to be run, and the question whether the old server still answers."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Mapping
from datetime import timedelta

from psycopg import conninfo
from psycopg.pq import PGconn, Ping

from pra.errors import RestoreError, UsageError
from pra.postgres.connect import Server
from pra.proc import Account, Scope

_PING_SECONDS = 5
_NOWHERE = "/nonexistent/pgpass"
_KEPT = ("host", "hostaddr", "port", "dbname", "user", "service")


def run_command(
    scope: Scope,
    text: str,
    *,
    op: str,
    limit: timedelta,
    env: dict[str, str],
    account: Account | None = None,
) -> str:
    """Run one configured command, without a shell. Returns its program's name, for the record.

    Raises:
        ToolError: It is not there, ended with anything but 0, or took too long.
    """
    argv = shlex.split(text)
    scope.run(argv, op=op, timeout=limit.total_seconds(), env=env, account=account)
    return argv[0]


def answers(server: Server) -> bool:
    """Whether a PostgreSQL server is alive there: it need not let us in, nor be ready.

    No password is offered. A server that cannot be reached from here may still be alive.

    Raises:
        UsageError: The DSN cannot be tried at all.
    """
    words = {name: value for name, value in server.words().items() if name in _KEPT}
    # Another certificate than is wanted is an answer too; hence no demand upon TLS.
    words |= {"connect_timeout": str(_PING_SECONDS), "sslmode": "prefer", "passfile": _NOWHERE}
    found = Ping(PGconn.ping(conninfo.make_conninfo("", **words).encode()))
    if found == Ping.NO_ATTEMPT:
        raise UsageError(
            f"nobody can ask whether {server.place} answers",
            op="look for the old server",
            hint="Write the target's dsn with host and port.",
        )
    return found in (Ping.OK, Ping.REJECT) or _listens(words)


def _listens(words: Mapping[str, str]) -> bool:
    """Whether anything accepts a connection there: a server that hangs may wake up and take writes."""
    hosts = (words.get("hostaddr") or words.get("host") or "").split(",")
    ports = words.get("port", "5432").split(",")
    ports += ports[-1:] * len(hosts)
    return any(_accepts(host, int(port or 5432)) for host, port in zip(hosts, ports, strict=False) if host)


def _accepts(host: str, port: int) -> bool:
    try:
        if host.startswith("/"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_PING_SECONDS)
                probe.connect(f"{host}/.s.PGSQL.{port}")
        else:
            socket.create_connection((host, port), timeout=_PING_SECONDS).close()
    except OSError:
        return False
    return True


def refuse_if_alive(server: Server, when: str) -> None:
    """Two servers that take writes are worse than none.

    Raises:
        RestoreError: It still answers.
    """
    if answers(server):
        raise RestoreError(
            f"the old server still answers at {server.place}, {when}",
            op="fence",
            hint="Nothing was recovered. Stop it for good (its machine, its network, its service), then run "
            "the failover again with --resume.",
        )
