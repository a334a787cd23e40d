"""One repository of one target: its newest backup, its newest proof, and the WAL that has arrived there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from pra.errors import PraError, StorageError
from pra.limited import TimedOut, within
from pra.model import Verdict
from pra.postgres.connect import one_value, postgres_errors
from pra.procedures import wal_check
from pra.procedures.wal_check import Needs, RepositoryWal
from pra.settings import Target
from pra.timing import format_duration, from_iso
from pra.wal.retention import WalBackup
from pra.watch.status.aim import Aim, size
from pra.watch.status.finding import Finding, Level
from pra.watch.status.known import Known, known_backups
from pra.watch.status.record import at_once
from pra.watch.status.record_kept import Said

_LOOK = 10
"""So many of the newest backups say how long one usually takes."""
_SCRUB_SECONDS = 3 * 86400.0
"""One night may be missed."""
_AHEAD = 60.0
"""Seconds by which two machines' clocks may differ without a word."""
_AWAY = "See what is said of its repositories."
_POSITION = """
SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::int8
"""


def covers(target: Target, repository: str) -> tuple[str, ...]:
    """What `look` answers in any case."""
    wal = (f"wal.{repository}",) if target.engine == "physical" else ()
    return (f"backup.{repository}", f"proof.{repository}", *wal)


def look(aim: Aim, repository: str) -> list[Finding]:
    """Everything that this repository says about this target. One that does not answer says it for all."""
    physical = aim.context.target.engine == "physical"
    known, there = known_backups(aim.context, repository, newest=None if physical else _LOOK)
    found = [_newest(aim, repository, known), _proof(aim, repository, there)]
    if physical:
        found.append(_wal(aim, repository, known))
    return found


# -- backups -------------------------------------------------------------------------------------


def _newest(aim: Aim, repository: str, known: Sequence[Known]) -> Finding:
    name = f"backup.{repository}"
    hint = f"Take one now: pra backup {aim.name}; then look why the schedule did not."
    if not known:
        return aim.bad(Level.CRITICAL, name, f"{repository} holds no backup", hint)
    newest = max(known, key=lambda each: (each.taken_at, each.backup_id))
    if newest.error is not None:
        fact = f"the newest backup in {repository} cannot be trusted: {newest.error.message}"
        return aim.bad(Level.CRITICAL, name, fact, newest.error.hint or hint)
    age = (aim.now - newest.taken_at).total_seconds()
    if age < -_AHEAD:
        fact = f"the newest backup in {repository} lies {format_duration(-age)} in the future"
        return aim.bad(
            Level.CRITICAL, name, fact, "Correct the clock: this machine's, or the server's.", age, "s"
        )
    interval = aim.status.backup_every.total_seconds()
    usual = usual_seconds(each.seconds for each in known if each.error is None)
    level = age_level(age, interval, usual)
    fact = f"newest backup in {repository} is {format_duration(max(age, 0))} old"
    if level is Level.OK:
        return aim.ok(name, fact, round(age), "s")
    fact += f"; there is one every {format_duration(interval)}"
    return aim.bad(level, name, fact, hint, round(age), "s")


def usual_seconds(took: Iterable[float]) -> float:
    """How long a backup usually takes, from its start to its publication here: the median of those given."""
    # One that was copied here later says nothing about how long it took.
    return median([seconds for seconds in took if 0 <= seconds < 86400] or [0.0])


def age_level(age: float, interval: float, usual: float) -> Level:
    """How bad an age is, all in seconds.

    Just before the next backup is published, the newest one is an interval and the time to publish old: no
    healthy hour may be more than that. Twice that time is left for a slow one.

    Example: every hour, 4 minutes each: a warning past 68 minutes, critical past 128.
    """
    if age > 2 * interval + 2 * usual:
        return Level.CRITICAL
    return Level.WARNING if age > interval + max(2 * usual, 60.0) else Level.OK


# -- proofs --------------------------------------------------------------------------------------


def _proof(aim: Aim, repository: str, there: set[str]) -> Finding:
    """The last PASS of a backup in this repository, and whether the last verification was one."""
    name, hint = f"proof.{repository}", f"Prove one: pra verify {aim.name} --repository {repository}"
    records = [
        each
        for each in aim.record.said(repository)
        if each.kind == "verification" and each.repository == repository
    ]
    last = next((each for each in records if each.verdict), None)
    if last is not None and last.verdict == Verdict.FAIL:
        fact = f"the last verification from {repository}, of {last.backup_id}, was a FAIL"
        shown = f"See what failed: pra evidence show {last.sequence}; then prove an older backup."
        return aim.bad(Level.CRITICAL, name, fact, shown, _age(aim, last), "s")
    passed = next((each for each in records if each.verdict == Verdict.PASS), None)
    if passed is None:
        return aim.bad(Level.WARNING, name, f"no backup in {repository} was ever proven", hint)
    age = _age(aim, passed)
    fact = f"last PASS from {repository} is {format_duration(age)} old"
    if age > aim.status.proof_every.total_seconds():
        return aim.bad(Level.WARNING, name, fact, hint, age, "s")
    if not any(each.verdict == Verdict.PASS and each.backup_id in there for each in records):
        fact = f"no backup that is still in {repository} has a PASS"
        return aim.bad(Level.WARNING, name, fact, hint, age, "s")
    return aim.ok(name, fact, age, "s")


def drill(aim: Aim) -> list[Finding]:
    """The last drill, and how it ended."""
    hint = f"Rehearse: pra drill {aim.name} --scenario database-down"
    records = [each for each in _any_copy(aim) if each.kind == "drill"]
    ended = [each for each in records if each.verdict in set(Verdict)]
    if not ended:
        return [aim.bad(Level.WARNING, "drill", "no disaster was ever rehearsed", hint)]
    last = ended[0]
    age = _age(aim, last)
    fact = f"last drill {format_duration(age)} ago: {last.verdict}"
    if last.verdict == Verdict.FAIL:
        shown = f"See what failed: pra evidence show {last.sequence}"
        return [aim.bad(Level.CRITICAL, "drill", fact, shown, age, "s")]
    if age > aim.status.drill_every.total_seconds() or last.verdict == Verdict.PARTIAL:
        return [aim.bad(Level.WARNING, "drill", fact, hint, age, "s")]
    return [aim.ok("drill", fact, age, "s")]


def scrubbed(aim: Aim) -> list[Finding]:
    """The last scrub: it runs every night, and damage that it found stays until it is gone."""
    hint = f"Read stored objects again: pra scrub {aim.name}"
    records = [each for each in _any_copy(aim) if each.kind == "scrub" and each.verdict]
    if not records:
        return [aim.bad(Level.WARNING, "scrub", "stored objects were never read again", hint)]
    age = _age(aim, records[0])
    fact = f"last scrub {format_duration(age)} ago: {records[0].verdict}"
    if records[0].verdict == Verdict.FAIL:
        shown = f"See what is damaged, and what it costs: pra evidence show {records[0].sequence}"
        return [aim.bad(Level.CRITICAL, "scrub", fact, shown, age, "s")]
    if age > _SCRUB_SECONDS or records[0].verdict == Verdict.PARTIAL:
        return [aim.bad(Level.WARNING, "scrub", fact, hint, age, "s")]
    return [aim.ok("scrub", fact, age, "s")]


def _any_copy(aim: Aim) -> list[Said]:
    """What the repositories say that answer."""
    names = [name for name in aim.context.repositories if not aim.source(name).silent]
    if not names:
        raise StorageError("not asked: none of its repositories answers", op="read evidence", hint=_AWAY)
    heard: list[str] = []
    if at_once(aim.context) == 1:
        # Of a fleet, all that live have answered by now: one that hangs is not waited for 200 times.
        heard = [name for name in names if aim.source(name).answered]
    return aim.record.together(heard or names, aim.status.limit.total_seconds() / 3)


def _age(aim: Aim, record: Said) -> float:
    return max(0.0, round((aim.now - from_iso(record.at)).total_seconds()))


# -- WAL -----------------------------------------------------------------------------------------


def _wal(aim: Aim, repository: str, known: Sequence[Known]) -> Finding:
    """Whether the WAL there is whole, still arrives, and how far behind the server it is."""
    name = f"wal.{repository}"
    start = f"Start the streamer: pra wal stream {aim.name}"
    found = wal_check.check_repository(aim.context, repository, _needs(known))
    if not found:
        return aim.bad(Level.CRITICAL, name, f"no WAL of {aim.name} is in {repository}", start)
    (newest,) = wal_check.newest_per_repository(found)
    lag = newest.lag_seconds
    complaints = [line for item in found for line in wal_check.complaints(item)]
    if complaints:
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        hint = f"See all: pra wal check {aim.name}; then take a full backup: pra backup {aim.name} --full"
        return aim.bad(Level.CRITICAL, name, complaints[0] + more, hint, lag, "s")
    if lag is None:
        return aim.bad(Level.CRITICAL, name, f"nothing says that WAL arrives in {repository}", start)
    value = round(lag, 1)
    fact = f"WAL in {repository} is {format_duration(lag)} behind{_bytes_behind(aim, newest)}"
    if lag > aim.context.target.rpo.total_seconds():
        return aim.bad(Level.CRITICAL, name, f"{fact}, more than the RPO", start, value, "s")
    if not newest.streaming:
        fact = f"no streamer ships to {repository}: {fact}"
        return aim.bad(Level.WARNING, name, fact, start, value, "s")
    if lag > aim.status.wal_lag.total_seconds():
        hint = "Look at the streamer's log, and at the way to that repository."
        return aim.bad(Level.WARNING, name, fact, hint, value, "s")
    return aim.ok(name, fact, value, "s")


def _needs(known: Sequence[Known]) -> Needs:
    """One whose manifest cannot be read may need anything."""
    lost = [WalBackup(each.backup_id, each.taken_at, readable=False) for each in known if each.error]
    backups = [*(each.wal for each in known if each.wal is not None), *lost]
    return Needs(backups, {each.wal.system_id: each.segment_bytes for each in known if each.wal is not None})


def _bytes_behind(aim: Aim, newest: RepositoryWal) -> str:
    """From the end of the server's WAL back to the end of what was read back there; empty: nobody knows.

    The database has a line of its own; one that does not answer hides nothing of a repository.
    """
    if not newest.reached or aim.database.silent:
        return ""

    def position() -> int:
        with aim.connect() as connection, postgres_errors("read WAL position"):
            return int(one_value(connection, _POSITION) or 0)

    try:
        here = within(aim.status.limit.total_seconds() / 3, position)
    except (PraError, TimedOut):
        return ""
    return f" and {size(max(0, here - newest.reached))}"
