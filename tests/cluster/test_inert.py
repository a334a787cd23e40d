"""A restore reaches nobody: a listener and production itself watch a database full of traps come back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from checks import Checks
from pra.model import Status, Verdict
from pra.postgres import sandbox
from pra.postgres.connect import Server
from pra.proc import can_isolate
from pra.procedures import restore, tables
from pra.procedures.destination import Destination
from pra.procedures.judging import VerifyReport
from pra.procedures.session import choose
from tests.fix_cluster import PASSWORD, Cluster, absent
from tests.fix_world import MakeWorld, World, complaints

# {port} is the listener's; {production} is the protected server's own, over TCP.
TRAPS = """
CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
CREATE FUNCTION call_home() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.dblink_connect('home',
        'host=127.0.0.1 port={port} dbname=x user=x password=x connect_timeout=2');
EXCEPTION WHEN OTHERS THEN NULL;
END $$;
CREATE FUNCTION on_event() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM public.call_home(); END $$;
CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM public.call_home(); RETURN NEW; END $$;
CREATE TABLE plain (a int, b text DEFAULT public.call_home()::text);
INSERT INTO plain VALUES (1, 'x'), (2, 'y');
CREATE TRIGGER row_trap BEFORE INSERT OR UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION on_row();
ALTER TABLE plain ENABLE ALWAYS TRIGGER row_trap;
CREATE RULE rule_trap AS ON UPDATE TO plain DO ALSO SELECT public.call_home();
CREATE SERVER home FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '{production}', dbname '{name}');
CREATE USER MAPPING FOR PUBLIC SERVER home OPTIONS (user 'postgres', password '{password}');
CREATE FOREIGN TABLE far_plain (a int) SERVER home OPTIONS (table_name 'plain');
CREATE VIEW over_dblink AS SELECT * FROM dblink(
    'host=127.0.0.1 port={production} dbname={name} user=postgres password={password}', 'SELECT 1')
    AS t(a int);
CREATE MATERIALIZED VIEW of_foreign AS SELECT * FROM far_plain;
CREATE MATERIALIZED VIEW of_dblink AS SELECT * FROM over_dblink;
CREATE MATERIALIZED VIEW of_plain AS SELECT count(*) FROM plain;
CREATE MATERIALIZED VIEW of_of_foreign AS SELECT count(*) FROM of_foreign;
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE SUBSCRIPTION inbound CONNECTION 'host=127.0.0.1 port={port} dbname=x user=x password=x'
    PUBLICATION p WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION inbound IS 'a trap';
CREATE EVENT TRIGGER trap_start ON ddl_command_start EXECUTE FUNCTION on_event();
CREATE EVENT TRIGGER trap_end ON ddl_command_end EXECUTE FUNCTION on_event();
CREATE EVENT TRIGGER trap_always ON ddl_command_end EXECUTE FUNCTION on_event();
CREATE EVENT TRIGGER trap_drop ON sql_drop EXECUTE FUNCTION on_event();
ALTER EVENT TRIGGER trap_always ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER trap_end IS 'a trap';
"""
LOGIN_TRAP = "CREATE EVENT TRIGGER trap_login ON login EXECUTE FUNCTION on_event()"
# Building these runs code, which only the missing network can hold back.
CODE_TRAPS = """
CREATE FUNCTION trapped(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql
    AS $$ BEGIN PERFORM public.call_home(); RETURN a; END $$;
CREATE INDEX index_trap ON plain (trapped(a));
ALTER TABLE plain ADD CONSTRAINT check_trap CHECK (trapped(a) > 0);
"""


FAR_VIEWS = [
    f"data of materialized view public.{name}" for name in ("of_foreign", "of_dblink", "of_of_foreign")
]


@dataclass
class Watch:
    """Everything that was knocked at: the listener's connections, and production's log."""

    port: int
    log: Path
    seen: list[object] = field(default_factory=list)
    offset: int = 0

    def begin(self) -> None:
        """From here on nobody has any business with either."""
        self.seen.clear()
        self.offset = self.log.stat().st_size

    def visitors(self) -> list[str]:
        with self.log.open(errors="replace") as log:
            log.seek(self.offset)
            lines = [line for line in log if "connection received: host=127.0.0.1" in line]
        return [*map(str, self.seen), *lines]


@pytest.fixture
def watch(cluster: Cluster) -> Iterator[Watch]:
    """A listener on loopback that notes who comes, and production's own log of connections."""
    setting = "all" if cluster.major >= 18 else "on"
    cluster.execute("postgres", f"ALTER SYSTEM SET log_connections = '{setting}'", "SELECT pg_reload_conf()")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found = Watch(int(listener.getsockname()[1]), cluster.log)

        def accept() -> None:
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return  # closed: the test is over
                with closing(connection):
                    found.seen.append(address)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    cluster.execute("postgres", "ALTER SYSTEM RESET log_connections", "SELECT pg_reload_conf()")


def trapped(cluster: Cluster, watch: Watch, make_world: MakeWorld, *, code: bool = False) -> World:
    name = cluster.createdb(template="template0")
    text = TRAPS.replace("{port}", str(watch.port)).replace("{production}", str(cluster.port))
    if code:
        text = text.replace("CREATE SERVER", CODE_TRAPS + "CREATE SERVER", 1)
    script = watch.log.parent / "traps.sql"
    script.write_text(text.replace("{name}", name).replace("{password}", PASSWORD))
    cluster.psql(script, name)
    if cluster.major >= 17:
        cluster.execute(name, LOGIN_TRAP)
    world = make_world(cluster, name)
    assert world.backup().ok
    return world


def not_applicable(report: VerifyReport) -> set[str]:
    return {check.name for check in report.checks if check.status is Status.NOT_APPLICABLE}


def test_the_watch_sees_what_comes(cluster: Cluster, watch: Watch, make_world: MakeWorld) -> None:
    """The traps are real: sprung in production, both the listener and production's log know of it."""
    world = trapped(cluster, watch, make_world)
    watch.begin()
    world.execute("CREATE TABLE springs_the_trap ()")
    assert watch.seen
    watch.begin()
    world.execute("REFRESH MATERIALIZED VIEW of_foreign")
    assert any("host=127.0.0.1" in visitor for visitor in watch.visitors())
    cluster.dropdb(world.database)


def test_with_isolation_nothing_is_left_out_and_nobody_is_reached(
    cluster: Cluster, watch: Watch, make_world: MakeWorld
) -> None:
    if not can_isolate():
        absent("a network namespace for the sandbox")
    world = trapped(cluster, watch, make_world, code=True)
    watch.begin()
    report = world.verify()
    assert watch.visitors() == []
    assert report.verdict is Verdict.PASS, complaints(report)
    assert {name for name in not_applicable(report) if " " in name} == set(FAR_VIEWS)
    cluster.dropdb(world.database)


def test_without_isolation_what_dials_out_is_left_out_by_name(
    cluster: Cluster, watch: Watch, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = trapped(cluster, watch, make_world)
    monkeypatch.setattr(sandbox, "can_isolate", lambda: False)
    watch.begin()
    report = world.verify()
    assert watch.visitors() == []
    assert report.verdict is Verdict.PASS, complaints(report)
    named = not_applicable(report)
    assert {"user mapping public SERVER home", "subscription inbound"} <= named
    assert ("event trigger trap_always" in named) == (cluster.major < 17)
    assert set(FAR_VIEWS) <= named
    assert "data of materialized view public.of_plain" not in named
    cluster.dropdb(world.database)


@pytest.mark.parametrize("isolated", [True, False])
def test_a_data_directory_keeps_everything_and_reaches_nobody(
    cluster: Cluster,
    watch: Watch,
    make_world: MakeWorld,
    monkeypatch: pytest.MonkeyPatch,
    place: Path,
    isolated: bool,
) -> None:
    """What is to be used again needs its mappings and subscriptions; only views wait for a person."""
    if isolated and not can_isolate():
        absent("a network namespace for the sandbox")
    world = trapped(cluster, watch, make_world)
    monkeypatch.setattr(sandbox, "can_isolate", lambda: isolated)
    watch.begin()
    with world.context() as context:
        destination = Destination.parse(str(place / "data"))
        report, _ = restore.run(context, Checks(), choose(context, "newest", "near"), destination)
    assert watch.visitors() == []
    assert report.verdict is Verdict.PASS, complaints(report)
    assert not {name for name in not_applicable(report) if name.startswith(("user mapping", "subscription"))}
    cluster.dropdb(world.database)


def test_chosen_tables_come_back_without_springing_a_trap(
    cluster: Cluster, watch: Watch, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = trapped(cluster, watch, make_world)
    monkeypatch.setattr(sandbox, "can_isolate", lambda: False)
    other = cluster.createdb(template="template0")
    cluster.execute(other, "CREATE FUNCTION call_home() RETURNS void LANGUAGE sql AS ''")
    watch.begin()
    with world.context() as context:
        server = Server.parse(cluster.dsn(other))
        report, _ = tables.run(context, choose(context, "newest", "near"), server, ["plain"])
    assert watch.visitors() == []
    assert report.verdict is Verdict.PASS, complaints(report)
    cluster.dropdb(other)
    cluster.dropdb(world.database)
