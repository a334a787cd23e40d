"""The small application of a rehearsal: ``/api/health`` and one endpoint a table, out of the database.

``python -m pra.drill.application PORT SERVICE TABLE…``. It finds its database through ``PGSERVICEFILE``, anew
with each request, so that whoever rewrites that file switches it. Answers are JSON without any row's value.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

HOST = "127.0.0.1"
BROKEN = "DRILL_BROKEN"
"""Names a file; while it is there every endpoint but health answers 500: a sabotage of the drill."""
_CONNECT_SECONDS = 2
_STATEMENT_SECONDS = 20
_ROWS = 100


def endpoint_of(table: str) -> str:
    """``public.contracts`` → ``/api/contracts``; other schemas stay in the name."""
    schema, _, name = table.rpartition(".")
    return f"/api/{name}" if schema in ("", "public") else f"/api/{table}"


class _Handler(BaseHTTPRequestHandler):
    service: str
    tables: dict[str, str]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        try:
            if path == "/api/health":
                self._say(200, _health(self.service))
            elif path not in self.tables:
                self._say(404, {"ok": False})
            elif os.path.exists(os.environ.get(BROKEN, "")):  # noqa: PTH110 - empty is no path
                self._say(500, {"ok": False})
            else:
                self._say(200, _count(self.service, self.tables[path]))
        except psycopg.OperationalError:
            self._say(503, {"ok": False})
        except psycopg.Error:
            self._say(500, {"ok": False})

    def _say(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: ten requests a second would fill a log."""


def _connect(service: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        service=service,
        connect_timeout=_CONNECT_SECONDS,
        autocommit=True,
        options=f"-c statement_timeout={_STATEMENT_SECONDS}s",
    )


def _health(service: str) -> dict[str, Any]:
    with _connect(service) as connection:
        row = connection.execute(
            "SELECT pg_is_in_recovery(), extract(epoch FROM pg_postmaster_start_time())::float8"
        ).fetchone()
        assert row is not None
        return {"ok": not row[0], "started": row[1]}


def _count(service: str, table: str) -> dict[str, Any]:
    schema, _, name = table.rpartition(".")
    with _connect(service) as connection:
        query = sql.SQL("SELECT count(t) FROM (SELECT * FROM {} LIMIT {}) AS t").format(
            sql.Identifier(schema or "public", name), sql.Literal(_ROWS)
        )
        row = connection.execute(query).fetchone()
        return {"ok": True, "rows": row[0] if row else 0}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def main() -> int:
    port, service, *tables = sys.argv[1:]
    _Handler.service = service
    _Handler.tables = {endpoint_of(table): table for table in tables}
    _Server((HOST, int(port)), _Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
