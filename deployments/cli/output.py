"""What the command line writes: results on stdout, everything about the way there on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from pra.errors import PraError
from pra.messages import Translate

_COLOURS = {"PASS": "green", "PARTIAL": "yellow", "FAIL": "red"}
_COLOURS |= {"passed": "green", "skipped": "yellow", "failed": "red", "not_applicable": "dim", "ok": "green"}
_PLAIN_EVERY_SECONDS = 10.0
_FILE_COLUMNS = 200

Report = Callable[[str, int, int], None]
"""What a procedure tells of its progress; the same shape as ``pra.engines.logical.Report``."""


def write_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write_error(error: PraError, *, as_json: bool) -> None:
    """One line for the fact, one for what to do; or one JSON object on stdout."""
    if as_json:
        fault = {
            "op": error.op,
            "message": error.message,
            "hint": error.hint,
            "transient": error.transient,
        }
        write_json({"schema": "pra/error/1", "error": fault})
    head = f"{error.op}: {error.message}" if error.op else error.message
    sys.stderr.write(f"error: {head}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")


def coloured(word: str) -> str:
    """A verdict or status in its colour, as Rich markup."""
    colour = _COLOURS.get(word)
    return f"[{colour}]{escape(word)}[/]" if colour else escape(word)


def size(count: int | None) -> str:
    """Bytes as a person reads them, in powers of 1000: ``647 MB``."""
    if count is None:
        return "?"
    number, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} {units[0]}" if number >= 10 or units[0] == "B" else f"{number:.1f} {units[0]}"


@dataclass(frozen=True)
class Output:
    """Where one command's words go. With ``json`` nothing but one object reaches stdout."""

    json: bool
    translate: Translate

    def result(self, schema: str, document: Mapping[str, Any]) -> bool:
        """Write the JSON object if that is what was asked for; say whether it was."""
        if self.json:
            write_json({"schema": schema, **document})
        return self.json

    def text(self, line: str = "") -> None:
        """A line for people: on stdout, or on stderr when stdout belongs to JSON."""
        _console(stderr=self.json).print(line, highlight=False, soft_wrap=True)

    def note(self, line: str) -> None:
        """A remark on the way: always on stderr."""
        _console(stderr=True).print(escape(line), highlight=False, soft_wrap=True)

    def show(self, renderable: RenderableType) -> None:
        """Something that Rich lays out, for people."""
        _console(stderr=self.json).print(renderable, highlight=False)

    def lines(self, text: Text) -> None:
        """Lines that are never folded: what is in them may be copied."""
        _console(stderr=self.json).print(text, highlight=False, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
        """Cells are Rich markup: escape what comes from outside."""
        table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
        for place, column in enumerate(columns):
            # What the row is about is copied and typed again: it stays in one piece.
            table.add_column(column, overflow="fold", no_wrap=place == 0)
        for row in rows:
            table.add_row(*row)
        _console(stderr=self.json).print(table)

    @contextmanager
    def follow(self) -> Iterator[Report]:
        """Show long work while it lasts: bars on a terminal, plain lines elsewhere.

        Yields what a procedure's ``report`` takes: phase, how much is done, how much there is (0: unknown).
        """
        console = _console(stderr=True)
        if not console.is_terminal:
            yield _PlainLines(console)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            yield _Bars(progress)


class _PlainLines:
    """One line when a phase begins, one when it is done, and one every ten seconds between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, float] = {}
        self._finished: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, phase: str, done: int, total: int) -> None:
        with self._lock:
            now = time.monotonic()
            finished = bool(total) and done >= total
            due = phase not in self._said or now - self._said[phase] >= _PLAIN_EVERY_SECONDS
            if not (due or finished) or phase in self._finished:
                return
            self._said[phase] = now
            if finished:
                self._finished.add(phase)
            how_far = f"{min(done / total, 1):.0%}" if total else "…"
            self._console.print(f"{phase}: {how_far}", highlight=False, markup=False)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, phase: str, done: int, total: int) -> None:
        with self._lock:
            if phase not in self._tasks:
                self._tasks[phase] = self._progress.add_task(escape(phase), total=None)
            self._progress.update(self._tasks[phase], completed=done, total=total or None)


def _console(*, stderr: bool) -> Console:
    # Made anew each time: it takes today's sys.stdout, which a test may have replaced.
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = _FILE_COLUMNS  # a file or a pipe has no edge; Rich would assume 80
    return console
