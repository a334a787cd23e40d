"""The rehearsal environment: a primary restored from the newest backup, and everything that lives around it.

::

    <root>/drill-xxxxxxxx/          one folder, owned by one process, gone at its end or at the next start
      pra.toml  state/  near/  far/     settings, keys and repositories of the rehearsal alone
      primary/  restored/               servers: socket, log, access rules, data
      pg_service.conf                   where the application finds its database
      sentinels.jsonl                   every row the writer was told is committed
      rehearsal.json                    what an outside observer needs

It knows no credential, slot or repository of production: its settings are written from scratch, and its
target has a name of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pra import keys, service_file
from pra.drill.application import BROKEN, HOST, endpoint_of
from pra.drill.probe import Probe
from pra.drill.writer import CREATE, Commit, read_journal
from pra.errors import RestoreError
from pra.postgres.connect import Server, one_value, postgres_errors
from pra.postgres.server_facts import read_facts
from pra.postgres.service_server import ServiceServer
from pra.postgres.tools import Tools
from pra.postgres.wal import parse_lsn
from pra.proc import Account, Process, Scope
from pra.procedures import backup
from pra.procedures.backup import BackupReport
from pra.procedures.context import Context
from pra.settings import Settings, Target, load_settings
from pra.timing import Clock, to_iso, utc_now
from pra.wal.archive import covered_until, read_archive

SERVICE = "rehearsal"
REPOSITORIES = ("near", "far")
_SHIPPED_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_OP = "rehearse"

_SETTINGS = """\
[targets.{name}]
dsn = {dsn}
engine = "physical"
rpo = "{rpo}s"
rto = "{rto}ms"
repositories = {repositories}
critical_tables = {critical}
suites = {suites}
[targets.{name}.physical]
checkpoint = "fast"
ship_every = "1s"
[encryption]
recipients = ["{recipient}"]
[signing]
trusted = {trusted}
"""


@dataclass
class Rehearsal:
    """One environment under way.

    Attributes:
        home: Its folder; ``stack`` and ``scope`` own all that runs there.
        tables: Critical tables, ``schema.name``.
        probe: Asks the application all the time, once it runs.
    """

    home: Path
    scope: Scope = field(repr=False)
    stack: ExitStack = field(repr=False)
    origin: Target
    origin_settings: Settings = field(repr=False)
    account: Account | None
    clock: Clock = utc_now
    tools: Tools | None = None
    role: str = "postgres"
    database: str = "postgres"
    tables: tuple[str, ...] = ()
    settings: Settings | None = None
    primary: ServiceServer | None = None
    restored: ServiceServer | None = None
    streamer: Process | None = None
    writer: Process | None = None
    application: Process | None = None
    probe: Probe | None = None
    port: int = 0
    rto: float = 0.0

    # -- what everybody asks -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The rehearsal's own target: never the name of a real one, hence never its slot or its keys."""
        return f"drill-{self.origin.name}"[:40]

    @property
    def service_file(self) -> Path:
        return self.home / "pg_service.conf"

    @property
    def journal(self) -> Path:
        return self.home / "sentinels.jsonl"

    @property
    def broken(self) -> Path:
        return self.home / "application-broken"

    @property
    def server(self) -> Server:
        """The primary's database."""
        assert self.primary is not None
        return self.primary.server(self.database)

    def committed(self) -> list[Commit]:
        return read_journal(self.journal)

    def context(
        self, *, settings: Settings | None = None, target: Mapping[str, Any] | None = None
    ) -> Context:
        """A context over the rehearsal's own repositories and keys."""
        chosen = settings or self.settings
        assert chosen is not None
        work = chosen.target(self.name)
        return Context(chosen, work.model_copy(update=dict(target or {})), self.scope, clock=self.clock)

    def place(self, name: str) -> ServiceServer:
        """A server's folder, prepared; its data directory is not there yet."""
        home = self.home / name
        assert self.tools is not None
        place = ServiceServer(home, home / "data", self.tools, self.account, self.role, self.scope)
        place.prepare()
        return place

    # -- setting up ----------------------------------------------------------------------------------

    def configure(self, rto: float | None = None) -> None:
        """Keys, scratch repositories and settings of its own. ``rto`` in seconds: another objective."""
        state = self.home / "state"
        state.mkdir(mode=0o700)
        made = keys.make_keys(state / "keys")
        for name in REPOSITORIES:
            (self.home / name).mkdir(mode=0o700)
        self.rto = rto or self.origin.rto.total_seconds()
        file = self.home / "pra.toml"
        urls = {name: f"file://{self.home}/{name}" for name in REPOSITORIES}
        file.write_text(self.render(urls, made.recipient))
        self.settings = load_settings(file, self.environment())

    def render(
        self,
        repositories: Mapping[str, str],
        recipient: str,
        *,
        trusted: Sequence[str] = (),
        dsn: str = "",
    ) -> str:
        """A ``pra.toml`` of the rehearsal's target over these repositories."""
        dsn = dsn or self.server.dsn
        text = _SETTINGS.format(
            name=self.name,
            dsn=json.dumps(dsn),
            rpo=round(self.origin.rpo.total_seconds()),
            rto=round(self.rto * 1000),
            repositories=json.dumps(list(repositories)),
            critical=json.dumps(list(self.tables)),
            suites=json.dumps([str(suite) for suite in self.origin.suites]),
            recipient=recipient,
            trusted=json.dumps(list(trusted)),
        )
        return text + "".join(f'[repositories.{name}]\nurl = "{url}"\n' for name, url in repositories.items())

    def environment(self) -> dict[str, str]:
        """What a child of the rehearsal sees: nothing of the origin's secrets."""
        ours = {"PRA_CONFIG": str(self.home / "pra.toml"), "PRA_STATE_DIR": str(self.home / "state")}
        bindir = self.origin_settings.postgres.bindir
        if bindir:
            ours["PRA_POSTGRES__BINDIR"] = bindir
        return {**ours, "PGSERVICEFILE": str(self.service_file), "PYTHONPATH": os.pathsep.join(sys.path)}

    def open_service(self) -> None:
        """Sentinels, application, writer and probe; waits until the service answers.

        Raises:
            RestoreError: It does not.
        """
        with postgres_errors("prepare sentinels"), self.server.connect() as connection:
            connection.execute(CREATE)
        self.point(self.server)
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port = int(free.getsockname()[1])
        self.application = self._child(
            "application", "pra.drill.application", str(self.port), SERVICE, *self.tables
        )
        self.start_writer()
        endpoints = [endpoint_of(table) for table in self.tables]
        self.probe = self.stack.enter_context(Probe(f"http://{HOST}:{self.port}", endpoints))
        began = self.clock()
        if self.probe.wait(began, _ANSWER_SECONDS) is None:
            last = self.probe.last()
            raise RestoreError(
                f"the rehearsed service does not answer: {last.what if last else 'nothing was heard'}", op=_OP
            )
        self._tell(endpoints)

    def _tell(self, endpoints: Sequence[str]) -> None:
        document = {
            "schema": "pra/rehearsal/1",
            "url": f"http://{HOST}:{self.port}",
            "endpoints": list(endpoints),
            "service_file": str(self.service_file),
            "service": SERVICE,
            "journal": str(self.journal),
            "pid": os.getpid(),
            "started_at": to_iso(self.clock()),
        }
        temporary = self.home / ".rehearsal.json"
        temporary.write_text(json.dumps(document))
        temporary.replace(self.home / "rehearsal.json")

    def _child(self, name: str, module: str, *argv: str) -> Process:
        extra = {BROKEN: str(self.broken)} if name == "application" else {}
        with (self.home / f"{name}.log").open("ab") as log:
            return self.scope.start(
                (sys.executable, "-m", module, *argv),
                op=f"start {name}",
                env={**self.environment(), **extra},
                cwd=self.home,
                stdout=log,
                stderr=log,
                keep_stdout=False,
            )

    def close_service(self) -> None:
        """Send the application and the writer nowhere: the service leads to the old server no more."""
        nowhere = self.home / "nowhere"
        nowhere.mkdir(mode=0o700, exist_ok=True)
        service_file.point(self.service_file, SERVICE, self.server.words() | {"host": str(nowhere)})

    def point(self, server: Server) -> None:
        """The switch: where the application and the writer connect from now on."""
        service_file.point(self.service_file, SERVICE, server.words())

    # -- writer and streamer -------------------------------------------------------------------------

    def start_writer(self) -> None:
        first = max((commit.n for commit in self.committed()), default=0) + 1
        self.writer = self._child("writer", "pra.drill.writer", SERVICE, str(self.journal), str(first))

    def stop_writer(self) -> None:
        self._end("writer", self.writer)
        self.writer = None

    def start_streamer(self) -> None:
        self.streamer = self._child("streamer", "pra.drill.streaming", self.name)

    def kill_streamer(self) -> None:
        self._end("streamer", self.streamer, kill=True)
        self.streamer = None

    def _end(self, name: str, process: Process | None, *, kill: bool = False) -> None:
        if process is not None:
            process.end(grace=0 if kill else 5, first=signal.SIGKILL if kill else signal.SIGTERM)
            self.scope.forget(process)

    def back_up(self, *, full: bool = False) -> BackupReport:
        """One backup of the primary into both scratch repositories.

        Raises:
            RestoreError: One of them did not take it.
        """
        made = backup.run(self.context(), full=full)
        for result in made.repositories:
            if not result.ok:
                raise RestoreError(f"{result.name} did not take the backup: {result.error}", op=_OP)
        return made

    def wait_shipped(self, repositories: Sequence[str] = REPOSITORIES) -> None:
        """Wait until all that is committed by now lies in each repository.

        Raises:
            RestoreError: It did not arrive in a minute; with the streamer's last words.
        """
        with postgres_errors("read position"), self.server.connect() as connection:
            lsn = parse_lsn(str(one_value(connection, "SELECT pg_current_wal_flush_lsn()::text")))
            facts = read_facts(connection)
        context, deadline = self.context(), time.monotonic() + _SHIPPED_SECONDS
        for name in repositories:
            while self._shipped(context, name, facts.system_identifier, lsn) < lsn:
                if time.monotonic() > deadline or self.streamer is None or not self.streamer.running():
                    raise RestoreError(
                        f"the rehearsal's WAL did not reach {name}: {self._words('streamer')}", op=_OP
                    )
                time.sleep(0.1)

    def _shipped(self, context: Context, repository: str, system_id: str, lsn: int) -> int:
        """How far the WAL in a repository goes, from the newest base backup on."""
        bases = [
            entry.manifest.physical
            for entry in context.catalog(repository).backups()
            if entry.manifest is not None and entry.manifest.physical is not None
        ]
        if not bases:
            return 0
        newest = max(bases, key=lambda base: parse_lsn(base.start_lsn))
        archive = read_archive(context.storage(repository), self.name, system_id)
        start = parse_lsn(newest.start_lsn)
        return covered_until(archive, newest.timeline, start, newest.wal_segment_bytes, limit=lsn + 1)

    def _words(self, name: str) -> str:
        log = self.home / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return lines[-1][:300] if lines else "it wrote no log"

    # -- disasters -----------------------------------------------------------------------------------

    def lose(self, *names: str) -> None:
        """Take folders away, as a fire would."""
        for name in names:
            shutil.rmtree(self.home / name)
