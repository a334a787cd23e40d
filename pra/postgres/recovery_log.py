"""What PostgreSQL says of how far a recovery came: its log, and the commit record at its end."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pra.errors import ToolError
from pra.postgres.tools import Tools
from pra.postgres.wal import SEGMENT, format_lsn, parse_lsn, segment_name
from pra.proc import Scope

_REDO_DONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time ([-0-9]{10} [0-9:.]+)")
_ENDED_AT = re.compile(r"desc: (?:COMMIT|ABORT)\S* .*?([-0-9]{10} [0-9:.]+) UTC")


def transaction_end(scope: Scope, tools: Tools, folder: Path, lsn: int, timeline: int) -> datetime | None:
    """When the transaction ended whose commit or abort record begins at ``lsn``; None if none does.

    Raises:
        ToolError: ``pg_waldump`` cannot read that record.
    """
    sizes = [path.stat().st_size for path in folder.iterdir() if SEGMENT.fullmatch(path.name)]
    if not sizes:
        return None
    there = [n for n in range(timeline, 0, -1) if (folder / segment_name(n, lsn, sizes[0])).exists()]
    if not there:
        return None
    words = (f"--path={folder}", f"--timeline={there[0]}", f"--start={format_lsn(lsn)}", "--limit=1")
    try:
        done = scope.run(
            (tools.path("pg_waldump"), *words),
            op="read WAL",
            timeout=60,
            env={**tools.env(), "LC_ALL": "C", "TZ": "UTC"},
        )
    except ToolError as error:
        if "could not find a valid record" not in error.stderr:
            raise
        return None  # the empty rest of a segment that was switched early
    match = _ENDED_AT.search(done.stdout)
    return _utc(match[1]) if match else None


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def where_it_ended(said: str) -> str:
    """From the server's log: position and time of the last thing it could replay."""
    done, commit = _REDO_DONE.findall(said), _LAST_COMMIT.findall(said)
    where = f"the last record is at LSN {format_lsn(parse_lsn(done[-1]))}" if done else "it holds no record"
    return f"{where}, the last transaction of {commit[-1]} UTC" if commit else where
