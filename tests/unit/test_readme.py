"""What the README promises is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from deployments.cli.app import COMMANDS
from pra.postgres.rights import least_privilege_sql

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_role_is_the_one_that_is_tested() -> None:
    assert least_privilege_sql("backup", "akig") in (ROOT / "docs/SECURITY.md").read_text()


def test_every_command_is_in_the_table_and_none_that_is_not_there() -> None:
    named = {a or b for a, b in re.findall(r"^\| `pra (\w+)|, `pra (\w+)", README, flags=re.MULTILINE)}
    assert named == COMMANDS.keys()


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


def test_every_file_it_links_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
