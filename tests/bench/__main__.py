"""``make bench``: backup and restore side by side with PostgreSQL's own tools, in one run.

Methods take turns, three rounds, so that a machine that changes its speed changes it for all; medians and
ratios are printed, and written as JSON where ``--json FILE`` says.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from deployments.demo.stage import DATABASE, Production, start_production
from pra import keys
from pra.postgres.sandbox import open_sandbox, sandbox_account, sandbox_root
from pra.postgres.tools import SERVER, Tools, find_tools
from pra.proc import Scope
from tests.bench import prefect_share

ROUNDS = 3


@dataclass
class Row:
    """One method's measurements: wall seconds, and the peak memory of `pra` itself in MB."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    megabytes: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Bench:
    """One database size: a production server, a repository, and PRA configured for it."""

    scope: Scope
    home: Path
    production: Production
    tools: Tools

    @property
    def environment(self) -> dict[str, str]:
        return {"PRA_CONFIG": str(self.home / "pra.toml"), "PRA_STATE_DIR": str(self.home / "state")}

    def pra(self, *argv: str, digest: str) -> tuple[dict[str, object], float, float]:
        """Run ``pra … --json``: its document, wall seconds, and the peak memory of that process in MB."""
        env = {**os.environ, **self.environment, "PRA_TARGETS__AKIG__DIGEST": digest}
        start = time.monotonic()
        out = self.home / "out.json"
        with out.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "deployments.cli", *argv, "--json"], env=env, stdout=sink
            )
            peak, done, status = 0.0, 0, 0
            while not done:
                peak = max(peak, own_peak_mb(process.pid))
                time.sleep(0.02)
                done, status, _ = os.wait4(process.pid, os.WNOHANG)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 2):
            raise SystemExit(f"pra {' '.join(argv)} exited with {process.returncode}: {out.read_text()}")
        return json.loads(out.read_text()), seconds, peak


def own_peak_mb(pid: int) -> float:
    """The most memory that a running process of ours has held; PostgreSQL's is bounded by its settings."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def shell(argv: str, env: dict[str, str]) -> float:
    """Wall seconds of a pipeline, which must succeed. What others left to be written is written before."""
    os.sync()
    start = time.monotonic()
    subprocess.run(["bash", "-o", "pipefail", "-c", argv], env={**os.environ, **env}, check=True)
    return time.monotonic() - start


def folder_mb(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


SETTINGS = """\
[targets.akig]
dsn          = "postgresql://pra_backup@127.0.0.1:{port}/akig"
repositories = ["local"]

[repositories.local]
url = "file://{home}/repo"

[encryption]
recipients = ["{recipient}"]
"""


def prepare(scope: Scope, home: Path, megabytes: int) -> Bench:
    production = start_production(scope, home, megabytes)
    (home / "state").mkdir(mode=0o700)
    report = keys.make_keys(home / "state" / "keys")
    (home / "repo").mkdir(mode=0o700)
    (home / "pra.toml").write_text(
        SETTINGS.format(port=production.port, home=home, recipient=report.recipient)
    )
    secret = home / ".env"
    secret.touch(mode=0o600)
    secret.write_text(f"PRA_TARGETS__AKIG__PASSWORD={production.password}\n")
    return Bench(scope, home, production, find_tools(18, needs=SERVER))


def backup_methods(bench: Bench) -> dict[str, Callable[[Row], None]]:
    tools, dsn = bench.tools, bench.production.superuser_dsn
    env = tools.env()
    dump = bench.home / "bare"

    def gzip(row: Row) -> None:
        target = bench.home / "dump.sql.gz"
        row.seconds.append(shell(f"{tools.path('pg_dump')} -d {quote(dsn)} | gzip > {target}", env))
        row.megabytes = folder_mb(target)

    def bare(row: Row) -> None:
        shutil.rmtree(dump, ignore_errors=True)
        row.seconds.append(shell(f"{tools.path('pg_dump')} -Fd -j2 -Z zstd:1 -f {dump} -d {quote(dsn)}", env))
        row.megabytes = folder_mb(dump)

    def ours(digest: str) -> Callable[[Row], None]:
        def run(row: Row) -> None:
            document, seconds, peak = bench.pra("backup", digest=digest)
            row.seconds.append(seconds)
            row.peak_mb.append(peak)
            row.megabytes = float(str(document["bytes"])) / 1e6

        return run

    return {
        "pg_dump | gzip": gzip,
        "pg_dump -Fd -j2 -Z zstd:1": bare,
        "pra backup, counts": ours("counts"),
        "pra backup, digest": ours("digest"),
    }


@dataclass(frozen=True)
class _Locale:
    encoding: str = "UTF8"
    collate: str = "C.UTF-8"
    ctype: str = "C.UTF-8"
    bootstrap_role: str = "postgres"
    data_checksums: bool = True


def restore_methods(bench: Bench) -> dict[str, Callable[[Row], None]]:
    tools = bench.tools

    def bare(jobs: int) -> Callable[[Row], None]:
        def run(row: Row) -> None:
            root = sandbox_root(None, bench.home)
            start = time.monotonic()
            with (
                Scope() as scope,
                open_sandbox(scope, tools, _Locale(), root=root, account=sandbox_account(None)) as box,
            ):
                with box.server.connect() as connection:
                    connection.execute("CREATE ROLE pra_backup")
                dsn = box.server.dsn
                shell(
                    f'{tools.path("pg_restore")} -C -j{jobs} --no-owner -d "{dsn}" {bench.home / "bare"} && '
                    f'{tools.path("vacuumdb")} -q --analyze-only -j{jobs} -d "{dsn} dbname={DATABASE}"',
                    tools.env(),
                )
                row.seconds.append(time.monotonic() - start)

        return run

    def ours(row: Row) -> None:
        document, _, peak = bench.pra("verify", digest="digest")
        row.seconds.append(float(str(document["rto_seconds"])))
        row.peak_mb.append(peak)

    return {"pg_restore -j2 + analyze": bare(2), "pg_restore -j4 + analyze": bare(4), "pra verify, RTO": ours}


def measure(methods: dict[str, Callable[[Row], None]], rounds: int) -> list[Row]:
    rows = {name: Row(name) for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            method(rows[name])
    return list(rows.values())


def show(title: str, rows: Sequence[Row]) -> None:
    print(f"\n{title}")
    base = rows[0].median
    for row in rows:
        spread = f"{min(row.seconds):.1f}–{max(row.seconds):.1f}"
        peak = f"{max(row.peak_mb):.0f} MB" if row.peak_mb else ""
        print(
            f"  {row.name:<28} {row.median:8.1f} s  ({spread} s)  {base / row.median:6.2f}x  "
            f"{row.megabytes:8.0f} MB  {peak}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes",
        default="0,1000,4000",
        help="megabytes, comma-separated; 0: almost empty, for memory and Prefect's share",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    everything: dict[str, list[dict[str, object]]] = {}
    for size in (int(text) for text in given.sizes.split(",")):
        home = Path(tempfile.mkdtemp(prefix="pra-bench-"))
        home.chmod(0o711)
        try:
            with Scope() as scope:
                bench = prepare(scope, home, max(size, 1))
                everything[str(size)] = one_size(bench, size, given.rounds)
                if size == 0:
                    show_share(prefect_share.measure(bench.environment, given.rounds))
        finally:
            shutil.rmtree(home, ignore_errors=True)
    if given.json:
        given.json.write_text(json.dumps(everything, indent=2))
    return 0


def show_share(shares: dict[str, float]) -> None:
    print("\nPrefect's share (flow minus run(), in this process)")
    for name, share in shares.items():
        print(f"  {name:<28} {share:8.1f} s")


def one_size(bench: Bench, size: int, rounds: int) -> list[dict[str, object]]:
    backups = measure(backup_methods(bench), rounds)
    restores = measure(restore_methods(bench), rounds)
    actual = bench.production.summary.bytes / 1e6
    show(f"backup, {size} MB asked, {actual:.0f} MB on disk", backups)
    show(f"restore, {size} MB", restores)
    return [
        {"name": r.name, "median": r.median, "seconds": r.seconds, "peak_mb": r.peak_mb, "mb": r.megabytes}
        for r in (*backups, *restores)
    ]


if __name__ == "__main__":
    sys.exit(main())
