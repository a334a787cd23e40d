"""The logical engine, writing side: fetched volumes become a database again.

Every error of `pg_restore` is an error. What is left out is decided beforehand, by name and with its
reason: data of materialized views is refreshed one by one at the end, since a view over a foreign
server cannot be refreshed without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pra.engines import contents
from pra.engines.fetching import Fetched
from pra.engines.globals import database_statements, globals_of, prepare_globals, tablespaces
from pra.engines.logical import Report, no_report
from pra.engines.refresh import refresh_views
from pra.errors import RestoreError, ToolError
from pra.manifest import Manifest
from pra.postgres.connect import Server
from pra.postgres.tools import Tools, analyze_argv, psql_argv, restore_argv
from pra.proc import Scope

RESTORE_SECONDS = 24 * 3600.0
# pg_restore is silent while one index is built; this bounds a hang, not an index.
_IDLE_SECONDS = 2 * 3600.0


@dataclass
class Restored:
    """What came of a restore. ``unrefreshed`` maps a materialized view to why it has no data."""

    server: Server
    unrefreshed: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restore:
    """One restore into one server."""

    fetched: Fetched
    manifest: Manifest
    server: Server
    tools: Tools
    scope: Scope = field(repr=False)
    jobs: int = 2
    report: Report = no_report

    def _run(self, argv: Sequence[str], op: str, on_line: Callable[[str], None] | None = None) -> None:
        self.scope.run(
            argv,
            op=op,
            timeout=RESTORE_SECONDS,
            idle_timeout=_IDLE_SECONDS,
            env={**self.tools.env(), **self.server.tool_env()},
            secrets=self.server.secrets,
            on_line=on_line,
        )

    @property
    def _encoding(self) -> str:
        """Of text that the source's tools wrote. SQL_ASCII is bytes: as our connections read it."""
        return "latin-1" if self.manifest.server.encoding == "SQL_ASCII" else "utf-8"

    def _globals(self) -> str:
        return self.fetched.globals.read_text(encoding=self._encoding)

    def apply_globals(self, *, in_place_tablespaces: bool, existing: frozenset[str]) -> None:
        """Create roles, memberships, settings and tablespaces; roles in ``existing`` are left as they are."""
        prepared = self.fetched.directory / "globals-prepared.sql"
        prepared.write_text(
            prepare_globals(self._globals(), existing=existing, in_place_tablespaces=in_place_tablespaces),
            encoding=self._encoding,
        )
        self._run(psql_argv(self.tools, self.server, prepared), "restore roles")
        prepared.unlink()

    def create_missing_roles(self) -> list[str]:
        """Create the roles this server lacks, touching none that exists. Returns their names."""
        with self.server.connect() as connection:
            rows = connection.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()
        existing = frozenset(name for (name,) in rows)
        missing = [role for role in self.manifest.roles if role not in existing]
        if missing:
            prepared = self.fetched.directory / "globals-prepared.sql"
            prepared.write_text(
                globals_of(self._globals(), roles=frozenset(missing)), encoding=self._encoding
            )
            self._run(psql_argv(self.tools, self.server, prepared), "restore roles")
            prepared.unlink()
        return missing

    def missing_tablespaces(self) -> list[str]:
        """Tablespaces of the backup that this server does not have."""
        with self.server.connect() as connection:
            rows = connection.execute("SELECT spcname FROM pg_catalog.pg_tablespace").fetchall()
        here = {name for (name,) in rows}
        return [name for name in tablespaces(self._globals()) if name not in here]

    def apply_database_settings(self, target: Server) -> None:
        """``ALTER DATABASE … SET``, comment and grants, which only travel with the database's creation."""
        argv = [
            self.tools.path("pg_restore"),
            "--create",
            "--section=pre-data",
            "--file=-",
            str(self.fetched.dump),
        ]
        script = self.scope.run(argv, op="read archive", timeout=600, env=self.tools.env()).stdout
        wanted = database_statements(script, self.manifest.database, target.database)
        prepared = self.fetched.directory / "database-settings.sql"
        prepared.write_text("\n".join(wanted) + "\n")
        self._run(psql_argv(self.tools, target, prepared), "restore database settings")
        prepared.unlink()

    def load(
        self, *, create: bool, network: bool, throwaway: bool = True, tablespaces: bool = True
    ) -> Restored:
        """Run `pg_restore`, refresh materialized views, and say what was left out.

        Args:
            create: Create the database under its own name (``server`` then names a maintenance database).
            network: Whether the server may reach others: a view that could is then not refreshed.
            throwaway: With a network, what dials out is left out. A database that is to be used again
                needs it.
        """
        listing = self.listing(create=create)
        unwanted = contents.dials_out(self.tools.major) if network and throwaway else frozenset()
        keep, left_out, refresh = contents.plan_listing(listing, unwanted)
        # Their server runs them at every DDL, and a refresh is one: they come last.
        late = [line for line in keep if contents.concerns(line, contents.EVENT_TRIGGER)]
        early = [line for line in keep if line not in late]
        self.restore_lines(early, create=create, tablespaces=tablespaces)
        target = self.server.with_database(self.manifest.database) if create else self.server
        unrefreshed = refresh_views(target, refresh, network=network) if refresh else {}
        if late:
            self.at(target).restore_lines(late, create=False)
        return Restored(target, unrefreshed, left_out)

    def at(self, server: Server) -> Restore:
        """The same restore into another database."""
        return replace(self, server=server)

    def restore_lines(self, lines: Sequence[str], *, create: bool, tablespaces: bool = True) -> None:
        """Restore these entries of the table of contents; the first error is the last.

        Raises:
            ToolError: `pg_restore` failed. RestoreError: The archive cannot be read.
        """
        chosen = self.fetched.directory / "restore.list"
        chosen.write_text("\n".join(lines) + "\n")
        finished = [0]

        def follow(line: str) -> None:
            if "finished item" in line:
                finished[0] += 1
                self.report("restore", finished[0], len(lines))

        argv = restore_argv(
            self.tools,
            self.server,
            self.fetched.dump,
            jobs=self.jobs,
            create=create,
            use_list=chosen,
            no_tablespaces=not tablespaces,
        )
        self._run(argv, "restore database", follow)

    def listing(self, *, create: bool, section: str = "") -> list[str]:
        """The archive's table of contents, one line an entry; of one section (``pre-data``, …) if given."""
        argv = [
            self.tools.path("pg_restore"),
            "--list",
            *(["--create"] if create else []),
            *([f"--section={section}"] if section else []),
            str(self.fetched.dump),
        ]
        try:
            done = self.scope.run(argv, op="read archive", timeout=600, env=self.tools.env())
        except ToolError as error:
            raise RestoreError(error.message, op=error.op) from None
        return done.stdout.splitlines()

    def analyze(self, target: Server) -> None:
        """Rebuild planner statistics: a database without them answers, but not in time."""
        self.scope.run(
            analyze_argv(self.tools, target, jobs=self.jobs),
            op="rebuild statistics",
            timeout=RESTORE_SECONDS,
            env={**self.tools.env(), **target.tool_env()},
            secrets=target.secrets,
        )


def make_room(server: Server, database: str) -> Server:
    """Where to create the database from: a backed-up ``postgres`` takes the place of initdb's own."""
    if database != "postgres":
        return server
    maintenance = server.with_database("template1")
    with maintenance.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS postgres")
    return maintenance


def first_answer(server: Server) -> None:
    """The service answers: a connection to the restored database reads its catalogue."""
    with server.connect() as connection:
        connection.execute("SELECT count(*) FROM pg_catalog.pg_class")
