"""Before a backup: whatever would make it fail or be worthless, found before production is touched."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pra.disk import disk_errors
from pra.errors import PraError, SpaceError, UsageError
from pra.manifest import Manifest, ServerFacts
from pra.postgres import rights
from pra.postgres.connect import Connection, one_value, postgres_errors
from pra.postgres.server_facts import OLDEST_MAJOR, read_facts
from pra.postgres.tools import CLIENT, Tools, find_tools
from pra.procedures import preflight_physical as physical
from pra.procedures.choice import Choice
from pra.procedures.context import Context, recipients, sweep_state
from pra.settings import rpo_warning
from pra.timing import format_duration

SPOOL_BYTES = 8 << 30
"""How much may be sealed and not yet published."""
SCHEDULE = timedelta(hours=1)
"""How often prefect.yaml starts a backup; what the RPO warning reckons with."""
_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Ready:
    """What preflight found out. ``physical`` is None for a logical backup."""

    facts: ServerFacts
    tools: Tools
    previous: Manifest | None
    gaps: tuple[str, ...]
    warnings: tuple[str, ...]
    recipients: tuple[str, ...]
    choice: Choice
    physical: physical.PhysicalReady | None = None


def preflight(context: Context, *, accept_new_server: bool = False, full: bool = False) -> Ready:
    """Find whatever would make the backup fail or be worthless, before production is touched.

    Args:
        full: Take a full backup even where an incremental one would do.

    Raises:
        UsageError: The configuration cannot work; nothing was written.
        RightsError: The role cannot read everything; the hint has the GRANT.
        ConnectError, ToolError, SpaceError: As their messages say.
    """
    with context.timeline.phase("preflight"):
        chosen = recipients(context.settings)
        _ = context.signer
        sweep_state(context)
        with context.server.connect() as connection, postgres_errors("read server"):
            facts = read_facts(connection)
            if facts.version_num < OLDEST_MAJOR * 10000:
                raise UsageError(
                    f"PostgreSQL {facts.version} is too old",
                    op="check server",
                    hint=f"PRA supports {OLDEST_MAJOR} and newer.",
                )
            examined = _examined(context, connection)
            gaps = _gaps(connection, whole_server=examined is not None)
            skew = _skew(context, connection)
            if examined is not None:  # where the function is closed to the role, the protocol says it
                facts = facts.model_copy(update={"system_identifier": examined.identity.system_identifier})
            needs = CLIENT if examined is None else (*CLIENT, "pg_basebackup")
            tools = find_tools(facts.version_num // 10000, context.settings.postgres.bindir, needs=needs)
            readable, unreachable = _readable(context)
            previous = max(readable, key=lambda each: each.taken_at, default=None)
            _check_clock(context, previous)
            _check_same_server(facts, previous, accept_new_server=accept_new_server)
            choice = Choice("full", context.target.digest)
            if examined is not None:
                choice = physical.choose(context, connection, facts, examined, readable, full=full)
        folder = context.folder("spool")
        if examined is None:
            _check_space(folder, facts, previous)
        else:
            physical.check_space(folder, examined, choice, SPOOL_BYTES)
        plain = [] if chosen else ["backups are not encrypted: recipients is empty"]
        hopeless = rpo_warning(context.target, SCHEDULE)
        replication = examined.warnings if examined is not None else ()
        warnings = [*unreachable, *skew, *plain, *([hopeless] if hopeless else []), *replication]
        return Ready(facts, tools, previous, gaps, tuple(warnings), chosen, choice, examined)


def _examined(context: Context, connection: Connection) -> physical.PhysicalReady | None:
    return physical.examine(context, connection) if context.target.engine == "physical" else None


def _gaps(connection: Connection, *, whole_server: bool) -> tuple[str, ...]:
    """Blocking gaps raise; silent ones are named in the manifest. A base backup has none of those: the server
    itself sends its files, and the role reads tables for the fingerprint alone.
    """
    found = rights.gaps(connection)
    rights.require(found, "check rights")
    return () if whole_server else tuple(f"{gap.object}: {gap.what}" for gap in found)


def _readable(context: Context) -> tuple[list[Manifest], list[str]]:
    """Every readable backup of any repository, each once, and what could not be read."""
    found: dict[str, Manifest] = {}
    problems: list[str] = []
    for name in context.repositories:
        try:
            entries = context.catalog(name).backups()
        except PraError as error:
            problems.append(f"repository {name}: {error.message}")
            continue
        problems += [f"repository {name}: {e.backup_id}: {e.error}" for e in entries if e.manifest is None]
        for entry in entries:
            if entry.manifest is not None:
                found.setdefault(entry.backup_id, entry.manifest)
    return list(found.values()), problems


def _skew(context: Context, connection: Connection) -> list[str]:
    """Ids carry our clock's moment and manifests the server's: where they differ, a person must know."""
    theirs: datetime = one_value(connection, "SELECT pg_catalog.clock_timestamp()")
    apart = abs((context.clock() - theirs).total_seconds())
    if apart <= _CLOCK_TOLERANCE.total_seconds():
        return []
    return [f"this machine's clock and the server's are {format_duration(apart)} apart"]


def _check_clock(context: Context, previous: Manifest | None) -> None:
    if previous is not None and previous.taken_at > context.clock() + _CLOCK_TOLERANCE:
        raise UsageError(
            f"the newest backup, {previous.backup_id}, lies in the future",
            op="check clock",
            hint="Correct this machine's clock. If the clock was wrong when that backup was made, remove it.",
        )


def _check_same_server(facts: ServerFacts, previous: Manifest | None, *, accept_new_server: bool) -> None:
    if previous is None or accept_new_server or not facts.system_identifier:
        return
    if previous.server.system_identifier not in ("", facts.system_identifier):
        raise UsageError(
            "the server is not the one that earlier backups came from",
            op="check server",
            hint=(
                "If it was rebuilt or restored on purpose, run once with --accept-new-server; "
                "otherwise give it a target name of its own."
            ),
        )


def _check_space(folder: Path, facts: ServerFacts, previous: Manifest | None) -> None:
    # The dump, compressed, and its sealed copy lie side by side for a while. Without a backup to go by,
    # half the database's size is what compressed dumps of ordinary data stay below.
    sealed = previous.bytes * 1.2 if previous is not None else facts.database_bytes * 0.5
    if facts.version_num < 160000:
        sealed = max(sealed, facts.database_bytes * 0.7)
    needed = int(2 * sealed) + (64 << 20)
    with disk_errors("check spool", folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(
            f"{free >> 20} MiB free where {needed >> 20} MiB may be needed",
            op="check spool",
            hint=f"Make room below {folder}, or move PRA_STATE_DIR to a larger disk.",
        )
