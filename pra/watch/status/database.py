"""The protected database itself: does it answer, are its tables there, how large is it?"""

from __future__ import annotations

import time

import psycopg

from pra.errors import ConnectError
from pra.postgres.connect import first_line, one_value, postgres_errors
from pra.timing import format_duration
from pra.watch.probes import quoted
from pra.watch.status.aim import Aim, size
from pra.watch.status.finding import Finding, Level

SHRUNK, GROWN = 0.5, 2.0
"""A database of less than half, or more than twice, its size of a day ago is worth a look."""


def answers(aim: Aim) -> list[Finding]:
    """Connect and ask for a number, as the application does. Not answering is critical."""
    start = time.monotonic()
    try:
        with aim.connect() as connection:
            connection.execute("SELECT 1")
    except ConnectError as error:
        return [aim.bad(Level.CRITICAL, "database", f"does not answer: {error.message}", error.hint)]
    except psycopg.Error as error:
        hint = "Look at the server's log."
        return [aim.bad(Level.CRITICAL, "database", f"does not answer: {first_line(error)}", hint)]
    seconds = time.monotonic() - start
    value, slow = round(seconds * 1000, 1), aim.status.database_slow.total_seconds()
    if seconds > slow:
        fact = f"answers only after {format_duration(seconds)}"
        hint = "Look at its load, and for sessions that hold locks: pg_stat_activity."
        return [aim.bad(Level.WARNING, "database", fact, hint, value, "ms")]
    return [aim.ok("database", f"answers in {value:.0f} ms", value, "ms")]


def tables(aim: Aim) -> list[Finding]:
    """Are the critical tables there? Looks at the catalogue only: reads no row, waits for no lock."""
    wanted = aim.context.target.critical_tables
    if not wanted:
        return []
    gone: list[str] = []
    with aim.connect() as connection, postgres_errors("look for tables"):
        for table in wanted:
            kind = one_value(
                connection,
                "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)",
                quoted(table),
            )
            if kind not in ("r", "p", "m", "v", "f"):
                gone.append(table)
    if gone:
        hint = f"Find out who removed it; what it held: pra restore {aim.name} --into … --table {gone[0]}"
        fact = f"critical table {', '.join(gone)} is gone"
        return [aim.bad(Level.CRITICAL, "tables", fact, hint, len(gone), "count")]
    return [aim.ok("tables", f"{len(wanted)} critical tables are there", 0, "count")]


def growth(aim: Aim) -> list[Finding]:
    """How large the database is, and how much it changed in a day."""
    with aim.connect() as connection, postgres_errors("read size"):
        now = float(
            one_value(connection, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())") or 0
        )
    before = aim.earlier("size")
    if not before:
        return [aim.ok("size", size(now), now, "bytes")]
    change = f"{'+' if now >= before else '-'}{size(abs(now - before))} in a day"
    if now < before * SHRUNK or now > before * GROWN:
        fact = f"{size(now)}, {change}: it was {size(before)}"
        hint = "Find out what was removed or written, before retention lets the older backups go."
        return [aim.bad(Level.WARNING, "size", fact, hint, now, "bytes")]
    return [aim.ok("size", f"{size(now)}, {change}", now, "bytes")]
