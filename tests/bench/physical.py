"""The physical engine beside PostgreSQL's own tools and barman-cloud, in one run on one database.

``python -m tests.bench.physical [--size MB] [--rounds N]``. Methods take turns; medians and ratios are
printed. barman-cloud comes from PyPI into a throwaway environment; where that cannot be had, its rows are
left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import psycopg

from deployments.demo import stage
from pra import keys
from pra.postgres.tools import SERVER, Tools, find_tools
from pra.proc import Scope
from tests.bench.__main__ import Row, folder_mb, own_peak_mb, shell

# 3.20 is the first release line with --zstd; without a bound a boto3 of 2014 is taken, which is broken here.
BARMAN = ("barman[cloud,zstandard]==3.20.1", "boto3>=1.40")
UPDATES, INSERTS = 20_000, 40_000
HOURLY_UPDATES, HOURLY_INSERTS = 2_000, 5_000

SETTINGS = """\
[targets.near]
dsn = "postgresql://pra_backup@127.0.0.1:{port}/akig"
engine = "physical"
repositories = ["local"]
[targets.near.physical]
full_every = "30d"
checkpoint = "fast"
digest_every = "30d"

[targets.far]
dsn = "postgresql://pra_backup@127.0.0.1:{port}/akig"
engine = "physical"
repositories = ["offsite"]
[targets.far.physical]
full_every = "30d"
checkpoint = "fast"
digest_every = "30d"

[repositories.local]
url = "file://{home}/repo"

[repositories.offsite]
url           = "s3://akig-dr/pra"
endpoint      = "http://127.0.0.1:{s3_port}"
access_key_id = "{access_key}"

[encryption]
recipients = ["{recipient}"]
"""


@dataclass
class Bench:
    """One database, its server, an S3 server, and PRA configured for both repositories."""

    scope: Scope
    home: Path
    production: stage.Production
    offsite: stage.Offsite
    tools: Tools
    barman: Path | None
    recipient: str
    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(name))

    def pra(self, *argv: str, digest: bool = False) -> tuple[dict[str, Any], float, float]:
        """Run ``pra … --json``: its document, wall seconds, and the peak memory of that process in MB."""
        env = {**os.environ, "PRA_CONFIG": str(self.home / "pra.toml"), "PRA_STATE_DIR": f"{self.home}/state"}
        if digest:
            env |= {f"PRA_TARGETS__{name}__PHYSICAL__DIGEST_EVERY": "1s" for name in ("NEAR", "FAR")}
        out = self.home / "out.json"
        os.sync()  # what the step before left to be written is no cost of this one
        start, peak, done, status = time.monotonic(), 0.0, 0, 0
        with out.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "deployments.cli", *argv, "--json"], env=env, stdout=sink
            )
            while not done:
                peak = max(peak, own_peak_mb(process.pid))
                time.sleep(0.02)
                done, status, _ = os.wait4(process.pid, os.WNOHANG)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 2):
            raise SystemExit(f"pra {' '.join(argv)} exited with {process.returncode}: {out.read_text()}")
        return json.loads(out.read_text()), seconds, peak

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.production.superuser_dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    @property
    def replication(self) -> str:
        """What the bare tools connect with: the superuser over the socket, as they need no password there."""
        return self.production.superuser_dsn.replace(f"dbname={stage.DATABASE}", "")

    def change(self, updates: int, inserts: int, *, among: int | None = None) -> None:
        """An hour's work: rows updated all over the largest table, and new ones at its end.

        Args:
            among: Only the first so many rows are updated: the same pages, whatever the table's size.
        """
        last = str(among) if among else "(SELECT max(id) FROM work)"
        self.execute(
            f"UPDATE work SET note = md5(random()::text) WHERE id IN "
            f"(SELECT (random() * {last})::bigint FROM generate_series(1, {updates}))"
        )
        self.execute(
            f"INSERT INTO work (note, body) SELECT md5(n::text), repeat(md5((n * 7)::text), 3) "
            f"FROM generate_series(1, {inserts}) n"
        )


def prepare(scope: Scope, home: Path, megabytes: int, barman: Path | None) -> Bench:
    production = stage.start_production(scope, home, megabytes)
    with psycopg.connect(production.superuser_dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE work (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, body text)"
        )
        rows = megabytes * 1000  # about 200 bytes each: a fifth of the database
        connection.execute(
            "INSERT INTO work (note, body) SELECT md5(n::text), repeat(md5((n * 3)::text), 3) "
            f"FROM generate_series(1, {rows}) n".encode()
        )
        connection.execute("GRANT SELECT ON work TO pra_backup")
        connection.execute("CHECKPOINT")
    offsite = stage.start_offsite(scope, home)
    (home / "state").mkdir(mode=0o700)
    report = keys.make_keys(home / "state" / "keys")
    (home / "repo").mkdir(mode=0o700)
    (home / "pra.toml").write_text(
        SETTINGS.format(
            port=production.port, home=home, recipient=report.recipient, s3_port=offsite.port,
            access_key=offsite.access_key,
        )
    )  # fmt: skip
    secret = home / ".env"
    secret.touch(mode=0o600)
    secret.write_text(
        f"PRA_TARGETS__NEAR__PASSWORD={production.password}\n"
        f"PRA_TARGETS__FAR__PASSWORD={production.password}\n"
        f"PRA_REPOSITORIES__OFFSITE__SECRET_ACCESS_KEY={offsite.secret_key}\n"
    )
    return Bench(scope, home, production, offsite, find_tools(18, needs=SERVER), barman, report.recipient)


# -- what is measured ------------------------------------------------------------------------------------


def _bare_command(bench: Bench) -> str:
    return f"{bench.tools.path('pg_basebackup')} -d {quote(bench.replication)} -c fast -X none -Ft -D -"


def bare_backup(bench: Bench) -> None:
    target = bench.home / "bare.tar.zst"
    bench.row("pg_basebackup | zstd -1 -T2").seconds.append(
        shell(f"{_bare_command(bench)} 2>/dev/null | zstd -q -1 -T2 -f -o {target}", bench.tools.env())
    )
    bench.row("pg_basebackup | zstd -1 -T2").megabytes = folder_mb(target)


SAME_DUTIES = "the same, digested and encrypted"


def bare_backup_with_our_duties(bench: Bench) -> None:
    """What the bare pipe costs once it also takes both digests and encrypts: all by standard tools.

    No file is cut, nothing is published or read back, and no content is counted.
    """
    if not (shutil.which("age") and shutil.which("openssl")):
        print("age or openssl is missing: its row is left out")
        return
    target = bench.home / "duties.tar.zst.age"
    digest = f"openssl dgst -sha256 -out {bench.home}/"
    command = " | ".join(
        (
            f"{_bare_command(bench)} 2>/dev/null",
            f"tee >({digest}plain)",
            "zstd -q -1 -T2",
            f"age -r {bench.recipient}",
            f"tee >({digest}stored) > {target}; wait",
        )
    )
    bench.row(SAME_DUTIES).seconds.append(shell(command, bench.tools.env()))
    bench.row(SAME_DUTIES).megabytes = folder_mb(target)
    target.unlink()


def ours(bench: Bench, name: str, target: str, *flags: str, digest: bool = False) -> dict[str, Any]:
    document, seconds, peak = bench.pra("backup", target, *flags, digest=digest)
    row = bench.row(name)
    row.seconds.append(seconds)
    row.peak_mb.append(peak)
    row.megabytes = float(document["bytes"]) / 1e6
    return document


def barman_environment(bench: Bench) -> dict[str, str]:
    return {
        **bench.tools.env(),
        "AWS_ACCESS_KEY_ID": bench.offsite.access_key,
        "AWS_SECRET_ACCESS_KEY": bench.offsite.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def barman_backup(bench: Bench) -> None:
    assert bench.barman is not None
    socket = dict(word.split("=", 1) for word in bench.replication.split())
    endpoint = f"--endpoint-url http://127.0.0.1:{bench.offsite.port}"
    command = (
        f"{bench.barman}/bin/barman-cloud-backup --cloud-provider aws-s3 {endpoint} --zstd -J 2 "
        f"--immediate-checkpoint -h {socket['host']} -p {socket['port']} -U postgres s3://akig-dr/barman srv"
    )
    try:
        seconds = shell(f"{command} >/dev/null 2>{bench.home}/barman.log", barman_environment(bench))
    except subprocess.CalledProcessError:
        said = (bench.home / "barman.log").read_text().splitlines()
        print(f"barman-cloud-backup failed, and is left out: {' / '.join(said[-3:])}")
        bench.barman = None
        return
    bench.row("barman-cloud-backup -J2 --zstd (S3)").seconds.append(seconds)


def barman_restore(bench: Bench) -> None:
    assert bench.barman is not None
    target = bench.home / "barman-restored"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    endpoint = f"--endpoint-url http://127.0.0.1:{bench.offsite.port}"
    listing = f"{bench.barman}/bin/barman-cloud-backup-list --format json {endpoint} s3://akig-dr/barman srv"
    said = subprocess.run(
        ["bash", "-c", listing], env={**os.environ, **barman_environment(bench)}, capture_output=True,
        check=True,
    ).stdout  # fmt: skip
    newest = json.loads(said)["backups_list"][-1]["backup_id"]
    command = f"{bench.barman}/bin/barman-cloud-restore {endpoint} s3://akig-dr/barman srv {newest} {target}"
    row = bench.row("barman-cloud-restore (S3)")
    row.seconds.append(shell(f"{command} >/dev/null 2>{bench.home}/barman.log", barman_environment(bench)))
    shutil.rmtree(target)


def bare_restore(bench: Bench) -> None:
    target = bench.home / "untarred"
    target.mkdir()
    row = bench.row("zstd -dc | tar x")
    row.seconds.append(shell(f"zstd -q -dc {bench.home}/bare.tar.zst | tar x -C {target}", {}))
    shutil.rmtree(target)


def our_restore(bench: Bench, name: str, target: str, backup_id: str) -> None:
    """The time until the files are there (fetched, verified, combined), and until the first answer."""
    place = bench.home / "production" / "restored"
    argv = ("restore", target, "--into", str(place), "--backup", backup_id, "--to", "immediate", "--no-proof")
    document, _, peak = bench.pra(*argv)
    files = sum(p["seconds"] for p in document["phases"] if p["name"] in FILES)
    bench.row(f"{name}: files").seconds.append(files)
    bench.row(f"{name}: files").peak_mb.append(peak)
    bench.row(f"{name}: first answer").seconds.append(float(document["rto_seconds"]))
    shutil.rmtree(place)


FILES = ("fetch", "combine", "assemble")
"""Phases of a physical restore in which its files are made."""


def psql_restore(bench: Bench) -> None:
    """What AKIG does today: ``gunzip | psql`` into an empty database, until it answers."""
    dump = bench.home / "dump.sql.gz"
    dsn = bench.production.superuser_dsn
    if not dump.exists():
        shell(f"{bench.tools.path('pg_dump')} -d {quote(dsn)} | gzip -1 > {dump}", bench.tools.env())
    bench.execute("DROP DATABASE IF EXISTS again")
    bench.execute("CREATE DATABASE again TEMPLATE template0")
    other = dsn.replace("dbname=akig", "dbname=again")
    command = f"gunzip -c {dump} | {bench.tools.path('psql')} -q -d {quote(other)} >/dev/null"
    bench.row("gunzip | psql").seconds.append(shell(command, bench.tools.env()))
    bench.execute("DROP DATABASE again")


def install_barman(home: Path) -> Path | None:
    """barman-cloud in an environment of its own; None where it cannot be had."""
    uv = Path(sys.executable).with_name("uv")
    place = home / "barman"
    argv = [str(uv), "venv", "-q", "--python", sys.executable, str(place)]
    made = subprocess.run(argv, check=False)
    if made.returncode == 0:
        argv = [str(uv), "pip", "install", "-q", "--python", str(place / "bin" / "python"), *BARMAN]
        made = subprocess.run(argv, check=False)
    return place if made.returncode == 0 else None


def run(bench: Bench, rounds: int) -> None:
    ours(bench, "first backups, with digest (warm up)", "near", "--full", digest=True)
    ours(bench, "first backups, with digest (warm up)", "far", "--full", digest=True)
    near = far = ""
    for _ in range(rounds):
        bare_backup(bench)
        bare_backup_with_our_duties(bench)
        near = ours(bench, "pra backup --full", "near", "--full")["backup_id"]
        ours(bench, "pra backup --full, with digest", "near", "--full", digest=True)
        far = ours(bench, "pra backup --full (S3)", "far", "--full")["backup_id"]
        if bench.barman:
            barman_backup(bench)
        bench.change(UPDATES, INSERTS)
        ours(bench, f"pra backup, {UPDATES} updates, {INSERTS} inserts", "near")
    for _ in range(rounds):
        bare_restore(bench)
        our_restore(bench, "pra restore, full", "near", near)
        our_restore(bench, "pra restore, full (S3)", "far", far)
        if bench.barman:
            barman_restore(bench)
        psql_restore(bench)
    chain(bench, rounds)


def chain(bench: Bench, rounds: int) -> None:
    """A full and 24 hourly incrementals; restored after 6 and after 24."""
    ours(bench, "chain: full", "near", "--full")
    marks: dict[int, str] = {}
    for hour in range(1, 25):
        bench.change(HOURLY_UPDATES, HOURLY_INSERTS)
        marks[hour] = ours(bench, "chain: hourly incremental", "near")["backup_id"]
    for _ in range(rounds):
        for hours in (6, 24):
            our_restore(bench, f"pra restore, full + {hours} incrementals", "near", marks[hours])


def show(title: str, bench: Bench) -> None:
    print(f"\n{title}")
    for row in bench.rows.values():
        spread = f"{min(row.seconds):.1f}–{max(row.seconds):.1f}"
        peak = f"{max(row.peak_mb):.0f} MB" if row.peak_mb else ""
        print(f"  {row.name:<48} {row.median:7.1f} s  ({spread})  {row.megabytes:6.0f} MB  {peak}")


def show_ratios(bench: Bench) -> None:
    pairs: list[tuple[str, str, str]] = [
        ("full backup / bare (≤ 1.1)", "pra backup --full", "pg_basebackup | zstd -1 -T2"),
        ("bare with our duties / bare", SAME_DUTIES, "pg_basebackup | zstd -1 -T2"),
        ("full backup / bare with our duties", "pra backup --full", SAME_DUTIES),
        ("the same with the digest", "pra backup --full, with digest", "pg_basebackup | zstd -1 -T2"),
        (
            "incremental / full (≤ 0.6)",
            f"pra backup, {UPDATES} updates, {INSERTS} inserts",
            "pra backup --full",
        ),
        ("restore of a full / bare (≤ 1.1)", "pra restore, full: files", "zstd -dc | tar x"),
        (
            "full + 6 / full (≤ 3)",
            "pra restore, full + 6 incrementals: files",
            "pra restore, full: files",
        ),
        ("full + 24 / full", "pra restore, full + 24 incrementals: files", "pra restore, full: files"),
        ("barman backup / ours (≥ 2.5)", "barman-cloud-backup -J2 --zstd (S3)", "pra backup --full (S3)"),
        ("barman restore / ours (≥ 1.8)", "barman-cloud-restore (S3)", "pra restore, full (S3): files"),
        ("psql / first answer (≥ 6)", "gunzip | psql", "pra restore, full: first answer"),
    ]
    print("\nratios of medians")
    for title, above, below in pairs:
        if above in bench.rows and below in bench.rows:
            print(f"  {title:<40} {bench.rows[above].median / bench.rows[below].median:6.2f}")


def one(size: int, barman: bool, work: Callable[[Bench], None]) -> Bench:
    home = Path(tempfile.mkdtemp(prefix="pra-bench-"))
    home.chmod(0o711)
    try:
        with Scope() as scope:
            bench = prepare(scope, home, size, install_barman(home) if barman else None)
            if barman and bench.barman is None:
                print("barman-cloud is not installable here: its rows are left out")
            work(bench)
            return bench
    finally:
        shutil.rmtree(home, ignore_errors=True)


def growth(bench: Bench, rounds: int, among: int) -> None:
    """Only what the same changes, to as many pages, cost on a database of another size.

    One that has settled: the first readers of fresh rows set hint bits, which changes their pages once, and
    as many of them as there are rows.
    """
    bench.execute("VACUUM (FREEZE, ANALYZE)")
    bench.execute("CHECKPOINT")
    ours(bench, "pra backup --full", "near", "--full", digest=True)
    for _ in range(rounds):
        bench.change(UPDATES, INSERTS, among=among)
        ours(bench, "incremental", "near")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000, help="megabytes of the database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-barman", action="store_true", help="do not install and measure barman-cloud")
    parser.add_argument("--growth", action="store_true", help="only what ten times the database costs")
    given = parser.parse_args()
    if not given.growth:
        large = one(given.size, not given.no_barman, lambda bench: run(bench, given.rounds))
        show(f"{given.size} MB asked, {large.production.summary.bytes / 1e6:.0f} MB made", large)
        show_ratios(large)
    among = given.size // 10 * 1000
    small = one(given.size // 10, False, lambda bench: growth(bench, given.rounds, among))
    tenfold = one(given.size, False, lambda bench: growth(bench, given.rounds, among))
    medians = [found.rows["incremental"].median for found in (small, tenfold)]
    print(f"\nincremental: {medians[0]:.1f} s; in ten times the database: {medians[1]:.1f} s")
    print(f"ratio (≤ 1.5): {medians[1] / medians[0]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
