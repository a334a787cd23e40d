"""Before a physical backup: whether the server lets itself be copied, and what kind of backup it will be."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pra.disk import disk_errors
from pra.engines.sealer import TAKEN_BYTES
from pra.errors import IntegrityError, PostgresError, PraError, SpaceError, UsageError
from pra.manifest import Manifest, ServerFacts
from pra.postgres.connect import Connection
from pra.postgres.replication import (
    Identity,
    ReplicationFacts,
    SlotFacts,
    identify,
    may_not_replicate,
    no_sender,
    no_slot,
    read_replication,
    summarized,
)
from pra.postgres.wal import format_lsn
from pra.procedures.choice import Choice, Situation, depth_of, parent_of
from pra.procedures.context import Context
from pra.settings import Target
from pra.storage.pipe import unseal

_OP = "check replication"
_SENDERS = 2  # pg_basebackup, and the one that holds the slot
_LARGEST_LINEAGE = 512 << 20
_SPARE = 64 << 20


@dataclass(frozen=True)
class PhysicalReady:
    """What preflight found out for a base backup."""

    facts: ReplicationFacts
    identity: Identity
    warnings: tuple[str, ...]


def examine(context: Context, connection: Connection) -> PhysicalReady:
    """Ask the server whether it lets itself be copied.

    Raises:
        UsageError: Its configuration forbids it; the hint has what to change.
        RightsError: The role may not replicate; the hint has the SQL.
        PostgresError: No WAL sender or slot is free; transient.
        ConnectError: ``pg_hba.conf`` lets no replication connection in; the hint has the line.
    """
    facts = read_replication(connection, context.target.slot)
    require(facts)
    identity = identify(context.server)
    return PhysicalReady(facts, identity, tuple(warnings(facts, context.target)))


def require(facts: ReplicationFacts) -> None:
    """Refuse a server that cannot be copied. Raises as `examine`."""
    if not facts.may_replicate:
        raise may_not_replicate(facts.role, _OP)
    if facts.in_recovery:
        raise UsageError(
            "the server is a standby",
            op=_OP,
            hint="Give the DSN of the primary: a standby's last WAL segment is not finished.",
        )
    if facts.wal_level == "minimal":
        raise UsageError(
            "wal_level is minimal: the server writes too little WAL to recover from",
            op=_OP,
            hint="Run as a superuser: ALTER SYSTEM SET wal_level = 'replica'; then restart the server.",
        )
    if facts.wal_segment_bytes > TAKEN_BYTES:
        raise UsageError(
            f"the server's WAL segments have {facts.wal_segment_bytes >> 20} MiB",
            op=_OP,
            hint=f"Segments of up to {TAKEN_BYTES >> 20} MiB are supported.",
        )
    _require_free(facts.senders, facts.senders_used, _SENDERS, "max_wal_senders", no_sender(_OP))
    _require_free(facts.slots, facts.slots_used, 1, "max_replication_slots", no_slot(_OP))


def _require_free(allowed: int, used: int, needed: int, setting: str, busy: PostgresError) -> None:
    if allowed < needed:
        raise UsageError(
            f"{setting} is {allowed}, a base backup takes {needed}",
            op=_OP,
            hint=f"Run as a superuser: ALTER SYSTEM SET {setting} = 10; then restart the server.",
        )
    if allowed - used < needed:
        raise PostgresError(
            f"{busy.message}: {used} of {allowed} in use, {needed} needed",
            op=_OP,
            hint=busy.hint,
            transient=True,
        )


def warnings(facts: ReplicationFacts, target: Target) -> list[str]:
    """What does not stop a backup, and endangers recovery between backups, or production."""
    slot = facts.slot
    if slot is None:
        return [
            f"no streamer has ever run for {target.name} (slot {target.slot}): what is written between two "
            f"backups cannot be recovered; run: pra wal stream {target.name}"
        ]
    return [*_slot_warnings(slot, target), *_keep_warnings(facts, target)]


def _slot_warnings(slot: SlotFacts, target: Target) -> list[str]:
    found = []
    if slot.wal_status == "lost":
        found.append(
            f"slot {slot.name} is lost: the server removed WAL that the streamer had not read; drop it with "
            f"SELECT pg_drop_replication_slot('{slot.name}'); and run: pra wal stream {target.name}"
        )
    elif not slot.active:
        found.append(
            f"no streamer is connected to slot {slot.name}, which keeps {slot.kept_bytes >> 20} MiB of WAL "
            f"on the server; run: pra wal stream {target.name}"
        )
    elif slot.kept_bytes > target.physical.backlog or slot.wal_status == "unreserved":
        found.append(
            f"the streamer is {slot.kept_bytes >> 20} MiB of WAL behind (slot {slot.name} is "
            f"{slot.wal_status or 'reserved'}): look at its log and at its repositories"
        )
    return found


def _keep_warnings(facts: ReplicationFacts, target: Target) -> list[str]:
    if facts.slot_keep_bytes is not None:
        return []
    size = f"{max(1, target.physical.backlog >> 30)}GB"
    return [
        "max_slot_wal_keep_size is not set: a streamer that stays away fills the server's disk; run as a "
        f"superuser: ALTER SYSTEM SET max_slot_wal_keep_size = '{size}'; SELECT pg_reload_conf();"
    ]


def choose(
    context: Context,
    connection: Connection,
    facts: ServerFacts,
    ready: PhysicalReady,
    backups: Sequence[Manifest],
    *,
    full: bool,
) -> Choice:
    """Decide the kind; whatever an incremental backup lacks makes it a full one, with the reason.

    Raises:
        PostgresError: The server was lost.
    """
    situation = Situation(
        target=context.target,
        backups=backups,
        major=facts.version_num // 10000,
        summarize_wal=ready.facts.summarize_wal,
        system_identifier=ready.identity.system_identifier,
        timeline=ready.identity.timeline,
        now=context.clock(),
        asked_full=full,
    )
    depth = depth_of(situation)
    parent = parent_of(situation)
    if isinstance(parent, str):
        return Choice("full", depth, reason=parent)
    assert parent.physical is not None  # parent_of returns no other
    if summarized(connection, parent.physical.timeline, parent.physical.start) is False:
        start = format_lsn(parent.physical.start)
        return Choice("full", depth, reason=f"WAL summaries are missing since {start}")
    lineage = read_lineage(context, parent)
    if isinstance(lineage, str):
        return Choice("full", depth, reason=lineage)
    return Choice("incremental", depth, (*parent.parents, parent.backup_id), lineage)


def read_lineage(context: Context, parent: Manifest) -> bytes | str:
    """The parent's manifest from the first repository that has it whole; else why there is none."""
    assert parent.physical is not None  # the caller's choice
    stored = parent.object(parent.physical.lineage)
    reasons = []
    for name in context.repositories:
        try:
            if stored.plain_bytes > _LARGEST_LINEAGE:
                raise IntegrityError(f"it has {stored.plain_bytes} bytes", op="read lineage")
            with (
                context.catalog(name).open_object(parent.backup_id, stored.name) as source,
                unseal(source, stored, identities=()) as plain,
            ):
                return plain.read()
        except PraError as error:
            reasons.append(f"{name}: {error.message}")
    return f"the lineage of {parent.backup_id} cannot be read ({'; '.join(reasons)})"


def check_space(folder: Path, ready: PhysicalReady, choice: Choice, limit: int) -> None:
    """The sealed volumes wait in the spool for the publishers; with tablespaces the tar files lie there too.

    Args:
        limit: How much the spool holds at most.

    Raises:
        SpaceError: It will not fit.
    """
    # An incremental backup is usually far smaller; how large it will be nobody knows before.
    raw = ready.facts.server_bytes // (1 if choice.kind == "full" else 4)
    clear = raw if ready.facts.tablespaces else 0
    needed = min(raw, limit) // 2 + clear + _SPARE
    with disk_errors("check spool", folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        why = ": the server has tablespaces, so its tar files lie there for a while" if clear else ""
        raise SpaceError(
            f"{free >> 20} MiB free where {needed >> 20} MiB may be needed{why}",
            op="check spool",
            hint=f"Make room below {folder}, or move PRA_STATE_DIR to a larger disk.",
        )
