"""The runbooks under version control: what ``pra runbook --no-facts`` writes for ``pra.toml.example``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from pra.runbook import render
from pra.settings import load_settings

FILES = {"en": "docs/RUNBOOK.md", "fr": "docs/fr/RUNBOOK.md"}


def runbooks(root: Path) -> dict[str, str]:
    """By path below the root."""
    with TemporaryDirectory() as state:
        settings = load_settings(root / "pra.toml.example", {"PRA_STATE_DIR": state})
    return {file: render(settings, None, language) for language, file in FILES.items()}
