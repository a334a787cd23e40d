"""``make drill``: every scenario rehearsed on the demo's database, and one table at the end.

A production database of AKIG's shape is protected as in the demo; nothing is ever done to it. Ends with 0
only if every drill passed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deployments.cli.drill import drill_columns, drill_row
from deployments.demo import stage
from pra.drill.record import DRILL, DrillRecord, record_of
from pra.drill.scenarios import SCENARIOS
from pra.proc import Scope

TARGET = "akig-live"
_SECONDS = 600


def pra(environment: Mapping[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator would; its words about the way go to this terminal."""
    return subprocess.run(
        [sys.executable, "-m", "deployments.cli", *argv, "--json"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def rehearse(
    environment: Mapping[str, str],
    console: Console,
    scenarios: Sequence[str],
    options: Sequence[str],
    reports: Path,
) -> list[DrillRecord]:
    """Each scenario by ``pra drill``; its report is written beside."""
    found = []
    for name in scenarios:
        console.print(f"[bold]▸[/] {name} …")
        page = reports / f"{name}.html"
        done = pra(environment, "drill", TARGET, "--scenario", name, "--report", str(page), *options)
        document = json.loads(done.stdout)
        if "verdict" not in document:
            console.print(f"  [red]it could not be run:[/] {document['error']['message']}")
            continue
        record = record_of(DRILL, {k: v for k, v in document.items() if k != "schema"})
        found.append(record)
        console.print(f"  {record.verdict}, report: {page}")
        for check in record.checks:
            if check.status in ("failed", "skipped"):
                console.print(f"  {check.name} {check.status}: {check.observed} {check.reason}", markup=False)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="make drill")
    parser.add_argument("--size", type=int, default=300, help="megabytes of the production database")
    parser.add_argument("--scenario", action="append", help="only this one; may be given again")
    parser.add_argument("--intensity", default="heavy", choices=["light", "heavy"])
    parser.add_argument(
        "--reports", type=Path, default=Path("build/drills"), help="where reports are written"
    )
    given = parser.parse_args()
    console = Console(highlight=False)
    home = Path(tempfile.mkdtemp(prefix="pra-drill-"))
    home.chmod(0o711)
    names = given.scenario or [one.name for one in SCENARIOS]
    try:
        with Scope() as scope:
            console.print(f"[bold]▸[/] A production database of about {given.size} MB, and its backup …")
            production = stage.start_production(scope, home, given.size)
            environment = stage.write_settings(home, production, stage.start_offsite(scope, home))
            if pra(environment, "backup", TARGET).returncode != 0:
                console.print("[red]The backup failed.[/]")
                return 1
            options = ("--intensity", given.intensity)
            records = rehearse(environment, console, names, options, given.reports.absolute())
    finally:
        shutil.rmtree(home, ignore_errors=True)
    table = Table(title="Drills", title_justify="left")
    for place, column in enumerate(drill_columns(str)):
        table.add_column(column, no_wrap=place == 0)
    for record in records:
        table.add_row(*drill_row(record))
    console.print(table)
    return 0 if len(records) == len(names) and all(record.verdict == "PASS" for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
