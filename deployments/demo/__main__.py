"""``make demo``: the whole promise on this machine in a few minutes, with nothing but real parts.

A production database of AKIG's shape, a local and an S3 repository, a Prefect server and workers; a backup,
a proof from the offsite copy, and the same proof failing once one byte of that copy is damaged. Then the
server is destroyed while its WAL is streamed, and what was committed seconds before comes back. Ends with 0
only if all went as told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from deployments.demo import stage
from deployments.supervise import PrefectServer, prefect_server, process_worker
from pra.errors import PraError
from pra.proc import Process, Scope
from pra.timing import format_duration, to_iso, utc_now

COMMAND_SECONDS = 900
POOLS = ("backup", "verify")
TARGET, LIVE = "akig", "akig-live"
LAST_WORDS = "paid seconds before the disaster"


class DemoFailed(Exception):
    """The story did not go as told."""


@dataclass
class Story:
    """What the demo has seen, for the table at the end."""

    console: Console
    environment: Mapping[str, str]
    proof: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] = field(default_factory=dict)
    damage_named: bool = False

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Time a step. Its outcome is what the body appends to the list."""
        self.console.print(f"[bold]▸[/] {title} …")
        start = time.monotonic()
        said: list[str] = []
        yield said
        outcome = said[-1] if said else "done"
        seconds = time.monotonic() - start
        self.console.print(f"  {outcome} [dim]({format_duration(seconds)})[/]")

    def pra(self, *argv: str, expect: int = 0) -> dict[str, Any]:
        """Run the command as an operator would, and demand its exit code."""
        command = [sys.executable, "-m", "deployments.cli", *argv, "--json"]
        self.console.print(f"  [dim]$ pra {' '.join(argv)}[/]")
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode != expect:
            raise DemoFailed(
                f"pra {' '.join(argv)} exited with {done.returncode}, not {expect}:\n{done.stderr[-3000:]}"
                f"\n{done.stdout[-3000:]}"
            )
        document: dict[str, Any] = json.loads(done.stdout)
        return document


def prove(story: Story, backup_id: str) -> dict[str, Any]:
    """The proof of a backup as the repository's own evidence tells it."""
    listing = story.pra("backups", TARGET)
    found = next((item for item in listing["items"] if item["backup_id"] == backup_id), None)
    if found is None or found["verdict"] != "PASS" or not found["proven_at"]:
        raise DemoFailed(f"the repositories do not say that {backup_id} was proven: {found}")
    return dict(found)


def tell(console: Console, home: Path, megabytes: int, keep: bool) -> None:
    with ExitStack() as stack:
        scope = stack.enter_context(Scope())
        story = Story(console, {})
        with story.step(f"A production database of AKIG's shape, about {megabytes} MB") as said:
            production = stage.start_production(scope, home, megabytes)
            summary = production.summary
            said.append(f"{summary.tables} tables, {summary.rows:,} rows, {summary.bytes / 1e6:.0f} MB")
        with story.step("A local and an offsite (S3) repository, fresh keys") as said:
            offsite = stage.start_offsite(scope, home)
            environment = stage.write_settings(home, production, offsite)
            said.append("every object will be encrypted before it leaves this process")
        with story.step("A Prefect server and its workers") as said:
            server = start_prefect(stack, home, environment)
            story.environment = {**environment, **server.environment}
            deployed = story.pra("deploy")
            said.append(f"{server.ui_url}, {len(deployed['items'])} deployments")
        backup_id = act(story, offsite)
        disaster(story, scope, home, production)
        finish(story, backup_id)
        if keep:
            console.print(f"\nThe Prefect UI stays up at [bold]{server.ui_url}[/]. Press Ctrl-C to end it.")
            while True:
                time.sleep(3600)


def start_prefect(stack: ExitStack, home: Path, environment: Mapping[str, str]) -> PrefectServer:
    server = stack.enter_context(prefect_server(home / "state"))
    for pool in POOLS:
        stack.enter_context(process_worker(server, pool, environment=environment))
    return server


def act(story: Story, offsite: stage.Offsite) -> str:
    """Backup, proof, damage, proof that fails."""
    with story.step("Backup, as the hourly deployment runs it") as said:
        run = story.pra("backup", TARGET, "--flow")
        newest = story.pra("backups", TARGET)["items"][0]
        backup_id = str(newest["backup_id"])
        where = " and ".join(newest["repositories"])
        said.append(f"{backup_id}: {newest['bytes'] / 1e6:.0f} MB in {where}")
        if sorted(newest["repositories"]) != ["local", "offsite"] or run["verdict"] != "PASS":
            raise DemoFailed(f"the backup is not in both repositories: {newest}, {run}")
    with story.step(
        "Restore from the offsite copy, proven row by row, as the weekly deployment runs it"
    ) as said:
        story.pra("verify", TARGET, "--repository", "offsite", "--flow")
        prove(story, backup_id)
        said.append("[green]PASS[/]")
    with story.step("The same from the command line, without Prefect") as said:
        report = story.pra("verify", TARGET, "--repository", "offsite")
        said.append(verdict_line(report))
        story.proof = report
    with story.step("One bit of one offsite object flips") as said:
        said.append(damage(offsite, backup_id))
    with story.step("The same proof again") as said:
        report = story.pra("verify", TARGET, "--repository", "offsite", expect=1)
        broken = next(check for check in report["checks"] if check["status"] == "failed")
        if report["verdict"] != "FAIL" or DAMAGED not in broken["observed"]:
            raise DemoFailed(f"the damage was not named: {broken}")
        story.damage_named = True
        said.append(f"[red]FAIL[/] as it must: {DAMAGED} is not what was saved")
    with story.step("The local copy still restores") as said:
        report = story.pra("verify", TARGET, "--repository", "local")
        said.append(verdict_line(report))
    return backup_id


def disaster(story: Story, scope: Scope, home: Path, production: stage.Production) -> None:
    """The physical engine: what was committed seconds before the server was lost comes back."""
    with story.step("WAL streamed all the time, and a base backup: full, then what changed") as said:
        streamer = start_streamer(scope, home, story.environment)
        full = story.pra("backup", LIVE)
        write(production, "an hour's work")
        incremental = story.pra("backup", LIVE)
        if (full["kind"], incremental["kind"]) != ("full", "incremental"):
            raise DemoFailed(f"not a full and an incremental backup: {full}, {incremental}")
        said.append(f"{full['bytes'] / 1e6:.0f} MB, then {incremental['bytes'] / 1e6:.1f} MB")
    with story.step("A payment; seconds later the server and its disk are gone, and the streamer with them"):
        write(production, LAST_WORDS)
        time.sleep(SECONDS_BEFORE)
        at = utc_now()
        stage.destroy(production)
        streamer.end(grace=0, first=signal.SIGKILL)
    with story.step(
        "Restore into a new place from the offsite copy alone, to the last moment there is"
    ) as said:
        place = production.data.parent / "restored"
        report = story.pra(
            "restore", LIVE, "--into", str(place), "--to", "latest", "--repository", "offsite",
            "--disaster-at", to_iso(at),
        )  # fmt: skip
        story.recovery = report
        said.append(verdict_line(report))
    with story.step("The new server starts, and is asked for that payment") as said:
        found = read(stage.start_restored(scope, production, place))
        if found != LAST_WORDS:
            raise DemoFailed(f"the payment is not there: {found!r}")
        said.append(f"[green]it is there[/]: {found}")


SECONDS_BEFORE = 5


def start_streamer(scope: Scope, home: Path, environment: Mapping[str, str]) -> Process:
    with (home / "streamer.log").open("ab") as log:
        return scope.start(
            (sys.executable, "-m", "deployments.cli", "wal", "stream", LIVE),
            op="start streamer", env={**os.environ, **environment}, stdout=log, stderr=log,
        )  # fmt: skip


def write(production: stage.Production, words: str) -> None:
    with psycopg.connect(production.superuser_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS last_words (at timestamptz DEFAULT now(), words text)")
        connection.execute("GRANT SELECT ON last_words TO pra_backup")
        connection.execute("INSERT INTO last_words (words) VALUES (%s)", (words,))


def read(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("SELECT words FROM last_words ORDER BY at DESC LIMIT 1").fetchone()
    return str(row[0]) if row else ""


DAMAGED = "dump-0001.tar.zst.age"


def verdict_line(report: Mapping[str, Any]) -> str:
    passed = sum(check["status"] == "passed" for check in report["checks"])
    content = next(check for check in report["checks"] if check["name"] == "fingerprint")
    verdict = f"[green]{report['verdict']}[/]"
    return f"{verdict}: {passed} checks passed; {content['observed']}, equal to what was saved"


def damage(offsite: stage.Offsite, backup_id: str) -> str:
    path = offsite.bucket / "pra" / "akig" / "backups" / backup_id / "objects" / DAMAGED
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return f"byte {len(data) // 2:,} of {DAMAGED}"


def finish(story: Story, backup_id: str) -> None:
    """What a manager wants to know."""
    rto, rpo = float(story.proof["rto_seconds"]), float(story.proof["rpo_seconds"])
    content = next(check for check in story.proof["checks"] if check["name"] == "fingerprint")
    equal = content["status"] == "passed" and story.proof["verdict"] == "PASS"
    table = Table(title="Are we inside our objectives?", title_justify="left")
    for column in ("", "promised", "measured", ""):
        table.add_column(column)
    table.add_row("RTO: back in service after", "30 min", format_duration(rto), _tick(rto <= 1800))
    table.add_row("RPO: at most this much work lost", "1 h", format_duration(rpo), _tick(rpo <= 3600))
    lost, back = float(story.recovery["rpo_seconds"]), float(story.recovery["rto_seconds"])
    table.add_row("RPO with WAL: lost in the disaster", "1 h", format_duration(lost), _tick(lost <= 60))
    table.add_row("RTO of that disaster", "30 min", format_duration(back), _tick(back <= 1800))
    table.add_row("Proof: the restored rows", content["expected"], content["observed"], _tick(equal))
    table.add_row("A damaged copy is noticed", "yes", "yes, and named", _tick(story.damage_named))
    story.console.print()
    story.console.print(table)
    story.console.print(
        Panel(
            f"Backup {backup_id} was restored from the offsite copy into a throwaway server, compared "
            "with what was saved, timed, and the result signed. Then one bit was flipped, and the proof "
            "turned red. Then the server was destroyed, and a row written seconds before came back.",
            title="What you saw",
            title_align="left",
        )
    )


def _tick(good: bool) -> str:
    if not good:
        raise DemoFailed("an objective was missed")
    return "[green]✓[/]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="make demo")
    parser.add_argument("--size", type=int, default=300, help="megabytes of the production database")
    parser.add_argument("--keep", action="store_true", help="leave the Prefect UI up until Ctrl-C")
    given = parser.parse_args()
    console = Console(highlight=False)
    home = Path(tempfile.mkdtemp(prefix="pra-demo-"))
    home.chmod(0o711)  # the production server runs as another account when we are root
    start = time.monotonic()
    try:
        tell(console, home, given.size, given.keep)
        console.print(f"All of it in {format_duration(time.monotonic() - start)}.")
        return 0
    except (DemoFailed, PraError) as error:
        console.print(f"[red]The demo failed:[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        return 0 if given.keep else 130
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
