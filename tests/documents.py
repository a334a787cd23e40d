"""The documents as tests see them: blocks, headings, links, and the commands that people copy from them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from deployments.cli.app import app

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FRENCH = tuple(sorted((ROOT / "docs/fr").glob("*.md")))
DOCUMENTS = (*ENGLISH, *FRENCH)
BESIDE = tuple(sorted((ROOT / "deployments").glob("*/README.md")))
"""What lies beside the files that it explains."""
DECISIONS = tuple(sorted((ROOT / "docs/adr").glob("*.md")))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.M)
_ANCHOR = re.compile(r"""<a (?:id|name)=["']([^"']+)["']""")
_KEYWORDS = frozenset(
    re.findall(r"\S+", "! { } ( ) do done if then else elif fi while until in break continue")
)
_NO_COMMAND = frozenset({"for", "["})
_APART = frozenset({"&&", "||", "|", ";", "&", "(", ")"})


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is that of its first line of text."""

    file: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@cache
def source(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def prose(file: Path) -> str:
    """Without fenced blocks; as many lines as before."""
    return _FENCE.sub(lambda match: "\n" * match[0].count("\n"), source(file))


def blocks(*languages: str, files: tuple[Path, ...] = (*DOCUMENTS, *BESIDE)) -> list[Block]:
    """Every fenced block in one of these languages; without any, every block."""
    return [
        Block(
            file,
            source(file)[: match.start("text")].count("\n") + 1,
            match["language"],
            textwrap.dedent(match["text"]),
        )
        for file in files
        for match in _FENCE.finditer(source(file))
        if not languages or match["language"] in languages
    ]


def spans(file: Path) -> list[str]:
    """Everything in single backticks, outside of blocks."""
    return [match[1].replace("\\|", "|") for match in _SPAN.finditer(prose(file))]


def links(file: Path) -> list[str]:
    """Where links and pictures lead."""
    return _LINK.findall(_SPAN.sub("", prose(file)))


def headings(file: Path) -> list[tuple[int, str]]:
    """Depth and words of every heading."""
    return [(len(match[1]), match[2]) for match in _HEADING.finditer(prose(file))]


def anchors(file: Path) -> list[str]:
    """What a link to this file may name after ``#``: as GitHub makes them, and those written out."""
    found: list[str] = []
    for _, words in headings(file):
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return found + _ANCHOR.findall(prose(file))


def rows(file: Path, section: str) -> list[list[str]]:
    """The cells of every table of one section, headers left out."""
    chapter = re.split(rf"^#+ {re.escape(section)}$", source(file), flags=re.M)[1]
    chapter = re.split(r"^#+ ", chapter, maxsplit=1, flags=re.M)[0]
    lines = [line for line in chapter.splitlines() if line.startswith("|")]
    tables = [
        line
        for number, line in enumerate(lines)
        if not set(line) <= set("|-: ")
        and not (number + 1 < len(lines) and set(lines[number + 1]) <= set("|-: "))
    ]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables]


# -- commands ------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The words of every simple command in a script, without assignments, keywords and redirections."""
    for line in _lines(text):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _APART and not set(word) <= set(";&|()"):
                words.append(word)
                continue
            if found := _plain(words):
                yield found
            words = []


def _lines(text: str) -> Iterator[str]:
    """Logical lines: joined at a backslash or an open quote; what is written into a file is left out."""
    until, held = "", ""
    for line in map(_uncommented, text.splitlines()):
        if until:
            until = "" if line == until else until
            continue
        held = f"{held}\n{line}" if held else line
        if held.endswith("\\"):
            held = held[:-1]
            continue
        if held.count("'") % 2:
            continue
        if match := re.search(r"<<-?'?(\w+)'?", held):
            until = match[1]
        yield held
        held = ""


def _uncommented(line: str) -> str:
    for match in re.finditer(r"(^|\s)#", line):
        before = line[: match.start()]
        if not before.count("'") % 2 and not before.count('"') % 2:
            return before
    return line


def _plain(words: list[str]) -> list[str]:
    kept: list[str] = []
    for number, word in enumerate(words):
        if not kept and word in _NO_COMMAND:
            return []
        if not kept and (word in _KEYWORDS or re.fullmatch(r"[A-Za-z_]\w*=.*", word)):
            continue
        if re.match(r"\d?[<>]", word):
            return kept
        if number and re.match(r"\d?[<>]", words[number - 1]) and words[number - 1] in ("<", ">", ">>"):
            continue
        kept.append(word)
    return kept


@cache
def _tree() -> Any:
    return typer.main.get_command(app)


def parse(argv: list[str]) -> None:
    """Let the command line read these words, without running anything.

    Raises:
        typer.exceptions.TyperException: There is no such command, option or value.
        typer.Exit: Help was asked for.
    """
    command, name, parent = _tree(), "pra", None
    while True:
        context = command.make_context(name, list(argv), parent=parent)
        if not hasattr(command, "commands"):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            context.fail("a command is missing")
        name, command, argv = command.resolve_command(context, rest)
        parent = context


@cache
def leaves() -> dict[str, frozenset[str]]:
    """Every command of ``pra``, as ``key make``, with its options."""
    found: dict[str, frozenset[str]] = {}

    def walk(command: object, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            if hasattr(inner, "commands"):
                walk(inner, (*path, name))
            else:
                found[" ".join((*path, name))] = frozenset(o for p in inner.params for o in p.opts)

    walk(_tree(), ())
    return found


def root_options() -> frozenset[str]:
    """What may stand right behind ``pra``."""
    return frozenset(option for parameter in _tree().params for option in parameter.opts)
