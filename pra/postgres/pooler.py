"""Is there a connection pooler in transaction mode in between? A backup through one cannot be right.

It needs one session from start to end: an exported snapshot, session settings and an advisory lock.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pra.errors import ConnectError
from pra.postgres.connect import Connection, one_value, postgres_errors

OP = "check for a connection pooler"


def check_pooler(conn_factory: Callable[[], Connection]) -> None:
    """Refuse a pooler that gives each transaction another session.

    Two connections are held at once. While the first is idle, the second opens a transaction: behind such a
    pooler it may well get the first one's server process, which no two sessions ever share; and the first
    one's next statement lands in another process, where its settings are unknown.

    Raises:
        ConnectError: The connection is not one session from start to end.
        PostgresError: The server was lost.
    """
    token = secrets.token_hex(8)
    with conn_factory() as first, conn_factory() as second, postgres_errors(OP):
        for conn in (first, second):
            conn.rollback()
            conn.autocommit = True
        before = one_value(first, "SELECT pg_backend_pid()")
        first.execute("SELECT set_config('pra.probe', %s, false)", (token,))
        with second.transaction():
            other = one_value(second, "SELECT pg_backend_pid()")
            after = one_value(first, "SELECT pg_backend_pid()")
            known = one_value(first, "SELECT current_setting('pra.probe', true)")
        if before == after != other and known == token:
            return
    raise ConnectError(
        "a connection pooler in transaction mode stands between us and the server",
        op=OP,
        hint="Give the DSN of PostgreSQL itself, or of a pooler's database in session mode.",
        transient=False,
    )
