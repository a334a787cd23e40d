"""The runbook's own commands, typed as they stand on the page of a real installation, and what they mend."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pra.runbook import render
from pra.settings import load_settings
from pra.timing import from_iso, utc_now
from tests.fix_cluster import Cluster, embedded_bindir
from tests.fix_operator import Operator
from tests.fix_physical import SETTINGS, SUMMARIES

pytestmark = (
    pytest.mark.all
)  # each of its commands is tested elsewhere; here it is what the page says of them

PROGRAM = """\
#!{python}
from deployments.cli import main
main()
"""
# As root asks for it: the words behind `-u postgres`, as the account that may run a server.
SUDO = """\
#!{python}
import os, sys
if {uid}:
    os.setgroups([]); os.setgid({gid}); os.setuid({uid})
os.execvp(sys.argv[3], sys.argv[3:])
"""
TABLE = """
CREATE TABLE payments (id bigint PRIMARY KEY, amount numeric NOT NULL, paid_at timestamptz DEFAULT now());
INSERT INTO payments (id, amount) SELECT n, n * 10 FROM generate_series(1, 1000) n;
"""


@dataclass
class Desk:
    """An operator, the page, and a shell."""

    operator: Operator
    server: Cluster
    replaced: dict[str, str] = field(default_factory=dict)

    @property
    def page(self) -> str:
        settings = load_settings(self.operator.home / "pra.toml", self.operator.environment)
        return render(settings, None, "en")

    def block(self, section: str, *, language: str = "sh", having: str = "") -> str:
        """The one block of the section behind this anchor that holds these words."""
        chapter = self.page.split(f'<a id="{section}"></a>', 1)[1].split("<a id=", 1)[0]
        found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", chapter, flags=re.M | re.S)
        (text,) = [textwrap.dedent(text) for _, text in found if having in text]
        for said, meant in self.replaced.items():
            text = text.replace(said, meant)
        return text

    def type(self, script: str, code: int = 0) -> str:
        """In a shell that stops at the first failure."""
        shell = self.operator.home / "bin"
        environment = self.operator.environment | {
            "PATH": f"{shell}:{self.server.bindir}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "LD_LIBRARY_PATH": self.server.environment.get("LD_LIBRARY_PATH", ""),
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.operator.home, env=environment,
            capture_output=True, text=True, timeout=110, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, (
            f"{script}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def ask(self, statement: str) -> object:
        return self.server.query("akig", statement)[0][0]


@pytest.fixture
def desk(operator: Operator, pg18: Cluster) -> Iterator[Desk]:
    """A server with AKIG's payments, protected by dumps, and one backup of it."""
    with at_desk(operator, Cluster(pg18.bindir), 'critical_tables = ["payments"]') as desk:
        yield desk


@pytest.fixture
def physical_desk(operator: Operator) -> Iterator[Desk]:
    """The same with the physical engine."""
    extra = 'engine = "physical"\ncritical_tables = ["payments"]\nphysical = { checkpoint = "fast" }'
    with at_desk(operator, Cluster(embedded_bindir(), settings=SETTINGS + SUMMARIES), extra) as desk:
        yield desk


@contextmanager
def at_desk(operator: Operator, server: Cluster, extra: str) -> Iterator[Desk]:
    try:
        server.start()
        server.createdb("akig")
        server.execute("akig", *filter(None, map(str.strip, TABLE.split(";"))))
        operator.protect(server, "akig", extra=extra)
        bin_folder = operator.home / "bin"
        bin_folder.mkdir()
        identity = server._identity()
        for name, text in (("pra", PROGRAM), ("sudo", SUDO)):
            file = bin_folder / name
            uid, gid = identity.get("user", 0), identity.get("group", 0)
            file.write_text(text.format(python=sys.executable, uid=uid, gid=gid))
            file.chmod(0o755)
        made = operator.pra("backup", "--json").document["backup_id"]
        place = str(server.directory / "restored")
        yield Desk(
            operator,
            server,
            {"20261122T090000Z-full-3f9c": made, "/srv/postgresql/akig-restored": place},
        )
    finally:
        server.remove()


def test_wrong_values_are_mended_from_the_table_beside(desk: Desk) -> None:
    desk.server.execute("akig", "UPDATE payments SET amount = -1 WHERE id <= 7")
    said = desk.type(desk.block("restore-table", having="--table"))
    schema = re.search(r"restored_\w+", said)
    assert schema
    script = desk.block("data-corruption", language="sql", having="UPDATE")
    typed = re.sub(r"restored_\w+", schema[0], script)
    file = desk.server.directory / "mend.sql"
    file.write_text(typed)
    desk.server.psql(file, "akig")
    assert desk.ask("SELECT count(*) FROM payments WHERE amount = -1") == 7, "the rows are looked at first"
    file.write_text(f"{typed}COMMIT;\n")
    desk.server.psql(file, "akig")
    assert desk.ask("SELECT count(*) FROM payments WHERE amount = id * 10") == 1000


def test_pages_are_looked_through(desk: Desk) -> None:
    """Without its extension it says so, and is not silent."""
    look = desk.block("data-corruption", having="pg_amcheck")
    desk.type(look, code=1)
    assert desk.type(look.replace("--progress", "--install-missing")) == ""
    assert "100%" in desk.type(look.replace("# reads everything", "2>&1"))


def test_a_dropped_table_is_back_in_its_place(desk: Desk) -> None:
    desk.server.execute("akig", "DROP TABLE payments")
    assert "payments is gone" in desk.type("pra status akig || true")
    said = desk.type(desk.block("restore-table", having="--table"))
    schema = re.search(r"restored_\w+", said)
    assert schema
    file = desk.server.directory / "back.sql"
    file.write_text(re.sub(r"restored_\w+", schema[0], desk.block("restore-table", language="sql")))
    desk.server.psql(file, "akig")
    assert desk.ask("SELECT count(*) FROM payments") == 1000
    assert desk.ask(f"SELECT to_regnamespace('{schema[0]}') IS NULL") is True


def test_a_lost_server_comes_back_and_is_protected_again(desk: Desk) -> None:
    desk.server.stop()
    desk.type(desk.block("database-down", having="--into"))
    place = Path(desk.replaced["/srv/postgresql/akig-restored"])
    start = desk.block("into-service", having="pg_ctl")
    # A fresh configuration, as the page says: the old server's port, addresses and rules go into it first.
    old = desk.server
    with (place / "postgresql.conf").open("a") as file:
        file.write(f"port = {old.port}\nunix_socket_directories = '{old.directory}'\n")
    (place / "pg_hba.conf").write_text("local all all trust\n")
    try:
        desk.type(start)
        assert desk.ask("SELECT pg_is_in_recovery()") is False
        assert desk.ask("SELECT sum(amount) FROM payments") == 5005000
        desk.type("pra backup akig", code=64)  # it is another server now: the page says how to agree to that
        desk.type(desk.block("into-service", having="--accept-new-server"))
    finally:
        desk.type(f"sudo -u postgres pg_ctl -D {place} -m fast -w stop || true")


def test_after_an_intrusion_no_old_password_is_valid(desk: Desk) -> None:
    desk.server.execute("akig", "CREATE ROLE app LOGIN PASSWORD 'stolen'", "CREATE ROLE other LOGIN")
    file = desk.server.directory / "passwords.sql"
    script = desk.block("intrusion", language="sql", having="PASSWORD NULL")
    file.write_text(re.sub(r"^\\password.*$", "", script, flags=re.M))
    desk.server.psql(file, "akig")
    left = desk.ask("SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname <> 'postgres'")
    assert left == 0


def test_a_lost_identity_comes_back_from_the_sheet(desk: Desk) -> None:
    keys = desk.operator.home / "state" / "keys"
    sheet = desk.type("pra key sheet")
    (keys / "identity.txt").unlink()
    assert desk.operator.pra("verify", code=None).code != 0
    (desk.operator.home / "identity.txt").write_text(re.findall(r"AGE-SECRET-KEY-1\w+", sheet)[0] + "\n")
    desk.type(desk.block("key-lost", having="install -m 600 identity.txt"))
    assert stat.S_IMODE((keys / "retired" / "identity-sheet.txt").stat().st_mode) == 0o600


def test_a_lost_signing_key_leaves_old_backups_valid(desk: Desk) -> None:
    home = desk.operator.home
    sheet = desk.type("pra key sheet")
    (home / "state" / "keys" / "signing.key").unlink()
    made = desk.type(desk.block("key-lost", having="pra key make"))
    recipient = re.findall(r"age1\w+", made)[0]
    toml = re.sub(
        r'recipients = \["age1\w+"\]', f'recipients = ["{recipient}"]', (home / "pra.toml").read_text()
    )
    old = re.findall(r"ed25519:[\w+/=]+", sheet)[0]
    (home / "pra.toml").write_text(f'{toml}\n[signing]\ntrusted = ["{old}"]\n')
    assert desk.operator.pra("verify", "--json").document["verdict"] == "PASS"
    desk.type("pra backup akig")


def test_an_empty_host_needs_the_sheet_and_the_far_copy(desk: Desk, tmp_path: Path) -> None:
    """The page is typed elsewhere; of the old place one repository and paper are left."""
    keys, look = (desk.block("site-loss", having=having) for having in ("identity.txt", "pra backups"))
    sheet, old = desk.type("pra key sheet"), desk.operator.home
    desk.server.stop()
    shutil.rmtree(old / "state")
    shutil.rmtree(old / "local")
    (old / "pra.toml").unlink()
    home = tmp_path / "new"
    home.mkdir()
    (old / "bin").rename(home / "bin")
    trusted = re.findall(r"ed25519:[\w+/=]+", sheet)[0]
    (url,) = (line.split()[1] for line in sheet.splitlines() if line.strip().endswith("/second"))
    (home / "pra.toml").write_text(
        '[targets.akig]\ndsn = "host=127.0.0.1 dbname=akig"\nrepositories = ["second"]\n'
        f'[repositories.second]\nurl = "{url}"\n[signing]\ntrusted = ["{trusted}"]\n'
        f'[postgres]\nbindir = "{desk.server.bindir}"\n'
    )
    (home / "identity.txt").write_text(re.findall(r"AGE-SECRET-KEY-1\w+", sheet)[0] + "\n")
    desk.operator = Operator(home)
    make, *rest = keys.splitlines()
    assert make == "make venv"
    desk.type("\n".join(rest))
    assert "PASS" in desk.type(look)


# -- base backups and WAL --------------------------------------------------------------------------


@contextmanager
def streaming(desk: Desk) -> Iterator[None]:
    """The streamer, as a service runs it."""
    process = desk.operator.start("wal", "stream", "akig")
    try:
        yield
        assert process.poll() is None, "the streamer ended by itself"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=30)
        process.kill()


def wait_until_safe(desk: Desk) -> None:
    """Everything committed by now is in every repository."""
    now = utc_now()
    desk.ask("SELECT pg_switch_wal()")
    deadline = time.monotonic() + 60
    while True:
        checked = desk.operator.pra("wal", "check", "akig", "--json", code=None).document
        until = [item["streamed_until"] for item in checked.get("items", [])]
        if until and all(each is not None and from_iso(each) > now for each in until):
            return
        assert time.monotonic() < deadline, checked
        time.sleep(0.3)


def test_the_server_of_just_before_takes_the_place_of_the_damaged_one(physical_desk: Desk) -> None:
    desk = physical_desk
    place = Path(desk.replaced["/srv/postgresql/akig-restored"])
    with streaming(desk):
        desk.server.execute("akig", "INSERT INTO payments (id, amount) VALUES (2000, 20000)")
        desk.server.execute("akig", "DELETE FROM payments WHERE id <= 100")
        desk.server.execute("akig", "INSERT INTO payments (id, amount) VALUES (3000, 30000)")
        wait_until_safe(desk)
    found = desk.type(desk.block("locate").splitlines()[0].replace("> 1000", ">= 1000"))
    desk.server.stop()
    position = re.search(r"--to (lsn:\S+) --exclusive", found)
    assert position
    desk.type(desk.block("data-loss", having="--exclusive").replace("lsn:0/16B3748", position[1]))
    try:
        desk.type(desk.block("into-service", having="pg_ctl"))
        assert desk.ask("SELECT pg_is_in_recovery()") is False
        assert desk.ask("SELECT count(*) FROM payments") == 1001
        assert desk.ask("SELECT max(id) FROM payments") == 2000
        stream, *protect = desk.block("into-service", having="pra wal stream").splitlines()
        assert stream.startswith("pra wal stream akig")
        with streaming(desk):
            desk.type("\n".join(protect))
            wait_until_safe(desk)
        assert "critical" in desk.operator.pra("wal", "check", "--json", code=None).document
    finally:
        desk.type(f"sudo -u postgres pg_ctl -D {place} -m fast -w stop || true")


def test_after_a_lost_slot_a_full_backup_closes_the_gap(physical_desk: Desk) -> None:
    desk = physical_desk
    slot = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'pra_akig'"
    with streaming(desk):
        wait_until_safe(desk)
    desk.server.execute(
        "postgres", "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'", "SELECT pg_reload_conf()"
    )
    for _ in range(12):
        desk.server.execute(
            "akig", "UPDATE payments SET amount = amount", "SELECT pg_switch_wal()", "CHECKPOINT"
        )
    assert desk.ask(slot) == "lost"
    shown = desk.type(desk.block("wal-gap", having="wal_status").replace("pra wal check akig\n", ""))
    assert "lost" in shown
    drop, stream, full, windows = desk.block("wal-gap", having="pg_drop_replication_slot").splitlines()
    desk.type(drop)
    assert stream.startswith("pra wal stream akig")
    with streaming(desk):
        desk.type(full)
        wait_until_safe(desk)
        assert desk.ask(slot) == "reserved"
    desk.operator.pra("verify", "akig")
    found = desk.operator.pra(*windows.split("#")[0].split()[1:], "--json").document["items"]
    assert [item["end"] for item in found if item["repository"] == "local"] == ["gap", "wal"]
