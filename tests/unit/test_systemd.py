"""The units, read by systemd's own checker, with this checkout in the place of /opt/pra."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.app import app
from deployments.running.parts import EMERGENCY, POOLS, pool_of
from tests.requirements import require

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deployments" / "systemd"
STARTED = (
    "pra.target", "pra-prefect.service", "pra-deploy.service", "pra-worker@backup.service",
    "pra-worker@verify.service", "pra-worker@emergency.service", "pra-wal@akig.service", "pra-status.service",
    "pra-status.timer",
)  # fmt: skip
WORST = 30  # of 100; "OK" by systemd's own words


@pytest.fixture
def units(tmp_path: Path) -> Path:
    require("systemd-analyze", shutil.which("systemd-analyze") is not None)
    for unit in UNITS.glob("pra*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/pra/", f"{ROOT}/"))
    return tmp_path


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        cwd=units, env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def verify(units: Path) -> str:
    """What it has to say; nothing is what is wanted, since it passes over keys that it does not know."""
    done = analyze(units, "verify", *(f"./{unit}" for unit in STARTED))
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


def test_systemd_reads_every_unit_without_a_word(units: Path) -> None:
    assert verify(units) == ""


@pytest.mark.parametrize(
    ("unit", "old", "new"),
    [
        ("pra-prefect.service", "NoNewPrivileges", "NoNewPriviliges"),
        ("pra-worker@.service", "bin/pra", "bin/prax"),
        ("pra-status.timer", "*:0/5", "every five minutes"),
        ("pra-wal@.service", "Type=exec", "Type=often"),
    ],
)
def test_it_would_say_what_is_wrong(units: Path, unit: str, old: str, new: str) -> None:
    file = units / unit
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert unit.replace("@", "") in verify(units).replace("@backup", "").replace("@akig", "").replace(
        "@", ""
    ), verify(units)


def test_no_service_is_exposed(units: Path) -> None:
    for unit in (unit for unit in STARTED if unit.endswith(".service")):
        done = analyze(units, "security", "--offline=true", "--no-pager", f"--threshold={WORST}", f"./{unit}")
        assert done.returncode == 0, done.stdout[-300:] + done.stderr
        (level,) = re.findall(r"exposure level for .*: ([\d.]+)", done.stdout)
        assert float(level) * 10 <= WORST


def test_every_service_runs_a_command_that_there_is() -> None:
    for unit in UNITS.glob("*.service"):
        (line,) = re.findall(
            r"^ExecStart=/opt/pra/\.venv/bin/pra (.*)$", unit.read_text(), flags=re.MULTILINE
        )
        words = line.split()
        if words[0] == "up":
            pools = (*POOLS, EMERGENCY) if "%i" in line else ("",)
            assert all(pool_of(words[1].replace("%i", pool)) in (pool, None) for pool in pools)
        done = CliRunner().invoke(app, [*words, "--help"])
        assert done.exit_code == 0, f"{unit.name}: {done.output}"


def test_one_that_is_told_to_stop_may_tidy_up() -> None:
    """A run gets 30 seconds from its worker, a streamer as many for its last pass; systemd waits."""
    for name in ("pra-worker@.service", "pra-wal@.service"):
        (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", (UNITS / name).read_text(), flags=re.MULTILINE)
        assert int(seconds) >= 45
