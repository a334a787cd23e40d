"""What a server says of itself and of one database, as the manifest records it."""

from __future__ import annotations

import psycopg

from pra.manifest import Extension, ServerFacts
from pra.postgres.connect import Connection, one_value, postgres_errors

OLDEST_MAJOR = 14

# The bootstrap superuser always has OID 10 (src/include/catalog/pg_authid.dat).
_FACTS = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
       pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, {provider},
       (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10),
       current_setting('data_checksums') = 'on',
       pg_catalog.pg_database_size(d.oid), {icu_locale}
FROM pg_catalog.pg_database d WHERE d.datname = current_database()
"""
_PROVIDERS: dict[str, str] = {"c": "libc", "i": "icu", "b": "builtin", "d": "default"}


def read_facts(connection: Connection) -> ServerFacts:
    """Read the facts of the connected server and database.

    Raises:
        PostgresError: The server refuses a question every role may ask.
    """
    version = connection.info.server_version
    query = _FACTS.format(
        provider="d.datlocprovider::text" if version >= 150000 else "'c'",
        icu_locale=(
            "d.datlocale" if version >= 170000 else "d.daticulocale" if version >= 150000 else "NULL::text"
        ),
    )
    with postgres_errors("read server facts"):
        row = connection.execute(query.encode()).fetchone()
        assert row is not None  # the current database always has a row
        return ServerFacts(
            version_num=row[0],
            version=row[1],
            encoding=row[2],
            collate=row[3],
            ctype=row[4],
            locale_provider=_PROVIDERS.get(str(row[5]), str(row[5])),
            icu_locale=row[9],
            bootstrap_role=row[6],
            data_checksums=row[7],
            database_bytes=row[8],
            system_identifier=_system_identifier(connection),
        )


def _system_identifier(connection: Connection) -> str:
    """Empty where a managed service hides it."""
    try:
        return str(one_value(connection, "SELECT system_identifier FROM pg_catalog.pg_control_system()"))
    except psycopg.errors.InsufficientPrivilege:
        connection.rollback()
        return ""


def read_extensions(connection: Connection) -> tuple[Extension, ...]:
    rows = connection.execute("SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY 1").fetchall()
    return tuple(Extension(name=name, version=version) for name, version in rows)


def read_roles(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
    ).fetchall()
    return tuple(name for (name,) in rows)


def may_read_passwords(connection: Connection) -> bool:
    return bool(one_value(connection, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')"))
