"""compose.yaml against the schema of its specification, the command line, and what the image has."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.cli.app import COMMANDS
from deployments.running.parts import pool_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "compose"
COMPOSE = FOLDER / "compose.yaml"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def check(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = yaml.safe_load(COMPOSE.read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_it_is_what_the_specification_calls_a_compose_file() -> None:
    done = check(COMPOSE)
    assert done.returncode == 0, done.stdout


def test_a_misspelt_key_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace"))
    done = check(wrong)
    assert (done.returncode, "stop_grace" in done.stdout) == (1, True), done.stdout


def test_every_service_runs_a_command_that_there_is(services: dict[str, Any]) -> None:
    ours = {name: service["command"] for name, service in services.items() if "command" in service}
    assert set(services) - set(ours) == {"prefect-db"}
    for name, command in ours.items():
        assert command[0] in COMMANDS
        if command[0] == "up":
            assert pool_of(command[1]) in (None, name.removeprefix("worker-"))


def test_each_pool_has_state_and_keys_of_its_own(services: dict[str, Any]) -> None:
    """The pool that writes backups must not be able to read them."""
    states: dict[str, str] = {}
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source, inside = volume.split(":")[:2]
            if inside == "/var/lib/pra":
                assert source not in states, f"{name} and {states[source]} share their state"
                states[source] = name
            if inside == "/var/lib/pra/keys":
                pool = name.removeprefix("worker-") if name.startswith("worker-") else "backup"
                assert (source, volume.endswith(":ro")) == (f"./keys/{pool}", True)
    assert len(states) == 6


def test_nothing_listens_outside_this_machine_and_no_secret_is_written_down(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:4200:4200"]
    # Each secret is a variable, and its absence an error.
    secrets = re.findall(r"(?:AUTH|PASSWORD): (.*)", COMPOSE.read_text())
    assert len(secrets) == 2
    assert all(re.match(r"\$\{\w+:\?", secret) for secret in secrets)


def test_the_image_has_what_it_copies_and_installs_what_was_tested() -> None:
    copied = [
        word
        for line in re.findall(r"^COPY (.*)$", DOCKERFILE, flags=re.MULTILINE)
        for word in line.split()[:-1]
    ]
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}\n" in ignored
    packages = re.search(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    assert set(re.findall(r"\w+", packages[1])) <= set(copied)
    assert "--require-hashes --requirement requirements.lock" in DOCKERFILE
    assert DOCKERFILE.index("\nUSER 10001") < DOCKERFILE.index("\nENTRYPOINT")


def in_image(path: str) -> bool:
    """Whether a file is sent to the build: the last line that names it, or a folder above, decides."""
    above = [Path(path), *Path(path).parents][:-1]
    sent = True
    for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line.startswith("#") and any(fnmatch(str(each), pattern) for each in above):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("name", [".env", "pra.env", "pra.toml", "keys/verify/identity.txt"])
def test_what_has_to_lie_beside_it_is_in_no_image_and_in_no_commit(name: str) -> None:
    """These files are there before the image is built."""
    path = f"deployments/compose/{name}"
    assert name.split("/")[0] in (FOLDER / "README.md").read_text()
    assert not in_image(path)
    if (ROOT / ".git").exists():
        done = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT, check=False)
        assert done.returncode == 0
    assert in_image("deployments/cli/up.py")
    assert in_image("pra/keys.py")
