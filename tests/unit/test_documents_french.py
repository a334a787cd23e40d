"""The French pages keep what needs no translation: figures, names in code, and where links lead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents import ROOT, links, prose

PAGES = ("README.md", "INDEX.md", "METRICS.md", "RUNBOOK.md")


def pair(name: str) -> tuple[Path, Path]:
    return ROOT / name if name == "README.md" else ROOT / "docs" / name, ROOT / "docs/fr" / name


def table_rows(file: Path) -> list[str]:
    return [
        line for line in prose(file).splitlines() if line.startswith("|") and not set(line) <= set("|-: ")
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_row_has_the_same_names(name: str) -> None:
    """What stands in backticks is typed or searched for: it is the same in every language."""
    english, french = ([sorted(re.findall(r"`[^`]+`", row)) for row in table_rows(f)] for f in pair(name))
    assert french == english


@pytest.mark.parametrize("name", ["INDEX.md", "METRICS.md"])
def test_a_row_has_the_same_figures(name: str) -> None:
    def figures(file: Path) -> list[list[str]]:
        plain = [re.sub(r"`[^`]*`|\([^)]*\)", "", row) for row in table_rows(file)]
        return [sorted(re.findall(r"\d+(?:[.,]\d+)?", row.replace(",", "."))) for row in plain]

    english, french = (figures(file) for file in pair(name))
    assert french == english


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_the_same_pages(name: str) -> None:
    """To the French page where there is one; sections have their own names in each language."""

    def pages(file: Path) -> set[str]:
        found: set[str] = set()
        ours = (ROOT, ROOT / "docs", ROOT / "docs/fr")
        for link in links(file):
            there = (file.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else file
            found.add(there.name if there.parent in ours else str(there))
        return found

    english, french = (pages(file) for file in pair(name))
    assert french == english


@pytest.mark.parametrize("name", PAGES)
def test_it_is_french(name: str) -> None:
    _, file = pair(name)
    words = re.sub(r"`[^`]*`|\([^)]*\)|\[[^\]]*\]", "", prose(file))
    assert not re.findall(r"\b(?:the|and|with|what|whoever|nobody|which)\b", words)
    assert not re.findall(r"\w[;:!?](?=\s)", words), "French has a space before these"
    assert not re.findall(r"\b(?:tu|ton|tes)\b", words), "a reader is addressed as vous"
