"""The tests of the documents, tested: what is wrong in a page is found, and what is right is let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import documents
from tests.unit.test_documents import wrong_with

SCRIPTS = {
    "one command": ("pra status --all", ["pra status --all"]),
    "a comment": ("pra status  # all's well", ["pra status"]),
    "two of them": ("cp a b && chmod 600 b", ["cp a b", "chmod 600 b"]),
    "a pipe": ("age -d -i k v | zstd -d | tar -x", ["age -d -i k v", "zstd -d", "tar -x"]),
    "a quoted sign": ('pra locate akig --while "a > 1 | b"', ["pra locate akig --while a > 1 | b"]),
    "into a file": ("zstd -d < in > out", ["zstd -d"]),
    "a line that goes on": ("pra init --yes \\\n  --sql", ["pra init --yes --sql"]),
    "a quote over lines": ("python3 -c 'a\nb' | sha256sum", ["python3 -c a\nb", "sha256sum"]),
    "what is written into a file": ("cat > f <<END\nnot a command\nEND\ntouch g", ["cat", "touch g"]),
    "a loop": ("for v in *; do\n  tar -x $v\ndone", ["tar -x $v"]),
    "a condition": ("if [ $# -gt 1 ]; then mv a b; fi", ["mv a b"]),
    "a variable": ("export A=b\nA=b pra status", ["export A=b", "pra status"]),
}


@pytest.mark.parametrize(("script", "expected"), SCRIPTS.values(), ids=SCRIPTS)
def test_the_commands_of_a_script_are_found(script: str, expected: list[str]) -> None:
    assert [" ".join(words) for words in documents.commands(script)] == expected


@pytest.mark.parametrize(
    "line",
    [
        "pra bakcup",
        "pra backup --fast",
        "pra key",
        "pra evidence show last",
        "pra drill akig --scenario",
        "pra restore akig",
        "make everything",
        "make demo WIDTH=3",
        "./no-such.sh",
        ".venv/bin/no-such",
        "pg_dumpp akig",
    ],
)
def test_what_cannot_be_typed_is_found(line: str) -> None:
    [words] = documents.commands(line)
    assert wrong_with(words) != ""


@pytest.mark.parametrize(
    "line",
    [
        "pra backup akig --full",
        ".venv/bin/pra key make",
        "pra --help",
        "make demo SIZE=50 KEEP=1",
        "make -C /opt/pra venv",
    ],
)
def test_what_can_be_typed_is_let_through(line: str) -> None:
    [words] = documents.commands(line)
    assert wrong_with(words) == ""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.md"
    file.write_text(
        '# A `pra.toml`, twice: é\n\n## Same\n\n## Same\n\n<a id="by-hand"></a>\n\n'
        "| a | b |\n|---|---|\n| `x\\|y` | 1 |\n\n## After\n\n[dead](#nowhere) `[code](no)`\n\n"
        "```sh\n# not a heading\n[no](link)\n```\n"
    )
    return file


def test_anchors_are_those_that_github_makes(page: Path) -> None:
    assert documents.anchors(page) == ["a-pratoml-twice-é", "same", "same-1", "after", "by-hand"]


def test_what_stands_in_code_is_neither_heading_nor_link(page: Path) -> None:
    assert [words for _, words in documents.headings(page)] == [
        "A `pra.toml`, twice: é",
        "Same",
        "Same",
        "After",
    ]
    assert documents.links(page) == ["#nowhere"]


def test_a_tables_cells_are_read_without_its_head(page: Path) -> None:
    assert documents.rows(page, "After") == []
    chapter = page.read_text().replace("## Same\n\n## Same", "## Same")
    page.write_text(chapter)
    documents.source.cache_clear()
    assert documents.rows(page, "Same") == [["`x\\|y`", "1"]]
