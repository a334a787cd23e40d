"""How each kind of disaster is recovered from. Each leaves the service's new place in `Drill.rehearsal`."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from psycopg import sql

from pra import keys
from pra.drill import evidence_of_intrusion
from pra.drill.rehearsal import REPOSITORIES
from pra.drill.state import Drill
from pra.engines.recovery import LATEST, RecoveryTarget, lsn_target, time_target
from pra.errors import RestoreError
from pra.postgres.connect import postgres_errors
from pra.procedures import locate, physical_tables
from pra.procedures.bring_back import Wanted, bring_back
from pra.procedures.context import Context
from pra.procedures.locating import Request
from pra.procedures.recovering import plan_recovery
from pra.settings import Settings, load_settings
from pra.timing import format_duration
from pra.watch.probes import quoted

EARLY = timedelta(seconds=3)
"""How much too early a sabotaged recovery stops."""
_OP = "recover"


def latest(this: Drill) -> None:
    """Restart in vain, then recover to the end of the WAL."""
    if this.scenario.restart_seconds:
        _try_restart(this)
    this.ended = this.disaster_at
    _bring_back(this, this.rehearsal.context(), _early(this, LATEST), REPOSITORIES)


def _try_restart(this: Drill) -> None:
    """What the runbook does first: the old server gets its chance, for so long and no longer."""
    primary = this.rehearsal.primary
    assert primary is not None
    deadline = time.monotonic() + this.scenario.restart_seconds
    tries, words = 0, ""
    while time.monotonic() < deadline and not this.context.scope.closed:
        tries += 1
        try:
            primary.start(seconds=max(0.5, deadline - time.monotonic()))
        except RestoreError as error:
            words = error.message
            time.sleep(0.5)
        else:
            raise RestoreError("the old server started again: the fault was none", op=_OP)
    this.event("restart given up", this.context.clock(), f"{tries} tries: {words}")


def before(this: Drill) -> None:
    """Stop the writers, find the transaction that did the harm, recover to just before it."""
    rehearsal = this.rehearsal
    _fence(this)
    rehearsal.wait_shipped()
    if this.scenario.name == "intrusion":
        evidence_of_intrusion.preserve(this)
    assert rehearsal.primary is not None
    target = find_harm(this)
    if this.scenario.name != "intrusion":  # there it is compared with what comes back, and nobody gets in
        rehearsal.primary.stop()
    _bring_back(this, rehearsal.context(), _early(this, target), REPOSITORIES)


def _fence(this: Drill) -> None:
    """Nobody writes any more: the application is sent nowhere, and the last commit is on its way out."""
    rehearsal = this.rehearsal
    rehearsal.stop_writer()
    rehearsal.close_service()
    with postgres_errors("fence"), rehearsal.server.connect() as connection:
        connection.execute("SELECT pg_switch_wal()")
    this.ended = this.context.clock()
    this.event("fenced", this.ended, "writers stopped, application cut off")


def find_harm(this: Drill) -> RecoveryTarget:
    """The last moment at which all was well, to the transaction."""
    harm = this.harm
    assert harm is not None
    began = time.monotonic()
    found = locate.run(this.rehearsal.context(), Request(harm.holds))
    if found.ended_by is None:
        raise RestoreError("the change that did the harm was not found in the WAL", op="locate")
    seconds = format_duration(time.monotonic() - began)
    this.event(
        "located", this.context.clock(),
        f"transaction {found.ended_by.xid}, {found.asked} states asked in {seconds}",
    )  # fmt: skip
    return lsn_target(found.ended_by.lsn, inclusive=False)


def beside(this: Drill) -> None:
    """The table alone comes back beside the live one, which is mended from it. Nothing else is lost."""
    rehearsal, harm = this.rehearsal, this.harm
    assert harm is not None
    rehearsal.wait_shipped()
    target = _early(this, find_harm(this))
    context = rehearsal.context()
    planned = plan_recovery(context, REPOSITORIES[0], target)
    report, schema = physical_tables.run(context, planned, rehearsal.server, [harm.table])
    this.results += report.checks
    this.required += (physical_tables.SAVED, physical_tables.RESTORED)
    if harm.column:
        _repair_rows(this, schema)
    else:
        _move_back(this, schema)


def _repair_rows(this: Drill, schema: str) -> None:
    """The repair list: rows whose value differs, by key; then the value of before, for these rows alone."""
    harm = this.harm
    assert harm is not None
    live = sql.SQL(quoted(harm.table))  # quoted there
    saved = sql.Identifier(schema, harm.table.rpartition(".")[2])
    column = sql.Identifier(harm.column)
    same = sql.SQL(" AND ").join(
        sql.SQL("live.{0} = saved.{0}").format(sql.Identifier(key)) for key in harm.keys
    )
    key = sql.SQL(", ").join(sql.SQL("live.{}").format(sql.Identifier(name)) for name in harm.keys)
    differ = sql.SQL("live.{0} IS DISTINCT FROM saved.{0}").format(column)
    with postgres_errors("repair"), this.rehearsal.server.connect() as connection:
        query = sql.SQL("SELECT {} FROM {} live JOIN {} saved ON {} WHERE {} ORDER BY {}")
        rows = connection.execute(query.format(key, live, saved, same, differ, key)).fetchall()
        folder = this.rehearsal.home / "repair-list.csv"
        folder.touch(mode=0o600)
        folder.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        done = connection.execute(
            sql.SQL("UPDATE {} live SET {} = saved.{} FROM {} saved WHERE {} AND {}").format(
                live, column, column, saved, same, differ
            )
        )
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    this.event(
        "repaired", this.context.clock(), f"{done.rowcount} rows of {harm.table}, from a list of {len(rows)}"
    )
    if len(rows) != harm.rows:
        this.findings.append(f"The repair list has {len(rows)} rows; {harm.rows} had been changed.")


def _move_back(this: Drill, schema: str) -> None:
    harm = this.harm
    assert harm is not None
    home, _, name = harm.table.rpartition(".")
    with postgres_errors("move table back"), this.rehearsal.server.connect() as connection:
        connection.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                sql.Identifier(schema, name), sql.Identifier(home or "public")
            )
        )
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    this.event("moved back", this.context.clock(), harm.table)
    this.findings.append(
        f"Foreign keys and views that pointed to {harm.table} went with it: "
        "create them again from the definitions of the last verification."
    )


def sheet(this: Drill) -> None:
    """An empty host: the offsite repository and the paper are all there is."""
    this.ended = this.disaster_at
    settings = settings_from_sheet(this)
    this.rehearsal.settings = settings
    _bring_back(this, this.rehearsal.context(settings=settings), _early(this, LATEST), ("far",))


def settings_from_sheet(this: Drill) -> Settings:
    """Type in what the paper says: identities, trusted keys, the offsite repository's address."""
    words = [line.strip() for line in this.sheet.splitlines()]
    rehearsal = this.rehearsal
    url = [line.removeprefix("URL: ") for line in words if line.startswith("URL: ")][-1]
    trusted = [line for line in words if line.startswith("ed25519:")]
    state = rehearsal.home / "new-state"
    state.mkdir(mode=0o700)
    made = keys.make_keys(state / "keys")
    retired = state / "keys" / "retired"
    retired.mkdir(mode=0o700, exist_ok=True)
    identity = retired / "identity-sheet.txt"
    identity.touch(mode=0o600)
    identity.write_text("".join(f"{line}\n" for line in words if line.startswith("AGE-SECRET-KEY-")))
    text = rehearsal.render(
        repositories={"far": url},
        recipient=made.recipient,
        trusted=trusted,
        dsn="host=/nowhere dbname=postgres",
    )
    file = rehearsal.home / "pra.toml"
    file.write_text(text)
    return load_settings(file, {**rehearsal.environment(), "PRA_STATE_DIR": str(state)})


RECOVERIES = {"latest": latest, "before": before, "beside": beside, "sheet": sheet}


# -- what they have in common ------------------------------------------------------------------------


def _early(this: Drill, target: RecoveryTarget) -> RecoveryTarget:
    """The target; too early where that is the sabotage."""
    if this.order.sabotage != "stops-early":
        return target
    return time_target(this.disaster_at - EARLY)


def _bring_back(this: Drill, context: Context, target: RecoveryTarget, repositories: tuple[str, ...]) -> None:
    rehearsal = this.rehearsal
    place = rehearsal.place("restored")
    wanted = Wanted(repositories, target, disaster_at=this.ended or this.disaster_at, tablespaces=None)
    this.brought = this.stack.enter_context(bring_back(context, wanted, place.data))
    rehearsal.restored = replace(place, tools=this.brought.session.tools or place.tools)
    rehearsal.restored.prepare()
    for one in this.brought.passed_over:
        this.deviations.append(f"Passed over: {one}.")
    rehearsal.restored.start()
    if this.scenario.name == "intrusion":
        evidence_of_intrusion.rotate_passwords(this)


def stop_old_server(this: Drill) -> None:
    """Whatever still runs of the old world."""
    primary = this.rehearsal.primary
    if primary is not None and this.rehearsal.restored is not None:
        with suppress(FileNotFoundError):
            primary.stop(signal.SIGKILL)
