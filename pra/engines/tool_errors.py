"""What a failed `pg_dump` or `pg_dumpall` means."""

from __future__ import annotations

import re

from pra.errors import PostgresError, PraError, RightsError, ToolError, ToolTimeout
from pra.postgres.connect import Server

_DENIED = re.compile(r"permission denied for (?:table|sequence|view|materialized view|relation|schema) (\S+)")
_LOST = re.compile(
    r"server closed the connection|terminating connection|could not connect|connection to server .* failed"
    r"|the database system is (?:starting up|shutting down|in recovery)|invalid snapshot identifier"
    r"|could not receive data|SSL connection has been closed|snapshot .* does not exist",
    re.IGNORECASE,
)


def explain(error: ToolError, server: Server) -> PraError:
    """Say what a failed `pg_dump` means, what to do, and whether a second try can help."""
    if isinstance(error, ToolTimeout):
        return error
    text = error.stderr or error.message
    if denied := _DENIED.search(text):
        name = denied[1].strip(";")
        user = server.words().get("user", "the backup role")
        return RightsError(
            f"the role may not read {name}", op=error.op, hint=f"Run: GRANT SELECT ON {name} TO {user};"
        )
    if "lock timeout" in text or "could not obtain lock" in text:
        return PostgresError(
            "a table's lock could not be had in time",
            op=error.op,
            hint="Another session holds it (ALTER TABLE, VACUUM FULL, …): see pg_locks, then run it again.",
            transient=True,
        )
    if "row-level security" in text:
        return RightsError(
            "row security hides rows from the role",
            op=error.op,
            hint="Give the backup role BYPASSRLS.",
        )
    if "No space left" in text:
        return ToolError(
            "the disk of the work folder is full",
            op=error.op,
            hint="Make room, or move PRA_STATE_DIR to a larger disk.",
        )
    if _LOST.search(text) or (error.returncode is not None and error.returncode < 0):
        return PostgresError(
            error.message, op=error.op, hint="The server restarted or dropped the connection.", transient=True
        )
    return error
