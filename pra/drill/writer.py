"""The writer of a rehearsal: it commits numbered rows all the time and notes each commit outside the
database.

``python -m pra.drill.writer SERVICE JOURNAL FIRST``. A number is in the journal if and only if the server
said that it was committed. After a failure it connects again, wherever the service file points by then, and
goes on
with the next number: it cannot know whether the last one was committed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from pra.postgres.wal import parse_lsn
from pra.timing import from_iso, to_iso

SCHEMA = "pra_drill"
TABLE = f"{SCHEMA}.sentinel"
CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {TABLE} (n bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
"""
A_SECOND = 40
"""Rows it commits a second."""
_PAUSE = 1 / A_SECOND


@dataclass(frozen=True)
class Commit:
    """One acknowledged row.

    Attributes:
        at: When the server's answer came, by our clock.
        lsn: A position in its WAL behind that commit.
    """

    n: int
    at: datetime
    lsn: int = 0


def read_journal(path: Path) -> list[Commit]:
    """Every acknowledged row, in order. A last line cut short by a kill is left out."""
    return list(_lines(path))


def _lines(path: Path) -> Iterator[Commit]:
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError):
            found = json.loads(line)
            yield Commit(int(found["n"]), from_iso(found["at"]), parse_lsn(found["lsn"]))


def _write(connection: psycopg.Connection[tuple[object, ...]], journal: int, n: int) -> int:
    while True:
        connection.execute(f"INSERT INTO {TABLE} (n) VALUES (%s)", (n,))
        at = datetime.now(UTC)
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        line = json.dumps({"n": n, "at": to_iso(at), "lsn": str(row[0]) if row else "0/0"})
        os.write(journal, f"{line}\n".encode())
        n += 1
        time.sleep(_PAUSE)


def main() -> int:
    service, path, first = sys.argv[1:]
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    n = int(first)
    while True:
        with (
            suppress(psycopg.Error),
            psycopg.connect(
                service=service, connect_timeout=2, autocommit=True, options="-c statement_timeout=20s"
            ) as connection,
        ):
            row = connection.execute(f"SELECT coalesce(max(n), 0) FROM {TABLE}").fetchone()
            noted = read_journal(Path(path))
            n = max([n, int(str(row[0])) + 1 if row else 0, *(commit.n + 1 for commit in noted[-1:])])
            _write(connection, journal, n)
        n += 1
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
