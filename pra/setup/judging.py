"""What a look at a server means: each thing that is missing, with the SQL that closes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pra.errors import PraError
from pra.model import Engine
from pra.postgres.replication import SlotFacts
from pra.postgres.rights import Gap
from pra.postgres.server_facts import OLDEST_MAJOR
from pra.procedures.preflight_physical import require
from pra.setup import grants
from pra.setup.diagnosis import Diagnosis, Mend, ill, of_error, well
from pra.setup.server import ServerReport
from pra.timing import format_duration
from pra.watch.status.finding import Level

CLOCK_SECONDS = 300.0
SENDERS = 3
"""``pg_basebackup``, the one that holds its slot, and the streamer."""
_SHOWN = 5
_AS_SUPERUSER = "Run it as a superuser, with psql, in the database itself."


def judge(report: ServerReport, target: str, engine: Engine) -> list[Diagnosis]:
    """Everything that one look tells about a target of this engine."""
    found = [_version(report, target), _session(report, target), _clock(report, target)]
    found += rights(report, target, engine)
    if engine == "physical":
        found += replication(report, target)
        found += streaming(report, target)
    return found


def _version(report: ServerReport, target: str) -> Diagnosis:
    if report.major < OLDEST_MAJOR:
        hint = f"PRA supports {OLDEST_MAJOR} and newer: upgrade the server."
        fact = f"PostgreSQL {report.facts.version} is too old"
        return ill(Level.CRITICAL, "server", target, fact, hint)
    return well("server", target, f"PostgreSQL {report.facts.version} answers as role {report.role}")


def _session(report: ServerReport, target: str) -> Diagnosis:
    if report.pooled is not None:
        return of_error(report.pooled, "session", target)
    return well("session", target, "one session from start to end, no pooler in between")


def _clock(report: ServerReport, target: str) -> Diagnosis:
    apart = abs(report.skew_seconds)
    if apart <= CLOCK_SECONDS:
        return well("clock", target, f"this machine's clock and the server's are {apart:.1f} s apart")
    fact = f"this machine's clock and the server's are {format_duration(apart)} apart"
    hint = "Let both follow a time server: ids carry one clock's moment, manifests the other's."
    return ill(Level.WARNING, "clock", target, fact, hint, Mend("shell", "timedatectl set-ntp true"))


# -- rights --------------------------------------------------------------------------------------


def rights(report: ServerReport, target: str, engine: Engine) -> list[Diagnosis]:
    """What the role may not read, each with exactly the statement that lets it."""
    found = [*_reading(report, target), *_other_gaps(report, target)]
    if engine == "logical":  # of a base backup the server itself sends every file
        found += _silent(report, target)
    if engine == "physical" and not report.sees_wal:
        fact = "the role may not see the size of pg_wal, nor how far standbys are"
        hint = f"{_AS_SUPERUSER} Backups do without; pra status says unknown until then."
        mend = Mend("sql", grants.monitor_sql(report.role))
        found.append(ill(Level.WARNING, "rights.monitor", target, fact, hint, mend))
    if not found:
        who = "a superuser: a plain role would do" if report.superuser else f"role {report.role}"
        found.append(well("rights", target, f"everything can be read, as {who}"))
    return found


def _reading(report: ServerReport, target: str) -> list[Diagnosis]:
    """Schemas, tables and sequences, in one finding: a role that lacks one usually lacks many."""
    lacking = [gap for gap in report.gaps if gap.severity == "blocking" and gap.what in _READING]
    if not lacking:
        return []
    fact = f"role {report.role} may not read {_named(lacking)}"
    wide = grants.read_all_sql(report.role)
    hint = f"{_AS_SUPERUSER} Tables that are made later need it again; this one covers them: {wide}"
    return [ill(Level.CRITICAL, "rights", target, fact, hint, Mend("sql", _statements(lacking)))]


_READING = ("no USAGE on a schema that holds data", "no SELECT")


def _other_gaps(report: ServerReport, target: str) -> list[Diagnosis]:
    """Row security, which hides rows, and whatever else stops a dump."""
    lacking = [gap for gap in report.gaps if gap.severity == "blocking" and gap.what not in _READING]
    if not lacking:
        return []
    fact = f"row security would hide rows of {_named(lacking)} from role {report.role}"
    return [
        ill(
            Level.CRITICAL,
            "rights.rows",
            target,
            fact,
            _AS_SUPERUSER,
            Mend("sql", _statements(lacking)),
        )
    ]


def _silent(report: ServerReport, target: str) -> list[Diagnosis]:
    """What a dump leaves out without an error. Where no grant helps, it is said and is no fault."""
    grantable = [gap for gap in report.gaps if gap.severity == "silent" and not _is_comment(gap)]
    hidden = [gap for gap in report.gaps if gap.severity == "silent" and _is_comment(gap)]
    found = []
    if grantable:
        fact = "; ".join(f"{gap.object}: {gap.what}" for gap in grantable)
        mend = Mend("sql", _statements(grantable))
        hint = f"{_AS_SUPERUSER} Until then every backup names it as a gap."
        found.append(ill(Level.WARNING, "rights.globals", target, fact, hint, mend))
    if hidden:
        fact = f"no grant shows {_named(hidden)}: not in a dump by this role, and named in every backup"
        found.append(well("rights.hidden", target, fact))
    return found


def _is_comment(gap: Gap) -> bool:
    return gap.grant_sql.startswith("--")


def _named(gaps: Sequence[Gap]) -> str:
    objects = list(dict.fromkeys(gap.object for gap in gaps))
    more = f" and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else ""
    return ", ".join(objects[:_SHOWN]) + more


def _statements(gaps: Sequence[Gap]) -> str:
    return "\n".join(dict.fromkeys(gap.grant_sql for gap in gaps))


# -- replication ---------------------------------------------------------------------------------


def replication(report: ServerReport, target: str) -> list[Diagnosis]:
    """What keeps the server from being copied by a base backup. Empty of faults: it can be."""
    facts = report.replication
    found: list[Diagnosis] = []
    if not facts.may_replicate:
        fact = f"role {report.role} may not replicate"
        mend = Mend("sql", grants.replication_sql(report.role))
        found.append(ill(Level.CRITICAL, "replication", target, fact, _AS_SUPERUSER, mend))
    if facts.in_recovery:
        hint = "Give the DSN of the primary: a standby's last WAL segment is not finished."
        found.append(ill(Level.CRITICAL, "replication.standby", target, "the server is a standby", hint))
    if facts.wal_level == "minimal":
        fact = "wal_level is minimal: the server writes too little WAL to recover from"
        found.append(_setting(target, "wal_level", fact, "'replica'"))
    found += _room(target, "max_wal_senders", facts.senders, facts.senders_used, SENDERS)
    found += _room(target, "max_replication_slots", facts.slots, facts.slots_used, 2)
    if facts.may_replicate and isinstance(report.identity, PraError):
        found.append(_refused(report, target, report.identity))
    if not found:
        found = _as_preflight_says(report, target)
    return found or [well("replication", target, "the server lets itself be copied")]


def _setting(target: str, setting: str, fact: str, value: str) -> Diagnosis:
    hint = "Run it as a superuser, then restart the server."
    mend = Mend("sql", f"ALTER SYSTEM SET {setting} = {value};")
    return ill(Level.CRITICAL, f"replication.{setting}", target, fact, hint, mend)


def _room(target: str, setting: str, allowed: int, used: int, needed: int) -> list[Diagnosis]:
    """A backup needs one less than this: the last place is the streamer's."""
    if allowed - used >= needed:
        return []
    if allowed < needed:
        fact = f"{setting} is {allowed}; a base backup beside a streamer takes {needed}"
        return [_setting(target, setting, fact, str(max(10, used + needed)))]
    fact = f"{used} of {allowed} {setting} are in use, {needed} are needed beside them"
    found = _setting(target, setting, fact, str(used + needed + 5))
    # A streamer of ours may be one of those in use.
    return [ill(Level.WARNING, found.name, target, fact, found.hint, *found.mend)]


def _refused(report: ServerReport, target: str, error: PraError) -> Diagnosis:
    if "pg_hba.conf" not in error.message:
        return of_error(error, "replication.connection", target)
    host = report.server.words().get("host", "/")
    mend = (
        Mend("pg_hba.conf", grants.hba_line(report.role, host)),
        Mend("sql", "SELECT pg_reload_conf();"),
    )
    hint = "Add the line to the server's pg_hba.conf, before any that rejects, then reload it."
    return ill(Level.CRITICAL, "replication.connection", target, error.message, hint, *mend)


def _as_preflight_says(report: ServerReport, target: str) -> list[Diagnosis]:
    """The backup's own question, so that nothing is well here that stops it there."""
    try:
        require(report.replication)
    except PraError as error:
        return [of_error(error, "replication", target)]
    return []


def streaming(report: ServerReport, target: str) -> list[Diagnosis]:
    """The slot that keeps WAL for the streamer, and what keeps that from filling the server's disk."""
    facts = report.replication
    found = [_slot(facts.slot, target)]
    if facts.slot_keep_bytes is None:
        fact = "max_slot_wal_keep_size is not set: a streamer that stays away fills the server's disk"
        text = f"ALTER SYSTEM SET max_slot_wal_keep_size = '{grants.SLOT_KEEPS}';\nSELECT pg_reload_conf();"
        hint = "Run it as a superuser; choose less than the disk of pg_wal has free."
        found.append(ill(Level.WARNING, "slot.limit", target, fact, hint, Mend("sql", text)))
    if report.major >= 17 and not facts.summarize_wal:
        fact = "summarize_wal is off: every backup is a full one"
        text = "ALTER SYSTEM SET summarize_wal = on;\nSELECT pg_reload_conf();"
        hint = "Run it as a superuser, for incremental backups."
        found.append(ill(Level.WARNING, "summaries", target, fact, hint, Mend("sql", text)))
    return found


def _slot(slot: SlotFacts | None, target: str) -> Diagnosis:
    start = Mend("shell", f"pra wal stream {target}")
    if slot is None:
        fact = "no streamer has ever run: what is written between two backups cannot be recovered"
        return ill(Level.WARNING, "slot", target, fact, "Start it, as a service; pra up does.", start)
    if slot.wal_status == "lost":
        drop = sql.SQL("SELECT pg_drop_replication_slot({});").format(sql.Literal(slot.name)).as_string(None)
        fact = f"slot {slot.name} is lost: the server removed WAL that the streamer had not read"
        hint = "Drop it, start the streamer again, and take a full backup: pra backup --full"
        return ill(Level.CRITICAL, "slot", target, fact, hint, Mend("sql", drop), start)
    if not slot.active:
        fact = f"no streamer reads from slot {slot.name}, which keeps {slot.kept_bytes >> 20} MiB of WAL"
        return ill(Level.WARNING, "slot", target, fact, "Start the streamer.", start)
    return well("slot", target, f"a streamer reads from slot {slot.name}")
