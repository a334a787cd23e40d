"""What every connection to a server says of itself: ours, and those of PostgreSQL's tools."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from psycopg import conninfo

from pra.errors import ConnectError
from pra.postgres.connect import KEEPALIVE, Server
from pra.postgres.replication import basebackup_argv
from pra.postgres.tools import (
    Tools,
    analyze_argv,
    dump_argv,
    globals_argv,
    psql_argv,
    restore_argv,
)
from pra.wal.receiver import receive_argv

DSNS = {
    "a name": "postgresql://backup@db.example.com/akig",
    "an address": "host=db hostaddr=192.0.2.1 dbname=akig",
    "a socket and a name": "host=/run/postgresql,db.example.com dbname=akig",
    "no host at all": "dbname=akig",
}


@pytest.mark.parametrize("dsn", DSNS.values(), ids=DSNS)
def test_a_host_that_vanishes_is_noticed_within_a_minute(dsn: str) -> None:
    words = Server.parse(dsn, "secret").words()
    assert {word: words.get(word) for word in KEEPALIVE} == KEEPALIVE
    assert 0 < int(words["tcp_user_timeout"]) < 60_000
    probes = int(words["keepalives_interval"]) * int(words["keepalives_count"])
    assert int(words["keepalives_idle"]) + probes <= 60


def test_what_the_dsn_says_of_it_stays() -> None:
    dsn = "postgresql://backup@db.example.com/akig?keepalives_idle=600&tcp_user_timeout=0"
    words = Server.parse(dsn).words()
    assert (words["keepalives_idle"], words["tcp_user_timeout"]) == ("600", "0")
    assert words["keepalives_count"] == KEEPALIVE["keepalives_count"]


@pytest.mark.parametrize("host", ["/run/postgresql", "@postgresql", "/run/a,/run/b"])
def test_a_unix_socket_is_left_as_it_is(host: str) -> None:
    assert Server.parse(f"host={host} dbname=akig").words() == {"host": host, "dbname": "akig"}


def test_a_socket_is_never_left_for_an_address_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A throwaway server is named by its socket: whoever means it must not reach another one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
        server = Server(f"host={tmp_path} port={port} user=postgres dbname=akig")
        for each in (server, server.with_database("app"), Server.parse(server.dsn)):
            with pytest.raises(ConnectError, match=f"s.PGSQL.{port}"):
                each.connect()
        with pytest.raises(ConnectError, match=r"127\.0\.0\.2"):
            Server.parse(f"postgresql://postgres@127.0.0.2:{port}/akig").connect()
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_every_tool_is_told_the_same() -> None:
    server = Server.parse("postgresql://backup:secret@db.example.com/akig?tcp_user_timeout=9000")
    tools, folder = Tools(Path("/bin"), 18, "18.1"), Path("/spool")
    commands = [
        basebackup_argv(tools, server, label="x", checkpoint="fast", max_rate=None),
        receive_argv(tools, server, folder="/spool", slot="pra"),
        dump_argv(tools, server, folder, jobs=1, snapshot="1", lock_wait_ms=1),
        globals_argv(tools, server, folder, passwords=True),
        restore_argv(tools, server, folder, jobs=1),
        psql_argv(tools, server, folder),
        analyze_argv(tools, server, jobs=1),
    ]
    for argv in commands:
        (dsn,) = [word.removeprefix("--dbname=") for word in argv if word.startswith("--dbname=")]
        words = conninfo.conninfo_to_dict(dsn)
        assert {word: words[word] for word in KEEPALIVE} == {**KEEPALIVE, "tcp_user_timeout": "9000"}, argv[0]
        assert "secret" not in " ".join(argv)
