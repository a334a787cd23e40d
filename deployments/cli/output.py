"""What the command line writes: results on stdout, everything about the way there on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from pra.errors import PraError
from pra.messages import Translate
from pra.timing import format_duration

_COLOURS = {"PASS": "green", "PARTIAL": "yellow", "FAIL": "red"}
_COLOURS |= {"passed": "green", "skipped": "yellow", "failed": "red", "not_applicable": "dim", "ok": "green"}
_PLAIN_EVERY_SECONDS = 10.0


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

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
        """Cells are Rich markup: escape what comes from outside."""
        table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        _console(stderr=self.json).print(table)

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        """Show long work while it lasts: a bar on a terminal, plain lines elsewhere."""
        console = _console(stderr=True)
        if not console.is_terminal:
            yield PlainLines(console)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            yield Bars(progress)


class Follower:
    """Told by the procedures what goes on. Called from several threads."""

    def phase(self, name: str) -> None:
        raise NotImplementedError

    def done(self, name: str, seconds: float) -> None:
        raise NotImplementedError

    def bytes(self, name: str, done: int, total: int | None) -> None:
        raise NotImplementedError


class PlainLines(Follower):
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, float] = {}

    def phase(self, name: str) -> None:
        self._console.print(f"{name} …", highlight=False, markup=False)

    def done(self, name: str, seconds: float) -> None:
        self._console.print(f"{name}: {format_duration(seconds)}", highlight=False, markup=False)

    def bytes(self, name: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._said.setdefault(name, now) < _PLAIN_EVERY_SECONDS:
            return
        self._said[name] = now
        of = f" of {size(total)}" if total else ""
        self._console.print(f"{name}: {size(done)}{of}", highlight=False, markup=False)


class Bars(Follower):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def phase(self, name: str) -> None:
        self._tasks.setdefault(name, self._progress.add_task(escape(name), total=None))

    def done(self, name: str, seconds: float) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.console.print(f"{escape(name)}: {format_duration(seconds)}", highlight=False)

    def bytes(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self.phase(name)
        self._progress.update(self._tasks[name], completed=done, total=total)


def _console(*, stderr: bool) -> Console:
    # Made anew each time: it takes today's sys.stdout, which a test may have replaced.
    return Console(stderr=stderr)
