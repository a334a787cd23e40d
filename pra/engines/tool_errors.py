"""What a failed `pg_dump`, `pg_dumpall` or `pg_basebackup` means."""

from __future__ import annotations

import re

from pra.errors import (
    PostgresError,
    PraError,
    RightsError,
    SpaceError,
    SummariesMissing,
    ToolError,
    ToolTimeout,
)
from pra.postgres.connect import Server
from pra.postgres.replication import explain_refusal

_DENIED = re.compile(r"permission denied for (?:table|sequence|view|materialized view|relation|schema) (\S+)")
_LOST = re.compile(
    r"server closed the connection|terminating connection|could not connect|connection to server .* failed"
    r"|the database system is (?:starting up|shutting down|in recovery)|invalid snapshot identifier"
    r"|could not receive data|could not read (?:COPY|from) |could not get (?:COPY|write-ahead|backup)"
    r"|COPY stream ended|terminating walsender|unexpected termination of replication"
    r"|SSL connection has been closed|snapshot .* does not exist"
    # What is left to say for pg_dump where the server ended a worker before that could speak.
    r"|a worker process died unexpectedly",
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
    # pg_dump sets both limits to 0 for itself, and statement_timeout to --lock-wait-timeout while it locks.
    if re.search(r"(?:lock|statement) timeout|could not obtain lock", text):
        return PostgresError(
            "a table's lock could not be had in time",
            op=error.op,
            hint="Another session holds it (ALTER TABLE, VACUUM FULL, …): see pg_locks, then run it again.",
            transient=True,
        )
    if "affected by row-level security" in text:  # --verbose speaks of reading policies, too
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


# What PostgreSQL says where it cannot tell what changed since the backup before
# (src/backend/backup/basebackup_incremental.c).
_NO_SUMMARIES = re.compile(
    r"(?:error|ERROR): +((?:WAL summar|incremental backups cannot|manifest |timeline \d+ found in manifest"
    r"|could not parse backup manifest|invalid manifest|expected |backup manifest).*)"
)
_GONE = re.compile(r"WAL segment \w+ has already been removed|could not find any WAL|could not find WAL file")


def explain_basebackup(error: ToolError, server: Server, *, incremental: bool) -> PraError:
    """Say what a failed `pg_basebackup` means, what to do, and whether a second try can help."""
    text = error.stderr or error.message
    if isinstance(error, ToolTimeout):
        return error
    if incremental and (said := _NO_SUMMARIES.search(text)):
        return SummariesMissing(
            said[1].strip()[:300],
            op=error.op,
            hint="A full backup is taken instead; see summarize_wal and wal_summary_keep_time.",
        )
    if refusal := explain_refusal(text, server):
        return refusal
    if "promoted during online backup" in text or "recovery is in progress" in text:
        return PostgresError(
            "the server was promoted or demoted during the backup",
            op=error.op,
            hint="Run the backup again.",
            transient=True,
        )
    if _GONE.search(text):
        return PostgresError(
            "the server removed WAL that the backup needs",
            op=error.op,
            hint="Raise max_slot_wal_keep_size: it overrides the backup's slot.",
            transient=True,
        )
    if "No space left" in text:
        return _full_disk(error, text)
    if "checksum verification failure" in text or "checksum error occurred" in text:
        return PostgresError(
            "the server found pages with wrong checksums",
            op=error.op,
            hint="Its disk or memory is damaged: its log names the files. Keep the older backups.",
        )
    if _LOST.search(text) or (error.returncode is not None and error.returncode < 0):
        return PostgresError(
            error.message, op=error.op, hint="The server restarted or dropped the connection.", transient=True
        )
    return error


def _full_disk(error: ToolError, text: str) -> PraError:
    line = next(line for line in text.splitlines() if "No space left" in line)
    if "ERROR:" in line:
        return PostgresError("the server's disk is full", op=error.op, hint="Make room there first.")
    return SpaceError(
        "the disk of the work folder is full",
        op=error.op,
        hint="Make room, or move PRA_STATE_DIR to a larger disk.",
    )
