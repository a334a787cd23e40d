"""What is asked and said of a database once it was recovered: its pages, its facts, how the checks see it."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pra.engines.cut import Cut, NoCut
from pra.errors import ToolTimeout
from pra.messages import Translate
from pra.model import CheckResult, Status
from pra.postgres.wal import format_lsn
from pra.procedures.holes import Hole
from pra.procedures.recovering import Recovery
from pra.procedures.session import earlier
from pra.restored import Recovered, RestoredDatabase
from pra.timing import to_iso

CHECKSUM_SECONDS = 4 * 3600
PAGES = "page-checksums"


def check_pages(this: Recovery) -> CheckResult:
    """Stop the promoted server and let pg_checksums read every page of every file. Phase ``pages``."""
    assert this.server is not None
    if not this.planned.plan.manifest.server.data_checksums:
        reason = "the server was initialized without data checksums"
        return CheckResult(PAGES, Status.NOT_APPLICABLE, reason=reason)
    with this.session.timeline.phase("pages"):
        this.server.stop()
        return _checksums(this)


def _checksums(this: Recovery) -> CheckResult:
    assert this.session.tools is not None
    assert this.server is not None
    tools, started = this.server.tools, time.monotonic()
    process = this.session.context.scope.start(
        [tools.path("pg_checksums"), "--check", f"--pgdata={this.data}"],
        op="check pages",
        env=tools.env(),
        cwd=this.data.parent,
        account=this.account,
    )
    try:
        code = process.popen.wait(CHECKSUM_SECONDS)
        said, words = process.stdout(), process.stderr()
    except subprocess.TimeoutExpired:
        raise ToolTimeout(f"pg_checksums took longer than {CHECKSUM_SECONDS} s", op="check pages") from None
    finally:
        process.end()
        this.session.context.scope.forget(process)
    expected = "every page has the checksum of its content"
    facts = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    bad, blocks = facts.get("Bad checksums", "").strip(), facts.get("Blocks scanned", "").strip()
    seconds = time.monotonic() - started
    if code == 0 and bad == "0":
        return CheckResult(PAGES, Status.PASSED, expected, f"{int(blocks):,} pages read", seconds=seconds)
    lines = [
        _relative(line, this.data) for line in words.splitlines() if "checksum verification failed" in line
    ]
    if lines:
        return CheckResult(
            PAGES, Status.FAILED, expected, f"{bad} bad pages", lines[0], seconds, tuple(lines[:50])
        )
    last = words.splitlines()[-1:] or ["it wrote no message"]
    return CheckResult(
        PAGES, Status.SKIPPED, expected, "not answered", _relative(last[0], this.data), seconds
    )


def _relative(line: str, data: Path) -> str:
    return line.removeprefix("pg_checksums: error: ").replace(f"{data}/", "")


@dataclass(frozen=True)
class RecoveryFacts:
    """What the record says of a recovery: names, positions, counts and times.

    Attributes:
        target: As ``--to`` takes it.
        wal: First and last segment of the plan.
        cut: Where everything was compared; ``uncompared`` says why, where nothing was.
        reached: The position at which recovery ended; ``last_commit`` is of the last transaction there.
        compared_seconds: Looking for the cut and comparing, which the RTO leaves out.
    """

    target: str
    chain: tuple[str, ...]
    timeline: int
    wal: tuple[str, ...]
    backup_bytes: int
    wal_bytes: int
    cut: int | None
    uncompared: str
    reached: int | None
    last_commit: datetime | None
    compared_seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "chain": list(self.chain),
            "timeline": self.timeline,
            "wal": list(self.wal),
            "backup_bytes": self.backup_bytes,
            "wal_bytes": self.wal_bytes,
            "cut": None if self.cut is None else format_lsn(self.cut),
            "uncompared": self.uncompared,
            "reached": None if self.reached is None else format_lsn(self.reached),
            "last_commit": None if self.last_commit is None else to_iso(self.last_commit),
            "compared_milliseconds": round(self.compared_seconds * 1000),
        }


def facts_of(this: Recovery) -> RecoveryFacts:
    found, cut = this.planned.plan, this.cut
    return RecoveryFacts(
        target=found.target.argument(),
        chain=tuple(manifest.backup_id for manifest in found.chain),
        timeline=found.timeline,
        wal=(found.wal[0], found.wal[-1]) if found.wal else (),
        backup_bytes=found.backup_bytes,
        wal_bytes=this.wal.bytes_read if this.wal is not None else 0,
        cut=(cut.lsn or found.consistent) if isinstance(cut, Cut) else None,
        uncompared=cut.reason if isinstance(cut, NoCut) else this.damaged,
        reached=this.reached,
        last_commit=this.last_commit,
        compared_seconds=this.compared_seconds,
    )


def recovery_sentence(facts: RecoveryFacts, _: Translate) -> str:
    """For people: where it was compared, how far recovery came, and what came back last."""
    reached = "?" if facts.reached is None else format_lsn(facts.reached)
    last = "-" if facts.last_commit is None else f"{facts.last_commit:%Y-%m-%d %H:%M:%S} UTC"
    ended = _("Recovered to {reached} on timeline {timeline}, last transaction: {last}.").format(
        reached=reached, timeline=facts.timeline, last=last
    )
    if facts.cut is None:
        return f"{ended} {_('Not compared: {reason}.').format(reason=facts.uncompared)}"
    return f"{ended} {_('Compared at {cut}.').format(cut=format_lsn(facts.cut))}"


def describe(this: Recovery, *, sandboxed: bool = True) -> RestoredDatabase:
    """The promoted database as the checks see it."""
    assert this.assembled is not None
    assert this.server is not None
    session = this.session
    return RestoredDatabase(
        server=this.database,
        target=session.context.target,
        manifest=session.manifest,
        fingerprint=this.assembled.fingerprint,
        tools=this.server.tools,
        sandboxed=sandboxed,
        network=not this.server.isolated,
        scope=session.context.scope,
        work=session.work,
        earlier=earlier(session),
        recovered=Recovered(
            observed=this.observed,
            uncompared=this.cut.reason if isinstance(this.cut, NoCut) else "",
            damaged=this.damaged,
            target=this.planned.plan.target,
            reached=this.reached,
            last_commit=this.last_commit,
            databases=_databases(this),
            missing=this.planned.plan.missing,
            streamed=this.planned.hole is not Hole.UNSTREAMED,
            expired=this.planned.hole is Hole.EXPIRED,
        ),
    )


def _databases(this: Recovery) -> tuple[str, ...]:
    facts = this.planned.plan.manifest.physical
    assert facts is not None
    return tuple(name for name in facts.databases if name != this.planned.plan.manifest.database)
