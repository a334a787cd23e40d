"""An operator's working directory: pra.toml, keys, repositories, and the command line run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fix_cluster import Cluster

_LOADED = "(Prefect was loaded)"
_TOML = """
[targets.{target}]
dsn = "host={host} port={port} user=postgres dbname={dbname}"
repositories = [{names}]
{extra}
[encryption]
recipients = ["{recipient}"]
[postgres]
bindir = "{bindir}"
"""


# The command, and at its end whether anything had loaded Prefect.
_PROGRAM = f"""
import atexit, sys
from deployments.cli import main
atexit.register(lambda: "prefect" in sys.modules and sys.stderr.write("{_LOADED}"))
main()
"""


@dataclass(frozen=True)
class Ran:
    """One command that was run. ``prefect``: it loaded Prefect."""

    code: int
    out: str
    err: str
    prefect: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` printed: exactly one object."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@dataclass
class Operator:
    """Runs ``pra`` in ``home``, with nothing of the test's own environment that could change it."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PRA_", "PREFECT_", "PG"))}
        own = {"PRA_STATE_DIR": str(self.home / "state"), "PREFECT_HOME": str(self.home / "prefect")}
        return clean | own | self.variables

    def start(self, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            cwd=self.home,
            env=self.environment | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pra(self, *arguments: str, code: int | None = 0, timeout: float = 110) -> Ran:
        """Run to the end and demand this exit code; None takes any."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
        ran = Ran(process.returncode, out, err.replace(_LOADED, ""), _LOADED in err)
        if code is not None:
            assert ran.code == code, f"pra {' '.join(arguments)} ended with {ran.code}:\n{out}\n{err}"
        return ran

    def protect(
        self,
        server: Cluster,
        dbname: str,
        *,
        target: str = "akig",
        repositories: tuple[str, ...] = ("local", "second"),
        extra: str = "",
    ) -> None:
        """Make keys and write a pra.toml that protects one database into directories here."""
        recipient = self.pra("key", "make", "--json").document["recipient"]
        toml = _TOML.format(
            target=target,
            host=server.directory,
            port=server.port,
            dbname=dbname,
            names=", ".join(f'"{name}"' for name in repositories),
            extra=extra,
            recipient=recipient,
            bindir=server.bindir,
        )
        for name in repositories:
            (self.home / name).mkdir()
            toml += f'[repositories.{name}]\nurl = "file://{self.home / name}"\n'
        (self.home / "pra.toml").write_text(toml)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An empty working directory. Call ``protect`` first."""
    return Operator(tmp_path)
