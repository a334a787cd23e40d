"""The questions about a recovered base backup whose answers were read at the cut.

There the database held exactly what the fingerprint saw, so tables, large objects, materialized views and
definitions must be equal, not merely similar. Later, at the recovery's target, they may rightly have changed.
Where nothing was read at a cut, these questions stay open: ``skipped``, never green.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from checks import content, structure
from checks.database import Check, bounded, connect, number
from pra.model import CheckResult, Status
from pra.postgres import fingerprint as fp
from pra.postgres.connect import postgres_errors
from pra.postgres.wal import format_lsn, parse_lsn, record_start
from pra.restored import Recovered, RestoredDatabase

_UNLOGGED_SEQUENCES = """
SELECT s.nspname::text, c.relname::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
 WHERE c.relkind = 'S' AND 'u' IN (c.relpersistence, t.relpersistence)
"""
CONTENT = ("fingerprint", "large-objects")
_NO_DIGEST = "the backup carries definitions only (digest_every): nothing to compare its rows with"


def recovered_of(db: RestoredDatabase) -> Recovered:
    assert db.recovered is not None
    return db.recovered


def _read_at_cut(
    db: RestoredDatabase, names: Sequence[str], answer: Callable[[fp.Fingerprint], list[CheckResult]]
) -> list[CheckResult]:
    """The answers, or why there are none: damage is an answer, a missing cut is not."""
    found = recovered_of(db)
    if found.observed is not None:
        return answer(found.observed)
    if found.damaged:
        return [
            CheckResult(name, Status.FAILED, "readable", "the database cannot be read", found.damaged)
            for name in names
        ]
    reason = f"not compared: {found.uncompared or 'nobody asked for it'}"
    return [CheckResult(name, Status.SKIPPED, observed="not answered", reason=reason) for name in names]


def checks_of(db: RestoredDatabase) -> tuple[Check, ...]:
    """What is asked in place of the questions about a logical restore."""
    views = ("materialized-views",) if db.fingerprint.matviews else ()
    return (
        Check("fingerprint", "content", tables, (*CONTENT, *views)),
        Check("definitions", "structure", definitions, structure.RESULTS),
        Check("sequences", "content", sequences),
        _flags("indexes-valid", "index", "valid"),
        _flags("constraints-validated", "constraint", "validated"),
        Check("recovery", "content", recovery),
        Check("wal-continuity", "continuity", wal_continuity),
    )


def tables(db: RestoredDatabase) -> list[CheckResult]:
    """Every table, large object and materialized view, digest by digest."""
    views = ("materialized-views",) if db.fingerprint.matviews else ()
    names = (*CONTENT, *views)
    if db.fingerprint.depth == "none":
        return [CheckResult(n, Status.SKIPPED, observed="not answered", reason=_NO_DIGEST) for n in names]
    return _read_at_cut(db, names, lambda observed: _compare(db, observed, bool(views)))


def _compare(db: RestoredDatabase, observed: fp.Fingerprint, views: bool) -> list[CheckResult]:
    expected = replace(db.fingerprint, tables=tuple(t for t in db.fingerprint.tables if t.kind != "unlogged"))
    differences = fp.compare(expected, observed)
    results = [
        content.compared(
            "fingerprint",
            content.tables_of(expected),
            content.tables_of(observed),
            [d for d in differences if d.object != content.LARGE_OBJECTS],
        ),
        content.compared(
            "large-objects",
            number(expected.large_objects.count, "object"),
            number(observed.large_objects.count, "object"),
            [d for d in differences if d.object == content.LARGE_OBJECTS],
        ),
    ]
    if views:
        count = number(len(observed.matviews), "view")
        results.append(
            content.compared(
                "materialized-views",
                number(len(expected.matviews), "view"),
                count,
                fp.compare_matviews(expected, observed),
            )
        )
    return results


def definitions(db: RestoredDatabase) -> list[CheckResult]:
    """Every definition, extension, collation and global object, as it was at the cut."""
    return _read_at_cut(
        db, structure.RESULTS, lambda seen: structure.judge(db, list(seen.definitions), seen.gaps)
    )


def _flags(name: str, kind: str, flag: str) -> Check:
    """Indexes valid, constraints validated: at the cut. Later, one may rightly be in the making."""

    def run(db: RestoredDatabase) -> list[CheckResult]:
        def judge(seen: fp.Fingerprint) -> list[CheckResult]:
            without = structure.without_flag(seen.definitions, kind, flag)
            return [structure.judge_flags(db, name, kind, flag, without)]

        return _read_at_cut(db, (name,), judge)

    return Check(name, "structure", run)


def sequences(db: RestoredDatabase) -> CheckResult:
    """Every sequence stands where it stood or further: at the cut or, if it stood behind there, at the end.

    A sequence lies outside snapshots: what moved it may have been written after the cut. A recovery that
    ended before the values were read has nothing to say about them.
    """
    found = recovered_of(db)
    if found.observed is None and not _past_snapshot(db):
        return CheckResult(
            "sequences",
            Status.SKIPPED,
            observed="not answered",
            reason="recovery ended before the moment at which they were read",
        )
    with connect(db) as connection, postgres_errors("read sequences"):
        # Those of unlogged tables start anew.
        unlogged = {(schema, name) for schema, name in connection.execute(_UNLOGGED_SEQUENCES)}
        now = fp.read_sequences(connection)
    seen = found.observed

    def kept(values: Sequence[fp.SequenceValue]) -> list[fp.SequenceValue]:
        return [value for value in values if (value.schema, value.name) not in unlogged]

    expected, observed = kept(db.fingerprint.sequences), kept(now if seen is None else seen.sequences)
    differences = fp.compare_sequences(expected, observed)
    if differences and seen is not None:
        observed = kept(now)
        differences = fp.compare_sequences(expected, observed)
    return content.compared(
        "sequences",
        f"{number(len(expected), 'sequence')} at or past the recorded values",
        number(len(observed), "sequence"),
        differences,
    )


def _past_snapshot(db: RestoredDatabase) -> bool:
    facts, reached = db.manifest.physical, recovered_of(db).reached
    if facts is None or reached is None or not facts.snapshot_lsn:
        return False
    return reached >= parse_lsn(facts.snapshot_lsn)


def critical_tables(db: RestoredDatabase) -> CheckResult:
    """The tables without which there is no business, in the newest state.

    What they held at the cut is the fingerprint's question. What is missing only later was dropped or emptied
    in production after the backup: no fault of the backup, and yet nothing to be green about.
    """
    found = content.critical_tables(db)
    if found.status is not Status.FAILED:
        return found
    return replace(found, status=Status.SKIPPED, reason=f"since the backup was taken: {found.reason}")


def recovery(db: RestoredDatabase) -> CheckResult:
    """Recovery ended where it was to end; what came back last."""
    found = recovered_of(db)
    expected = f"recovered to {found.target.text()}"
    reached = "?" if found.reached is None else format_lsn(found.reached)
    last = (
        "" if found.last_commit is None else f", last transaction {found.last_commit:%Y-%m-%d %H:%M:%S} UTC"
    )
    if missed := _missed(db):
        return CheckResult("recovery", Status.FAILED, expected, f"at {reached}{last}", missed)
    return CheckResult("recovery", Status.PASSED, expected, f"at {reached}{last}")


def _missed(db: RestoredDatabase) -> str:
    """Why what came back is not the target's state, or nothing. About the end of the WAL, recovery says."""
    found, facts = recovered_of(db), db.manifest.physical
    target, reached, last, moment = found.target, found.reached, found.last_commit, found.target.moment
    if reached is None or facts is None:
        return "where recovery ended is not known"
    early = late = False
    if target.lsn is not None:
        behind = record_start(reached, facts.wal_segment_bytes)
        early = reached <= target.lsn if target.inclusive else behind < target.lsn
    elif moment is not None and last is not None:
        late = last > moment if target.inclusive else last >= moment
    if late:
        return "a transaction of after the target came back"
    return "recovery ended before the target" if early else ""


def wal_continuity(db: RestoredDatabase) -> CheckResult:
    """Nothing is missing behind the backup. Without a streamer, WAL comes with backups only: no fault.

    Nor that a backup from before the window has its own WAL alone: so it is meant.
    """
    name, expected = "wal-continuity", "no WAL is missing between this backup and the newest WAL"
    found = recovered_of(db)
    if not found.missing:
        return CheckResult(name, Status.PASSED, expected, "none is missing")
    reason = f"WAL segment {found.missing} and what came behind it cannot be reached from this backup"
    if found.expired:
        observed = "before pitr_window only each backup's own WAL is kept"
        return CheckResult(name, Status.NOT_APPLICABLE, expected, observed, reason)
    if found.streamed:
        return CheckResult(name, Status.SKIPPED, expected, "streaming began later", reason)
    return CheckResult(name, Status.NOT_APPLICABLE, expected, "nobody streams WAL here", reason)


def ruled_out(db: RestoredDatabase) -> list[CheckResult]:
    """What no base backup brings back, or what its verification does not look at."""
    lines = [
        CheckResult(
            f"unlogged:{table.identity}",
            Status.NOT_APPLICABLE,
            reason="an unlogged table is empty after any physical recovery",
        )
        for table in db.fingerprint.tables
        if table.kind == "unlogged"
    ]
    others = recovered_of(db).databases
    if others:
        lines.append(
            CheckResult(
                "other-databases",
                Status.NOT_APPLICABLE,
                observed=", ".join(bounded(others)),
                reason="they came along and were checked by pg_amcheck; their contents have no fingerprint",
            )
        )
    reason = "a data directory brings its planner statistics along"
    return [*lines, CheckResult("statistics", Status.NOT_APPLICABLE, reason=reason)]
