"""What the backup role lacks is found and named before the dump, and what is printed closes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pra.errors import ConnectError, RightsError
from pra.postgres import fingerprint
from pra.postgres.pooler import check_pooler
from pra.postgres.rights import Gap, gaps, least_privilege_sql, require
from tests.fix_cluster import Cluster
from tests.fix_hostile import load_hostile, take
from tests.fix_pooler import TransactionPooler

ROLE = 'weak "role" é'
QUOTED = '"weak ""role"" é"'


@pytest.fixture(params=["pg18", "pg15"])
def weak(request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, str]]:
    """A hostile database of its own and a role that may only connect: the server, the database."""
    server: Cluster = request.getfixturevalue(request.param)
    name = "weak_hostile"
    load_hostile(server, name)
    server.execute(name, f"CREATE ROLE {QUOTED} LOGIN")
    yield server, name
    server.execute(name, f"DROP OWNED BY {QUOTED}; DROP ROLE {QUOTED}")
    server.dropdb(name)


def found(server: Cluster, name: str) -> list[Gap]:
    with server.connect(name, ROLE) as conn:
        return gaps(conn)


def dump(server: Cluster, name: str, archive: Path) -> tuple[int, str]:
    done = server.run("pg_dump", "-Fc", "-f", archive, "-d", server.dsn(name, ROLE), check=False)
    return done.returncode, done.stderr


def test_superuser_lacks_nothing(pg18: Cluster, hostile18: str) -> None:
    with pg18.connect(hostile18) as conn:
        assert gaps(conn) == []


def test_role_that_may_only_connect_is_told_every_object(weak: tuple[Cluster, str], tmp_path: Path) -> None:
    server, name = weak
    everything = found(server, name)
    blocking = {gap.object: gap for gap in everything if gap.severity == "blocking"}
    assert dump(server, name, tmp_path / "a")[0] != 0
    assert blocking["table public.everything"].grant_sql == (
        f'GRANT SELECT ON TABLE "public"."everything" TO {QUOTED};'
    )
    assert "sequence" in " ".join(blocking)
    assert blocking["schema Gestion Locative é"].what == "no USAGE on a schema that holds data"
    with pytest.raises(RightsError, match="no SELECT") as raised:
        require(everything, "check rights")
    assert "GRANT SELECT ON" in raised.value.hint


def test_printed_grants_close_every_blocking_gap(weak: tuple[Cluster, str], tmp_path: Path) -> None:
    """Run as printed, they let ``pg_dump`` and the fingerprint pass; what stays silent is still named."""
    server, name = weak
    server.execute(name, *[gap.grant_sql for gap in found(server, name) if gap.severity == "blocking"])
    rest = found(server, name)
    assert [gap for gap in rest if gap.severity == "blocking"] == []
    require(rest, "check rights")
    code, said = dump(server, name, tmp_path / "a")
    assert (code, "subscriptions not dumped" in said) == (0, True), said
    weakly = fingerprint.take(lambda: server.connect(name, ROLE))
    assert fingerprint.compare(take(server, name), weakly) == []
    assert {(gap.object, gap.what) for gap in rest} == {
        ("user mapping for hostile_reader on server dead", "options are hidden"),
        ("user mapping for public on server dead", "options are hidden"),
        ("subscription nowhere", "not dumped for a role that is no superuser"),
        ("roles", "passwords are not readable"),
        ("server settings", "some are not readable"),
    }


def test_hidden_things_are_really_missing_from_the_dump(weak: tuple[Cluster, str], tmp_path: Path) -> None:
    """The reason why silent gaps are named: exit status 0, and they are not there."""
    server, name = weak
    server.execute(name, *[gap.grant_sql for gap in found(server, name) if gap.severity == "blocking"])
    assert dump(server, name, tmp_path / "a")[0] == 0
    text = server.run("pg_restore", "-f", "-", tmp_path / "a").stdout
    assert "CREATE USER MAPPING FOR hostile_reader" in text
    assert "hunter2" not in text.replace("app.secret", "")
    assert "CREATE SUBSCRIPTION" not in text


def test_least_privilege_role_of_the_readme_backs_up_everything_but_what_no_grant_gives(
    weak: tuple[Cluster, str], tmp_path: Path
) -> None:
    server, name = weak
    server.execute(name, f"DROP ROLE {QUOTED}")
    script = tmp_path / "role.sql"
    text = least_privilege_sql(ROLE, name).replace(f"\\password {QUOTED}\n", "")
    assert text != least_privilege_sql(ROLE, name)
    script.write_text(text)
    server.psql(script, name)
    assert {gap.object.split(" ")[0] for gap in found(server, name)} == {"user", "subscription"}
    assert dump(server, name, tmp_path / "a")[0] == 0
    assert server.query(name, f"SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = '{ROLE}'") == [
        (False,)
    ]


@pytest.mark.parametrize("row_security", ["ENABLE", "FORCE"])
def test_row_security_blocks_even_the_owner_where_it_is_forced(
    pg18: Cluster, database: str, row_security: str
) -> None:
    pg18.execute(
        database,
        "CREATE ROLE row_owner LOGIN",
        "CREATE TABLE t (a int); ALTER TABLE t OWNER TO row_owner",
        "GRANT USAGE ON SCHEMA public TO row_owner",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE t {row_security} ROW LEVEL SECURITY",
    )
    with pg18.connect(database, "row_owner") as conn:
        blocking = [(gap.object, gap.what) for gap in gaps(conn) if gap.severity == "blocking"]
    pg18.execute(database, "DROP OWNED BY row_owner; DROP ROLE row_owner")
    expected = [("table public.t", "row security would hide rows")]
    assert blocking == (expected if row_security == "FORCE" else [])


def test_direct_connection_is_no_pooler(cluster: Cluster) -> None:
    check_pooler(cluster.connect)


def test_pooler_in_transaction_mode_is_refused(
    database: str, transaction_pooler: Callable[[str], TransactionPooler]
) -> None:
    """Whether it has sessions to spare or has just opened its first."""
    pooler = transaction_pooler(database)
    with pooler.connect() as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    for _ in range(3):
        with pytest.raises(ConnectError, match="pooler in transaction mode") as raised:
            check_pooler(pooler.connect)
        assert not raised.value.transient
