"""What an intrusion asks for beside a recovery: sealed logs, new passwords, and what was changed."""

from __future__ import annotations

import hashlib
import secrets

from psycopg import sql

from pra.drill.faults import INTRUDER
from pra.drill.state import Drill
from pra.drill.writer import SCHEMA
from pra.errors import RestoreError
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Server, postgres_errors
from pra.storage.pipe import seal

SEALED = "sealed-logs"


def preserve(this: Drill) -> None:
    """Seal the server's log before anything else touches it; its hash goes into the evidence.

    Raises:
        RestoreError: The log does not name the intruder: it is not the one to keep, or it was wiped.
    """
    rehearsal = this.rehearsal
    assert rehearsal.primary is not None
    assert rehearsal.settings is not None
    log = rehearsal.primary.log
    data = log.read_bytes()
    if INTRUDER.encode() not in data:
        raise RestoreError("the server's log does not name the intruder", op="preserve logs")
    folder = rehearsal.home / SEALED
    folder.mkdir(mode=0o700)
    recipients = rehearsal.settings.encryption.recipients or []
    stored = seal([data], folder / f"{log.name}.zst.age", recipients=recipients, level=3)
    digest = hashlib.sha256(data).hexdigest()
    this.facts["sealed_logs"] = [
        {"name": log.name, "bytes": len(data), "sha256": digest, "sealed_sha256": stored.sha256}
    ]
    this.event("logs sealed", this.context.clock(), f"{log.name}: {len(data)} bytes, SHA-256 {digest}")


def rotate_passwords(this: Drill) -> None:
    """Every role that may log in with a password gets a new one, kept in a file of mode 0600."""
    rehearsal = this.rehearsal
    assert rehearsal.restored is not None
    server = rehearsal.restored.server(rehearsal.database)
    file = rehearsal.home / "new-passwords"
    file.touch(mode=0o600)
    with postgres_errors("rotate passwords"), server.connect() as connection:
        names = connection.execute(
            "SELECT rolname::text FROM pg_catalog.pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL"
        ).fetchall()
        for (name,) in names:
            password = secrets.token_urlsafe(24)
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(str(name)), sql.Literal(password))
            )
            with file.open("a") as out:
                out.write(f"{name}: {password}\n")
    this.event("passwords rotated", this.context.clock(), f"{len(names)} roles")


def compare(this: Drill) -> None:
    """Name the tables whose contents differ between the attacked server and the one that came back.

    Only tables that the harm names are expected; the writer's own, which went on, is left out.
    """
    rehearsal = this.rehearsal
    assert rehearsal.restored is not None
    attacked = _digests(rehearsal.server)
    clean = _digests(rehearsal.restored.server(rehearsal.database))
    ours = f"{SCHEMA}."
    changed = sorted(n for n in clean if attacked.get(n) != clean[n] and not n.startswith(ours))
    added = sorted(name for name in attacked if name not in clean)
    this.facts["changed_by_intruder"] = changed + added
    harm = this.harm
    told = ", ".join(changed + added) or "nothing"
    this.event("compared", this.context.clock(), f"changed by the intruder: {told}")
    if harm is not None and harm.table not in changed:
        this.findings.append(f"The comparison did not show that {harm.table} was changed.")


def _digests(server: Server) -> dict[str, object]:
    found = fp.take(
        lambda: server.connect(statement_seconds=0, application="pra compare"), depth="digest", jobs=2,
        sequences=(), with_definitions=False,
    )  # fmt: skip
    return {table.identity: (table.rows, table.digest) for table in found.tables}
