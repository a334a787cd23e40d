"""`pgbench` run over a set of scripts, and what each of them took, from its log of every transaction."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pra.errors import ToolError
from pra.loadtest.measures import Load, Query
from pra.loadtest.queries import Script
from pra.postgres.connect import Server
from pra.postgres.tools import Tools
from pra.proc import Scope

PROGRAM = "pgbench"
WARM_UP_SECONDS = 2
_SEED = 20261122
"""The same rows are asked of every server that is compared."""
_GRACE_SECONDS = 60.0
_OP = "put load on the database"
_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Mixture:
    """The scripts in their folder, and the numbers they need.

    Attributes:
        folder: Ours alone; the logs lie there while they are read.
    """

    folder: Path
    scripts: tuple[Script, ...]
    values: Mapping[str, int] = field(repr=False)

    def write(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for script in self.scripts:
            self.file(script).write_text(script.text)

    def alone(self, name: str) -> Mixture:
        """One of the scripts by itself, in a folder of its own."""
        chosen = tuple(script for script in self.scripts if script.name == name)
        return Mixture(self.folder / f"alone-{self.scripts.index(chosen[0]):02d}", chosen, self.values)

    def file(self, script: Script) -> Path:
        place = self.scripts.index(script)
        return self.folder / f"{place:02d}-{_NAME.sub('-', script.name.lower())}.sql"


def pgbench_argv(
    tools: Tools, server: Server, mixture: Mixture, *, clients: int, seconds: int, log: Path | None
) -> tuple[str, ...]:
    """One run: simple protocol, so that every statement is planned for its values."""
    files = [f"--file={mixture.file(script)}@{script.weight}" for script in mixture.scripts]
    values = [f"--define={name}={value}" for name, value in mixture.values.items()]
    threads = max(1, min(clients, os.cpu_count() or 1))
    return (
        tools.path(PROGRAM),
        "--no-vacuum",
        f"--client={clients}",
        f"--jobs={threads}",
        f"--time={seconds}",
        f"--random-seed={_SEED}",
        *files,
        *values,
        *(("--log", f"--log-prefix={log}") if log is not None else ()),
        server.dsn,
    )


def put_load(
    scope: Scope, tools: Tools, server: Server, mixture: Mixture, *, clients: int, seconds: int
) -> Load:
    """Warm up, then measure.

    Args:
        clients: Sessions at once, each sending the next transaction as soon as it has an answer.

    Raises:
        ToolError: A client was ended by an error, such as a table that is not there; or nothing was done.
    """
    _run(scope, tools, server, mixture, clients, min(WARM_UP_SECONDS, seconds), None)
    log = mixture.folder / "transactions"
    for old in mixture.folder.glob("transactions.*"):
        old.unlink()
    started = time.monotonic()
    _run(scope, tools, server, mixture, clients, seconds, log)
    took = time.monotonic() - started
    times, failed = read_log(sorted(mixture.folder.glob("transactions.*")))
    done = sum(len(each) for each in times.values())
    if not done:
        raise ToolError("pgbench ended without a transaction", op=_OP)
    queries = tuple(
        Query.of(script.name, times[place]) for place, script in enumerate(mixture.scripts) if place in times
    )
    return Load(clients, min(took, float(seconds)), done, failed, queries)


def _run(
    scope: Scope,
    tools: Tools,
    server: Server,
    mixture: Mixture,
    clients: int,
    seconds: int,
    log: Path | None,
) -> None:
    scope.run(
        pgbench_argv(tools, server, mixture, clients=clients, seconds=seconds, log=log),
        op=_OP,
        timeout=seconds + _GRACE_SECONDS,
        env={**tools.env(), **server.tool_env()},
        secrets=server.secrets,
    )


def read_log(files: Sequence[Path]) -> tuple[dict[int, list[float]], int]:
    """Seconds of every transaction by the number of its script, and how many failed.

    A line is ``client transaction microseconds script epoch microseconds …``; a failed one says ``failed``.
    """
    times: dict[int, list[float]] = {}
    failed = 0
    for file in files:
        with file.open() as lines:
            for line in lines:
                words = line.split()
                if len(words) < 4:
                    continue  # cut off by the end of the run
                if not words[2].isdigit():
                    failed += 1
                else:
                    times.setdefault(int(words[3]), []).append(int(words[2]) / 1e6)
    return times, failed
