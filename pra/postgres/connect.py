"""Connections with limits, and what their failures mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import TupleRow

from pra.errors import ConnectError, PostgresError, PraError, RightsError, SettingsError
from pra.redact import redact

Connection = psycopg.Connection[TupleRow]

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 300
KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Seconds, and milliseconds: a host that vanished is noticed within a minute, whether we wait for its bytes
or it has not acknowledged ours. libpq heeds none of them on a Unix socket.
"""


@dataclass(frozen=True)
class Server:
    """Where a database answers. The password is kept apart: it never enters an argv, a repr or a log.

    Our own connections and PostgreSQL's tools are given the same DSN.
    """

    dsn: str
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Say that a host has no other address: libpq would take one from ``PGHOSTADDR`` or a service.

        Whoever names a throwaway server by its socket must never reach another one instead. Tools have an
        environment of their own; this process has its operator's.
        """
        words = conninfo.conninfo_to_dict(self.dsn)
        host = str(words.get("host") or "")
        if host and "," not in host and "hostaddr" not in words:
            object.__setattr__(self, "dsn", conninfo.make_conninfo(self.dsn, hostaddr=""))

    @classmethod
    def parse(cls, dsn: str, password: str | None = None) -> Server:
        """Split a DSN (URL or keywords) from its password, and add `KEEPALIVE` where it says nothing of that.

        Raises:
            SettingsError: It is not a PostgreSQL connection string.
        """
        try:
            words = conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            raise SettingsError(
                "not a PostgreSQL connection string",
                op="read dsn",
                hint="Write it as postgresql://user@host:5432/database.",
            ) from None
        inside = words.pop("password", None)
        if not _by_socket(words):
            words.update({word: value for word, value in KEEPALIVE.items() if word not in words})
        return cls(conninfo.make_conninfo("", **words), password or (str(inside) if inside else None))

    def with_database(self, name: str) -> Server:
        return replace(self, dsn=conninfo.make_conninfo(self.dsn, dbname=name))

    def words(self) -> dict[str, str]:
        """What the DSN says; without what it leaves empty."""
        return {key: str(value) for key, value in conninfo.conninfo_to_dict(self.dsn).items() if value != ""}

    @property
    def database(self) -> str:
        words = self.words()
        return words.get("dbname") or words.get("user", "postgres")

    @property
    def place(self) -> str:
        """Host, port and database, fit for a message."""
        words = self.words()
        return f"{words.get('host', 'local socket')}:{words.get('port', '5432')}/{self.database}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.password,) if self.password else ()

    def tool_env(self) -> dict[str, str]:
        """The environment from which libpq's tools learn the password and the connection limit."""
        env = {"PGCONNECT_TIMEOUT": str(CONNECT_SECONDS), "PGAPPNAME": "pra"}
        if self.password:
            env["PGPASSWORD"] = self.password
        return env

    def connect(
        self,
        *,
        autocommit: bool = True,
        statement_seconds: int = STATEMENT_SECONDS,
        application: str = "pra",
        **options: Any,
    ) -> Connection:
        """Connect with a limit on connecting and on every statement (seconds; 0 is none).

        Raises:
            ConnectError: It does not answer, or refuses the login.
        """
        words: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": application,
            "client_encoding": "UTF8",
            **options,
        }
        if self.password:
            words["password"] = self.password
        try:
            connection = psycopg.connect(self.dsn, autocommit=autocommit, **words)
            connection.execute(
                sql.SQL("SET statement_timeout = {}").format(sql.Literal(statement_seconds * 1000))
            )
            if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
                # Bytes of no known meaning, of which LATIN1 makes text and the same bytes again.
                connection.execute("SET client_encoding = 'LATIN1'")
            if autocommit is False:
                connection.commit()
        except psycopg.Error as error:
            raise explain_connect(error, self) from None
        return connection


def _by_socket(words: Mapping[str, object]) -> bool:
    """Whether every host it names is a Unix socket."""
    hosts = str(words.get("host") or "").split(",")
    return not words.get("hostaddr") and all(host.startswith(("/", "@")) for host in hosts)


def explain_connect(error: psycopg.Error, server: Server) -> ConnectError:
    """Say what a failed connection means and whether trying again can help."""
    text = first_line(error, server.secrets)
    op = f"connect to {server.place}"
    if "password authentication failed" in text or "no password supplied" in text:
        return ConnectError(
            "the server refused the password",
            op=op,
            hint="Set PGPASSFILE, or PRA_TARGETS__<NAME>__PASSWORD in .env.",
            transient=False,
        )
    if "no pg_hba.conf entry" in text or ("role" in text and "does not exist" in text):
        return ConnectError(
            text, op=op, hint="Create the role or allow it in the server's pg_hba.conf.", transient=False
        )
    if "database" in text and "does not exist" in text:
        return ConnectError(text, op=op, hint="Correct the database's name in the DSN.", transient=False)
    if "unsupported startup parameter" in text:
        return ConnectError(
            "a connection pooler stands between us and the server",
            op=op,
            hint="Give the DSN of PostgreSQL itself: a backup needs one session from start to end.",
            transient=False,
        )
    return ConnectError(
        text or "the server does not answer",
        op=op,
        hint="Check that the server runs and that host, port and firewall let this machine in.",
    )


def first_line(error: BaseException, secrets: tuple[str, ...] = ()) -> str:
    """The primary message alone: DETAIL and CONTEXT may hold row values."""
    diagnostic = getattr(error, "diag", None)
    text = (diagnostic.message_primary if diagnostic is not None else None) or str(error)
    lines = [line.strip() for line in redact(text, secrets).splitlines() if line.strip()]
    # libpq asks it below the reason, which is what to say.
    lines = [line for line in lines if not line.startswith("Is the server running")] or lines
    return lines[-1][:400] if lines else type(error).__name__


@contextmanager
def postgres_errors(op: str, hint: str = "") -> Iterator[None]:
    """Turn psycopg's errors into ours: lost connections and cancelled statements are transient.

    Raises:
        RightsError: The role may not do this.
        PostgresError: Anything else the server said.
    """
    try:
        yield
    except PraError:
        raise
    except psycopg.errors.InsufficientPrivilege as error:
        raise RightsError(
            first_line(error), op=op, hint=hint or "Grant the role what the message names."
        ) from None
    except psycopg.errors.LockNotAvailable as error:
        raise PostgresError(
            first_line(error), op=op, hint="Another session holds the lock; try again later.", transient=True
        ) from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise PostgresError(
            first_line(error) or "the connection was lost", op=op, hint=hint, transient=True
        ) from None
    except psycopg.Error as error:
        raise PostgresError(first_line(error), op=op, hint=hint) from None


def one_value(connection: Connection, query: LiteralString, *values: object) -> Any:
    """The single value of a query's single row; None when there is no row."""
    row = connection.execute(query, values).fetchone()
    return None if row is None else row[0]
