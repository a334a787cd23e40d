"""Bring back chosen tables of a physical backup beside the live ones, as they were at any moment.

The whole server is recovered in a sandbox: at the cut the tables are compared with what was saved, at the
target they are read, moved into a schema of their own and dumped out into the live database, where they are
compared with what the sandbox held.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pra.engines.cut import Cut, NoCut
from pra.engines.recovery import RecoveryTarget
from pra.errors import UsageError
from pra.model import CheckResult, Status
from pra.postgres.connect import Server
from pra.procedures import physical_verify
from pra.procedures.context import Context
from pra.procedures.judging import VerifyReport, conclude
from pra.procedures.recovering import (
    Planned,
    Recovery,
    choice_of,
    fetch,
    open_server,
    recover_to_cut,
    roll_on,
)
from pra.procedures.session import open_session
from pra.procedures.tables import (
    Member,
    check_live,
    compare,
    copy_out,
    cut_loose,
    digests,
    members_of,
    move,
    schema_name,
)

SAVED, RESTORED = "tables saved", "tables restored"


def schema_of(planned: Planned) -> str:
    """The schema beside the live ones, named after the moment: two moments can lie side by side.

    Example: ``restored_20261122t100000z``, ``restored_xid_1234``; for ``latest`` it is the backup's.
    """
    target = planned.plan.target
    return _named(target) or schema_name(planned.plan.manifest.backup_id)


def _named(target: RecoveryTarget) -> str:
    if target.moment is not None:
        fraction = f"_{target.moment.microsecond:06d}" if target.moment.microsecond else ""
        return f"restored_{target.moment:%Y%m%dt%H%M%Sz}{fraction}"
    if target.kind in ("latest", "immediate"):
        return ""
    # 63 bytes is what PostgreSQL keeps of a name.
    return re.sub(r"[^a-z0-9]+", "_", f"restored_{target.kind}_{target.value}".lower())[:63]


def run(context: Context, planned: Planned, server: Server, names: Sequence[str]) -> tuple[VerifyReport, str]:
    """Restore the named tables, as they were at the plan's target, into a new schema of ``server``.

    Args:
        names: ``schema.table``, or ``table`` for one in ``public``.

    Returns:
        The report, whose checks are about these tables alone, and the schema's name.

    Raises:
        UsageError: No such table, or the schema is already there. Nothing was written.
        RestoreError, ToolError: The copy could not be made; the live database is as it was.
    """
    schema = schema_of(planned)
    choice = choice_of(planned, context, planned.plan.repository)
    with open_session(context, choice, kind="restore") as session:
        check_live(session.manifest, server, schema)
        session.planned = planned
        physical_verify.preflight(session)
        this = session.recovery
        assert this is not None
        fetch(this)
        with open_server(this):
            recover_to_cut(this)
            with session.timeline.phase("compare"):
                saved = _saved(this, names)
            roll_on(this)
            with session.timeline.phase("restore"):
                members, restored = _copy(this, server, names, schema)
        extra = {"destination": f"{server.place}, schema {schema}", "tables": [m.identity for m in members]}
        return conclude(session, [saved, restored], required=(SAVED, RESTORED), extra=extra), schema


def _saved(this: Recovery, names: Sequence[str]) -> CheckResult:
    """What the sandbox holds at the cut against what was saved."""
    if not isinstance(this.cut, Cut):
        reason = this.cut.reason if isinstance(this.cut, NoCut) else "there is no cut before the target"
        return CheckResult(SAVED, Status.SKIPPED, expected="as they were saved", reason=reason)
    assert this.assembled is not None
    saved = this.assembled.fingerprint
    try:
        members = members_of(this.database, names)
    except UsageError as error:  # made after the backup: nothing was saved of it
        return CheckResult(SAVED, Status.SKIPPED, expected="as they were saved", reason=error.message)
    return compare(saved, this.database, members, {m.identity: m.identity for m in members}, SAVED)


def _copy(
    this: Recovery, server: Server, names: Sequence[str], schema: str
) -> tuple[list[Member], CheckResult]:
    source = this.database
    members = members_of(source, names)
    held = digests(source, {member.identity for member in members}, "digest")
    cut_loose(source, members)
    move(source, members, schema)
    copy_out(this.session, source, server, schema)
    moved = {f"{schema}.{member.name}": member.identity for member in members}
    return members, compare(held, server, members, moved, RESTORED)
