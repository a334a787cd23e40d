"""The server around the database: databases nobody protects, standbys, its WAL and slots, its disk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import psycopg

from pra.postgres.connect import Connection, one_value, postgres_errors
from pra.settings import Settings, Target
from pra.timing import format_duration
from pra.watch.status.aim import Aim, size
from pra.watch.status.disk import space
from pra.watch.status.finding import Finding, Level

# The slot's row is for everybody. Of a standby that replicates from a standby there is no current position.
_SLOTS = """
SELECT slot_name::text, slot_type, active, coalesce(wal_status, ''),
       coalesce(greatest(0, (CASE WHEN pg_catalog.pg_is_in_recovery()
                                  THEN pg_catalog.pg_last_wal_receive_lsn()
                                  ELSE pg_catalog.pg_current_wal_lsn() END) - restart_lsn), 0)::int8
FROM pg_catalog.pg_replication_slots WHERE NOT temporary ORDER BY 1
"""
_KEEP = "SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'"
_STANDBYS = """
SELECT application_name, coalesce(state, ''), extract(epoch FROM replay_lag)::float8,
       (pg_catalog.pg_current_wal_lsn() - replay_lsn)::int8
FROM pg_catalog.pg_stat_replication
WHERE coalesce(state, '') <> 'backup' AND application_name !~ '^(pra|pg_receivewal|pg_basebackup)'
ORDER BY 1
"""
_DATABASES = """
SELECT datname::text FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' ORDER BY 1
"""
_SHOWN = 5


def server(aim: Aim) -> list[Finding]:
    """Everything that one connection can tell beside the database's own state."""
    found: list[Finding] = []
    with aim.connect() as connection, postgres_errors("look at server"):
        found += _unprotected(aim, connection)
        if not one_value(connection, "SELECT pg_catalog.pg_is_in_recovery()"):
            found += _standbys(aim, connection)
        found += _slots(aim, connection)
        if aim.context.target.engine == "physical":
            found += _pg_wal(aim, connection)
        found += _disk(aim, connection)
    return found


def covers(target: Target) -> tuple[str, ...]:
    """What `server` answers in any case."""
    slots = ("slot", "pg_wal") if target.engine == "physical" else ()
    return ("unprotected", *slots)


def _unprotected(aim: Aim, connection: Connection) -> list[Finding]:
    ours = of_its_server(aim.context.settings, aim.context.target)
    if any(target.engine == "physical" for target in ours):
        return [aim.ok("unprotected", "a base backup holds every database of the server", 0, "count")]
    known = {database_of(target) for target in ours} | set(aim.status.unprotected)
    names = [str(name) for (name,) in connection.execute(_DATABASES).fetchall() if name not in known]
    if not names:
        return [aim.ok("unprotected", "every database of the server is protected", 0, "count")]
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    fact = f"{len(names)} databases of the server have no backup: {shown}"
    if len(names) == 1:
        fact = f"database {names[0]} of the server has no backup"
    hint = "Give it a target in pra.toml, or name it under unprotected of [status]."
    return [aim.bad(Level.WARNING, "unprotected", fact, hint, len(names), "count")]


def of_its_server(settings: Settings, target: Target) -> list[Target]:
    """The targets on the same server: a database of the same name on another one is another database."""
    return [each for each in settings.targets.values() if _place(each) == _place(target)]


def database_of(target: Target) -> str:
    words = _words(target.dsn)
    return words.get("dbname") or words.get("user", "")


@lru_cache(maxsize=4096)
def _words(dsn: str) -> Mapping[str, str]:
    """Every target is held against every other: each is taken apart once."""
    words = psycopg.conninfo.conninfo_to_dict(dsn)
    return {key: str(value) for key, value in words.items()}


def _place(target: Target) -> tuple[str, str]:
    words = _words(target.dsn)
    host = words.get("hostaddr") or words.get("host") or "localhost"
    return ("127.0.0.1" if host == "localhost" else host, words.get("port", "5432"))


def _standbys(aim: Aim, connection: Connection) -> list[Finding]:
    failover = aim.context.target.failover
    wanted = failover is not None and failover.standby is not None
    rows = connection.execute(_STANDBYS).fetchall()
    if not rows:
        if not wanted:
            return []
        hint = "Look at the standby's log: a failover to it would lose what it has not received."
        return [aim.bad(Level.CRITICAL, "replication", "no standby streams from the server", hint)]
    behind = max((float(row[2] or 0) for row in rows), default=0.0)
    names = ", ".join(str(row[0]) or "?" for row in rows)
    if any(row[1] == "" for row in rows):
        hint = f'Grant it: GRANT pg_read_all_stats TO "{connection.info.user}";'
        fact = f"the role may not see how far {names} is"
        return [aim.bad(Level.UNKNOWN, "replication", fact, hint)]
    idle = [str(row[0]) for row in rows if row[1] != "streaming"]
    if idle:
        hint = "Look at the standby's log."
        return [aim.bad(Level.WARNING, "replication", f"standby {', '.join(idle)} does not stream", hint)]
    lost = max(int(row[3] or 0) for row in rows)
    fact = f"{names}: {size(lost)} and {format_duration(behind)} behind"
    if behind > aim.status.replica_lag.total_seconds():
        hint = "Look at the standby's load, and for long queries there that hold replay up."
        return [aim.bad(Level.WARNING, "replication", fact, hint, round(behind, 3), "s")]
    return [aim.ok("replication", fact, round(behind, 3), "s")]


def _slots(aim: Aim, connection: Connection) -> list[Finding]:
    """One finding over all slots, and the worst of them in its words; ours counts for more."""
    own = aim.context.target.slot
    limit = int(one_value(connection, _KEEP) or 0)
    keep = None if limit < 0 else limit << 20
    rows = connection.execute(_SLOTS).fetchall()
    found = [_slot(aim, str(r[0]), bool(r[2]), str(r[3]), int(r[4]), keep) for r in rows]
    if aim.context.target.engine == "physical" and own not in {str(row[0]) for row in rows}:
        hint = f"Start the streamer: pra wal stream {aim.name}"
        fact = f"the server has no replication slot {own}: nothing keeps its WAL until it is shipped"
        found.append(aim.bad(Level.WARNING, "slot", fact, hint))
    if not found:
        return []
    return [max(found, key=lambda finding: (finding.level.rank, finding.value or 0))]


def _slot(aim: Aim, name: str, active: bool, status: str, kept: int, keep: int | None) -> Finding:
    ours = name == aim.context.target.slot
    start = f"Start the streamer: pra wal stream {aim.name}"
    hint = start if ours else f"Start what reads from it, or: SELECT pg_drop_replication_slot('{name}');"
    what = f"{size(kept)} of WAL kept for slot {name}"
    if status == "lost":
        level = Level.CRITICAL if ours else Level.WARNING
        again = f"SELECT pg_drop_replication_slot('{name}'); then pra backup --full" if ours else hint
        fact = f"slot {name} is lost: the server removed WAL that had not been read"
        return aim.bad(level, "slot", fact, again, kept, "bytes")
    used = kept / keep if keep else 0.0
    if used > 0.5:
        level = Level.CRITICAL if used > 0.8 else Level.WARNING
        fact = f"{what}, {used:.0%} of max_slot_wal_keep_size"
        return aim.bad(level, "slot", fact, hint, kept, "bytes")
    if not active:
        fact = f"nobody reads from slot {name}: {size(kept)} of WAL is kept for it"
        if keep is None:
            fact += ", and no max_slot_wal_keep_size ends that"
        return aim.bad(Level.WARNING, "slot", fact, hint, kept, "bytes")
    if keep is None and ours:
        hint = "Set max_slot_wal_keep_size: a streamer that stays away fills the server's disk."
        return aim.bad(Level.WARNING, "slot", "max_slot_wal_keep_size is unlimited", hint, kept, "bytes")
    return aim.ok("slot", what, kept, "bytes")


def _pg_wal(aim: Aim, connection: Connection) -> list[Finding]:
    try:
        total = int(one_value(connection, "SELECT sum(size)::int8 FROM pg_catalog.pg_ls_waldir()") or 0)
    except psycopg.errors.InsufficientPrivilege:
        hint = f'Grant it: GRANT pg_monitor TO "{connection.info.user}";'
        return [aim.bad(Level.UNKNOWN, "pg_wal", "the role may not see the size of pg_wal", hint)]
    most = one_value(connection, "SELECT pg_catalog.pg_size_bytes(current_setting('max_wal_size'))")
    keep = int(one_value(connection, _KEEP) or 0)
    allowed = 2 * int(most or 0) + max(0, keep << 20)
    if keep >= 0 and total > allowed:
        hint = "Find out what keeps it: a slot, wal_keep_size, or archive_command that fails."
        fact = f"pg_wal holds {size(total)}, more than its settings explain"
        return [aim.bad(Level.WARNING, "pg_wal", fact, hint, total, "bytes")]
    return [aim.ok("pg_wal", f"pg_wal holds {size(total)}", total, "bytes")]


def _disk(aim: Aim, connection: Connection) -> list[Finding]:
    """The server's own disk, where it is this machine's and we may look at it."""
    address = aim.context.server.words().get("host", "")
    if not (address.startswith(("/", "@")) or address in ("", "localhost", "127.0.0.1", "::1")):
        return []
    folder = one_value(connection, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'")
    if not folder or not Path(str(folder)).is_absolute():
        return []
    return space(aim.status, "disk.server", aim.name, Path(str(folder)), "the server's disk", optional=True)
