"""How far a set-up came: what was answered and what is done, so that the next attempt goes on from there.

``<state>/init.json``, 0600. It holds no secret: passwords stand in ``.env`` once that is written, and are
asked for again before that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pra.errors import PraError
from pra.setup.answers import Answers, answers_from
from pra.watch.status.record import write_whole

SCHEMA = "pra/init-progress/1"
STEPS = ("answers", "keys", "sheet", "written", "backup", "proof")
"""In order. ``written``: ``pra.toml`` is there, or was about to be when the attempt died: look."""


@dataclass(frozen=True)
class Progress:
    """One set-up under way.

    Attributes:
        config: The settings' file that it writes, absolute.
        done: Of `STEPS`, those that are behind it.
    """

    config: Path
    answers: Answers | None = None
    done: tuple[str, ...] = ()

    def has(self, step: str) -> bool:
        return step in self.done

    def with_step(self, step: str, answers: Answers | None = None) -> Progress:
        done = tuple(each for each in STEPS if each in {*self.done, step})
        return replace(self, done=done, answers=answers or self.answers)

    def without(self, *steps: str) -> Progress:
        return replace(self, done=tuple(each for each in self.done if each not in steps))

    @property
    def unfinished(self) -> bool:
        """It wrote the settings, or was about to, and the proof is still missing."""
        return self.has("written") and not self.has("proof")


def path_in(state_dir: Path) -> Path:
    return state_dir / "init.json"


def load(state_dir: Path, config: Path) -> Progress:
    """Of this settings' file; an empty one where there is none, or it cannot be read."""
    try:
        document = json.loads(path_in(state_dir).read_text())
        if document["schema"] == SCHEMA and Path(document["config"]) == config:
            given = document["answers"]
            done: Sequence[Any] = document["done"]
            answers = answers_from(given) if given else None
            return Progress(config, answers, tuple(each for each in STEPS if each in done))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Progress(config)


def save(state_dir: Path, progress: Progress) -> None:
    """Raises SpaceError or StorageError where the state directory cannot be written."""
    document = {
        "schema": SCHEMA,
        "config": str(progress.config),
        "answers": progress.answers.as_json() if progress.answers else None,
        "done": list(progress.done),
    }
    write_whole(path_in(state_dir), json.dumps(document, ensure_ascii=False).encode())


def forget(state_dir: Path) -> None:
    """It is finished. What cannot be removed is read as finished as well."""
    try:
        path_in(state_dir).unlink(missing_ok=True)
    except OSError as error:
        raise PraError(
            f"cannot remove {path_in(state_dir)}: {(error.strerror or '').lower()}", op="finish set-up"
        ) from None
